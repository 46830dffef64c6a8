"""Photograph the products of the demo shop, and draw the screens its customers send.

    python scripts/make_demo_media.py [products|photos|screens|documents|real|all] [--only lt-h3]

Products are signed-distance scenes (scripts/demo_scenes/*.glsl) lit by one soft box and rendered by headless Chromium's
software WebGL, so that a product can be photographed from any side: the catalogue picture on a studio sweep, and
"customer" photos on a table, askew, darker, noisy. Screens and documents are HTML. `real` copies the few photographs
taken by people from `--data`. Needs the `dev` extra and a Chromium (`CHROMIUM`, default /usr/bin/chromium) with a CJK
font.

The sphere tracing, soft shadow and ambient occlusion follow Inigo Quilez,
iquilezles.org/articles (rmshadows, distfunctions).
"""

from __future__ import annotations

import argparse
import base64
import io
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter
from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).parent
SCENES = HERE / "demo_scenes"
SCREENS = HERE / "demo_screens"
MEDIA = HERE.parent / "src/duomo/scenarios/customer_service/media"
SIDE = 800  # pixels, of every product picture

PRODUCTS = ["lt-h3", "lt-s2", "lt-v8", "lt-a5", "lt-r6", "lt-e7", "lt-k1", "lt-p20", "lt-c4", "lt-t9"]
STUDIO, WOOD, CLOTH, TILES, DARK = range(5)  # backgrounds of scene.glsl

# What a product's displays say in the catalogue; a fault shows another text.
DISPLAY = {"lt-t9": "80", "lt-a5": "12", "lt-v8": "100", "lt-k1": "", "lt-c4": "4K60", "lt-s2": "", "lt-r6": ""}

# per product: catalogue camera (azimuth and elevation in degrees, distance), then two customer views
VIEWS = {
    "lt-h3": [(28, 12, 5.0), (-35, 20, 4.9), (62, 30, 5.2)],
    "lt-s2": [(20, 22, 3.7), (-30, 35, 4.4), (70, 14, 4.2)],
    "lt-v8": [(24, 32, 5.0), (-50, 48, 5.2), (75, 25, 5.0)],
    "lt-a5": [(28, 14, 5.2), (-24, 24, 5.4), (48, 10, 5.6)],
    "lt-r6": [(26, 16, 3.9), (-38, 26, 4.6), (55, 10, 4.4)],
    "lt-e7": [(16, 22, 4.4), (-28, 40, 4.6), (35, 48, 4.8)],
    "lt-k1": [(30, 10, 4.5), (-26, 18, 5.0), (12, 6, 4.8)],
    "lt-p20": [(32, 24, 3.9), (-40, 40, 3.8), (60, 30, 3.9)],
    "lt-c4": [(26, 16, 4.2), (-32, 28, 3.9), (48, 10, 3.8)],
    "lt-t9": [(18, 16, 4.5), (-40, 26, 4.6), (150, 22, 4.8)],
}
CUSTOMER = [  # background, where the light comes from, what the phone makes of it
    (WOOD, (0.5, 0.8, 0.35), {"warmth": 0.10, "exposure": 0.92, "noise": 5.0, "tilt": 0.05, "crop": 0.06}),
    (CLOTH, (-0.7, 0.6, 0.3), {"warmth": -0.05, "exposure": 0.78, "noise": 9.0, "tilt": -0.08, "crop": 0.10}),
]
# a fault seen on a device: file, product, display text, view, background
FAULTS = [
    ("v8-display-e05", "lt-v8", "E05", (8, 58, 3.4), WOOD),
    ("a5-display-f3", "lt-a5", "F3", (10, 16, 3.4), CLOTH),
    ("t9-display-e2", "lt-t9", "E2", (-4, 16, 4.4), TILES),
    ("customer-v8-e22", "lt-v8", "E22", (-14, 52, 3.2), TILES),
    ("customer-t9-e3", "lt-t9", "E3", (-12, 24, 4.2), WOOD),
    ("customer-a5-f2", "lt-a5", "F2", (-12, 22, 3.2), WOOD),
]
REAL = {  # taken by people, CC0: see media/SOURCE.md
    "real-coffee": "images/misc/coffee.png",
    "real-shoes": "images/products/train/shoes/00f6e504-7c27-438e-a5d7-bc65e557bb2b.jpg",
    "real-t-shirt": "images/products/train/t-shirt/01d1fed7-996d-496b-b3ae-73ab724f29cc.jpg",
}
FLAGS = [
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--force-color-profile=srgb",
]


