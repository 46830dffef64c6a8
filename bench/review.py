"""How long the review queue takes, and what its order is worth against chance.

    python -m bench.review                          speed: a queue of 5,000 unlabelled and 1,000 labelled turns
    python -m bench.review --data ../shared/data    and what the order is worth, on real questions with intents

Worth: with 40 labelled turns, which 50 should people label next, four times over? The unlabelled turns are as customers
ask: few intents often, most of them rarely (Zipf, where the set is even). Compared are the queue, the queue without
frequency, entropy alone, and chance; the learner is logistic regression on the embeddings that the queue sees too,
measured on other questions, each intent weighted by how often it is asked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from sklearn.linear_model import LogisticRegression

from bench import common
from duomo import store
from duomo.learn.curate import spread
from duomo.models.embed import MultilingualE5
from duomo.models.features import Floats
from duomo.store.postgres import Database
from duomo.support import review
from duomo.support.review import Vectors

STEPS = (40, 90, 140, 190, 240)
SEEDS = 5
ROWS, INTENTS = 2500, 40
SETS = {
    "banking77": "intents-en/banking77/train.jsonl",
    "clinc150": "intents-en/clinc150/train.jsonl",
    "smp2020": "intents-zh/smp2020/train.jsonl",
}
FILL = """
INSERT INTO contacts (id, workspace_id) VALUES (md5('contact')::uuid, %(w)s);
INSERT INTO agents (id, workspace_id, email, name, role, password_hash)
VALUES (md5('agent')::uuid, %(w)s, 'a@example.com', 'A', 'agent', '-');
INSERT INTO conversations (id, workspace_id, contact_id, last_seq)
SELECT md5('c' || i)::uuid, %(w)s, md5('contact')::uuid, 1 FROM generate_series(1, %(n)s) AS i;
INSERT INTO messages (id, workspace_id, conversation_id, seq, author, kind, text)
SELECT md5('m' || i)::uuid, %(w)s, md5('c' || i)::uuid, 1, 'customer', 'text', 'What about number ' || i
FROM generate_series(1, %(n)s) AS i;
INSERT INTO models (id, workspace_id, fingerprint, name, origin, manifest)
VALUES (md5('model')::uuid, %(w)s, 'f', 'bench', 'shipped', %(manifest)s);
INSERT INTO deployments (workspace_id, model_id, role, began_by) VALUES (%(w)s, md5('model')::uuid, 'active', 'agent');
INSERT INTO predictions (workspace_id, conversation_id, message_id, model_id, role, heads, pattern, language, text,
    duration_ms)
SELECT %(w)s, md5('c' || i)::uuid, md5('m' || i)::uuid, md5('model')::uuid, 'active', jsonb_build_object('intent',
    jsonb_build_object('label', 'i1', 'confidence', p, 'set', '["i1", "i2"]'::jsonb, 'abstain', p < 0.3, 'conflict', q,
        'out_of_scope', 0.1, 'shares', '{"text": 0.7, "image": 0.3}'::jsonb, 'top', jsonb_build_array(
            jsonb_build_array('i1', p), jsonb_build_array('i2', (1 - p) / 2), jsonb_build_array('i3', (1 - p) / 4),
            jsonb_build_array('i4', (1 - p) / 8), jsonb_build_array('i5', (1 - p) / 16)))),
    'image+text', 'en', 'What about number ' || i, 3
FROM (SELECT i, random() AS p, random() AS q FROM generate_series(1, %(n)s) AS i) AS rows;
INSERT INTO embeddings (workspace_id, message_id, modality, vector)
SELECT %(w)s, md5('m' || i)::uuid, 'text',
    (SELECT array_agg(random() - 0.5) FROM generate_series(1, 384) AS j WHERE i > 0)::halfvec(384)
FROM generate_series(1, %(n)s) AS i;
INSERT INTO labels (id, workspace_id, conversation_id, message_id, kind, head, value, origin, agent_id)
SELECT md5('l' || i)::uuid, %(w)s, md5('c' || i)::uuid, md5('m' || i)::uuid, 'head', 'intent', '"i3"', 'review',
    md5('agent')::uuid
FROM generate_series(1, %(labelled)s) AS i
"""


async def speed(dsn: str, *, unlabelled: int = 5000, labelled: int = 1000, runs: int = 7) -> dict[str, Any]:
    """Of the whole call: rows, vectors, ranking, and the 20 turns to show."""
    names = [f"i{at}" for at in range(1, 26)]
    manifest = {"heads": {"intent": {"type": "class", "labels": names, "out_of_scope": "other"}}}
    async with await Database.open(dsn) as db:
        workspace = await db.create_workspace("bench", {})
        values = {"w": workspace.id, "n": unlabelled + labelled, "labelled": labelled, "manifest": json.dumps(manifest)}
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as owner:
            for sql in FILL.split(";\n"):
                await owner.execute(sql.encode(), values)
            await owner.execute("ANALYZE")
            agent = (await (await owner.execute("SELECT id FROM agents")).fetchone() or ("",))[0]
        taken, worked = [], []
        for _ in range(runs):
            began, before = time.perf_counter(), time.process_time()
            found = await review.queue(db, workspace.id, head="intent", agent_id=str(agent), limit=20)
            taken.append(time.perf_counter() - began)
            worked.append(time.process_time() - before)
        assert (found.unlabelled, found.labelled, len(found.items)) == (unlabelled, labelled, 20)
    seconds = {"median_s": np.median(taken[1:]), "median_cpu_s": np.median(worked[1:])}
    return {"unlabelled": unlabelled, "labelled": labelled, **{k: round(float(v), 3) for k, v in seconds.items()}}


# Worth ------------------------------------------------------------------------------------------------------------

Choose = Callable[[list[dict[str, Any]], int, Floats, Floats, int], list[int]]
"""What the model says of the unlabelled, its labels, their points, the labelled ones' points, a budget -> rows."""


