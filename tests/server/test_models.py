"""Models over REST: who may change them, what is shown, and archives that are not what they say."""

from __future__ import annotations

import asyncio
import io
import stat
import uuid
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from duomo.models.features import View
from duomo.models.manifest import sha256
from duomo.server.auth import save_agent
from duomo.store.postgres import Database, Workspace
from duomo.support import model_archive, registry
from duomo.support.alarms import raise_alarm
from tests.server.conftest import PASSWORD, Person, Running, become_agent, within
from tests.support.exported import export
from tests.support.live import Behaviour, Traffic, new_model, use


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("model") / "onnx")


@pytest.fixture
async def owner(web: Running, db: Database, workspace: Workspace) -> AsyncIterator[Person]:
    async with db.transaction(workspace.id) as tx:
        await save_agent(tx, email="own@example.com", name="Ou", password=PASSWORD, role="owner")
    person = await become_agent(web.url, workspace, "own@example.com")
    yield person
    await person.http.aclose()


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def send(person: Person, data: bytes, name: str = "demo.zip") -> httpx2.Response:
    return await person.call("POST", "models", files={"file": (name, data, "application/zip")})


async def with_worker(db: Database, home: Path, workspace: Workspace, sending: Any) -> httpx2.Response:
    """The answer to an upload, with a worker that does its job."""
    task = asyncio.ensure_future(sending)
    while not task.done():
        async with db.transaction(workspace.id) as tx:
            found = await (await tx.connection.execute("SELECT id FROM questions WHERE kind = 'model'")).fetchone()
        if found is not None:
            await model_archive.take_over(db, home, workspace.id, str(found["id"]))
        await asyncio.sleep(0.05)
    return await within(20, task)


# Roles ------------------------------------------------------------------------------------------------------------


async def test_an_owner_gives_and_takes_roles_and_the_history_says_who_and_why(
    owner: Person, db: Database, workspace: Workspace
) -> None:
    first, second = [await new_model(db, workspace, name) for name in ("one", "two")]
    for model, reason in ((first, "the first"), (second, "better on invoices")):
        answer = await owner.post(f"models/{model}/deploy", {"role": "active", "reason": reason})
        assert answer.status_code == 200, answer.text
    shown = (await owner.post(f"models/{first}/deploy", {"role": "canary", "share": 0.25, "reason": "again"})).json()
    assert {role: (row["model_id"], row["share"]) for role, row in shown["roles"].items()} == {
        "active": (second, None),
        "canary": (first, 0.25),
    }
    assert [(model["name"], model["roles"]) for model in shown["models"]] == [("two", ["active"]), ("one", ["canary"])]
    assert (await owner.post("models/retire", {"role": "canary", "reason": "enough"})).status_code == 200
    history = (await owner.get("models/history")).json()
    story = [(r["name"], r["role"], r["agent"], r["reason"], r["ended_by"], r["ended_reason"]) for r in history]
    assert story == [
        ("one", "canary", "Ou", "again", "agent", "enough"),
        ("two", "active", "Ou", "better on invoices", None, None),
        ("one", "active", "Ou", "the first", "agent", "better on invoices"),
    ]


async def test_an_owner_goes_back_to_the_former_model_in_one_step(
    owner: Person, db: Database, workspace: Workspace
) -> None:
    first, second = [await new_model(db, workspace, name) for name in ("one", "two")]
    for model in (first, second):
        await owner.post(f"models/{model}/deploy", {"role": "active", "reason": "x"})
    shown = (await owner.post("models/rollback", {"reason": "it is rude"})).json()
    assert {role: row["model_id"] for role, row in shown["roles"].items()} == {"active": first}
    assert [(model["name"], model["taken_back"]) for model in shown["models"]] == [("two", True), ("one", False)]
    again = await owner.post("models/rollback", {"reason": "and again"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "conflict")


async def test_a_canary_without_a_share_gets_that_of_the_policy(
    owner: Person, db: Database, workspace: Workspace
) -> None:
    model = await new_model(db, workspace, "one")
    shown = (await owner.post(f"models/{model}/deploy", {"role": "canary", "reason": "try"})).json()
    assert shown["roles"]["canary"]["share"] == pytest.approx(shown["rollout"]["canary_share"])


async def test_whoever_is_not_an_owner_sees_everything_and_changes_nothing(
    agent: Person, db: Database, workspace: Workspace
) -> None:
    model = await new_model(db, workspace, "one")
    for path, body in ((f"models/{model}/deploy", {"role": "active", "reason": "x"}), ("models/retire", {
        "role": "active", "reason": "x"})):  # fmt: skip
        answer = await agent.post(path, body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "denied")
    assert (await send(agent, b"zip")).status_code == 403
    for path in ("models", "models/history", "alarms", "drift"):
        assert (await agent.get(path)).status_code == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"role": "active"}, 422),
        ({"role": "active", "reason": ""}, 422),
        ({"role": "king", "reason": "x"}, 422),
        ({"role": "active", "share": 0.5, "reason": "x"}, 422),
        ({"role": "canary", "share": 0, "reason": "x"}, 422),
    ],
)
async def test_a_role_needs_a_reason_and_a_share_where_it_has_one(
    owner: Person, db: Database, workspace: Workspace, sent: dict[str, Any], status: int
) -> None:
    model = await new_model(db, workspace, "one")
    assert (await owner.post(f"models/{model}/deploy", sent)).status_code == status


