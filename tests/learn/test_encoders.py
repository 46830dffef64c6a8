"""Samples become features once: what was made stays, what is broken is listed, and nothing is lost by a kill."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from duomo.errors import ConfigError, InputError, MediaError
from duomo.learn import encoders as module
from duomo.learn.cache import FILE, Cache
from duomo.learn.encoders import Broken, encode, encoders_for, encoders_of
from duomo.learn.task import ModalityOptions
from duomo.media import audio
from duomo.models.encoders import Encoded, Encoders, Plain, default_views
from duomo.models.features import Features, View
from duomo.types import Sample
from tests.media import samples as media
from tests.models.sounds import recording


class Counting:
    """Encoders of length-two vectors, one sparse, that note what they were asked."""

    def __init__(self, version: str = "1") -> None:
        self.asked: list[Any] = []
        self.views = (
            View("text.e5", "text", 2, "counting", version),
            View("text.ngrams", "text", 100, "counting", version, sparse=True),
            View("image.shape", "image", 2, "counting", version),
        )
        self.encoders = Encoders(
            self.views,
            own=[
                Plain(self.views[0], self._text),
                Plain(self.views[1], self._sparse),
                Plain(self.views[2], self._image),
            ],
        )

    def _text(self, value: str) -> Encoded:
        self.asked.append(value)
        return np.array([len(value), 1.0], dtype=np.float32)

    def _sparse(self, value: str) -> Encoded:
        return np.array([len(value), 50 + len(value)]), np.array([0.5, 2.0], dtype=np.float32)

    def _image(self, value: Any) -> Encoded:
        self.asked.append(value.shape)
        return np.array(value.shape[:2], dtype=np.float32)


def as_lists(features: Features) -> dict[str, Any]:
    sparse = {
        name: [(rows.take([row]).columns.tolist(), rows.take([row]).values.tolist()) for row in range(len(rows))]
        for name, rows in features.sparse.items()
    }
    return {name: view.tolist() for name, view in features.dense.items()} | sparse


def test_each_content_is_encoded_once_and_stands_in_every_row_that_holds_it(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(media.saved(media.halves(20, 10), "PNG"))
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    given = [
        Sample("1", text="hello", image=tmp_path / "a.png"),
        Sample("2", text=" hello\u200b"),
        Sample("3", image=tmp_path / "b.png"),
        Sample("4", text=" "),
    ]
    counting = Counting()
    found = encode(given, encoders=counting.encoders)
    assert sorted(counting.asked, key=str) == [(10, 20, 3), "hello"]
    assert found.features.present.tolist() == [[True, True], [True, False], [False, True], [False, False]]
    assert as_lists(found.features) == {
        "text.e5": [[5, 1], [5, 1], [0, 0], [0, 0]],
        "text.ngrams": [([5, 55], [0.5, 2.0])] * 2 + [([], [])] * 2,
        "image.shape": [[10, 20], [0, 0], [10, 20], [0, 0]],
    }
    assert (found.views, found.broken) == (counting.views, ())


def test_what_a_cache_holds_is_not_made_again_and_is_the_same(tmp_path: Path):
    given = [Sample(str(number), text="x" * number) for number in range(1, 30)]
    first = encode(given[:20], encoders=Counting().encoders, cache=tmp_path / "cache")
    counting, seen = Counting(), []
    second = encode(given, encoders=counting.encoders, cache=tmp_path / "cache", progress=lambda *at: seen.append(at))
    assert sorted(counting.asked) == [sample.text for sample in given[20:]]
    assert seen == [(done, 29) for done in range(21, 30)]
    assert as_lists(second.features.take(range(20))) == as_lists(first.features)


def test_features_of_another_version_are_made_again(tmp_path: Path):
    encode([Sample("1", text="a")], encoders=Counting().encoders, cache=tmp_path)
    counting = Counting(version="2")
    encode([Sample("1", text="a")], encoders=counting.encoders, cache=tmp_path)
    assert counting.asked == ["a"]


def test_a_file_that_changed_is_read_again(tmp_path: Path):
    path = tmp_path / "a.png"
    shapes = []
    for width in (20, 30):
        path.write_bytes(media.saved(media.halves(width, 10), "PNG"))
        found = encode([Sample("1", image=path)], encoders=Counting().encoders, cache=tmp_path / "cache")
        shapes.append(found.features.dense["image.shape"].tolist())
    assert shapes == [[[10, 20]], [[10, 30]]]


def test_broken_and_missing_files_are_listed_and_missing(tmp_path: Path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nxx")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "good.png").write_bytes(media.saved(media.halves(), "PNG"))
    names = ("good", "broken", "empty", "absent", "broken")
    given = [Sample(name + str(row), text="a", image=tmp_path / f"{name}.png") for row, name in enumerate(names)]
    for _ in range(2):  # the second time from the cache
        found = encode(given, encoders=Counting().encoders, cache=tmp_path / "cache")
        assert found.features.present.tolist() == [[True, True]] + [[True, False]] * 4
        assert not found.features.dense["image.shape"][1:].any()
        damaged = "the picture is damaged; send it as JPEG or PNG"
        assert found.broken == (
            Broken("broken1", "image", str(tmp_path / "broken.png"), damaged),
            Broken("empty2", "image", str(tmp_path / "empty.png"), "the file is empty (0 bytes)"),
            Broken("absent3", "image", str(tmp_path / "absent.png"), "cannot be read: No such file or directory"),
            Broken("broken4", "image", str(tmp_path / "broken.png"), damaged),
        )


def test_of_a_file_that_can_no_longer_be_read_nothing_cached_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.png").write_bytes(media.saved(media.halves(), "PNG"))
    given = [Sample("1", image=tmp_path / "a.png")]
    views = [View(name, "image", 1, "one", "1") for name in ("image.efficientnet", "image.shape")]
    own = [Plain(view, lambda _: np.ones(1, dtype=np.float32)) for view in views]
    encode(given, encoders=Encoders(views[:1], own=own[:1]), cache=tmp_path / "cache")

    def refuse(modality: str, data: bytes) -> None:
        raise MediaError("no memory for it")

    monkeypatch.setattr(module, "read", refuse)
    found = encode(given, encoders=Encoders(views, own=own), cache=tmp_path / "cache")
    assert as_lists(found.features) == {"image.efficientnet": [[0.0]], "image.shape": [[0.0]]}
    assert found.features.present.tolist() == [[False]]
    assert [entry.reason for entry in found.broken] == ["no memory for it"]


def test_a_folder_in_place_of_a_file_is_listed(tmp_path: Path):
    found = encode([Sample("1", text="a", image=tmp_path)], encoders=Counting().encoders)
    assert [(entry.modality, entry.reason) for entry in found.broken] == [("image", "cannot be read: Is a directory")]


def test_vectors_pass_through_and_one_that_is_no_number_is_listed():
    given = [Sample("1", features={"lab": (1.0, 2.0)}), Sample("2"), Sample("3", features={"lab": (1.0, float("nan"))})]
    found = encode(given)
    assert found.features.modalities == ("features.lab",)
    assert found.features.dense["features.lab"].tolist() == [[1, 2], [0, 0], [0, 0]]
    assert found.features.present.tolist() == [[True], [False], [False]]
    assert [(entry.id, entry.path) for entry in found.broken] == [("3", None)]


def test_vectors_of_different_lengths_are_refused_with_the_sample():
    with pytest.raises(InputError, match=r"sample 2 has 1 numbers in features.lab, expected 2"):
        encode([Sample("1", features={"lab": (1.0, 2.0)}), Sample("2", features={"lab": (1.0,)})])


def test_without_a_task_the_samples_say_which_modalities_there_are():
    given = [Sample("1", text="a", features={"z": (1.0,)}), Sample("2", audio=Path("x"), features={"a": (1.0,)})]
    assert encoders_for({}, given).modalities == ("text", "audio", "features.a", "features.z")
    assert encoders_for({"text": ModalityOptions()}, given).modalities == ("text",)
    with pytest.raises(InputError, match="hold nothing"):
        encoders_for({}, [Sample("1")])
    with pytest.raises(InputError, match=r"asks for features.age, but no sample has it"):
        encoders_for({"features.age": ModalityOptions()}, given)


def test_a_task_can_leave_stop_words_out():
    (*_, plain), (*_, without) = (
        encoders_for({"text": ModalityOptions(stop_words=stop)}, []).views for stop in (False, True)
    )
    assert (plain.name, plain.encoder, without.name, without.encoder) == (
        "text.ngrams",
        "hashed-ngrams",
        "text.ngrams",
        "hashed-ngrams-without-stop-words",
    )


def test_a_mistake_in_an_encoder_is_not_swallowed(tmp_path: Path):
    view = View("text.e5", "text", 2, "counting", "1")

    def stumble(value: str) -> Encoded:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        encode([Sample("1", text="a")], encoders=Encoders([view], own=[Plain(view, stumble)]), cache=tmp_path)


def test_real_encoders_give_the_same_alone_cached_and_in_threads(tmp_path: Path):
    (tmp_path / "a.wav").write_bytes(audio.encode_wav(recording("en.flac")))
    (tmp_path / "a.png").write_bytes(media.saved(media.halves(), "PNG"))
    (tmp_path / "a.mp4").write_bytes(media.video())
    sample = Sample(
        "1", text="退货 please", image=tmp_path / "a.png", audio=tmp_path / "a.wav", video=tmp_path / "a.mp4"
    )
    encoders = encoders_for({}, [sample])
    others = [Sample(f"other {number}", text=f"other {number}") for number in range(20)]
    alone = encoders.encode_one(sample)
    for workers in (1, 3):
        for folder in (tmp_path / f"cache{workers}",) * 2:
            found = encode([*others, sample], encoders=encoders, cache=folder, workers=workers)
            assert found.broken == ()
            assert as_lists(found.features.take([20])) == as_lists(alone)
            assert found.features.present[20].all()


def test_the_encoders_of_a_trained_model_are_found_again_or_refused():
    views = (*default_views("text"), View("features.lab", "features.lab", 3, "given", "1"))
    assert encoders_of(views).views == views
    with pytest.raises(ConfigError, match="version 0-0"):
        encoders_of([replace(views[0], version="0-0")])


# --- the cache

_WRITER = """
import sys
from pathlib import Path
import numpy as np
from duomo.learn.cache import Cache
from duomo.models.features import View
import duomo.learn.cache as module
module.COMMIT_S = -1.0
cache = Cache(Path(sys.argv[1]))
view = View("audio.whisper", "audio", 2560, "x", "1")
number = 0
while True:
    cache.put(view, number.to_bytes(16, "big"), np.full(2560, number, dtype=np.float32))
    number += 1
    if number % 50 == 0:
        print(number, flush=True)
