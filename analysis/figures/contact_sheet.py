"""What a split looks like: `contact_sheet_train`, `contact_sheet_v2` and so on, one sheet per split."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.plotting.pictures import class_title, paste, spread
from splits.store import Dataset
from suite.roles import ROLES

TABLES = ()
INPUTS = ("data",)
ARGUMENT = "split"
GAP = 2  # pixels between images
# Inches: the side of an image with its gap, the names beside the rows, the two lines above them.
IMAGE, NAME_WIDTH, TITLE_HEIGHT, LEAST_WIDTH = 0.39, 2.45, 0.48, 4.2
LETTER = 0.062  # of a letter of the second line
GROUP_COLORS = {"pretrain": (0, 114, 178), "novel": (213, 94, 0)}


def draw(drawing) -> Figure:
    """The sheet of the split that stands behind `contact_sheet_` in the figure's name."""
    return contact_sheet(drawing.dataset, drawing.argument, study=drawing.study.title)


def contact_sheet(dataset: Dataset, split: str, rows: int = 8, columns: int = 12, study: str = "") -> Figure:
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
        names = [class_title(dataset.classes.loc[label]) for label in chosen]
    groups, columns = data.items.get("group"), max(map(len, shown))
    sheet = tile(data.images, shown, columns, groups)
    beside = 0.75 if split == "stream" else NAME_WIDTH
    counted = f"{len(data):,} images of {len(np.unique(data.labels)):,} classes"
    note = " (in order; blue: trained classes, orange: new ones)" if groups is not None else ""
    title, below = f"{split}: {ROLES[split]}", f"{study} · {counted}{note}".removeprefix(" · ")
    width = max(beside + IMAGE * columns + 0.05, LEAST_WIDTH, LETTER * len(below))
    height = TITLE_HEIGHT + IMAGE * len(shown)
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((beside / width, 0.02, IMAGE * columns / width, 0.98 - TITLE_HEIGHT / height))
    axes.imshow(sheet, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    side = data.images.shape[1] + GAP
    for row, name in enumerate(names):
        axes.text(-3 * side / 32, (row + 0.5) * side, name, ha="right", va="center", fontsize=7)
    figure.text(0.08 / width, 1 - 0.08 / height, title, va="top", fontsize=8.5, weight="bold")
    figure.text(0.08 / width, 1 - 0.25 / height, below, va="top", fontsize=7.5, color="#555555")
    return figure


def tile(images: np.ndarray, shown: list[np.ndarray], columns: int, groups: pd.Series | None) -> np.ndarray:
    """All images on one white sheet, in a frame of the `group` of each if any: uint8 [height, width, 3]."""
    side = images.shape[1] + GAP
    sheet = np.full((len(shown) * side, columns * side, 3), 255, np.uint8)
    for y, row in enumerate(shown):
        for x, place in enumerate(row):
            color = None if groups is None else GROUP_COLORS[groups.iloc[place]]
            paste(sheet, images[place], y * side, x * side, GAP // 2, color)
    return sheet
