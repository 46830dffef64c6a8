"""What there is to learn in the console's scenes: labels, turns of every medium to review, proposals and drafts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duomo
from tests.browser.fake_console_server import AGENTS, Conversation, FakeConsoleServer, artifact, iso, new_id, part
from tests.browser.fake_learning import head

INTENTS = Path(duomo.__file__).parent / "scenarios/customer_service/understanding/intents.json"
OTHER = {"name": "other", "title": {"zh": "其他", "en": "None of these"}, "known": True, "count": 3}
URGENCY = {"low": ("低", "Low"), "normal": ("一般", "Normal"), "high": ("高", "High")}


def fill(server: FakeConsoleServer, *, picture: bytes, sound: bytes) -> None:
    learning = server.learning
    intents = [one for one in json.loads(INTENTS.read_text()) if not one["hidden"]]
    names = [{"name": one["name"], "title": one["title"], "known": True, "count": 4} for one in intents]
    levels = [{"name": n, "title": {"zh": zh, "en": en}, "known": True, "count": 9} for n, (zh, en) in URGENCY.items()]
    learning.sets = [
        {"head": "intent", "title": {"zh": "意图", "en": "Intent"}, "type": "class", "out_of_scope": "other",
         "labels": [*names, OTHER]},
        {"head": "urgency", "title": {"zh": "紧急程度", "en": "Urgency"}, "type": "class", "out_of_scope": None,
         "labels": levels},
    ]  # fmt: skip
    for conversation in server.conversations.values():
        _understand(conversation)
    _queue(server, picture, sound)
    _agreement(server)
    _proposals(server)


def _understand(conversation: Conversation) -> None:
    """Every answer and hand-over of the bot says what the customer's message before it was taken for."""
    turns = {
        "王小明": [
            (head(("error_code", 0.87), ("repair_booking", 0.06), ("warranty", 0.03)),
             head(("normal", 0.71), ("high", 0.2))),
            (head(("change_address", 0.44), ("exchange_item", 0.31), ("repair_booking", 0.12), abstain=True),
             head(("high", 0.63), ("normal", 0.3))),
        ],
        "Anna Müller": [(head(("pairing", 0.97), ("wifi_setup", 0.02)), head(("low", 0.8), ("normal", 0.18)))],
    }  # fmt: skip
    said = iter(turns.get(conversation.contact["name"], []))
    asked = None
    for message in conversation.messages.values():
        if message["author"] == "customer":
            asked = message["id"]
        elif message["author"] == "bot" and asked and (heads := next(said, None)):
            message["decision"]["understood"] = {
                "message_id": asked, "pattern": "text", "heads": dict(zip(("intent", "urgency"), heads, strict=True)),
                "duration_ms": 6.1,
            }  # fmt: skip


def turn(text: str, *top: tuple[str, float], why: str = "value", language: str = "zh", **more: Any) -> dict[str, Any]:
    """A turn to review."""
    return {
        "message_id": new_id(), "conversation_id": new_id(), "seq": 3, "why": why, "value": 0.61, "entropy": 0.58,
        "disagreement": 0.0, "frequency": 0.4, "text": text, "language": language, "parts": [], "pattern": "text",
        "heads": {"intent": head(*top), "urgency": head(("normal", 0.6), ("high", 0.3), ("low", 0.1))},
        "suspect": None, "created_at": iso(7200), **more,
    }  # fmt: skip


