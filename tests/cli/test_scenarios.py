"""Scenario files are read whole or answered with every mistake's line; what came is compared with what was expected."""

from __future__ import annotations

import io
import json
import re
import xml.etree.ElementTree as ET
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from duomo.cli import main, scenarios, testing
from duomo.cli.scenarios import Came, Expected, Words, differences, load, unchecked
from duomo.cli.testing import Miss, Result, Run
from duomo.demo import SCENARIO
from duomo.errors import InputError
from duomo.learn.yaml_file import Mistaken

WHOLE = """\
language: zh
scenarios:
  - name: parcel
    turns:
      - text: 寄到南京要几天？
        picture: [a.png, b.png]
        expect:
          decision: [answer, clarify]
          intent: delivery_time
          heads: {urgency: [low, normal]}
          source: delivery-times
          said: 1–2 天
          not_said: ['/\\d+ 元/', 免费]
          read: E12
          language: zh
          team: orders
          priority: high
      - choose: 2
        language: en
"""


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(text: str, name: str = "a.yaml") -> Path:
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        return file

    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"")
    return write


def expected(text: str, write: Any) -> Expected:
    one = f"scenarios: [{{name: x, turns: [{{text: y, expect: {text}}}]}}]"
    return load([write(one)])[0].turns[0].expect


# Reading ----------------------------------------------------------------------------------------------------------


def test_everything_a_file_can_say_is_read(write: Any) -> None:
    file = write(WHOLE)
    [scenario] = load([file])
    first, second = scenario.turns
    assert (scenario.file, scenario.line, scenario.name, scenario.language) == (file, 3, "parcel", "zh")
    assert (first.line, first.text, first.choose, first.language) == (5, "寄到南京要几天？", None, "zh")
    assert first.files == (file.parent / "a.png", file.parent / "b.png")
    words = {name: [w.written for w in getattr(first.expect, name)] for name in ("said", "not_said", "heard", "read")}
    assert words == {"said": ["1–2 天"], "not_said": ["/\\d+ 元/", "免费"], "heard": [], "read": ["E12"]}
    assert first.expect.line == 8
    assert first.expect.heads == {"intent": ("delivery_time",), "urgency": ("low", "normal")}
    assert (first.expect.decision, first.expect.source) == (("answer", "clarify"), ("delivery-times",))
    assert (first.expect.language, first.expect.team, first.expect.priority) == ("zh", "orders", "high")
    assert (second.line, second.text, second.files, second.choose, second.language) == (18, "", (), 2, "en")
    assert second.expect == Expected(18)


def test_every_mistake_is_told_with_its_line(write: Any) -> None:
    file = write("""\
langauge: zh
scenarios:
  - turns:
      - picture: gone.png
        expect:
          decision: handover
          intnet: coupon
          said: '/(/'
      - choose: 1
        text: and this
      - {}
  - name: empty
    turns: []
  - name: none
  - name: first
    language: fr
    turns:
      - choose: 1
      - {text: hi, expect: {priority: soon, team: [a], said: []}}
""")
    with pytest.raises(Mistaken) as caught:
        load([file])
    found = [(m.line, m.message.partition("\n")[0]) for m in caught.value.mistakes]
    assert sorted(found) == [
        (1, "the file knows no 'langauge'; allowed: language, scenarios. Did you mean language?"),
        (3, "a scenario has no `name`; give it one"),
        (4, f"there is no file gone.png beside this one ({file.parent / 'gone.png'})"),
        (6, "decision is 'handover'; allowed: answer, clarify, hand_over, nothing. Did you mean hand_over?"),
        (7, "`expect` of a turn of a scenario knows no 'intnet'; allowed: decision, intent, urgency, heads, source, "
            "said, not_said, heard, read, language, team, priority. Did you mean intent?"),
        (8, "`said`: /(/ is not an expression: missing ), unterminated subpattern at position 0"),
        (9, "a turn of a scenario chooses an option and sends something else; do one of both"),
        (11, "a turn of a scenario sends nothing; write one of text, picture, audio, document, choose"),
        (13, "`turns` of scenario empty is an empty list; write a list"),
        (14, "scenario none has no `turns`; write at least one"),
        (16, "`language` of scenario first is 'fr'; allowed: zh, en."),
        (18, "a turn of scenario first chooses an option before the bot has offered any"),
        (19, "`priority` of `expect` of a turn of scenario first is 'soon'; allowed: low, normal, high, urgent."),
        (19, "`said` of `expect` of a turn of scenario first is an empty list; allowed: names"),
        (19, "`team` of `expect` of a turn of scenario first is a list; write text"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "the file is empty; the shortest is\nscenarios:"),
        ("- a", 1, "the file is a list; allowed: a mapping"),
        ("language: en", 1, "the file has no `scenarios`; the shortest is\nscenarios:"),
        ("scenarios: 7", 1, "`scenarios` of the file is '7'; write a list"),
        ("a: b: c", 1, "not YAML: mapping values are not allowed here"),
    ],
)
def test_a_file_of_another_kind_is_answered_with_the_shortest_right_one(
    write: Any, text: str, line: int, message: str
) -> None:
    with pytest.raises(Mistaken) as caught:
        load([write(text)])
    [mistake] = caught.value.mistakes
    assert (mistake.line, mistake.message[: len(message)]) == (line, message)


