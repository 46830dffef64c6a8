"""A task is read with its defaults, and every mistake is answered with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duomo.errors import ConfigError
from duomo.learn.task import Head, ModalityOptions, Task, Training, load_task, parse_task, to_yaml


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_task(text)
    return str(caught.value)


def test_heads_alone_are_a_whole_task():
    assert parse_task("heads: {intent: class}") == Task((Head("intent"),))


def test_everything_a_file_can_say_is_read():
    task = parse_task("""
heads:
  intent: {type: class, labels: [refund, yes, 1, oos], out_of_scope: oos, class_weights: balanced, weight: 2}
  tags: multilabel
  urgency: {type: number, loss: huber}
modalities:
  text: {stop_words: true}
  image: ../clip
  audio:
  features.lab: default
fusion: late
operator: low_rank
group: customer
context: 3
training:
  mode: semi-supervised
  unlabelled: more.jsonl
  balance: ogm_ge
  learning_rate: 1e-3
  epochs: 5
""")
    assert task == Task(
        heads=(
            Head(
                "intent",
                labels=("refund", "yes", "1", "oos"),
                out_of_scope="oos",
                class_weights="balanced",
                weight=2.0,
            ),
            Head("tags", "multilabel"),
            Head("urgency", "number", loss="huber"),
        ),
        modalities={
            "text": ModalityOptions(stop_words=True),
            "image": ModalityOptions("../clip"),
            "audio": ModalityOptions(),
            "features.lab": ModalityOptions(),
        },
        fusion="late",
        operator="low_rank",
        group="customer",
        context=3,
        training=Training(
            mode="semi-supervised", unlabelled="more.jsonl", balance="ogm_ge", learning_rate=1e-3, epochs=5
        ),
    )


def test_the_preset_article_is_the_founding_network_and_what_the_file_writes_wins():
    plain = {"dropout": 0.0, "weight_decay": 0.0, "modality_dropout": 0.0}
    article = Training(hidden=128, learning_rate=1e-3, schedule="constant", **plain)
    assert parse_task("{preset: article, heads: {intent: class}}") == Task(
        (Head("intent"),), fusion="intermediate", operator="concat", preset="article", training=article
    )
    own = parse_task("{preset: article, heads: {intent: class}, operator: sum, training: {hidden: 64}}")
    assert (own.fusion, own.operator, own.training.hidden, own.training.dropout) == ("intermediate", "sum", 64, 0.0)


def test_all_mistakes_are_told_at_once_each_with_its_line_and_the_nearest_name():
    assert refused("""heads:
  intent: clas
  urgency: {type: number, labels: [1, 2]}
fushion: late
operator: gate
seed: 3
training:
  epochs: 0
  dropout: 1
  learning_rate: fast
  seed: 1.5
