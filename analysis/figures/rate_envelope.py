"""Mean accuracy against the learning rate that was tried, per method and head rate, and what was chosen."""

import pandas as pd
from matplotlib.ticker import FixedLocator, NullLocator

from analysis.metrics import metric
from analysis.plotting import headline, log_axis, new_figure, rows_by

TABLES = ()
INPUTS = ("search",)
LINES = ("-", "--", "-.", ":")  # by head rate


def draw(drawing):
    """One panel per method that was searched for; points that only had a first seed have no band."""
    table = drawing.search()
    methods = rows_by(table, "method", drawing.study.methods)
    columns = min(3, len(methods))
    rows = -(-len(methods) // columns)
    figure, grid = new_figure(columns, rows, height=0.9 + 2.0 * rows, squeeze=False, sharey=True)
    for axes in grid.flat[len(methods) :]:
        axes.set_axis_off()
    for axes, (method, some) in zip(grid.flat, methods.items()):
        panel(axes, by_point(some), drawing.look(method)["color"])
        axes.set_title(drawing.label(method))
    for axes in grid[:, 0]:
        axes.set_ylabel(metric("top1").axis)
    one, parts = table.iloc[0], table[table["n"] > 0].drop_duplicates("scored_on")
    where = "tune" if one["scored_on"] == "tune" else f"train, {len(parts)} folds"
    items = f"{where}: n = {parts['n'].sum():,}"
    told = "mean over trained sizes and seeds · bands: lowest and highest seed"
    headline(figure, f"{drawing.study.title} · {items} · {told} · ring: chosen · dotted: ends of the grid")
    return figure


def by_point(table: pd.DataFrame) -> pd.DataFrame:
    """A row per head_rate and learning_rate: value, low and high over seeds (NaN: one diverged), chosen."""
    keys = ["head_rate", "learning_rate"]
    # The mean over networks, sizes and folds of one seed; NaN where one of its trainings diverged.
    by_seed = table.groupby([*keys, "seed"])["top1"].agg(lambda values: values.mean(skipna=False))
    points = by_seed.groupby(keys).agg([lambda values: values.mean(skipna=False), "min", "max"])
    points.columns = ["value", "low", "high"]
    return (metric("top1").scale * points).assign(chosen=table.groupby(keys)["chosen"].any()).reset_index()


def panel(axes, points: pd.DataFrame, color: str) -> None:
    """A line per head rate. points: of `by_point`."""
    rates = sorted(points["learning_rate"].unique())
    for line, (head_rate, some) in zip(LINES, points.dropna().groupby("head_rate")):
        label = f"heads × {head_rate:g}"
        axes.plot(some["learning_rate"], some["value"], line, marker="o", ms=3, color=color, label=label)
        axes.fill_between(some["learning_rate"], some["low"], some["high"], color=color, alpha=0.15, lw=0)
    chosen = points[points["chosen"]]
    ring = {"s": 70, "facecolors": "none", "edgecolors": "black", "linewidths": 1.2, "zorder": 3}
    axes.scatter(chosen["learning_rate"], chosen["value"], **ring)
    for end in (rates[0], rates[-1]):
        axes.axvline(end, color="#999999", linestyle=":", linewidth=0.8, zorder=0)
    log_axis(axes, base=2)
    axes.xaxis.set_major_locator(FixedLocator(rates))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="x", rotation=45)
    axes.set_xlabel("learning rate")
    axes.legend(fontsize=6, loc="lower center")
