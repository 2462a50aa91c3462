"""What every size costs: networks, compute of training and parameters, method by method."""

import textwrap

import numpy as np

from analysis.metrics import metric
from analysis.plotting import beside, headline, new_figure

TABLES = ("cost",)
INPUTS = ()
PANELS = ("networks", "train_macs", "parameters", "macs_all_sizes")


def draw(drawing):
    """Bars per method; fitted methods carry the network they start from."""
    table = drawing.table("cost", dim=0)
    means = table.groupby(["metric", "method"])["value"].mean().unstack(0)
    means["train_macs"] += means["fit_macs"]
    methods = drawing.shown("cost")
    places = np.arange(len(methods))[::-1]
    figure, panels = new_figure(4, width=7.2, height=1.1 + 0.22 * len(methods), sharey=True)
    for axes, name in zip(panels, PANELS):
        values = metric(name).scale * means[name].reindex(methods)
        axes.barh(places, values, color=[drawing.look(method)["color"] for method in methods])
        for place, value in zip(places, values):
            text = f"{value:.3g}" if value < 1e4 else f"{value / 1e6:.2f} M"
            beside(axes, text, (value, place), (2, 0), va="center", fontsize=6)
        axes.set_title(textwrap.fill(metric(name).axis, 24))
        axes.set_xlim(0, 1.35 * np.nanmax(values))
        axes.set_xticks([])
        axes.grid(False)
    panels[0].set_yticks(places, [drawing.label(method) for method in methods])
    headline(figure, drawing.conditions(None, bars=f"mean over seeds, n = {len(drawing.study.seeds)}"))
    return figure