modalities: [text, imgae]
""").splitlines() == [
        "10 mistakes in task.yaml:",
        "task.yaml:2: heads.intent is 'clas'; allowed: class, multilabel, number. Did you mean class?",
        "task.yaml:3: heads.urgency.labels is for heads of type class or multilabel; this is number",
        "task.yaml:4: the task knows no 'fushion'; allowed: heads, modalities, fusion, operator, preset, group, "
        "context, training. Did you mean fusion?",
        "task.yaml:5: operator is 'gate'; allowed: concat, sum, gated, low_rank, tensor, cross_attention, bottleneck. "
        "Did you mean gated?",
        "task.yaml:6: the task knows no 'seed'; allowed: heads, modalities, fusion, operator, preset, group, "
        "context, training. seed belongs under training.",
        "task.yaml:8: training.epochs is '0'; allowed: a whole number from 1 to 100000",
        "task.yaml:9: training.dropout is '1'; allowed: a number from 0 to below 1",
        "task.yaml:10: training.learning_rate is 'fast'; allowed: a number above 0 to 10",
        "task.yaml:11: training.seed is '1.5'; allowed: a whole number from 0 to 4294967295",
        "task.yaml:12: modalities knows no 'imgae'; allowed: text, image, audio, video, features.NAME. "
        "Did you mean image?",
    ]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("", "task.yaml:1: the file is empty; the shortest is\nheads:\n  intent: class"),
        ("# nothing yet\n", "task.yaml:1: the file is empty; the shortest is\nheads:\n  intent: class"),
        ("fusion: late",
         "task.yaml:1: heads is missing: what is to be predicted. The shortest is\nheads:\n  intent: class"),
        ("- intent", "task.yaml:1: the file is a list; allowed: a mapping, at least\nheads:\n  intent: class"),
        ("heads:\n\tintent: class", "task.yaml:2: a tab at the start of the line; YAML is indented with spaces"),
        ("heads: {intent: class", "task.yaml:1: not YAML: expected ',' or '}', but got '<stream end>'"),
        ("heads: {a: class}\nfusion: late\nfusion: early", "task.yaml:3: fusion stands here and in line 2; keep one"),
        ("heads: &a {i: class}\ntraining: *a", "task.yaml:2: *a is an alias; write the value out"),
        ("heads: {a: !!python/name:os.system x}", "task.yaml:1: heads.a is 'x'; allowed: class, multilabel, number."),
        ("heads: [intent]",
         "task.yaml:1: heads is a list; allowed: a name and its type a line, such as `intent: class`"),
        (
            "heads: {i: {type: class, labels: [a, oos], out_of_scope: oos}}",
            "task.yaml:1: heads.i.labels holds one label; a class head tells at least 2 apart",
        ),
        ("heads: {i: {type: class, labels: [a, b, a]}}", "task.yaml:1: heads.i.labels holds 'a' twice"),
        (
            "heads: {i: class}\nmodalities: {lab: default}",
            "task.yaml:2: modalities knows no 'lab'; allowed: text, image, audio, video, features.NAME. "
            "A vector of your own is features.lab.",
        ),
        (
            "heads: {i: class}\nmodalities: {image: {stop_words: true}}",
            "task.yaml:2: modalities.image.stop_words is for text alone",
        ),
        (
            "heads: {i: class}\noperator: tensor\nmodalities: [text, image, audio, video]",
            "task.yaml:2: operator tensor takes at most 3 modalities, here are 4",
        ),
        ("heads: {i: class}\nmodalities: {text: {stop_words: maybe}}",
         "task.yaml:2: modalities.text.stop_words is 'maybe'; allowed: true, false"),
        ("--- {heads: {i: class}}\n--- {}", "task.yaml:2: not YAML: but found another document"),
        ("heads: {i: class}\x00", "task.yaml:1: a character that YAML does not allow (#x0000)"),
        ('heads: {i: "\\UFFFFFFFF"}', "task.yaml:1: not YAML: a character code that does not exist"),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_with_its_line_and_what_is_allowed(text: str, answer: str):
    assert refused(text) == answer


def test_depth_and_size_are_refused_before_they_cost_anything():
    assert "nested 17 deep" in refused("[" * 100_000)
    assert "more than 1 MiB" in refused("#" * (1 << 21))


def test_a_file_is_read_by_its_name(tmp_path: Path):
    path = tmp_path / "task.yaml"
    path.write_text("\ufeffheads: {意图: class}\n", encoding="utf-8")
    assert load_task(path) == Task((Head("意图"),))
    path.write_bytes(b"heads:\n  a: \xff\n")
    with pytest.raises(ConfigError, match=r"task\.yaml:2: not UTF-8 text"):
        load_task(path)
    with pytest.raises(ConfigError, match="No such file"):
        load_task(tmp_path / "other.yaml")
    with pytest.raises(ConfigError, match="Is a directory"):
        load_task(tmp_path)


names = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12)
heads = st.one_of(
    st.builds(Head, names, labels=st.just(("a", "b", "null", "1e3")), out_of_scope=st.none() | names),
    st.builds(Head, names, st.just("multilabel"), class_weights=st.sampled_from(["none", "balanced"])),
    st.builds(Head, names, st.just("number"), loss=st.sampled_from(["mse", "huber"]), weight=st.floats(1e-9, 1000)),
)
tasks = st.builds(
    Task,
    st.lists(heads, min_size=1, max_size=4, unique_by=lambda head: head.name).map(tuple),
    modalities=st.dictionaries(
        st.sampled_from(["text", "image", "features.a b"]), st.builds(ModalityOptions), max_size=3
    ),
    fusion=st.sampled_from(["auto", "late"]),
    preset=st.sampled_from([None, "article"]),
    group=names,
    training=st.builds(Training, learning_rate=st.floats(1e-300, 10), unlabelled=st.none() | names),
)


@given(tasks)
def test_a_task_written_out_reads_back_as_the_same(task: Task):
    assert parse_task(to_yaml(task)) == task


def parses_or_refuses(text: str) -> None:
    try:
        assert isinstance(parse_task(text), Task)
    except ConfigError as error:
        assert str(error).startswith("task.yaml") or " mistakes in task.yaml" in str(error)  # noqa: PT017


@given(st.text())
def test_any_text_is_a_task_or_a_config_error(text: str):
    parses_or_refuses(text)


yaml_words = st.sampled_from(
    ["heads", "training", "modalities", "class", "text", ":", ": ", "\n", "  ", "- ", "[", "]", "{", "}", ",", "&a ",
     "*a", "!!int ", "!x ", "? ", "<<", "|\n", ">", "'", '"', "#", "---", "...", "%YAML 1.1", "null", "~", "1e999",
     ".inf", "0x1", "1:30", "2001-01-01", "=", "\\U", "\t"]
)  # fmt: skip


@given(st.lists(yaml_words, max_size=30).map("".join))
def test_any_heap_of_yaml_is_a_task_or_a_config_error(text: str):
    parses_or_refuses(text)


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | names | st.sampled_from(["class", "text", "type"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["heads", "type", "labels", "text", "epochs", "training", "encoder"]) | names, inner
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["heads", "training", "modalities", "fusion", "context", "preset"]), trees))
def test_any_value_anywhere_is_a_task_or_a_config_error(tree: dict[str, object]):
    import yaml

    parses_or_refuses(yaml.safe_dump(tree))
