"""What figures of retrieval share: precision against compute and against time, the paper's."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.metrics import metric, mflops_per_query
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
PAPER_ITEMS = 1_281_167  # of ImageNet-1K's training split, the paper's database
PAIRS = ("search", "shortlist_dim", "rerank_dim", "shortlist_k", "mflops")  # of adaptive retrieval
TIMED = ("index", "dim", "refined")


def panels_of(
    drawing: Drawing, table: pd.DataFrame, keys: Sequence[str]
) -> tuple[Figure, list[Axes], dict[str, pd.DataFrame]]:
    """(figure, panels, means by split): one panel per pair of splits, and a last one for the paper's.

    table: map@10 of one method.
    """
    splits = rows_by(table, "split", PANELS)
    figure, panels = new_figure(len(splits) + 1, width=7.4, height=3.4)
    for axes, rows in zip(panels, splits.values()):
        axes.set_title(searched(drawing, rows))
    paper_title(panels[-1])
    for axes in panels:
        log_axis(axes)
        axes.set_xlabel(metric("mflops").axis)
    panels[0].set_ylabel(metric_of(table).axis)
    return figure, panels, {split: over_seeds(rows, keys) for split, rows in splits.items()}


def searched(drawing: Drawing, rows: pd.DataFrame) -> str:
    """What was searched, for a title. rows: of one pair of splits."""
    row = rows.iloc[0]
    items = len(drawing.dataset.labels(row["database"]))
    return f"{PANELS[row['split']]}: {row['n']:,} queries\nin {items:,} items"


def single_search(axes: Axes, rows: pd.DataFrame, alpha: float = 1.0) -> None:
    """One search per size, each point with its size. rows: mflops, value, shortlist_dim."""
    rows = rows.sort_values("mflops")
    axes.plot(rows["mflops"], rows["value"], "k.-", label="one search", alpha=alpha, linewidth=1, zorder=3)
    label_points(axes, rows["mflops"], rows["value"], rows["shortlist_dim"], alpha=alpha)


def label_points(axes: Axes, xs, ys, sizes, color: str = "black", alpha: float = 1.0) -> None:
    """The size beside each point, below and to the right."""
    for x, y, m in zip(xs, ys, sizes):
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
    """`precision` and milliseconds by index, size and whether it is refined: means over seeds."""
    times = table[(table["metric"] == "milliseconds") & (table["threads"] == threads)]
    found = table[table["metric"] == precision]
    columns = {precision: found, "milliseconds": times}
    means = {name: over_seeds(rows, TIMED).set_index(list(TIMED))["value"] for name, rows in columns.items()}
    return pd.DataFrame(means).reindex(means[precision].index).reset_index()


def timed_curves(drawing: Drawing, axes: Axes, rows: pd.DataFrame, precision: str) -> None:
    """Value against time for every index that is also refined: its own order solid, refined dashed.

    rows: of `timed`.
    """
    colors = index_colors(drawing)
    for name in rows.loc[rows["refined"], "index"].unique():
        for refined, line in rows[rows["index"] == name].groupby("refined"):
            line = line.sort_values("dim")
            look = {"color": colors[name], "markersize": 3.5}
            label = f"{name}, re-ranked at the full size" if refined else name
            axes.plot(line["milliseconds"], line[precision], "^--" if refined else "o-", label=label, **look)
            named = line[:1] if refined else line  # refined, all have nearly the same value
            label_points(axes, named["milliseconds"], named[precision], named["dim"], colors[name])
    log_axis(axes)
    axes.set_xlabel(metric("milliseconds").axis)


def index_colors(drawing: Drawing) -> dict[str, str]:
    """Colour of each index by name."""
    return dict(zip(drawing.study.measure_options("indexes")["indexes"], SEQUENCE))


def caption(drawing: Drawing, figure: Figure, axes: Axes, table: pd.DataFrame, method: str) -> None:
    """What was searched, above; one legend, below."""
    row = table[table["metric"] == "milliseconds"].iloc[0]
    items = len(drawing.dataset.labels(row["database"]))
    headline(
        figure,
        f"{drawing.conditions(None, bars=None)} · {drawing.label(method)} · {row['n']:,} queries of "
        f"{row['split']}, all at once, in {items:,} items",
    )
    legend_below(figure, axes, columns=3)
