"""Adaptive retrieval: mAP@10 against compute per query, all pairs of sizes (paper, Figure 8).

`adaptive_retrieval` draws the first method that was evaluated, `adaptive_retrieval_pca` the one it names.
"""

import pandas as pd
from matplotlib.axes import Axes

from analysis.metrics import mflops_per_query
from analysis.plotting import headline, new_figure, over_seeds, paper, shades
from suite.errors import unknown

TABLES = ("adaptive_retrieval",)
INPUTS = ("data",)
ARGUMENT = "method"
PANELS = {"val": "seen classes", "query": "unseen classes"}
PAPER_ITEMS = 1_281_167  # of ImageNet-1K's training split, the paper's database
KEYS = ("search", "shortlist_dim", "rerank_dim", "shortlist_k", "mflops")


def draw(drawing):
    """A colour per shortlist size, its points the sizes that order the shortlist; black: one search alone."""
    method = chosen_method(drawing, "adaptive_retrieval")
    figure, panels, tables = panels_of(drawing, "adaptive_retrieval", method, KEYS)
    most = over_pairs(tables)
    for axes, table in zip(panels, tables):
        single_search(axes, table[table["search"] == "single"])
        adaptive = table[table["search"] == "adaptive"]
        usual = adaptive["shortlist_k"].mode().iloc[0]
        pairs(axes, adaptive[adaptive["shortlist_k"] == usual], most)
        other_lengths(axes, adaptive, usual)
    theirs = paper_pairs()
    single_search(panels[-1], theirs[theirs["rerank_dim"].isna()], alpha=0.5)
    pairs(panels[-1], theirs.dropna(subset=["rerank_dim"]), None, alpha=0.5)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5)
    headline(
        figure,
        f"{drawing.study.title} · {drawing.label(method)} · along a colour, the size that re-ranks grows",
    )
    return figure


def chosen_method(drawing, task: str) -> str:
    """The method of the figure's name, or the first one evaluated. Raises UserError for any other."""
    methods = [method.name for method in drawing.study.task_methods(task)]
    if drawing.argument and drawing.argument not in methods:
        raise unknown("method", drawing.argument, methods, f"tasks.{task} of {drawing.study.path}")
    return drawing.argument or methods[0]


def panels_of(drawing, task: str, method: str, keys: tuple[str, ...], metric: str = "map@10"):
    """(figure, panels, tables): a panel and a table per pair of splits, and a last panel for the paper's."""
    table = drawing.table(task, metric=metric, method=method)
    splits = [split for split in PANELS if (table["split"] == split).any()]
    figure, panels = new_figure(len(splits) + 1, width=7.4, height=3.4)
    tables = []
    for axes, split in zip(panels, splits):
        rows = table[table["split"] == split]
        axes.set_title(searched(drawing, rows))
        tables.append(over_seeds(rows, keys))
    panels[-1].set_title("the paper: ResNet50, ImageNet-1K\n(comparable in shape only)", color="#666666")
    for axes in panels:
        log_axis(axes)
        axes.set_xlabel("MFLOPs per query")
    panels[0].set_ylabel("mAP@10 (%)")
    return figure, panels, tables


def searched(drawing, rows: pd.DataFrame) -> str:
    """What was searched, for a title. rows: of one pair of splits."""
    row = rows.iloc[0]
    items = len(drawing.dataset.labels(row["database"]))
    return f"{PANELS[row['split']]}: {row['n']:,} queries\nin {items:,} items"


def over_pairs(tables: list[pd.DataFrame]) -> list[int]:
    """Shortlist sizes, increasing."""
    return sorted(set().union(*(table["shortlist_dim"] for table in tables)))


def single_search(axes: Axes, rows: pd.DataFrame, alpha: float = 1.0) -> None:
    """One search per size, each point with its size. rows: mflops, value, shortlist_dim."""
    rows = rows.sort_values("mflops")
    axes.plot(
        rows["mflops"], 100 * rows["value"], "k.-", label="one search", alpha=alpha, linewidth=1, zorder=3
    )
    label_points(axes, rows["mflops"], 100 * rows["value"], rows["shortlist_dim"], alpha=alpha)


def log_axis(axes: Axes) -> None:
    """A log₁₀ x axis with plain numbers."""
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:.0e}"[0] in "25" else "")
    axes.tick_params(axis="x", which="minor", labelsize=6)


def label_points(axes: Axes, xs, ys, sizes, color: str = "black", alpha: float = 1.0) -> None:
    """The size beside each point, below and to the right."""
    for x, y, size in zip(xs, ys, sizes):
        axes.annotate(
            f"{size:g}",
            (x, y),
            xytext=(3, -3),
            textcoords="offset points",
            va="top",
            fontsize=5.5,
            color=color,
            alpha=alpha,
        )


def pairs(axes: Axes, rows: pd.DataFrame, sizes: list[int] | None, alpha: float = 1.0) -> None:
    """A line per shortlist size over the sizes that re-rank. sizes: those with a colour (None: all here)."""
    sizes = sizes or sorted(rows["shortlist_dim"].unique())
    colors = dict(zip(sizes, shades(len(sizes))))
    for size, line in rows.groupby("shortlist_dim"):
        line = line.sort_values("rerank_dim")
        axes.plot(
            line["mflops"],
            100 * line["value"],
            "o-",
            color=colors[size],
            markersize=3,
            alpha=alpha,
            label=f"shortlist at {size:g}",
        )


def other_lengths(axes: Axes, rows: pd.DataFrame, usual: int) -> None:
    """Other lengths of the shortlist for one pair of sizes, joined by dots. rows: of adaptive retrieval."""
    others = rows[rows["shortlist_k"] != usual]
    if others.empty:
        return
    pair = others.iloc[0][["shortlist_dim", "rerank_dim"]]
    same = rows[(rows[["shortlist_dim", "rerank_dim"]] == pair).all(axis=1)].sort_values("shortlist_k")
    lengths = same["shortlist_k"]
    label = f"{pair['shortlist_dim']:g} to {pair['rerank_dim']:g}, K = {lengths.min():g} … {lengths.max():g}"
    axes.plot(
        same["mflops"],
        100 * same["value"],
        linestyle=":",
        marker="x",
        markersize=4,
        color="#D55E00",
        label=label,
    )


def paper_pairs() -> pd.DataFrame:
    """The paper's: shortlist_dim, rerank_dim (none for one search), mflops, value as a fraction."""
    table = paper("adaptive_retrieval", "map@10").assign(value=lambda rows: rows["value"] / 100)
    stages = zip(table["shortlist_dim"], table["rerank_dim"], table["shortlist_k"])
    table["mflops"] = [mflops_per_query(PAPER_ITEMS, int(s), [(int(k), int(r))]) for s, r, k in stages]
    single = paper("retrieval", "map@10").query("method == 'mrl'").dropna(subset=["dim"])
    single = single.assign(value=single["value"] / 100, shortlist_dim=single["dim"])
    single["mflops"] = [mflops_per_query(PAPER_ITEMS, int(dim)) for dim in single["dim"]]
    single["rerank_dim"] = float("nan")
    columns = ["shortlist_dim", "rerank_dim", "mflops", "value"]
    return pd.concat([table[columns], single[columns]], ignore_index=True)
