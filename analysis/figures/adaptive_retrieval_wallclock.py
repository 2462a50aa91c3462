"""Adaptive retrieval on the clock: mAP@10 against milliseconds per query, FAISS, plain and refined.

`adaptive_retrieval_wallclock` draws the first method that was evaluated, `…_pca` the one that is named.
"""

from analysis.figures.adaptive_retrieval import chosen_method, label_points, log_axis
from analysis.plotting import SEQUENCE, headline, new_figure

TABLES = ("index_retrieval",)
INPUTS = ("data",)
ARGUMENT = "method"
KEYS = ["index", "dim", "refined"]


def draw(drawing):
    """A panel per number of threads; a colour per index that is also refined; numbers are sizes."""
    method = chosen_method(drawing, "index_retrieval")
    table = drawing.table("index_retrieval", method=method)
    precision = metric_of(table, "map@10")
    times = table[table["metric"] == "milliseconds"]
    threads = sorted(times["threads"].unique())
    figure, panels = new_figure(len(threads), width=7.2, height=3.4, sharey=True, squeeze=False)
    for axes, count in zip(panels[0], threads):
        rows = precision.join(metric_of(times[times["threads"] == count], "milliseconds"))
        timed_curves(drawing, axes, rows, "map@10")
        axes.set_title(f"{count:g} thread{'s' if count > 1 else ''}")
    panels[0][0].set_ylabel("mAP@10 (%)")
    caption(drawing, figure, panels[0][0], table, method)
    return figure


def metric_of(table, metric: str):
    """One metric as a column, means over seeds, by index, size and whether it is refined."""
    return table[table["metric"] == metric].groupby(KEYS)["value"].mean().rename(metric).to_frame()


def timed_curves(drawing, axes, rows, metric: str) -> None:
    """Value against time for every index that is also refined: its own order solid, refined dashed.

    rows: by KEYS, with `metric` and milliseconds.
    """
    colors = index_colors(drawing)
    rows = rows.reset_index()
    for name in rows.loc[rows["refined"], "index"].unique():
        for refined, line in rows[rows["index"] == name].groupby("refined"):
            line = line.sort_values("dim")
            axes.plot(
                line["milliseconds"],
                100 * line[metric],
                color=colors[name],
                marker="^" if refined else "o",
                linestyle="--" if refined else "-",
                markersize=3.5,
                label=f"{name}, re-ranked at the full size" if refined else name,
            )
            named = line[:1] if refined else line  # refined, all have nearly the same value
            label_points(axes, named["milliseconds"], 100 * named[metric], named["dim"], colors[name])
    log_axis(axes)
    axes.set_xlabel("milliseconds per query")


def index_colors(drawing) -> dict[str, str]:
    """Colour of each index by name."""
    return dict(zip(drawing.study.measure_options("indexes")["indexes"], SEQUENCE))


def caption(drawing, figure, axes, table, method: str) -> None:
    """What was searched, above; one legend, below."""
    timed = table[table["metric"] == "milliseconds"].iloc[0]
    items = len(drawing.dataset.labels(timed["database"]))
    headline(
        figure,
        f"{drawing.study.title} · {drawing.label(method)} · {timed['n']:,} queries of {timed['split']}, "
        f"all at once, in {items:,} items",
    )
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
