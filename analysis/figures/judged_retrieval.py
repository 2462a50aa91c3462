"""Retrieval from a collection against size: nDCG@10 and recall@100 of each model and what is made of it."""

from analysis.evaluations.answers import short_label
from analysis.metrics import metric_in_table
from analysis.plotting import as_shown, headline, legend_below, look, new_figure, rows_by, size_axis, whiskers

TABLES = ("judged_retrieval",)
INPUTS = ("data",)
METRICS = ("ndcg@10", "recall@100")


def draw(drawing):
    """A column per model, a row per metric; prefixes are cut and then normalised, bars 95 % over queries."""
    table = as_shown(drawing.table("judged_retrieval", renormalised=True))
    groups = by_model(drawing, drawing.shown("judged_retrieval"))
    shown = [name for name in METRICS if (table["metric"] == name).any()]
    size = {"width": 1 + 3.1 * len(groups), "height": 0.9 + 2.1 * len(shown)}
    figure, panels = new_figure(len(groups), len(shown), squeeze=False, sharex="col", sharey="row", **size)
    for column, (model, methods) in zip(panels.T, groups.items()):
        column[0].set_title(drawing.label(model))
        for axes, name in zip(column, shown):
            rows = rows_by(table[table["metric"] == name], "method", methods)
            for place, (method, some) in enumerate(rows.items()):
                some = some.sort_values("dim")
                how = look("", place) | {"label": made(drawing, method, model), "elinewidth": 0.8}
                axes.errorbar(some["dim"], some["value"], yerr=whiskers(some), markersize=3.5, **how)
            if len(rows):
                size_axis(axes, table[table["method"].isin(methods)]["dim"])
            axes.label_outer()
    for axes, name in zip(panels[:, 0], shown):
        axes.set_ylim(bottom=0)
        axes.set_ylabel(metric_in_table(name, "judged_retrieval").axis)
    queries = f"{table['n'].max():,} queries"
    headline(figure, f"{drawing.conditions(None, bars='95 % over queries')} · {queries}")
    legend_below(figure, max(panels[0], key=lambda axes: len(axes.containers)), columns=4)
    return figure


def by_model(drawing, methods: list[str]) -> dict[str, list[str]]:
    """Methods by the one that they start from, which comes first; each method that has no source is one."""
    sources = {name: drawing.study.method(name).source or name for name in methods}
    return {
        model: [model, *(name for name, source in sources.items() if source == model != name)]
        for model in dict.fromkeys(sources.values())
    }


def made(drawing, method: str, model: str) -> str:
    """What was made of a model, without its name; of the model itself: prefix."""
    return "prefix" if method == model else short_label(drawing.label(method), drawing.label(model))
