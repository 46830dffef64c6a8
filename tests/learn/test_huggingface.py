"""Any checkpoint on disk is an encoder; it runs no code of its own, downloads nothing, and can be fine-tuned."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from duomo.errors import ConfigError, InputError
from duomo.learn.encoders import encode, encoders_for, encoders_of
from duomo.learn.finetune import Settings, finetune
from duomo.learn.huggingface import Checkpoint, locate, version_of
from duomo.learn.task import ModalityOptions
from duomo.media import audio
from duomo.types import Sample
from tests.learn import checkpoints
from tests.learn.checkpoints import torch, transformers
from tests.media import samples as media
from tests.models.sounds import recording, silence

PICTURE = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
MAKERS: list[tuple[Callable[[Path], Path], str, list[object], int]] = [
    (checkpoints.bert, "text", ["hello there", "x" * 3000, "退货", "a"], 32),
    (checkpoints.vit, "image", [PICTURE, PICTURE[:1, :1], np.zeros((28, 28, 3), np.uint8)], 32),
    (checkpoints.resnet, "image", [PICTURE], 16),
    (checkpoints.wav2vec2, "audio", [recording("en.flac"), silence(0), silence(45)], 32),
    (checkpoints.whisper, "audio", [recording("en.flac"), silence(0)], 32),
    (checkpoints.clip, "text", ["hello there"], 24),
    (checkpoints.clip, "image", [PICTURE, PICTURE[:1, :1]], 24),
]


@pytest.mark.parametrize(("make", "modality", "values", "dim"), MAKERS)
def test_a_folder_becomes_an_encoder(
    make: Callable[[Path], Path], modality: str, values: list[object], dim: int, tmp_path: Path
):
    encoder = Checkpoint(str(make(tmp_path / "mine")), modality=modality)
    view = encoder.view
    assert (view.name, view.modality, view.dim, view.encoder) == (f"{modality}.hf", modality, dim, "mine")
    for value in values:
        vector = encoder.encode(value)  # type: ignore[arg-type]
        assert (vector.shape, vector.dtype) == ((dim,), np.dtype(np.float32))
        assert np.isfinite(vector).all()
        assert np.array_equal(vector, encoder.encode(value))  # type: ignore[arg-type]


def test_the_vector_is_the_mean_over_the_tokens_that_are_there(tmp_path: Path):
    encoder = Checkpoint(str(checkpoints.bert(tmp_path / "bert")), modality="text")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "bert")
    model = transformers.AutoModel.from_pretrained(tmp_path / "bert").eval()
    with torch.inference_mode():
        states = model(**tokenizer("hello there", return_tensors="pt")).last_hidden_state[0]
        padded = encoder.vectors(["hello there", "something that is much longer than the other"])[0]
    assert np.allclose(encoder.encode("hello there"), states.mean(dim=0), atol=1e-6)
    assert np.allclose(padded, states.mean(dim=0), atol=1e-5)


def test_of_a_window_of_thirty_seconds_only_the_sound_counts(tmp_path: Path):
    """Whisper's encoder always sees 30 s; averaging them all would drown a word in silence."""
    encoder = Checkpoint(str(checkpoints.whisper(tmp_path / "whisper")), modality="audio")
    voice = recording("en.flac")[: 2 * 16000]
    extractor = transformers.WhisperFeatureExtractor()
    features = extractor(voice, sampling_rate=16000, return_tensors="pt").input_features
    with torch.inference_mode():
        states = encoder.model.get_encoder()(features).last_hidden_state[0]
    assert len(states) == 1500
    assert np.allclose(encoder.encode(voice), states[:100].mean(dim=0), atol=1e-5)


