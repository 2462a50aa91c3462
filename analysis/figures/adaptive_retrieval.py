"""Adaptive retrieval: mAP@10 against compute per query, all pairs of sizes (paper, Figure 8).

`adaptive_retrieval` draws all pairs of the first method that was evaluated, `adaptive_retrieval_pca` of the
one it names; the others by the best they do at every cost.
"""

import pandas as pd
from matplotlib.axes import Axes

from analysis.plotting import headline, legend_below, shades
from analysis.plotting.retrieval import PAIRS, panels_of, paper_pairs, single_search

TABLES = ("adaptive_retrieval",)
INPUTS = ("data",)
ARGUMENT = "method"


def draw(drawing):
    """A colour per shortlist size, its points the sizes that order the shortlist; black: one search alone.

    Below, where several methods were evaluated, what each of them reaches at every cost.
    """
    method, _ = drawing.chosen("adaptive_retrieval")
    table = drawing.table("adaptive_retrieval", metric="map@10")
    figure, panels, means = panels_of(drawing, table, method, PAIRS)
    sizes = sorted(set().union(*(rows["shortlist_dim"] for rows in means.values())))
    for axes, rows in zip(panels, means.values()):
        single_search(axes, rows[rows["search"] == "single"])
        adaptive = rows[rows["search"] == "adaptive"]
        usual = adaptive["shortlist_k"].mode().iloc[0]
        pairs(axes, adaptive[adaptive["shortlist_k"] == usual], sizes)
        other_lengths(axes, adaptive, usual)
    theirs = paper_pairs()
    single_search(panels[-1], theirs[theirs["rerank_dim"].isna()], alpha=0.5)
    theirs = theirs.dropna(subset=["rerank_dim"])
    pairs(panels[-1], theirs, sorted(theirs["shortlist_dim"].unique()), alpha=0.5)
    legend_below(figure, panels[0])
    what = f"{drawing.conditions(None, bars=None)} · {drawing.label(method)}"
    headline(figure, f"{what} · along a colour, the size that re-ranks grows")
    return figure


def pairs(axes: Axes, rows: pd.DataFrame, sizes: list[int], alpha: float = 1.0) -> None:
    """A line per shortlist size over the sizes that re-rank. sizes: those that have a colour."""
    colors = dict(zip(sizes, shades(len(sizes))))
    for m, line in rows.groupby("shortlist_dim"):
        line = line.sort_values("rerank_dim")
        look = {"color": colors[m], "markersize": 3, "alpha": alpha}
        axes.plot(line["mflops"], line["value"], "o-", label=f"shortlist at {m:g}", **look)


def other_lengths(axes: Axes, rows: pd.DataFrame, usual: int) -> None:
    """Other lengths of the shortlist for one pair of sizes, joined by dots. rows: of adaptive retrieval."""
    others = rows[rows["shortlist_k"] != usual]
    if others.empty:
        return
    pair = others.iloc[0][["shortlist_dim", "rerank_dim"]]
    same = rows[(rows[["shortlist_dim", "rerank_dim"]] == pair).all(axis=1)].sort_values("shortlist_k")
    lengths = same["shortlist_k"]
    label = f"{pair['shortlist_dim']:g} to {pair['rerank_dim']:g}, K = {lengths.min():g} … {lengths.max():g}"
    axes.plot(same["mflops"], same["value"], "x:", markersize=4, color="#D55E00", label=label)
