"""The demo workspace as a newcomer meets it: loaded once, its ten customers served, what is shown is true."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from duomo import demo
from tests.conftest import reachable
from tests.integration.conftest import Running, duomo, whole_service


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = reachable(tmp_path_factory.mktemp("demo"))
    with whole_service(home, articles=False) as running:
        loaded = duomo(home, "demo")
        assert loaded.returncode == 0, loaded.stderr
        yield running


def test_loading_the_demo_again_keeps_its_sign_in(shop: Running) -> None:
    again = duomo(shop.home, "demo")
    assert json.loads(again.stdout.splitlines()[-1]) == json.loads((shop.home / "demo-sign-in.json").read_text())
    assert json.loads(again.stdout.splitlines()[-1])["email"] == demo.EMAIL


def test_the_ten_customers_are_never_told_anything_wrong_and_often_helped(shop: Running) -> None:
    played = duomo(shop.home, "demo", "--play", "--url", shop.url)
    found = re.search(r"(\d+) turns: (\d+) wrong, (\d+) more cautious", played.stdout)
    assert found, played.stdout + played.stderr
    turns, wrong, cautious = map(int, found.groups())
    assert (wrong, played.returncode) == (0, 0), played.stdout
    assert cautious <= turns // 2, played.stdout
