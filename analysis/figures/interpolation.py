"""1-NN accuracy at sizes that were never trained, between those that were (paper, Figure 5)."""

from analysis.plotting import headline, metric_of, new_figure, over_seeds, size_axis

TABLES = ("knn",)
INPUTS = ("data",)
METHODS = ("mrl", "mrl_e", "fixed_feature", "pca")


def draw(drawing):
    """A line through every size; filled markers where a size was trained, hollow where it was not."""
    figure, axes = new_figure(width=4.6, height=3.2)
    table = drawing.table("knn", metric="top1")
    means = over_seeds(table, ("method", "dim", "trained"))
    for method in drawing.among(table, METHODS):
        rows = means[means["method"] == method]
        look = drawing.look(method)
        axes.plot(rows["dim"], rows["value"], label=drawing.label(method), **(look | {"marker": None}))
        for trained, fill in ((True, look["color"]), (False, "white")):
            some = rows[rows["trained"] == trained]
            axes.plot(some["dim"], some["value"], **(look | {"linestyle": "none", "markerfacecolor": fill}))
    size_axis(axes, means.loc[means["trained"] & means["method"].isin(METHODS), "dim"])
    axes.set_ylabel(metric_of(table).axis)
    axes.set_title("filled: trained sizes, hollow: sizes in between")
    headline(figure, drawing.conditions(bars=None))
    axes.legend(loc="lower right")
    return figure
