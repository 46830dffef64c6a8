"""A trained model leaves torch: as ONNX graphs that `duomo.models.understanding` opens, and for TensorFlow.

Every graph is run on the same rows as the torch model before anyone gets to use it; what they differ by stands in its
manifest.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file
from torch import Tensor, nn

from duomo.errors import ModelUnavailable
from duomo.learn.core import Core
from duomo.models.features import Features, SparseRows, View
from duomo.models.manifest import Manifest
from duomo.models.onnx_session import open_session
from duomo.models.understanding import HeadInfo, OnnxCore, Scores, graph_inputs

FP32, INT8 = "model.onnx", "model.int8.onnx"
LEAST_EQUAL = {"fp32": 0.999, "int8": 0.99}  # share of predictions that must be torch's
SMALL = 1024  # weights that stay float32: to round so few saves nothing
PROBES = 256  # rows compared where the caller has none
PUSH = 8.0  # towards a label, at most


@dataclass(frozen=True, slots=True)
class Parity:
    """How far a graph is from the torch model."""

    difference: float
    """Largest difference of a log-probability, a logit (multilabel, out-of-scope), or of a number in standard
    deviations of the prior."""
    equal: float  # share of rows with the same prediction; of numbers within 1 % of a standard deviation
    rows: int


@dataclass(frozen=True, slots=True)
class Export:
    folder: Path
    files: Mapping[str, int]  # name -> bytes
    parity: Mapping[str, Mapping[str, Parity]]  # "fp32", "int8" -> head
    compared_on: str
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "folder": str(self.folder)}

    def to_text(self) -> str:
        lines = [f"{self.folder}: " + ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in self.files.items())]
        lines += [
            f"{precision} {head}: {one.equal:.2%} of {one.rows} {self.compared_on} are predicted as torch does, "
            f"largest difference {one.difference:.2g}"
            for precision, heads in self.parity.items()
            for head, one in heads.items()
        ]
        return "\n".join([*lines, *self.notes])


class Trained(Protocol):
    """A trained model, as `learn.model.Model` is."""

    @property
    def core(self) -> Core: ...

    def manifest(self) -> Manifest: ...


class _Positional(nn.Module):
    """Exporters want tensors in a row where `Core` takes and gives dictionaries."""

    def __init__(self, core: Core, names: Sequence[str], outputs: Sequence[tuple[str, int]]) -> None:
        super().__init__()
        self.core, self.names, self.outputs = core, names, outputs

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        heads = self.core(dict(zip(self.names, tensors, strict=True)))
        return tuple(heads[head][part] for head, part in self.outputs)


def export_onnx(model: Trained, folder: Path, *, int8: bool = False, features: Features | None = None) -> Export:
    """Write `model.onnx`, on demand `model.int8.onnx`, the vocabularies, and `manifest.json` with their hashes.

    Args:
        features: rows to compare on, such as the validation rows; None: random rows with every pattern.
    Raises:
        ModelUnavailable: the graph does not predict what torch does. An int8 graph that strays is left out instead,
            with a note.
    """
    core, manifest = model.core, model.manifest()
    folder.mkdir(parents=True, exist_ok=True)
    rows = probe(core) if features is None else features
    compared_on = "random rows" if features is None else "rows"
    vocabularies = _save_vocabularies(core, folder)
    wanted = core.scores(rows)
    graph = to_graph(core)
    onnx.save(graph, folder / FP32)
    parity = {"fp32": compare(core, folder / FP32, manifest.heads, rows, wanted)}
    _demand(parity["fp32"], folder / FP32)
    graphs, notes = {"fp32": FP32}, []
    if int8:
        onnx.save(weights_to_int8(graph), folder / INT8)
        parity["int8"] = compare(core, folder / INT8, manifest.heads, rows, wanted)
        least = min(found.equal for found in parity["int8"].values())
        if least >= LEAST_EQUAL["int8"]:
            graphs["int8"] = INT8
        else:
            (folder / INT8).unlink()
            notes.append(f"int8 is left out: only {least:.1%} of predictions stay the same. Serve the fp32 graph.")
    exported = replace(
        manifest,
        graphs=graphs,
        vocabularies=vocabularies,
        parity={
            "compared_on": f"{len(rows)} {compared_on}",
            **{precision: {head: asdict(one) for head, one in heads.items()} for precision, heads in parity.items()},
        },
    ).hashed(folder, [*graphs.values(), *vocabularies.values()])
    exported.write(folder / "manifest.json")
    sizes = {name: (folder / name).stat().st_size for name in exported.files}
    return Export(folder, sizes, parity, compared_on, tuple(notes))


def _save_vocabularies(core: Core, folder: Path) -> dict[str, str]:
    names = {view: f"vocabulary.{number}.npy" for number, view in enumerate(core.vocabularies)}
    for view, name in names.items():
        np.save(folder / name, np.asarray(core.vocabularies[view], dtype=np.int64), allow_pickle=False)
    return names


def to_graph(core: Core) -> onnx.ModelProto:
    """The core as one ONNX graph, any number of rows and of sparse entries a row."""
    example = {
        n: torch.from_numpy(a) for n, a in graph_inputs(probe(core, 3), core.plan.views, core.vocabularies).items()
    }
    rows, entries = torch.export.Dim("rows"), torch.export.Dim("entries")
    sparse = {f"{view.name}.{part}" for view in core.plan.views if view.sparse for part in ("columns", "values")}
    shapes = tuple({0: rows, 1: entries} if name in sparse else {0: rows} for name in example)
    outputs = [
        (head, part)
        for head, fusion in core.plan.fusions.items()
        for part in range(3 if fusion.out_of_scope or fusion.energy else 2)
    ]
    names = [f"{head}.{('fused', 'unimodal', 'out_of_scope')[part]}" for head, part in outputs]
    module, tensors = _Positional(core, list(example), outputs).eval(), tuple(example.values())
    with _quiet():
        # Not strict: a number of rows that the code fixes by accident is then an error, not a graph for that number.
        traced = torch.export.export(module, tensors, dynamic_shapes={"tensors": shapes}, strict=False)
        program = torch.onnx.export(traced, (), input_names=list(example), output_names=names, verbose=False)
    assert program is not None
    graph = program.model_proto
    for node in graph.graph.node:  # where each came from in torch: half of a small file, and paths of this machine
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*graph.graph.value_info, *graph.graph.input, *graph.graph.output, *graph.graph.initializer):
        del value.metadata_props[:]
    del graph.metadata_props[:], graph.graph.metadata_props[:]
    onnx.checker.check_model(graph)
    return graph


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter speaks to its own developers: of deprecations inside it, and of packages that it could also use."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def weights_to_int8(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Round every large weight to 8 bits with one scale a column; what flows between them stays float32.

    A quarter of the size and nearly the same answers. Rounding what flows as well, as dynamic quantisation does, is
    made for transformers: standardised features have outliers that use up the 8 bits.
    """
    rounded = onnx.ModelProto()
    rounded.CopyFrom(graph)
    body = rounded.graph
    axes = _columns_of_weights(body)
    nodes: list[onnx.NodeProto] = []
    restored: set[str] = set()
    for node in body.node:
        found = [name for name in node.input if name in axes]
        if found and node.op_type in LOOKUPS:  # only the rows looked up are restored
            (name,) = found
            wanted = node.output[0]
            node.input[0], node.output[0] = f"{name}.int8", f"{wanted}.int8"
            nodes += [node, _restore(f"{wanted}.int8", name, wanted, axis=-1)]
            continue
        for name in found:
            if name not in restored:
                restored.add(name)
                nodes.append(_restore(f"{name}.int8", name, name, axis=axes[name]))
        nodes.append(node)
    weights = []
    for one in body.initializer:
        if one.name in axes:
            values, scale = _to_int8(numpy_helper.to_array(one), axes[one.name])
            weights.append(numpy_helper.from_array(values, f"{one.name}.int8"))
            weights.append(numpy_helper.from_array(scale, f"{one.name}.scale"))
        else:
            weights.append(one)
    final = helper.make_graph(nodes, body.name, body.input, body.output, weights)
    small = helper.make_model(final, opset_imports=graph.opset_import, ir_version=graph.ir_version)
    onnx.checker.check_model(small)
    return small


