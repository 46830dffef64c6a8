"""The commands of the training toolkit as a user types them, on one tiny model over vectors."""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from duomo.cli import main

TASK = """\
heads:
  kind: class
  level: class
  price: number
  tags: multilabel
training: {epochs: 3, folds: 3, hidden: 8}
"""


@dataclass
class Place:
    """A folder with task.yaml, train.jsonl, test.jsonl and, once trained, the model `m`."""

    folder: Path

    def __truediv__(self, name: str) -> str:
        return str(self.folder / name)

    def write(self, name: str, *records: object) -> str:
        (self.folder / name).write_text("".join(json.dumps(one) + "\n" for one in records))
        return self / name


def sample(number: int, drawn: random.Random) -> dict[str, Any]:
    kind = drawn.randrange(3)
    vector = [drawn.gauss(3 if at == kind else 0, 1) for at in range(5)]
    labels = {"kind": "abc"[kind], "level": kind, "price": 10 * kind + drawn.gauss(0, 1), "tags": ["x"] * (kind > 0)}
    return {"id": f"s{number}", "features": {"v": vector, "w": vector[:3]}, "labels": labels}


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("命令"))
    drawn = random.Random(0)
    place.write("train.jsonl", *(sample(number, drawn) for number in range(120)))
    place.write("test.jsonl", *(sample(number, drawn) for number in range(40)))
    (place.folder / "task.yaml").write_text(TASK)
    arguments = ["train", place / "task.yaml", place / "train.jsonl", "--out", place / "m"]
    assert main([*arguments, "--cache", place / "cache"]) == 0
    return place


@pytest.fixture
def run(trained: Place, capsys: pytest.CaptureFixture[str]):
    """Runs a command. Gives: its exit code, the lines of stdout, stderr."""

    def run(*arguments: str) -> tuple[int, list[str], str]:
        capsys.readouterr()
        code = main([*arguments, "--cache", trained / "cache"])
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err

    return run


def test_predict_prints_one_line_a_sample_and_nothing_else(trained, run):
    drawn = random.Random(9)
    rows = [sample(number, drawn) for number in range(3)]
    for row in rows:
        del row["labels"]
    new = trained.write("new.jsonl", *rows, {"id": "nothing"}, {"id": "half", "features": {"w": [3, 0, 0]}})

    code, lines, _ = run("predict", trained / "m", new, "--json")

    found = [json.loads(line) for line in lines]
    assert code == 0
    assert [one["id"] for one in found] == ["s0", "s1", "s2", "nothing", "half"]
    assert {frozenset(one) for one in found} == {frozenset(("id", "heads"))}
    assert {frozenset(head) for one in found for head in one["heads"].values()} == {
        frozenset(("label", "confidence", "set", "abstain", "shares"))
    }
    assert [list(one["heads"]) for one in found] == [["kind", "level", "price", "tags"]] * 5
    assert all(head["abstain"] and head["shares"] == {} for head in found[3]["heads"].values())
    assert list(found[4]["heads"]["kind"]["shares"]) == ["features.w"]


def test_labels_come_back_as_texts_numbers_and_lists(trained, run):
    _, lines, _ = run("predict", trained / "m", trained / "test.jsonl", "--json")
    heads = json.loads(lines[0])["heads"]
    assert heads["level"]["label"] in ("0", "1", "2")  # given as integers
    assert isinstance(heads["price"]["label"], float)
    assert isinstance(heads["tags"]["label"], list)


def test_predict_does_not_read_labels(trained, run):
    strange = {"id": "a", "features": {"w": [0, 0, 3]}, "labels": {"kind": "of no training"}}
    code, lines, _ = run("predict", trained / "m", trained.write("strange.jsonl", strange), "--json")
    assert (code, len(lines)) == (0, 1)


def test_every_figure_of_evaluate_has_its_interval(trained, run):
    report = trained.folder / "reports" / "报告.html"
    code, lines, _ = run(
        "evaluate", trained / "m", trained / "test.jsonl", "--json", "--report", str(report), "--resamples", "20"
    )  # fmt: skip
    (line,) = lines
    found = json.loads(line)
    assert code == 0
    assert list(found["heads"]) == ["kind", "level", "price", "tags"]
    assert {"accuracy", "precision_macro", "recall_macro", "f1_macro"} <= set(found["heads"]["kind"])
    figures = [figure for head in found["heads"].values() for figure in head.values()]
    figures += [f for rows in found["by_pattern"].values() for head in rows.values() for f in head.values()]
    assert {frozenset(figure) - {"reason"} for figure in figures} == {frozenset(("value", "low", "high"))}
    assert list(found["by_pattern"]) == ["features.v+features.w"]
    assert found["by_corruption"] == {}  # there is no text, picture or sound to damage
    assert report.read_text().startswith("<!doctype html>")


def test_explain_shows_one_sample(trained, run):
    one = trained.write("one.json", sample(7, random.Random(7)))
    code, lines, _ = run("explain", trained / "m", one, "--head", "price", "--html", trained / "why.html", "--json")
    found = json.loads(lines[0])
    assert (code, len(lines), found["id"], found["head"]) == (0, 1, "s7", "price")
    assert set(found["contributions"]) == {"features.v", "features.w"}
    assert (trained.folder / "why.html").read_text().startswith("<!doctype html>")


def test_an_export_serves_without_torch_and_goes_when_the_model_is_trained_again(trained, run, tmp_path):
    out = str(tmp_path / "m")
    retrain = ["train", trained / "task.yaml", trained / "train.jsonl", "--out", out]
    run(*retrain)
    code, lines, _ = run("export", out, "--onnx", "--int8", "--json")
    assert code == 0
    assert set(json.loads(lines[0])["onnx"]["files"]) >= {"model.onnx", "model.int8.onnx"}
    assert (tmp_path / "m" / "onnx" / "manifest.json").is_file()

    run(*retrain, "--seed", "5")

    assert not (tmp_path / "m" / "onnx").exists()