async def test_a_model_of_another_workspace_is_not_there(owner: Person, db: Database) -> None:
    other = await db.create_workspace(f"test-{uuid.uuid4().hex[:12]}", {})
    model = await new_model(db, other, "theirs")
    answer = await owner.post(f"models/{model}/deploy", {"role": "active", "reason": "x"})
    assert answer.status_code == 404
    assert (await owner.get("models")).json()["models"] == []


async def test_a_trial_is_shown_with_its_figures(owner: Person, db: Database, workspace: Workspace) -> None:
    old, new = [await new_model(db, workspace, name) for name in ("old", "new")]
    await use(db, workspace, old, "active")
    await use(db, workspace, new, "canary", share=0.5)
    await Traffic(db, workspace, {"old": Behaviour(), "new": Behaviour(hands_over=1.0)}).comes(30)
    trial = (await owner.get("models")).json()["roles"]["canary"]["trial"]
    found = {finding["indicator"]: finding for finding in trial["findings"]}
    assert trial["against"] == {"id": old, "name": "old"}
    assert sum(found["handed_over"][side][1] for side in ("tried", "usual")) == 30
    assert found["handed_over"]["tried"][0] == found["handed_over"]["tried"][1] == trial["turns"]
    assert trial["wanted"] == 200


# Uploads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("top", ["", "model/", "model/onnx/"])
async def test_an_archive_becomes_a_model_that_a_worker_has_opened(
    owner: Person, db: Database, home: Path, workspace: Workspace, folder: Path, top: str
) -> None:
    data = zipped({f"{top}{name}": content for name, content in files_of(folder).items()} | {"notes.txt": b"hello"})
    answer = await with_worker(db, home, workspace, send(owner, data))
    assert answer.status_code == 201, answer.text
    shown = answer.json()
    print_of = sha256(folder / "manifest.json")
    assert (shown["name"], shown["fingerprint"], shown["origin"], shown["agent"]) == ("demo", print_of, "folder", "Ou")
    assert shown["heads"] == [
        {"name": "intent", "type": "class", "labels": 3, "measure": "accuracy", "reached": 0.9, "rows": 300}
    ]
    kept = registry.folder_of(home, workspace.id, print_of)
    assert files_of(kept) == files_of(folder)
    assert list((home / "incoming").glob("model-*")) == []


def changed(name: str, edit: Callable[[bytes], bytes]) -> Callable[[Path], bytes]:
    return lambda folder: zipped({n: edit(d) if n == name else d for n, d in files_of(folder).items()})


def lying(size: int) -> bytes:
    """An archive whose file is larger than it says."""
    data = bytearray(zipped({"manifest.json": b"0" * 1000}))
    for mark in (b"PK\x03\x04", b"PK\x01\x02"):
        at = data.index(mark) + (22 if mark[2:] == b"\x03\x04" else 24)
        data[at : at + 4] = size.to_bytes(4, "little")
    return bytes(data)


def linked(folder: Path) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        link = zipfile.ZipInfo("manifest.json")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    return out.getvalue()


