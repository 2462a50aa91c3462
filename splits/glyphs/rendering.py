"""Images of characters: ink masks warped, filled and set against a background, many at a time.

Everything is float64 arithmetic on numbers drawn from an explicit generator, and is rounded to bytes once, at
the end: the same seed gives the same images on every machine.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from splits.glyphs.typefaces import CANVAS, mask

SIZE = 32  # side of an image in pixels
STEP = CANVAS // SIZE  # canvas pixels per image pixel


@dataclass(frozen=True)
class Ranges:
    """How far each augmentation goes. A value is drawn anew for every image, uniformly unless said."""

    rotation: float = 15.0  # degrees either way; 15 keeps the eight directions of arrows apart
    # Smallest and largest size; the narrow range keeps c and C apart more often than not.
    scale: tuple[float, float] = (0.72, 1.08)
    stretch: float = 0.2  # one axis relative to the other, either way
    shear: float = 0.25  # either way
    shift: float = 3.0  # in image pixels, either way
    elastic: float = 1.3  # standard deviation of a smooth displacement, in image pixels
    weight: tuple[float, float] = (0.6, 1.3)  # exponent of the ink, below 1 thicker strokes, above 1 thinner
    background: tuple[float, float] = (0.0, 110.0)  # its grey level
    contrast: tuple[float, float] = (46.0, 144.0)  # how much lighter the ink is
    gradient: float = 40.0  # across the image, in grey levels
    texture: float = 27.0  # largest standard deviation of smooth noise, in grey levels
    noise: float = 29.0  # and of pixel noise


NATURAL = Ranges()
# Outlines on a plain ground: a sketch has no background to hide in.
SKETCH = Ranges(background=(0.0, 10.0), contrast=(170.0, 240.0), gradient=0.0, texture=0.0, noise=8.0)
# Renditions are drawn with intent: the shift is in the drawing, not in the noise.
RENDITION = Ranges(background=(0.0, 60.0), contrast=(110.0, 190.0), gradient=15.0, texture=8.0, noise=12.0)


def draw(
    faces: list[str],
    codepoints: list[int],
    rng: np.random.Generator,
    ranges: Ranges,
    styles: list[str],
) -> np.ndarray:
    """One image per (face, code point): uint8 [n, SIZE, SIZE, 1], light ink on a darker ground.

    styles: a name in STYLES for every image.
    """
    wanted = list(zip(faces, codepoints, styles))
    index = {key: row for row, key in enumerate(dict.fromkeys(wanted))}
    masks = np.stack([STYLES[style](mask(face, code) / 255.0) for face, code, style in index])
    which = np.array([index[key] for key in wanted])
    styles = np.array(styles)
    ink = sample(masks, which, positions(styles, rng, ranges))
    ink[styles == "inverted"] = 1.0 - ink[styles == "inverted"]
    return paint(ink, rng, ranges)[..., None]


def positions(styles: np.ndarray, rng: np.random.Generator, ranges: Ranges) -> np.ndarray:
    """Where on its canvas each image pixel looks, (y, x) from the centre: [n, 2, SIZE, SIZE].

    A rotation, shear and scaling about the centre, then a shift and a smooth displacement. styles: str [n].
    """
    n = len(styles)
    angle = np.deg2rad(rng.uniform(-ranges.rotation, ranges.rotation, n))
    size = rng.uniform(*ranges.scale, n)
    stretch = np.exp(rng.uniform(-ranges.stretch, ranges.stretch, n) / 2)
    shear = rng.uniform(-ranges.shear, ranges.shear, n)
    side = np.where(rng.random(n) < 0.5, -1.0, 1.0)
    shear = np.where(styles == "slanted", side * (0.45 + np.abs(shear)), shear)
    shift = rng.uniform(-ranges.shift, ranges.shift, (n, 2, 1, 1))
    knots = rng.normal(0.0, ranges.elastic, (n, 2, 5, 5))

    axis = np.arange(SIZE) - (SIZE - 1) / 2
    pixel = np.stack(np.meshgrid(axis, axis, indexing="ij"))  # (y, x)
    spread = smooth_basis(5)
    moved = pixel - shift + spread @ knots @ spread.T
    wavy = (styles == "wavy")[:, None, None]
    phase = rng.uniform(0.0, 2 * np.pi, (n, 1, 1))
    moved[:, 1] += np.where(wavy, 2.0 * np.sin(2 * np.pi * moved[:, 0] / 11 + phase), 0.0)

    cos, sin = np.cos(angle) * STEP / size, np.sin(angle) * STEP / size
    y = (cos / stretch)[:, None, None] * moved[:, 0] - (sin / stretch)[:, None, None] * moved[:, 1]
    x = (sin * stretch)[:, None, None] * moved[:, 0] + (cos * stretch)[:, None, None] * moved[:, 1]
    return np.stack([y, x + shear[:, None, None] * y], axis=1)


def smooth_basis(knots: int) -> np.ndarray:
    """Cubic B-splines over an image side, one column per knot: [SIZE, knots], rows of unit length.

    A field that is white on the knots therefore has the same standard deviation at every pixel.
    """
    at = np.linspace(0, knots - 1, SIZE)[:, None] - np.arange(knots)
    near, far = np.abs(at), 2 - np.abs(at)
    basis = np.where(near < 1, 2 / 3 - near**2 + near**3 / 2, np.where(far > 0, far**3 / 6, 0.0))
    return basis / np.sqrt((basis**2).sum(axis=1, keepdims=True))


def sample(masks: np.ndarray, which: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Bilinear samples of masks [u, CANVAS, CANVAS] at positions from the centre: [n, SIZE, SIZE].

    The masks are smoothed first, since an image pixel covers several of theirs.
    """
    kernel = np.array([1.0, 2.0, 1.0]) / 4
    masks = ndimage.convolve1d(ndimage.convolve1d(masks, kernel, axis=1), kernel, axis=2)
    masks = np.pad(masks, ((0, 0), (1, 1), (1, 1)))  # beyond the canvas there is no ink
    width = masks.shape[1]
    at = np.clip(at + (width - 1) / 2, 0, width - 1.001)
    corner = at.astype(np.intp)
    y, x = np.moveaxis(at - corner, 1, 0)
    start = which[:, None, None] * width**2 + corner[:, 0] * width + corner[:, 1]
    flat = masks.ravel()
    top = flat[start] * (1 - x) + flat[start + 1] * x
    bottom = flat[start + width] * (1 - x) + flat[start + width + 1] * x
    return top * (1 - y) + bottom * y


