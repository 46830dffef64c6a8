"""Make the committed file beside this script: the one kind the test suite cannot write with what Duomo installs."""

from __future__ import annotations

from pathlib import Path

import pillow_heif
from PIL import Image

HERE = Path(__file__).parent


def heic() -> None:
    """A picture 96 wide and 64 high, its left half red, the right half blue, as phones store it; with GPS."""
    picture = Image.new("RGB", (96, 64), (220, 20, 20))
    picture.paste((20, 20, 220), (48, 0, 96, 64))
    exif = Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (31.0, 13.0, 49.0)
    pillow_heif.from_pillow(picture).save(HERE / "halves.heic", quality=60, exif=exif.tobytes())


if __name__ == "__main__":
    heic()
