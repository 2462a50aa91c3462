"""The long-tailed stream: accuracy of four groups of classes, and along the stream (paper, appendix G)."""

from matplotlib.figure import Figure

from analysis.plotting import curves, headline, legend_below, metric_of, over_seeds, rows_by, shades

TABLES = ("longtail",)
INPUTS = ("data",)
GROUPS = {
    "pretrain_head": "trained classes, frequent",
    "pretrain_tail": "trained classes, rare",
    "novel_head": "new classes, frequent",
    "novel_tail": "new classes, rare",
}
ALONG = {"mrl": "-", "fixed_feature": "--"}  # methods whose course is drawn


def draw(drawing):
    """Above: a panel per group. Below: smallest, middle and largest size of two methods along the stream."""
    table = drawing.table("longtail")
    figure = Figure(figsize=(7.2, 5.4), layout="constrained")
    groups = rows_by(table[table["metric"] == "mean_class_top1"], "group", GROUPS)
    panels = figure.subplot_mosaic([list(groups), ["along"] * len(groups)], height_ratios=(1.2, 1))
    first = panels[next(iter(groups))]
    for group, rows in groups.items():
        axes = panels[group]
        curves(drawing, axes, rows, drawing.shown("longtail"))
        if axes is not first:
            axes.set_ylabel("")
        axes.set_title(f"{GROUPS[group]}\n{rows['n'].max()} classes")
        axes.tick_params(axis="x", rotation=60)
        axes.set_xlabel("size")
    draw_along(drawing, panels["along"], table[table["metric"] == "top1_along_stream"])
    head = drawing.study.tasks["longtail"]["head"]
    interval = drawing.study.measure_options("classmeans")["interval"]
    headline(
        figure,
        f"{drawing.conditions('stream', bars='95 % over classes')}\n"
        f"frequent: more than {head} images in the stream · class means updated every {interval} images",
    )
    legend_below(figure, first, columns=4)
    return figure


def draw_along(drawing, axes, table):
    """Accuracy within windows of the stream, a colour per size."""
    sizes = sorted(table["dim"].unique())
    chosen = sorted({sizes[0], sizes[len(sizes) // 2], sizes[-1]})
    means = over_seeds(table, ("method", "dim", "until"))
    for method, line in ALONG.items():
        for m, color in zip(chosen, shades(len(chosen))):
            if len(rows := means[(means["method"] == method) & (means["dim"] == m)]):
                label = f"{drawing.label(method)}, size {m}"
                axes.plot(rows["until"], rows["value"], line, color=color, label=label)
    axes.set_xlabel("images seen")
    axes.set_ylabel(metric_of(table).axis)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
