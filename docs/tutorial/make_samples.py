#!/usr/bin/env python3
"""Make the tutorial's samples: a small repair shop's messages in English and Chinese, with pictures and sounds.

    python docs/tutorial/make_samples.py /tmp/shop

Everything is drawn from one seed: the same call writes the same bytes. Nothing here is a real customer's.
"""

from __future__ import annotations

import json
import random
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

SEED = 7
RATE = 16_000  # Hz

WORDS = {
    "refund": (
        [
            "I want my money back for {thing}",
            "Please refund {thing}, it is not what I ordered",
            "{thing} goes back, how do I get the payment returned",
            "Cancel my order of {thing} and pay me back",
        ],
        [
            "我要退款，{thing}不是我想要的",
            "{thing}想退货，钱什么时候退回来",
            "请取消{thing}的订单，把钱退给我",
            "{thing}不满意，申请退款",
        ],
    ),
    "delivery": (
        [
            "Where is the parcel with {thing}",
            "{thing} was to arrive on Monday and is still not here",
            "Can you track the delivery of {thing}",
            "How many days until {thing} is shipped",
        ],
        ["{thing}的快递到哪里了", "{thing}说好周一到，现在还没收到", "帮我查一下{thing}的物流", "{thing}几天能发货"],
    ),
    "broken_screen": (
        [
            "The display of {thing} is cracked",
            "There is a crack across the glass of {thing}",
            "The screen of {thing} broke when it fell",
            "{thing} shows only lines, the glass is broken",
        ],
        [
            "{thing}的屏幕裂了",
            "{thing}的玻璃上有一条裂缝",
            "{thing}摔了一下，屏幕碎了",
            "{thing}的显示屏只有条纹，玻璃坏了",
        ],
    ),
    "noise": (
        [
            "{thing} rattles while it runs",
            "There is a loud rattling sound from {thing}",
            "{thing} makes a strange noise",
            "Why is {thing} so loud, it clatters",
        ],
        ["{thing}一转就哒哒响", "{thing}里面有很大的异响", "{thing}的声音很奇怪", "{thing}为什么这么吵，一直响"],
    ),
}
VAGUE = (
    ["Please see what I attached", "Here it is, what now?", "This happened today"],
    ["请看附件", "就是这样，怎么办？", "今天出现的情况"],
)
"""Texts that say nothing: the picture or the sound has to."""
POINTS = (
    [
        "How many loyalty points do I have",
        "Can I pay with my loyalty points",
        "When do my loyalty points expire",
        "Give the loyalty points to my sister",
        "My loyalty points are missing since Friday",
        "Do repairs earn loyalty points",
        "Where can I see my loyalty points",
        "Loyalty points of last year, are they gone",
    ],
    [
        "我有多少会员积分",
        "会员积分可以抵钱吗",
        "会员积分什么时候过期",
        "会员积分能转给我妹妹吗",
        "周五以后会员积分不见了",
        "维修能得会员积分吗",
        "在哪里看会员积分",
        "去年的会员积分还有吗",
    ],
)
"""What nobody had thought of when the labels were made."""
THINGS = (
    ["my tablet", "the fan", "the blender", "the robot vacuum", "the kettle", "my phone", "the heater", "the clock"],
    ["平板", "风扇", "搅拌机", "扫地机器人", "电水壶", "手机", "取暖器", "闹钟"],
)


def main(folder: Path) -> None:
    draw = random.Random(SEED)
    (folder / "media").mkdir(parents=True, exist_ok=True)
    train = [ticket(draw, folder, f"t{i:03d}", list(WORDS)[i % len(WORDS)]) for i in range(112)]
    train[16]["labels"]["intent"] = "noise"  # a mistake of whoever labelled: it is a refund
    test = [ticket(draw, folder, f"e{i:03d}", list(WORDS)[i % len(WORDS)]) for i in range(48)]
    new = [ticket(draw, folder, f"u{i:03d}", list(WORDS)[i % len(WORDS)]) for i in range(24)]
    for record in new:
        del record["labels"]
    new += [{"id": f"p{i:03d}", "text": text} for i, text in enumerate((*POINTS[0], *POINTS[1]))]
    cut = folder / next(record["image"] for record in train if "image" in record)
    cut.write_bytes(cut.read_bytes()[:200])  # a download that was interrupted
    for name, records in (("train", train), ("test", test), ("new", new)):
        lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


def ticket(draw: random.Random, folder: Path, name: str, intent: str) -> dict[str, Any]:
    """One message: a text that may say nothing, and for some a picture or a sound."""
    chinese = draw.random() < 0.5
    shown = draw.random() < 0.7
    vague = shown and draw.random() < 0.4
    text = draw.choice(VAGUE[chinese] if vague else WORDS[intent][chinese]).format(thing=draw.choice(THINGS[chinese]))
    customer = f"customer-{name[0]}{int(name[1:]) // 8}"
    record: dict[str, Any] = {"id": name, "text": text[0].upper() + text[1:], "group": customer}
    if shown and intent == "noise":
        record["audio"] = f"media/{name}.wav"
        sound(draw, folder / record["audio"], rattles=True)
    elif shown:
        record["image"] = f"media/{name}.png"
        picture(draw, folder / record["image"], intent)
        if draw.random() < 0.5:
            record["audio"] = f"media/{name}.wav"
            sound(draw, folder / record["audio"], rattles=False)
    record["labels"] = {"intent": intent}
    return record


def picture(draw: random.Random, path: Path, intent: str) -> None:
    """A parcel, a device with a crack, or a device as it should be."""
    shade = draw.randint(190, 240)
    image = Image.new("RGB", (240, 180), (shade, shade, draw.randint(190, 240)))
    pen = ImageDraw.Draw(image)
    x, y = draw.randint(20, 60), draw.randint(15, 40)
    if intent == "delivery":
        pen.rectangle((x, y, x + 140, y + 110), fill=(190, 145, 95), outline=(120, 85, 50), width=3)
        pen.rectangle((x + 60, y, x + 80, y + 110), fill=(225, 200, 150))
        for bar in range(12):
            pen.rectangle((x + 8 + bar * 4, y + 75, x + 9 + bar * 4 + draw.randint(0, 2), y + 100), fill="black")
    else:
        tone = draw.randint(20, 70)
        pen.rounded_rectangle((x, y, x + 150, y + 115), 10, fill=(tone, tone, tone))
        pen.rectangle((x + 10, y + 10, x + 140, y + 105), fill=(60, 120 + draw.randint(0, 60), 190))
    if intent == "broken_screen":
        for _ in range(9):
            ends = (x + 75 + draw.randint(-70, 70), y + 55 + draw.randint(-50, 50))
            pen.line((x + 70, y + 50, *ends), fill="white", width=draw.randint(1, 3))
    image.save(path)


def sound(draw: random.Random, path: Path, *, rattles: bool) -> None:
    """A second and a half of a motor, with or without something loose in it."""
    time = np.arange(RATE * 3 // 2) / RATE
    pitch = draw.uniform(90, 160)
    wave_form = 0.15 * np.sin(2 * np.pi * pitch * time) + 0.08 * np.sin(4 * np.pi * pitch * time)
    noise = np.random.default_rng(draw.randrange(2**32)).normal(size=len(time))
    wave_form += 0.01 * noise
    if rattles:
        rate = draw.uniform(9, 16)
        wave_form += 0.5 * noise * np.exp(-60 * ((time * rate) % 1) / rate)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(wave_form, -1, 1) * 32767).astype("<i2").tobytes())


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
