"""Any picture a phone or screen makes comes out as a small plain JPEG or PNG, and nothing else of it survives."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from duomo.errors import MediaError, TooLarge
from duomo.media import image
from duomo.media.sanitise import Clean, Limits, sanitise
from duomo.media.sniff import sniff
from tests.media import samples


def clean(data: bytes, **limits: int) -> Clean:
    return sanitise(data, sniff(data), limits=Limits(**limits))


def colours(made: Clean) -> tuple[list[int], list[int]]:
    """In the middle of the left and of the right half, to the nearest ten."""
    pixels = image.decode(made.data)
    height, width, _ = pixels.shape
    left, right = (pixels[height // 2, x].astype(int) for x in (width // 4, 3 * width // 4))
    return [round(c / 10) * 10 for c in left.tolist()], [round(c / 10) * 10 for c in right.tolist()]


HALVES = ([220, 20, 20], [20, 20, 220])


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(samples.saved(samples.halves(), "PNG"), id="png"),
        pytest.param(samples.saved(samples.halves(), "JPEG", quality=95), id="jpeg"),
        pytest.param(samples.saved(samples.halves(), "WEBP", quality=95), id="webp"),
        pytest.param(samples.saved(samples.halves(), "GIF"), id="gif"),
        pytest.param(samples.saved(samples.halves().quantize(4), "PNG"), id="palette"),
        pytest.param(samples.saved(samples.halves().convert("CMYK"), "JPEG", quality=95), id="cmyk jpeg"),
        pytest.param(samples.HEIC, id="heic"),
    ],
)
def test_a_picture_keeps_its_size_and_colours(data: bytes) -> None:
    made = clean(data)
    assert (made.kind, made.width, made.height, made.duration_s, made.pages) == ("image", 96, 64, None, ())
    assert sniff(made.data).mime == made.mime
    assert {"image/jpeg": "jpg", "image/png": "png"}[made.mime] == made.extension
    left, right = colours(made)
    assert np.abs(np.subtract([left, right], HALVES)).max() <= 10


def test_orientation_is_applied_and_every_word_about_place_and_maker_is_gone() -> None:
    photo = samples.phone_photo()
    assert (Image.open(io.BytesIO(photo)).size, b"SECRET-MAKER" in photo) == ((64, 96), True)
    made = clean(photo)
    assert (made.width, made.height, colours(made)) == (96, 64, HALVES)
    shown = Image.open(io.BytesIO(made.data))
    assert (dict(shown.getexif()), shown.getexif().get_ifd(0x8825)) == ({}, {})
    assert not set(shown.info) - {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert b"SECRET" not in made.data
    assert b"Exif" not in made.data


def test_png_text_and_colour_profiles_are_dropped() -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Comment", "SECRET-TEXT")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    made = clean(samples.saved(samples.halves(), "PNG", pnginfo=info, icc_profile=profile))
    assert (made.mime, Image.open(io.BytesIO(made.data)).info, colours(made)) == ("image/png", {}, HALVES)


def test_a_damaged_colour_profile_costs_no_picture() -> None:
    made = clean(samples.saved(samples.halves(), "PNG", icc_profile=b"no profile at all"))
    assert colours(made) == HALVES


def test_a_header_of_900_megapixels_is_refused_before_anything_is_decoded() -> None:
    with pytest.raises(TooLarge) as caught:
        clean(samples.png(30_000, 30_000, bytes(1000)))
    assert str(caught.value) == ("the picture has 30000 x 30000 pixels, accepted are 40 megapixels; send a smaller one")


def test_a_bomb_within_the_pixel_limit_is_decoded_within_the_memory_limit() -> None:
    """39 megapixels of nothing, 38 kB on the wire."""
    made = clean(samples.png(13_000, 3_000, bytes(13_001 * 3_000)))
    assert (made.width, made.height) == (2560, 591)


def test_a_long_side_is_scaled_down() -> None:
    made = clean(samples.saved(samples.halves(1000, 300), "PNG"), image_side=500)
    assert (made.width, made.height, colours(made)) == (500, 150, HALVES)


def test_a_palette_is_scaled_as_colours_are() -> None:
    board = Image.fromarray((np.indices((400, 400)).sum(axis=0) % 2 * 255).astype(np.uint8)).quantize(2)
    pixels = image.decode(clean(samples.saved(board, "PNG"), image_side=200).data)[20:-20, 20:-20].astype(int)
    assert np.abs(pixels - 127).max() <= 6


def test_of_an_animation_the_first_frame_is_kept() -> None:
    first, second = samples.halves(), Image.new("RGB", (96, 64), (0, 255, 0))
    made = clean(samples.saved(first, "GIF", save_all=True, append_images=[second], duration=100))
    assert colours(made) == HALVES
    assert getattr(Image.open(io.BytesIO(made.data)), "n_frames", 1) == 1


def test_sixteen_bit_grey_keeps_its_shades() -> None:
    shades = np.linspace(0, 65535, 96).astype(np.uint16)[None].repeat(64, axis=0)
    made = clean(samples.saved(Image.fromarray(shades), "PNG"))
    row = image.decode(made.data)[32, :, 0].astype(int)
    assert np.abs(row - np.linspace(0, 255, 96)).max() <= 3


def test_transparency_of_a_palette_is_kept_and_seen_on_white() -> None:
    palette = samples.halves().quantize(4)
    made = clean(samples.saved(palette, "PNG", transparency=palette.getpixel((0, 0))))
    assert (made.mime, Image.open(io.BytesIO(made.data)).mode) == ("image/png", "RGBA")
    assert colours(made) == ([260, 260, 260], HALVES[1])


def test_photos_become_jpeg_and_drawings_stay_png() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    assert clean(samples.saved(Image.fromarray(noise), "PNG")).mime == "image/jpeg"
    assert clean(samples.saved(samples.halves(800, 600), "PNG")).mime == "image/png"


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_picture_cut_short_is_refused(form: str) -> None:
    whole = samples.saved(Image.effect_noise((200, 200), 80).convert("RGB"), form)
    with pytest.raises(MediaError) as caught:
        clean(whole[: len(whole) // 2])
    assert caught.value.code == "broken"


def test_bytes_that_never_went_through_sanitise_are_not_decoded_in_process() -> None:
    with pytest.raises(MediaError, match="Give it to `sanitise` first"):
        image.decode(samples.saved(samples.halves(), "GIF"))


def test_a_thumbnail_is_a_small_jpeg() -> None:
    small = Image.open(io.BytesIO(image.thumbnail(samples.saved(samples.halves(960, 640), "PNG"), max_side=96)))
    assert (small.format, small.size) == ("JPEG", (96, 64))


def test_pixels_encode_and_decode_to_themselves() -> None:
    pixels = np.asarray(samples.halves())
    assert np.array_equal(image.decode(image.encode(pixels)), pixels)
