"""Few-shot accuracy against size, a colour per number of labelled images (paper, appendix G)."""

from matplotlib.lines import Line2D

from analysis.plotting import headline, new_figure, over_seeds, shades, size_axis

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
        value, low, high = (100 * rows[key].to_numpy() for key in ("value", "low", "high"))
        axes.errorbar(
            rows["dim"],
            value,
            yerr=[value - low, high - value],
            color=colors[shots],
            marker=marker,
            linestyle=line,
            elinewidth=0.8,
        )
    handles = [
        Line2D([], [], color="#444444", marker=STYLES[m][0], linestyle=STYLES[m][1], label=drawing.label(m))
        for m in methods
    ]
    handles += [Line2D([], [], color=color, label=f"n = {n}") for n, color in colors.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    size_axis(axes, table["dim"])
    axes.set_ylabel("nearest-class-mean accuracy (%)")
    headline(
        figure,
        f"{drawing.conditions('v2', bars='95 % for the mean over choices')}\n"
        "n labelled images per class are chosen from v2, the rest is the test",
    )
    return figure
