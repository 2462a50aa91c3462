"""Loss and training accuracy per size over the epochs, for every trained method."""

import pandas as pd

from analysis.plotting import headline, new_figure
from suite.errors import UserError

TABLES = ()
INPUTS = ("logs",)


def draw(drawing):
    """One panel per method: training top-1 against epoch, light to dark from small to large sizes.

    Networks that came with their weights have no curve.
    """
    study = drawing.study
    methods = [m for m in study.methods.values() if m.networks and m.group == "baselines"]
    logs = {m.name: training_log(drawing, m) for m in methods}
    methods = [m for m in methods if len(logs[m.name])]
    if not methods:
        raise UserError("no network of this study was trained; take training_curves out of its figures")
    columns = min(3, len(methods))
    rows = -(-len(methods) // columns)
    figure, grid = new_figure(columns, rows, height=0.6 + 1.9 * rows, squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat[len(methods) :]:
        axes.set_axis_off()
    for axes, method in zip(grid.flat, methods):
        log = logs[method.name]
        color = drawing.look(method.name)["color"]
        sizes = sorted(log["dim"].unique())
        for place, m in enumerate(sizes):
            some = log[log["dim"] == m]
            axes.plot(
                some["epoch"],
                100 * some["train_top1"],
                color=color,
                alpha=0.25 + 0.75 * (place + 1) / len(sizes),
                label=f"{m}",
            )
        axes.set_title(method.label)
        axes.legend(title="size", ncols=2, fontsize=5.5, title_fontsize=6, loc="lower right")
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
    for axes in grid[:, 0]:
        axes.set_ylabel("training top-1 (%)")
    headline(figure, f"{study.title} · running average over each epoch's batches, mean of {drawing.seeds}")
    return figure


def training_log(drawing, method) -> pd.DataFrame:
    """Logs of a method's networks, averaged over seeds: dim, epoch, train_top1 …"""
    logs = [
        pd.read_csv(drawing.layout.network(net.name, seed) / "log.csv")
        for net in method.networks
        for seed in drawing.study.seeds
    ]
    return pd.concat(logs).groupby(["dim", "epoch"], as_index=False).mean(numeric_only=True)
