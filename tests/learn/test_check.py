"""A check tells what is missing, broken, twice, leaking or badly labelled, and where it stands."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from duomo.learn.check import Broken, Conflict, LabelCount, Leak, Twice, check
from duomo.learn.task import Head, Task
from duomo.media.audio import encode_wav

LONG = "Where is the parcel that I ordered with you on the first of March for my mother in Hangzhou"


def write(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


def picture(path: Path, colour: int) -> str:
    out = io.BytesIO()
    Image.new("RGB", (40, 30), (colour, 20, 90)).save(out, "PNG")
    path.write_bytes(out.getvalue())
    return path.name


def test_files_that_cannot_be_used_are_listed_with_their_reason_and_count_as_missing(tmp_path: Path):
    picture(tmp_path / "good.png", 1)
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:60])
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "good.wav").write_bytes(encode_wav(np.sin(np.arange(8000) / 9).astype(np.float32)))
    path = write(
        tmp_path / "s.jsonl",
        {"text": "a", "image": "good.png", "audio": "good.wav"},
        {"text": "b", "image": "cut.png"},
        {"text": "c", "image": "gone.png", "audio": "empty.wav"},
        {"features": {"lab": "gone.npy"}, "id": "x"},
        {},
    )
    report = check([path])
    assert [(b.place.rpartition("/")[2], b.id, b.modality, Path(b.path).name) for b in report.broken] == [
        ("s.jsonl:2", "2", "image", "cut.png"),
        ("s.jsonl:3", "3", "image", "gone.png"),
        ("s.jsonl:3", "3", "audio", "empty.wav"),
        ("s.jsonl:4", "x", "features", "gone.npy"),
    ]
    assert report.broken[1] == Broken(f"{path}:3", "3", "image", f"{tmp_path}/gone.png", "the file is not there")
    assert all(one.reason for one in report.broken)
    assert report.modalities == {
        "text": {"present": 3, "missing": 2, "broken": 0},
        "image": {"present": 1, "missing": 2, "broken": 2},
        "audio": {"present": 1, "missing": 3, "broken": 1},
    }
    assert report.patterns == {"text": 2, "nothing": 2, "text+image+audio": 1}
    assert report.empty == (f"{path}:5",)
    assert report.problems == 5


def test_what_is_no_file_is_never_read(tmp_path: Path):
    path = write(tmp_path / "s.jsonl", {"image": "/dev/zero"}, {"audio": "x" * 5000}, {"video": "."})
    assert [one.reason for one in check([path]).broken] == [
        "this is no file",
        "cannot be read: File name too long",
        "this is no file",
    ]


def test_what_is_the_same_twice_is_found_by_content(tmp_path: Path):
    picture(tmp_path / "a.png", 1)
    picture(tmp_path / "b.png", 1)
    picture(tmp_path / "c.png", 2)
    path = write(
        tmp_path / "s.jsonl",
        {"text": "Hello  THERE"},
        {"text": "hello there"},
        {"text": "look", "image": "a.png"},
        {"text": "look", "image": "b.png"},
        {"text": "look", "image": "c.png"},
        {"text": LONG},
        {"text": LONG + "!"},
        {"text": LONG + " please"},
        {"text": "Another matter altogether, about an invoice of the last year"},
    )
    report = check([path])
    assert report.duplicates == (
        Twice("sample", (f"{path}:1", f"{path}:2"), "Hello THERE"),
        Twice("sample", (f"{path}:3", f"{path}:4"), "look"),
    )
    what = LONG[:79] + "…"
    assert report.near == (
        Twice("near", (f"{path}:6", f"{path}:7"), what),
        Twice("near", (f"{path}:6", f"{path}:7", f"{path}:8"), what),
    )
    assert (report.leaks, report.problems) == ((), 0)


def test_what_stands_on_two_sides_of_a_split_is_a_leak(tmp_path: Path):
    picture(tmp_path / "a.png", 1)
    picture(tmp_path / "b.png", 1)
    picture(tmp_path / "c.png", 2)
    train = write(
        tmp_path / "train.jsonl",
        {"text": "hello"},
        {"text": "what is this", "image": "a.png"},
        {"text": LONG},
        {"text": "mine", "group": "anna"},
    )
    test = write(
        tmp_path / "test.jsonl",
        {"text": "Hello"},
        {"text": "and that", "image": "b.png"},
        {"text": "what is this", "image": "c.png"},
        {"text": LONG + " please"},
        {"text": "yours", "group": "anna"},
        {"text": "other", "group": "ben"},
    )
    report = check([train, test])
    both = (str(train), str(test))
    assert report.sides == {str(train): 4, str(test): 6}
    assert report.leaks == (
        Leak("sample", both, (f"{train}:1", f"{test}:1"), "hello"),
        Leak("image", both, (f"{train}:2", f"{test}:2"), f"{tmp_path}/a.png"),
        Leak("group", both, (f"{train}:4", f"{test}:5"), "anna"),
        Leak("near", both, (f"{train}:3", f"{test}:4"), LONG[:79] + "…"),
    )
    assert (report.groups, report.problems) == (2, 4)


def test_beside_pictures_equal_texts_are_no_leak_and_an_equal_sample_is_told_once(tmp_path: Path):
    for name, colour in (("a.png", 1), ("b.png", 2)):
        picture(tmp_path / name, colour)
    path = write(
        tmp_path / "s.jsonl",
        {"split": "train", "text": LONG, "image": "a.png"},
        {"split": "test", "text": LONG + "!", "image": "b.png"},
        {"split": "test", "text": LONG, "image": "a.png"},
    )
    assert check([path]).leaks == (Leak("sample", ("train", "test"), (f"{path}:1", f"{path}:3"), LONG[:79] + "…"),)


def test_the_split_may_stand_in_the_samples(tmp_path: Path):
    path = write(
        tmp_path / "s.jsonl",
        {"text": "a", "split": "train"},
        {"text": "a", "split": "test"},
        {"text": "b", "split": "train"},
        {"text": "b", "split": "train"},
    )
    report = check([path])
    assert report.sides == {"train": 3, "test": 1}
    assert report.leaks == (Leak("sample", ("train", "test"), (f"{path}:1", f"{path}:2"), "a"),)


def test_equal_samples_with_different_labels_are_conflicts(tmp_path: Path):
    path = write(
        tmp_path / "s.jsonl",
        {"text": "refund", "labels": {"intent": "refund", "tags": ["b", "a"]}},
        {"text": "Refund", "labels": {"intent": "cancel", "tags": ["a", "b"]}},
        {"text": "Refund", "labels": {"intent": None}},
        {"text": "refund", "history": ["Cancel it"], "labels": {"intent": "other"}},
    )
    report = check([path])
    assert report.conflicts == (Conflict("intent", ("cancel", "refund"), (f"{path}:1", f"{path}:2"), "refund"),)
    assert report.problems == 1


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["a"] * 30 + ["b"] * 30, LabelCount({"a": 30, "b": 30}, 0)),
        (["a"] * 100 + ["b"] * 4, LabelCount({"a": 100, "b": 4}, 0, (
            "fewer than 5 examples of b",
            "the largest class has 25 times the examples of the smallest; consider class_weights: balanced"))),
        (["a"] * 10, LabelCount({"a": 10}, 0, ("all labels are the same: there is nothing to tell apart",))),
        ([None] * 3, LabelCount({}, 3, ("no sample has a label",))),
        (["a"] * 5 + ["b"] * 5 + [None] * 30, LabelCount({"a": 5, "b": 5}, 30, ("75% of the samples have no label",))),
    ],
)  # fmt: skip
def test_the_balance_of_labels_is_told(tmp_path: Path, labels: list[str | None], expected: LabelCount):
    path = write(
        tmp_path / "s.jsonl", *[{"text": f"t{at}", "labels": {"intent": one}} for at, one in enumerate(labels)]
    )
    task = Task((Head("intent"),))
    assert check([path], task).labels == {"intent": expected}


def test_numbers_are_told_by_their_range(tmp_path: Path):
    path = write(
        tmp_path / "s.jsonl", {"text": "a", "labels": {"n": 1}}, {"text": "b", "labels": {"n": 4}}, {"text": "c"}
    )
    counts = {"count": 2, "min": 1.0, "max": 4.0, "mean": 2.5}
    assert check([path], Task((Head("n", "number"),))).labels == {"n": LabelCount(counts, 1)}


def test_a_file_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"txt": 1}\n{"text": 2}\n')
    good = write(tmp_path / "good.jsonl", {"text": "hello"}, {"text": "你好"})
    report = check([bad, good, tmp_path / "gone.jsonl"])
    assert [error.partition(" ")[0] for error in report.errors] == [f"{bad}:1:", f"{bad}:2:", "cannot"]
    files = {str(bad): 0, str(good): 2}
    assert (report.count, report.files, report.languages, report.problems) == (2, files, {"en": 1, "zh": 1}, 3)


def test_the_report_reads_as_text_and_as_json(tmp_path: Path):
    path = write(
        tmp_path / "s.jsonl",
        {"text": "hello", "labels": {"intent": "greet"}},
        {"text": "Hello", "labels": {"intent": "ask"}},
        {"text": "hello", "labels": {"intent": "greet"}, "image": "gone.png"},
    )
    steps: list[tuple[int, int]] = []
    report = check([path], progress=lambda done, of: steps.append((done, of)))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert (
        report.to_text().replace(str(tmp_path) + "/", "")
        == """3 samples in 1 file
languages: en 3

modality  present  missing   broken
text            3        0        0
image           0        2        1

held together
        3  text

labels of intent: 2 classes (greet 2, ask 1); 0 not labelled
  warning: fewer than 5 examples of greet, ask

broken files: 1
  s.jsonl:3 image gone.png: the file is not there

equal samples with different labels: 1
  intent: ask / greet for hello (s.jsonl:1, s.jsonl:2)

samples there more than once: 1
  hello (s.jsonl:1, s.jsonl:2)

2 problems"""
    )
    assert json.loads(json.dumps(report.as_dict()))["problems"] == 2


def test_no_samples_are_no_crash(tmp_path: Path):
    (tmp_path / "s.jsonl").write_text("")
    assert check([tmp_path / "s.jsonl"]).to_text() == "0 samples in 1 file\n\nheld together\n\nno problems"
