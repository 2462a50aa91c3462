"""Adaptive retrieval on the clock: mAP@10 against milliseconds per query, FAISS, plain and refined.

`adaptive_retrieval_wallclock` draws all indexes of the first method that was evaluated, `…_pca` of the one
that is named; the others by the best they do in the time. Median of repeats, preparing queries included.
"""

from analysis.metrics import metric
from analysis.plotting import log_axis, new_figure
from analysis.plotting.retrieval import caption, first_pair, front_line, timed, timed_fronts

TABLES = ("index_retrieval",)
INPUTS = ("data",)
ARGUMENT = "method"


def draw(drawing):
    """A panel per number of threads; a colour per index that is also refined; numbers are sizes.

    Last, where several methods were evaluated, what each reaches with one thread, whatever the index.
    """
    method, own = drawing.chosen("index_retrieval")
    own, table = first_pair(own), first_pair(drawing.table("index_retrieval"))
    methods = [name for name in drawing.shown("index_retrieval") if (table["method"] == name).any()]
    threads, several = sorted(own["threads"].dropna().unique()), len(methods) > 1
    figure, panels = new_figure(len(threads) + several, width=7.4, height=3.9, sharey=True, squeeze=False)
    for axes, count in zip(panels[0], threads):
        timed_fronts(drawing, axes, timed(own, "map@10", count), "map@10")
        axes.set_title(f"{drawing.label(method)}, {count:g} thread{'s' if count > 1 else ''}")
    if several:
        last = panels[0, -1]
        for name in methods:
            rows = timed(table[table["method"] == name], "map@10", threads[0])
            front_line(
                last, rows, "milliseconds", drawing.look(name) | {"label": drawing.label(name)}, "map@10"
            )
        log_axis(last)
        last.set_xlabel(metric("milliseconds").axis)
        last.set_title("the best of any index, 1 thread")
        last.legend(loc="lower right")
    panels[0, 0].set_ylabel(metric("map@10").axis)
    caption(drawing, figure, panels[0, 0], own, method)
    return figure
