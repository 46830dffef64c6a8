"""Names in a policy that nothing in the workspace has: a misspelt intent would never fit, and nobody would notice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from duomo.learn.yaml_file import Mistake, nearest
from duomo.store.postgres import Tx, pg_array
from duomo.support.labels import label_sets
from duomo.support.policy import Policy


async def unknown_names(tx: Tx, policy: Policy) -> list[Mistake]:
    """Intents that neither the active model nor the workspace's list has, and articles that are not there.

    Of intents nothing is said while there is no list to compare with.
    """
    articles = {name for _, what, name in policy.mentions if what == "article"}
    rows = await tx.all("known_articles", names=pg_array(articles)) if articles else []
    found = {row["name"] for row in rows}
    head = next((one for one in await label_sets(tx) if one.head == "intent"), None)
    intents = [label.name for label in head.labels] if head else []
    known = any(name != (head.out_of_scope if head else None) for name in intents)
    unknown: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
    for line, what, name in policy.mentions:
        if (what == "article" and name not in found) or (what == "intent" and known and name not in intents):
            unknown[line, what].append(name)
    return [Mistake(line, _told(what, names, intents)) for (line, what), names in unknown.items()]


def _told(what: str, names: Sequence[str], intents: Sequence[str]) -> str:
    listed = ", ".join(names)
    if what == "article":
        return f"no article has the id or topic {listed}"
    return f"there is no intent {listed}, so what asks for it never fits.{nearest(names[0], intents)}"