def test_the_data_engine_lists_labels_samples_and_clusters(trained, run):
    wrong = [sample(number, random.Random(number)) for number in range(40)]
    given = wrong[0]["labels"]["kind"]
    wrong[0]["labels"]["kind"] = next(kind for kind in "abc" if kind != given)
    code, lines, _ = run("label-errors", trained / "m", trained.write("wrong.jsonl", *wrong), "--json")
    errors = [json.loads(line) for line in lines]
    assert code == 0
    assert [(e["suggested"], e["given"]) for e in errors if (e["id"], e["head"]) == ("s0", "kind")] == [
        (given, wrong[0]["labels"]["kind"])
    ]
    assert run("label-errors", trained / "m", trained / "wrong.jsonl")[1][0].count("→") == 1

    nothing = trained.write("some.jsonl", {"id": "nothing"}, *wrong)
    _, lines, _ = run("select-to-label", trained / "m", nothing, "--budget", "50", "--json")
    assert {json.loads(line)["id"] for line in lines} == {f"s{number}" for number in range(40)}

    _, lines, _ = run("discover", trained / "m", nothing, "--json")
    found = json.loads(lines[0])
    assert set(found) == {"clusters", "known", "alone", "silhouette"}
    assert "nothing" in found["alone"]

    _, lines, _ = run("duplicates", trained.write("twice.jsonl", wrong[0], {**wrong[0], "id": "again"}, wrong[1]))
    assert lines == ["s0\tagain\tfeatures.v 1.000", "s0\tagain\tfeatures.w 1.000"]


def test_discover_finds_a_kind_that_no_training_sample_had(trained, run):
    drawn = random.Random(4)
    known = [sample(number, drawn) for number in range(40)]
    vectors = [[drawn.gauss(0, 0.3) for _ in range(3)] + [drawn.gauss(4, 0.3), drawn.gauss(0, 0.3)] for _ in range(20)]
    hidden = [{"id": f"h{n}", "features": {"v": vector, "w": vector[:3]}} for n, vector in enumerate(vectors)]
    some = trained.write("hidden.jsonl", *known, *hidden)

    _, lines, _ = run("discover", trained / "m", some, "--head", "kind", "--json")

    found = json.loads(lines[0])
    assert max(len({f"h{n}" for n in range(20)} & set(one["members"])) for one in found["clusters"]) > 10
    assert len(found["known"]) >= 20


def test_check_reports_the_lines_that_can_be_read_beside_those_that_cannot(trained, run):
    path = trained.write("mixed.jsonl", {"id": "a", "text": "hello"}, {"id": "b", "txt": "hello"}, {"id": "c"})
    code, lines, _ = run("check", path, "--json")
    found = json.loads(lines[0])
    assert code == 2
    assert (found["count"], len(found["errors"]), len(found["empty"])) == (2, 1, 1)
    assert "mixed.jsonl:2: a sample has no 'txt'" in found["errors"][0]
    assert "Did you mean text?" in found["errors"][0]
    assert run("check", trained / "train.jsonl", "--task", trained / "task.yaml")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["train", "wrong.yaml", "train.jsonl", "--out", "x"], 2, "wrong.yaml:2: heads.kind is 'clas'; allowed: class"),
        (["train", "task.yaml", "none.jsonl", "--out", "x"], 2, "none.jsonl: No such file"),
        (["train", "task.yaml", "train.jsonl", "--out", "task.yaml"], 2, "task.yaml cannot be written"),
        (["train", "other.yaml", "train.jsonl", "--out", "x"], 2, "head kid: no sample has a label"),
        (["predict", "none", "test.jsonl"], 3, "Name the folder of a model"),
        (["predict", "m", "short.jsonl"], 2, "2 numbers in features.v, expected 5"),
        (["evaluate", "m", "unlabelled.jsonl"], 2, "Give a file whose samples have `labels`"),
        (["evaluate", "m", "test.jsonl", "--corruptions", "typos"], 2, "there is no corruption typos"),
        (["explain", "m", "test.jsonl"], 2, "holds 40 samples; explain takes one"),
        (["explain", "m", "unlabelled.jsonl", "--head", "kid"], 2, "the model has no head 'kid'"),
        (["discover", "m", "test.jsonl", "--head", "price"], 2, "there is no class head price"),
        (["export", "m"], 2, "give --onnx, --int8 or --tensorflow"),
    ],
)
def test_a_mistake_is_said_in_words_and_json(trained, run, arguments, code, says):
    trained.write("short.jsonl", {"id": "a", "features": {"v": [1, 2]}})
    trained.write("unlabelled.jsonl", {"id": "a", "features": {"v": [1, 2, 3, 4, 5]}})
    (trained.folder / "wrong.yaml").write_text("heads:\n  kind: clas\n")
    (trained.folder / "other.yaml").write_text("heads:\n  kid: class\n")
    command, *rest = arguments
    places = [
        one if one.startswith("--") or ("." not in one and one not in ("m", "x", "none")) else trained / one
        for one in rest
    ]

    found, lines, said = run(command, *places, "--json")

    assert found == code
    assert says in json.loads(lines[0])["error"]["message"]
    assert says in said


@pytest.mark.parametrize("option", [["--budget", "0"], ["--budget", "many"]])
def test_counts_start_at_one(trained, run, option, capsys):
    with pytest.raises(SystemExit) as stopped:
        run("select-to-label", trained / "m", trained / "test.jsonl", *option)
    assert stopped.value.code == 2
    assert "a whole number from 1" in capsys.readouterr().err
