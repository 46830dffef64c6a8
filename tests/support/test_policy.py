"""The policy: what each condition asks, what each row comes to, and which tables are refused."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import asdict, replace
from importlib import resources
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duomo.errors import Conflict
from duomo.learn.yaml_file import Mistake, Mistaken
from duomo.store.postgres import Database, Workspace
from duomo.support.policy import (
    COLUMNS,
    SHIPPED,
    Facts,
    Policy,
    Ruling,
    Team,
    load_policy,
    policy_of,
    save_policy,
)
from duomo.support.policy_sections import Drift, Gates, Learning, Rollback, Rollout, Thresholds

SAFE = "  - {wish: [emergency, person], do: hand_over}\n"
PLAIN = Facts("question", "en", ("text",), knowledge=0.9, answer_from=0.5, clarify_from=0.2)
KNOWN = replace(
    PLAIN, intent="refund_status", confidence=0.8, intent_set=("refund_status",), urgency="low", out_of_scope=False,
    abstain=False, conflict=0.1, heads={"product": "LT-V8", "tags": ["a", "b"], "anger": 0.7},
)  # fmt: skip


def table(*rows: str, last: str = "{do: hand_over}") -> Policy:
    return Policy.parse("table:\n" + SAFE + "".join(f"  - {row}\n" for row in rows) + f"  - {last}\n")


def refused(text: str) -> list[tuple[int, str]]:
    with pytest.raises(Mistaken) as caught:
        Policy.parse(text)
    return [(mistake.line, mistake.message) for mistake in caught.value.mistakes]


# Conditions -------------------------------------------------------------------------------------------------------

CONDITIONS = [
    ("intent: refund_status", {}, True),
    ("intent: invoice", {}, False),
    ("intent: [invoice, refund_status]", {}, True),
    ("intent: not invoice", {}, True),
    ("intent: not refund_status", {}, False),
    ("intent: [not invoice, not coupon]", {}, True),
    ("intent: [not invoice, not refund_status]", {}, False),
    ("intent: not invoice", {"intent": None}, False),
    ("wish: question", {}, True),
    ("wish: greeting", {"wish": "greeting"}, True),
    ("wish: greeting", {"wish": "greeting", "sent": ("text", "picture")}, False),
    ("urgency: low", {}, True),
    ("urgency: high", {}, False),
    ('confidence: "< 0.8"', {}, False),
    ('confidence: "<= 0.8"', {}, True),
    ('confidence: "> 0.8"', {}, False),
    ('confidence: ">= 0.8"', {}, True),
    ('confidence: "= 0.8"', {}, True),
    ("confidence: 0.8", {}, True),
    ("confidence: 0.7", {}, False),
    ('confidence: ">= 0.7 and < 0.9"', {}, True),
    ('confidence: ">= 0.7 and < 0.8"', {}, False),
    ('confidence: "< 0.9"', {"confidence": None}, False),
    ('conflict: "> 0.05"', {}, True),
    ('conflict: "> 0.5"', {}, False),
    ('knowledge: ">= 0.9"', {}, True),
    ('knowledge: "< 0.2"', {"knowledge": None}, True),
    ('knowledge: "< 0.2"', {"knowledge": None, "wish": "greeting"}, False),
    ("out_of_scope: false", {}, True),
    ("out_of_scope: true", {}, False),
    ("out_of_scope: false", {"out_of_scope": None}, False),
    ("abstain: no", {}, True),
    ("abstain: yes", {}, False),
    ("chosen: true", {"chosen": True}, True),
    ("chosen: true", {}, False),
    ("sent: text", {}, True),
    ("sent: [voice, picture]", {}, False),
    ("sent: [voice, picture]", {"sent": ("text", "picture")}, True),
    ("sent: not document", {}, True),
    ("sent: document", {"sent": ()}, False),
    ("language: en", {}, True),
    ("language: zh", {}, False),
    ('failures: ">= 1"', {}, False),
    ('failures: ">= 1"', {"failures": 2}, True),
    ("failures: 0", {}, True),
    ("head.product: LT-V8", {}, True),
    ("head.product: [LT-A5, LT-T9]", {}, False),
    ("head.product: not LT-A5", {}, True),
    ("head.tags: b", {}, True),
    ("head.tags: not b", {}, False),
    ('head.anger: "> 0.5"', {}, True),
    ('head.anger: "< 0.5"', {}, False),
    ("head.colour: red", {}, False),
    ("intent: refund_status, language: zh", {}, False),
    ('intent: refund_status, confidence: ">= 0.8", language: en', {}, True),
]


@pytest.mark.parametrize(("condition", "facts", "fits"), CONDITIONS)
def test_a_row_decides_where_all_of_its_conditions_fit(condition: str, facts: dict[str, object], fits: bool):
    policy = table(f"{{{condition}, do: hand_over, priority: high}}")
    assert policy.decide(replace(KNOWN, **facts)).row == (2 if fits else 3)


def test_every_column_is_tried_above():
    tried = {condition.split(":")[0] for condition, _, _ in CONDITIONS}
    assert tried >= set(COLUMNS)


def test_the_first_row_that_fits_decides():
    policy = table("{language: en, do: hand_over, name: first}", "{intent: refund_status, do: answer}")
    assert policy.decide(KNOWN).name == "first"


# What a row comes to ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("do", "facts", "done", "reason"),
    [
        ("answer", {"knowledge": 0.5}, "answer", None),
        ("answer", {"knowledge": 0.49}, "clarify", None),
        ("answer", {"knowledge": 0.2}, "clarify", None),
        ("answer", {"knowledge": 0.19}, "hand_over", "low_confidence"),
        ("answer", {"knowledge": None}, "hand_over", "low_confidence"),
        ("answer", {"knowledge": 0.49, "failures": 1}, "hand_over", "repeated_failure"),
        ("answer", {"knowledge": 0.5, "failures": 1}, "answer", None),
        ("answer", {"knowledge": 0.01, "chosen": True, "failures": 1}, "answer", None),
        ("answer", {"knowledge": None, "chosen": True, "failures": 1}, "hand_over", "repeated_failure"),
        ("answer", {"knowledge": None, "sent": ()}, "clarify", None),
        ("answer", {"knowledge": None, "sent": (), "failures": 1}, "hand_over", "repeated_failure"),
        ("clarify", {"knowledge": 0.9}, "clarify", None),
        ("clarify", {"knowledge": 0.01}, "clarify", None),
        ("clarify", {"knowledge": None}, "hand_over", "low_confidence"),
        ("clarify", {"knowledge": 0.9, "failures": 1}, "answer", None),
        ("clarify", {"knowledge": 0.4, "failures": 1}, "hand_over", "repeated_failure"),
        ("clarify", {"knowledge": 0.1, "chosen": True}, "answer", None),
        ("answer", {"knowledge": 0.3, "writes": True}, "answer", None),
        ("answer", {"knowledge": 0.1, "writes": True}, "hand_over", "low_confidence"),
        ("answer", {"knowledge": 0.3, "writes": True, "failures": 1}, "hand_over", "repeated_failure"),
        ("clarify", {"knowledge": 0.9, "writes": True}, "clarify", None),
        ("clarify", {"knowledge": 0.3, "writes": True}, "clarify", None),
        ("answer", {"knowledge": None, "sent": (), "writes": True}, "clarify", None),
        ("hand_over", {"knowledge": 0.99, "chosen": True}, "hand_over", "policy"),
        ("hand_over", {"wish": "unhelped", "knowledge": None}, "hand_over", "repeated_failure"),
    ],
)
def test_an_answer_needs_knowledge_and_nobody_is_asked_back_twice(
    do: str, facts: dict[str, object], done: str, reason: str | None
):
    ruling = table(last=f"{{name: all, do: {do}}}").decide(replace(PLAIN, **facts))
    assert ruling == Ruling(2, "all", done, None, "normal", reason, 0.5, 0.2)  # type: ignore[arg-type]


def test_thresholds_come_from_the_row_then_the_policy_then_the_calibration():
    policy = Policy.parse(
        "thresholds:\n  zh: {answer_from: 0.7, clarify_from: 0.3}\n  en: {answer_from: 0.6}\ntable:\n" + SAFE
        + "  - {intent: invoice, do: answer, answer_from: 0.1}\n  - {do: answer}\n"
    )  # fmt: skip
    assert policy.thresholds == {"zh": Thresholds(0.7, 0.3), "en": Thresholds(0.6, None)}
    told = {
        (language, intent): policy.decide(replace(PLAIN, language=language, intent=intent))
        for language in ("zh", "en")
        for intent in ("invoice", "coupon")
    }
    assert {key: (r.answer_from, r.clarify_from) for key, r in told.items()} == {
        ("zh", "invoice"): (0.1, 0.1),  # never asks back where it would answer
        ("zh", "coupon"): (0.7, 0.3),
        ("en", "invoice"): (0.1, 0.1),
        ("en", "coupon"): (0.6, 0.2),
    }


def test_a_hand_over_goes_to_the_rows_team_or_to_the_team_of_the_intent():
    policy = Policy.parse(
        "teams:\n  billing: {zh: 账务, en: Billing, intents: [invoice]}\n  repair: Repair\ntable:\n" + SAFE
        + "  - {urgency: high, do: hand_over, team: repair, priority: urgent, reason: emergency}\n  - {do: hand_over}\n"
    )  # fmt: skip
    assert policy.teams == {
        "billing": Team({"zh": "账务", "en": "Billing"}, ("invoice",)),
        "repair": Team({"zh": "Repair", "en": "Repair"}),
    }
    invoice = replace(PLAIN, intent="invoice")
    assert [policy.decide(facts).team for facts in (
        invoice, replace(invoice, abstain=True), replace(invoice, out_of_scope=True), PLAIN
    )] == ["billing", None, None, None]  # fmt: skip
    assert policy.decide(replace(invoice, urgency="high")) == Ruling(
        2, "urgency: high", "hand_over", "repair", "urgent", "emergency", 0.5, 0.2
    )


def test_the_sections_are_read_and_what_is_not_said_has_its_default():
    policy = Policy.parse(
        SHIPPED
        + """
