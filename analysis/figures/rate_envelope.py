"""Mean accuracy against the learning rate that was tried, per method and head rate, and what was chosen."""

import pandas as pd
from matplotlib.ticker import FixedLocator, NullLocator

from analysis.metrics import metric
from analysis.plotting import headline, log_axis, new_figure, rows_by

TABLES = ()
INPUTS = ("search",)
KEYS = ["head_rate", "learning_rate"]
LINES = (
    ("-", None),
    ("--", "#555555"),
    ("-.", "#AAAAAA"),
    (":", "#DDDDDD"),
)  # by head rate; None: the method's


def draw(drawing):
    """One panel per search; points that only had a first seed have no band."""
    table = drawing.search()
    searches = [
        (f"{drawing.label(method)}{size}", drawing.look(method)["color"], rows)
        for method, of_method in rows_by(table, "method", drawing.study.methods).items()
        for size, rows in apart(of_method)
    ]
    columns = min(3, len(searches))
    rows = -(-len(searches) // columns)
    figure, grid = new_figure(columns, rows, height=0.9 + 2.0 * rows, squeeze=False, sharey=True)
    for axes in grid.flat[len(searches) :]:
        axes.set_axis_off()
    for axes, (title, color, some) in zip(grid.flat, searches):
        panel(axes, by_point(some), color)
        axes.set_title(title)
    for axes in grid[:, 0]:
        axes.set_ylabel(metric("top1").axis)
    one, parts = table.iloc[0], table[table["n"] > 0].drop_duplicates("scored_on")
    where = "tune" if one["scored_on"] == "tune" else f"train, {len(parts)} folds"
    items = f"{where}: n = {parts['n'].sum():,}"
    told = "mean over trained sizes and seeds · bands: lowest and highest seed"
    headline(figure, f"{drawing.study.title} · {items} · {told} · ring: chosen · dotted: ends of the grid")
    return figure


def apart(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """(how its title ends, rows) of each search of one method: of all its networks, or of each its own."""
    trained = [*KEYS, "seed"]
    networks = dict(iter(table.groupby("network", sort=False)))
    if len({frozenset(rows[trained].itertuples(index=False, name=None)) for rows in networks.values()}) == 1:
        return [("", table)]
    return sorted(
        ((f", {rows['dim'].max()}", rows) for rows in networks.values()),
        key=lambda pair: pair[1]["dim"].max(),
    )


def by_point(table: pd.DataFrame) -> pd.DataFrame:
    """A row per head_rate and learning_rate: value, low and high over seeds (NaN: one diverged), chosen."""
    # The mean over networks, sizes and folds of one seed; NaN where one of its trainings diverged.
    by_seed = table.groupby([*KEYS, "seed"])["top1"].agg(lambda values: values.mean(skipna=False))
    points = by_seed.groupby(KEYS).agg([lambda values: values.mean(skipna=False), "min", "max"])
    points.columns = ["value", "low", "high"]
    return (metric("top1").scale * points).assign(chosen=table.groupby(KEYS)["chosen"].any()).reset_index()


def panel(axes, points: pd.DataFrame, color: str) -> None:
    """A line per head rate. points: of `by_point`."""
    rates = sorted(points["learning_rate"].unique())
    for (line, own), (head_rate, some) in zip(LINES, points.dropna().groupby("head_rate")):
        look = {"linestyle": line, "color": own or color, "marker": "o", "markersize": 3}
        axes.plot(some["learning_rate"], some["value"], label=f"heads × {head_rate:g}", **look)
        axes.fill_between(
            some["learning_rate"], some["low"], some["high"], color=own or color, alpha=0.15, lw=0
        )
    chosen = points[points["chosen"]]
    ring = {"s": 70, "facecolors": "none", "edgecolors": "black", "linewidths": 1.2, "zorder": 3}
    axes.scatter(chosen["learning_rate"], chosen["value"], **ring)
    for end in (rates[0], rates[-1]):
        axes.axvline(end, color="#555555", linestyle=":", linewidth=1)
    log_axis(axes, base=2)
    axes.xaxis.set_major_locator(FixedLocator(rates))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="x", rotation=45)
    axes.set_xlabel("learning rate")
    axes.legend(fontsize=6, handlelength=3.5)
