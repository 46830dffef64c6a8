"""Every format gives the same samples, and a mistake names its line."""

from __future__ import annotations

import gzip
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duomo.errors import InputError
from duomo.learn.samples import as_label, file_hash, fingerprint, keep_samples, load_samples, read_rows, save_samples
from duomo.learn.task import Head
from duomo.types import Sample

INTENT = Head("intent")
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 16


def write(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


def refused(path: Path, **options: object) -> list[str]:
    with pytest.raises(InputError) as caught:
        load_samples(path, **options)  # type: ignore[arg-type]
    return str(caught.value).replace(f"{path.parent}/", "").splitlines()


def test_a_json_line_holds_everything_a_sample_can_have(tmp_path: Path):
    np.save(tmp_path / "lab.npy", np.array([1, 2.5], np.float32))
    path = write(
        tmp_path / "s.jsonl",
        {
            "id": 7,
            "text": "退款 please",
            "image": "a/b.png",
            "audio": "/sounds/c.wav",
            "video": "d.mp4",
            "features": {"lab": "lab.npy", "age": [30]},
            "group": 12,
            "labels": {"intent": "refund", "tags": ["a", "b"], "score": 3, "mood": None, "urgent": True},
            "history": ["Hello", "Hi"],
            "split": "train",
        },
        {},
    )
    assert load_samples(path) == [
        Sample(
            id="7",
            text="退款 please",
            image=tmp_path / "a/b.png",
            audio=Path("/sounds/c.wav"),
            video=tmp_path / "d.mp4",
            features={"lab": (1.0, 2.5), "age": (30.0,)},
            group="12",
            labels={"intent": "refund", "tags": ("a", "b"), "score": 3, "mood": None, "urgent": "true"},
            history=("Hello", "Hi"),
        ),
        Sample(id="2"),
    ]
    assert [(row.place, row.split) for row in read_rows(path)] == [(f"{path}:1", "train"), (f"{path}:2", None)]


SAME = [
    Sample("1", text="Where is it?", labels={"intent": "track", "tags": ("a", "b")}, features={"lab": (1.0, 2.0)}),
    Sample("2", text="把钱退给我", labels={"intent": "3"}, image=Path("photo.png"), history=("你好",)),
]
HEADS = (INTENT, Head("tags", "multilabel"))


def test_kept_samples_need_nothing_of_where_they_lay(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.png").write_bytes(PNG)
    record = {"text": "x", "image": "one.png", "audio": "gone.wav", "features": {"m": [0.5]}, "labels": {"intent": "y"}}
    path = write(tmp_path / "a" / "samples.jsonl", {"id": "1", **record}, {"id": "2", **record, "group": "g"})
    samples = load_samples(path, heads=[INTENT])
    kept = keep_samples(samples, tmp_path / "kept")
    assert keep_samples(samples, tmp_path / "kept") == kept
    shutil.rmtree(tmp_path / "a")
    found = load_samples(kept, heads=[INTENT])
    assert found == [replace(one, image=found[0].image, audio=None) for one in samples]
    assert found[0].image is not None
    assert found[0].image.read_bytes() == PNG
    assert {file for file in (tmp_path / "kept").rglob("*") if file.is_file()} == {found[0].image, kept}


def same_records() -> list[dict[str, object]]:
    return [
        {
            "id": "1",
            "text": "Where is it?",
            "labels": {"intent": "track", "tags": ["a", "b"]},
            "features": {"lab": [1, 2]},
        },
        {"id": "2", "text": "把钱退给我", "labels": {"intent": 3}, "image": "photo.png", "history": ["你好"]},
    ]


def as_seen_from(samples: list[Sample], folder: Path) -> list[dict[str, object]]:
    """With paths relative again, and without heads that are not labelled."""
    seen = []
    for s in samples:
        image = s.image and s.image.relative_to(folder)
        labels = {head: label for head, label in s.labels.items() if label is not None}
        seen.append(
            {"id": s.id, "text": s.text, "image": image, "labels": labels, "features": s.features, "h": s.history}
        )
    return seen


@pytest.mark.parametrize(
    "form", ["s.jsonl", "s.jsonl.gz", "s.json", "s.csv", "s.tsv", "semicolon.csv", "s.parquet", "set"]
)
def test_every_format_gives_the_same_samples(tmp_path: Path, form: str):
    path = tmp_path / form
    if form == "s.json":
        path.write_text("\ufeff" + json.dumps(same_records()))
    elif form.startswith("s.jsonl"):
        data = b"\n".join(json.dumps(record).encode() for record in same_records()) + b"\n\n"
        path.write_bytes(gzip.compress(data) if form.endswith(".gz") else data)
    elif form == "semicolon.csv":
        path.write_text(
            'id;text;intent;label_tags;features.lab;image;history\n1;Where is it?;track;"a;b";"[1, 2]";;\n'
            '2;把钱退给我;3;;;photo.png;"[""你好""]"\n'
        )
    elif form.endswith("sv"):
        comma = "\t" if form == "s.tsv" else ","
        table = [
            ["id", "text", "labels.intent", "tags", "features.lab", "image", "history"],
            ["1", "Where is it?", "track", "a;b", "1;2", "", ""],
            ["2", "把钱退给我", "3", "", "", "photo.png", '"[""你好""]"'],
        ]
        path.write_text("\ufeff" + "\r\n".join(comma.join(row) for row in table), encoding="utf-8")
    elif form == "s.parquet":
        first, second = same_records()
        first["labels"], second["labels"] = {"intent": "track", "tags": ["a", "b"]}, {"intent": "3", "tags": None}
        rows: list[dict[str, object]] = [{**first, "image": None, "history": None, "other": 1}, second]
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        rows = [
            {
                "id": "1",
                "text": "Where is it?",
                "intent": 0,
                "tags": ["a", "b"],
                "features.lab": [1.0, 2.0],
                "url": "x",
            },
            {
                "id": "2",
                "text": "把钱退给我",
                "intent": 1,
                "image": {"bytes": None, "path": "photo.png"},
                "history": ["你好"],
            },
        ]
        hugging_face(path, rows, {"intent": {"_type": "ClassLabel", "names": ["track", "3"]}})
    folder = path if form == "set" else tmp_path
    assert as_seen_from(load_samples(path, heads=HEADS), folder) == as_seen_from(SAME, Path())


def hugging_face(folder: Path, rows: list[dict[str, object]], features: dict[str, object]) -> None:
    """What `datasets` 4 writes: the Arrow stream format, and two descriptions."""
    folder.mkdir(parents=True)
    keys = dict.fromkeys(key for row in rows for key in row)
    table = pa.Table.from_pylist([{key: row.get(key) for key in keys} for row in rows])
    with (
        pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema) as out,
    ):
        out.write_table(table)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))


