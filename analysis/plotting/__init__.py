"""What every figure shares: one look per method everywhere, a log₂ size axis, what a figure may read."""

from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.ticker import NullLocator

from analysis.metrics import Metric, metric_in_table
from analysis.statistics import interval_over_seeds
from splits.store import Dataset
from suite import files
from suite.errors import UserError
from suite.layout import Layout
from suite.modules import ROOT
from suite.study import TUNED, Study

# Okabe and Ito's colours, told apart by colour-blind readers; a marker and a line style say it again.
LOOKS = {
    "mrl": ("#0072B2", "o", "-"),
    "mrl_e": ("#56B4E9", "s", "-"),
    "fixed_feature": ("#D55E00", "D", "-"),
    "svd": ("#009E73", "v", "--"),
    "pca": ("#882255", "^", "-"),
    "random_features": ("#999999", "X", "--"),
    "first_features": ("#CC79A7", "P", "--"),
    "random_projection": ("#666666", "p", ":"),
    "slimmable": ("#E69F00", "<", "--"),
    "slimmable_fair": ("#BBAA33", ">", "-"),
    "nested_dropout": ("#7A4FBF", "h", "-"),
    "mrl_sampled": ("#332288", "H", "--"),
    "linear_map": ("#8C5A2B", "d", "-"),
    "pca_mrl": ("#C583A4", "^", ":"),  # of MRL's features: the same marker, paler
    "svd_mrl": ("#7FCFB4", "v", ":"),
    "linear_map_mrl": ("#C9A98B", "d", ":"),
    "control_random": ("#BBBBBB", "", ":"),
    "control_label": ("#BBBBBB", "", ":"),
}
# For methods without a look of their own (ablations), and for codes of vectors. There is one marker more, so
# that beyond them no pair comes twice.
SEQUENCE = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C5A2B", "#666666"),
    *("#332288", "#BBAA33"),
)
MARKERS = "oDs^vPXphd*"

STYLE = {
    "figure.dpi": 150,
    "savefig.dpi": 200,
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "pdf.fonttype": 42,
}

MOST_NUMBERS = 4  # at the ticks of a log axis
LOWEST = -30  # points: differences below are cut, so that small ones can be seen
NORMAL = 1.96  # standard errors on each side of a 95 % interval


