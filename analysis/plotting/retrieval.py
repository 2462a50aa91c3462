"""What figures of retrieval share: precision against compute and against time, the paper's."""

from collections.abc import Sequence
from itertools import cycle

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.metrics import CASCADES, metric, mflops_per_query, pareto_front
from analysis.plotting import (
    SEQUENCE,
    Drawing,
    beside,
    headline,
    legend_below,
    log_axis,
    metric_of,
    new_figure,
    over_seeds,
    paper,
    paper_title,
    rows_by,
)

PANELS = {"val": "seen classes", "query": "unseen classes"}
PAPER_ITEMS, PAPER_SHORTLIST = 1_281_167, 200  # the paper's database is ImageNet-1K's training split
PAIRS = ("search", "shortlist_dim", "rerank_dim", "shortlist_k", "mflops")  # of adaptive retrieval
TIMED = ("index", "dim", "refined", "search")
INDEX_MARKERS = "osD^vPXph*"  # of indexes, in the order of their colours


def panels_of(
    drawing: Drawing, table: pd.DataFrame, method: str, keys: Sequence[str]
) -> tuple[Figure, list[Axes], dict[str, pd.DataFrame]]:
    """(figure, panels, the method's means by split): a panel per pair of splits, a last one for the paper's.

    Below them, where the table has several methods, the best that each does at every cost. table: map@10.
    """
    splits = rows_by(table, "split", PANELS)
    methods = [name for name in drawing.shown() if (table["method"] == name).any()]
    size = {"rows": 2, "height": 6.2} if len(methods) > 1 else {"height": 3.6}
    figure, panels = new_figure(len(splits) + 1, width=7.4, squeeze=False, **size)
    for axes, rows in zip(panels[0], splits.values()):
        axes.set_title(f"{searched(drawing, rows)}\n{shortlists(rows)}")
    paper_title(panels[0, -1])
    first = CASCADES["A"][0] if "stages" in table else PAPER_SHORTLIST
    theirs = f"{panels[0, -1].get_title()}\n{share_of(first, PAPER_ITEMS)}"
    panels[0, -1].set_title(theirs, color="#666666")
    for axes in panels.flat:
        log_axis(axes)
        axes.set_xlabel(metric("mflops").axis)
    for axes in panels[:, 0]:
        axes.set_ylabel(metric_of(table).axis)
    if len(methods) > 1:
        for axes, rows in zip(panels[1], splits.values()):
            fronts(drawing, axes, rows, methods, keys, "mflops")
            axes.set_title("the best of each method\nat every cost")
        panels[1, -1].set_axis_off()
        panels[1, -1].legend(*panels[1, 0].get_legend_handles_labels(), loc="center")
    own = {split: over_seeds(rows[rows["method"] == method], keys) for split, rows in splits.items()}
    return figure, panels[0], own


def fronts(
    drawing: Drawing, axes: Axes, table: pd.DataFrame, methods: Sequence[str], keys: Sequence[str], cost: str
) -> None:
    """What each method reaches at every cost, a line each. table: of one metric; cost: one of the keys."""
    for name in methods:
        look = drawing.look(name) | {"label": drawing.label(name)}
        front_line(axes, over_seeds(table[table["method"] == name], keys), cost, look)


def front_line(axes: Axes, rows: pd.DataFrame, cost: str, look: dict, value: str = "value") -> pd.DataFrame:
    """Draw, and return, the rows than which none is both cheaper and better."""
    best = pareto_front(rows[[cost, value]].to_numpy(), (-1, +1))
    rows = rows[best].sort_values(cost)
    axes.plot(rows[cost], rows[value], **look | {"markersize": 3.5})
    return rows


def searched(drawing: Drawing, rows: pd.DataFrame) -> str:
    """What was searched, for a title. rows: of one pair of splits."""
    row = rows.iloc[0]
    items = len(drawing.dataset.labels(row["database"]))
    return f"{PANELS[row['split']]}: {row['n']:,} queries\nin {items:,} items"


def shortlists(rows: pd.DataFrame) -> str:
    """How long shortlists are, in items and in shares of the database. rows: of one pair of splits."""
    if "stages" in rows:
        lengths = rows["stages"].str.extract(r"^(\d+):")[0].astype(int)
        return share_of(lengths.max(), rows["items"].iloc[0])
    usual = rows.loc[rows["shortlist_k"] > 0, "shortlist_k"].mode().iloc[0]
    return share_of(int(usual), rows["items"].iloc[0])


