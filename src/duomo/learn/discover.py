"""New intents among unlabelled texts: clusters with names, examples and sizes.

    embeddings -> centred, PCA -> Ward's tree -> cut where the silhouette is best -> what fits nowhere is left out

Chosen on CLINC150, BANKING77 and SMP2020 against HDBSCAN, k-means and spectral clustering (docs/experiments.md).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import cdist

from duomo.errors import InputError
from duomo.learn.page import Html, page, say, tag
from duomo.media.text import stem
from duomo.models.features import Features, Floats
from duomo.models.language import detect_language
from duomo.models.ngrams import STOP_WORDS, words

TREE_ROWS = 8000
"""Ward's tree takes memory by the square of its rows; of more rows a sample makes the clusters, the rest joins them."""
SILHOUETTE_ROWS = 2500
DIMENSIONS = 50
CUTS = 40  # numbers of clusters tried
MOST_CLUSTERS = 300
GOOD_ENOUGH = 0.97
"""Of the best silhouette: the fewest clusters that reach it are taken, since people read them."""
ENGLISH_ONLY = "text.minilm"
EXAMPLES = 8
TERMS = 6

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Cluster:
    name: str  # its most distinctive words, e.g. "freeze account · block card"
    terms: tuple[str, ...]
    size: int
    cohesion: float  # mean cosine of members and centre, of centred embeddings, [-1, 1]
    examples: tuple[tuple[str, str], ...]  # (id, text), nearest to the centre first
    members: tuple[str, ...]  # ids, nearest first


@dataclass(frozen=True, slots=True)
class Discovery:
    clusters: tuple[Cluster, ...]  # largest first
    known: tuple[str, ...]  # ids left out because the model knows what they want
    alone: tuple[str, ...]  # ids left out because they fit no cluster
    silhouette: float | None  # of the cut, [-1, 1]; None with fewer than two clusters

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def to_text(self) -> str:
        """For a terminal."""
        lines = [f"{len(self.clusters)} clusters; left out: {len(self.known)} known, {len(self.alone)} alone"]
        for cluster in self.clusters:
            lines.append(f"\n{cluster.name}  ({cluster.size}, cohesion {cluster.cohesion:.2f})")
            lines += [f"  {_line(text)}" for _, text in cluster.examples[:4]]
        return "\n".join(lines)

    def to_html(self) -> str:
        """One page that needs no other file, in English and Chinese."""
        return _html(self)


def discover(
    ids: Sequence[str],
    texts: Sequence[str],
    embeddings: Floats,
    *,
    known: Sequence[float] | Floats | None = None,
    min_size: int = 8,
    seed: int = 0,
) -> Discovery:
    """Group texts into what may become new intents.

    Args:
        texts: by id; "" where there is none. They name the clusters; embeddings alone form them.
        embeddings: (n, d). Of several encoders: `side_by_side`.
        known: (n,) probability that a text is of an intent the model has; from 0.5 on it is left out.
        min_size: smaller clusters are left out.
    Raises:
        InputError: lengths differ, or an embedding is not finite.

    Source: Ward 1963, Hierarchical grouping to optimize an objective function; Rousseeuw 1987, Silhouettes; names by
    class-based TF-IDF, Grootendorst 2022, BERTopic, arXiv:2203.05794, equation 2.
    """
    embeddings = np.asarray(embeddings, dtype=np.float32)
    scores = np.zeros(len(ids)) if known is None else np.asarray(known, dtype=np.float64)
    if embeddings.ndim != 2 or not len(ids) == len(texts) == len(embeddings) == len(scores):
        raise InputError(
            f"{len(ids)} ids, {len(texts)} texts, embeddings {embeddings.shape} and {len(scores)} scores; "
            "wanted: one row of each a text"
        )
    if not np.isfinite(embeddings).all():
        raise InputError("an embedding is not finite")
    if min_size < 2:
        raise InputError(f"min_size is {min_size}; a cluster has at least 2 texts")
    rows = np.flatnonzero(scores < 0.5)
    points = _unit(embeddings[rows] - embeddings[rows].mean(axis=0)) if len(rows) else embeddings[rows]
    assigned, silhouette = _clusters(points, min_size, np.random.default_rng(seed))
    kept = _fitting(points, assigned, min_size)
    groups = [rows[kept == one] for one in range(kept.max(initial=-1) + 1)]
    names = _terms([[texts[int(row)] for row in group] for group in groups])
    found = [_cluster(ids, texts, points[kept == one], groups[one], names[one]) for one in range(len(groups))]
    return Discovery(
        clusters=tuple(sorted(found, key=lambda cluster: (-cluster.size, cluster.name))),
        known=tuple(ids[int(row)] for row in np.flatnonzero(scores >= 0.5)),
        alone=tuple(ids[int(row)] for row in rows[kept < 0]),
        silhouette=silhouette if len(found) > 1 else None,
    )


