"""Commands that run the service and ask it: run, ask, retrieve, ingest, workspaces, agents, backups."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import getpass
import json
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from duomo.errors import Conflict, InputError, Unavailable

if TYPE_CHECKING:
    from duomo.cli import Add
    from duomo.knowledge.ingest import Report
    from duomo.settings import Settings
    from duomo.store.postgres import Database, Workspace

# Commands ---------------------------------------------------------------------------------------------------------


def run(given: argparse.Namespace) -> None:
    """Start the database, the web process and the workers; load the demo; stop it all on Ctrl-C."""
    from duomo.service import Service
    from duomo.settings import unknown_variables

    settings = _settings(given)
    for sentence in unknown_variables(os.environ):
        _say(sentence)
    environment = {
        **os.environ,
        "DUOMO_HOME": str(settings.home),
        "DUOMO_PORT": str(settings.port),
        "DUOMO_HOST": settings.host,
    }
    _refuse_a_taken_port(settings)
    started = time.monotonic()
    _say(_text("starting", home=settings.home))
    service = Service(settings.home, environment=environment, database_url=settings.database_url)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with service.running(say=_say) as dsn:
            sign_in = None if given.no_demo else _load_demo(settings, dsn)
            _say(_text("ready", seconds=f"{time.monotonic() - started:.1f}"))
            address = settings.public_url or f"http://{_shown(settings.host)}:{settings.port}"
            lines = [f"  {_text('shop'):<28}{address}/"] if sign_in else []
            lines.append(f"  {_text('console'):<28}{address}/console")
            if sign_in:
                lines.append(f"  {_text('sign_in'):<28}{sign_in.workspace} · {sign_in.email} · {sign_in.password}")
            lines.append(f"  {_text('api'):<28}{address}/docs")
            print("\n" + "\n".join(lines) + f"\n\n{_text('stop')}", flush=True)
            while True:
                time.sleep(3600)
    except KeyboardInterrupt:
        _say(_text("stopped"))


def ask(given: argparse.Namespace) -> None:
    """Answer a question as a customer would get it answered, without storing a conversation."""
    asyncio.run(_ask(given))


async def _ask(given: argparse.Namespace) -> None:
    from duomo.support.ask import ask as answer
    from duomo.worker import load_asking

    rows = _batch(given) if given.batch else None
    if rows is None and not (given.text or given.image or given.audio):
        raise InputError("there is nothing to ask. Give a TEXT, --image FILE, --audio FILE, or --batch FILE.jsonl.")
    async with _workspace(given) as (db, workspace, settings):
        models = await asyncio.to_thread(load_asking, db, settings.home, os.environ)

        async def one(row: dict[str, Any]) -> dict[str, Any]:
            return await answer(
                db, workspace, text=row.get("text") or "", image=_bytes(row, "image"), audio=_bytes(row, "audio"),
                language=row.get("lang") or given.lang, models=models,
            )  # fmt: skip

        if rows is not None:
            for row in rows:
                _line({"id": row.get("id"), **await _or_error(one, row)})
            return
        result = await one({"text": given.text, "image": given.image, "audio": given.audio})
    if given.json:
        _line(result)
        return
    for artifact in result["artifacts"]:
        print(f"[{artifact['kind']} {artifact['confidence']:.2f}] {artifact['text']}")
    print(result["answer"] or f"-> {result['handoff']['reason']}")
    for n, citation in enumerate(result["citations"], 1):
        print(f"  [{n}] {citation['title']} · {citation['uri']}")


def retrieve(given: argparse.Namespace) -> None:
    """Show the passages that retrieval finds for a question."""
    asyncio.run(_retrieve(given))


async def _retrieve(given: argparse.Namespace) -> None:
    from duomo.support.ask import retrieve as search
    from duomo.worker import load_asking

    rows = _batch(given) if given.batch else None
    if rows is None and not (given.query or given.image):
        raise InputError("there is nothing to look for. Give a QUERY, --image FILE, or --batch FILE.jsonl.")
    async with _workspace(given) as (db, workspace, settings):
        models = await asyncio.to_thread(load_asking, db, settings.home, os.environ)

        async def one(row: dict[str, Any]) -> dict[str, Any]:
            found = await search(
                db, workspace, text=row.get("text") or "", image=_bytes(row, "image"), audio=_bytes(row, "audio"),
                language=row.get("lang") or given.lang, k=given.k, models=models,
            )  # fmt: skip
            return {"passages": found}

        if rows is not None:
            for row in rows:
                _line({"id": row.get("id"), **await _or_error(one, row)})
            return
        passages = (await one({"text": given.query, "image": given.image}))["passages"]
    if given.json:
        print(json.dumps(passages, ensure_ascii=False))
        return
    for passage in passages:
        print(f"{passage['score']:6.3f}  {passage['title']}  ({passage['article_id']})")
        print("        " + " ".join(passage["text"].split())[:160])


def ingest(given: argparse.Namespace) -> None:
    """Bring files, folders and archives into the knowledge."""
    asyncio.run(_ingest(given))


async def _ingest(given: argparse.Namespace) -> None:
    from duomo.knowledge.ingest import ingest as read
    from duomo.knowledge.sources import sources_from_paths
    from duomo.store.blobs import Blobs

    for path in given.paths:
        if not path.exists():
            raise InputError(f"there is no file or folder {path}.")
    async with _workspace(given, create=True) as (db, workspace, settings):
        progress = _Progress(sys.stderr)
        report = await read(
            db, workspace.id, sources_from_paths(given.paths), models=await asyncio.to_thread(_knowledge_models),
            blobs=Blobs(settings.home / "media"), progress=progress, prune=given.prune,
        )  # fmt: skip
        progress.end()
    failed = [{"name": name, "reason": reason} for name, reason in report.failed]
    if given.json:
        counts = {name: getattr(report, name) for name in ("added", "unchanged", "updated", "removed")}
        _line({**counts, "failed": failed})
        return
    print(
        f"{report.added} added, {report.updated} updated, {report.unchanged} unchanged"
        + (f", {report.removed} removed" if given.prune else "")
        + (f", {len(failed)} failed:" if failed else "")
    )
    for failure in failed:
        print(f"  {failure['name']}: {failure['reason']}")


def demo(given: argparse.Namespace) -> int:
    """Load the demo workspace, or let its scripted customers talk to the running service."""
    settings = _settings(given)
    if given.play:
        from duomo.play import play

        return play(given.url or f"http://{_shown(settings.host)}:{settings.port}", only=given.only, say=print)
    with _database(settings) as dsn:
        sign_in = asyncio.run(_demo(settings, dsn))
    print(json.dumps(sign_in.__dict__))
    return 0


async def _demo(settings: Settings, dsn: str) -> Any:
    from duomo import demo as content
    from duomo.store.blobs import Blobs
    from duomo.store.postgres import Database

    async with await Database.open(dsn, max_size=3) as db:
        sign_in = await content.prepare(db, settings.home)
        workspace = await db.workspace(content.NAME)
        if not content.is_loaded(workspace):
            progress = _Progress(sys.stderr)
            models = await asyncio.to_thread(_knowledge_models)
            report = await content.load_articles(
                db, workspace, models=models, blobs=Blobs(settings.home / "media"), progress=progress
            )
            progress.end()
            for name, reason in report.failed:
                print(f"  {name}: {reason}", file=sys.stderr)
    return sign_in


def workspace(given: argparse.Namespace) -> None:
    """Make a workspace, change its settings, or list them."""
    asyncio.run(_make_workspace(given))


async def _make_workspace(given: argparse.Namespace) -> None:
    from duomo.store.postgres import Database

    with _database(_settings(given)) as dsn:
        async with await Database.open(dsn, max_size=2) as db:
            if given.name:
                changes = dict(_setting(text) for text in given.set)
                made = await db.create_workspace(given.name, {})
                if changes:
                    async with db.transaction(made.id) as tx:
                        await tx.run("update_workspace_settings", id=made.id, settings=changes)
                    for name, value in changes.items():
                        print(f"{made.name}: {name} is {json.dumps(value, ensure_ascii=False)}")
                    return
                print(f"workspace {made.name}; add its first agent with `duomo agent EMAIL --workspace {made.name}`")
                return
            async with db.transaction(None) as tx:
                for row in await tx.all("workspace_names"):
                    print(row["name"])


def _setting(text: str) -> tuple[str, Any]:
    """NAME=VALUE, the value as JSON, of the kind that the setting's default has."""
    from duomo.support.conversation import Settings as WorkspaceSettings

    name, _, value = text.partition("=")
    defaults = WorkspaceSettings()
    known = [*WorkspaceSettings.__slots__, "allowed_origins"]
    if name not in known:
        raise InputError(f"there is no workspace setting {name!r}; there are: {', '.join(sorted(known))}.")
    try:
        parsed = json.loads(value)
    except ValueError:
        raise InputError(f"{value!r} is not JSON; write for example {name}=true or {name}='[\"https://…\"]'.") from None
    wanted = getattr(defaults, name, [])
    kind = type(wanted) if isinstance(wanted, bool | int | float | dict) else list
    if not isinstance(parsed, kind) or isinstance(parsed, bool) is not isinstance(wanted, bool):
        raise InputError(f"{name} is {value}, expected is a value like {json.dumps(wanted, ensure_ascii=False)}.")
    return name, parsed


