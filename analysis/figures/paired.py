"""Each method's paired difference to a baseline at every size; `paired_mrl` takes MRL as the baseline."""

from analysis.metrics import metric
from analysis.plotting import (
    as_shown,
    cut_below,
    headline,
    legend_below,
    new_figure,
    rows_by,
    size_axis,
    whiskers,
)
from analysis.statistics import OF_NETWORKS, VERDICTS
from suite.errors import unknown

TABLES = ("paired",)
INPUTS = ("data",)
ARGUMENT = "method"
BASELINE = "fixed_feature"
OUTCOMES = ("linear", "knn")  # their top1


def draw(drawing):
    """Filled markers: told from 0 after Holm's adjustment. Grey band: differences that do not matter."""
    baseline = drawing.argument or BASELINE
    table = as_shown(drawing.table("paired"))
    if baseline not in set(table["baseline"]):
        raise unknown("baseline", baseline, table["baseline"].unique(), "`against` of tasks.paired")
    table = table[(table["baseline"] == baseline) & (table["dim"] > 0)]  # dim 0: the areas
    margin = 100 * drawing.study.margin
    figure, panels = new_figure(2, width=7.2, height=3.7, sharey=True)
    drawn = []
    for axes, outcome in zip(panels, OUTCOMES):
        rows = table[table["outcome"] == outcome]
        axes.axhspan(-margin, margin, color="#DDDDDD", zorder=0)
        for method, some in rows_by(rows, "method", drawing.shown("paired")).items():
            some = some.sort_values("dim")
            differences(drawing, axes, method, some)
            drawn.append((axes, some.set_index("dim")["value"], drawing.look(method)["color"]))
        size_axis(axes, rows["dim"])
        axes.set_title(metric("top1", outcome).label)
    cut_below(drawn)
    panels[0].set_ylabel(f"difference to {drawing.label(baseline)} (points)")
    networks = (table["scope"] == "networks").all()
    told = "higher or lower, of these networks" if networks else "better or worse"
    said = f"filled: {told} (Holm, 5 %); hollow: undecided or equivalent"
    headline(figure, f"{drawing.conditions()}, paired\n{said}; band: ± {margin:g} points")
    legend_below(figure, panels[0], columns=4)
    return figure


def differences(drawing, axes, method, rows):
    """One method: a line, bars, and a marker per size filled by its verdict."""
    look = drawing.look(method)
    hollow, label = look | {"markerfacecolor": "white"}, drawing.label(method)
    axes.errorbar(rows["dim"], rows["value"], yerr=whiskers(rows), elinewidth=0.6, label=label, **hollow)
    sure = rows[rows["verdict"].isin([*VERDICTS[:2], *OF_NETWORKS[:2]])]
    axes.plot(sure["dim"], sure["value"], **(look | {"linestyle": "none"}), zorder=3)