def share_of(length: int, items: int) -> str:
    """A shortlist and how much of the database it is.

    >>> share_of(200, 1_281_167)
    'shortlist of 200: 0.016 %'
    """
    return f"shortlist of {length:,}: {100 * length / items:.2g} %"


def single_search(axes: Axes, rows: pd.DataFrame, alpha: float = 1.0) -> None:
    """One search per size, each point with its size. rows: mflops, value, shortlist_dim."""
    rows = rows.sort_values("mflops")
    axes.plot(rows["mflops"], rows["value"], "k.-", label="one search", alpha=alpha, linewidth=1, zorder=3)
    label_points(axes, rows["mflops"], rows["value"], rows["shortlist_dim"], alpha=alpha)


def label_points(axes: Axes, xs, ys, sizes, color: str = "black", alpha: float = 1.0) -> None:
    """The size beside the first and the last point, below and to the right: those between are in order."""
    points = list(zip(xs, ys, sizes))
    for x, y, m in dict.fromkeys((points[0], points[-1])):
        beside(axes, f"{m:g}", (x, y), (3, -3), va="top", fontsize=5.5, color=color, alpha=alpha)


def paper_pairs() -> pd.DataFrame:
    """The paper's: shortlist_dim, rerank_dim (none for one search), mflops, value in per cent."""
    table = paper("adaptive_retrieval", "map@10")
    stages = zip(table["shortlist_dim"], table["rerank_dim"], table["shortlist_k"])
    pairs = [mflops_per_query(PAPER_ITEMS, int(s), [(int(k), int(r))]) for s, r, k in stages]
    single = paper("retrieval", "map@10").query("method == 'mrl'").dropna(subset=["dim"])
    alone = [mflops_per_query(PAPER_ITEMS, int(m)) for m in single["dim"]]
    single = single.assign(mflops=alone, shortlist_dim=single["dim"], rerank_dim=float("nan"))
    columns = ["shortlist_dim", "rerank_dim", "mflops", "value"]
    return pd.concat([table.assign(mflops=pairs)[columns], single[columns]], ignore_index=True)


def timed(table: pd.DataFrame, precision: str, threads: int) -> pd.DataFrame:
    """`precision` and milliseconds of every configuration of an index (TIMED): means over seeds."""
    times = table[(table["metric"] == "milliseconds") & (table["threads"] == threads)]
    found = table[table["metric"] == precision]
    columns = {precision: found, "milliseconds": times}
    means = {name: over_seeds(rows, TIMED).set_index(list(TIMED))["value"] for name, rows in columns.items()}
    return pd.DataFrame(means).reindex(means[precision].index).reset_index()


def timed_fronts(drawing: Drawing, axes: Axes, rows: pd.DataFrame, precision: str) -> None:
    """What every index that is also refined finds in the time: its own order solid, refined dashed.

    Each line joins the sizes and settings than which no other is faster and finds more; light points are the
    others. rows: of `timed`.
    """
    colors = index_colors(drawing)
    for name in rows.loc[rows["refined"], "index"].unique():
        for refined, some in rows[rows["index"] == name].groupby("refined"):
            color, marker = colors[name], "^" if refined else "o"
            axes.plot(some["milliseconds"], some[precision], marker, color=color, alpha=0.2, markersize=2.5)
            look = {"color": color, "marker": marker, "linestyle": "--" if refined else "-"}
            look["label"] = f"{name}, re-ranked at the full size" if refined else name
            line = front_line(axes, some, "milliseconds", look, precision)
            named = line[:1] if refined else line  # refined, all have nearly the same value
            label_points(axes, named["milliseconds"], named[precision], named["dim"], color)
    log_axis(axes)
    axes.set_xlabel(metric("milliseconds").axis)


def index_colors(drawing: Drawing) -> dict[str, str]:
    """Colour of each index by name."""
    return dict(zip(drawing.study.measure_options("indexes")["indexes"], cycle(SEQUENCE)))


def caption(drawing: Drawing, figure: Figure, axes: Axes, table: pd.DataFrame, method: str) -> None:
    """What was searched, above; one legend, below. table: of one pair of splits."""
    row = table[table["metric"] == "milliseconds"].iloc[0]
    again = share_of(int(table["shortlist_k"].max()), row["items"])
    headline(
        figure,
        f"{drawing.conditions(None, bars=None)} · {drawing.label(method)} · {row['n']:,} queries of "
        f"{row['split']}, all at once, in {row['items']:,} items · re-ranked: {again}",
    )
    legend_below(figure, axes, columns=3)


def first_pair(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the first pair of splits that a table has."""
    return table[table["split"] == table["split"].iloc[0]]