LOOKUPS = ("Gather", "GatherND")


def _columns_of_weights(body: onnx.GraphProto) -> dict[str, int]:
    """Axis along which each weight worth rounding gets its scales: that of the outputs."""
    axes: dict[str, int] = {}
    large = {w.name: len(w.dims) for w in body.initializer if w.data_type == TensorProto.FLOAT and len(w.dims) > 1}
    large = {w.name: large[w.name] for w in body.initializer if w.name in large and np.prod(w.dims) >= SMALL}
    for node in body.node:
        for position, name in enumerate(node.input):
            if name not in large:
                continue
            options = {one.name: helper.get_attribute_value(one) for one in node.attribute}
            product = node.op_type in ("MatMul", "Gemm") and position == 1
            lookup = node.op_type in LOOKUPS and position == 0 and not options.get("axis")
            axis = 0 if options.get("transB") else large[name] - 1
            if (product or lookup) and axes.get(name, axis) == axis:
                axes[name] = axis
            else:  # used in another way as well: it stays as it is
                del large[name]
                axes.pop(name, None)
    return axes


def _to_int8(weight: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    others = tuple(other for other in range(weight.ndim) if other != axis)
    scale = np.abs(weight).max(axis=others) / 127
    scale = np.where(scale > 0, scale, 1.0).astype(np.float32)
    shape = [-1 if one == axis else 1 for one in range(weight.ndim)]
    return np.rint(weight / scale.reshape(shape)).astype(np.int8), scale


def _restore(rounded: str, weight: str, output: str, *, axis: int) -> onnx.NodeProto:
    return helper.make_node("DequantizeLinear", [rounded, f"{weight}.scale"], [output], axis=axis)


def compare(
    core: Core, file: Path, heads: Mapping[str, HeadInfo], features: Features, wanted: Mapping[str, Scores]
) -> dict[str, Parity]:
    """Run a graph on the rows and put its scores beside torch's."""
    exported = OnnxCore(open_session(file, threads=1, restore=file.name == INT8), core.plan.views, core.vocabularies)
    found = exported.scores(features)
    return {head: parity(info, wanted[head], found[head]) for head, info in heads.items()}


def parity(head: HeadInfo, wanted: Scores, found: Scores) -> Parity:
    unit = max(head.prior[1], 1e-12) if head.type == "number" else 1.0
    pairs = [(wanted.fused, found.fused), (wanted.unimodal, found.unimodal)]
    if wanted.out_of_scope is not None and found.out_of_scope is not None:
        pairs.append((wanted.out_of_scope, found.out_of_scope))
    difference = 0.0
    for one, other in pairs:
        gap = np.abs(one.astype(np.float64) - other) / unit
        both_silent = np.isnan(one) & np.isnan(other)
        difference = max(difference, float(np.where(np.isnan(gap), np.inf, gap)[~both_silent].max(initial=0)))
    if head.type == "class":
        same = wanted.fused.argmax(axis=1) == found.fused.argmax(axis=1)
    elif head.type == "multilabel":
        same = ((wanted.fused >= 0) == (found.fused >= 0)).all(axis=1)
    else:
        same = np.abs(wanted.fused - found.fused)[:, 0] / unit <= 0.01
    return Parity(difference, float(same.mean()), len(same))


def _demand(found: Mapping[str, Parity], file: Path) -> None:
    for head, one in found.items():
        if one.equal < LEAST_EQUAL["fp32"]:
            raise ModelUnavailable(
                f"{file} predicts {head} as torch does in {one.equal:.1%} of {one.rows} rows only, wanted "
                f"{LEAST_EQUAL['fp32']:.1%}. Do not serve it; check the versions of torch and onnxruntime."
            )


def probe(core: Core, rows: int = PROBES, *, seed: int = 0) -> Features:
    """Random rows as the model may meet them: known n-grams, normal vectors pushed towards some label, every pattern.

    Without the push every label would be about as likely as every other, and the smallest rounding another prediction.
    """
    random = np.random.default_rng(seed)
    modalities = core.plan.modalities
    present = random.random((rows, len(modalities))) < 0.7
    present[0] = True
    dense, sparse = {}, {}
    for view in core.plan.views:
        here = present[:, modalities.index(view.modality)]
        if view.sparse:
            known = core.vocabularies[view.name]
            counts = random.integers(1, 20, rows) * here * bool(len(known))
            starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
            columns = [np.sort(random.choice(known, count)) for count in counts if count]
            sparse[view.name] = SparseRows(
                starts, np.concatenate([np.empty(0, np.int64), *columns]), np.ones(starts[-1], dtype=np.float32)
            )
        else:
            mean, deviation = _training(core, view)
            values = mean + random.standard_normal((rows, view.dim)) * deviation
            dense[view.name] = np.where(here[:, None], values, 0).astype(np.float32)
    return _pushed(core, Features(modalities, present, dense, sparse), random)


def _training(core: Core, view: View) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of a dense view over the training rows, 1 where it was constant."""
    mean, scale = (core.get_buffer_(f"{part}:{view.name}".replace(".", "/")).numpy() for part in ("mean", "scale"))
    return mean, np.asarray(1 / np.where(scale > 0, scale, 1), dtype=np.float32)


def _pushed(core: Core, features: Features, random: np.random.Generator) -> Features:
    """Each row moved along the gradient of one label's score, up to PUSH in log-probability or logit."""
    judged = [head for head, fusion in core.plan.fusions.items() if fusion.type != "number"]
    views = [view for view in core.plan.views if not view.sparse]
    if not judged or not views:
        return features
    given = graph_inputs(features, core.plan.views, core.vocabularies)
    inputs = {name: torch.from_numpy(array) for name, array in given.items()}
    for view in views:
        inputs[view.name] = inputs[view.name].clone().requires_grad_()
    answers = core(inputs)
    total = torch.zeros(())
    for row in range(len(features)):
        fused = answers[judged[row % len(judged)]][0]
        total = total + fused[row, int(random.integers(fused.shape[1]))]
    if not total.requires_grad:  # words alone decide, whatever the dense views say
        return features
    slopes = torch.autograd.grad(total, [inputs[view.name] for view in views], allow_unused=True)
    deviations = [_training(core, view)[1] for view in views]
    steps = [0.0 if g is None else g.numpy() * d for g, d in zip(slopes, deviations, strict=True)]  # in deviations
    steepness = sum(np.square(step).sum(axis=1) for step in steps if not isinstance(step, float))
    gain = random.uniform(0, PUSH, len(features)) / np.maximum(steepness, 1e-9)
    moved = {
        view.name: (features.dense[view.name] + gain[:, None] * step * deviation).astype(np.float32)
        for view, step, deviation in zip(views, steps, deviations, strict=True)
    }
    return replace(features, dense={**features.dense, **moved})


@dataclass(frozen=True, slots=True)
class TensorFlowExport:
    folder: Path
    difference: float | None
    """Largest difference of the SavedModel from torch; None where TensorFlow is not installed here and the SavedModel
    is still to be made."""
    message: str

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "folder": str(self.folder)}

    def to_text(self) -> str:
        return self.message