def side_by_side(*views: Floats) -> Floats:
    """(n, d1), (n, d2), ... -> (n, d1 + d2 + ...), each centred and of unit length: none outweighs another."""
    return np.hstack([_unit(view - view.mean(axis=0)) for view in views])


def text_embeddings(features: Features, texts: Sequence[str]) -> Floats:
    """(n, d) for `discover`, out of a model's features: the dense views of the text, side by side.

    MiniLM reads English alone: Chinese rows stand by the other views (on SMP2020 that keeps NMI .54 from falling to
    .42). Without a view of text, all the dense views there are.
    """
    views = {name: view for name, view in features.dense.items() if name.startswith("text.")} or dict(features.dense)
    if not views:
        raise InputError("no dense view to compare the samples by; the model reads sparse views alone")
    chinese = np.array([detect_language(text) == "zh" for text in texts], dtype=np.bool_)
    none = np.zeros(len(texts), dtype=np.bool_)
    silent = {name: chinese if name == ENGLISH_ONLY and len(views) > 1 else none for name in views}
    return np.hstack([_for(view, silent[name]) for name, view in sorted(views.items())])


def _for(view: Floats, silent: NDArray[np.bool_]) -> Floats:
    """Centred and of unit length where it speaks; nothing where it is silent."""
    rows = np.zeros_like(view)
    if not silent.all():
        rows[~silent] = side_by_side(view[~silent])
    return rows


def _unit(rows: Floats) -> Floats:
    unit: Floats = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)).astype(np.float32)
    return unit


def _cluster(ids: Sequence[str], texts: Sequence[str], points: Floats, rows: Indices, terms: list[str]) -> Cluster:
    centre = _unit(points.mean(axis=0, keepdims=True))[0]
    cosines = points @ centre
    nearest = np.argsort(-cosines, kind="stable")
    examples: dict[str, tuple[str, str]] = {}
    for at in rows[nearest]:
        if texts[at].strip() and len(examples) < EXAMPLES:
            examples.setdefault(texts[at].strip().lower(), (ids[at], texts[at]))
    return Cluster(
        name=" · ".join(terms[:3]) or "…",
        terms=tuple(terms),
        size=len(rows),
        cohesion=round(float(cosines.mean()), 4),
        examples=tuple(examples.values()),
        members=tuple(ids[at] for at in rows[nearest]),
    )


# --- clusters


