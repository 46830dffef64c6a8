"""Screens and photographs that the demo shop's customers send: drawn by a browser, like those of make_demo_media.py.

A screen is filled in from a seed (product, amounts, times, light or dark), so that no two are alike; a photograph is a
scene of `demo_scenes` seen from a seeded side.
"""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import make_demo_media
from make_demo_media import FLAGS, MEDIA, SCREENS, snapshot
from PIL import Image
from playwright.sync_api import Page, sync_playwright

PRODUCTS = {
    "lt-h3": ("LT-H3 头戴式降噪耳机", "LT-H3 headphones"),
    "lt-s2": ("LT-S2 智能音箱", "LT-S2 smart speaker"),
    "lt-v8": ("LT-V8 扫拖机器人", "LT-V8 robot vacuum"),
    "lt-a5": ("LT-A5 空气净化器", "LT-A5 air purifier"),
    "lt-r6": ("LT-R6 路由器", "LT-R6 mesh router"),
    "lt-e7": ("LT-E7 阅读器", "LT-E7 e-reader"),
    "lt-k1": ("LT-K1 智能门锁", "LT-K1 smart lock"),
    "lt-p20": ("LT-P20 充电宝", "LT-P20 power bank"),
    "lt-c4": ("LT-C4 运动相机", "LT-C4 action camera"),
    "lt-t9": ("LT-T9 电水壶", "LT-T9 kettle"),
}
CODES = {
    "lt-v8": ["E01", "E05", "E12", "E22", "E31"],
    "lt-a5": ["F1", "F2", "F3", "F5"],
    "lt-t9": ["E1", "E2", "E3", "E6"],
}
DISPLAYS = {"lt-v8": (0, 54, 3.3), "lt-a5": (0, 19, 3.3), "lt-t9": (-8, 20, 4.3)}  # from where the display is seen
SIDE = 360  # pixels of a photograph, which is rendered at twice the size; three times smaller than the catalogue's
QUALITY = 52


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture to be made.

    Attributes:
        kind: an intent's screen ("track_order"), the same seen in other apps than the shop's ("elsewhere track_order"),
            or a photo ("display", "parcel", "swollen", "product").
        language: of a screen; None: a photo speaks none.
    """

    name: str
    kind: str
    language: str | None
    seed: int


def make(shots: Iterable[Shot], folder: Path) -> None:
    """Draw those that are not there yet, as NAME.webp."""
    wanted = [shot for shot in shots if not (folder / f"{shot.name}.webp").is_file()]
    if not wanted:
        return
    folder.mkdir(parents=True, exist_ok=True)
    make_demo_media.SIDE = SIDE
    with browser() as page:
        for shot in sorted(wanted, key=lambda shot: shot.kind in PHOTOS):
            picture = photo(page, shot) if shot.kind in PHOTOS else screen(page, shot)
            fresh = folder / f".{shot.name}.webp"
            picture.save(fresh, format="WEBP", quality=QUALITY, method=6)
            os.replace(fresh, folder / f"{shot.name}.webp")


@contextmanager
def browser() -> Iterator[Page]:
    """A page of the size of a phone."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=FLAGS
        )
        page = browser.new_context(device_scale_factor=1.5, viewport={"width": 390, "height": 844}).new_page()
        page.set_default_timeout(300_000)
        yield page
        browser.close()


# Photographs --------------------------------------------------------------------------------------------------------


def photo(page: Page, shot: Shot) -> Image.Image:
    """What a phone sees of a device's display, a crushed parcel, a swollen battery, or a product."""
    random = Random(f"photo {shot.name} {shot.seed}")
    if not page.url.endswith("render.html"):
        page.goto((make_demo_media.SCENES / "render.html").as_uri())
    product, display, view = PHOTOS[shot.kind](random)
    azimuth, elevation, distance = view
    picture = make_demo_media.render(
        page,
        product,
        view=(
            azimuth + random.uniform(-16, 16),
            elevation + random.uniform(-6, 9),
            distance * random.uniform(0.94, 1.12),
        ),
        background=random.randint(1, 4),
        light=(random.uniform(-0.7, 0.7), random.uniform(0.6, 0.95), random.uniform(0.25, 0.6)),
        display=display,
        seed=random.randint(0, 40),
    )
    return snapshot(
        picture, seed=random.randint(0, 10**6), warmth=random.uniform(-0.06, 0.12), exposure=random.uniform(0.75, 1.05),
        noise=random.uniform(2, 7), tilt=random.uniform(-0.06, 0.06), crop=random.uniform(0.02, 0.07),
    ).resize((448, 448), Image.Resampling.LANCZOS)  # fmt: skip


