"""What the console's fake server holds: conversations in every status, with every kind of medium.

Run it (`python -m tests.browser.console_scenes`) to look at the console by hand.
"""

from __future__ import annotations

import contextlib
import io
import math
import struct
import threading
import wave

from PIL import Image, ImageDraw

from tests.browser import learning_scenes
from tests.browser.fake_console_server import AGENTS, PASSWORD, FakeConsoleServer, artifact, iso, new_id, part


def screenshot(lines: list[str]) -> bytes:
    """A 640 x 400 PNG that shows an error window; line i stands at y = 90 + 60 i."""
    picture = Image.new("RGB", (640, 400), (238, 241, 246))
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle((40, 40, 600, 360), 18, fill=(255, 255, 255), outline=(200, 206, 216), width=2)
    draw.ellipse((64, 84, 112, 132), fill=(214, 69, 65))
    for row, line in enumerate(lines):
        draw.text((140, 90 + 60 * row), line, fill=(30, 36, 48), font_size=28)
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def tone(seconds: float) -> bytes:
    """A WAV, 16 kHz mono, whose loudness rises and falls like speech."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        frames = (
            int(9000 * abs(math.sin(i / 2300)) * math.sin(i * 2 * math.pi * 220 / 16000))
            for i in range(int(16000 * seconds))
        )
        file.writeframes(b"".join(struct.pack("<h", frame) for frame in frames))
    return out.getvalue()


def fill(server: FakeConsoleServer) -> None:
    """Conversations in every status, with every kind of medium; the tests know them by the contact's name."""
    returns = server.add_article(
        "七天无理由退货",
        "# 七天无理由退货\n\n签收后 **7 天内**，商品完好、配件齐全即可申请退货。\n\n"
        "退款会在仓库收到商品后 3 个工作日内原路退回。\n\n- 运费由买家承担\n- 定制商品除外",
    )
    codes = server.add_article(
        "错误代码 E-17",
        "# 错误代码 E-17\n\nE-17 表示充电座没有接通电源。\n\n"
        "请擦拭充电触点，把充电座插到另一个插座，等待 10 秒再放回主机。",
    )
    pairing = server.add_article(
        "Pairing the headphones",
        "# Pairing the headphones\n\nHold the power button for five seconds until the light blinks blue.\n\n"
        "Then choose *Aurora Buds* in the Bluetooth list.",
        "en",
    )
    _vacuum(server, codes, returns)
    _pairing(server, pairing)
    waiting = server.add("周静")
    waiting.say("customer", "我的收获地址填错了，能改吗？", ago=300)
    server.hand_off(waiting, "requested")
    waiting.waiting_since, waiting.updated = iso(250), iso(290)
    mine = server.add("Tom Becker", "en")
    mine.say("customer", "My invoice shows the wrong company name.", ago=5000)
    server.hand_off(mine, "low_confidence")
    mine.waiting_since, mine.updated = iso(40), iso(4000)
    mine.assignee = {"id": AGENTS[0]["id"], "name": "Lin"}
    snoozed = server.add("陈伟")
    snoozed.say("customer", "配件什么时候到货？", ago=9000)
    snoozed.status, snoozed.snoozed_until, snoozed.updated = "snoozed", iso(-7200), iso(9000)
    done = server.add("Sara Okoye", "en")
    done.say("customer", "Where is my parcel?", ago=90000)
    done.say("agent", "It arrives tomorrow morning.", ago=89000, agent={"id": AGENTS[1]["id"], "name": "Mei"})
    done.status, done.updated = "resolved", iso(80000)
    done.csat = {"score": 5, "comment": "Quick and kind."}
    picture = screenshot(["Error E-17", "Charging base not found"])
    learning_scenes.fill(server, picture=picture, sound=tone(4.2))


