"""Adaptive retrieval on the clock: mAP@10 against milliseconds per query, FAISS, plain and refined.

`adaptive_retrieval_wallclock` draws the first method that was evaluated, `…_pca` the one that is named.
"""

from analysis.metrics import metric
from analysis.plotting import new_figure
from analysis.plotting.retrieval import caption, timed, timed_curves

TABLES = ("index_retrieval",)
INPUTS = ("data",)
ARGUMENT = "method"


def draw(drawing):
    """A panel per number of threads; a colour per index that is also refined; numbers are sizes."""
    method, table = drawing.chosen("index_retrieval")
    threads = sorted(table["threads"].dropna().unique())
    figure, panels = new_figure(len(threads), width=7.2, height=3.4, sharey=True, squeeze=False)
    for axes, count in zip(panels[0], threads):
        timed_curves(drawing, axes, timed(table, "map@10", count), "map@10")
        axes.set_title(f"{count:g} thread{'s' if count > 1 else ''}")
    panels[0][0].set_ylabel(metric("map@10").axis)
    caption(drawing, figure, panels[0][0], table, method)
    return figure