def test_the_shortest_file_is_one(write: Any) -> None:
    [scenario] = load([write(scenarios.SHORTEST)])
    assert (scenario.name, scenario.turns[0].text) == ("opening-hours", "When are you open?")


def test_folders_are_searched_and_a_name_stands_for_one_scenario(write: Any, tmp_path: Path) -> None:
    write("scenarios: [{name: one, turns: [{text: a}]}]")
    (tmp_path / "deeper").mkdir()
    write("scenarios: [{name: two, turns: [{text: a}]}]", "deeper/b.yml")
    assert [s.name for s in load([tmp_path])] == ["one", "two"]
    write("scenarios:\n  - {name: one, turns: [{text: a}]}", "c.yaml")
    with pytest.raises(InputError, match=r"c\.yaml:2: the name 'one' is taken by .*a\.yaml:1"):
        load([tmp_path])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no \.yaml file in .*empty"):
        load([tmp_path / "empty"])
    with pytest.raises(InputError, match=r"gone\.yaml cannot be read"):
        load([tmp_path / "gone.yaml"])


def test_the_demo_has_scenarios_of_both_languages_with_pictures_and_voice() -> None:
    turns = [turn for scenario in load([SCENARIO / "tests"]) for turn in scenario.turns]
    kinds = {file.parent.name for turn in turns for file in turn.files}
    assert len(turns) >= 25
    assert min(sum(turn.language == language for turn in turns) for language in ("zh", "en")) >= 10
    assert kinds >= {"speech", "screens", "photos", "documents"}


PAGE = Path(__file__).parents[2] / "docs/howto/scenarios.md"


def test_the_example_of_the_page_about_scenarios_is_one(write: Any, tmp_path: Path) -> None:
    [example] = re.findall(r"^```yml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for name in ("screens/payment.png", "voice/person.ogg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    [scenario] = load([write(example)])
    assert [turn.expect.decision for turn in scenario.turns] == [("answer",), ("hand_over",)]


def test_the_page_about_scenarios_names_every_key_and_no_other() -> None:
    page = PAGE.read_text(encoding="utf-8")
    tables = {
        name: re.findall(r"^\| `(\w+)` \|", page.split(f"\n## {name}\n")[1].split("\n## ")[0], re.MULTILINE)
        for name in ("A turn", "What is expected")
    }
    assert tables == {"A turn": list(scenarios._TURN), "What is expected": list(scenarios._EXPECT)}


# Comparing --------------------------------------------------------------------------------------------------------

CAME = Came(
    decision="answer", text="It takes 1–2 days\nand costs nothing.", language="en", cited=["en/delivery-times"],
    heads={"intent": "delivery_time"}, team="orders", priority="normal", heard="how long does it take", read="E12",
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "came"),
    [
        ("{decision: answer}", []),
        ("{decision: [clarify, hand_over]}", ["answer: It takes 1–2 days and costs nothing."]),
        ("{intent: delivery_time}", []),
        ("{intent: [coupon, invoice]}", ["delivery_time"]),
        ("{urgency: low}", ["not understood"]),
        ("{source: [refund-times, delivery-times]}", []),
        ("{source: en/delivery-times}", []),
        ("{source: times}", ["en/delivery-times"]),
        ("{said: [costs NOTHING, 'days and']}", []),
        ("{said: [costs nothing, free]}", ["It takes 1–2 days and costs nothing."]),
        ("{said: '/1.2 days/'}", []),
        ("{said: '/1.2 DAYS/'}", ["It takes 1–2 days and costs nothing."]),
        ("{said: '/1.2 DAYS/i'}", []),
        ("{said: 1.2 days}", ["It takes 1–2 days and costs nothing."]),
        ("{not_said: [free, '/\\d+ yuan/']}", []),
        ("{not_said: [free, nothing]}", ["It takes 1–2 days and costs nothing."]),
        ("{heard: how long, read: E12}", []),
        ("{heard: E12, read: how long}", ["how long does it take", "E12"]),
        ("{language: en, team: orders, priority: normal}", []),
        ("{language: zh, team: returns, priority: high}", ["en", "orders", "normal"]),
    ],
)
def test_what_came_is_compared_with_what_was_expected(write: Any, text: str, came: list[str]) -> None:
    assert [d.came for d in differences(expected(text, write), CAME)] == came