def agent(given: argparse.Namespace) -> None:
    """Add an agent to a workspace, or give one a new password."""
    asyncio.run(_save_agent(given))


async def _save_agent(given: argparse.Namespace) -> None:
    from duomo.server.auth import save_agent

    if "@" not in given.email:
        raise InputError(f"{given.email!r} is not an e-mail address.")
    made = secrets.token_urlsafe(9)
    password = getpass.getpass("password (empty: make one): ") if sys.stdin.isatty() else ""
    async with _workspace(given) as (db, workspace, _):
        async with db.transaction(workspace.id) as tx:
            await save_agent(
                tx, email=given.email, name=given.name or given.email.split("@")[0], password=password or made,
                role="owner" if given.owner else "agent",
            )  # fmt: skip
    print(f"{given.email} may sign in to {given.workspace}" + ("" if password else f" with {made}"))


def status(given: argparse.Namespace) -> None:
    """Say which models are here, and whether a service runs."""
    from duomo.models import weights

    settings = _settings(given)
    features = [{"feature": f.name, "available": f.available, "reason": f.reason} for f in weights.status()]
    running = _port_answers(settings)
    if given.json:
        _line({"running": running, "home": str(settings.home), "models": features})
        return
    print(f"home     {settings.home}\nservice  {'runs' if running else 'does not run'} on port {settings.port}")
    for feature in features:
        print(f"model    {feature['feature']:<20} {'ok' if feature['available'] else feature['reason']}")


