"""What short prefixes, indexes and compressed codes trade: exact neighbours for time, precision for bytes.

`index_tradeoff` draws the first method that was evaluated, `index_tradeoff_pca` the one that is named.
"""

from itertools import cycle

from analysis.metrics import metric
from analysis.plotting import log_axis, new_figure, over_seeds
from analysis.plotting.retrieval import (
    INDEX_MARKERS,
    caption,
    first_pair,
    index_colors,
    label_points,
    timed,
    timed_fronts,
)

TABLES = ("index_retrieval",)
INPUTS = ("data",)
ARGUMENT = "method"
WITHOUT_CODES = ("hnsw", "ivf")  # keep whole vectors and more: their bytes are those of `exact` and above


def draw(drawing):
    """Left: the share of exact neighbours found, against time. Right: mAP@10 against bytes per item.

    Left, a line joins the sizes and search parameters than which no other is faster and finds more; across it
    one reads how long each index takes to find as much.
    """
    method, table = drawing.chosen("index_retrieval")
    table = first_pair(table)
    figure, (left, right) = new_figure(2, width=7.4, height=3.9)

    timed_fronts(drawing, left, timed(table, "exact_recall@10", threads=1), "exact_recall@10")
    left.set_ylabel(metric("exact_recall@10").axis)
    left.set_title("found, against time with one thread")

    rows = table[(table["metric"] == "map@10") & ~table["refined"].astype(bool)]
    colors = index_colors(drawing)
    means = over_seeds(rows, ("index", "dim", "bytes_per_item"))
    coded = [name for name in colors if name not in WITHOUT_CODES]
    for name, marker in zip(coded, cycle(INDEX_MARKERS)):
        line = means[means["index"] == name].sort_values("dim")
        look = {"color": colors[name], "marker": marker, "markersize": 3.5}
        right.plot(line["bytes_per_item"], line["value"], label=name, **look)
        label_points(right, line["bytes_per_item"], line["value"], line["dim"], colors[name])
    log_axis(right, base=2)
    right.set_xlabel(metric("bytes_per_item").axis)
    right.set_ylabel(metric("map@10").axis)
    right.set_title("without re-ranking, against space (exact: float32)")
    right.legend(loc="lower right")
    caption(drawing, figure, left, table, method)
    return figure