@dataclass(frozen=True)
class Drawing:
    """What a figure may read: the study, its tables, its data and logs.

    argument: what follows the module's name in the figure's (`train` in contact_sheet_train).
    """

    study: Study
    layout: Layout
    argument: str = ""

    def table(self, task: str, **where: object) -> pd.DataFrame:
        """Rows of a table whose columns have the given values.

        Raises UserError for a table without any: a study may lack the data that a task is about.
        """
        path = self.layout.table(task)
        table = files.read_table(path)
        if strangers := {*table.get("study", [])} - {self.study.name}:
            raise UserError(
                f"{path} holds rows of {', '.join(map(str, strangers))}, not of {self.study.name}: remove it "
                "and run again"
            )
        if table.empty:
            raise UserError(
                f"the table of {task} has no rows, since {self.study.name} has no data for it (splits: "
                f"{', '.join(self.dataset.splits)}); take its figures, or the task, out of {self.study.path}"
            )
        for column, value in where.items():
            table = table[table[column] == value]
        return table

    def among(self, table: pd.DataFrame, methods: Iterable[str]) -> list[str]:
        """Those of `methods` that a table has rows of. Raises UserError where it has of none."""
        found = [name for name in methods if (table["method"] == name).any()]
        if not found:
            raise UserError(
                f"the table of {table['task'].iloc[0]} has no rows of {' or '.join(methods)}, only of "
                f"{', '.join(table['method'].unique())}; take its figures out of {self.study.path}"
            )
        return found

    def chosen(self, task: str, default: str | None = None) -> tuple[str, pd.DataFrame]:
        """(method, its rows): the method of the figure's name, else the default, else the first evaluated.

        Raises UserError where the table has no rows of it.
        """
        method = self.argument or default or self.study.task_methods(task)[0].name
        table = self.table(task)
        self.among(table, [method])
        return method, table[table["method"] == method]

    def search(self) -> pd.DataFrame:
        """The trainings by which settings were chosen (baselines/tune.py), fresh or frozen.

        Raises UserError where nothing was searched for.
        """
        return files.read_table(self.layout.require_search())

    @cached_property
    def dataset(self) -> Dataset:
        """The study's data."""
        return Dataset(self.layout.data)

    def label(self, method: str) -> str:
        """A method's name in figures."""
        label = self.study.method(method).label
        return f"\u200b{label}" if label.startswith("_") else label  # or no legend would have it

    def look(self, method: str) -> dict:
        """Plot arguments of a method: colour, marker, line style; the same in every figure."""
        others = [name for name in self.study.methods if name not in LOOKS]
        return look(method, others.index(method) if method in others else 0)

    def shown(self, task: str | None = None, controls: bool = False, group: str = "baselines") -> list[str]:
        """Methods of the main results: see `Study.shown_methods`."""
        return self.study.shown_methods(task, controls, group)

    def conditions(
        self,
        split: str | None = "val",
        bars: str | None = "95 % over test items",
        methods: Iterable[str] | None = None,
    ) -> str:
        """One line under a figure: study, items of the split it is about, seeds, what the bars are.

        methods: those that are drawn; None: the main ones. Intervals of several seeds are over these as well:
        `over_seeds`, `compare_methods`.
        """
        counts = self.trainings(methods)
        bars = bars and self.over(bars, methods)
        items = split and f"{split}: n = {len(self.dataset.labels(split)):,}"
        seeds = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
        seeds += " seeds" if counts[-1] > 1 else " seed"
        return " · ".join(filter(None, (self.study.title, items, seeds, bars and f"bars: {bars}")))

    def trainings(self, methods: Iterable[str] | None = None) -> list[int]:
        """How often methods are trained, increasing. methods: None: the main ones, if any."""
        names = list(methods or self.shown() or self.study.methods)
        return sorted({len(self.study.methods[name].seeds) for name in names})

    def over(self, bars: str = "95 % over test items", methods: Iterable[str] | None = None) -> str:
        """What intervals are over, trainings as well where there are several."""
        several = bars.startswith("95 % ") and self.trainings(methods)[-1] > 1
        return f"{bars} and trainings" if several else bars


def look(method: str, place: int = 0, taken: Container[str] = ()) -> dict:
    """Plot arguments of a method: its own in every figure where it has them (LOOKS).

    Else those at `place` of a sequence without the colours that are `taken`.
    """
    others = [pair for pair in zip(SEQUENCE * len(MARKERS), MARKERS * len(SEQUENCE)) if pair[0] not in taken]
    # A method looks alike in both recipes: no figure has both on the same axes.
    color, marker, line = LOOKS.get(method.removesuffix(f"_{TUNED}")) or (*others[place % len(others)], "-")
    return {"color": color, "marker": marker or None, "linestyle": line}


def as_shown(table: pd.DataFrame) -> pd.DataFrame:
    """A table with value, low and high in the units of METRICS: fractions in per cent."""
    scales = [metric_in_table(*pair).scale for pair in zip(table["metric"], table["task"])]
    columns = ["value", "low", "high"]
    return table.assign(**{column: table[column] * scales for column in columns})


