"""The main figures: the paper's methods against size beside the paper's own curves, and all others minus FF.

Methods that hold up lie within a few points, those that collapse many points below: where both occur the axis
is broken, the larger part for what holds up. A figure called `…_others` draws the study's other methods as
differences to FF.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plotting import (
    Drawing,
    curve,
    cut_below,
    headline,
    legend_below,
    look,
    metric_of,
    new_figure,
    over_seeds,
    paper,
    paper_title,
    rows_by,
    size_axis,
    whiskers,
)
from suite.contracts import METHOD
from suite.study import OTHERS, PAPER_METHODS, TUNED

REFERENCES = ("fixed_feature", "mrl")  # what others are compared with: the first that the study has
HOLDS_UP = 0.7  # of the best value at any size, a method's value at every size
ROOM = 0.06  # of an axis, above and below the curves
CROWDED = 7  # sizes that a panel among three has room for, lying
LABEL_GAP = 0.085  # between labels, of the upper axis' height


def against_size(
    drawing: Drawing,
    shown: Sequence[tuple[str, pd.DataFrame]],
    task: str,
    bars: str | None,
    split: str | None,
) -> Figure:
    """A panel per (title, rows of one metric), and the paper's curves if it has any; for OTHERS, differences.

    Studies of ready embeddings stand alone.

    bars, split: as `Drawing.conditions` takes them.
    """
    if drawing.argument == OTHERS:
        return differences(drawing, shown, task, bars, split)
    metric, theirs = metric_of(shown[0][1]), paper(task, shown[0][1]["metric"].iloc[0])
    if drawing.study.ready:  # vectors of texts, say: the paper's networks have nothing to do with them
        theirs = theirs.iloc[:0]
    figure = Figure(figsize=(7.2, 3.7), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.02, hspace=0)  # between the parts of a broken axis
    ratios = [1.5] * len(shown) + [1.1] * (not theirs.empty)
    grid = figure.add_gridspec(2, len(ratios), width_ratios=ratios, height_ratios=(2, 1))
    main = drawing.study.main_methods(task)
    for place, (title, rows) in enumerate(shown):
        means = over_seeds(rows[rows["method"].isin(main)])
        methods = rows_by(means, "method", main)
        parts = broken(figure, grid, place, methods.values())
        for axes in parts:
            for method, some in methods.items():
                curve(drawing, axes, method, some)
        size_axis(parts[-1], means["dim"])
        if len(ratios) > 2:
            parts[-1].set_xlabel("size (dimensions)")
            if means["dim"].nunique() > CROWDED:
                parts[-1].tick_params(axis="x", rotation=60)
        parts[0].set_title(title)
        if place == 0:
            parts[0].set_ylabel(metric.axis)
        if place == len(shown) - 1:
            names = {method: (drawing.label(method), drawing.look(method)["color"]) for method in methods}
            label_ends(parts[0], methods, names)
    if not theirs.empty:
        paper_curves(figure, grid, len(shown), theirs)
    headline(figure, drawing.conditions(split, bars=bars))
    return figure


def by_recipe(drawing: Drawing, table: pd.DataFrame, task: str, over: str = "test items") -> Figure:
    """A panel per recipe of the study. table: rows of one metric; over: what their intervals are over."""
    groups = {"baselines": "one recipe for all", TUNED: "each tuned"}
    groups = {title: drawing.shown(task, group=group) for group, title in groups.items()}
    shown = [(title, table[table["method"].isin(names)]) for title, names in groups.items() if names]
    if len(shown) == 1:
        shown = [("", shown[0][1])]
    return against_size(drawing, shown, task, f"95 % over {over}", "val")


def broken(figure: Figure, grid, column: int, methods: Iterable[pd.DataFrame]) -> list[Axes]:
    """The axis of a column, or its upper and lower part, limits set.

    methods: rows with `value` of each, and `low` and `high` where there are intervals.
    """
    rows = list(methods)
    best = max(each["value"].max() for each in rows)
    up = [each for each in rows if each["value"].min() >= HOLDS_UP * best]
    every = pd.concat(rows)
    highest = every[[name for name in ("value", "high") if name in every]].max(axis=None)
    lowest = every[[name for name in ("value", "low") if name in every]].min(axis=None)
    room = ROOM * (highest - lowest)
    if not up or len(up) == len(rows):
        axes = figure.add_subplot(grid[:, column])
        axes.set_ylim(lowest - room, highest + room)
        return [axes]
    cut = min(each["value"].min() for each in up)
    room = 2 * ROOM * (highest - cut)
    upper = figure.add_subplot(grid[0, column])
    lower = figure.add_subplot(grid[1, column], sharex=upper)
    upper.set_ylim(cut - room, highest + room)
    lower.set_ylim(lowest - ROOM * (cut - lowest), cut - room)
    upper.tick_params(axis="x", bottom=False, labelbottom=False)
    upper.spines["bottom"].set_visible(False)
    slash = {"marker": [(-1, -0.5), (1, 0.5)], "markersize": 6, "linestyle": "none", "color": "k", "mew": 0.8}
    upper.plot([0], [0], transform=upper.transAxes, clip_on=False, **slash)
    lower.plot([0], [1], transform=lower.transAxes, clip_on=False, **slash)
    return [upper, lower]


def label_ends(axes: Axes, methods: dict[str, pd.DataFrame], names: dict[str, tuple[str, str]]) -> None:
    """Write each curve's name at its right end, moved apart where ends lie close. names: (label, colour)."""
    low, high = axes.get_ylim()
    last = {name: rows.sort_values("dim").iloc[-1] for name, rows in methods.items()}
    order = sorted(names, key=lambda name: last[name]["value"])
    wanted = np.array([(last[name]["value"] - low) / (high - low) for name in order])
    places = apart(wanted, LABEL_GAP)
    for name, place in zip(order, places):
        label, color = names[name]
        axes.annotate(
            label,
            (last[name]["dim"], last[name]["value"]),
            xytext=(1.05, place),
            textcoords="axes fraction",
            color=color,
            fontsize=7,
            va="center",
            arrowprops={
                "arrowstyle": "-",
                "color": color,
                "linewidth": 0.5,
                "shrinkA": 1,
                "shrinkB": 3,
                "relpos": (0, 0.5),
            },
        )


