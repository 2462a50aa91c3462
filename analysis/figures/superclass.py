"""Answers of the right kind: superclass accuracy, errors that stay inside, gains (paper, section 5)."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.plotting import curves, headline, legend_below, over_seeds

TABLES = ("superclass",)
INPUTS = ("data",)
ARGUMENT = "method"
METHOD = "mrl"  # of the right-hand panel; `superclass_fixed_feature` draws that of another
NAMED = 3  # gains that are named


def draw(drawing):
    """Left: all methods. Right: each superclass of one method, with the largest gains framed and named."""
    table = drawing.table("superclass")
    method, superclasses = drawing.chosen("superclass", METHOD)
    superclasses = superclasses[superclasses["superclass"] != "all"]
    rows = superclasses["superclass"].nunique()
    figure = Figure(figsize=(7.4, max(4.6, 2 + 0.17 * rows)), layout="constrained")
    panels = figure.subplot_mosaic([["accuracy", "each"], ["inside", "each"]], width_ratios=(1, 1.05))
    overall = table[(table["superclass"] == "all") & ~table["reject"].astype(bool)]
    for name, metric in (("accuracy", "superclass_top1"), ("inside", "errors_within_superclass")):
        some = overall[overall["metric"] == metric]
        curves(drawing, panels[name], some, drawing.study.main_methods("superclass"))
    panels["accuracy"].set_xlabel("")
    heatmap(drawing, panels["each"], superclasses, method)
    headline(figure, drawing.conditions())
    legend_below(figure, panels["accuracy"], columns=4)
    return figure


def heatmap(drawing, axes, table, method):
    """Accuracy of each superclass at each size, those that gain most from small to large on top."""
    means = over_seeds(table, ("superclass", "dim"))
    accuracy, gains = (
        means[means["metric"] == metric].pivot(index="superclass", columns="dim", values="value")
        for metric in ("superclass_top1", "superclass_gain")
    )
    accuracy = accuracy.loc[(accuracy.iloc[:, -1] - accuracy.iloc[:, 0]).sort_values(ascending=False).index]
    image = accuracy.to_numpy()
    axes.imshow(image, aspect="auto", cmap="cividis")
    middle = (image.min() + image.max()) / 2
    for y, x in np.ndindex(*image.shape):
        color = "white" if image[y, x] < middle else "black"
        axes.text(x, y, f"{image[y, x]:.0f}", ha="center", va="center", fontsize=5.5, color=color)
    steps = gains.stack().sort_values(ascending=False)[:NAMED]
    named = []
    dims = list(accuracy.columns)
    for (superclass, m), gain in steps.items():
        x, y = dims.index(m), list(accuracy.index).index(superclass)
        frame = Rectangle((x - 1.5, y - 0.5), 2, 1, fill=False, edgecolor="#D55E00", linewidth=1.5)
        axes.add_patch(frame)
        named.append(f"{superclass} {dims[x - 1]}→{m}: {gain:+.0f}")
    axes.set_xticks(range(len(dims)), dims)
    axes.set_yticks(range(len(accuracy)), accuracy.index, fontsize=6)
    axes.set_xlabel("representation size (dimensions)")
    axes.grid(False)
    title = f"{drawing.label(method)}: accuracy of each superclass (%)"
    axes.set_title(title + "\nlargest gains (framed):\n" + ",\n".join(named), fontsize=7)
