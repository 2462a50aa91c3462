"""What figures of pictures share: which are chosen, and how a class is named beside them."""

import textwrap

import numpy as np
import pandas as pd

NAME_LENGTH = 34  # characters of a class name that fit beside its row


def spread(values: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the values, evenly spaced from the first to the last."""
    if len(values) <= count:
        return values
    return values[np.linspace(0, len(values) - 1, count).round().astype(int)]


def class_title(row: pd.Series) -> str:
    """A class in two short lines: its name, and superclass and code point where there are such."""
    name = str(row.get("caption") or row["name"])
    if len(name) > NAME_LENGTH:
        name = name[: NAME_LENGTH - 1].rstrip() + "…"
    below = " · ".join(str(row[key]) for key in ("superclass", "codepoint") if row.get(key))
    return f"{name}\n{below}" if below else name


def wrapped(name: str, length: int) -> str:
    """A class name in at most two lines of so many characters, shortened if need be.

    >>> wrapped("GREEK CAPITAL LETTER ALPHA", 14)
    'GREEK CAPITAL\\nLETTER ALPHA'
    """
    first, *rest = textwrap.wrap(name, length) or [""]
    if len(rest) > 1 or (rest and len(rest[0]) > length):
        rest = [rest[0][: length - 1] + "…"]
    return "\n".join([first, *rest])


def paste(
    sheet: np.ndarray, image: np.ndarray, top: int, left: int, frame: int, color: tuple | None = None
) -> None:
    """Put a picture [side, side, 1 or 3] on a sheet, inside a frame so wide, of this colour if any."""
    side = len(image) + 2 * frame
    if color is not None:
        sheet[top : top + side, left : left + side] = color
    sheet[top + frame : top + side - frame, left + frame : left + side - frame] = image