def apart(wanted: np.ndarray, gap: float) -> np.ndarray:
    """Increasing places at least `gap` apart: the wanted ones pushed up, then down where that is above 1.

    >>> apart(np.array([0.5, 0.5, 0.9]), 0.25).tolist()
    [0.5, 0.75, 1.0]
    """
    places = wanted.astype(float)
    for place in range(1, len(places)):
        places[place] = max(places[place], places[place - 1] + gap)
    places[-1] = min(places[-1], 1)
    for place in range(len(places) - 2, -1, -1):
        places[place] = min(places[place], places[place + 1] - gap)
    return places


def paper_curves(figure: Figure, grid, column: int, table: pd.DataFrame) -> None:
    """The paper's own curves in the same looks, named at their ends. table: method, dim, value."""
    table = table.dropna(subset=["dim"]).sort_values("dim")
    methods = rows_by(table, "method", PAPER_METHODS)
    parts = broken(figure, grid, column, methods.values())
    for axes in parts:
        for method, rows in methods.items():
            axes.plot(rows["dim"], rows["value"], **look(method))
        axes.tick_params(axis="x", rotation=60)
    size_axis(parts[-1], table["dim"])
    names = {name: (METHOD.facts(name).LABEL, look(name)["color"]) for name in methods}
    label_ends(parts[0], methods, names)
    paper_title(parts[0])


def differences(
    drawing: Drawing,
    shown: Sequence[tuple[str, pd.DataFrame]],
    task: str,
    bars: str | None,
    split: str | None,
) -> Figure:
    """All other methods minus FF, a panel per (title, rows); bars as if measured on other items than FF."""
    reference = next(name for name in REFERENCES if name in drawing.study.methods)
    others = drawing.study.other_methods(task)
    figure, panels = new_figure(len(shown), width=7.2, height=3.4, squeeze=False, sharey=True)
    drawn = []
    for axes, (title, rows) in zip(panels[0], shown):
        means = over_seeds(rows).set_index("dim")
        base = means[means["method"] == reference]
        axes.axhline(0, color="#888888", linewidth=0.8)
        for method, some in rows_by(means, "method", others).items():
            both = some.index.intersection(base.index)
            some, its = some.loc[both], base.loc[both]
            halves = [np.hypot(some[end] - some["value"], its[end] - its["value"]) for end in ("low", "high")]
            value = some["value"] - its["value"]
            interval = pd.DataFrame({"value": value, "low": value - halves[0], "high": value + halves[1]})
            style = drawing.look(method) | {"label": drawing.label(method), "elinewidth": 0.8}
            axes.errorbar(both, value, yerr=whiskers(interval), **style)
            drawn.append((axes, value, style["color"]))
        size_axis(axes, base.index)
        axes.set_title(title)
    cut_below(drawn)
    panels[0, 0].set_ylabel(f"difference to {drawing.label(reference)} (points)")
    headline(
        figure, f"{drawing.conditions(split, bars=bars)}, as if of other items; as paired: figure paired"
    )
    legend_below(figure, panels[0, 0])
    return figure
