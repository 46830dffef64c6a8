"""Whatever the machine writes about models can be read in Chinese and in English; what people wrote stays theirs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import resources
from typing import Any, get_args

import pytest
from playwright.sync_api import Page

from duomo.models.encoders import View, _unlike
from duomo.support.gates import Gate, Kind, decide
from duomo.support.policy_sections import Gates
from duomo.support.rollout import INDICATORS, Finding
from tests.browser.fake_server import FakeServer
from tests.support.test_gates import change, found, part

ENGLISH = re.compile(r"[A-Za-z]{2,}")
ANSWERED = {"decide", "load", "report"}  # of support/improve.py: what these raise goes to who asked and is not kept
NAMES = re.compile(r"Duomo|\[train\]|pip install 'duomo\[train\]'")
SETS = [
    {
        "head": "intent", "title": {"en": "Intent", "zh": "意图"}, "type": "class", "out_of_scope": "other",
        "labels": [
            {"name": name, "title": {"en": name.replace("_", " "), "zh": title}, "known": True, "count": 0}
            for name, title in {"invoice": "发票", "trade_in": "以旧换新"}.items()
        ],
    }
]  # fmt: skip


@pytest.fixture
def console(page: Page, server: FakeServer) -> Page:
    page.goto(f"{server.url}/console/")
    page.evaluate(
        """async (sets) => {
            window.said = await import("/w/console/models_said.js");
            window.desk = (await import("/w/console/desk.js")).desk;
            const {labels} = await import("/w/console/labels.js");
            labels.sets = sets;
            desk.teams = new Map([["repair", {en: "Repair", zh: "维修"}]]);
            await import("/w/console/models.js");
        }""",
        SETS,
    )
    return page


def gates() -> list[Gate]:
    """Every kind of gate, passed and failed, and every gain, as `decide` makes them."""
    worse = change(0.9, 0.6, p=0.001)
    slices = [
        part(kind, name, 60, 0.9, 0.6, p=0.001)
        for kind, name in [("pattern", "text+image"), ("language", "zh"), ("team", "repair"), ("label", "invoice")]
    ]
    far = part("language", "en", 60, 2.1, 2.4, p=0.001) | {"figure": "mae"}
    scope = ("out_of_scope_recall", "out_of_scope_precision", "in_scope_accuracy")
    bad = found(
        worse, slices=[*slices, far], lost=("invoice",), base=(0.9, 0.5), subset_accuracy=worse,
        wrong_answers=change(0.1, 0.5, p=0.001), ece=change(0.1, 0.5, p=0.001), **dict.fromkeys(scope, worse),
    )  # fmt: skip
    good = found(new=("trade_in",)) | {"fresh": 40}
    none = found()
    none["comparison"]["heads"] = {}
    first = found()
    first["comparison"] = {
        "against": False,
        "heads": {
            "intent": {
                "n": 40, "held_out": 40, "most_frequent": 0.3,
                "figures": {"accuracy": {"value": 0.6, "low": 0.5, "high": 0.7}},
            }
        },
    }  # fmt: skip
    return [gate for result in (bad, good, none, first) for gate in decide(result, Gates()).gates]


def kept_sentences() -> set[str]:
    """What the sources keep as a reason, a note or a verdict: sentences of the machine, read from the code itself."""
    texts = {
        text for name in functions("support/improve.py") - ANSWERED for text in sentences("support/improve.py", name)
    }
    texts |= set(sentences("support/gates.py", "decide"))
    for file in ("demo.py", "cli/models.py", "support/rollout.py", "support/improve.py"):
        for node in ast.walk(source(file)):
            if isinstance(node, ast.keyword) and node.arg in ("reason", "note"):
                texts |= {one.value for one in ast.walk(node.value) if is_text(one)}
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("_end", "fail"):
                texts |= {one.value for one in node.args if is_text(one)}
    return {text for text in texts if " " in text}


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def source(file: str) -> ast.Module:
    return ast.parse(resources.files("duomo").joinpath(file).read_text("utf-8"))


def functions(file: str) -> set[str]:
    return {node.name for node in ast.walk(source(file)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def sentences(file: str, name: str) -> Iterator[str]:
    """Those in a function, with a 7 where a figure stands."""
    for function in ast.walk(source(file)):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) or function.name != name:
            continue
        inside = {id(part) for node in ast.walk(function) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(function):
            if isinstance(node, ast.JoinedStr):
                text = "".join(str(part.value) if isinstance(part, ast.Constant) else "7" for part in node.values)
            elif is_text(node) and id(node) not in inside and node.value != ast.get_docstring(function, clean=False):
                text = node.value
            else:
                continue
            if re.search(r"[a-z] .*\w(\.|\?|\]')$", text):
                yield text


def say(page: Page, language: str, call: str, what: Any) -> list[str]:
    told = page.evaluate(f"([tongue, what]) => {{ desk.setLanguage(tongue); return {call}; }}", [language, what])
    return [str(one) for one in told]


def test_every_gate_and_gain_is_told_in_both_languages(console: Page) -> None:
    every = gates()
    assert {gate.gate for gate in every} == set(get_args(Kind))
    assert {gate.passed for gate in every} == {True, False}
    values = [gate.as_dict() for gate in every]

    chinese = say(console, "zh", "what.map(said.gateText)", values)
    assert [text for text in chinese if ENGLISH.search(text)] == []
    assert "意图 · 图片 + 文字：原来 90.0%，现在 60.0%（-30.0%，区间 -32.0% 至 -28.0%），共 60 条。" in [
        text.replace("文字 + 图片", "图片 + 文字") for text in chinese
    ]
    for name in ("维修", "发票", "以旧换新", "中文"):
        assert any(name in text for text in chinese), name
    english = say(console, "en", "what.map(said.gateText)", values)
    assert "Intent · team Repair: 90.0% before, 60.0% now (-30.0%, -32.0% to -28.0%) on 60 rows." in english
    assert "Intent · English: 2.10 before, 2.40 now (+0.30, +0.28 to +0.32) on 60 rows." in english
    assert [text for text in english if "_" in text] == []
    for language in ("zh", "en"):
        names = say(
            console, language, "what.map((kind) => desk.t(`gate_${kind}`))", sorted({g.gate for g in every} - {"gain"})
        )
        assert [name for name in names if name.startswith("gate_")] == []


def test_every_sentence_that_the_machine_keeps_is_told_in_both_languages(console: Page) -> None:
    kept = sorted(kept_sentences())
    assert {"shipped with Duomo", "the same model came out.", "it was taken back before"} < set(kept)
    assert "the training was killed 7 times; is there enough memory?" in kept

    chinese = say(console, "zh", "what.map(said.reasonText)", kept)
    assert [text for text in chinese if ENGLISH.search(NAMES.sub("", text))] == []
    english = say(console, "en", "what.map(said.reasonText)", kept)
    assert [text for text, own in zip(english, kept, strict=True) if text == own and own not in chinese] == []


def test_why_a_change_is_not_possible_is_told_in_both_languages(console: Page) -> None:
    asked = [("support/improve.py", "decide"), ("support/rollout.py", "roll_back"), ("support/registry.py", "deploy")]
    told = {text for file, name in asked for text in sentences(file, name)}
    told = {text for text in told if not text.startswith("there is no such")}  # told by its code, as everywhere
    assert "there is no former model to go back to. Deploy another one, or retire this one." in told
    assert len(told) >= 5

    chinese = say(console, "zh", "what.map(said.reasonText)", sorted(told))
    assert [text for text in chinese if ENGLISH.search(text)] == []


def test_what_took_a_model_back_or_let_it_pass_is_told_with_its_figures(console: Page) -> None:
    worse = [Finding(name, (7, 20), (3, 30), 2000.0, 500.0, True) for name in (*INDICATORS, "wrong")]
    reasons = ["worse: " + "; ".join(map(str, worse)), "shadow passed 100 turns", "canary passed 40 turns"]
    few = (
        "head intent: 1 labels have 3 labelled turns or more (fewer: invoice 2, trade_in 1); two at least are needed. "
        "Label more turns."
    )
    chinese = say(
        console, "zh", "what.map(said.reasonText)", [*reasons, few, few.replace("invoice 2, trade_in 1", "none")]
    )

    assert [text for text in chinese if ENGLISH.search(text)] == []
    assert chinese[0].startswith("转人工：35%，对照 10%；")
    assert "发票 2、以旧换新 1" in chinese[3]
    assert "不足的：无" in chinese[4]


def test_a_verdict_is_told_from_what_decided_it_and_an_owners_words_stay(console: Page) -> None:
    promoted = decide(found(new=("trade_in",)) | {"fresh": 40}, Gates())
    refused = decide(found(lost=("invoice",)), Gates())
    runs = [{"verdict": one.why, "gates": [gate.as_dict() for gate in one.gates]} for one in (promoted, refused)]
    own = {"verdict": "Invoices go to another team from Monday on.", "gates": runs[0]["gates"]}

    assert say(console, "zh", "what.map(said.verdictText)", [*runs, own]) == [
        "新学了 40 条标注。意图：学会了“以旧换新”。"
        "意图 · 正确率：原来 80.0%，现在 85.0%（+5.0%，区间 +3.0% 至 +7.0%），共 200 条。",
        "意图：不再认识“发票”。",
        "Invoices go to another team from Monday on.",
    ]


def test_runs_that_kept_no_figures_keep_their_sentences(console: Page) -> None:
    old = [
        {"gate": kind, "passed": True, "why": f"{kind} said so.", "figures": {"head": "intent"}}
        for kind in get_args(Kind)
    ]

    assert say(console, "en", "what.map(said.gateText)", old) == [gate["why"] for gate in old]


def test_why_an_uploaded_model_was_not_taken_is_told_in_both_languages(console: Page) -> None:
    files = ("support/model_archive.py", "models/manifest.py")
    texts = {text for file in files for name in functions(file) for text in sentences(file, name)}
    kept = sorted(texts)
    kept.append(_unlike(View("text.e5", "text", 384, "e5", "2"), []))
    assert len(kept) >= 14, kept
    names = re.compile(r"`[^`]+`|FOLDER/onnx|[\w-]+\.json|zip|Duomo|e5")

    chinese = say(console, "zh", "what.map(said.refusalText)", kept)
    assert [text for text in chinese if ENGLISH.search(names.sub("", text))] == []
    english = say(console, "en", "what.map(said.refusalText)", kept)
    assert [text for text in english if text.startswith("The model was not taken")] == []
    assert "The archive lacks model.onnx. Send the whole folder." in say(
        console,
        "en",
        "what.map(said.refusalText)",
        ["/home/shop/incoming/m/model.onnx is missing. Copy the whole folder."],
    )