gates: {worse_slice: 0.01}
rollout: {canary_share: 0.2, rollback: {window: 50}}
drift: {window: 100}
learning: {consent: asked, schedule: off, media: no}
articles: {refund_status: [refund-times, refunds], invoice: invoice}
"""
    )
    assert policy.gates == Gates(worse_slice=0.01)
    assert policy.rollout == Rollout(canary_share=0.2, rollback=Rollback(window=50))
    assert policy.drift == Drift(window=100)
    assert policy.learning == Learning(consent="asked", schedule="off", media=False)
    assert policy.expected_articles("refund_status") == ("refund-times", "refunds")
    assert policy.expected_articles("invoice") == ("invoice",)
    assert policy.expected_articles("coupon") == policy.expected_articles(None) == ()


def test_the_shipped_policy_decides_as_the_calibration_alone_does():
    def without_a_policy(facts: Facts) -> tuple[str, str | None]:
        if facts.wish in ("emergency", "person", "unhelped"):
            reason = {"emergency": "emergency", "person": "requested", "unhelped": "repeated_failure"}[facts.wish]
            return "hand_over", reason
        if facts.wish == "greeting" and "picture" not in facts.sent:
            return "answer", None
        if facts.knowledge is not None and (facts.chosen or facts.knowledge >= facts.answer_from):
            return "answer", None
        if facts.knowledge is not None and facts.knowledge >= facts.clarify_from and facts.failures == 0:
            return "clarify", None
        return "hand_over", "repeated_failure" if facts.failures else "low_confidence"

    everything = [
        Facts(
            wish, "zh", sent, failures=failures, knowledge=knowledge, chosen=chosen, answer_from=0.44, clarify_from=0.1
        )
        for wish, sent, failures, knowledge, chosen in product(
            ("question", "greeting", "emergency", "person", "unhelped"), (("text",), ("text", "picture")), (0, 1),
            (None, 0.05, 0.1, 0.3, 0.44, 0.9), (False, True),
        )
        if not (chosen and (wish != "question" or failures == 0))  # an option is picked after a question back
    ]  # fmt: skip
    shipped = Policy.shipped()
    assert [(r.do, r.reason) for r in map(shipped.decide, everything)] == [without_a_policy(f) for f in everything]
    assert shipped.version == 0
    assert shipped.warnings == ()


@settings(deadline=None, max_examples=300)
@given(st.builds(Facts, wish=st.sampled_from(["question", "person", "emergency", "thanks"]),
                 language=st.sampled_from(["zh", "en"]), sent=st.sampled_from([(), ("text",), ("picture", "voice")]),
                 failures=st.integers(0, 3), intent=st.none() | st.text(), confidence=st.none() | st.floats(0, 1),
                 intent_set=st.lists(st.text()).map(tuple), urgency=st.none() | st.text(),
                 out_of_scope=st.none() | st.booleans(), abstain=st.none() | st.booleans(),
                 conflict=st.none() | st.floats(0, 1), knowledge=st.none() | st.floats(0, 1), chosen=st.booleans(),
                 heads=st.dictionaries(st.text(), st.text() | st.floats(0, 1) | st.lists(st.text()))))  # fmt: skip
def test_facts_come_back_from_json_as_they_were_and_whoever_needs_a_person_gets_one(facts: Facts):
    stored = json.loads(json.dumps(facts.as_dict()))
    assert Facts.of(stored) == facts
    assert Facts.of({**stored, "weather": "rain"}) == facts
    for policy in (Policy.shipped(), demo()):
        if facts.wish in ("person", "emergency"):
            assert policy.decide(facts).do == "hand_over"


# Mistakes ---------------------------------------------------------------------------------------------------------


def test_every_mistake_is_told_with_its_line():
    assert refused("""\