def _display(random: Random) -> tuple[str, str, tuple[float, float, float]]:
    product = random.choice(list(CODES))
    return product, random.choice(CODES[product]), DISPLAYS[product]


def _product(random: Random) -> tuple[str, str, tuple[float, float, float]]:
    product = random.choice(list(PRODUCTS))
    return product, make_demo_media.DISPLAY.get(product, ""), random.choice(make_demo_media.VIEWS[product])


PHOTOS: dict[str, Callable[[Random], tuple[str, str, tuple[float, float, float]]]] = {
    "display": _display,
    "product": _product,
    "parcel": lambda random: ("parcel", "", (random.uniform(-30, 30), 24, 4.3)),
    "swollen": lambda random: ("swollen", "", (random.uniform(-35, 35), 16, 3.6)),
}

# Screens ------------------------------------------------------------------------------------------------------------


def screen(page: Page, shot: Shot) -> Image.Image:
    """A phone's screen as its owner would send it."""
    random = Random(f"screen {shot.name} {shot.seed}")
    page.set_content(_html(shot, random))
    page.evaluate("document.fonts.ready")
    return Image.open(io.BytesIO(page.screenshot(type="png"))).convert("RGB")


DARK = """<style>
html, body, .status, header, .card { background: #14181c; color: #e8edf0; }
html { --bar: #14181c; --ink: #e8edf0; } .row b, .goods b { color: #e8edf0; } .card { background: #20262b; }
header { border-color: #2b3238; } .goods img { border-color: #2b3238; }
</style>"""


def _html(shot: Shot, random: Random) -> str:
    zh = shot.language == "zh"
    header, body = SCREENS_OF[shot.kind.removeprefix(ELSEWHERE)](_Words(zh, random))
    if shot.kind.startswith(ELSEWHERE):
        return _elsewhere(header, body, shot, random)
    accent = random.choice(("#0c7285", "#0c7285", "#b0472a", "#31508f"))
    style = f"<style>{(SCREENS / 'phone.css').read_text()} .button {{ background: {accent}; }}</style>"
    clock = f"{random.randint(0, 23):02}:{random.randint(0, 59):02}"
    bars = "".join(f'<i style="height: {height}px"></i>' for height in (4, 7, 10, 12))
    status = (
        f'<div class="status" style="--charge: {random.randint(8, 98)}%"><span>{clock}</span><span class="icons">'
        f'<span class="bars">{bars}</span><span>{random.choice(("5G", "4G", "WiFi"))}</span>'
        f'<span class="battery"><i></i></span></span></div>'
    )
    return (
        f'<!doctype html><html lang="{shot.language}"><meta charset="utf-8">{style}'
        f"{DARK if random.random() < 0.25 else ''}{status}<header>{header}</header><main>{body}</main></html>"
    )


ELSEWHERE = "elsewhere "
TAG = re.compile(r"<[^>]+>")
LOOKS = {
    "mail": """
body { background: #fff; color: #222; } h1 { font-size: 24px; font-weight: 600; padding: 70px 18px 12px; }
main { padding: 4px 18px; } main::before { content: ""; display: block; width: 40px; height: 40px; margin: 0 0 14px;
border-radius: 50%; background: HUE; } p { padding: 5px 0; font-size: 16px; }""",
    "lock": """
body { background: linear-gradient(160deg, HUE, #1d2233); color: #fff; } h1 { font-size: 15px; padding: 14px 16px 0; }
body::before { content: "CLOCK"; display: block; padding: 110px 0 90px; text-align: center; font-size: 76px; }
article { margin: 0 12px; padding-bottom: 14px; border-radius: 22px; background: #ffffff38; }
p { padding: 3px 16px; font-size: 15px; }""",
    "web": """
body { background: #fff; color: #111; } body::before { content: "shop-order-help.example"; display: block; margin: 50px
12px 0; padding: 9px; border-radius: 9px; background: #e9e9ee; text-align: center; font-size: 14px; }
h1 { margin-top: 14px; padding: 16px; background: HUE; color: #fff; font-size: 19px; }
main { margin: 14px; border: 1px solid #bbb; } p { padding: 9px 12px; font-size: 14px; }
p:nth-child(even) { background: #f3f3f3; }""",
    "paper": """
body { background: repeating-linear-gradient(87deg, #8a6a48, #99795a 9px, #836344 17px); }
article { margin: 120px 40px 0; padding: 26px 22px; transform: rotate(TILTdeg); background: #faf8f1; color: #333;
box-shadow: 4px 9px 22px #0008; } h1 { font-size: 19px; text-align: center; padding-bottom: 14px; }
p { font: 14px/1.7 "Noto Sans Mono CJK SC", monospace; border-bottom: 1px dashed #999; }""",
}
"""Where customers see the shop's words outside its app: what it says is the same, how it looks tells nothing."""