"""


def test_writers_killed_at_any_moment_leave_whole_records(tmp_path: Path):
    view = View("audio.whisper", "audio", 2560, "x", "1")
    for at in (50, 400, 1000):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            while int(writer.stdout.readline()) < at:
                pass
            os.kill(writer.pid, signal.SIGKILL)
        cache = Cache(tmp_path)
        found = dict(cache.get(view, [number.to_bytes(16, "big") for number in range(at + 10_000)]))
        assert all(
            isinstance(vector, np.ndarray) and (vector == int.from_bytes(key)).all() for key, vector in found.items()
        )
        assert len(found) >= at  # all that were said to be there
        assert sorted(int.from_bytes(key) for key in found) == list(range(len(found)))
        cache.close()


def test_two_runs_write_one_cache_at_a_time(tmp_path: Path):
    view = View("text.e5", "text", 2, "x", "1")
    one, other = Cache(tmp_path), Cache(tmp_path)
    one.put(view, b"1", np.float32([1, 1]))
    other.put(view, b"2", np.float32([2, 2]))
    other.put(view, b"1", np.float32([1, 1]))
    one.close()
    other.close()
    found = {key: np.asarray(vector).tolist() for key, vector in Cache(tmp_path).get(view, [b"1", b"2", b"3"])}
    assert found == {b"1": [1, 1], b"2": [2, 2]}


def test_a_record_of_the_wrong_length_counts_as_absent(tmp_path: Path):
    view = View("text.e5", "text", 2, "x", "1")
    cache = Cache(tmp_path)
    cache.put(view, b"1", np.float32([1, 1]))
    cache.close()
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("UPDATE vector SET data = x'00'")
    db.close()
    assert dict(Cache(tmp_path).get(view, [b"1"])) == {}


def test_a_file_that_is_no_cache_is_refused_with_the_way_out(tmp_path: Path):
    (tmp_path / FILE).write_bytes(b"something else" * 1000)
    with pytest.raises(ConfigError, match="Delete it"):
        Cache(tmp_path)


def test_a_kill_between_two_contents_costs_no_more_than_was_not_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("duomo.learn.cache.COMMIT_S", 0.0)

    def stop_at(limit: int) -> Callable[[int, int], None]:
        def progress(done: int, total: int) -> None:
            if done == limit:
                raise KeyboardInterrupt

        return progress

    given = [Sample(str(number), text="x" * number) for number in range(1, 41)]
    with pytest.raises(KeyboardInterrupt):
        encode(given, encoders=Counting().encoders, cache=tmp_path, progress=stop_at(10), workers=1)
    counting = Counting()
    encode(given, encoders=counting.encoders, cache=tmp_path)
    assert len(counting.asked) == 30


def test_a_file_larger_than_memory_would_like_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "LARGEST_FILE", 10)
    (tmp_path / "a.png").write_bytes(media.saved(media.halves(), "PNG"))
    found: Sequence[Broken] = encode([Sample("1", image=tmp_path / "a.png")], encoders=Counting().encoders).broken
    assert [entry.reason.endswith("accepted are 10") for entry in found] == [True]
