"""Queries with their nearest neighbours at the smallest size and at the full one, as pictures.

Of classes never trained on where the study has any. `neighbour_grid` shows MRL, `neighbour_grid_pca` the
method that is named.
"""

import numpy as np
from matplotlib.figure import Figure

from analysis.figures.contact_sheet import spread, title
from analysis.measures import read_outcomes

TABLES = ()
INPUTS = ("data",)
ARGUMENT = "method"
MEASURES = ("neighbours",)
QUERIES, NEIGHBOURS = 10, 8
RIGHT, WRONG = (0, 114, 178), (213, 94, 0)
GAP = 2  # white pixels around a picture and its frame
INCH = 0.42  # of a picture with its frame


def draw(drawing):
    """A row per query: itself, its neighbours at the smallest size, its neighbours at the full size."""
    method = drawing.argument or "mrl"
    drawing.study.method(method)
    outcomes = read_outcomes(drawing.layout, method, drawing.study.seeds[0], "neighbours")
    query, database = ("query", "database") if "query" in drawing.dataset else ("val", "train")
    asked, items = drawing.dataset[query], drawing.dataset[database]
    # One query for each of some classes, spread over all.
    first = np.unique(asked.labels, return_index=True)[1]
    chosen = spread(first, QUERIES)
    ids = outcomes[f"{query}/{database}/ids"][0][[0, -1]][:, chosen, :NEIGHBOURS]  # [2, rows, neighbours]
    right = items.labels[ids] == asked.labels[chosen, None]

    side = asked.images.shape[1] + 2 * (frame_of(asked.images.shape[1]) + GAP)
    blank = side // 2
    count = ids.shape[2]
    sheet = np.full((len(chosen) * side, (1 + 2 * count) * side + 2 * blank, 3), 255, np.uint8)
    starts = [side + blank, (1 + count) * side + 2 * blank]
    for y, row in enumerate(chosen):
        paste(sheet, asked.images[row], y * side, 0, None)
        for size, left in enumerate(starts):
            for x, item in enumerate(ids[size, y]):
                color = RIGHT if right[size, y, x] else WRONG
                paste(sheet, items.images[item], y * side, left + x * side, color)

    sizes = outcomes["sizes"][[0, -1]]
    names = [title(drawing.dataset.classes.loc[label]) for label in asked.labels[chosen]]
    return on_page(drawing, sheet, side, names, starts, count, sizes, right.mean((1, 2)), method, query)


def paste(sheet: np.ndarray, image: np.ndarray, top: int, left: int, color: tuple | None) -> None:
    """Put a picture on the sheet, in a frame of this colour. image: uint8 [height, width, 1 or 3]."""
    side = image.shape[0]
    frame = frame_of(side)
    if color is not None:
        whole = side + 2 * frame
        sheet[top + GAP : top + GAP + whole, left + GAP : left + GAP + whole] = color
    inner = GAP + frame
    sheet[top + inner : top + inner + side, left + inner : left + inner + side] = image


def frame_of(side: int) -> int:
    """Pixels of the coloured frame around a picture: as wide on the page whatever the picture's size."""
    return max(2, side // 16)


def on_page(drawing, sheet, side, names, starts, count, sizes, shares, method, query) -> Figure:
    """The sheet with a title, a heading over each block of neighbours and the class beside each query."""
    beside, above = 2.2, 0.68
    height, width = (INCH * pixels / side for pixels in sheet.shape[:2])
    figure = Figure(figsize=(beside + width + 0.05, above + height))
    total_width, total_height = figure.get_size_inches()
    axes = figure.add_axes((beside / total_width, 0, width / total_width, height / total_height))
    axes.imshow(sheet, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    for y, name in enumerate(names):
        axes.text(-0.15 * side, (y + 0.5) * side, name, ha="right", va="center", fontsize=7)
    for left, size, share in zip(starts, sizes, shares):
        heading = f"nearest at {size} dimensions: {share:.0%} of these are right"
        axes.text(left + count * side / 2, -0.12 * side, heading, ha="center", va="bottom", fontsize=7.5)
    whose = "classes never trained on" if query == "query" else "trained classes"
    figure.text(
        0.08 / total_width,
        1 - 0.08 / total_height,
        f"{drawing.study.title} · {drawing.label(method)} · {whose}\n"
        "in a blue frame: of the query's class; orange: of another",
        va="top",
        fontsize=8,
    )
    return figure
