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
STYLES = {"mrl": ("o", "-"), "fixed_feature": ("D", "--")}  # what is drawn, and how


def draw(drawing):
    """One panel: MRL solid, a network per size dashed."""
    figure, axes = new_figure(width=5.6, height=4)
    table = drawing.table("fewshot", metric="top1")
    methods = drawing.among(table, STYLES)
    table = over_seeds(table, ("method", "shots", "dim"))
    colors = dict(zip(sorted(table["shots"].unique()), shades(table["shots"].nunique())))
    for (method, shots), rows in table[table["method"].isin(methods)].groupby(["method", "shots"]):
        marker, line = STYLES[method]
        axes.errorbar(
            rows["dim"],
            rows["value"],
            yerr=whiskers(rows),
            color=colors[shots],
            marker=marker,
            linestyle=line,
            elinewidth=0.8,
        )
    for method in methods:
        marker, line = STYLES[method]
        axes.plot([], [], color="#444444", marker=marker, linestyle=line, label=drawing.label(method))
    for shots, color in colors.items():
        axes.plot([], [], color=color, label=f"n = {shots}")
    legend_below(figure, axes, columns=len(methods) + len(colors))
    size_axis(axes, table["dim"])
    axes.set_ylabel(metric_of(table).axis)
    headline(
        figure,
        f"{drawing.conditions('v2', bars='95 % for the mean over choices')}\n"
        "n labelled images per class are chosen from v2, the rest is the test",
    )
    return figure