def _vectors(points: Floats) -> dict[str, Vectors]:
    return {"text": Vectors(np.arange(len(points)), points)}


def by_queue(said: list[dict[str, Any]], labels: int, points: Floats, done: Floats, budget: int) -> list[int]:
    return [one.row for one in review.rank(said, labels, _vectors(points), _vectors(done), budget)]


def without_frequency(said: list[dict[str, Any]], labels: int, points: Floats, done: Floats, budget: int) -> list[int]:
    near, taken = review.side_by_side(_vectors(points), len(points), _vectors(done))
    unsure = np.array([review.entropy(one, labels) for one in said])
    return spread(near, unsure, budget, distance=1 - (near @ taken.T).max(axis=1).astype(np.float64))


def by_entropy(said: list[dict[str, Any]], labels: int, points: Floats, done: Floats, budget: int) -> list[int]:
    return [int(at) for at in np.argsort([-review.entropy(one, labels) for one in said], kind="stable")[:budget]]


WAYS: dict[str, Choose | None] = {
    "queue": by_queue, "without frequency": without_frequency, "entropy": by_entropy, "chance": None,
}  # fmt: skip


def curve(points: Floats, truth: np.ndarray, choose: Choose | None, seed: int) -> list[float]:
    """Accuracy at each of STEPS."""
    rng = np.random.default_rng(seed)
    order, labels = rng.permutation(len(truth)), int(truth.max()) + 1
    test, rest = order[: len(order) // 3], order[len(order) // 3 :]
    sizes = np.bincount(truth, minlength=labels)
    uneven = sizes.max() > 5 * sizes.min()  # as it was collected
    share = np.ones(labels) if uneven else rng.permutation(4 / np.arange(1, labels + 1))
    kept = rest[rng.random(len(rest)) < share[truth[rest]]]
    asked = np.bincount(truth[kept], minlength=labels) / np.maximum(np.bincount(truth[test], minlength=labels), 1)
    chosen, left, found = kept[: STEPS[0]], kept[STEPS[0] :], []
    for at, step in enumerate(STEPS):
        learner = LogisticRegression(C=20, max_iter=300).fit(points[chosen], truth[chosen])
        right, weight = learner.predict(points[test]) == truth[test], asked[truth[test]]
        found.append(float((right * weight).sum() / weight.sum()))
        if step == STEPS[-1]:
            break
        budget = STEPS[at + 1] - step
        said = [_said(row) for row in learner.predict_proba(points[left])]
        some = (
            range(budget)
            if choose is None
            else choose(said, len(learner.classes_), points[left], points[chosen], budget)
        )
        chosen, left = np.concatenate([chosen, left[list(some)]]), np.delete(left, list(some))
    return found


def _said(chances: Floats) -> dict[str, Any]:
    best = np.argsort(-chances)[:5]
    return {"confidence": float(chances[best[0]]), "top": [[str(at), float(chances[at])] for at in best]}


def worth(file: Path) -> dict[str, Any]:
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    rng = np.random.default_rng(0)
    names = set(rng.permutation(sorted({row["label"] for row in rows}))[:INTENTS])
    rows = [row for row in rows if row["label"] in names]
    rows = [rows[at] for at in rng.permutation(len(rows))[:ROWS]]
    _, truth = np.unique([row["label"] for row in rows], return_inverse=True)
    points = np.asarray(MultilingualE5().encode([row["text"] for row in rows], kind="query"), dtype=np.float32)
    runs = {
        way: np.array([curve(points, truth, choose, seed) for seed in range(SEEDS)]) for way, choose in WAYS.items()
    }
    better = runs["queue"].mean(axis=1) - runs["chance"].mean(axis=1)
    return {
        "intents": int(truth.max()) + 1,
        "accuracy": {way: [round(float(value), 3) for value in run.mean(axis=0)] for way, run in runs.items()},
        "queue_better_than_chance": {"mean": round(float(better.mean()), 3), "by_seed": better.round(3).tolist()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    data = parser.parse_args().data
    warnings.filterwarnings("ignore", category=UserWarning, module="sklearn")  # few labels of many intents: on purpose
    with tempfile.TemporaryDirectory(prefix="duomo-bench-") as home:
        Path(home).chmod(0o711)
        with store.open_home(Path(home), None) as dsn:
            figures: dict[str, Any] = {"speed": asyncio.run(speed(dsn)), "labels": STEPS, "seeds": SEEDS}
    print(figures["speed"])
    for name, file in SETS.items():
        if not (data / file).is_file():
            print(f"{data / file} is not there; what the order is worth on {name} is not measured")
            continue
        figures[name] = worth(data / file)
        print(name, json.dumps(figures[name], indent=1))
    common.write("review", what="review queue: speed, and accuracy by labels", figures=figures, data=", ".join(SETS))


if __name__ == "__main__":
    main()