def _elsewhere(header: str, body: str, shot: Shot, random: Random) -> str:
    """The lines of a screen as an e-mail, a notification, a web page, a printed slip, in the order they stand in."""
    look = LOOKS[random.choice(list(LOOKS))]
    look = look.replace("HUE", f"hsl({random.randint(0, 359)} 45% 42%)").replace("TILT", f"{random.uniform(-5, 5):.1f}")
    look = look.replace("CLOCK", f"{random.randint(0, 23):02}:{random.randint(0, 59):02}")
    rows = [row.strip() for row in TAG.sub("\n", body).splitlines() if row.strip()]
    lines = "".join(f"<p>{row}</p>" for row in rows[: random.randint(4, 9)])
    return (
        f'<!doctype html><html lang="{shot.language}"><meta charset="utf-8"><style>* {{ box-sizing: border-box; '
        f'margin: 0; }} body {{ height: 844px; font-family: "Noto Sans CJK SC", sans-serif; }}{look}</style>'
        f"<article><h1>{header}</h1><main>{lines}</main></article></html>"
    )


class _Words:
    """What a screen is filled with, in its language."""

    def __init__(self, zh: bool, random: Random) -> None:
        self.zh, self.random = zh, random
        self.product = random.choice(list(PRODUCTS))

    def __call__(self, zh: str, en: str) -> str:
        return zh if self.zh else en

    def any(self, zh: list[str], en: list[str]) -> str:
        return self.random.choice(zh if self.zh else en)

    @property
    def name(self) -> str:
        return PRODUCTS[self.product][0 if self.zh else 1]

    def number(self, digits: int) -> str:
        return str(self.random.randint(10 ** (digits - 1), 10**digits - 1))

    @property
    def order(self) -> str:
        return f"LT202611{self.number(6)}"

    @property
    def money(self) -> str:
        return f"¥{self.random.choice((99, 129, 199, 249, 299, 399, 499, 599, 899, 1299, 1899, 2499))}.00"

    @property
    def day(self) -> str:
        return f"11-{self.random.randint(10, 27)} {self.random.randint(8, 22):02}:{self.random.randint(10, 59)}"

    def row(self, name: str, value: str) -> str:
        return f'<div class="row"><span class="muted">{name}</span><b>{value}</b></div>'

    def goods(self, below: str) -> str:
        return (
            f'<div class="goods"><img src="{_thumbnail(self.product)}" alt=""><div><b>{self.name}</b>'
            f'<p class="muted">{below}</p></div></div>'
        )

    def card(self, *inside: str, centre: bool = False) -> str:
        return f'<div class="card{" centre" if centre else ""}">{"".join(inside)}</div>'

    def alarm(self, title: str, below: str, code: str = "") -> str:
        cross = '<div class="badge"><svg viewBox="0 0 40 40"><path d="M11 11l18 18M29 11L11 29"/></svg></div>'
        tag = f'<span class="code">{code}</span>' if code else ""
        return self.card(cross, f'<p class="big">{title}</p><p class="muted">{below}</p>', tag, centre=True)

    def button(self, text: str, plain: bool = False) -> str:
        return f'<a class="button{" plain" if plain else ""}">{text}</a>'

    def steps(self, *steps: str) -> str:
        return f'<ol class="steps">{"".join(f"<li>{step}<time>{self.day}</time></li>" for step in steps)}</ol>'


