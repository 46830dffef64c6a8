"""Whether a candidate may answer: nothing that matters got worse, and something got better."""

from __future__ import annotations

from typing import Any

import pytest

from duomo.support.gates import decide
from duomo.support.policy_sections import Gates


def change(first: float, second: float, *, half: float = 0.02, p: float = 0.5) -> dict[str, float]:
    value = second - first
    return {"first": first, "second": second, "value": value, "low": value - half, "high": value + half, "p": p}


def part(kind: str, name: str, n: int, first: float, second: float, *, p: float) -> dict[str, Any]:
    return {"kind": kind, "name": name, "n": n, "figure": "accuracy", "mcnemar_p": p, **change(first, second, p=p)}


def found(
    accuracy: dict[str, float] | None = None,
    *,
    slices: list[dict[str, Any]] | None = None,
    new: tuple[str, ...] = (),
    lost: tuple[str, ...] = (),
    base: tuple[float, float] = (0.9, 0.9),
    **figures: dict[str, float],
) -> dict[str, Any]:
    wrong = figures.pop("wrong_answers", change(0.1, 0.1))
    return {
        "labels": {"intent": {"known": ["a", "b"], "new": list(new), "lost": list(lost), "few": {}}},
        "comparison": {
            "against": True,
            "heads": {
                "intent": {
                    "n": 200, "held_out": 200, "figures": {"accuracy": accuracy or change(0.8, 0.85), **figures},
                    "slices": slices or [], "wrong_answers": wrong,
                }
            },
        },
        "base": {"rows": 500, "heads": {"intent": {"first": base[0], "second": base[1], "measure": "accuracy"}}},
    }  # fmt: skip


def failed(result: dict[str, Any], rule: Gates | None = None) -> list[str]:
    verdict = decide(result, rule or Gates())
    assert (verdict.state == "refused") == any(not gate.passed for gate in verdict.gates)
    return [gate.gate for gate in verdict.gates if not gate.passed]


def test_better_and_nowhere_worse_is_promoted_with_the_figures_it_rests_on():
    verdict = decide(found(), Gates())

    assert verdict.state == "promoted"
    assert verdict.why == "accuracy of intent: 80.0% before, 85.0% now (+5.0%, +3.0% to +7.0%) on 200 rows."
    assert [gate.gate for gate in verdict.gates] == [
        "evidence", "labels", "accuracy", "wrong_answers", "base", "gain",
    ]  # fmt: skip
    assert verdict.gates[-1].figures == {"gain": "accuracy", "head": "intent", "name": "accuracy", "n": 200} | change(
        0.8, 0.85
    )


def test_no_better_and_no_worse_is_nothing_new():
    assert decide(found(change(0.8, 0.8, half=0)), Gates()).state == "nothing_new"


def test_a_new_label_is_worth_it_when_nothing_got_worse():
    verdict = decide(found(change(0.8, 0.8), new=("trade_in",)), Gates())

    assert (verdict.state, verdict.why) == ("promoted", "intent learned trade_in.")


@pytest.mark.parametrize(
    ("accuracy", "gates"),
    [
        (change(0.8, 0.798), []),  # within what the policy allows
        (change(0.8, 0.79), ["accuracy"]),
        (change(0.8, 0.797, half=0.001), ["accuracy"]),  # little, and surely
    ],
)
def test_accuracy_may_not_fall_by_more_than_the_policy_allows_nor_surely_at_all(accuracy, gates):
    assert failed(found(accuracy, new=("x",))) == gates


def test_of_few_rows_only_a_loss_that_is_hardly_chance_is_refused():
    few = found(change(0.5, 0.46, half=0.1, p=0.5))
    few["comparison"]["heads"]["intent"]["n"] = 56
    assert failed(few) == []
    few["comparison"]["heads"]["intent"]["figures"]["accuracy"]["p"] = 0.1
    assert failed(few) == ["accuracy"]


