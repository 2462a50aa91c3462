"""Every claim of the paper that the study can test: the difference, its interval, what it comes to."""

from textwrap import fill

import numpy as np
from matplotlib.lines import Line2D

from analysis.findings.decide import UNFINISHED
from analysis.findings.rules import OUTCOMES
from analysis.plotting import headline, new_figure

TABLES = ("findings",)
INPUTS = ("data",)
COLOURS = dict(zip(OUTCOMES, ("#009E73", "#D55E00", "#777777", "#BBBBBB")))
MARKS = dict(zip(OUTCOMES, "osD"))
LINEAR = 2  # points on each side of zero that the axis shows in equal steps; further out in decades
WIDTH = 62  # characters of a claim in a line


def draw(drawing, name="findings"):
    """A row per claim, dot and bar by outcome; a tick where the paper's own numbers lie."""
    given = drawing.table(name)
    table = given[given["outcome"] != "not tested"]
    figure, axes = new_figure(width=7.2, height=1.4 + 0.27 * len(table))
    margin = 100 * table["margin"].iloc[0]
    axes.axvspan(-margin, margin, color="#EEEEEE", zorder=0)
    axes.axvline(0, color="#999999", linewidth=0.8, zorder=1)
    for place, row in enumerate(table.itertuples()):
        colour = COLOURS[row.outcome]
        value, low, high = 100 * row.value, 100 * row.low, 100 * row.high
        bar = [[value - low], [high - value]]
        look = {"color": colour, "marker": MARKS[row.outcome], "elinewidth": 1.6, "linestyle": "none"}
        axes.errorbar([value], [place], xerr=bar, markersize=4.5, **look)
        if np.isfinite(row.paper):
            axes.plot(100 * row.paper, place, "|", color="black", markersize=8, markeredgewidth=1.2)
    axes.set_yticks(range(len(table)), [label(row) for row in table.itertuples()], fontsize=6)
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.set_xscale("symlog", linthresh=LINEAR)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:+g}".replace("-", "−") if value else "0")
    axes.set_xticks([-50, -20, -10, -5, -2, -1, 0, 1, 2, 5, 10, 20, 50])
    axes.tick_params(axis="x", labelsize=6)
    axes.set_xlabel("difference, points")
    axes.grid(axis="x", visible=False)
    axes.spines["left"].set_visible(False)
    shown = [outcome for outcome in OUTCOMES[:3] if (table["outcome"] == outcome).any()]
    handles = [
        Line2D([], [], color=COLOURS[outcome], marker=MARKS[outcome], label=outcome) for outcome in shown
    ]
    handles.append(
        Line2D(
            [], [], color="black", marker="|", linestyle="none", markersize=8, label="the paper's own numbers"
        )
    )
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    said = [drawing.conditions(table["split"].iloc[0])]
    if given["gained"].max() > UNFINISHED:
        said.append(f"unfinished: the last doubling of the length gained {given['doubling'].iloc[0]}")
    once = (table["scope"] == "networks").sum()
    if once:
        of = "outcomes are" if once == len(table) else f"{once} outcome{'s are' if once > 1 else ' is'}"
        said.append(f"{of} of these networks, trained once")
    said.append(f"grey: the margin, ± {margin:g}")
    if left := len(given) - len(table):
        said.append(f"{left} further claims were not tested")
    headline(figure, " · ".join(said))
    return figure


def label(row) -> str:
    """The claim and what it is about, broken into lines."""
    return fill(f"{row.claim} ({row.metric})", WIDTH)