teams: [billing]
tabel: []
thresholds: {answer_from: 0.2, clarify_from: 0.4}
table:
  - {intent: invoice, do: answr}
  - {do: answer, prio: high}
  - {wish: persn, do: hand_over, team: biling}
  - {confidence: low, do: answer, name: "  "}
  - {confidence: "> 0.5 and < 0.4", do: answer, priority: soon}
  - {intent: [not invoice, coupon], out_of_scope: maybe, do: answer, answer_from: 2}
  - intent: invoice
  - 7
  - {do: answer, reason: because}
learning: {schedule: monthly, retention_days: 0.5}
gates: {significance: yes}
drift: [1]
rollout: {rollback: {windw: 7}}
""") == [
        (2, "the policy knows no 'tabel'; allowed: teams, thresholds, table, articles, gates, rollout, drift, learning."
            " Did you mean table?"),
        (3, "thresholds: clarify_from 0.4 lies above answer_from 0.2; swap them"),
        (5, "row 1: do is 'answr'; allowed: answer, clarify, hand_over. Did you mean answer?"),
        (6, "row 2 knows no column 'prio'; allowed: wish, intent, urgency, confidence, conflict, knowledge, "
            "out_of_scope, abstain, sent, language, failures, chosen, head.NAME; then name, do, team, priority, "
            "reason, answer_from, clarify_from. Did you mean priority?"),
        (7, "row 3: wish is 'persn'; allowed: greeting, thanks, goodbye, acknowledged, who, person, emergency, "
            "unhelped, question. Did you mean person?"),
        (7, "row 3: there is no team 'biling'; teams: billing. Did you mean billing?"),
        (8, "row 4: confidence is 'low'; allowed: a comparison with a number, such as \"< 0.4\" or \">= 0.4 and < 0.6\""
            " (in quotation marks where it begins with >)"),
        (8, "row 4: name is '  '; allowed: a text of at most 200 characters"),
        (9, "row 5: confidence is '> 0.5 and < 0.4', which no number is"),
        (9, "row 5: priority is 'soon'; allowed: low, normal, high, urgent."),
        (10, "row 6: intent holds names and `not` names; write only names, or `not` before each"),
        (10, "row 6: out_of_scope is 'maybe'; allowed: true, false"),
        (10, "row 6: answer_from is '2'; allowed: a number from 0 to 1"),
        (11, "row 7 does not say what to do; add do: answer, clarify or hand_over"),
        (12, "row 8 is '7'; allowed: a mapping"),
        (13, "row 9: reason is 'because'; allowed: requested, low_confidence, repeated_failure, emergency, policy."),
        (14, "learning.schedule is 'monthly'; allowed: weekly, daily, off."),
        (14, "learning.retention_days is '0.5'; allowed: a whole number from 1 to 36500"),
        (15, "gates.significance is 'yes'; allowed: a number above 0 to 1"),
        (16, "drift is a list; allowed: a mapping"),
        (17, "rollout.rollback knows no 'windw'; allowed: window, min_turns, handover_rate_worse_by, "
             "corrected_rate_worse_by, out_of_scope_worse_by, significance. Did you mean window?"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, f"the file is empty; the shortest is\n{SHIPPED}"),
        ("table: [", 1, "not YAML: expected the node content, but found '<stream end>'"),
        ("a: &x 1\nb: *x\n", 2, "*x is an alias; write the value out"),
        ("[]", 1, "the policy is a list; allowed: a mapping"),
        ("teams: [a]\n", 1, f"table is missing: what to do, row by row. The shortest is\n{SHIPPED}"),
        ("table: []\n", 1, f"table is empty; allowed: a list of rows. The shortest is\n{SHIPPED}"),
        ("table:\n" + SAFE + "  - {do: answer, team: a}", 3, "row 2: team 'a' stands in no list; add `teams: [a]`"),
        (SHIPPED + "teams: {a: {intents: [x]}, b: {intents: [x]}}", 7, "teams.b: x belongs to a already; keep one"),
        (
            "table:\n" + SAFE + "  - {intent: x, do: answer}",
            3,
            "the last row has conditions (intent), so some turns fit no row; add a row of only `do: answer` or "
            "`do: hand_over`",
        ),
    ],
)
def test_a_file_that_is_no_policy_is_refused(text: str, line: int, message: str):
    assert refused(text) == [(line, message)]


@pytest.mark.parametrize(
    ("rows", "line", "wishes"),
    [
        (["{do: answer}"], 2, ["emergency", "person"]),
        (["{wish: person, do: hand_over}", "{do: answer}"], 3, ["emergency"]),
        (["{wish: person, language: zh, do: hand_over}", "{wish: emergency, do: hand_over}", "{do: answer}"], 4,
         ["person"]),
        (["{intent: invoice, do: clarify}", "{wish: [emergency, person], do: hand_over}", "{do: answer}"], 2,
         ["emergency", "person"]),
        (["{wish: not person, do: answer}", "{do: hand_over}"], 2, ["emergency"]),
    ],
)  # fmt: skip
def test_a_policy_that_would_keep_somebody_from_a_person_is_refused(rows: list[str], line: int, wishes: list[str]):
    [(at, message)] = refused("table:\n" + "".join(f"  - {row}\n" for row in rows))
    assert at == line
    assert f"where the wish is {' or '.join(wishes)}; such a customer gets a person" in message


@pytest.mark.parametrize(
    "rows",
    [
        ["{do: hand_over}"],
        ["{wish: question, do: answer}", "{do: hand_over}"],
        ["{wish: [not emergency, not person], do: answer}", "{do: hand_over}"],
        ["{wish: person, language: zh, do: hand_over, priority: high}", "{wish: [person, emergency], do: hand_over}",
         "{do: answer}"],
    ],
)  # fmt: skip
def test_a_policy_that_gives_them_a_person_is_taken_however_it_says_so(rows: list[str]):
    assert len(Policy.parse("table:\n" + "".join(f"  - {row}\n" for row in rows)).table) == len(rows)


def test_what_is_probably_not_meant_is_told_and_taken():
    policy = Policy.parse("""\