def over_seeds(table: pd.DataFrame, keys: Iterable[str] = ("method", "dim")) -> pd.DataFrame:
    """Means over seeds, as they are shown, with the interval of the mean from test items and trainings.

    One row per evaluation, metric and combination of keys, sizes increasing. low and high: see
    `interval_over_seeds`; NaN where the rows have none.
    """

    def mean(rows: pd.DataFrame) -> pd.Series:
        if len(rows) == 1:
            return rows.iloc[0][["value", "low", "high", "n"]]
        errors = (rows["high"] - rows["low"]) / (2 * NORMAL)
        found = interval_over_seeds(rows["value"], errors)
        return pd.Series([*found, rows["n"].mean()], ["value", "low", "high", "n"])

    by = ["task", "metric", *keys]
    means = table.groupby(by, sort=True)[["value", "low", "high", "n"]].apply(mean).reset_index()
    return as_shown(means)


def rows_by(table: pd.DataFrame, column: str, values: Iterable[str]) -> dict[str, pd.DataFrame]:
    """Rows by what stands in a column: for those of `values` that occur, in this order."""
    return {value: rows for value in values if len(rows := table[table[column] == value])}


def metric_of(table: pd.DataFrame) -> Metric:
    """The metric that all rows of a table have. Raises ValueError where they have several."""
    (pair,) = set(zip(table["metric"], table["task"]))
    return metric_in_table(*pair)


def whiskers(rows: pd.DataFrame) -> np.ndarray | None:
    """Lengths of the bars below and above each value, [2, n]; None where a row has no interval."""
    bars = np.array([rows["value"] - rows["low"], rows["high"] - rows["value"]])
    return None if np.isnan(bars).any() else np.maximum(0, bars)


def shades(count: int) -> list[tuple]:
    """Colours of an ordered series, light to dark, that keep their order in grey."""
    return [matplotlib.colormaps["viridis_r"](place) for place in np.linspace(0.12, 0.95, count)]


def size_axis(axes: Axes, sizes: Iterable[int]) -> None:
    """A log₂ axis with the sizes themselves as ticks."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted({int(m) for m in sizes}))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("representation size (dimensions)")


def log_axis(axes: Axes, base: int = 10, number: Callable[[float], str] = "{:g}".format) -> None:
    """A log x axis with plain numbers, in between as well where it is not longer than two decades."""

    def at_tick(value: float, _: int) -> str:
        low, high = axes.get_xlim()
        ticks = [each for each in axes.xaxis.get_majorticklocs() if low <= each <= high]
        # Within a decade matplotlib has as many ticks as on a linear axis.
        shown = ticks[:: 1 + len(ticks) // MOST_NUMBERS]
        return number(value) if value in shown else ""

    def between(value: float, _: int) -> str:
        low, high = axes.get_xlim()
        return number(value) if 10 * low < high < 100 * low and f"{value:.0e}"[0] in "25" else ""

    axes.set_xscale("log", base=base)
    axes.xaxis.set_major_formatter(at_tick)
    axes.xaxis.set_minor_formatter(between)
    axes.tick_params(axis="x", which="minor", labelsize=6)


def curve(drawing: Drawing, axes: Axes, method: str, rows: pd.DataFrame) -> None:
    """One method against size, with its interval as bars. rows: of `over_seeds`."""
    look = drawing.look(method) | {"label": drawing.label(method), "elinewidth": 0.8}
    axes.errorbar(rows["dim"], rows["value"], yerr=whiskers(rows), **look)


def curves(drawing: Drawing, axes: Axes, table: pd.DataFrame, methods: Sequence[str]) -> None:
    """Every method's curve against size on one axis, which is named by the metric. table: of one metric."""
    means = over_seeds(table[table["method"].isin(methods)])
    for method, rows in rows_by(means, "method", methods).items():
        curve(drawing, axes, method, rows)
    size_axis(axes, means["dim"])
    axes.set_ylabel(metric_of(table).axis)


