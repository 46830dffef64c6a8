"""`duomo replay`: past turns once more, with another model, policy or article; or exactly as they were."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from duomo.cli import service
from duomo.errors import InputError

if TYPE_CHECKING:
    from duomo.cli import Add
    from duomo.settings import Settings
    from duomo.store.postgres import Database, Workspace
    from duomo.support.answer import Answerer
    from duomo.support.predict import Reader
    from duomo.support.replay import Made, Past, Replay, Replayed, Setup, Share

LISTED = 40  # changed turns that are shown without --json


def replay(given: argparse.Namespace) -> None:
    """Run past turns again: what a new model, policy or article would have changed."""
    asyncio.run(_replay(given))


async def _replay(given: argparse.Namespace) -> None:
    from duomo.store.blobs import Blobs
    from duomo.support import replay as turns

    if given.as_it_was and (given.model or given.policy or given.articles or given.against):
        raise InputError("--as-it-was takes what an answer names; leave --model, --policy, --articles, --against out.")
    for path in given.articles:
        if not path.exists():
            raise InputError(f"there is no file or folder {path}.")
    async with service._workspace(given) as (db, workspace, settings):
        pasts = await turns.past_turns(
            db, workspace.id, since=given.since, limit=given.limit,
            conversation_id=None if given.conversation is None else str(given.conversation),
        )  # fmt: skip
        answerer, reader, calibration = await asyncio.to_thread(_engine, db, settings, _folder(given))
        progress = _progress(len(pasts))
        blobs = Blobs(settings.home / "media")
        if given.as_it_was:
            made = await turns.as_it_was(
                db, blobs, workspace.id, pasts, answerer=answerer, calibration=calibration, reader=reader,
                models=service._knowledge_models, note=progress,
            )  # fmt: skip
            _tell_made(given, made)
            return
        now, new = await _setups(given, db, workspace, answerer, reader)
        async with _searched(given, db, workspace) as searched:
            new = turns.Setup(new.answerer, new.reader, new.model, new.policy, searched)
            against = now if given.against == "now" else None
            found = await turns.replay(db, blobs, workspace.id, pasts, new, against=against, note=progress)
        _tell(given, found, new, pasts)


def _folder(given: argparse.Namespace) -> Path | None:
    """Of --model, where it names one and not a model of the workspace."""
    return Path(given.model) if given.model and Path(given.model).is_dir() else None


def _engine(db: Database, settings: Settings, folder: Path | None) -> tuple[Answerer, Reader, str]:
    from duomo.knowledge.retrieve import Retriever
    from duomo.models.encoders import Models
    from duomo.support.answer import Answerer
    from duomo.support.confidence import Calibration
    from duomo.support.predict import Reader
    from duomo.support.replay import OneModel
    from duomo.worker import load_encoders

    text, english = load_encoders()
    calibration = Calibration.shipped()
    networks = Models(text=text, english=english)
    reader = Reader(settings.home, networks) if folder is None else OneModel(settings.home, networks, folder)
    retriever = Retriever(db, text, english)
    return Answerer(retriever, text, english, calibration=calibration), reader, calibration.version


async def _setups(
    given: argparse.Namespace, db: Database, workspace: Workspace, answerer: Answerer, reader: Reader
) -> tuple[Setup, Setup]:
    """What holds now, and the same with what is to be tried."""
    from duomo.support import replay as turns
    from duomo.support.policy import Policy

    text = await asyncio.to_thread(_file, given.policy) if given.policy else None
    async with db.transaction(workspace.id) as tx:
        active, policy = await turns.what_holds(tx)
        now = turns.Setup(answerer, reader, active, policy, workspace.id)
        model = active
        if isinstance(reader, turns.OneModel):
            model = reader.row
        elif given.model:
            model = await turns.model_called(tx, given.model)
        if text is not None:
            policy = Policy.parse(text, source=given.policy)
        elif given.policy:
            policy = await turns.policy_of_version(tx, _version(given.policy))
    return now, turns.Setup(answerer, reader, model, policy, workspace.id)


def _file(name: str) -> str | None:
    return Path(name).read_text(encoding="utf-8") if Path(name).is_file() else None


def _version(text: str) -> int:
    if not text.isdigit():
        raise InputError(f"there is no policy {text!r}: neither a file nor the number of a version.")
    return int(text)


@contextlib.asynccontextmanager
async def _searched(given: argparse.Namespace, db: Database, workspace: Workspace) -> AsyncIterator[str]:
    """The workspace to search: its own, or a copy with the new articles in it."""
    if not given.articles:
        yield workspace.id
        return
    from duomo.knowledge.ingest import ingest
    from duomo.knowledge.sources import sources_from_paths
    from duomo.store.blobs import Blobs
    from duomo.support.scratch import scratch

    with tempfile.TemporaryDirectory(prefix="duomo-replay-") as folder:
        async with scratch(db, workspace.id) as copy:
            models = await asyncio.to_thread(service._knowledge_models)
            sources = sources_from_paths(given.articles)
            report = await ingest(db, copy, sources, models=models, blobs=Blobs(Path(folder)))
            for name, reason in report.failed:
                print(f"  {name}: {reason}", file=sys.stderr)
            print(f"duomo: {report.added} articles added, {report.updated} updated in a copy", file=sys.stderr)
            yield copy


def _progress(total: int) -> Callable[[int], None]:
    terminal = sys.stderr.isatty()

    def note(done: int) -> None:
        if terminal:
            sys.stderr.write(f"\rduomo: {done}/{total} turns " + ("\n" if done >= total else ""))
            sys.stderr.flush()

    return note


# Telling ----------------------------------------------------------------------------------------------------------


def _tell(given: argparse.Namespace, found: Replay, new: Setup, pasts: list[Past]) -> None:
    if given.json:
        print(json.dumps({"with": new.as_dict(), **found.as_dict(texts=given.show_texts)}, ensure_ascii=False))
        return
    counts = found.counts()
    model = f"model {new.model['name']} ({new.model['fingerprint'][:12]})" if new.model else "no model"
    policy = f"policy {new.policy.version}" if new.policy.version else "the policy of a file or the shipped one"
    conversations = len({past.said.conversation_id for past in pasts})
    print(f"{counts['turns']} turns of {conversations} conversations, with {model}, {policy}")
    print(
        f"same {counts['same']} · other intent {counts['other_intent']} · other source {counts['other_source']} · "
        f"other decision {counts['other_decision']}"
    )
    if counts["understood_now"]:
        print(f"{counts['understood_now']} that no model had read are understood now")
    handed = found.handed_over()
    print(
        f"handed over: before {_share(handed['before'])}, after {_share(handed['after'])}; "
        f"{handed['to_people']} more to people, {handed['from_people']} fewer"
    )
    for what, told in found.labelled().items():
        print(
            f"{_NAMES[what]}, as people said: right before {_share(told['before'])}, after {_share(told['after'])}; "
            f"{told['mended']} mended, {told['broken']} broken"
        )
    if counts["unknown"]:
        print(f"{counts['unknown']} left out: what they answered is not known any more")
    if counts["unseen"]:
        print(f"{counts['unseen']} with files whose vectors this model needs and which are not stored")
    for one in found.changed[:LISTED]:
        print(_line(one, texts=given.show_texts))
    if len(found.changed) > LISTED:
        print(f"… and {len(found.changed) - LISTED} more; --json lists them all")


_NAMES = {"intent": "intents", "source": "sources", "handoff": "hand-overs"}


def _share(share: Share) -> str:
    low, high = share.interval
    return f"{share.k}/{share.n} ({share.share:.0%}, {low:.0%} to {high:.0%})"


def _line(one: Replayed, *, texts: bool) -> str:
    before, after = one.before, one.after
    said = [f"{one.past.said.conversation_id} #{one.past.said.seq}"]
    if "intent" in one.changed:
        said.append(f"intent {before.intent} → {after.intent or 'none'}")
    if "source" in one.changed:
        said.append(f"source {', '.join(before.sources)} → {', '.join(after.sources)}")
    if "decision" in one.changed:
        said.append(f"{_done(before)} → {_done(after)}")
    marks = [f"{what} {'right' if ok else 'wrong'}" for what, ok in one.right(after).items()]
    told = " · ".join([*said, *([f"now {', '.join(marks)}"] if marks else [])])
    return f"  {told}" + (f"\n      {' '.join(one.past.text.split())[:200]}" if texts else "")


def _done(told: Any) -> str:
    if told.do == "hand_over" and told.team:
        return f"hand_over ({told.team}, {told.priority})"
    return f"answer ({', '.join(told.sources)})" if told.do == "answer" and told.sources else str(told.do)


def _tell_made(given: argparse.Namespace, made: list[Made]) -> None:
    same, missing = sum(one.same for one in made), sum(bool(one.missing) for one in made)
    counts = {"turns": len(made), "same": same, "different": len(made) - same - missing, "missing": missing}
    if given.json:
        print(json.dumps({"counts": counts, "turns": [one.as_dict() for one in made]}, ensure_ascii=False))
        return
    print(f"{len(made)} turns: {same} made again exactly, {counts['different']} otherwise, {missing} not possible")
    for one in made:
        if one.same:
            continue
        what = f"missing: {'; '.join(one.missing)}" if one.missing else "; ".join(one.differs)
        also = f" ({'; '.join(one.notes)})" if one.notes else ""
        print(f"  {one.past.said.conversation_id} #{one.past.said.seq} {what}{also}")


def _when(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date; write for example 2026-11-01") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def add_commands(add: Add, common: argparse.ArgumentParser) -> None:
    """Tell the parser the commands of this module."""
    command = add(replay, common)
    command.add_argument("--workspace", default="demo", metavar="NAME", help="default: demo")
    command.add_argument("--since", type=_when, metavar="DATE", help="turns since then")
    command.add_argument("--conversation", type=UUID, metavar="ID", help="of one conversation")
    command.add_argument("--model", metavar="DIR|ID", help="an exported folder, or a model of the workspace")
    command.add_argument("--policy", metavar="FILE|VERSION", help="a policy file, or a version of the workspace's")
    command.add_argument("--articles", nargs="+", type=Path, default=[], metavar="PATH", help="new or changed articles")
    command.add_argument(
        "--against", choices=["then", "now"], default=None,
        help="compare with what came of them then (default), or with what holds now would make of them",
    )  # fmt: skip
    command.add_argument("--as-it-was", action="store_true", help="make past answers again from the versions they name")
    command.add_argument("--limit", type=int, default=1000, metavar="N", help="the newest N turns; default: 1000")
    command.add_argument("--show-texts", action="store_true", help="print what customers wrote")
    command.add_argument("--json", action="store_true", help="one JSON object")
