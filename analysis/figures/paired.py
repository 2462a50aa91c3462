"""Each method's paired difference to a baseline at every size; `paired_mrl` takes MRL as the baseline."""

from analysis.plotting import headline, new_figure, size_axis
from analysis.statistics import MARGIN
from suite.errors import unknown

TABLES = ("paired",)
INPUTS = ("data",)
ARGUMENT = "method"
BASELINE = "fixed_feature"
OUTCOMES = {"linear": "linear top-1", "knn": "1-NN"}
LOWEST = -30  # points; what is worse is not to be seen, so that small differences are


def draw(drawing):
    """Filled markers: better or worse after Holm's adjustment. Grey band: differences that do not matter."""
    baseline = drawing.argument or BASELINE
    table = drawing.table("paired")
    if baseline not in set(table["baseline"]):
        raise unknown("baseline", baseline, table["baseline"].unique(), "`against` of tasks.paired")
    table = table[table["baseline"] == baseline]
    figure, panels = new_figure(2, width=7.2, height=3.7, sharey=True)
    for axes, (outcome, label) in zip(panels, OUTCOMES.items()):
        rows = table[table["outcome"] == outcome]
        axes.axhspan(-100 * MARGIN, 100 * MARGIN, color="#DDDDDD", zorder=0)
        for method in drawing.evaluated("paired"):
            some = rows[rows["method"] == method].sort_values("dim")
            if len(some):
                differences(drawing, axes, method, some)
        size_axis(axes, rows["dim"])
        axes.set_title(label)
    shown = table[table["method"].isin(drawing.evaluated("paired"))]
    panels[0].set_ylim(max(LOWEST, 100 * shown["low"].min() - 1), 100 * shown["high"].max() + 1)
    panels[0].set_ylabel(f"difference to {drawing.label(baseline)} (points)")
    headline(
        figure,
        f"{drawing.conditions()}, paired\nfilled: better or worse (Holm, 5 %); hollow: undecided or "
        f"equivalent; band: ± {100 * MARGIN:g} points",
    )
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def differences(drawing, axes, method, rows):
    """One method: a line, bars, and a marker per size filled by its verdict."""
    look = drawing.look(method)
    value, low, high = (100 * rows[key].to_numpy() for key in ("value", "low", "high"))
    bars = [value - low, high - value]
    axes.errorbar(
        rows["dim"],
        value,
        yerr=bars,
        elinewidth=0.6,
        label=drawing.label(method),
        **(look | {"markerfacecolor": "white"}),
    )
    sure = rows["verdict"].isin(["better", "worse"]).to_numpy()
    axes.plot(
        rows["dim"][sure], value[sure], color=look["color"], marker=look["marker"], linestyle="none", zorder=3
    )
