"""Is an embedding nested? What its prefixes are ahead of random columns of it, at every size."""

from analysis.answers import points
from analysis.metrics import metric
from analysis.plotting import as_shown, headline, legend_below, look, new_figure, rows_by, size_axis, whiskers

TABLES = ("nestedness",)
INPUTS = ("data",)
BESIDE = 1.03  # one method is drawn so much further right than another


def draw(drawing):
    """A line per embedding; bars are 95 % over queries. Grey band: differences that do not matter."""
    table = as_shown(drawing.table("nestedness"))
    table = table[table["dim"] > 0]  # dim 0: the areas
    figure, axes = new_figure(width=4.6, height=3.4)
    margin = drawing.study.margin
    axes.axhspan(-100 * margin, 100 * margin, color="#DDDDDD", zorder=0)
    axes.axhline(0, color="#999999", linewidth=0.6, zorder=0)
    by_method = rows_by(table, "method", drawing.shown("nestedness"))
    for place, (method, rows) in enumerate(by_method.items()):
        rows = rows.sort_values("dim")
        how = look("", place) | {"label": drawing.label(method), "elinewidth": 0.8}
        aside = BESIDE ** (place - (len(by_method) - 1) / 2)  # or bars would lie on each other
        axes.errorbar(aside * rows["dim"], rows["value"], yerr=whiskers(rows), **how)
    size_axis(axes, table["dim"])
    name = metric("ndcg@10").label if set(table["outcome"]) == {"judged_retrieval"} else "outcome"
    axes.set_ylabel(f"{name}: prefix − random columns (points)")
    bars = "95 % over queries, paired"
    headline(figure, f"{drawing.conditions(None, bars=bars)}\nband: ± {points(margin)}")
    legend_below(figure, axes, columns=3)
    return figure