@pytest.mark.parametrize(
    ("make", "status", "words"),
    [
        (lambda folder: b"not a zip", 415, "not a zip archive"),
        (lambda folder: zipped(files_of(folder))[:-400], 415, "not a zip archive"),
        (lambda folder: zipped({"readme.txt": b"x"}), 422, "holds no manifest.json"),
        (lambda folder: zipped({"m/model.json": b"{}"}), 422, "trained but not exported"),
        (lambda folder: zipped(files_of(folder) | {"../../x": b"1"}), 415, "outside of the archive"),
        (lambda folder: zipped(files_of(folder) | {"/etc/x": b"1"}), 415, "outside of the archive"),
        (linked, 415, "symbolic link"),
        (lambda folder: zipped({"manifest.json": b"0" * 40_000_000}), 413, "unpacks to"),
        (lambda folder: lying(10), 415, "not a zip archive"),
        (lambda folder: zipped({f"{n}": b"" for n in range(300)}), 413, "300 files"),
        (lambda folder: zipped({"manifest.json": files_of(folder)["manifest.json"]}), 422, "lacks model.onnx"),
        (changed("model.onnx", lambda data: data[:-1] + b"!"), 503, "SHA-256"),
        (changed("manifest.json", lambda data: data[:100]), 503, "cut off"),
        (changed("manifest.json", lambda data: data.replace(b'"format": 1', b'"format": 9')), 422, "format 9"),
        (changed("manifest.json", lambda data: data.replace(b'"model.onnx"', b'"../x.onnx"')), 422, "outside"),
    ],
)
async def test_an_archive_that_is_not_a_whole_exported_model_is_refused_before_anything_is_opened(
    owner: Person, db: Database, home: Path, folder: Path, make: Callable[[Path], bytes], status: int, words: str
) -> None:
    answer = await send(owner, make(folder))
    assert (answer.status_code, words in answer.json()["error"]["message"]) == (status, True), answer.text
    assert list((home / "incoming").glob("model-*")) == []
    assert (await owner.get("models")).json()["models"] == []


async def test_what_a_worker_cannot_open_is_refused_with_its_reason(
    owner: Person, db: Database, home: Path, workspace: Workspace, tmp_path: Path
) -> None:
    foreign = export(tmp_path / "foreign", view=View("text.e5", "text", 40, "somebody-elses", "7"))
    answer = await with_worker(db, home, workspace, send(owner, zipped(files_of(foreign))))
    assert answer.status_code == 422
    assert "somebody-elses" in answer.json()["error"]["message"]


# Alarms and drift -------------------------------------------------------------------------------------------------


async def test_an_alarm_is_cleared_by_name_and_a_colleague_sees_by_whom(
    agent: Person, colleague: Person, db: Database, workspace: Workspace
) -> None:
    async with db.transaction(workspace.id) as tx:
        assert await raise_alarm(tx, "drift", "image", {"distance": 0.2})
        assert not await raise_alarm(tx, "drift", "image", {"distance": 0.3})
    (alarm,) = (await agent.get("alarms")).json()
    assert (alarm["kind"], alarm["subject"], alarm["data"], alarm["cleared_at"]) == (
        "drift", "image", {"distance": 0.3}, None,
    )  # fmt: skip
    assert (await agent.post(f"alarms/{alarm['id']}/clear")).status_code == 200
    (seen,) = (await colleague.get("alarms")).json()
    assert (seen["agent"], seen["cleared_at"] is not None) == ("Lin", True)
    assert (await agent.post(f"alarms/{uuid.uuid4()}/clear")).status_code == 404


async def test_drift_is_shown_by_subject_for_the_active_model(
    agent: Person, db: Database, workspace: Workspace
) -> None:
    now, former = [await new_model(db, workspace, name) for name in ("now", "former")]
    await use(db, workspace, now, "active")
    async with db.transaction(workspace.id) as tx:
        for model, subject, upto in ((now, "text", 100), (now, "text", 50), (now, "image", 50), (former, "text", 9)):
            await tx.run(
                "add_drift_window", id=model, subject=subject, upto=upto, figures={"distance": 0.1}, drifted=upto > 60
            )
    shown = (await agent.get("drift")).json()
    assert shown["window"] == 200
    assert {name: [(w["upto"], w["drifted"]) for w in windows] for name, windows in shown["subjects"].items()} == {
        "image": [(50, False)],
        "text": [(50, False), (100, True)],
    }