def render(
    page: Page,
    product: str,
    *,
    view: tuple[float, float, float],
    background: int,
    light: tuple[float, float, float],
    display: str,
    seed: int = 0,
) -> Image.Image:
    """One photo of a product, SIDE x SIDE, antialiased by rendering at twice the size."""
    source = (SCENES / "scene.glsl").read_text().replace("// PRODUCT", (SCENES / f"{product}.glsl").read_text())
    url = page.evaluate(
        "options => renderScene(options)",
        {
            "source": source,
            "side": 2 * SIDE,
            "azimuth": view[0],
            "elevation": view[1],
            "distance": view[2],
            "background": background,
            "light": light,
            "display": display,
            "seed": seed,
        },
    )
    picture = Image.open(io.BytesIO(base64.b64decode(url.split(",", 1)[1]))).convert("RGB")
    return picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def snapshot(
    picture: Image.Image, *, warmth: float, exposure: float, noise: float, tilt: float, crop: float, seed: int
) -> Image.Image:
    """What a hand-held phone makes of the same scene: perspective, colour cast, exposure, blur, grain, framing."""
    random = np.random.default_rng(seed)
    side, shift = picture.width, tilt * picture.width
    corners = [(0, 0), (0, side), (side, side), (side, 0)]
    moved = [
        (
            x + abs(shift) * random.uniform(-0.2, 0.5) * (1 if x == 0 else -1) - shift * (y / side - 0.5),
            y + abs(shift) * random.uniform(-0.1, 0.4) * (1 if y == 0 else -1) + shift * (x / side - 0.5),
        )
        for x, y in corners
    ]
    coordinates = np.array([v for x, y in moved for v in (x, y)])
    picture = picture.transform(picture.size, Image.Transform.QUAD, tuple(coordinates), Image.Resampling.BICUBIC)
    edge = int(crop * side)
    left, top = (int(random.integers(edge // 3, edge + 1)) for _ in range(2))
    picture = picture.crop((left, top, side - (edge - left // 2), side - (edge - top // 2)))
    picture = picture.resize((720, 720), Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(0.7))
    picture = ImageEnhance.Brightness(picture).enhance(exposure)
    pixels = np.asarray(picture, dtype=np.float32) * np.array([1 + warmth, 1, 1 - warmth], dtype=np.float32)
    grain = random.normal(0, noise, pixels.shape[:2])[..., None] + random.normal(0, noise / 2, pixels.shape)
    return Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))


def save(picture: Image.Image, name: str, *, quality: int) -> None:
    path = MEDIA / name
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, quality=quality, optimize=True)
    print(name, f"{path.stat().st_size / 1024:.0f} KB", flush=True)


def products(page: Page, only: str | None) -> None:
    for product in [p for p in PRODUCTS if only in (None, p)]:
        picture = render(
            page,
            product,
            view=VIEWS[product][0],
            background=STUDIO,
            light=(0.45, 0.85, 0.55),
            display=DISPLAY.get(product, ""),
        )
        save(picture, f"products/{product}.jpg", quality=88)


def photos(page: Page, only: str | None) -> None:
    for index, product in enumerate(PRODUCTS):
        for number, (background, light, look) in enumerate(CUSTOMER, start=1):
            if only not in (None, product):
                continue
            seed = 10 * index + number
            picture = render(
                page,
                product,
                view=VIEWS[product][number],
                background=background,
                light=light,
                display=DISPLAY.get(product, ""),
                seed=seed,
            )
            save(snapshot(picture, seed=seed, **look), f"photos/customer-{product}-{number}.jpg", quality=80)
    for seed, (name, product, text, view, background) in enumerate(FAULTS, start=500):
        if only not in (None, product):
            continue
        picture = render(
            page, product, view=view, background=background, light=(-0.4, 0.9, 0.4), display=text, seed=seed
        )
        picture = snapshot(picture, warmth=0.04, exposure=0.95, noise=4.0, tilt=0.04, crop=0.04, seed=seed)
        save(picture, f"photos/{name}.jpg", quality=84)


def screens(page: Page, only: str | None) -> None:
    for document in sorted(SCREENS.glob("*.html")):
        if only not in (None, document.stem):
            continue
        page.set_viewport_size({"width": 390, "height": 844})
        page.goto(document.as_uri())
        page.evaluate("document.fonts.ready")
        picture = Image.open(io.BytesIO(page.screenshot(type="png"))).convert("RGB")
        path = MEDIA / "screens" / f"{document.stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
        print(f"screens/{document.stem}.png", f"{path.stat().st_size / 1024:.0f} KB", flush=True)


def documents(page: Page, only: str | None) -> None:
    for document in sorted((HERE / "demo_documents").glob("*.html")):
        if only in (None, document.stem):
            path = MEDIA / "documents" / f"{document.stem}.pdf"
            path.parent.mkdir(parents=True, exist_ok=True)
            page.goto(document.as_uri())
            page.pdf(path=path, format="A5", margin=dict.fromkeys(("top", "bottom", "left", "right"), "14mm"))
            print(f"documents/{path.name}", f"{path.stat().st_size / 1024:.0f} KB", flush=True)


def real(data: Path) -> None:
    for name, source in REAL.items():
        with Image.open(data / source) as picture:
            save(picture.convert("RGB"), f"photos/{name}.jpg", quality=88)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "what", nargs="?", default="all", choices=["products", "photos", "screens", "documents", "real", "all"]
    )
    parser.add_argument("--only", help="one product (lt-h3) or one screen (pairing-e12-zh)")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="where `real` copies from")
    arguments = parser.parse_args()
    if arguments.what in ("real", "all"):
        real(arguments.data)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=FLAGS
        )
        context = browser.new_context(device_scale_factor=2)
        page = context.new_page()
        page.set_default_timeout(300_000)
        if arguments.what in ("products", "photos", "all"):
            page.goto((SCENES / "render.html").as_uri())
        if arguments.what in ("products", "all"):
            products(page, arguments.only)
        if arguments.what in ("photos", "all"):
            photos(page, arguments.only)
        if arguments.what in ("screens", "all"):
            screens(page, arguments.only)
        if arguments.what in ("documents", "all"):
            documents(page, arguments.only)
        browser.close()


if __name__ == "__main__":
    main()