def backup(given: argparse.Namespace) -> None:
    """Save the database and all files into one file."""
    from duomo.store.backup import save

    settings = _settings(given)
    with _database(settings) as dsn:
        print(f"{given.file}: {save(dsn, settings.home, given.file):,} bytes")


def restore(given: argparse.Namespace) -> None:
    """Load a backup into an empty home."""
    from duomo.store import embedded
    from duomo.store.backup import load

    settings = _settings(given)
    with contextlib.ExitStack() as stack:
        dsn = settings.database_url or stack.enter_context(embedded.server(settings.home))
        load(dsn, settings.home, given.file)
    print(f"restored into {settings.home}")


def upgrade(given: argparse.Namespace) -> None:
    """Bring an embedded database of an older PostgreSQL to the one of this Duomo."""
    from duomo.store import embedded

    found = embedded.upgrade(_settings(given).home)
    print(f"upgraded from PostgreSQL {found}" if found else "nothing to do")


def server(given: argparse.Namespace) -> int:
    """The web process alone, for a deployment that starts processes itself."""
    from duomo.server.__main__ import main as serve

    return serve(given.rest)


def worker(given: argparse.Namespace) -> None:
    """A worker process alone."""
    from duomo.worker import main as work

    work(given.rest)


# What commands share ----------------------------------------------------------------------------------------------