def test_a_dataset_dict_names_its_splits_and_embedded_files_are_written_out(tmp_path: Path):
    hugging_face(tmp_path / "d/train", [{"text": "a", "image": {"bytes": PNG, "path": "x.png"}, "label": 1}],
                 {"label": {"_type": "ClassLabel", "names": ["no", "yes"]}})  # fmt: skip
    hugging_face(
        tmp_path / "d/test", [{"id": 1, "text": "b", "label": -1}], {"label": {"_type": "ClassLabel", "names": ["no"]}}
    )
    (tmp_path / "d/dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    rows = read_rows(tmp_path / "d", heads=[INTENT], media=tmp_path / "media")
    assert [(row.sample.id, row.split, row.sample.labels) for row in rows] == [
        ("1", "train", {"intent": "yes"}),
        ("test-1", "test", {"intent": None}),
    ]
    image = rows[0].sample.image
    assert image is not None
    assert (image.parent, image.suffix, image.read_bytes()) == (tmp_path / "media", ".png", PNG)
    assert [file.name for file in image.parent.iterdir()] == [image.name]


def test_a_dataset_cannot_name_files_outside_its_folder(tmp_path: Path):
    hugging_face(tmp_path / "d", [{"text": "a"}], {})
    (tmp_path / "d/state.json").write_text('{"_data_files": [{"filename": "../../etc/passwd"}]}')
    assert "allowed: files of the folder" in refused(tmp_path / "d")[0]


def test_mistakes_are_told_together_each_with_its_line(tmp_path: Path):
    np.save(tmp_path / "two.npy", np.zeros((2, 2)))
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    path = tmp_path / "s.jsonl"
    path.write_text(
        """{"id": "a", "txt": "hello"}
{"id": "b", "text": 3}
{"id": "a"}
{"text": "cut
[1]
{"features": {"v": [1, NaN]}}
{"features": {"v": [1, 2]}, "id": "v"}
{"features": {"v": [1, 2, 3]}}
{"features": {"w": "two.npy"}}
{"features": {"w": "objects.npy"}}
{"labels": {"intent": {"a": 1}}}
{"labels": "refund"}
{"image": "https://example.org/a.png"}
{"history": "hello"}
{"text": "a", "text": "b"}
{"features": {"v": "LONG"}}
""".replace("LONG", "x" * 5000)
    )
    assert refused(path) == [
        f"15 mistakes in {path}:".replace(f"{tmp_path}/", ""),
        "s.jsonl:1: a sample has no 'txt'; allowed: id, text, image, audio, video, features, group, labels, history, "
        "split. Did you mean text?",
        "s.jsonl:2: text is 3; allowed: a text",
        "s.jsonl:3: id 'a' stands here and in line 1; ids must differ",
        "s.jsonl:4: not JSON: Invalid control character at at character 14",
        "s.jsonl:5: a list instead of a sample {...}",
        "s.jsonl:6: NaN is not a number of JSON; leave the value out, or write null",
        "s.jsonl:8: features.v has 3 numbers, but 2 in line 7",
        "s.jsonl:9: features.w two.npy is float64 of shape (2, 2); allowed: one vector of numbers",
        "s.jsonl:10: features.w objects.npy is damaged or holds objects (Array can't be memory-mapped: "
        "Python objects in dtype.)",
        "s.jsonl:11: labels.intent is a mapping; allowed: a name",
        "s.jsonl:12: labels is 'refund'; allowed: {head: label}",
        "s.jsonl:13: image is the address 'https://example.org/a.png'; fetch it and give the file's path",
        "s.jsonl:14: history is 'hello'; allowed: a list of texts, oldest first",
        "s.jsonl:15: 'text' stands twice in one sample",
        f"s.jsonl:16: features.v is the file {'x' * 57}..., which cannot be read: File name too long",
    ]


def test_reading_stops_at_twenty_mistakes(tmp_path: Path):
    answer = refused(write(tmp_path / "s.jsonl", *[{"text": 1}] * 50))
    assert (answer[0], len(answer)) == ("the first 20 mistakes in s.jsonl:", 21)


def test_labels_take_the_form_their_head_wants(tmp_path: Path):
    few = Head("intent", labels=("refund", "3"), out_of_scope="oos")
    assert [as_label(value, few) for value in ("refund", 3, 3.0, "oos", None)] == ["refund", "3", "3", "oos", None]
    assert as_label(True, INTENT) == "true"
    assert [as_label(value, Head("score", "number")) for value in (3, "2.5", None)] == [3.0, 2.5, None]
    assert as_label(["a", 1, "a"], Head("tags", "multilabel")) == ("a", "1")
    assert as_label("a", Head("tags", "multilabel")) == ("a",)
    path = write(
        tmp_path / "s.jsonl", {"labels": {"intent": "refnd"}}, {"labels": {"score": "high"}}, {"intent": ["a"]}
    )
    assert refused(path, heads=(few, Head("score", "number"))) == [
        "3 mistakes in s.jsonl:",
        "s.jsonl:1: labels.intent is 'refnd', which is none of the task's 2 labels. Did you mean refund?",
        "s.jsonl:2: labels.score is 'high'; score is a number head and takes a number",
        "s.jsonl:3: labels.intent is a list; intent is a class head and takes one name",
    ]


def test_the_group_may_be_any_field(tmp_path: Path):
    path = write(tmp_path / "s.jsonl", {"customer": 4}, {"group": "b"})
    assert [sample.group for sample in load_samples(path, group="customer")] == ["4", "b"]
    assert "has no 'customer'" in refused(path)[0]


def test_missing_files_are_missing_modalities_not_mistakes(tmp_path: Path):
    path = write(tmp_path / "s.jsonl", {"image": "gone.png", "features": {"lab": "gone.npy"}, "text": " "})
    assert [(row.sample, row.absent) for row in read_rows(path)] == [
        (Sample("1", image=tmp_path / "gone.png"), (tmp_path / "gone.npy",))
    ]


def test_half_an_emoji_is_replaced_since_it_cannot_be_encoded(tmp_path: Path):
    (tmp_path / "s.jsonl").write_text('{"text": "ok \\ud83d"}\n')
    assert load_samples(tmp_path / "s.jsonl") == [Sample("1", text="ok ?")]


@pytest.mark.parametrize(
    ("name", "data", "answer"),
    [
        ("s.txt", b"", "s.txt is no known samples file; allowed: .jsonl, .jsonl.gz, .json, .csv, .tsv, .parquet, or a "
         "folder of `datasets`"),
        ("s.jsonl.gz", b"plain", "cannot read s.jsonl.gz: Not a gzipped file (b'pl')"),
        ("s.jsonl.gz", gzip.compress(b"{}" * 999)[:-9], "cannot read s.jsonl.gz: Compressed file ended before the "
         "end-of-stream marker was reached"),
        ("s.json", b"[{}", "s.json: not JSON: Expecting ',' delimiter at character 4"),
        ("s.json", b"[" * 100_000, "s.json: not JSON that can be read: nested too deep, or a number too long"),
        ("s.csv", b"", "s.csv has no header; its first line names the columns"),
        ("s.csv", b"id,id\n", "s.csv:1: two columns have the same name"),
        ("s.csv", b'text\n"a"b\n', "s.csv:2: not CSV: ',' expected after '\"'"),
        ("s.csv", b"text\n\xff\n", "s.csv: not UTF-8; in Excel save it as “CSV UTF-8”"),
        ("s.csv", b"text\na,b\n", "s.csv:2: 2 cells, but 1 columns"),
        ("s.csv", b"text,features.v\na,[1\n", "s.csv:2: not JSON: Expecting ',' delimiter at character 3"),
        ("s.parquet", b"PAR1", "s.parquet: not a Parquet file that can be read: Parquet file size is 4 bytes, smaller "
         "than the minimum fi..."),
    ],
)  # fmt: skip
def test_a_damaged_file_is_named(tmp_path: Path, name: str, data: bytes, answer: str):
    (tmp_path / name).write_bytes(data)
    assert refused(tmp_path / name) == [answer]


def test_a_file_or_folder_that_is_not_there_is_named(tmp_path: Path):
    assert refused(tmp_path / "s.jsonl") == ["cannot read s.jsonl: No such file or directory"]
    assert "is a folder without state.json" in refused(tmp_path)[0]


def test_what_is_saved_reads_back_as_the_same(tmp_path: Path):
    samples = [
        Sample("1", text="退", image=tmp_path / "media/a.png", audio=Path("/b.wav"), group="g"),
        Sample("2", features={"v": (0.1, -1e300)}, labels={"i": "a", "n": 2.5, "t": ("x",), "u": None}, history=("h",)),
        Sample("3"),
    ]
    for name in ("s.jsonl", "s.jsonl.gz"):
        save_samples(tmp_path / name, samples)
        assert load_samples(tmp_path / name) == samples
    assert json.loads((tmp_path / "s.jsonl").read_text().splitlines()[0]) == {
        "id": "1", "text": "退", "image": "media/a.png", "audio": "/b.wav", "group": "g"
    }  # fmt: skip
    assert sorted(file.name for file in tmp_path.iterdir()) == ["s.jsonl", "s.jsonl.gz"]


def test_the_fingerprint_is_of_content_not_of_names_and_dates(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "b.png").write_bytes(PNG)
    samples = [
        Sample("1", text="x", labels={"i": "a", "n": 1.0}),
        Sample("2", image=tmp_path / "a.png", labels={"i": "a"}),
    ]
    first = fingerprint(samples)
    assert first == {
        "count": 2,
        "sha256": first["sha256"],
        "modalities": {"text": 1, "image": 1},
        "labels": {"i": {"a": 2}, "n": {"count": 1, "min": 1.0, "max": 1.0, "mean": 1.0}},
    }
    assert fingerprint([samples[0], Sample("2", image=tmp_path / "b.png", labels={"i": "a"})]) == first
    (tmp_path / "a.png").write_bytes(PNG + b"x")
    assert fingerprint(samples)["sha256"] != first["sha256"]
    assert file_hash(Path("/dev/null")) is None  # a device may never end


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from(
    ["id", "text", "image", "features", "group", "labels", "history", "split", "intent", "features.v"]
)


def reads_or_refuses(path: Path) -> None:
    try:
        samples = load_samples(path, heads=(INTENT,))
    except InputError:
        return
    json.dumps(fingerprint(samples))


@settings(deadline=None)
@given(st.lists(st.dictionaries(keys, values) | values, max_size=4))
def test_any_json_is_samples_or_an_input_error(tmp_path_factory: pytest.TempPathFactory, lines: list[object]):
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    reads_or_refuses(write(path, *lines))


@settings(deadline=None)
@given(st.sampled_from(["any.jsonl", "any.jsonl.gz", "any.json", "any.csv", "any.tsv", "any.parquet"]), st.binary())
def test_any_bytes_are_samples_or_an_input_error(tmp_path_factory: pytest.TempPathFactory, name: str, data: bytes):
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(data)
    reads_or_refuses(path)


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 127))
def test_any_bytes_as_a_vector_are_numbers_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, at: int
):
    folder = tmp_path_factory.getbasetemp()
    np.save(folder / "any.npy", np.arange(4.0))
    whole = (folder / "any.npy").read_bytes()
    (folder / "any.npy").write_bytes(whole[:at] + data + whole[at + len(data) :])
    reads_or_refuses(write(folder / "vector.jsonl", {"features": {"v": "any.npy"}}))
