"""What a split looks like: `contact_sheet_train`, `contact_sheet_v2` and so on, one sheet per split."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from splits.store import Dataset
from suite.roles import ROLES

TABLES = ()
INPUTS = ("data",)
ARGUMENT = "split"
GAP = 2  # pixels between images
NAME_LENGTH = 34  # characters of a class name that fit beside its row
# Inches: the side of an image with its gap, the names beside the rows, the two lines above them.
IMAGE, NAME_WIDTH, TITLE_HEIGHT, LEAST_WIDTH = 0.39, 2.45, 0.48, 4.2
GROUP_COLORS = {"pretrain": (0, 114, 178), "novel": (213, 94, 0)}


def draw(drawing) -> Figure:
    """The sheet of the split that stands behind `contact_sheet_` in the figure's name."""
    return contact_sheet(drawing.dataset, drawing.argument)


def contact_sheet(dataset: Dataset, split: str, rows: int = 8, columns: int = 12) -> Figure:
    """A row of images for each of some classes, spread over all; the stream in the order it arrives.

    Raises UserError for a split the study does not have.
    """
    data = dataset[split]
    if split == "stream":
        places = np.arange(min(rows * columns, len(data)))
        shown = [places[start : start + columns] for start in range(0, len(places), columns)]
        names = [f"{row[0] + 1} … {row[-1] + 1}" for row in shown]
    else:
        chosen = spread(np.unique(data.labels), rows)
        shown = [spread(np.flatnonzero(data.labels == label), columns) for label in chosen]
        names = [title(dataset.classes.loc[label]) for label in chosen]
    frames = frame_colors(data.items, shown)
    columns = max(map(len, shown))
    sheet = tile(data.images, shown, columns, frames)
    beside = 0.75 if split == "stream" else NAME_WIDTH
    width, height = beside + IMAGE * columns + 0.05, TITLE_HEIGHT + IMAGE * len(shown)
    figure = Figure(figsize=(max(width, LEAST_WIDTH), height))
    width = figure.get_figwidth()
    axes = figure.add_axes((beside / width, 0.02, IMAGE * columns / width, 0.98 - TITLE_HEIGHT / height))
    axes.imshow(sheet, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    side = data.images.shape[1] + GAP
    for row, name in enumerate(names):
        axes.text(-3 * side / 32, (row + 0.5) * side, name, ha="right", va="center", fontsize=7)
    counted = f"{len(data):,} images of {len(np.unique(data.labels)):,} classes"
    note = " (in order; blue: trained classes, orange: new ones)" if frames is not None else ""
    figure.text(
        0.08 / width, 1 - 0.08 / height, f"{split}: {ROLES[split]}", va="top", fontsize=8.5, weight="bold"
    )
    figure.text(0.08 / width, 1 - 0.25 / height, counted + note, va="top", fontsize=7.5, color="#555555")
    return figure


def spread(values: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the values, evenly spaced from the first to the last."""
    if len(values) <= count:
        return values
    return values[np.linspace(0, len(values) - 1, count).round().astype(int)]


def title(row: pd.Series) -> str:
    """A class in two short lines: its name, and superclass and code point where there are such."""
    name = str(row.get("caption") or row["name"])
    if len(name) > NAME_LENGTH:
        name = name[: NAME_LENGTH - 1].rstrip() + "…"
    below = " · ".join(str(row[key]) for key in ("superclass", "codepoint") if row.get(key))
    return f"{name}\n{below}" if below else name


def frame_colors(items: pd.DataFrame, shown: list[np.ndarray]) -> list[list[tuple]] | None:
    """Colour of the frame around each image where items have a `group`."""
    if "group" not in items:
        return None
    return [[GROUP_COLORS[group] for group in items["group"].iloc[row]] for row in shown]


def tile(
    images: np.ndarray, shown: list[np.ndarray], columns: int, frames: list[list[tuple]] | None
) -> np.ndarray:
    """All images on one white sheet: uint8 [height, width, 3]."""
    side = images.shape[1] + GAP
    sheet = np.full((len(shown) * side, columns * side, 3), 255, np.uint8)
    for y, row in enumerate(shown):
        for x, place in enumerate(row):
            if frames is not None:
                sheet[y * side : (y + 1) * side, x * side : (x + 1) * side] = frames[y][x]
            top, left = y * side + GAP // 2, x * side + GAP // 2
            inside = sheet[top : top + side - GAP, left : left + side - GAP]
            inside[:] = images[place]  # grey images broadcast over the three channels
    return sheet
