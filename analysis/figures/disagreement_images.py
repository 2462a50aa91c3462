"""Test images that the smallest size gets right and the largest wrong, and the reverse, with the answers.

`disagreement_images` shows MRL, `disagreement_images_fixed_feature` another method.
"""

import numpy as np
from matplotlib.figure import Figure

from analysis.measures import read_outcomes
from analysis.plotting.pictures import spread, wrapped

TABLES = ()
INPUTS = ("data",)
ARGUMENT = "method"
MEASURES = ("predict",)
METHOD = "mrl"
COLUMNS, ROWS = 6, 2  # images of either kind
# Inches: a cell, the image in it, the class name above it; the figure's title and that of each block.
CELL, SIDE, ABOVE, TOP, BLOCK_TITLE = (1.22, 1.52), 0.74, 0.25, 0.28, 0.22
NAME_LENGTH = 21  # characters of a class name per line; two lines are shown


def draw(drawing):
    """Two blocks of images; under each its class and the two answers."""
    study, method = drawing.study, drawing.argument or METHOD
    label = drawing.label(method)
    outcomes = read_outcomes(drawing.layout, method, study.seeds[0], "predict")
    labels = drawing.dataset.labels("val")
    small, large = (outcomes["val/top5"][0, place, :, 0] for place in (0, -1))
    m, d = outcomes["sizes"][0], outcomes["sizes"][-1]
    kinds = (
        (f"right at {m}, wrong at {d}", (small == labels) & (large != labels)),
        (f"wrong at {m}, right at {d}", (small != labels) & (large == labels)),
    )
    # Laid out by hand, in inches: what stands above and below the images is most of the figure.
    height = TOP + 2 * (BLOCK_TITLE + ROWS * CELL[1])
    figure = Figure(figsize=(COLUMNS * CELL[0], height))
    conditions = f"{study.title} · {label}, seed {study.seeds[0]}"
    figure.text(0.5, 1 - 0.06 / height, conditions, ha="center", va="top", fontsize=8.5)
    y = TOP
    for kind, rows in kinds:
        found = np.flatnonzero(rows)
        title = f"{kind}: {len(found):,} of {len(labels):,} images"
        figure.text(0.02, 1 - y / height, title, va="top", fontsize=8.5, weight="bold")
        y += BLOCK_TITLE
        for place, row in enumerate(one_per_class(found, labels)):
            line, column = divmod(place, COLUMNS)
            left = (column + 0.5) * CELL[0] - SIDE / 2
            bottom = height - y - line * CELL[1] - ABOVE - SIDE
            width = figure.get_figwidth()
            axes = figure.add_axes((left / width, bottom / height, SIDE / width, SIDE / height))
            axes.set_axis_off()
            show(drawing, axes, row, {m: small[row], d: large[row]})
        y += ROWS * CELL[1]
    return figure


def one_per_class(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """At most ROWS × COLUMNS of the rows: of different classes first, and evenly spread over these."""
    _, first = np.unique(labels[rows], return_index=True)
    chosen = spread(rows[first], ROWS * COLUMNS)
    return np.concatenate([chosen, np.delete(rows, first)])[: ROWS * COLUMNS]


def show(drawing, axes, row: int, answers: dict[int, int]) -> None:
    """One image with its class and, per size, the class it was taken for."""
    image = drawing.dataset["val"].images[row]
    axes.imshow(image if image.shape[-1] == 3 else image[..., 0], cmap="gray", vmin=0, vmax=255)
    names = drawing.dataset.classes["name"]
    label = drawing.dataset.labels("val")[row]
    axes.set_title(wrapped(names[label], NAME_LENGTH), fontsize=5.5, pad=2)
    wrong = next(answer for answer in answers.values() if answer != label)
    lines = [f"{m}: {'right' if answer == label else 'wrong'}" for m, answer in answers.items()]
    text = f"{' · '.join(lines)}\ntaken for\n{wrapped(names[wrong], NAME_LENGTH)}"
    look = {"fontsize": 5.5, "color": "#555555", "linespacing": 1.1}
    axes.text(0.5, -0.04, text, transform=axes.transAxes, ha="center", va="top", **look)