def test_what_is_said_of_a_handful_of_rows_out_of_scope_does_not_decide():
    result = found(out_of_scope_precision=change(0.8, 0.5, p=0.01), in_scope_accuracy=change(0.9, 0.7, p=0.01))
    result["comparison"]["heads"]["intent"]["out_of_scope_rows"] = 6
    assert failed(result) == ["out_of_scope"]
    del result["comparison"]["heads"]["intent"]["figures"]["in_scope_accuracy"]
    assert failed(result) == []


def test_labels_that_the_active_model_has_not_learned_from_are_worth_it_when_nothing_got_worse():
    verdict = decide(found(change(0.8, 0.8, half=0)) | {"fresh": 40}, Gates())

    assert (verdict.state, verdict.why) == ("promoted", "it learned from 40 labelled turns more.")


def test_a_shuffled_model_is_refused():
    assert failed(found(change(0.8, 0.05, p=0.001), base=(0.9, 0.5))) == ["accuracy", "base"]


@pytest.mark.parametrize(
    ("slice", "gates"),
    [
        (part("pattern", "text+audio", 60, 0.8, 0.6, p=0.01), ["slice"]),
        (part("language", "zh", 60, 0.8, 0.6, p=0.2), []),  # may be chance
        (part("team", "repair", 60, 0.8, 0.78, p=0.01), []),  # less than the policy minds
        (part("label", "invoice", 10, 0.8, 0.1, p=0.001), []),  # too few rows to decide
        (part("label", "invoice", 60, 0.6, 0.8, p=0.01), []),  # better
    ],
)
def test_a_slice_with_enough_rows_may_not_get_surely_worse(slice, gates):
    verdict = decide(found(slices=[slice]), Gates())

    assert [gate.gate for gate in verdict.gates if not gate.passed] == gates
    if gates:
        assert verdict.why == (
            "intent where pattern is text+audio: 80.0% before, 60.0% now (-20.0%, -22.0% to -18.0%) on 60 rows."
        )


@pytest.mark.parametrize(
    ("figures", "gates"),
    [
        ({"wrong_answers": change(0.1, 0.2, p=0.01)}, ["wrong_answers"]),
        ({"wrong_answers": change(0.1, 0.2, p=0.3)}, []),
        ({"wrong_answers": change(0.2, 0.1, p=0.01)}, []),
        ({"out_of_scope_recall": change(0.9, 0.7, p=0.01)}, ["out_of_scope"]),
        ({"in_scope_accuracy": change(0.9, 0.7, p=0.01)}, ["out_of_scope"]),
        ({"ece": change(0.05, 0.12, p=0.01)}, ["calibration"]),
        ({"ece": change(0.12, 0.05, p=0.01)}, []),
    ],
)
def test_wrong_answers_scope_and_calibration_may_not_get_surely_worse(figures, gates):
    assert failed(found(**figures)) == gates


def test_a_model_that_forgot_a_label_or_what_it_began_with_is_refused():
    assert failed(found(lost=("invoice",))) == ["labels"]
    assert failed(found(base=(0.9, 0.86))) == ["base"]
    assert failed(found(base=(0.9, 0.88))) == []


def test_without_a_labelled_row_nothing_is_known_and_nothing_promoted():
    result = found(new=("x",))
    result["comparison"]["heads"] = {}

    assert failed(result) == ["evidence"]


@pytest.mark.parametrize(("low", "state"), [(0.5, "promoted"), (0.2, "refused")])
def test_the_first_model_must_beat_saying_ever_the_same(low, state):
    result = found()
    result["comparison"] = {
        "against": False,
        "heads": {
            "intent": {
                "n": 40, "held_out": 40, "most_frequent": 0.3,
                "figures": {"accuracy": {"value": 0.6, "low": low, "high": 0.7}},
            }
        },
    }  # fmt: skip
    result["base"]["heads"] = {}

    assert decide(result, Gates()).state == state


def test_the_policy_says_how_much_a_slice_may_lose():
    result = found(slices=[part("language", "zh", 60, 0.8, 0.76, p=0.01)])

    assert failed(result) == ["slice"]
    assert failed(result, Gates(worse_slice=0.05)) == []
    assert failed(result, Gates(min_slice=61)) == []
    assert failed(result, Gates(significance=0.001)) == []