def _queue(server: FakeConsoleServer, picture: bytes, sound: bytes) -> None:
    image = part("image", "display.png", "image/png", url=server.put_media(picture, "image/png"), width=640, height=400)
    read = "Error E-17\nCharging base not found"
    image["artifacts"] = [artifact("ocr", read, confidence=0.93, model="PP-OCRv5 mobile", ms=300)]
    voice = part("audio", "voice.wav", "audio/wav", url=server.put_media(sound, "audio/wav"), duration_s=4.2)
    heard = "我想问一下上次寄回去修的机器什么时候能好"
    voice["artifacts"] = [artifact("transcript", heard, confidence=0.81, model="whisper-base", ms=700)]
    learning = server.learning
    learning.items = [
        turn("退款怎么还没到账，都五天了", ("refund_status", 0.46), ("return_item", 0.38),
             ("double_charge", 0.07), frequency=0.9),
        turn(f"屏幕上一直显示这个，是坏了吗？\n{read}", ("warranty", 0.41), ("error_code", 0.39),
             ("repair_booking", 0.1), parts=[image], pattern="text+image", disagreement=0.47),
        turn(heard, ("repair_booking", 0.52), ("track_order", 0.3), ("warranty", 0.1), parts=[voice], pattern="audio"),
        turn("Can I use two vouchers on one order?", ("coupon", 0.55), ("price_protection", 0.2), language="en"),
        turn("我的发票抬头写错了", ("coupon", 0.6), ("invoice", 0.3), why="recheck", value=None, entropy=None,
             disagreement=None, frequency=None,
             suspect={"given": "coupon", "suggested": "invoice", "confidence": 0.08}),
        turn("The left earbud will not connect", ("pairing", 0.9), ("wifi_setup", 0.05), why="second", value=None,
             entropy=None, disagreement=None, frequency=None, language="en"),
    ]  # fmt: skip
    learning.items += [
        turn(f"第 {n} 单什么时候发货？", ("delivery_time", 0.5), ("track_order", 0.4)) for n in range(1, 21)
    ]


def _agreement(server: FakeConsoleServer) -> None:
    said = [("refund_status", 12, 11, 10), ("return_item", 8, 9, 7), ("warranty", 6, 6, 3)]
    lin, mei = ({"id": agent["id"], "name": agent["name"]} for agent in AGENTS)
    waiting = next(c for c in server.conversations.values() if c.contact["name"] == "周静")
    server.learning.agreement = {
        "pairs": 26, "agreed": 20, "kappa": 0.67,
        "by_label": [
            {"label": name, "first": a, "second": b, "both": both, "agreement": 2 * both / (a + b)}
            for name, a, b, both in said
        ],
        "disagreements": [
            {"message_id": next(iter(waiting.messages)), "conversation_id": waiting.id,
             "text": "保修期内换电池要钱吗？", "settled": None,
             "labels": [{"agent": lin, "value": "warranty"}, {"agent": mei, "value": "repair_booking"}]}
        ],
    }  # fmt: skip


def _proposals(server: FakeConsoleServer) -> None:
    talk = next(c for c in server.conversations.values() if c.contact["name"] == "王小明")
    asked = ["旧手机可以抵多少钱", "你们收旧机吗？想换新的", "Trade in my old vacuum, what is it worth?",
             "以旧换新怎么算", "旧的扫地机能折价吗", "Do you take old devices back?", "想用旧耳机换新"]  # fmt: skip
    missing = ["电饭煲可以用来做酸奶吗", "电饭煲做蛋糕用哪个档", "米饭夹生怎么调"]

    def proposal(kind: str, name: str, terms: list[str], texts: list[str], cohesion: float, size: int) -> Any:
        examples = [{"message_id": new_id(), "conversation_id": talk.id, "text": text} for text in texts]
        more = [new_id() for _ in range(size - len(texts))]
        return {
            "id": new_id(), "kind": kind, "name": name, "terms": terms, "size": size, "cohesion": cohesion,
            "messages": [*(one["message_id"] for one in examples), *more], "examples": examples, "state": "open",
            "became": None, "agent": None, "created_at": iso(3600),
        }  # fmt: skip

    server.learning.proposals = [
        proposal("intent", "以旧换新", ["以旧换新", "旧机", "折价", "trade in"], asked, 0.71, 18),
        proposal("article", "product_usage", ["电饭煲", "酸奶", "档位"], missing, 0.64, 3),
    ]