def paint(ink: np.ndarray, rng: np.random.Generator, ranges: Ranges) -> np.ndarray:
    """Grey levels of ink [n, SIZE, SIZE] in 0 … 1 on a ground: uint8 [n, SIZE, SIZE]."""
    n = len(ink)

    def per_image(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, (n, 1, 1))

    ink = np.clip(ink, 0.0, 1.0) ** per_image(*ranges.weight)
    grey = per_image(*ranges.background) + per_image(*ranges.contrast) * ink
    angle, axis = per_image(0.0, 2 * np.pi), np.linspace(-0.5, 0.5, SIZE)
    slope = np.cos(angle) * axis[:, None] + np.sin(angle) * axis
    grey += per_image(0.0, ranges.gradient) * slope
    spread = smooth_basis(9)
    grey += spread @ (rng.normal(size=(n, 9, 9)) * per_image(0.0, ranges.texture)) @ spread.T
    grey += rng.normal(size=grey.shape) * per_image(0.0, ranges.noise)
    return np.clip(np.round(grey), 0, 255).astype(np.uint8)


def outline(ink: np.ndarray, width: int = 3) -> np.ndarray:
    """The edge of the ink, `width` canvas pixels wide."""
    return ndimage.grey_dilation(ink, size=width) - ndimage.grey_erosion(ink, size=width)


def hatched(ink: np.ndarray) -> np.ndarray:
    """Diagonal strokes inside an outline."""
    y, x = np.indices(ink.shape)
    return np.maximum(outline(ink), ink * ((x + y) % 6 < 3))


def dotted(ink: np.ndarray) -> np.ndarray:
    """A lattice of dots where there was ink; strokes are widened first so that every one holds a dot."""
    y, x = np.indices(ink.shape)
    return ndimage.grey_dilation(ink, size=3) * (((y % 5) < 3) & ((x % 5) < 3))


def shadow(ink: np.ndarray) -> np.ndarray:
    """The ink with a dimmer copy of itself to the lower right."""
    return np.maximum(ink, 0.5 * np.pad(ink, ((5, 0), (5, 0)))[: ink.shape[0], : ink.shape[1]])


def stencil(ink: np.ndarray) -> np.ndarray:
    """The ink with three level gaps, as if cut from card."""
    y = np.indices(ink.shape)[0]
    return ink * ((y + 6) % 14 >= 4)


def glow(ink: np.ndarray) -> np.ndarray:
    """A bright edge in a blur."""
    return np.maximum(outline(ink), 0.8 * ndimage.gaussian_filter(ink, 4.0))


def pixelated(ink: np.ndarray) -> np.ndarray:
    """Square blocks of two image pixels, either full or empty."""
    block = 4
    side = ink.shape[0] // block
    coarse = ink.reshape(side, block, side, block).mean(axis=(1, 3)) > 0.35
    return np.kron(coarse, np.ones((block, block)))


def inline(ink: np.ndarray) -> np.ndarray:
    """Widened strokes with a dark line along their middle."""
    wide = ndimage.grey_dilation(ink, size=5)
    return wide - ndimage.grey_erosion(ink, size=2)


def plain(ink: np.ndarray) -> np.ndarray:
    """The ink as it is; `inverted`, `slanted` and `wavy` act on the image, not on the ink."""
    return ink


STYLES = {
    style.__name__: style
    for style in (plain, outline, hatched, dotted, shadow, stencil, glow, pixelated, inline)
} | dict.fromkeys(("inverted", "slanted", "wavy"), plain)
RENDITIONS = tuple(style for style in STYLES if style not in ("plain", "outline"))
