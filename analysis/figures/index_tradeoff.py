"""What short prefixes, indexes and compressed codes trade: exact neighbours for time, precision for bytes.

`index_tradeoff` draws the first method that was evaluated, `index_tradeoff_pca` the one that is named.
"""

from analysis.figures.adaptive_retrieval import chosen_method, label_points
from analysis.figures.adaptive_retrieval_wallclock import (
    caption,
    index_colors,
    metric_of,
    timed_curves,
)
from analysis.plotting import new_figure

TABLES = ("index_retrieval",)
INPUTS = ("data",)
ARGUMENT = "method"
MARKERS = "osD^vPXph"
WITHOUT_CODES = ("hnsw", "ivf")  # keep whole vectors and more: their bytes are those of `exact` and above


def draw(drawing):
    """Left: the share of exact neighbours found, against time. Right: mAP@10 against bytes per item."""
    method = chosen_method(drawing, "index_retrieval")
    table = drawing.table("index_retrieval", method=method)
    figure, (left, right) = new_figure(2, width=7.4, height=3.6)

    times = table[(table["metric"] == "milliseconds") & (table["threads"] == 1)]
    timed_curves(
        drawing,
        left,
        metric_of(table, "exact_recall@10").join(metric_of(times, "milliseconds")),
        "exact_recall@10",
    )
    left.set_ylabel("of the 10 exact neighbours at full size (%)")
    left.set_title("found, against time with one thread")

    rows = table[(table["metric"] == "map@10") & ~table["refined"].astype(bool)]
    colors = index_colors(drawing)
    means = rows.groupby(["index", "dim"])[["value", "bytes_per_item"]].mean().reset_index()
    for place, name in enumerate(name for name in colors if name not in WITHOUT_CODES):
        line = means[means["index"] == name].sort_values("dim")
        right.plot(
            line["bytes_per_item"],
            100 * line["value"],
            color=colors[name],
            marker=MARKERS[place],
            markersize=3.5,
            label=name,
        )
        label_points(right, line["bytes_per_item"], 100 * line["value"], line["dim"], colors[name])
    right.set_xscale("log", base=2)
    right.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    right.set_xlabel("bytes per item")
    right.set_ylabel("mAP@10 (%)")
    right.set_title("without re-ranking, against space (exact: float32)")
    right.legend(loc="lower right")
    caption(drawing, figure, left, table, method)
    return figure
