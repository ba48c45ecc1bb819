"""Pictures painted from a number: the same bytes for the same number."""

import io
from random import Random

from PIL import Image, ImageDraw

# One large picture: 2,048 × 2,048 dots of noise, 3 bytes each, which no format makes smaller: 12 MiB.
POSTER_SIDE = 2048


def picture(number: int, extension: str) -> bytes:
    """A picture, 80 to 1,400 dots wide, in the format of `extension` (`jpg`, `png`, `webp` or `gif`)."""
    dice = Random(f"picture {number}")
    size = (dice.randint(80, 1400), dice.randint(80, 1000))
    image = Image.new("RGB", size, _colour(dice))
    draw = ImageDraw.Draw(image)
    for _ in range(dice.randint(5, 60)):
        x, y = dice.randint(0, size[0]), dice.randint(0, size[1])
        radius = dice.randint(4, 200)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_colour(dice))
    if number % 3 == 0:
        # Grain, so that some are large.
        image = Image.blend(image, Image.frombytes("RGB", size, dice.randbytes(size[0] * size[1] * 3)), 0.2)
    return _encode(image, extension)


def poster() -> bytes:
    """A PNG of about 12 MiB."""
    noise = Random("poster").randbytes(POSTER_SIDE * POSTER_SIDE * 3)
    return _encode(Image.frombytes("RGB", (POSTER_SIDE, POSTER_SIDE), noise), "png", compress_level=0)


def thumbnail(number: int) -> bytes:
    """A 16 × 16 PNG, small enough to live in a column."""
    return _encode(Image.new("RGB", (16, 16), _colour(Random(f"picture {number}"))), "png")


def _encode(image: Image.Image, extension: str, **options: int) -> bytes:
    out = io.BytesIO()
    image.save(out, {"jpg": "JPEG"}.get(extension, extension.upper()), **options)
    return out.getvalue()


def _colour(dice: Random) -> tuple[int, int, int]:
    return dice.randrange(256), dice.randrange(256), dice.randrange(256)