def _vacuum(server: FakeConsoleServer, codes: str, returns: str) -> None:
    """A robot vacuum with an error: picture, voice, document, a bot answer, a hand-over with its brief."""
    talk = server.add("王小明")
    picture = server.put_media(screenshot(["Error E-17", "Charging base not found", "Retry later"]), "image/png")
    lines = [
        {"text": text, "confidence": sure, "box": [[140, y], [140 + w, y], [140 + w, y + 34], [140, y + 34]]}
        for text, sure, y, w in (
            ("Error E-17", 0.99, 90, 150),
            ("Charging base not found", 0.97, 150, 330),
            ("Retry later", 0.91, 210, 150),
        )
    ]
    image = part("image", "screen.png", "image/png", url=picture, width=640, height=400)
    image["artifacts"] = [
        artifact(
            "ocr",
            "Error E-17\nCharging base not found\nRetry later",
            confidence=0.96,
            model="PP-OCRv5 mobile",
            ms=412,
            lines=lines,
            size=[640, 400],
        ),
        artifact(
            "picture_kind",
            "screenshot",
            confidence=0.88,
            model="clip-vit-b32",
            ms=61,
            scores={"photo": 0.07, "screenshot": 0.88, "document": 0.05},
        ),
    ]
    talk.say("customer", "扫地机器人一直不充电，屏幕上是这个", ago=1500, parts=[image])
    candidates = [
        {
            "article_id": codes,
            "title": "错误代码 E-17",
            "text": "E-17 表示充电座没有接通电源。",
            "score": 0.91,
            "cosine": 0.89,
            "coverage": 0.72,
            "image": 0.41,
        },
        {
            "article_id": returns,
            "title": "七天无理由退货",
            "text": "签收后 7 天内…",
            "score": 0.34,
            "cosine": 0.61,
            "coverage": 0.08,
        },
    ]
    talk.say(
        "bot",
        "E-17 表示充电座没有接通电源。请擦拭充电触点，把充电座插到另一个插座，等待 10 秒再放回主机。[1]",
        ago=1490,
        feedback="down",
        citations=[
            {
                "n": 1,
                "article_id": codes,
                "chunk_id": new_id(),
                "title": "错误代码 E-17",
                "uri": "shop/zh/e17.md",
                "quote": "E-17 表示充电座没有接通电源。",
                "score": 0.91,
                "picture_url": None,
            },
        ],
        decision={
            "outcome": "answer",
            "searched": "扫地机器人一直不充电，屏幕上是这个 Error E-17",
            "confidence": 0.91,
            "answer_from": 0.62,
            "clarify_from": 0.35,
            "calibration": "2026-11",
            "candidates": candidates,
            "timings_ms": {"retrieve": 21, "extract": 12},
        },
    )
    voice = part("audio", "voice.wav", "audio/wav", url=server.put_media(tone(4.2), "audio/wav"), duration_s=4.2)
    voice["artifacts"] = [
        artifact(
            "transcript",
            "还是不行，收货地址能不能换一台新的寄过来",
            confidence=0.83,
            model="whisper-base",
            ms=812,
            language="zh",
            original="还是不行，收获地址能不能换一台新的寄过来",
            segments=[
                {"start_s": 0.0, "end_s": 1.4, "text": "还是不行，", "confidence": 0.94},
                {"start_s": 1.4, "end_s": 4.2, "text": "收货地址能不能换一台新的寄过来", "confidence": 0.77},
            ],
        )
    ]
    talk.say("customer", "", ago=900, parts=[voice])
    receipt = part(
        "document", "发票 2026-11.pdf", "application/pdf", url=server.put_media(b"%PDF-1.4", "application/pdf")
    )
    receipt["artifacts"] = [
        artifact(
            "document_text",
            "购买日期 2026-11-02\n型号 RV-9 Pro\n金额 ¥2,399.00",
            confidence=1.0,
            model="pypdfium2",
            ms=35,
        )
    ]
    talk.say("customer", "这是发票", ago=880, parts=[receipt])
    talk.say(
        "bot",
        "这个问题需要人工处理，我已把对话转给同事，请稍等。",
        ago=870,
        kind="handoff",
        decision={
            "outcome": "handoff",
            "searched": "还是不行，收货地址能不能换一台新的寄过来",
            "confidence": 0.21,
            "answer_from": 0.62,
            "clarify_from": 0.35,
            "calibration": "2026-11",
            "candidates": [{**candidates[1], "score": 0.41}],
            "timings_ms": {"retrieve": 19},
        },
    )
    server.hand_off(talk, "low_confidence")
    talk.waiting_since, talk.updated = iso(870), iso(870)
    talk.brief = {
        "asked": ["扫地机器人一直不充电", "能不能换一台新的"],
        "seen": ["Error E-17 / Charging base not found"],
        "heard": ["还是不行，收货地址能不能换一台新的寄过来"],
        "tried": [{"text": "擦拭触点，换插座，等待 10 秒", "titles": ["错误代码 E-17"]}],
        "missing": ["序列号", "收货地址"],
        "reason": "low_confidence",
        "language": "zh",
    }


def _pairing(server: FakeConsoleServer, article: str) -> None:
    """A conversation that the bot is still answering."""
    talk = server.add("Anna Müller", "en")
    talk.say("customer", "How do I pair my headphones?", ago=130)
    talk.say(
        "bot",
        "Hold the power button for five seconds until the light blinks blue. [1]",
        ago=128,
        citations=[
            {
                "n": 1,
                "article_id": article,
                "chunk_id": new_id(),
                "title": "Pairing the headphones",
                "uri": "shop/en/pairing.md",
                "quote": "Hold the power button for five seconds until the light blinks blue.",
                "score": 0.93,
                "picture_url": None,
            },
        ],
        decision={"outcome": "answer", "confidence": 0.93, "answer_from": 0.58, "clarify_from": 0.3, "candidates": []},
    )


def main() -> None:
    """Serve the filled fake until Ctrl-C, to look at the console by hand."""
    with FakeConsoleServer() as server:
        fill(server)
        print(f"{server.url}/console  {AGENTS[0]['email']}  {PASSWORD}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