@pytest.mark.parametrize(
    ("allowed", "differ"),
    [
        ("[answer, clarify]", []),
        ("answer", ["decision answer", "source a", "said x"]),
        ("clarify", ["source a", "said x"]),
    ],
)
def test_what_an_answer_must_hold_does_not_count_where_asking_back_is_allowed_too(
    write: Any, allowed: str, differ: list[str]
) -> None:
    wanted = expected(f"{{decision: {allowed}, source: a, said: x, not_said: which}}", write)
    assert [d.expected for d in differences(wanted, Came("clarify", text="Which one?"))] == [*differ, "not said which"]
    assert [d.expected for d in differences(wanted, Came("answer", text="y"))][-2:] == ["source a", "said x"]


def test_a_difference_says_what_was_expected(write: Any) -> None:
    wanted = "{intent: [coupon, invoice], source: a, said: x, not_said: days, team: t}"
    assert [d.expected for d in differences(expected(wanted, write), Came("nothing", heads={}))] == [
        "intent coupon or invoice", "source a", "said x", "team t",
    ]  # fmt: skip
    assert [d.expected for d in differences(expected("{not_said: days}", write), CAME)] == ["not said days"]


def test_without_a_model_intents_are_not_compared_and_that_is_counted(write: Any) -> None:
    wanted = expected("{intent: coupon, heads: {urgency: high, mood: sour}, decision: answer}", write)
    assert differences(wanted, Came("answer")) == []
    assert unchecked(wanted, Came("answer")) == 3
    assert unchecked(wanted, CAME) == 0


# Reporting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("passed", "runs", "k", "chance"),
    [(3, 3, 3, 1.0), (2, 3, 3, 0.0), (2, 3, 1, 2 / 3), (4, 5, 2, 0.6), (0, 4, 1, 0.0)],
)
def test_pass_k_is_the_chance_that_k_drawn_runs_all_passed(passed: int, runs: int, k: int, chance: float) -> None:
    assert testing.pass_k(passed, runs, k) == pytest.approx(chance)


@pytest.fixture
def results(write: Any) -> list[Result]:
    file = write("scenarios: [{name: steady, turns: [{text: a}]}, {name: shaky, turns: [{text: a}, {text: b}]}]")
    steady, shaky = load([file])
    miss = Miss(2, 7, "decision answer", "clarify: <Which\x07 one?>")
    other = Miss(2, 7, "decision answer", "hand_over")
    return [
        Result(steady, [Run([], 1, 1.0), Run([], 1, 2.0), Run([], 1, 3.0)]),
        Result(shaky, [Run([miss], 0, 1.0), Run([], 0, 1.0), Run([other, Miss(1, 6, "said x", "y")], 0, 1.0)]),
    ]


