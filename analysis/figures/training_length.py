"""The gap between two methods against the length of their training: is it the price of nesting, or time?"""

import numpy as np

from analysis.evaluations.findings import CLAIMS
from analysis.findings.evidence import signed
from analysis.plotting import SEQUENCE, beside, headline, legend_below, log_axis, new_figure
from suite.contracts import METHOD

TABLES = ("training_length",)
INPUTS = ("data",)
RANGES = {"small": "sizes up to d/8", "large": "sizes above d/8"}
ROWS = {"gap": "val", "train_gap": "training"}
# The claims of the paper whose own numbers stand at the right, where the two are MRL and FF.
PAPER = {"small": "mrl_small", "large": "mrl_large"}
AT_RIGHT = ("axes fraction", "data")


def draw(drawing):
    """Above the gap of val accuracy, below that of training accuracy; a curve per number of images."""
    table = drawing.table("training_length")
    options = drawing.study.tasks["training_length"]
    figure, grid = new_figure(2, 2, width=7.2, height=4.8, sharex=True, sharey="row")
    margin = 100 * drawing.study.margin
    for row, (metric, split) in zip(grid, ROWS.items()):
        for axes, (name, title) in zip(row, RANGES.items()):
            axes.axhspan(-margin, margin, color="#E4E4E4", zorder=0)
            axes.axhline(0, color="#999999", linewidth=0.8, zorder=1)
            rows = table[(table["metric"] == metric) & (table["range"] == name)]
            for place, (images, some) in enumerate(rows.groupby("train_images")):
                some = some.sort_values("images_seen")
                look = {"color": SEQUENCE[place % len(SEQUENCE)], "label": f"from {images:,} images"}
                x, value, low, high = (
                    some["images_seen"],
                    *(100 * some[key] for key in ("value", "low", "high")),
                )
                axes.plot(x, value, marker="o", **look)
                if np.isfinite(low).all():
                    axes.fill_between(x, low, high, color=look["color"], alpha=0.15, linewidth=0)
            log_axis(axes, number=lambda images: f"{images / 1e6:g} M")
            if metric == "gap":
                axes.set_title(title)
                paper(axes, name, options)
        labels = (METHOD.facts(options[side]).LABEL for side in ("new", "base"))
        row[0].set_ylabel(f"{' − '.join(labels)},\n{split} top-1 (points)")
    for axes in grid[-1]:
        axes.set_xlabel("images seen in training")
    headline(
        figure, f"{drawing.conditions(bars=None)} · bands: {drawing.over()} · grey: the margin, ± {margin:g}"
    )
    legend_below(figure, grid[0, 0])
    return figure


def paper(axes, name, options):
    """A mark at the right edge where the paper's own numbers lie, of MRL against FF."""
    if (options["new"], options["base"]) == ("mrl", "fixed_feature"):
        (claim,) = (claim for claim in CLAIMS if claim.name == PAPER[name])
        value, _ = claim.of_the_paper()
        text = f"◂ paper {signed(value)}"
        beside(axes, text, (1, 100 * value), (1, 0), xycoords=AT_RIGHT, va="center", fontsize=6)