_thumbnails: dict[str, str] = {}


def _thumbnail(product: str) -> str:
    if product not in _thumbnails:
        with Image.open(MEDIA / "products" / f"{product}.jpg") as picture:
            small = io.BytesIO()
            picture.convert("RGB").resize((152, 152)).save(small, format="JPEG", quality=80)
        _thumbnails[product] = "data:image/jpeg;base64," + base64.b64encode(small.getvalue()).decode()
    return _thumbnails[product]


def _payment(w: _Words) -> tuple[str, str]:
    reason = w.any(
        ["余额不足或超过单日限额", "银行卡不支持此交易", "网络超时，请重新支付", "发卡行拒绝"],
        ["Declined by your bank", "Daily limit exceeded", "The bank did not answer in time", "Card not supported"],
    )
    body = w.alarm(
        w.any(["付款失败", "支付未成功"], ["Payment failed", "Payment unsuccessful"]), reason, f"PAY-{w.number(3)}"
    )
    body += w.card(w.goods("× 1"), w.row(w("应付", "To pay"), w.money), w.row(w("订单号", "Order"), w.order))
    return w("收银台", "Checkout"), body + w.button(w("更换支付方式", "Pay another way"))


def _tracking(w: _Words) -> tuple[str, str]:
    cities = w.any(["武汉", "郑州", "杭州", "长沙"], ["Wuhan", "Zhengzhou", "Hangzhou", "Changsha"])
    state = w.any(
        ["运输中", "派送中", "已签收", "物流停滞"], ["In transit", "Out for delivery", "Delivered", "No new scan"]
    )
    steps = w.steps(
        w(f"已到达 {cities}转运中心", f"Arrived at {cities} hub"),
        w(f"离开苏州仓，发往 {cities}", f"Left Suzhou for {cities}"),
        w("快递已揽收", "Picked up by the courier"), w("仓库已发货", "Handed over by the warehouse"),
    )  # fmt: skip
    body = w.card(w.goods(w(f"快递单号 SX{w.number(10)}", f"Tracking SX{w.number(10)}")))
    body += w.card(f'<p class="big" style="margin-top: 0">{state}</p>', steps)
    return w("物流详情", "Tracking"), body + w.button(w("联系快递员", "Call the courier"), plain=True)


def _bank(w: _Words) -> tuple[str, str]:
    twice, shop = w.money, w("蓝汀电器", "Lanting Electronics")
    rows = [(shop, twice), (shop, twice)]
    others = w.random.sample(
        [(w("便利店", "Corner shop"), "¥23.50"), (w("地铁", "Metro"), "¥4.00"), (w("超市", "Supermarket"), "¥187.20"),
         (w("咖啡", "Coffee"), "¥28.00"), (w("话费充值", "Phone top-up"), "¥50.00")], 3
    )  # fmt: skip
    at = w.random.randint(0, 2)
    rows = others[:at] + rows + others[at:]
    lines = "".join(w.row(f"{name}<br>{w.day}", f"-{money}") for name, money in rows)
    header = w.any(["交易明细", "账单", "信用卡账单"], ["Transactions", "Card statement", "Recent payments"])
    return header, w.card(w.row(w("本月支出", "Spent this month"), f"¥{w.number(4)}.70")) + w.card(lines)


def _wifi(w: _Words) -> tuple[str, str]:
    code = f"E1{w.random.randint(0, 4)}"
    why = w.any(
        ["设备未能连接到网络", "连接超时", "密码错误或信号弱", "找不到网络"],
        ["The device could not join the network", "Timed out", "Wrong password or weak signal", "Network not found"],
    )
    body = w.alarm(
        w.any(["配网失败", "设备联网失败"], ["Wi-Fi set-up failed", "Could not connect"]),
        f"{w.name}<br>{why}",
        w(f"错误码 {code}", f"Error {code}"),
    )
    network = w.random.choice(("Home-5G", "TP-LINK_8C21", "ChinaNet-x7", "HUAWEI-AP", "office"))
    body += w.card(
        w.row(w("所选网络", "Network"), network), w.row(w("频段", "Band"), w.random.choice(("5 GHz", "2.4 GHz")))
    )
    return w("添加设备", "Add a device"), body + w.button(w("重试", "Try again"))


