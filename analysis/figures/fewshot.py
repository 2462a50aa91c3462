"""Few-shot accuracy against size, a colour per number of labelled images (paper, appendix G)."""

from analysis.plotting import (
    headline,
    legend_below,
    metric_of,
    new_figure,
    over_seeds,
    shades,
    size_axis,
    whiskers,
)

TABLES = ("fewshot",)
INPUTS = ("data",)
STYLES = {  # what is drawn, and how
    "mrl": {"marker": "o", "linestyle": "-"},
    "fixed_feature": {"marker": "D", "linestyle": "--"},
}


def draw(drawing):
    """One panel: MRL solid, a network per size dashed."""
    figure, axes = new_figure(width=5.6, height=4)
    table = drawing.table("fewshot", metric="top1")
    methods = drawing.among(table, STYLES)
    table = over_seeds(table, ("method", "shots", "dim"))
    colors = dict(zip(sorted(table["shots"].unique()), shades(table["shots"].nunique())))
    for (method, shots), rows in table[table["method"].isin(methods)].groupby(["method", "shots"]):
        look = STYLES[method] | {"color": colors[shots], "elinewidth": 0.8}
        axes.errorbar(rows["dim"], rows["value"], yerr=whiskers(rows), **look)
    for method in methods:
        axes.plot([], [], color="#444444", label=drawing.label(method), **STYLES[method])
    for shots, color in colors.items():
        axes.plot([], [], color=color, label=f"n = {shots}")
    legend_below(figure, axes, columns=len(methods) + len(colors))
    size_axis(axes, table["dim"])
    axes.set_ylabel(metric_of(table).axis)
    conditions = drawing.conditions("v2", bars="95 % over classes")
    headline(figure, f"{conditions}\nn labelled images per class are chosen from v2, the rest is the test")
    return figure
