"""The typefaces inside matplotlib: which characters each one draws, which of them look alike, and their ink.

matplotlib ships DejaVu and STIX, so this dataset needs no download. Characters whose outlines coincide (the
Latin, Greek and Cyrillic A; a letter and its "mathematical bold" twin) would be label noise if they were
different classes: `catalogue` keeps one character per outline.
"""

import hashlib
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.ft2font import FT2Font, LoadFlags
from PIL import Image, ImageFont

# Sans and Serif are trained on. Mono and STIX are not: another design of the same characters.
TRAINED_FACES = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSans-BoldOblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "DejaVuSerif-BoldItalic",
)
HELD_OUT_FACES = (
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-Oblique",
    "DejaVuSansMono-BoldOblique",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "STIXGeneralBolIta",
)
FACES = TRAINED_FACES + HELD_OUT_FACES

# Letters, numbers, symbols, punctuation; no marks, spaces or controls, which have no shape of their own.
CATEGORIES = "LNSP"
# Box drawing, block elements and Braille: a few degrees or pixels turn one such character into another.
AMBIGUOUS_BLOCKS = ((0x2500, 0x259F), (0x2800, 0x28FF))

CANVAS = 64  # side of an ink mask in pixels; twice the side of an image
EM = 50  # size of the em square on the canvas: room for rotation and for tall accents
MAX_EXTENT = 50  # wider characters are set smaller, so that nothing is cut off
# Ink masks (normalised dot product at half size) that are this similar differ in less than a stroke's edge.
LOOK_ALIKE = 0.99


@dataclass(frozen=True)
class Character:
    """One outline, under the name of the most widespread character that has it.

    extent: larger side of its ink in ems, in the first of its faces.
    """

    codepoint: int
    faces: tuple[str, ...]
    extent: float

    @property
    def trained_faces(self) -> tuple[str, ...]:
        return tuple(face for face in self.faces if face in TRAINED_FACES)

    @property
    def held_out_faces(self) -> tuple[str, ...]:
        return tuple(face for face in self.faces if face in HELD_OUT_FACES)

    @property
    def usual_faces(self) -> tuple[str, ...]:
        """The faces that are trained on, or, if it is in none of them, those it is in."""
        return self.trained_faces or self.held_out_faces


def face_path(face: str) -> Path:
    """The file of a typeface inside the installed matplotlib."""
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"


def is_candidate(codepoint: int) -> bool:
    """Whether a character may be a class at all."""
    if any(first <= codepoint <= last for first, last in AMBIGUOUS_BLOCKS):
        return False
    return unicodedata.category(chr(codepoint))[0] in CATEGORIES


def outlines(face: str) -> dict[int, tuple[bytes, float]]:
    """Candidate characters of a face: digest of the outline, moved to the origin, and extent in ems."""
    font = FT2Font(str(face_path(face)))
    found = {}
    for codepoint, glyph in font.get_charmap().items():
        if not is_candidate(codepoint):
            continue
        font.load_glyph(glyph, flags=LoadFlags.NO_SCALE)
        points, codes = font.get_path()
        if len(points) == 0:
            continue  # an empty glyph: nothing to see
        points = np.round((points - points.min(axis=0)) * 64).astype(np.int64)  # 26.6 → font units
        digest = hashlib.blake2b(points.tobytes() + codes.tobytes(), digest_size=16).digest()
        found[codepoint] = (digest, float(points.max()) / font.units_per_EM)
    return found


def catalogue() -> list[Character]:
    """Characters in the order of their code points, no two of which share an outline in any two faces.

    Of each group of look-alikes the one in most faces is kept (of those, the lowest code point), so that A
    is the Latin A. What remains is compared as ink (`LOOK_ALIKE`), since a superscript and a subscript 2
    have the same outline but for a rounding.
    """
    by_face = {face: outlines(face) for face in FACES}
    faces: dict[int, list[str]] = {}
    extent: dict[int, float] = {}
    groups = Groups()
    owner: dict[bytes, int] = {}
    for face, found in by_face.items():
        for codepoint, (digest, size) in found.items():
            faces.setdefault(codepoint, []).append(face)
            extent.setdefault(codepoint, size)
            groups.join(codepoint, owner.setdefault(digest, codepoint))
    distinct = groups.representatives(lambda codepoint: (-len(faces[codepoint]), codepoint))
    first_face: dict[str, list[int]] = {}
    for codepoint in distinct:
        first_face.setdefault(faces[codepoint][0], []).append(codepoint)
    for face, codepoints in first_face.items():
        for one, other in look_alikes(face, codepoints):
            groups.join(one, other)
    distinct = groups.representatives(lambda codepoint: (-len(faces[codepoint]), codepoint))
    return [Character(c, tuple(faces[c]), extent[c]) for c in sorted(distinct)]


def look_alikes(face: str, codepoints: list[int]) -> list[tuple[int, int]]:
    """Pairs of characters whose ink in `face` is all but the same once both are centred."""
    side = CANVAS // 2
    ink = np.stack([mask(face, codepoint) for codepoint in codepoints]).astype(np.float64)
    ink = ink.reshape(-1, side, 2, side, 2).sum(axis=(2, 4)).reshape(len(codepoints), -1)
    # Whole numbers below 2^53: the products are exact, so every machine finds the same pairs.
    products = ink @ ink.T
    norms = np.diagonal(products)
    one, other = np.nonzero(np.triu(products**2 > LOOK_ALIKE**2 * norms[:, None] * norms, k=1))
    return [(codepoints[i], codepoints[j]) for i, j in zip(one, other)]


class Groups:
    """Disjoint groups of code points, joined pair by pair."""

    def __init__(self):
        self._parent: dict[int, int] = {}

    def find(self, item: int) -> int:
        """The member that stands for the group of `item`."""
        while self._parent.setdefault(item, item) != item:
            self._parent[item] = self._parent[self._parent[item]]
            item = self._parent[item]
        return item

    def join(self, one: int, other: int) -> None:
        """Make the groups of two members one."""
        self._parent[self.find(one)] = self.find(other)

    def representatives(self, key) -> list[int]:
        """Of each group the member with the smallest key."""
        best: dict[int, int] = {}
        for item in self._parent:
            root = self.find(item)
            if root not in best or key(item) < key(best[root]):
                best[root] = item
        return list(best.values())


@lru_cache(maxsize=64)
def _font(face: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(face_path(face)), size, layout_engine=ImageFont.Layout.BASIC)


def mask(face: str, codepoint: int) -> np.ndarray:
    """Ink of one character, centred on its canvas: uint8 [CANVAS, CANVAS].

    Characters keep their size relative to the em (c and C differ), unless they would not fit.
    """
    size = EM
    while True:
        drawn = _font(face, size).getmask(chr(codepoint), mode="L")
        ink = Image.frombytes("L", drawn.size, bytes(drawn))
        ink = ink.crop(ink.getbbox())
        if max(ink.size) <= MAX_EXTENT:
            break
        size = min(size - 1, size * MAX_EXTENT // max(ink.size))
    canvas = Image.new("L", (CANVAS, CANVAS))
    canvas.paste(ink, ((CANVAS - ink.size[0]) // 2, (CANVAS - ink.size[1]) // 2))
    return np.asarray(canvas)