def _clusters(points: Floats, min_size: int, rng: np.random.Generator) -> tuple[Indices, float | None]:
    """(n,) cluster from 0 of every point, and the silhouette of the cut."""
    most = min(len(points) // min_size, MOST_CLUSTERS)
    if most < 2:
        return np.zeros(len(points), dtype=np.int64), None
    sample = np.sort(rng.permutation(len(points))[:TREE_ROWS])
    reduced = _reduced(points[sample])
    tree = linkage(reduced.astype(np.float64), "ward")
    seen = np.sort(rng.permutation(len(sample))[:SILHOUETTE_ROWS])
    distances = cdist(reduced[seen], reduced[seen])
    cuts = sorted({round(k) for k in np.geomspace(2, most, CUTS)})
    tried = {k: fcluster(tree, k, "maxclust").astype(np.int64) - 1 for k in cuts}
    silhouettes = {k: _silhouette(distances, labels[seen]) for k, labels in tried.items()}
    best = max(silhouettes.values())
    chosen = min(k for k in cuts if silhouettes[k] >= GOOD_ENOUGH * best - 1e-9 or silhouettes[k] == best)
    labels = tried[chosen]
    if len(sample) == len(points):
        return labels, silhouettes[chosen]
    return np.argmax(points @ _centres(points[sample], labels).T, axis=1), silhouettes[chosen]


def _reduced(points: Floats) -> Floats:
    """(n, 50) of unit length: the directions in which the points differ most."""
    values, vectors = np.linalg.eigh(np.cov(points, rowvar=False).reshape(points.shape[1], -1))
    return _unit(points @ vectors[:, np.argsort(-values)[:DIMENSIONS]].astype(np.float32))


def _silhouette(distances: NDArray[np.float64], labels: Indices) -> float:
    """Mean of (b - a) / max(a, b); a: mean distance to the own cluster's others, b: to the nearest other cluster."""
    _, labels = np.unique(labels, return_inverse=True)
    count = labels.max() + 1
    if count < 2:
        return -1.0
    sizes = np.bincount(labels)
    sums = distances @ np.eye(count)[labels]  # (n, clusters)
    rows = np.arange(len(labels))
    own = sums[rows, labels] / np.maximum(sizes[labels] - 1, 1)
    means = sums / sizes
    means[rows, labels] = np.inf
    other = means.min(axis=1)
    score = (other - own) / np.maximum(np.maximum(own, other), 1e-12)
    return float(np.where(sizes[labels] > 1, score, 0.0).mean())


def _centres(points: Floats, labels: Indices) -> Floats:
    return _unit(np.stack([points[labels == one].mean(axis=0) for one in range(labels.max() + 1)]))


def _fitting(points: Floats, labels: Indices, min_size: int) -> Indices:
    """(n,) cluster, renumbered; -1 for points that are no nearer to their centre than halfway between what is usual
    for an own and for the nearest other centre, and for those of clusters that are then too small."""
    if not len(points):
        return labels
    fitting = labels.copy()
    if labels.max() > 0:
        cosines = points @ _centres(points, labels).T
        rows = np.arange(len(points))
        own = cosines[rows, labels].copy()
        cosines[rows, labels] = -np.inf
        fitting[own < (np.median(own) + np.median(cosines.max(axis=1))) / 2] = -1
    sizes = np.bincount(fitting[fitting >= 0], minlength=labels.max() + 1)
    numbers = np.where(sizes >= min_size, np.cumsum(sizes >= min_size) - 1, -1)
    return np.where(fitting >= 0, numbers[fitting], -1)


# --- names


def _terms(groups: list[list[str]]) -> list[list[str]]:
    """The words and word pairs that tell each cluster from the others, best first.

    A term's weight is the share of the cluster's texts that hold it, times ln(1 + mean count a cluster / count in all).
    Forms of one word count together; the most frequent stands for them.
    """
    counts: list[Counter[str]] = []
    forms: dict[str, Counter[str]] = defaultdict(Counter)  # term of stems -> how it is written
    for group in groups:
        counts.append(Counter())
        for text in group:
            for term, form in _candidates(text).items():
                counts[-1][term] += 1
                forms[term][form] += 1
    total = sum(counts, Counter[str]())
    mean = total.total() / max(len(groups), 1)
    named = []
    for group, count in zip(groups, counts, strict=True):
        least = max(2, 0.05 * len(group))  # a term that few texts hold names nothing
        weights = {
            term: seen / len(group) * math.log(1 + mean / total[term]) for term, seen in count.items() if seen >= least
        }
        named.append([forms[term].most_common(1)[0][0] for term in _readable(weights)])
    return named


def _candidates(text: str) -> dict[str, str]:
    """Words with a meaning, and pairs of neighbours without a function word between: stems -> as written."""
    found: dict[str, str] = {}
    for first, second in pairwise(["", *(word.removesuffix("'s") for word in words(text))]):
        if not _content(second):
            continue
        found[stem(second)] = second
        if _content(first):
            space = " " if first.isascii() or second.isascii() else ""
            found[f"{stem(first)}{space}{stem(second)}"] = f"{first}{space}{second}"
    return found


def _content(word: str) -> bool:
    plain = word.partition("'")[0]  # "i'd" is as empty as "i"
    return len(plain) > (1 if plain.isascii() else 0) and plain not in STOP_WORDS and not plain.isdigit()


def _readable(weights: Mapping[str, float]) -> list[str]:
    """Without terms that are part of a better one; a pair nearly as good as its best word takes that word's place."""
    chosen: list[str] = []
    for term in sorted(weights, key=lambda term: (-weights[term] * (1.5 if _pair(term, weights) else 1.0), term)):
        if not any(term in other or other in term for other in chosen):
            chosen.append(term)
        if len(chosen) == TERMS:
            break
    return chosen


def _pair(term: str, weights: Mapping[str, float]) -> bool:
    if " " in term:
        return True
    return any(term[:at] in weights and term[at:] in weights for at in range(1, len(term))) and not term.isascii()


# --- page


def _html(discovery: Discovery) -> str:
    largest = max((cluster.size for cluster in discovery.clusters), default=1)
    cards = [_card(cluster, number, largest) for number, cluster in enumerate(discovery.clusters, 1)]
    none = say(
        "No cluster was found. Give more texts, or a smaller least size.",
        "没有找到簇。请提供更多文本，或减小最小簇的大小。",
    )
    body = tag("div", cards, class_="charts") if cards else tag("p", none, class_="verdict")
    return page("New intents 新意图 · Duomo", _intro(discovery), body)


def _intro(discovery: Discovery) -> Html:
    lead = say(
        "Groups of texts that ask for the same, named by the words that tell them apart. Each may become an intent: "
        "give it a name of your own, and label its texts.",
        "诉求相同的文本归为一簇，并以最有区分度的词语命名。每一簇都可能成为一个新意图：请为它取名，并标注其中的文本。",
    )
    members = sum(cluster.size for cluster in discovery.clusters)
    chips = [
        say("{n} clusters", "{n} 个簇", n=len(discovery.clusters)),
        say("{n} texts in them", "共 {n} 条文本", n=f"{members:,}"),
        say("{n} known already", "{n} 条意图已知", n=f"{len(discovery.known):,}"),
        say("{n} fit no cluster", "{n} 条不属于任何簇", n=f"{len(discovery.alone):,}"),
    ]
    return tag(
        "div",
        tag("h1", say("New intents", "新意图")),
        tag("p", lead, class_="lead"),
        tag("ul", [tag("li", chip, class_="chip") for chip in chips], class_="chips"),
        class_="intro",
    )


def _card(cluster: Cluster, number: int, largest: int) -> Html:
    about = say("{n} texts, cohesion {c}", "{n} 条文本，内聚度 {c}", n=f"{cluster.size:,}", c=f"{cluster.cohesion:.2f}")
    gauge = tag("div", tag("i"), class_="gauge", style=f"--v: {100 * cluster.size / largest:.1f}")
    examples = [tag("li", _line(text)) for _, text in cluster.examples]
    return tag(
        "section",
        tag("header", tag("h2", cluster.name), tag("p", about)),
        gauge,
        tag("ul", [tag("li", term, class_="chip") for term in cluster.terms], class_="chips"),
        tag("ul", examples) if examples else None,
        tag(
            "details",
            tag("summary", say("All ids", "全部编号"), class_="small muted"),
            tag("p", ", ".join(cluster.members), class_="mono"),
        ),
        class_="card",
        id=f"cluster-{number}",
    )


def _line(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 200 else text[:199] + "…"