def _coupon(w: _Words) -> tuple[str, str]:
    why = w.any(
        ["不适用于该商品", "未到使用时间", "已过期", "未满使用门槛"],
        ["Not valid for this item", "Not valid yet", "Expired", "Minimum spend not reached"],
    )
    off = w.random.choice((20, 30, 50, 100))
    body = w.card(
        f'<p class="big">{w(f"满 {off * 8} 减 {off}", f"¥{off} off ¥{off * 8}")}</p><span class="code">{why}</span>'
    )
    body += w.card(
        w.goods(w("不可用原因：", "Why not: ") + why),
        w.row(w("商品金额", "Items"), w.money),
        w.row(w("优惠", "Discount"), "-¥0.00"),
    )
    return w("选择优惠券", "Coupons"), body + w.button(w("不使用优惠券", "Go on without a coupon"), plain=True)


def _login(w: _Words) -> tuple[str, str]:
    title = w.any(["登录失败", "账号已锁定", "验证码错误"], ["Sign-in failed", "Account locked", "Wrong code"])
    why = w.any(
        ["密码错误次数过多，请 24 小时后再试", "验证码已失效，请重新获取", "账号存在异常，请验证身份"],
        [
            "Too many wrong passwords. Try again in 24 hours",
            "The code has expired",
            "Unusual activity: verify your identity",
        ],
    )
    body = w.alarm(title, why) + w.card(
        w.row(w("手机号", "Phone"), f"138****{w.number(4)}"), w.row(w("验证码", "Code"), "••••••")
    )
    return w("账号登录", "Sign in"), body + w.button(w("找回密码", "Forgotten password"))


def _refund(w: _Words) -> tuple[str, str]:
    state = w.any(
        ["退款处理中", "等待仓库验收", "退款已原路退回"],
        ["Refund in progress", "Waiting for inspection", "Refunded to your card"],
    )
    body = w.card(f'<p class="big" style="margin-top: 0">{state}</p><p class="price">{w.money}</p>')
    body += w.card(
        w.goods(w("退货退款", "Return and refund")),
        w.row(w("退款编号", "Refund no."), f"RF{w.number(9)}"),
        w.row(w("退回", "To"), w("信用卡", "Credit card")),
    )
    steps = w.steps(
        w("银行处理中", "With the bank"), w("仓库已收到退货", "Return received"), w("申请已通过", "Request approved")
    )
    return w("退款详情", "Refund"), body + w.card(steps)


def _price(w: _Words) -> tuple[str, str]:
    off = w.random.choice((40, 60, 100, 150))
    body = w.card(
        w.goods(w("限时直降", "Price drop")),
        f'<p class="price">¥{w.number(3)}</p><span class="code">{w(f"已降 {off} 元", f"¥{off} cheaper")}</span>',
    )
    body += w.card(
        f"<b>{w('我的订单', 'My order')}</b>",
        w.row(w("成交价", "Paid"), w.money),
        w.row(w("下单时间", "Ordered"), w.day),
    )
    return w("商品详情", "Product"), body + w.button(w("立即购买", "Buy now"))


def _invoice(w: _Words) -> tuple[str, str]:
    state = w.any(["开票失败", "开票中", "抬头审核未通过"], ["Invoice not issued", "Being issued", "Title rejected"])
    body = w.card(
        f'<p class="big">{state}</p>',
        w.row(w("发票类型", "Type"), w("电子普通发票", "E-invoice")),
        w.row(w("发票抬头", "Title"), w("个人", "Personal")),
        w.row(w("税号", "Tax no."), "—"),
        w.row(w("金额", "Amount"), w.money),
    )
    return w("发票详情", "Invoice"), body + w.button(w("申请换开", "Change the invoice"))


def _order(w: _Words) -> tuple[str, str]:
    state = w.any(["待发货", "等待仓库发货", "预售：付尾款后发货"], ["To be shipped", "Being packed", "Pre-order"])
    when = w(f"预计 11月{w.random.randint(24, 30)}日送达", f"Expected on {w.random.randint(24, 30)} November")
    body = w.card(f'<p class="big" style="margin-top: 0">{state}</p><p class="muted">{when}</p>') + w.card(
        w.goods("× 1"),
        w.row(w("订单号", "Order"), w.order),
        w.row(w("实付", "Paid"), w.money),
        w.row(w("下单时间", "Ordered"), w.day),
    )
    return w("订单详情", "Order"), body + w.button(w("提醒发货", "Remind the warehouse"), plain=True)


