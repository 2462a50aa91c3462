"""The typefaces inside matplotlib: which characters each one draws, which of them look alike, and their ink.

matplotlib ships DejaVu and STIX, so this dataset needs no download. Characters whose outlines coincide (the
Latin, Greek and Cyrillic A; a letter and its "mathematical bold" twin) would be label noise if they were
different classes: `catalogue` keeps one character per outline.
"""

import hashlib
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.ft2font import FT2Font, LoadFlags
from PIL import Image, ImageFont
from scipy import sparse

# Sans and Serif are trained on. Mono and STIX are not: another design of the same characters.
TRAINED_FACES = (
    *("DejaVuSans" + style for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *("DejaVuSerif" + style for style in ("", "-Bold", "-Italic", "-BoldItalic")),
)
HELD_OUT_FACES = (
    *("DejaVuSansMono" + style for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *("STIXGeneral" + style for style in ("", "Bol", "Italic", "BolIta")),
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


def face_path(face: str) -> Path:
    """The file of a typeface inside the installed matplotlib."""
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"


def outlines(face: str) -> dict[int, tuple[bytes, float]]:
    """Candidate characters of a face: digest of the outline, moved to the origin, and extent in ems."""
    font = FT2Font(str(face_path(face)))
    found = {}
    for codepoint, glyph in font.get_charmap().items():
        ambiguous = any(first <= codepoint <= last for first, last in AMBIGUOUS_BLOCKS)
        if ambiguous or unicodedata.category(chr(codepoint))[0] not in CATEGORIES:
            continue
        font.load_glyph(glyph, flags=LoadFlags.NO_SCALE)
        points, codes = font.get_path()
        if len(points) == 0:
            continue  # an empty glyph: nothing to see
        points = np.round((points - points.min(axis=0)) * 64).astype(np.int64)  # 26.6 → font units
        digest = hashlib.blake2b(points.tobytes() + codes.tobytes(), digest_size=16).digest()
        found[codepoint] = (digest, float(points.max()) / font.units_per_EM)
    return found


@cache
def catalogue() -> tuple[Character, ...]:
    """Characters in the order of their code points, no two of which share an outline in any two faces.

    Of each group of look-alikes the one in most faces is kept (of those, the lowest code point), so that A
    is the Latin A. What remains is compared as ink (`LOOK_ALIKE`), since a superscript and a subscript 2
    have the same outline but for a rounding.
    """
    faces: dict[int, list[str]] = {}
    extent: dict[int, float] = {}
    owner: dict[bytes, int] = {}
    same: list[tuple[int, int]] = []
    for face in FACES:
        for codepoint, (digest, size) in outlines(face).items():
            faces.setdefault(codepoint, []).append(face)
            extent.setdefault(codepoint, size)
            same.append((codepoint, owner.setdefault(digest, codepoint)))
    ranked = sorted(faces, key=lambda codepoint: (-len(faces[codepoint]), codepoint))
    by_first_face: dict[str, list[int]] = {}
    for codepoint in first_of_groups(ranked, same):
        by_first_face.setdefault(faces[codepoint][0], []).append(codepoint)
    for face, codepoints in by_first_face.items():
        same += look_alikes(face, codepoints)
    return tuple(Character(c, tuple(faces[c]), extent[c]) for c in sorted(first_of_groups(ranked, same)))


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


def first_of_groups(ranked: list[int], pairs: list[tuple[int, int]]) -> list[int]:
    """Of each group that the pairs join the member that comes first in `ranked`; so in that order."""
    row = {member: i for i, member in enumerate(ranked)}
    ends = np.array([(row[one], row[other]) for one, other in pairs]).T
    graph = sparse.coo_array((np.ones(len(pairs)), ends), shape=(len(ranked), len(ranked)))
    _, group = sparse.csgraph.connected_components(graph, directed=False)
    return [ranked[i] for i in np.sort(np.unique(group, return_index=True)[1])]


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
