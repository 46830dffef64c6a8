"""`duomo policy`: show, check, set, try on the past, and list the versions of a workspace's policy."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from duomo.cli.service import _workspace
from duomo.errors import InputError

if TYPE_CHECKING:
    from duomo.cli import Add
    from duomo.support.dry_run import DryRun, Shares
    from duomo.support.policy import Policy


def policy(given: argparse.Namespace) -> int:
    """Show, check, set or try a workspace's policy: what is answered, asked back and handed over."""
    return {"show": _show, "check": _check, "set": _set, "dry-run": _dry_run, "history": _history}[given.action](given)


def _show(given: argparse.Namespace) -> int:
    return asyncio.run(_print_held(given))


async def _print_held(given: argparse.Namespace) -> int:
    from duomo.support.policy import policy_of

    async with _workspace(given) as (db, workspace, _):
        async with db.transaction(workspace.id) as tx:
            row = await tx.one("policy_version", version=given.version) if given.version else await tx.one("policy_now")
    if row is None and given.version:
        raise InputError(f"the policy has no version {given.version}; `duomo policy history` lists them.")
    held = policy_of(row)
    if given.json:
        print(json.dumps(held.as_dict(), ensure_ascii=False))
    else:
        print(held.text, end="" if held.text.endswith("\n") else "\n")
    return 0


def _check(given: argparse.Namespace) -> int:
    """Without a database: mistakes end it, warnings are told."""
    checked = _read(given.file)
    for warning in checked.warnings:
        print(f"{given.file}:{warning.line}: {warning.message}", file=sys.stderr)
    if given.json:
        print(json.dumps(checked.as_dict(), ensure_ascii=False))
        return 0
    for row in checked.table:
        when = "; ".join(f"{column} {condition}" for column, condition in row.when.items()) or "in every other case"
        to = f" to {row.team}" if row.team else ""
        urgency = f" ({row.priority})" if row.priority != "normal" else ""
        sure = "" if row.answer_from is None else f" from {row.answer_from:g}"
        print(f"{row.number:3}  {row.name}: {when} -> {row.do}{sure}{to}{urgency}")
    return 0


def _set(given: argparse.Namespace) -> int:
    return asyncio.run(_save(given))


async def _save(given: argparse.Namespace) -> int:
    from duomo.support.policy import save_policy
    from duomo.support.policy_names import unknown_names

    checked = _read(given.file)
    async with _workspace(given) as (db, workspace, _):
        async with db.transaction(workspace.id) as tx:
            saved = await save_policy(tx, checked.text, given.note, base_version=given.base)
            warnings = [*saved.warnings, *await unknown_names(tx, saved)]
    for warning in sorted(warnings, key=lambda one: one.line):
        print(f"{given.file}:{warning.line}: {warning.message}", file=sys.stderr)
    print(json.dumps({"version": saved.version}) if given.json else f"version {saved.version} holds from now on")
    return 0


def _dry_run(given: argparse.Namespace) -> int:
    return asyncio.run(_try(given))


async def _try(given: argparse.Namespace) -> int:
    from duomo.support.dry_run import dry_run

    checked = _read(given.file)
    async with _workspace(given) as (db, workspace, _):
        async with db.transaction(workspace.id) as tx:
            found = await dry_run(tx, checked, days=given.days)
    if given.json:
        print(json.dumps(found.as_dict(), ensure_ascii=False))
    else:
        print(_told(found))
    return 0


def _told(found: DryRun) -> str:
    if not found.turns:
        return "no conversations in that time"
    lines = [
        f"{found.changed} of {found.turns} turns would come out otherwise, in {found.conversations} conversations",
        f"{'':<20}{'answered':>10}{'asked back':>12}{'handed over':>13}",
        *(
            _row(name, shares)
            for name, shares in (
                ("turns", found.turns_now),
                ("  with this policy", found.turns_then),
                ("conversations", found.conversations_now),
                ("  with this policy", found.conversations_then),
            )
        ),
    ]
    if found.rerouted:
        lines.insert(1, f"{found.rerouted} hand-overs would go to another team or with another priority")
    if (week := found.next_week) is not None:
        lines.append(
            f"next week: about {week.rate:.0%} of {week.conversations:.0f} conversations handed over, "
            f"between {week.low:.0%} and {week.high:.0%} with 95 % certainty"
        )
    for change in found.examples:
        was = change.was.get("name") or change.was["do"]
        words = " ".join(change.text.split())[:60]
        lines.append(f"  {words!r}: {change.was['do']} ({was}) -> {change.becomes['do']} ({change.becomes['name']})")
    return "\n".join(lines)


def _row(name: str, shares: Shares) -> str:
    return f"{name:<20}{shares.answer:>10.1%}{shares.clarify:>12.1%}{shares.hand_over:>13.1%}"


def _history(given: argparse.Namespace) -> int:
    return asyncio.run(_list(given))


async def _list(given: argparse.Namespace) -> int:
    async with _workspace(given) as (db, workspace, _):
        async with db.transaction(workspace.id) as tx:
            rows = await tx.all("policy_history")
    told: list[dict[str, Any]] = [
        {
            "version": row["version"],
            "created_at": row["created_at"].isoformat(timespec="seconds"),
            "by": row["agent_name"],
            "note": row["note"],
        }
        for row in rows
    ]
    if given.json:
        print(json.dumps(told, ensure_ascii=False))
        return 0
    for one in told:
        print(f"{one['version']:4}  {one['created_at']}  {one['by'] or '-'}  {one['note']}".rstrip())
    if not told:
        print("nothing has been saved yet; the shipped policy holds")
    return 0


def _read(path: Path) -> Policy:
    from duomo.support.policy import Policy

    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; save it as UTF-8") from None
    return Policy.parse(text, source=str(path))


def add_commands(add: Add, common: argparse.ArgumentParser) -> None:
    """Tell the parser the commands of this module."""
    told = argparse.ArgumentParser(add_help=False)
    told.add_argument("--json", action="store_true")
    inside = argparse.ArgumentParser(add_help=False, parents=[common, told])
    inside.add_argument("--workspace", default="demo", metavar="NAME", help="default: demo")
    file = argparse.ArgumentParser(add_help=False)
    file.add_argument("file", type=Path, metavar="FILE", help="YAML; - for standard input")

    actions = add(policy, argparse.ArgumentParser(add_help=False)).add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    show = actions.add_parser("show", help="print the policy that holds", parents=[inside])
    show.add_argument("--version", type=int, metavar="N", help="an earlier one")
    actions.add_parser("check", help="tell every mistake in a file, with its line", parents=[told, file])
    save = actions.add_parser("set", help="make a file the policy that holds", parents=[inside, file])
    save.add_argument("--note", default="", help="what changes, and why")
    save.add_argument("--base", type=int, metavar="N", help="refuse unless version N holds")
    trial = actions.add_parser("dry-run", help="try a file on past conversations", parents=[inside, file])
    trial.add_argument("--days", type=float, default=28, metavar="N", help="of the past (default: 28)")
    actions.add_parser("history", help="list the versions", parents=[inside])
