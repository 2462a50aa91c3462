"""The long-tailed stream: accuracy of four groups of classes, and along the stream (paper, appendix G)."""

from itertools import product

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
STARTS = {"cold": "class means start empty", "warm": "class means start from train"}
ALONG = {"mrl": "-", "fixed_feature": "--"}  # methods whose course is drawn


def draw(drawing):
    """Above: a panel per group, class means starting empty and warm. Below: two methods along the stream."""
    table = drawing.table("longtail")
    figure = Figure(figsize=(7.2, 7.4), layout="constrained")
    groups = rows_by(table[table["metric"] == "mean_class_top1"], "group", GROUPS)
    names = [[f"{start} {group}" for group in groups] for start in STARTS]
    panels = figure.subplot_mosaic([*names, ["along"] * len(groups)], height_ratios=(1.1, 1.1, 1))
    first = panels[names[0][0]]
    for start, (group, rows) in product(STARTS, groups.items()):
        axes = panels[f"{start} {group}"]
        curves(drawing, axes, rows[rows["start"] == start], drawing.study.main_methods("longtail"))
        axes.set_ylabel(STARTS[start] if group == next(iter(groups)) else "")
        axes.set_title(f"{GROUPS[group]}\n{rows['n'].max()} classes" if start == "cold" else "")
        axes.tick_params(axis="x", rotation=60)
        axes.set_xlabel("size" if start == "warm" else "")
    along = table[(table["metric"] == "top1_along_stream") & (table["start"] == "cold")]
    draw_along(drawing, panels["along"], along)
    accuracy = metric_of(next(iter(groups.values()))).axis
    head = drawing.study.tasks["longtail"]["head"]
    interval = drawing.study.measure_options("classmeans")["interval"]
    headline(
        figure,
        f"{drawing.conditions('stream', bars='95 % over classes')}\n{accuracy} · "
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
    axes.set_title(STARTS["cold"])
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
