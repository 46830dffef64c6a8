"""Names in a policy that nothing in the workspace has: a misspelt label would never fit, and nobody would notice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from duomo.learn.yaml_file import Mistake, nearest
from duomo.store.postgres import Tx, pg_array
from duomo.support.labels import LabelSet, label_sets
from duomo.support.policy import HEAD, Policy
from duomo.support.registry import current

TOLD: Mapping[str, str] = {
    "article": "no article has the id or topic {names}",
    "head": "the active model has no head {names}, so what asks for it never fits.{near}",
    "intent": "there is no intent {names}, so what asks for it never fits.{near}",
    "urgency": "there is no urgency {names}, so what asks for it never fits.{near}",
}
LABEL = "the head {head} has no label {names}, so what asks for it never fits.{near}"


async def unknown_names(tx: Tx, policy: Policy) -> list[Mistake]:
    """Labels that neither the active model nor the workspace's list has, heads that the active model does not have, and
    articles that are not there.

    Nothing is said while there is no list to compare with.
    """
    known = await _known(tx, policy)
    unknown: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
    for line, what, name in policy.mentions:
        if what in known and name not in known[what]:
            unknown[line, what].append(name)
    return [Mistake(line, _told(what, names, known[what])) for (line, what), names in unknown.items()]


async def _known(tx: Tx, policy: Policy) -> dict[str, Collection[str]]:
    """What there is of each kind that a policy mentions, as far as there is a list of it."""
    articles = {name for _, what, name in policy.mentions if what == "article"}
    rows = await tx.all("known_articles", names=pg_array(articles)) if articles else []
    known: dict[str, Collection[str]] = {"article": {row["name"] for row in rows}}
    if active := (await current(tx)).get("active"):
        known["head"] = list(active["manifest"]["heads"])
    for head in await label_sets(tx):
        if labels := _labels(head):
            known |= dict.fromkeys((head.head, HEAD + head.head), labels)
    return known


def _labels(head: LabelSet) -> list[str]:
    """Empty where it has only the label for what no other fits, or is a number."""
    names = [label.name for label in head.labels]
    return names if any(name != head.out_of_scope for name in names) else []


def _told(what: str, names: Sequence[str], known: Collection[str]) -> str:
    mould = TOLD.get(what, LABEL)
    return mould.format(names=", ".join(names), head=what.removeprefix(HEAD), near=nearest(names[0], list(known)))
