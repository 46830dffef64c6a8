from __future__ import annotations

import pytest

from duomo.knowledge.lexicon import collect, is_word, load, repair
from duomo.knowledge.repair import Lexicon, Repaired, codes
from duomo.knowledge.repair import repair as repair_with
from duomo.media.text import tokens
from duomo.store.postgres import Database, Workspace

from .conftest import Take, rows

ARTICLES = [
    ("修改收货地址", "# 修改收货地址\n\n发货前可以在订单里修改收货地址。"),
    ("电子发票", "# 电子发票\n\n在订单里申请电子发票。\n\n## 会员积分\n\n也可以。"),
    ("LT-H3 智能门锁", "# LT-H3 智能门锁\n\nThe LT-H3 shows E12, C4 and E03 when the battery is low. 优惠券 保修"),
]


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    found: dict[str, list[str]] = {}
    for row in sorted(collect(ARTICLES), key=lambda row: -row["weight"]):
        found.setdefault(row["pinyin"], []).append(row["term"])
    known = {token for title, text in ARTICLES for token in tokens(f"{title}\n{text}")}
    return Lexicon(found, known, is_word)


@pytest.mark.parametrize(
    ("heard", "meant"),
    [
        ("收获地址写错了怎么改", "收货地址写错了怎么改"),
        ("电子发漂怎么申请", "电子发票怎么申请"),
        ("智能们锁打不开", "智能门锁打不开"),
        ("会圆积分", "会员积分"),
        ("显示E十二怎么办", "显示E12怎么办"),
        ("显示E幺二", "显示E12"),
        ("LT横杠H三没电了", "LT-H3没电了"),
        ("error e twelve", "error E12"),
        ("it says E 12 again", "it says E12 again"),
        ("the el tee h three is broken", "the LT-H3 is broken"),
        ("L. T. H 3 is broken", "LT-H3 is broken"),
        ("e oh three", "E03"),
    ],
)
def test_what_was_misheard_becomes_the_knowledge_s_own_word(lexicon: Lexicon, heard: str, meant: str):
    assert repair_with(heard, lexicon).text == meant


@pytest.mark.parametrize(
    "right",
    [
        "收货地址写错了怎么改",
        "我要开发漂亮的网站",  # 发漂 sounds like 发票
        "今年收获很大",
        "地址在哪里",
        "I see 4 problems",
        "are you there for 3 days",
        "my LT-H3 shows E12",
        "version 3.0 of it",
        "",
        "。！？ 123",
    ],
)
def test_what_is_right_stays(lexicon: Lexicon, right: str):
    assert repair_with(right, lexicon) == Repaired(right, right)


def test_every_change_is_told(lexicon: Lexicon):
    assert repair_with("收获地址显示E十二", lexicon) == Repaired(
        "收货地址显示E12", "收获地址显示E十二", (("收获地址", "收货地址"), ("E十二", "E12"))
    )


def test_codes_are_letters_and_digits_in_one_word():
    assert codes("LT-H3, E12 and 2024-05-01 or Wi-Fi 6 (AX3000)") == ["LT-H3", "E12", "AX3000"]


async def test_the_lexicon_comes_from_the_articles_and_follows_them(take: Take, db: Database, workspace: Workspace):
    await take({"a.md": "# 修改收货地址\n\nLT-H3 的收货地址"})
    found = {str(row["term"]) for row in await rows(db, workspace.id, "SELECT term FROM lexicon")}
    assert {"收货", "地址", "收货地址", "LT-H3"} <= found
    assert await repair(db, workspace.id, "收获地址和 L T H 三", "zh") == "收货地址和 LT-H3"
    await take({"a.md": "# 开发票\n\n电子发票"})
    assert await repair(db, workspace.id, "收获地址", "zh") == "收获地址"


async def test_what_the_knowledge_itself_says_is_never_repaired(take: Take, db: Database, workspace: Workspace):
    await take({"a.md": "# 收货地址\n\n祝您收获地址簿"})
    assert (await load(db, workspace.id, "收获地址")).known >= {"收获", "获地", "地址"}
    assert await repair(db, workspace.id, "收获地址", "zh") == "收获地址"
