"""How much each size adds: the oracle over sizes, and where images are first correct (paper, section 5)."""

import numpy as np

from analysis.metrics import metric
from analysis.plotting import curve, headline, legend_below, new_figure, over_seeds, size_axis

TABLES = ("disagreement", "linear")
INPUTS = ("data",)
METHODS = ("mrl", "fixed_feature")


def draw(drawing):
    """Left: accuracy, and the share right at some size up to this one. Right: first-correct shares.

    Thin: the share that would be right at some size if sizes of these accuracies erred independently.
    """
    figure, (left, right) = new_figure(2, width=7.2, height=3.3)
    table, linear = drawing.table("disagreement"), drawing.table("linear", metric="top1")
    methods = drawing.among(table, METHODS)
    first = over_seeds(table[table["metric"] == "first_correct"])
    never = over_seeds(table[table["metric"] == "never_correct"], ("method",))
    sizes = sorted(first["dim"].unique())
    width = 0.8 / len(methods)
    for place, method in enumerate(methods):
        look = drawing.look(method)
        shares = first[first["method"] == method]
        single = over_seeds(linear[linear["method"] == method])
        curve(drawing, left, method, single)
        networks = len(drawing.study.method(method).networks)
        over = f", {networks} networks" if networks > 1 else ""
        label = f"{drawing.label(method)}: right at some size up to this{over}"
        independent = 100 * (1 - (1 - single["value"] / 100).cumprod())
        left.plot(single["dim"], independent, color=look["color"], linewidth=0.6, alpha=0.6)
        hollow = look | {"linestyle": ":", "markerfacecolor": "white"}
        left.plot(shares["dim"], shares["value"].cumsum(), label=label, **hollow)
        values = np.append(shares["value"], never.loc[never["method"] == method, "value"])
        # A method may have fewer sizes than another.
        places = np.array([*map(sizes.index, shares["dim"]), len(sizes)])
        places = places + (place - (len(methods) - 1) / 2) * width
        bars = right.bar(places, values, width, color=look["color"], label=drawing.label(method))
        right.bar_label(bars, fmt="%.2g", fontsize=5.5, padding=1)
    size_axis(left, sizes)
    left.set_ylabel(metric("first_correct").axis)
    right.set_yscale("log")
    right.yaxis.set_major_formatter("{x:g}")
    right.set_xticks(range(len(sizes) + 1), [*sizes, "never"])
    right.set_xlabel("size at which an image is first right")
    right.set_ylabel(f"{metric('first_correct').axis}, log scale")
    right.legend()
    thin = "thin: right at some size if sizes as accurate as these erred independently"
    legend_below(figure, left, columns=2)
    headline(figure, f"{drawing.conditions()}\n{thin}")
    return figure
