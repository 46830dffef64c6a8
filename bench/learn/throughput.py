"""How fast: training from cached embeddings, a whole small task from raw files, shares, and the exported model.

    python -m bench.learn.throughput --data ../shared/data

One thread for training; encoding 200 rows uses two, as `duomo train` does.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.common import write
from bench.learn import tasks
from duomo.learn.checkpoint import Stages
from duomo.learn.distributed import World
from duomo.learn.encoders import encode, encoders_for
from duomo.learn.export import export_onnx
from duomo.learn.fusion import Shape
from duomo.learn.model import Model
from duomo.learn.objectives import Objective
from duomo.learn.task import Training, load_task
from duomo.learn.train import Data, train
from duomo.models import understanding

WHAT = (
    "samples a second that training reads from cached embeddings, seconds for 200 trimodal rows from raw files with "
    "warm encoders, milliseconds of shares and of one row through the exported model"
)
ROWS, CLASSES = 20_000, 10
FOUNDING = (300, 2048, 512)  # text, picture and sound of the preset `article`
TEXT = (768,)  # the default views of a text
DEFAULT = (768, 3428, 3142)  # the default views of text, picture and sound


def samples_a_second(
    dims: Sequence[int], *, kind: str, operator: str, replicas: int, epochs: int = 3
) -> dict[str, Any]:
    """Rows x epochs / seconds, validation and optimiser included; `with_replicas` counts each replica's reading."""
    generator = torch.Generator().manual_seed(0)
    z = [torch.randn(ROWS, dim, generator=generator) for dim in dims]
    targets = torch.randint(0, CLASSES, (ROWS,), generator=generator)
    held = np.arange(ROWS // 10)
    sees = torch.ones(replicas, ROWS)
    sees[:, held] = 0
    data = Data(z, torch.ones(ROWS, len(dims), dtype=torch.bool), {"intent": targets}, sees, [held] * replicas)
    shape = Shape(kind, operator, tuple(dims), {"intent": CLASSES}, 128, 0.3)  # type: ignore[arg-type]
    options = Training(epochs=epochs, patience=epochs)
    clock, cpu = time.perf_counter(), time.process_time()
    train(
        "speed", shape, data, [Objective("intent", "class", CLASSES)], options, stages=Stages(None, identity=""),
        world=World(),
    )  # fmt: skip
    read = (ROWS - len(held)) * epochs
    seconds, cpu_seconds = time.perf_counter() - clock, time.process_time() - cpu
    return {
        "samples_a_second": round(read / seconds),
        "samples_a_cpu_second": round(read / cpu_seconds),
        "with_replicas": round(read * replicas / seconds),
    }


def from_raw_files(data: Path, rows: int = 200) -> dict[str, Any]:
    """160 rows to learn from, 40 to predict; encoders in memory, no cache."""
    found = tasks.write("trimodal", data=data)
    task, samples = load_task(found.task), found.samples("train")[: rows + 2]
    encoders = encoders_for(task.modalities, samples, workers=2)
    encode(samples[rows:], task.modalities, encoders=encoders, workers=2)
    start, cpu = time.perf_counter(), time.process_time()
    encoded = encode(samples[:rows], task.modalities, encoders=encoders, workers=2)
    middle = time.perf_counter()
    cut = rows * 4 // 5
    labels = {"digit": [sample.labels["digit"] for sample in samples[:cut]]}
    model = Model(task).fit_features(
        encoded.features.take(np.arange(cut)), encoded.views, labels, [sample.id for sample in samples[:cut]]
    )
    output = model.predict_features(encoded.features.take(np.arange(cut, rows)))["digit"]
    names = model.heads["digit"].labels
    right = [names[int(c)] == s.labels["digit"] for c, s in zip(output.predicted, samples[cut:rows], strict=True)]
    end = time.perf_counter()
    return {
        "rows": rows, "seconds": round(end - start, 2), "encoding_seconds": round(middle - start, 2),
        "training_seconds": round(end - middle, 2), "cpu_seconds": round(time.process_time() - cpu, 2),
        "accuracy_of_40": float(np.mean(right)),
    }  # fmt: skip


IMPORT = "import time; t = time.perf_counter(); import duomo.models.understanding; print(time.perf_counter() - t)"


def exported(data: Path, cache: Path) -> dict[str, Any]:
    found = tasks.write("trimodal", data=data)
    samples = found.samples("train")
    model = Model(load_task(found.task), cache=cache).fit(samples[:400])
    features = model.features(samples[:300])
    one = features.take([0])
    with tempfile.TemporaryDirectory() as folder:
        saved = model.save(Path(folder) / "model")
        export_onnx(model, saved)
        served = understanding.load(saved)
        imports = [float(subprocess.check_output([sys.executable, "-c", IMPORT])) for _ in range(5)]
        return {
            "import_s": round(float(np.median(imports)), 3),
            "one_row_ms": _milliseconds(lambda: served.predict(one, shares=False)),
            "one_row_with_shares_ms": _milliseconds(lambda: served.predict(one)),
            "shares_ms_onnx": _milliseconds(lambda: served.shares(one)),
            "shares_ms_torch": _milliseconds(lambda: model.understanding.shares(one)),
            "shares_of_300_rows_ms": _milliseconds(lambda: served.shares(features), times=5),
        }


def _milliseconds(run: Callable[[], object], *, times: int = 40) -> dict[str, float]:
    run()
    took = []
    for _ in range(times):
        clock = time.perf_counter()
        run()
        took.append(1000 * (time.perf_counter() - clock))
    return {"median": round(float(np.median(took)), 2), "p95": round(float(np.percentile(took, 95)), 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=tasks.DATA)
    parser.add_argument("--cache", type=Path, default=tasks.WORK / "features")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    networks = {
        "text, one network": samples_a_second(TEXT, kind="early", operator="gated", replicas=1),
        "founding network (preset article)": samples_a_second(
            FOUNDING, kind="intermediate", operator="concat", replicas=1
        ),
        "founding sizes, gated, 7 replicas at once": samples_a_second(
            FOUNDING, kind="intermediate", operator="gated", replicas=7, epochs=1
        ),
        "default views, gated": samples_a_second(DEFAULT, kind="intermediate", operator="gated", replicas=1, epochs=2),
    }
    print(networks, flush=True)
    raw = from_raw_files(arguments.data)
    print(raw, flush=True)
    served = exported(arguments.data, arguments.cache)
    print(served)
    figures = {"training": networks, "200_rows_from_raw_files": raw, "exported": served}
    write("learn_throughput", what=WHAT, figures=figures, data=f"{ROWS} drawn rows; trimodal of tasks.py")


if __name__ == "__main__":
    main()
