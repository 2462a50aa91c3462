"""Is an embedding nested? What its prefixes are ahead of random columns of it, at every size."""

from analysis.metrics import metric
from analysis.plotting import as_shown, headline, legend_below, new_figure, rows_by, size_axis, whiskers

TABLES = ("nestedness",)
INPUTS = ("data",)


def draw(drawing):
    """A line per embedding; bars are 95 % over queries. Grey band: differences that do not matter."""
    table = as_shown(drawing.table("nestedness"))
    table = table[table["dim"] > 0]  # dim 0: the areas
    figure, axes = new_figure(width=4.6, height=3.4)
    margin = 100 * drawing.study.margin
    axes.axhspan(-margin, margin, color="#DDDDDD", zorder=0)
    axes.axhline(0, color="#999999", linewidth=0.6, zorder=0)
    for method, rows in rows_by(table, "method", drawing.shown("nestedness")).items():
        rows = rows.sort_values("dim")
        look = drawing.look(method) | {"label": drawing.label(method), "elinewidth": 0.8}
        axes.errorbar(rows["dim"], rows["value"], yerr=whiskers(rows), **look)
    size_axis(axes, table["dim"])
    name = metric("ndcg@10").label if set(table["outcome"]) == {"judged_retrieval"} else "outcome"
    axes.set_ylabel(f"{name}: prefix − random columns (points)")
    bars = "95 % over queries, paired"
    headline(figure, f"{drawing.conditions(None, bars=bars)}\nband: ± {margin:g} points")
    legend_below(figure, axes, columns=3)
    return figure
