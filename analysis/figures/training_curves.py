"""Loss and training accuracy per size over the epochs, for every trained method."""

import pandas as pd

from analysis.metrics import metric
from analysis.plotting import headline, new_figure
from suite import files
from suite.errors import UserError

TABLES = ()
INPUTS = ("data", "logs")


def draw(drawing):
    """One panel per method: training top-1 against epoch, light to dark from small to large sizes.

    Networks that came with their weights have no curve.
    """
    trained = [name for name in drawing.shown() if drawing.study.method(name).networks]
    logs = {name: log for name in trained if len(log := training_log(drawing, name))}
    if not logs:
        raise UserError("no network of this study was trained; take training_curves out of its figures")
    columns = min(3, len(logs))
    rows = -(-len(logs) // columns)
    figure, grid = new_figure(columns, rows, height=0.6 + 1.9 * rows, squeeze=False, sharex=True, sharey=True)
    shown = metric("train_top1")
    for axes in grid.flat[len(logs) :]:
        axes.set_axis_off()
    for axes, (method, log) in zip(grid.flat, logs.items()):
        color, sizes = drawing.look(method)["color"], log["dim"].nunique()
        for place, (m, some) in enumerate(log.groupby("dim"), 1):
            look = {"color": color, "alpha": 0.25 + 0.75 * place / sizes, "label": f"{m}"}
            axes.plot(some["epoch"], shown.scale * some["train_top1"], **look)
        axes.set_title(drawing.label(method))
        flat = {"ncols": 2 if sizes <= 6 else 3, "columnspacing": 1, "handlelength": 1.2}
        axes.legend(title="size", fontsize=5.5, title_fontsize=6, loc="lower right", **flat)
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
    for axes in grid[:, 0]:
        axes.set_ylabel(shown.axis)
    conditions = drawing.conditions("train", bars=None)
    headline(figure, f"{conditions} · running average over each epoch's batches, mean over seeds")
    return figure


def training_log(drawing, method: str) -> pd.DataFrame:
    """Logs of a method's networks, averaged over seeds: dim, epoch, train_top1 …"""
    trained = drawing.study.method(method)
    logs = [
        files.read_table(drawing.layout.network(net.name, seed) / "log.csv")
        for net in trained.networks
        for seed in trained.seeds
    ]
    return pd.concat(logs).groupby(["dim", "epoch"], as_index=False).mean(numeric_only=True)
