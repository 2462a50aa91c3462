"""What every size costs and gives: accuracy over all sizes against the compute of training.

`pareto_linear`, `pareto_knn`: the accuracy is that table's top1, averaged over log₂ size. Beside each method
stands how many networks have to be trained and kept, and how many forward passes serve all sizes of an image.
"""

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

from analysis.metrics import metric, normalised_area, pareto_front
from analysis.plotting import as_shown, beside, headline, log_axis, new_figure
from suite.errors import UserError

TABLES = ("linear", "knn", "cost")
INPUTS = ("data",)
ARGUMENT = ("linear", "knn")
LEADER = {"arrowstyle": "-", "color": "#BBBBBB", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2}
LABEL = {"va": "center", "fontsize": 6, "color": "#333333", "arrowprops": LEADER | {"relpos": (0, 0.5)}}


def draw(drawing):
    """A point per method; those that nothing cheaper beats have a black edge."""
    points, left_out = pareto_points(drawing)
    figure, axes = new_figure(width=5.6, height=3.9)
    compute, accuracy = metric("train_macs"), metric("top1", drawing.argument)
    values = points[["compute", "accuracy"]].to_numpy()
    front = pareto_front(values, (compute.direction, accuracy.direction))
    for point, best in zip(points.itertuples(), front):
        edge = {"markeredgecolor": "black", "markeredgewidth": 1.2} if best else {}
        look = drawing.look(point.method) | {"linestyle": "none", "markersize": 6} | edge
        axes.plot(point.compute, point.accuracy, **look)
    axes.margins(y=0.1)
    log_axis(axes)
    low, high = points["compute"].min(), points["compute"].max()
    if low > 0:  # networks that came with their weights cost nothing here
        axes.set_xlim(low / 1.25, high * 6)
    sizes = f"{drawing.study.nesting[0]} … {drawing.study.nesting[-1]}"
    axes.set_xlabel(compute.axis)
    axes.set_ylabel(f"{accuracy.label}, mean over log₂ size {sizes} ({accuracy.unit})")
    text = f"{drawing.conditions(bars=None)}\nblack edge: nothing cheaper is more accurate"
    if left_out:
        text += f"\nleft out, not evaluated at every size: {', '.join(map(drawing.label, left_out))}"
    headline(figure, text)
    labels(figure, axes, points, drawing)  # last: it needs the final layout
    return figure


def pareto_points(drawing) -> tuple[pd.DataFrame, list[str]]:
    """(method, accuracy (%), compute (10¹² MACs), networks, forwards; methods that are left out).

    Of baselines that are in both tables and evaluated at every size of the study, which others are not means
    over. Fitted methods carry the training of the network they start from and its forward pass, beside their
    fit. Raises UserError where no method is left.
    """
    table = as_shown(drawing.table(drawing.argument, metric="top1"))
    table = table[table["dim"].isin(drawing.study.nesting)]
    accuracy = table.groupby(["method", "dim"])["value"].mean().unstack()
    cost = drawing.table("cost", dim=0).groupby(["method", "metric"])["value"].mean().unstack()
    rows, left_out = [], []
    for method in drawing.shown(drawing.argument):
        values = accuracy.loc[method].dropna() if method in accuracy.index else ()
        if method not in cost.index or len(values) < len(drawing.study.nesting):
            left_out.append(method)
            continue
        area = normalised_area(values.index.to_numpy(), values.to_numpy())
        compute = metric("train_macs").scale * cost.loc[method, ["train_macs", "fit_macs"]].sum()
        counts = cost.loc[method, ["networks", "forwards"]].astype(int)
        rows.append({"method": method, "accuracy": float(area), "compute": compute, **counts})
    if not rows:
        raise UserError(
            f"pareto_{drawing.argument} has nothing to draw: no method is evaluated at every size of the "
            f"study and in the table cost; take the figure out of {drawing.study.path}"
        )
    return pd.DataFrame(rows), left_out


def labels(figure, axes, points: pd.DataFrame, drawing) -> None:
    """Beside each point its name and counts, with a thin leader where the text had to move."""
    figure.draw_without_rendering()
    places = axes.transData.transform(points[["compute", "accuracy"]]) * 72 / figure.dpi
    top = axes.bbox.y1 * 72 / figure.dpi - 4  # above it stands the title
    for column in columns_of(places[:, 0]):
        moved = spread(places[column, 1], gap=8, top=top)
        for row, place in zip(column, moved):
            point = points.iloc[row]
            numbers = {"network": point.networks, "forward": point.forwards}
            counts = ", ".join(f"{n} {thing}{'' if n == 1 else 's'}" for thing, n in numbers.items())
            text, shift = f"{drawing.label(point.method)}: {counts}", (14, place - places[row, 1])
            text = beside(axes, text, (point.compute, point.accuracy), shift, **LABEL)
            text.set_in_layout(False)  # or the layout would shift the axes under the places


def columns_of(x: np.ndarray, width: float = 150) -> list[np.ndarray]:
    """Indices of points whose texts may meet: groups with less than `width` between neighbours."""
    order = np.argsort(x, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(x[order]) >= width) + 1)


def spread(y: np.ndarray, gap: float, top: float = np.inf) -> np.ndarray:
    """Places near y in the same order, at least `gap` apart and none above `top`: float64 [n].

    >>> spread(np.array([10.0, 10.0, 50.0]), 8).tolist()
    [6.0, 14.0, 50.0]
    >>> spread(np.array([10.0, 44.0, 50.0]), 8, top=48).tolist()
    [10.0, 40.0, 48.0]
    """
    order, steps = np.argsort(y, kind="stable"), gap * np.arange(len(y))
    places = np.empty(len(y))
    places[order] = np.minimum(isotonic_regression(y[order] - steps).x + steps, top - steps[::-1])
    return places