def export_tensorflow(model: Trained, folder: Path, *, features: Features | None = None) -> TensorFlowExport:
    """Write the network for TensorFlow, from the same weights, and its SavedModel where TensorFlow is installed.

    `graph.json` and `weights.safetensors` say all that `duomo.learn.tensorflow_export` needs, which may run in another
    environment; `probe.safetensors` holds rows with torch's answers to compare with; `manifest.json` tells labels,
    thresholds and the vocabularies as it does beside an ONNX graph.

    Raises:
        ModelUnavailable: TensorFlow is here but the SavedModel cannot be made, or differs from torch.
    """
    core, manifest = model.core, model.manifest()
    folder.mkdir(parents=True, exist_ok=True)
    body = to_graph(core).graph
    rows = probe(core) if features is None else features
    with torch.no_grad():
        given = graph_inputs(rows, core.plan.views, core.vocabularies)
        answers = core({name: torch.from_numpy(array) for name, array in given.items()})
    parts = ("fused", "unimodal", "out_of_scope")
    outputs = {f"{head}.{part}": t.numpy() for head, ts in answers.items() for part, t in zip(parts, ts, strict=True)}
    named = {one.name for one in body.output}
    save_file(
        {name: np.asarray(v, order="C") for name, v in {**given, **outputs}.items() if name in named or name in given},
        folder / "probe.safetensors",
    )
    weights = {one.name: np.asarray(numpy_helper.to_array(one), order="C") for one in body.initializer}
    save_file(weights, folder / "weights.safetensors")
    (folder / "graph.json").write_text(
        json.dumps(describe(body), ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
    )
    vocabularies = _save_vocabularies(core, folder)
    files = ["graph.json", "weights.safetensors", "probe.safetensors", *vocabularies.values()]
    replace(manifest, vocabularies=vocabularies).hashed(folder, files).write(folder / "manifest.json")
    command = f"python -m duomo.learn.tensorflow_export {folder}"
    if importlib.util.find_spec("tensorflow") is None:
        return TensorFlowExport(
            folder,
            None,
            f"TensorFlow is not installed here. Where it is (pip install 'duomo[tensorflow]'), run: {command}",
        )
    # In a process of its own: TensorFlow and torch each bring their own threads and start-up noise.
    done = subprocess.run(
        [sys.executable, "-m", "duomo.learn.tensorflow_export", str(folder)],
        capture_output=True, text=True, check=False, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ModelUnavailable(f"{command} failed: {last}")
    difference = json.loads((folder / "parity.json").read_text(encoding="utf-8"))["difference"]
    return TensorFlowExport(folder, difference, done.stdout.strip())


def describe(body: onnx.GraphProto) -> dict[str, Any]:
    """An ONNX graph as JSON, without its weights. `signature`: the name that TensorFlow allows for a value."""
    return {
        "format": 1,
        "inputs": _values(body.input),
        "outputs": _values(body.output),
        "nodes": [
            {
                "op": node.op_type,
                "inputs": list(node.input),
                "outputs": list(node.output),
                "options": {one.name: _plain(helper.get_attribute_value(one)) for one in node.attribute},
            }
            for node in body.node
        ],
    }


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return value if isinstance(value, (int, float)) else list(value)


def _values(values: Sequence[onnx.ValueInfoProto]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for value in values:
        tensor = value.type.tensor_type
        signature = "".join(c if c.isascii() and c.isalnum() else "_" for c in value.name).strip("_") or "value"
        signature = signature if signature[0].isalpha() else f"head_{signature}"
        if any(one["signature"] == signature for one in found):
            signature = f"{signature}_{len(found)}"
        shape = [dim.dim_param or dim.dim_value for dim in tensor.shape.dim]
        found.append({"name": value.name, "signature": signature, "type": tensor.elem_type, "shape": shape})
    return found
