"""`duomo model`, from the folder to the history, and what it says of folders that are no model."""

from __future__ import annotations

import asyncio
import json
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from duomo.cli import main
from duomo.learn.samples import load_samples
from duomo.learn.task import Head
from duomo.models.features import View
from duomo.models.manifest import sha256
from duomo.store.postgres import Database
from tests.support.exported import export

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    top = tmp_path_factory.mktemp("models")
    return {name: export(top / name / "onnx", seed=seed) for seed, name in enumerate(("first", "second"))}


@pytest.fixture
def duomo(home: Path, dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command in a fresh workspace. Gives: exit code, what it printed, what it complained of."""
    name = f"test-{uuid.uuid4().hex[:12]}"

    async def make() -> None:
        async with await Database.open(dsn, max_size=1) as db:
            await db.create_workspace(name, {})

    asyncio.run(make())
    monkeypatch.setenv("DUOMO_HOME", str(home))
    monkeypatch.setenv("DATABASE_URL", dsn)

    def run(*arguments: Any) -> tuple[int, str, str]:
        code = main(["model", *map(str, arguments), "--workspace", name])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_a_folder_is_activated_and_history_tells_the_way(duomo: Run, folders: dict[str, Path]) -> None:
    short = {name: sha256(folder / "manifest.json")[:12] for name, folder in folders.items()}
    code, out, _ = duomo("activate", folders["first"].parent, "--reason", "the first")
    assert (code, out.splitlines()[0]) == (0, f"active: first ({short['first']}), reads features.x, says intent (3)")
    assert duomo("activate", folders["first"])[1].splitlines()[0] == f"first ({short['first']}) is active already"
    duomo("activate", folders["second"])
    assert duomo("deploy", short["first"], "--role", "canary", "--share", "0.2")[1] == (
        f"canary: first ({short['first']}) for 20% of the conversations\n"
    )
    assert duomo("retire", "--role", "canary")[1] == "no model is canary any more\n"
    assert duomo("rollback", "--reason", "rude")[1] == f"active again: first ({short['first']})\n"
    listed = json.loads(duomo("list", "--json")[1])
    assert [(row["name"], row["roles"]) for row in listed] == [("second", []), ("first", ["active"])]
    history = json.loads(duomo("history", "--json")[1])
    assert [(row["name"], row["role"], row["began_by"], row["ended_by"]) for row in history] == [
        ("first", "active", "rollback", None),
        ("first", "canary", "agent", "agent"),
        ("second", "active", "agent", "rollback"),
        ("first", "active", "agent", "agent"),
    ]
    assert "by agent  the first" in duomo("history")[1]
    assert duomo("drift")[1] == "no window of turns is full yet\n"


def samples_of(folder: Path, *labels: str, split: str = "train") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "scan.png").write_bytes(b"a picture")
    lines = [
        {"id": str(n), "features": {"x": [0.5] * 8}, "image": "scan.png", "labels": {"intent": label}, "split": split}
        for n, label in enumerate(labels)
    ]
    file = folder / "samples.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_the_next_model_begins_with_the_samples_that_were_named(
    duomo: Run, folders: dict[str, Path], home: Path, tmp_path: Path
) -> None:
    fingerprint = sha256(folders["first"] / "manifest.json")
    alone = duomo("activate", folders["first"])[1].splitlines()[-1]
    assert alone == (
        "duomo improve will learn from conversations alone. Let it begin with what this model was trained from: "
        f"duomo model activate {fingerprint[:12]} --samples FILE"
    )
    code, out, _ = duomo("activate", fingerprint[:12], "--samples", samples_of(tmp_path / "mine", "a", "b"))
    shutil.rmtree(tmp_path / "mine")  # nobody promised to keep it
    kept = Path(out.splitlines()[-1].removeprefix("duomo improve begins with "))
    assert (code, kept.is_relative_to(home.resolve())) == (0, True)
    found = load_samples(kept, heads=[Head("intent")])
    assert [(one.id, one.labels["intent"], one.image and one.image.read_bytes()) for one in found] == [
        ("0", "a", b"a picture"), ("1", "b", b"a picture"),
    ]  # fmt: skip
    assert duomo("activate", folders["first"])[1].splitlines()[-1] == f"duomo improve begins with {kept}"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "nowhere.jsonl", "cannot read"),
        (lambda folder: samples_of(folder / "s", "a", split="test"), "holds no training sample with a label of intent"),
        (lambda folder: samples_of(folder / "s").with_name("scan.png"), "is no known samples file"),
    ],
)
def test_what_is_no_samples_file_is_refused_before_anything_is_activated(
    duomo: Run, folders: dict[str, Path], tmp_path: Path, make: Callable[[Path], Path], words: str
) -> None:
    code, out, complaint = duomo("activate", folders["first"], "--samples", make(tmp_path))
    assert (code, out, words in complaint) == (2, "", True), complaint
    assert duomo("list")[1] == "there are no models. Activate one: duomo model activate FOLDER\n"


@pytest.mark.parametrize("lost", ["model.onnx", "manifest.json"])
def test_a_copy_that_was_damaged_is_replaced_when_it_is_activated_again(
    duomo: Run, folders: dict[str, Path], home: Path, lost: str
) -> None:
    duomo("activate", folders["first"])
    fingerprint = sha256(folders["first"] / "manifest.json")
    copy = max((home / "models").glob(f"*/{fingerprint}"), key=lambda path: path.stat().st_mtime_ns)
    (copy / lost).write_bytes(b"")
    assert duomo("activate", folders["first"])[0] == 0
    assert {file.name: file.read_bytes() for file in copy.iterdir()} == {
        file.name: file.read_bytes() for file in folders["first"].iterdir()
    }
    assert [path for path in copy.parent.iterdir() if path != copy] == []


def cut(folder: Path) -> None:
    (folder / "manifest.json").write_bytes((folder / "manifest.json").read_bytes()[:200])


def other_version(folder: Path) -> None:
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"format": 1', '"format": 9'))


def damaged(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"x")


def trained(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "model.json").write_text("{}")


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        (trained, 2, "is trained but not exported. Run `duomo export"),
        (empty, 2, "holds no manifest.json"),
        (cut, 3, "is cut off or not JSON"),
        (damaged, 3, "It is damaged or from another model"),
        (other_version, 2, "has format 9, this version reads 1"),
        (shutil.rmtree, 2, "there is no folder"),
    ],
)
def test_of_a_folder_that_is_no_model_it_says_what_is_wrong(
    duomo: Run, folders: dict[str, Path], tmp_path: Path, spoil: Callable[[Path], None], code: int, words: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folders["first"], copy)
    spoil(copy)
    found, out, complaint = duomo("activate", copy)
    assert (found, out, words in complaint) == (code, "", True), complaint
    assert duomo("list")[1] == "there are no models. Activate one: duomo model activate FOLDER\n"


def test_an_encoder_that_is_not_here_is_named(duomo: Run, tmp_path: Path) -> None:
    folder = export(tmp_path / "foreign", view=View("text.e5", "text", 40, "somebody-elses", "7"))
    code, _, complaint = duomo("activate", folder)
    assert (code, "somebody-elses" in complaint) == (2, True)


def test_a_model_that_is_not_there_is_answered_with_those_that_are(duomo: Run, folders: dict[str, Path]) -> None:
    duomo("activate", folders["first"])
    code, _, complaint = duomo("deploy", "nobody", "--role", "shadow")
    assert (code, "no model 'nobody' (there are: first (" in complaint) == (2, True)