def _cancel(w: _Words) -> tuple[str, str]:
    note = w.any(
        ["订单已出库，暂不能取消", "取消申请审核中", "取消失败，请联系客服"],
        ["Already packed: cannot be cancelled", "Cancellation under review", "Could not cancel; contact us"],
    )
    body = w.alarm(w("取消订单", "Cancel order"), note) + w.card(
        w.goods("× 1"),
        w.row(w("订单号", "Order"), w.order),
        w.row(w("取消原因", "Reason"), w("不想要了", "Changed my mind")),
    )
    return w("取消订单", "Cancel order"), body + w.button(w("再试一次", "Try again"))


def _address(w: _Words) -> tuple[str, str]:
    where = w.any(
        ["南京市鼓楼区中山北路 32 号", "成都市武侯区人民南路 118 号", "佛山市南海区桂城街道 6 栋"],
        ["32 Zhongshan North Road, Nanjing", "118 Renmin South Road, Chengdu", "Block 6, Guicheng, Foshan"],
    )
    note = w.any(
        ["已发货的订单不能修改地址", "请核对收货信息"], ["Shipped orders cannot be changed", "Please check the address"]
    )
    body = w.card(
        f"<b>{w('收货地址', 'Delivery address')}</b>",
        w.row(w("收件人", "Name"), w("李**", "L**")),
        w.row(w("电话", "Phone"), f"139****{w.number(4)}"),
        w.row(w("地址", "Address"), where),
    )
    return w("修改地址", "Edit address"), body + f'<p class="muted">{note}</p>' + w.button(w("保存", "Save"))


def _bluetooth(w: _Words) -> tuple[str, str]:
    name = w.random.choice(("LT-H3", "LT-S2", "LT-C4"))
    others = w.random.sample(["Mi Band 7", "CAR-BT", "JBL Go", "AirPods", "HUAWEI FreeBuds"], 3)
    wrong = w.any(["配对失败", "无法连接", "配对被拒绝"], ["Pairing failed", "Could not connect", "Pairing rejected"])
    rows = "".join(w.row(other, w("未连接", "Not connected")) for other in others)
    body = w.card(w.row(w("蓝牙", "Bluetooth"), w("开", "On"))) + w.card(
        w.row(name, f'<span style="color: #c33">{wrong}</span>'), rows
    )
    text = w("请确认设备已打开并在附近", "Make sure it is switched on and near")
    return w("蓝牙", "Bluetooth"), body + w.card(f"<b>{name}</b>", f'<p class="muted">{wrong}。{text}</p>')


def _fault(w: _Words) -> tuple[str, str]:
    w.product = w.random.choice(list(CODES))
    code = w.random.choice(CODES[w.product])
    why = w.any(
        ["设备已停止工作", "请检查后重启设备", "故障未解除"],
        ["The device has stopped", "Check it and restart", "Fault not cleared"],
    )
    body = w.alarm(w("设备故障", "Device fault"), f"{w.name}<br>{why}", w(f"故障码 {code}", f"Fault {code}"))
    body += w.card(w.row(w("发生时间", "Time"), w.day), w.row(w("固件", "Firmware"), f"1.{w.number(1)}.{w.number(2)}"))
    return w("我的设备", "My devices"), body + w.button(w("查看处理方法", "What to do"), plain=True)


SCREENS_OF: dict[str, Callable[[_Words], tuple[str, str]]] = {
    "payment_failed": _payment,
    "track_order": _tracking,
    "double_charge": _bank,
    "wifi_setup": _wifi,
    "coupon": _coupon,
    "account_access": _login,
    "refund_status": _refund,
    "price_protection": _price,
    "invoice": _invoice,
    "delivery_time": _order,
    "cancel_order": _cancel,
    "change_address": _address,
    "pairing": _bluetooth,
    "error_code": _fault,
}
"""By the intent it belongs to. Text in it is what a customer would see, never the intent's name."""