teams: [billing, repair]
table:
  - {wish: [emergency, person], do: hand_over, team: repair}
  - {intent: [invoice, coupon], knowledge: "< 0.5", do: clarify}
  - {intent: coupon, knowledge: "< 0.4", do: answer}
  - {intent: coupon, knowledge: "<= 0.5", do: answer}
  - {intent: not invoice, do: answer, name: others}
  - {intent: coupon, do: answer}
  - {do: answer, name: others}
""")
    assert policy.warnings == (
        Mistake(5, "row 3 (intent: coupon; knowledge: < 0.4) never decides: "
                   "row 2 (intent: invoice, coupon; knowledge: < 0.5) fits first"),
        Mistake(8, "row 6 (intent: coupon) never decides: row 5 (others) fits first"),
        Mistake(9, "rows 5 and 7 are both called others"),
        Mistake(1, "no row hands over to billing"),
    )  # fmt: skip


# The demo's policy, and keeping -----------------------------------------------------------------------------------


@functools.cache
def demo() -> Policy:
    return Policy.parse(_scenario("policy.yaml"))


def _scenario(name: str) -> str:
    return resources.files("duomo.scenarios").joinpath(f"customer_service/{name}").read_text("utf-8")


def test_the_demo_policy_knows_every_team_and_the_articles_of_every_intent():
    policy = demo()
    settings = json.loads(_scenario("workspace.json"))
    intents = [i for i in json.loads(_scenario("understanding/intents.json")) if not i["hidden"]]
    assert policy.warnings == ()
    assert {name: dict(team.title) for name, team in policy.teams.items()} == {
        team["id"]: team["name"] for team in settings["teams"]
    }
    assert {i: name for name, team in policy.teams.items() for i in team.intents} == {
        i["name"]: i["team"] for i in intents
    }
    assert {intent: list(ids) for intent, ids in policy.articles.items()} == {i["name"]: i["articles"] for i in intents}


@pytest.mark.parametrize(
    ("facts", "ruling"),
    [
        ({"wish": "emergency"}, ("hand_over", "repair", "urgent", "emergency")),
        ({"wish": "person", "urgency": "high"}, ("hand_over", "returns", "high", "requested")),
        ({"wish": "person"}, ("hand_over", "returns", "normal", "requested")),
        ({"wish": "greeting", "intent": None, "knowledge": None}, ("answer", None, "normal", None)),
        ({"intent": "safety_hazard"}, ("hand_over", "repair", "urgent", "emergency")),
        ({"intent": "other", "out_of_scope": True, "knowledge": 0.5}, ("hand_over", None, "normal", "policy")),
        ({"intent": "other", "out_of_scope": True, "knowledge": 0.8}, ("answer", None, "low", None)),
        ({"conflict": 0.7, "sent": ("text", "picture")}, ("clarify", "returns", "normal", None)),
        ({"conflict": 0.7, "sent": ("voice",)}, ("answer", "returns", "high", None)),
        ({"confidence": 0.3, "knowledge": 0.6}, ("clarify", "returns", "normal", None)),
        ({"knowledge": 0.55}, ("clarify", "returns", "high", None)),
        ({"intent": "invoice", "knowledge": 0.55}, ("answer", "billing", "low", None)),
        ({"intent": "invoice", "knowledge": 0.1, "urgency": "high"},
         ("hand_over", "billing", "high", "low_confidence")),
        ({"intent": None, "confidence": None, "urgency": None}, ("answer", None, "normal", None)),
    ],
)  # fmt: skip
def test_the_demo_policy_decides_as_its_comments_say(facts: dict[str, object], ruling: tuple[object, ...]):
    told = demo().decide(replace(KNOWN, **facts))
    assert (told.do, told.team, told.priority, told.reason) == ruling


def test_the_page_about_policies_shows_policies_and_every_column_and_default():
    page = (Path(__file__).parents[2] / "docs/howto/policy.md").read_text("utf-8")
    small, whole = (Policy.parse(block) for block in re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    assert [small.warnings, whole.warnings] == [(), ()]
    plain = Policy.shipped()
    assert (whole.gates, whole.rollout, whole.drift, whole.learning) == (
        plain.gates, plain.rollout, plain.drift, plain.learning
    )  # fmt: skip
    columns = page.split("## What a row may look at")[1].split("## What a row decides")[0]
    assert set(re.findall(r"`([\w.]+)`", " ".join(re.findall(r"^\| ([^|]+) \|", columns, re.MULTILINE)))) == {
        *COLUMNS, "head.NAME",
    }  # fmt: skip


async def test_a_workspace_without_a_policy_has_the_shipped_one_and_versions_follow_each_other(
    db: Database, workspace: Workspace
):
    async with db.transaction(workspace.id) as tx:
        assert await load_policy(tx) == Policy.shipped()
        first = await save_policy(tx, SHIPPED, "as it was")
        assert first == replace(Policy.shipped(), version=1)
        assert await save_policy(tx, SHIPPED) == first
        second = await save_policy(tx, SHIPPED + "drift: {window: 50}\n", base_version=1)
        assert second == await load_policy(tx)
        with pytest.raises(Conflict) as caught:
            await save_policy(tx, SHIPPED, base_version=1)
        assert str(caught.value) == (
            "the policy is at version 2, yours was made from version 1. Load it again and make your change there."
        )
        with pytest.raises(Mistaken):
            await save_policy(tx, "table: []")
        history = await tx.all("policy_history")
        assert [(row["version"], row["note"], policy_of(row)) for row in history] == [
            (2, "", second),
            (1, "as it was", first),
        ]


def test_what_a_policy_says_is_plain_json():
    told = json.loads(json.dumps(demo().as_dict()))
    assert told["table"][5] == {
        "row": 6, "name": "安全隐患 safety hazard", "line": 15,
        "when": {"intent": "safety_hazard", "confidence": ">= 0.5"},
        "do": "hand_over", "team": "repair", "priority": "urgent", "reason": "emergency", "answer_from": None,
        "clarify_from": None,
    }  # fmt: skip
    assert told["learning"] == asdict(Learning())
    assert told["teams"]["repair"] == {
        "zh": "保修与维修", "en": "Warranty and repair",
        "intents": ["warranty", "repair_booking", "spare_parts", "safety_hazard"],
    }  # fmt: skip
