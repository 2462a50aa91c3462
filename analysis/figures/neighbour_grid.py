"""Queries with their nearest neighbours at the smallest size and at the full one, as pictures.

Of classes never trained on where the study has any. `neighbour_grid` shows MRL, `neighbour_grid_pca` the
method that is named.
"""

import numpy as np
from matplotlib.figure import Figure

from analysis.measures import read_outcomes
from analysis.plotting.pictures import class_title, paste, spread

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
    method, seed = drawing.argument or "mrl", drawing.study.seeds[0]
    label = drawing.label(method)
    outcomes = read_outcomes(drawing.layout, method, seed, "neighbours")
    query, database = ("query", "database") if "query" in drawing.dataset else ("val", "train")
    asked, items = drawing.dataset[query], drawing.dataset[database]
    # One query for each of some classes, spread over all.
    chosen = spread(np.unique(asked.labels, return_index=True)[1], QUERIES)
    ids = outcomes[f"{query}/{database}/ids"][0][[0, -1]][:, chosen, :NEIGHBOURS]  # [2, rows, neighbours]
    right = items.labels[ids] == asked.labels[chosen, None]
    sheet, side, starts = tile(asked.images[chosen], items.images[ids], right)

    beside, above = 2.2, 0.68
    height, width = (INCH * pixels / side for pixels in sheet.shape[:2])
    figure = Figure(figsize=(beside + width + 0.05, above + height))
    total_width, total_height = figure.get_size_inches()
    axes = figure.add_axes((beside / total_width, 0, width / total_width, height / total_height))
    axes.imshow(sheet, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    for y, of_class in enumerate(asked.labels[chosen]):
        name = class_title(drawing.dataset.classes.loc[of_class])
        axes.text(-0.15 * side, (y + 0.5) * side, name, ha="right", va="center", fontsize=7)
    for left, m, share in zip(starts, outcomes["sizes"][[0, -1]], right.mean((1, 2))):
        heading = f"nearest at {m} dimensions: {share:.0%} of these are right"
        middle = left + ids.shape[2] * side / 2
        axes.text(middle, -0.12 * side, heading, ha="center", va="bottom", fontsize=7.5)
    whose = "classes never trained on" if query == "query" else "trained classes"
    shown = f"{len(chosen)} of {len(asked):,} queries, {whose}"
    text = f"{drawing.study.title} · {label}, seed {seed} · {shown}\n"
    text += "in a blue frame: of the query's class; orange: of another"
    figure.text(0.08 / total_width, 1 - 0.08 / total_height, text, va="top", fontsize=8)
    return figure


def tile(queries: np.ndarray, found: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, int, list[int]]:
    """(sheet, side, starts): all pictures on white, pixels of one, where each block of neighbours starts.

    queries: uint8 [rows, side, side, channels]; found: the same of [blocks, rows, neighbours]; right: bool.
    """
    blocks, rows, count = right.shape
    frame = frame_of(queries.shape[1])
    side = queries.shape[1] + 2 * (frame + GAP)
    blank = side // 2
    sheet = np.full((rows * side, (1 + blocks * count) * side + blocks * blank, 3), 255, np.uint8)
    starts = [side + blank + block * (count * side + blank) for block in range(blocks)]
    for y, query in enumerate(queries):
        paste(sheet, query, y * side + GAP, GAP, frame)
    for block, y, x in np.ndindex(right.shape):
        color = RIGHT if right[block, y, x] else WRONG
        top, left = y * side + GAP, starts[block] + x * side + GAP
        paste(sheet, found[block, y, x], top, left, frame, color)
    return sheet, side, starts


def frame_of(side: int) -> int:
    """Pixels of the coloured frame around a picture: as wide on the page whatever the picture's size."""
    return max(2, side // 16)