def _settings(given: argparse.Namespace) -> Settings:
    from duomo.settings import load

    return load(os.environ, home=given.home, port=getattr(given, "port", None), host=getattr(given, "host", None))


@contextlib.contextmanager
def _database(settings: Settings) -> Iterator[str]:
    from duomo import store

    with store.open_home(settings.home, settings.database_url) as dsn:
        yield dsn


@contextlib.asynccontextmanager
async def _workspace(
    given: argparse.Namespace, *, create: bool = False
) -> AsyncIterator[tuple[Database, Workspace, Settings]]:
    from duomo.store.postgres import Database

    settings = _settings(given)
    with _database(settings) as dsn:
        async with await Database.open(dsn, max_size=4) as db:
            made = await (db.create_workspace(given.workspace, {}) if create else db.workspace(given.workspace))
            yield db, made, settings


def _knowledge_models() -> Any:
    from duomo.knowledge.ingest import Models
    from duomo.models.embed import MiniLM, MultilingualE5
    from duomo.models.perceive import load_perception

    threads = os.cpu_count() or 1
    seen = load_perception(threads=threads)
    return Models(
        MultilingualE5(threads=threads), MiniLM(threads=threads), pictures=seen.pictures, reader=seen.ocr,
        speech=seen.speech,
    )  # fmt: skip


def _load_demo(settings: Settings, dsn: str) -> Any:
    """In a process of its own: the models it needs are given back when it ends."""
    import subprocess

    from duomo.demo import SignIn

    _say(_text("demo"))
    done = subprocess.run(
        [sys.executable, "-m", "duomo.cli", "demo", "--home", str(settings.home)],
        stdout=subprocess.PIPE, text=True, check=False, env={**os.environ},
    )  # fmt: skip
    if done.returncode:
        raise Unavailable("the demo workspace could not be loaded; see above. Start with --no-demo to leave it out.")
    return SignIn(**json.loads(done.stdout.splitlines()[-1]))


def _batch(given: argparse.Namespace) -> list[dict[str, Any]]:
    try:
        lines = given.batch.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{given.batch} cannot be read: {error}") from error
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(f"{given.batch}, line {number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise InputError(f"{given.batch}, line {number} is {type(row).__name__}, expected an object with a text.")
        rows.append({**row, "_folder": given.batch.parent})
    return rows


async def _or_error(one: Callable[[dict[str, Any]], Any], row: dict[str, Any]) -> dict[str, Any]:
    """A row of a batch that cannot be used is answered with its reason; the others go on."""
    try:
        return dict(await one(row))
    except InputError as error:
        return {"error": {"code": error.code, "message": str(error)}}


def _bytes(row: dict[str, Any], name: str) -> bytes | None:
    if not row.get(name):
        return None
    path = Path(row.get("_folder", "."), str(row[name]))
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"the {name} {row[name]} cannot be read: {error.strerror}.") from error


def _line(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False), flush=True)


