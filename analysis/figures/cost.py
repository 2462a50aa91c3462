"""What every size costs: networks, training time and parameters, method by method."""

import numpy as np

from analysis.plotting import new_figure

TABLES = ("cost",)
INPUTS = ()
PANELS = (
    ("networks", "networks\nto train and keep"),
    ("train_seconds", "training\nseconds"),
    ("parameters", "parameters,\nall networks"),
    ("macs_all_sizes", "MACs for all sizes\nof one image"),
)


def draw(drawing):
    """Bars per method; fitted methods carry the network they start from."""
    table = drawing.table("cost", dim=0)
    means = table.groupby(["metric", "method"])["value"].mean()
    methods = [
        m.name for m in drawing.study.task_methods("cost") if m.kind != "control" and m.group == "baselines"
    ]
    places = np.arange(len(methods))[::-1]
    figure, panels = new_figure(4, width=7.2, height=0.9 + 0.22 * len(methods), sharey=True)
    for axes, (metric, label) in zip(panels, PANELS):
        values = [means.get((metric, method), np.nan) for method in methods]
        axes.barh(places, values, color=[drawing.look(method)["color"] for method in methods])
        for place, value in zip(places, values):
            axes.annotate(
                f"{value:.3g}" if value < 1e4 else f"{value / 1e6:.2f} M",
                (value, place),
                xytext=(2, 0),
                textcoords="offset points",
                va="center",
                fontsize=6,
            )
        axes.set_title(label)
        axes.set_xlim(0, 1.35 * np.nanmax(values))
        axes.set_xticks([])
        axes.grid(False)
    panels[0].set_yticks(places, [drawing.label(method) for method in methods])
    return figure
