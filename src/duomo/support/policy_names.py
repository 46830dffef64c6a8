"""Names in a policy that nothing in the workspace has: a misspelt intent would never fit, and nobody would notice."""

from __future__ import annotations

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
    told: list[Mistake] = []
    for line, what, name in policy.mentions:
        if what == "article" and name not in found:
            told.append(Mistake(line, f"there is no article with the id or topic {name!r}"))
        if what == "intent" and known and name not in intents:
            near = nearest(name, intents)
            told.append(Mistake(line, f"there is no intent {name!r}: what asks for it never fits.{near}"))
    return told
