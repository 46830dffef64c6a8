"""`python -m duomo.learn.proposing JOB.json`: clusters of texts for a service that has none of training's packages.

The job says `{ids, texts, vectors, min_size, found}`: `vectors` is an .npy file of (n, d) embeddings, or null to have
the texts encoded; `found` is the file to write, `{clusters: [{name, terms, cohesion, members}]}`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

from duomo.learn.discover import discover
from duomo.models.embed import MultilingualE5
from duomo.models.features import Floats

NICE = 10  # customers come first


def propose(job: Path) -> None:
    """Read a job, cluster, and write what was found; the file appears whole or not at all."""
    asked = json.loads(job.read_text(encoding="utf-8"))
    points = np.load(asked["vectors"], allow_pickle=False) if asked["vectors"] else encoded(asked["texts"])
    found = discover(asked["ids"], asked["texts"], points, min_size=asked["min_size"])
    clusters = [
        {"name": one.name, "terms": one.terms, "cohesion": one.cohesion, "members": one.members}
        for one in found.clusters
    ]
    target = Path(asked["found"])
    fresh = target.with_name(target.name + ".writing")
    fresh.write_text(json.dumps({"clusters": clusters}, ensure_ascii=False), encoding="utf-8")
    os.replace(fresh, target)


def encoded(texts: list[str]) -> Floats:
    """(n, 384), of a workspace that no model encodes the turns of."""
    return np.asarray(MultilingualE5().encode(texts, kind="query"), dtype=np.float32)


def main() -> None:
    os.nice(NICE)
    propose(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