def test_the_report_says_how_often_all_runs_pass_and_what_differed(results: list[Result], write: Any) -> None:
    report = testing.summary(results, k=2, runs=3)
    file = str(results[0].scenario.file)
    came = [{"what": "clarify: <Which\x07 one?>", "runs": [1]}, {"what": "hand_over", "runs": [3]}]
    assert report == {
        "k": 2, "runs": 3, "n": 2, "passed": 1, "pass": {"1": pytest.approx((1 + 1 / 3) / 2), "2": 0.5}, "unchecked": 3,
        "scenarios": [
            {"name": "steady", "file": file, "line": 1, "turns": 1, "passed": 3, "pass": {"1": 1.0, "2": 1.0},
             "seconds": 2.0, "differed": []},
            {"name": "shaky", "file": file, "line": 1, "turns": 2, "passed": 1,
             "pass": {"1": pytest.approx(1 / 3), "2": 0.0}, "seconds": 1.0, "differed": [
                {"turn": 2, "line": 7, "expected": "decision answer", "came": came},
                {"turn": 1, "line": 6, "expected": "said x", "came": [{"what": "y", "runs": [3]}]}]},
        ],
    }  # fmt: skip


def test_ci_systems_can_read_the_report(results: list[Result]) -> None:
    root = ET.fromstring(testing.junit(results))
    file = results[0].scenario.file
    [suite] = root
    assert suite.attrib == {"name": str(file), "tests": "2", "failures": "1"}
    steady, shaky = suite
    assert (steady.get("name"), steady.get("classname"), steady.get("time"), len(steady)) == ("steady", "a", "6.00", 0)
    [failure] = shaky
    assert failure.get("message") == "1 of 3 runs passed"
    assert (failure.text or "").splitlines() == [
        f"{file}:7: turn 2: expected decision answer, came clarify: <Which one?> (runs 1)",
        f"{file}:7: turn 2: expected decision answer, came hand_over (runs 3)",
        f"{file}:6: turn 1: expected said x, came y (runs 3)",
    ]


def test_the_report_in_words_leads_to_the_line(results: list[Result], capsys: pytest.CaptureFixture[str]) -> None:
    testing._tell(testing.summary(results, k=2, runs=3))
    file = results[0].scenario.file
    assert capsys.readouterr().out.splitlines() == [
        "", "shaky  pass^2 = 0.00",
        f"  {file}:7: turn 2: expected decision answer",
        "      came clarify: <Which\x07 one?>  (run 1)",
        "      came hand_over  (run 3)",
        f"  {file}:6: turn 1: expected said x",
        "      came y  (run 3)",
        "", "1 of 2 scenarios pass all 3 runs; pass^1 0.667, pass^2 0.500 (n = 2)",
        "3 expectations of intent and other heads were not checked: no model is active.",
    ]  # fmt: skip


# The command ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--runs", "2"], 2, "--runs is 2; at least 3 are needed for pass^3."),
        (["--only", "other"], 2, "no scenario is called other."),
        (["--email", "a@b"], 2, "a@b needs a password. Give it with --password, or start from a terminal."),
        ([], 2, "reading why the bot answered needs an agent of demo: give --email and --password"),
        (["--email", "a@b", "--password", "x", "--url", "http://127.0.0.1:9"], 3, "no service answers at http://127.0.0.1:9"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said_before_anything_is_played(
    write: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    arguments: list[str], code: int, message: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("sys.stdin", io.StringIO())
    file = write("scenarios: [{name: one, turns: [{text: a}]}]")
    assert main(["test", str(file), "--home", str(tmp_path), *arguments]) == code
    assert message in capsys.readouterr().err


def test_a_mistaken_file_is_told_as_json_too(write: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", str(write("scenarios: 7")), "--home", str(tmp_path), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["message"].endswith(
        "a.yaml:1: `scenarios` of the file is '7'; write a list"
    )


def test_the_address_is_this_machine_s_unless_another_is_given(tmp_path: Path) -> None:
    given = Namespace(url=None, home=tmp_path, port=9123)
    assert testing._url(given) == "http://127.0.0.1:9123"
    given.url = "https://example.com/"
    assert testing._url(given) == "https://example.com"


def test_words_are_found_whatever_their_case_and_spaces(write: Any) -> None:
    [words] = expected("{said: 'Free   Delivery'}", write).said
    assert isinstance(words, Words)
    assert [words.stand_in(text) for text in ("FREE\n delivery", "freedelivery")] == [True, False]
