"""The demo workspace as a newcomer meets it: loaded once, its ten customers served, what is shown is true."""

from __future__ import annotations

import json
import re

from duomo import demo
from tests.integration.conftest import Running, duomo


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