class _Progress:
    """A line that says how far an ingestion is: on a terminal in place, elsewhere every two seconds."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._said = time.monotonic()

    async def __call__(self, report: Report) -> None:
        if time.monotonic() - self._said < (0.1 if self._terminal else 2):
            return
        self._said = time.monotonic()
        width = shutil.get_terminal_size().columns - 1
        line = f"duomo: {report.done}/{report.total} files, {report.added} added, {len(report.failed)} failed"
        self._stream.write(f"\r{line:<{width}.{width}}" if self._terminal else f"{line}\n")
        self._stream.flush()

    def end(self) -> None:
        if self._terminal:
            self._stream.write("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r")


def _say(text: str) -> None:
    print(f"duomo: {text}", flush=True)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _port_answers(settings: Settings) -> bool:
    import socket

    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex((_shown(settings.host), settings.port)) == 0


def _refuse_a_taken_port(settings: Settings) -> None:
    if _port_answers(settings):
        raise Conflict(f"port {settings.port} is taken. Stop what uses it, or start with another --port.")


def _shown(host: str) -> str:
    return "127.0.0.1" if host in ("0.0.0.0", "::", "") else host


_TEXTS = {
    "starting": ("starting in {home}", "正在启动，数据在 {home}"),
    "demo": ("loading the demo workspace", "正在载入演示工作区"),
    "ready": ("ready after {seconds} s", "已就绪，用时 {seconds} 秒"),
    "shop": ("Demo shop with chat", "演示商店（含聊天窗口）"),
    "console": ("Agent console", "客服工作台"),
    "sign_in": ("Sign-in for the console", "工作台登录"),
    "api": ("API documentation", "接口文档"),
    "stop": ("Press Ctrl-C to stop.", "按 Ctrl-C 停止。"),
    "stopped": ("stopped", "已停止"),
}


def _text(name: str, **values: object) -> str:
    """A sentence of `run` in the language of the terminal."""
    locale = next((os.environ[v] for v in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(v)), "")
    return _TEXTS[name][locale.startswith("zh")].format(**values)


def add_commands(add: Add, common: argparse.ArgumentParser) -> None:
    """Tell the parser the commands of this module."""
    inside = argparse.ArgumentParser(add_help=False, parents=[common])
    inside.add_argument("--workspace", default="demo", metavar="NAME", help="default: demo")

    command = add(run, common)
    command.add_argument("--port", type=int, help="default: 8080")
    command.add_argument("--host", help="default: 127.0.0.1, this machine only")
    command.add_argument("--no-demo", action="store_true", help="do not load the demo workspace")

    command = add(ask, inside)
    command.add_argument("text", nargs="?", metavar="TEXT")
    command.add_argument("--image", metavar="FILE")
    command.add_argument("--audio", metavar="FILE")
    command.add_argument("--lang", choices=("zh", "en"), help="default: recognised")
    command.add_argument("--json", action="store_true")
    command.add_argument("--batch", type=Path, metavar="FILE.jsonl", help='{"id", "text", "image", "audio"} a line')

    command = add(retrieve, inside)
    command.add_argument("query", nargs="?", metavar="QUERY")
    command.add_argument("--image", metavar="FILE")
    command.add_argument("--lang", choices=("zh", "en"), help="default: recognised")
    command.add_argument("--json", action="store_true")
    command.add_argument("-k", type=_positive, default=5, metavar="N", help="how many passages (default: 5)")
    command.add_argument("--batch", type=Path, metavar="FILE.jsonl", help='{"id", "text", "image", "audio"} a line')

    command = add(ingest, inside)
    command.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    command.add_argument("--json", action="store_true")
    command.add_argument("--prune", action="store_true", help="remove articles whose files are gone from the folders")

    command = add(demo, common)
    command.add_argument("--play", action="store_true", help="let the ten scripted customers talk to a running service")
    command.add_argument("--only", metavar="NAME", help="one of the customers")
    command.add_argument("--url", help="of the service (default: this machine, --port)")
    command.add_argument("--port", type=int)

    command = add(workspace, common)
    command.add_argument("name", nargs="?", metavar="NAME", help="the workspace to make; without it, list them")
    command.add_argument("--set", action="append", default=[], metavar="SETTING=JSON", help="e.g. keep_originals=true")

    command = add(agent, inside)
    command.add_argument("email", metavar="EMAIL")
    command.add_argument("--name")
    command.add_argument("--owner", action="store_true")

    command = add(status, common)
    command.add_argument("--port", type=int)
    command.add_argument("--json", action="store_true")

    for function in (backup, restore):
        add(function, common).add_argument("file", type=Path, metavar="FILE")
    add(upgrade, common)
    for process in (server, worker):
        add(process, argparse.ArgumentParser(add_help=False)).add_argument("rest", nargs=argparse.REMAINDER)


def _positive(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 200:
        raise argparse.ArgumentTypeError(f"{number} passages were asked for, allowed are 1 to 200")
    return number