def cut_below(drawn: Sequence[tuple[Axes, pd.Series, str]]) -> None:
    """End axes of differences at LOWEST and write what lies below there, one number above the other.

    drawn: where, the points of a method by size, and its colour; the axes share their limits.
    """
    lowest, highest = min(each.min() for _, each, _ in drawn), max(each.max() for _, each, _ in drawn)
    points = [(value, axes, m, color) for axes, each, color in drawn for m, value in each.items()]
    lines = Counter((axes, m) for value, axes, m, _ in points if value < LOWEST)
    bottom = max(LOWEST - 0.05 * (highest - LOWEST) * max(lines.values(), default=0), lowest - 2)
    for axes, _, _ in drawn:
        axes.set_ylim(bottom, highest + 2)
    below = sorted((each for each in points if each[0] < bottom), key=lambda each: each[0])
    written = Counter()
    for value, axes, m, color in below:
        look = {"color": color, "fontsize": 5.5, "ha": "center", "va": "bottom"}
        beside(axes, f"↓ −{abs(value):.0f}", (m, bottom), (0, 1 + 7 * written[axes, m]), **look)
        written[axes, m] += 1


def curve_panels(
    drawing: Drawing, task: str, shown: Sequence[tuple[str, pd.DataFrame]], **size
) -> tuple[Figure, np.ndarray]:
    """(figure, panels): every method's curves against size, a panel per title and its rows."""
    figure, panels = new_figure(len(shown), squeeze=False, **size)
    for axes, (title, rows) in zip(panels[0], shown):
        curves(drawing, axes, rows, drawing.shown(task))
        axes.set_title(title)
    legend_below(figure, panels[0, 0])
    return figure, panels[0]


def beside(axes: Axes, text: str, point: tuple, shift: tuple, **look: object) -> Annotation:
    """Write a text `shift` points (of type) from a point of the data."""
    return axes.annotate(text, point, xytext=shift, textcoords="offset points", **look)


def paper(task: str, metric: str) -> pd.DataFrame:
    """The paper's own figures for ImageNet-1K: method, dim, value in per cent (results/saved/paper)."""
    table = pd.read_csv(ROOT / "results" / "saved" / "paper" / "paper.csv")
    chosen = (table["task"] == task) & (table["metric"] == metric) & (table["dataset"] == "imagenet1k")
    return table[chosen]


def paper_title(axes: Axes, **options: object) -> None:
    """Says that a panel shows the paper's own figures, and what they may be compared in."""
    text = "the paper: ResNet50, ImageNet-1K\n(comparable in shape only)"
    axes.set_title(text, color="#666666", **options)


def legend_below(figure: Figure, axes: Axes, columns: int = 5) -> None:
    """One legend under the whole figure."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def headline(figure: Figure, text: str, size: float = 8) -> None:
    """A title over the whole figure; lines too long for it are broken at a " · "."""
    longest = figure.get_figwidth() * 72 / (0.55 * size)  # characters of the mean width
    lines = []
    for given in text.split("\n"):
        line, *parts = given.split(" · ")
        for part in parts:
            if len(line) + len(part) + 3 > longest:
                lines.append(line)
                line = part
            else:
                line = f"{line} · {part}"
        lines.append(line)
    figure.suptitle("\n".join(lines), fontsize=size)


def new_figure(columns: int = 1, rows: int = 1, width: float = 7.0, height: float = 2.9, **options):
    """(figure, axes) in the suite's style, laid out so that nothing overlaps."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def save(figure: Figure, png: Path, pdf: Path) -> None:
    """Write both files whole, without dates, so that the same figure is the same bytes.

    A $ in a name of the user's is a dollar, not the start of a formula; only numbers at ticks are those.
    """
    for text in figure.findobj(Text):
        text.set_parse_math(text.get_text().startswith("$\\mathdefault"))
    for path, metadata in ((png, {"Software": None}), (pdf, {"CreationDate": None})):
        with files.write_aside(path) as aside:
            figure.savefig(aside, metadata=metadata)
        figure.set_layout_engine("none")  # both are laid out alike, and it takes a third of the time


def use_style() -> None:
    """Set matplotlib's defaults for this process."""
    matplotlib.use("agg")
    matplotlib.rcParams.update(STYLE)
