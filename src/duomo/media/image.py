"""Pictures: foreign bytes to a small, plain JPEG or PNG; and those to arrays."""

from __future__ import annotations

import io
import struct

import numpy as np
import numpy.typing as npt
import pillow_heif
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from duomo.errors import MediaError, TooLarge
from duomo.media.sandbox import Reply

Image.init()  # Pillow would import its readers at the first picture: in each child of the sandbox again
pillow_heif.register_heif_opener(thumbnails=False)
pillow_heif.options.DECODE_THREADS = 1  # the sandbox gives each child one core and little address space

FEW_COLOURS = 4096
"""Drawings and screens have at most so many; PNG keeps their text sharp and is often smaller."""

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "HEIF")
_SRGB = ImageCms.createProfile("sRGB")


def clean(data: bytes, *, max_pixels: int, max_side: int) -> Reply:
    """Re-encode a foreign picture: first frame, upright, sRGB, 8 bit, no metadata. For the sandbox only.

    Returns:
        {mime, extension, width, height} and the bytes. PNG when it has transparency, or few colours and is smaller
        so; JPEG of quality 88 otherwise.
    Raises:
        TooLarge: more than max_pixels, by its header.
        MediaError: not a picture, or damaged.
    """
    upright, profile = _upright(data, max_pixels=max_pixels, max_side=max_side)
    return _encode(_srgb(upright, profile))


def read(data: bytes, *, max_pixels: int = 40_000_000, max_side: int = 1024) -> npt.NDArray[np.uint8]:
    """Decode one's own picture, of any accepted format, in this process; a stranger's goes through `sanitise`.

    The limits of `clean` hold, its child process does not: training reads many small files of the user's own, and
    5 ms for each would double the time.

    Returns:
        (height, width, 3) uint8 RGB, upright, its longer side at most `max_side`; transparent pixels lie on white.
    Raises:
        TooLarge: more than max_pixels, by its header.
        MediaError: not a picture, or damaged.
    """
    try:
        upright, profile = _upright(data, max_pixels=max_pixels, max_side=max_side)
        return np.asarray(_on_white(_srgb(upright, profile)))
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, IndexError, KeyError, TypeError) as error:
        # Pillow's readers raise all of these on damaged files
        raise MediaError(f"the picture is damaged ({error}); save it again as JPEG or PNG", code="broken") from None


def _upright(data: bytes, *, max_pixels: int, max_side: int) -> tuple[Image.Image, bytes | None]:
    """The first frame, small enough, and its colour profile."""
    Image.MAX_IMAGE_PIXELS = None  # ours below, which has no silent range between warning and error
    try:
        source = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        raise MediaError("the picture is damaged; send it as JPEG or PNG", code="broken") from None
    width, height = source.size
    if width * height > max_pixels:
        raise TooLarge(
            f"the picture has {width} x {height} pixels, accepted are {max_pixels // 1_000_000} megapixels; "
            "send a smaller one"
        )
    if source.format == "JPEG":
        source.draft("RGB", (max_side, max_side))  # decodes at 1/2, 1/4 or 1/8: less memory, and faster
    upright = ImageOps.exif_transpose(_small(_eight_bit(source), max_side))
    return upright, source.info.get("icc_profile")


def _eight_bit(source: Image.Image) -> Image.Image:
    """L, RGB, RGBA or CMYK. 16-bit grey needs care: Pillow's own conversion cuts it off at 255."""
    source.load()
    if source.mode.startswith("I"):
        grey = np.asarray(source).astype(np.int64)
        scaled = (grey >> 8 if grey.max(initial=0) > 255 else grey).clip(0, 255)
        return _with_exif(Image.fromarray(scaled.astype(np.uint8)), source)
    if source.mode in ("LA", "PA", "La", "RGBa") or "transparency" in source.info:
        return _with_exif(source.convert("RGBA"), source)
    if source.mode in ("L", "RGB", "RGBA", "CMYK"):
        return source
    return _with_exif(source.convert("L" if source.mode == "1" else "RGB"), source)


def _with_exif(image: Image.Image, source: Image.Image) -> Image.Image:
    image.info = {"exif": source.getexif().tobytes()} if source.getexif() else {}
    return image


def _small(image: Image.Image, max_side: int) -> Image.Image:
    if max(image.size) > max_side:
        image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return image


def _srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile and image.mode in ("RGB", "CMYK", "L"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, _SRGB, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            return image.convert("RGB")  # a wrong profile costs colour accuracy, not the picture
        if converted is not None:
            return converted
    if image.mode == "RGBA":
        (low, _) = image.getchannel("A").getextrema()
        return image if isinstance(low, (int, float)) and low < 255 else image.convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _encode(image: Image.Image) -> Reply:
    header = {"width": image.width, "height": image.height}
    png = {"mime": "image/png", "extension": "png"} | header
    jpeg = {"mime": "image/jpeg", "extension": "jpg"} | header
    if image.mode == "RGBA":
        return png, [_saved(image, "PNG")]
    as_jpeg = _saved(image, "JPEG")
    if image.getcolors(FEW_COLOURS) is not None:
        as_png = _saved(image, "PNG")
        if len(as_png) <= len(as_jpeg):
            return png, [as_png]
    return jpeg, [as_jpeg]


def _saved(image: Image.Image, form: str) -> bytes:
    image.info = {}  # Pillow writes some of it back: comments, profiles, resolution
    out = io.BytesIO()
    if form == "JPEG":
        image.save(out, "JPEG", quality=88)
    else:
        image.save(out, "PNG", compress_level=3)  # half the time of 6 for a quarter more bytes
    return out.getvalue()


# --- over clean bytes, in any process


def decode(data: bytes) -> npt.NDArray[np.uint8]:
    """Decode a picture that `clean` made.

    Returns:
        (height, width, 3) uint8 RGB; transparent pixels lie on white.
    Raises:
        MediaError: not a JPEG or PNG, or damaged.
    """
    return np.asarray(_opaque(data))


def thumbnail(data: bytes, *, max_side: int = 320) -> bytes:
    """A JPEG of a clean picture, its longer side at most `max_side` pixels."""
    return _saved(_small(_opaque(data), max_side), "JPEG")


def encode(pixels: npt.NDArray[np.uint8]) -> bytes:
    """(height, width, 3) uint8 RGB to PNG or JPEG, by the rule of `clean`."""
    return _encode(Image.fromarray(pixels))[1][0]


def _opaque(data: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
        image.load()
    except (OSError, ValueError, SyntaxError) as error:
        raise MediaError(f"not a picture Duomo stored: {error}. Give it to `sanitise` first.", code="broken") from None
    return _on_white(image)


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "RGBA":
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        return white
    return image.convert("RGB")
