"""Cut or quantise? nDCG@10 against bytes per item, of every size of every code; a line joins the best of all.

`bytes_tradeoff` draws the first method that was evaluated, `bytes_tradeoff_<method>` the one that is named.
"""

from itertools import cycle

import numpy as np

from analysis.metrics import metric, pareto_front
from analysis.plotting import headline, legend_below, log_axis, new_figure, over_seeds
from analysis.plotting.retrieval import INDEX_MARKERS, index_colors, label_points

TABLES = ("quantised_retrieval",)
INPUTS = ("data",)
ARGUMENT = "method"
METRIC = "ndcg@10"
BYTES = 4  # of a number of a full vector


def draw(drawing):
    """Left: codes alone; right: with the shortlist ordered by the full vectors, whose bytes stand above."""
    method, table = drawing.chosen("quantised_retrieval")
    table = table[table["metric"] == METRIC].copy()
    full = BYTES * int(table["dim"].max())  # of the vectors that order again: they may lie on a disk
    table.loc[table["refined"].astype(bool), "bytes_per_item"] -= full
    figure, panels = new_figure(2, width=7.4, height=3.9, sharex=True, sharey=True)
    colors = index_colors(drawing)
    for axes, refined in zip(panels, (False, True)):
        rows = table[table["refined"].astype(bool) == refined]
        means = over_seeds(rows, ("index", "dim", "bytes_per_item"))
        for (name, color), marker in zip(colors.items(), cycle(INDEX_MARKERS)):
            line = means[means["index"] == name].sort_values("dim")
            if len(line):
                look = {"color": color, "marker": marker, "markersize": 3.5}
                axes.plot(line["bytes_per_item"], line["value"], linewidth=0.8, label=name, **look)
                first = line[:1]  # where lines end they lie on each other
                label_points(axes, first["bytes_per_item"], first["value"], first["dim"], color)
        points = means[["bytes_per_item", "value"]].to_numpy()
        best = points[pareto_front(points, (metric("bytes_per_item").direction, metric(METRIC).direction))]
        best = best[np.argsort(best[:, 0])]
        axes.step(*best.T, where="post", color="black", linewidth=0.8, linestyle=":", zorder=0)
        log_axis(axes, base=2)
        axes.set_xlabel(metric("bytes_per_item").axis)
    panels[0].set_ylabel(metric(METRIC).axis)
    panels[0].set_title("codes alone")
    panels[1].set_title(f"ordered again by full vectors\n({full:,} bytes more, not counted here)")
    said = "numbers: dimensions a line begins with · dotted: nothing smaller is better"
    headline(figure, f"{drawing.conditions(None, bars=None)}\n{drawing.label(method)} · {said}")
    legend_below(figure, panels[0], columns=8)
    return figure
