"""The demo's scenarios against the whole service, each twice; and a scenario that is not met says so."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from duomo.demo import SCENARIO
from tests.integration.conftest import Running, duomo

FILES = sorted((SCENARIO / "tests").glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_what_the_demo_promises_holds_every_time(shop: Running, file: Path) -> None:
    played = duomo(shop.home, "test", file, "--url", shop.url, "-k", "2", "--json")
    report = json.loads(played.stdout)
    differed = {one["name"]: one["differed"] for one in report["scenarios"] if one["differed"]}
    assert differed == {}
    assert (played.returncode, report["passed"], report["pass"]["2"]) == (0, report["n"], 1.0)
    assert report["unchecked"] == 0, "no model is active, so no intent was compared"


def test_a_scenario_that_is_not_met_is_told_with_its_line(shop: Running, tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("""\
scenarios:
  - name: wrong
    turns:
      - text: How do I cancel my order?
        expect:
          decision: hand_over
          source: a-recipe-for-soup
          not_said: order
          language: zh
      - choose: 9
""")
    junit = tmp_path / "junit.xml"
    played = duomo(shop.home, "test", file, "--url", shop.url, "-k", "1", "--junit", junit)
    assert played.returncode == 1, played.stderr
    assert "FAIL 0/1  wrong" in played.stdout
    for expected in ("decision hand_over", "source a-recipe-for-soup", "not said order", "language zh"):
        assert f"{file}:6: turn 1: expected {expected}\n" in played.stdout
    assert f"{file}:10: turn 2: expected option 9 is offered\n" in played.stdout
    [[case]] = ET.parse(junit).getroot()
    assert [failure.get("message") for failure in case] == ["0 of 1 runs passed"]


def test_who_may_not_sign_in_is_told_before_anything_is_played(shop: Running) -> None:
    played = duomo(shop.home, "test", FILES[0], "--url", shop.url, "--email", "a@b.example", "--password", "wrong")
    assert played.returncode == 3
    assert "the server refused: 401" in played.stderr
