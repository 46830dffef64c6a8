"""What an operator sets, and what he is told when he mistypes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from duomo.errors import ConfigError
from duomo.settings import Settings, load, unknown_variables


def test_an_argument_wins_over_the_environment_which_wins_over_the_default() -> None:
    environment = {"DUOMO_HOME": "/srv/duomo", "DUOMO_PORT": "9000", "DATABASE_URL": "postgresql://db/duomo"}
    assert load(environment, port=9001, host=None) == Settings(
        home=Path("/srv/duomo"), port=9001, database_url="postgresql://db/duomo"
    )


def test_the_home_of_the_user_is_meant_by_a_tilde() -> None:
    assert load({}).home == Path.home() / ".duomo"


@pytest.mark.parametrize("value", ["eight", "-1", "1.5"])
def test_a_number_that_is_none_is_refused_with_the_name_of_its_variable(value: str) -> None:
    with pytest.raises(ConfigError, match=f"DUOMO_PORT is '?{value}'?, expected"):
        load({"DUOMO_PORT": value})


def test_a_mistyped_variable_is_told_with_the_nearest_name() -> None:
    environment = {"DUOMO_LLM_ULR": "x", "DUOMO_PORT": "1", "PATH": "x", "DUOMO_HOEM": "x"}
    assert unknown_variables(environment) == [
        "DUOMO_HOEM is set but nothing reads it. Did you mean DUOMO_HOME?",
        "DUOMO_LLM_ULR is set but nothing reads it. Did you mean DUOMO_LLM_URL?",
    ]