def test_the_version_follows_the_weights(tmp_path: Path):
    one, same, other = (checkpoints.bert(tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert version_of(one) == version_of(same) != version_of(other)


def test_a_name_that_was_never_downloaded_is_answered_with_the_way(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"hf download nobody/nothing --local-dir FOLDER"):
        locate("nobody/nothing")


def test_weights_that_may_run_code_are_refused(tmp_path: Path):
    folder = checkpoints.bert(tmp_path / "bert")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ConfigError, match=r"has no \*.safetensors"):
        Checkpoint(str(folder), modality="text")


def test_code_that_comes_with_a_checkpoint_never_runs(tmp_path: Path):
    folder = checkpoints.bert(tmp_path / "bert")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= {"auto_map": {"AutoModel": "evil.Evil", "AutoConfig": "evil.Config"}, "model_type": "evil"}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be loaded as an encoder of text"):
        Checkpoint(str(folder), modality="text")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json"])
def test_a_folder_without_its_configuration_is_refused(tmp_path: Path, missing: str):
    folder = checkpoints.bert(tmp_path / "bert")
    for name in (missing, "vocab.txt", "tokenizer_config.json"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(ConfigError, match=r"holds no config.json" if missing == "config.json" else "has no vocabulary"):
        Checkpoint(str(folder), modality="text")


def test_a_modality_without_checkpoints_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="accepted for text, image, audio"):
        Checkpoint(str(tmp_path), modality="video")


def test_a_task_takes_the_checkpoint_in_place_of_the_pretrained_defaults(tmp_path: Path):
    modalities = {"text": ModalityOptions(encoder=str(checkpoints.bert(tmp_path / "bert")))}
    given = [Sample("1", text="hello"), Sample("2", text="hello"), Sample("3")]
    encoders = encoders_for(modalities, given)
    assert [view.name for view in encoders.views] == ["text.hf", "text.ngrams"]
    found = encode(given, encoders=encoders, cache=tmp_path / "cache")
    assert found.features.dense["text.hf"][0].tolist() == found.features.dense["text.hf"][1].tolist()
    assert found.features.present.tolist() == [[True], [True], [False]]
    assert encoders_of(encoders.views, modalities).views == encoders.views
    other = {"text": ModalityOptions(encoder=str(checkpoints.bert(tmp_path / "other" / "bert", seed=1)))}
    with pytest.raises(ConfigError, match="version"):
        encoders_of(encoders.views, other)


# --- fine-tuning


def labelled(folder: Path, *, count: int = 48) -> list[Sample]:
    """Two classes that every modality tells apart, in groups of two."""
    found = []
    for number in range(count):
        good = number % 2 == 0
        picture, sound = folder / f"{number}.png", folder / f"{number}.wav"
        light = np.full((32, 32, 3), 200 if good else 20, dtype=np.uint8)
        picture.write_bytes(media.saved(media.Image.fromarray(light), "PNG"))
        sound.write_bytes(audio.encode_wav(media.tone(0.3, hertz=300 if good else 2000)[0]))
        text = f"{'good nice' if good else 'poor bad'} {chr(97 + number % 26)}"
        label = "good" if good else "bad"
        found.append(
            Sample(str(number), text, picture, sound, group=f"g{number // 2}", labels={"mood": label, "none": None})
        )
    return found


FAST = Settings(epochs=3, learning_rate=3e-3, batch_size=4)


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize(
    ("make", "modality"),
    [(checkpoints.bert, "text"), (checkpoints.vit, "image"), (checkpoints.wav2vec2, "audio")],
    ids=["text", "image", "audio"],
)
def test_a_fine_tuned_encoder_is_another_checkpoint_that_knows_the_labels_better(
    make: Callable[[Path], Path], modality: str, method: str, tmp_path: Path
):
    source, given = make(tmp_path / "source"), labelled(tmp_path)
    before = version_of(source)
    settings = Settings(method=method, epochs=6, learning_rate=3e-3, batch_size=4)  # type: ignore[arg-type]
    result = finetune(
        given, modality=modality, checkpoint=str(source), heads=["mood"], out=tmp_path / "tuned", settings=settings
    )
    assert result.loss_before == pytest.approx(math.log(2), abs=1e-6)
    assert result.loss < result.loss_before - 0.02
    assert 1 <= result.epochs <= 6
    assert version_of(source) == before
    tuned = Checkpoint(str(tmp_path / "tuned"), modality=modality)
    plain = Checkpoint(str(source), modality=modality)
    assert (tuned.view.dim, tuned.view.version != plain.view.version) == (plain.view.dim, True)
    value = {"text": "good", "image": PICTURE, "audio": recording("en.flac")}[modality]
    assert not np.allclose(tuned.encode(value), plain.encode(value), atol=1e-4)  # type: ignore[arg-type]


def test_whole_groups_were_seen_and_the_result_names_them(tmp_path: Path):
    given = labelled(tmp_path)
    source = str(checkpoints.bert(tmp_path / "bert"))
    unlabelled = [Sample("u", text="good", group="g0"), Sample("v", group="g1", labels={"mood": "good"})]
    result = finetune(
        [*given, *unlabelled], modality="text", checkpoint=source, heads=["mood"], out=tmp_path / "out", settings=FAST
    )
    group = {sample.id: sample.group for sample in given}
    seen = {group[name] for name in result.seen}
    assert len(seen) == 12  # half of 24
    assert {name for name in group if group[name] in seen} == set(result.seen)
    kept = json.loads((tmp_path / "out" / "finetune.json").read_text(encoding="utf-8"))
    assert (kept["seen"], kept["source"], kept["method"]) == (list(result.seen), source, "lora")


def test_the_same_seed_gives_the_same_encoder_and_another_seed_sees_other_groups(tmp_path: Path):
    given, source = labelled(tmp_path), str(checkpoints.bert(tmp_path / "bert"))
    results = [
        finetune(
            given,
            modality="text",
            checkpoint=source,
            heads=["mood"],
            out=tmp_path / name,
            settings=Settings(epochs=2, batch_size=8, learning_rate=1e-3, seed=seed),
        )
        for name, seed in (("one", 0), ("two", 0), ("three", 1))
    ]
    assert version_of(tmp_path / "one") == version_of(tmp_path / "two") != version_of(tmp_path / "three")
    assert (results[0].seen, results[0].loss) == (results[1].seen, results[1].loss)
    assert set(results[0].seen) != set(results[2].seen)


def test_training_stops_when_nothing_gets_better_and_keeps_the_best(tmp_path: Path):
    given = labelled(tmp_path)
    shuffled = np.random.default_rng(0).permutation(len(given))
    noise = [
        Sample(s.id, s.text, group=s.group, labels=given[at].labels) for s, at in zip(given, shuffled, strict=True)
    ]
    losses: list[float] = []
    result = finetune(
        noise,
        modality="text",
        checkpoint=str(checkpoints.bert(tmp_path / "bert")),
        heads=["mood"],
        out=tmp_path / "out",
        settings=Settings(method="full", epochs=30, patience=2, batch_size=4, learning_rate=1e-2),
        progress=lambda epoch, loss: losses.append(loss),
    )
    assert len(losses) == result.epochs + 2 < 30
    assert result.loss == pytest.approx(min([result.loss_before, *losses]), abs=1e-5)


def test_a_broken_file_is_left_out_of_training(tmp_path: Path):
    given = labelled(tmp_path)
    for sample in given[:10]:
        assert sample.image is not None
        sample.image.write_bytes(b"no picture")
    source = str(checkpoints.vit(tmp_path / "vit"))
    result = finetune(given, modality="image", checkpoint=source, heads=["mood"], out=tmp_path / "out", settings=FAST)
    assert result.loss < result.loss_before


@pytest.mark.parametrize(
    ("count", "heads", "reason"),
    [(48, ["none"], "two labels at least"), (48, [], "given: none"), (4, ["mood"], "four groups at least, found 2")],
)
def test_too_little_to_learn_from_is_refused(count: int, heads: list[str], reason: str, tmp_path: Path):
    given, source = labelled(tmp_path, count=count), str(checkpoints.bert(tmp_path / "bert"))
    with pytest.raises(InputError, match=reason):
        finetune(given, modality="text", checkpoint=source, heads=heads, out=tmp_path / "out", settings=FAST)


def test_what_was_there_stays_when_training_fails(tmp_path: Path):
    given, source = labelled(tmp_path), str(checkpoints.bert(tmp_path / "bert"))
    finetune(given, modality="text", checkpoint=source, heads=["mood"], out=tmp_path / "out", settings=FAST)
    before = version_of(tmp_path / "out")

    def stop(epoch: int, loss: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(
            given,
            modality="text",
            checkpoint=source,
            heads=["mood"],
            out=tmp_path / "out",
            settings=FAST,
            progress=stop,
        )
    assert version_of(tmp_path / "out") == before
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"bert", "out"}
