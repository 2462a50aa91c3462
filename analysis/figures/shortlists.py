"""How long a shortlist? nDCG@10 of shortlists that are ordered again, against their length, size by size.

`shortlists` draws the first method that was evaluated, `shortlists_<method>` the one that is named.
"""

from analysis.metrics import metric
from analysis.plotting import (
    as_shown,
    headline,
    legend_below,
    log_axis,
    new_figure,
    over_seeds,
    shades,
    whiskers,
)

TABLES = ("two_stage_retrieval",)
INPUTS = ("data",)
ARGUMENT = "method"


def draw(drawing):
    """Left: the difference to one full search; right: the same nDCG@10 against multiply-accumulates."""
    method, table = drawing.chosen("two_stage_retrieval")
    figure, (left, right) = new_figure(2, width=7.2, height=3.2)
    lost = as_shown(table[table["metric"] == "difference"])
    found = table[table["metric"] == "ndcg@10"]
    single = found[found["shortlist_k"] == 0]
    plans = over_seeds(found[found["shortlist_k"] > 0], ("dim", "shortlist_k", "mflops"))
    sizes = sorted(lost["dim"].unique())
    for m, color in zip(sizes, shades(len(sizes))):
        look = {"color": color, "marker": "o", "markersize": 3}
        rows = lost[lost["dim"] == m].sort_values("shortlist_k")
        left.errorbar(
            rows["shortlist_k"], rows["value"], whiskers(rows), label=f"{m}", elinewidth=0.8, **look
        )
        rows = plans[plans["dim"] == m].sort_values("mflops")
        right.plot(rows["mflops"], rows["value"], **look)
    full = as_shown(single)
    right.plot(full["mflops"], full["value"], "*", color="black", markersize=9)
    left.axhline(0, color="#999999", linewidth=0.8, zorder=0)
    for axes, name in ((left, "documents of the shortlist"), (right, metric("mflops").axis)):
        log_axis(axes)
        axes.set_xlabel(name)
    left.set_ylabel(f"{metric('ndcg@10').label} − one full search (points)")
    right.set_ylabel(metric("ndcg@10").axis)
    right.set_title("star: one full search")
    left.set_title("bars: 95 % over queries, paired")
    said = (
        f"{drawing.label(method)} · a curve for each size of the shortlist, ordered again by all dimensions"
    )
    headline(figure, f"{drawing.conditions(None, bars=None)}\n{said}")
    legend_below(figure, left, columns=8)
    return figure
