"""Accuracy against the expected size of adaptive classification, beside single sizes (paper, Figure 6).

`adaptive_classification_flip` draws it with mirrored images summed in, for studies that train with flips.
"""

import pandas as pd

from analysis.evaluations.adaptive_classification import sentence
from analysis.metrics import metric
from analysis.plotting import beside, headline, new_figure, over_seeds, size_axis, whiskers
from suite.errors import UserError

TABLES = ("adaptive_classification",)
INPUTS = ("data",)
ARGUMENT = ("", "flip")
METHOD = "mrl"


def draw(drawing):
    """The cascade of MRL, a point per cap, with single-size MRL and a network per size in the same axes."""
    table = drawing.table("adaptive_classification")
    drawing.among(table, (METHOD,))
    table = table[table["flip"].astype(bool) == wanted_flip(drawing, table)]
    figure, axes = new_figure(width=5.6, height=4.3)
    against = drawing.study.tasks["adaptive_classification"]["against"]
    for method, style in ((METHOD, ":"), (against, "-")):
        if len(rows := over_seeds(table[(table["method"] == method) & (table["metric"] == "single_top1")])):
            look = drawing.look(method) | {"linestyle": style, "markerfacecolor": "white"}
            axes.plot(rows["dim"], rows["value"], label=f"{drawing.label(method)}, one size", **look)
    cascade(drawing, axes, table[table["method"] == METHOD])
    size_axis(axes, table["dim"])
    axes.set_xlabel(metric("expected_dim").axis)
    axes.set_ylabel(metric("top1").axis)
    axes.legend(loc="lower right")
    headline(figure, "\n".join(text(drawing, table, against)), size=7)
    return figure


def wanted_flip(drawing, table: pd.DataFrame) -> bool:
    """Whether the figure's name asks for mirrored images. Raises UserError where the study has none."""
    if drawing.argument and not table["flip"].astype(bool).any():
        raise UserError(
            f"{drawing.study.name} has no mirrored images, since it does not train with flips "
            "(training.augment.flip)"
        )
    return bool(drawing.argument)


def cascade(drawing, axes, table: pd.DataFrame) -> None:
    """The cascade against its expected size, and lightly against the sum of all sizes tried."""
    top1, dims, tried = (
        over_seeds(table[table["metric"] == name]).set_index("dim")
        for name in ("top1", "expected_dim", "expected_dim_cumulative")
    )
    look, label = drawing.look(METHOD), f"{drawing.label(METHOD)} cascade"
    counting = f"{label}, counting all sizes tried"
    axes.plot(tried["value"], top1["value"], color=look["color"], alpha=0.35, label=counting)
    axes.errorbar(dims["value"], top1["value"], yerr=whiskers(top1), label=label, elinewidth=0.8, **look)
    slanted = {"ha": "right", "va": "top", "rotation": 60, "rotation_mode": "anchor", "fontsize": 5.5}
    for cap, x, y in zip(dims.index, dims["value"], top1["value"]):
        beside(axes, f"≤ {cap}", (x, y), (-2, -7), **slanted)


def text(drawing, table: pd.DataFrame, against: str | None) -> list[str]:
    """Conditions, what was done about flips, and the sentence "as accurate as, with so much less"."""
    options = drawing.study.tasks["adaptive_classification"]
    flips = "no flip augmentation: not trained with flips"
    if drawing.study.training.get("augment", {}).get("flip"):
        flips = "image and mirror image summed" if drawing.argument else "no test-time augmentation"
    learned = f"thresholds learned on {options['share']:.0%}, {options['splits']} splits"
    lines = [drawing.conditions(), f"{learned} · ≤ J: cap · {flips}"]
    rows = table[(table["method"] == METHOD) & table["metric"].isin(["difference", "times_smaller"])]
    if against is not None and len(rows):
        lines.append(sentence(rows, drawing.label(METHOD), drawing.label(against)))
    return lines
