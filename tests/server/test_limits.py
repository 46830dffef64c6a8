"""Token buckets, by a clock of their own."""

from __future__ import annotations

import pytest

from duomo.errors import TooMany
from duomo.server.limits import Rate


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_allowed_and_then_an_even_pace() -> None:
    clock = Clock()
    rate = Rate("knocks", per_minute=6, burst=2, clock=clock)
    rate.take("a")
    rate.take("a")
    with pytest.raises(TooMany, match=r"too many knocks. Try again in 10 s."):
        rate.take("a")
    clock.now = 10
    rate.take("a")
    with pytest.raises(TooMany) as caught:
        rate.take("a")
    assert caught.value.retry_after == 10


def test_one_caller_does_not_count_for_another() -> None:
    rate = Rate("knocks", per_minute=1, clock=Clock())
    rate.take("a")
    rate.take("b")
    with pytest.raises(TooMany):
        rate.take("a")


def test_what_is_refused_is_not_counted() -> None:
    clock = Clock()
    rate = Rate("files", per_minute=60, burst=5, clock=clock)
    with pytest.raises(TooMany):
        rate.take("a", amount=6)
    rate.take("a", amount=5)


def test_what_was_given_back_may_be_taken_again() -> None:
    rate = Rate("tries", per_minute=1, clock=Clock())
    rate.take("a")
    rate.give_back("a")
    rate.take("a")


def test_callers_are_forgotten_before_they_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("duomo.server.limits._KEYS", 3)
    rate = Rate("knocks", per_minute=1, clock=Clock())
    for caller in "abcd":
        rate.take(caller)
    rate.take("a")
    with pytest.raises(TooMany):
        rate.take("d")
