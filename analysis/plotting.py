"""What every figure shares: one look per method everywhere, a log₂ size axis, what a figure may read."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from splits.store import Dataset
from suite.errors import UserError
from suite.files import write_aside
from suite.layout import Layout
from suite.modules import ROOT
from suite.study import Study

# Okabe and Ito's colours, told apart by colour-blind readers; a marker and a line style say it again.
LOOKS = {
    "mrl": ("#0072B2", "o", "-"),
    "mrl_e": ("#56B4E9", "s", "-"),
    "fixed_feature": ("#D55E00", "D", "-"),
    "svd": ("#009E73", "v", "--"),
    "pca": ("#009E73", "^", "-"),
    "random_features": ("#999999", "X", "--"),
    "first_features": ("#CC79A7", "P", "--"),
    "random_projection": ("#666666", "p", ":"),
    "slimmable": ("#E69F00", "<", "--"),
    "slimmable_fair": ("#E69F00", ">", "-"),
    "nested_dropout": ("#7A4FBF", "h", "-"),
    "mrl_sampled": ("#7A4FBF", "H", "--"),
    "linear_map": ("#8C5A2B", "d", "-"),
    "control_random": ("#BBBBBB", "", ":"),
    "control_label": ("#BBBBBB", "", ":"),
}
# For methods without a look of their own (ablations): a sequence that keeps its order in grey as well.
SEQUENCE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C5A2B", "#666666")
MARKERS = "oDs^vPXphd"

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
    "svg.hashsalt": "matryoshka",
    "pdf.fonttype": 42,
}


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
        table = pd.read_csv(self.layout.table(task), keep_default_na=True)
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

    @cached_property
    def dataset(self) -> Dataset:
        """The study's data."""
        return Dataset(self.layout.data)

    def label(self, method: str) -> str:
        """A method's name in figures."""
        return self.study.method(method).label

    def look(self, method: str) -> dict:
        """Plot arguments of a method: colour, marker, line style; the same in every figure."""
        if method in LOOKS:
            color, marker, line = LOOKS[method]
        else:
            others = [name for name in self.study.methods if name not in LOOKS]
            place = others.index(method)
            color, marker = SEQUENCE[place % len(SEQUENCE)], MARKERS[place % len(MARKERS)]
            line = "-"
        return {"color": color, "marker": marker or None, "linestyle": line}

    def evaluated(self, task: str) -> list[str]:
        """Methods of an evaluation that a figure of the main results shows: no controls, no ablations."""
        methods = self.study.task_methods(task)
        return [m.name for m in methods if m.group == "baselines" and m.kind != "control"]

    @property
    def seeds(self) -> str:
        """How many there are, in words: "3 seeds"."""
        count = len(self.study.seeds)
        return f"{count} seed{'s' if count > 1 else ''}"

    def conditions(
        self, split: str | None = "val", n: int | None = None, bars: str | None = "95 % over test items"
    ) -> str:
        """One line under a figure: study, items of the split it is about, seeds, what the bars are."""
        parts = [self.study.title]
        if split is not None:
            parts.append(f"{split}: n = {len(self.dataset.labels(split)) if n is None else n:,}")
        parts.append(self.seeds)
        if bars is not None:
            parts.append(f"bars: {bars}")
        return " · ".join(parts)


def over_seeds(table: pd.DataFrame, keys: tuple[str, ...] = ("method", "dim")) -> pd.DataFrame:
    """Means over seeds of value, low and high; one row per combination of keys, sizes increasing."""
    columns = ["value", "low", "high", "n"]
    return table.groupby(list(keys), sort=True, as_index=False)[columns].mean()


def shades(count: int) -> list[tuple]:
    """Colours of an ordered series, light to dark, that keep their order in grey."""
    return [matplotlib.colormaps["viridis_r"](place) for place in np.linspace(0.12, 0.95, count)]


def size_axis(axes: Axes, sizes) -> None:
    """A log₂ axis with the sizes themselves as ticks."""
    sizes = sorted({int(m) for m in sizes})
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("representation size (dimensions)")


def curve(drawing: Drawing, axes: Axes, method: str, rows: pd.DataFrame, scale: float = 100) -> None:
    """One method against size, with its interval as bars. rows: dim, value, low, high."""
    rows = rows.sort_values("dim")
    value = scale * rows["value"].to_numpy()
    bars = None
    if rows["low"].notna().all() and len(rows):
        low, high = scale * rows["low"].to_numpy(), scale * rows["high"].to_numpy()
        bars = np.maximum(0, [value - low, high - value])
    axes.errorbar(
        rows["dim"],
        value,
        yerr=bars,
        label=drawing.label(method),
        elinewidth=0.8,
        capsize=0,
        **drawing.look(method),
    )


def accuracy_curves(
    drawing: Drawing, axes: Axes, table: pd.DataFrame, methods, ylabel: str = "top-1 accuracy (%)"
) -> None:
    """Every method's curve against size on one axis. table: method, dim, value, low, high."""
    means = over_seeds(table[table["method"].isin(list(methods))])
    for method in methods:
        rows = means[means["method"] == method]
        if len(rows):
            curve(drawing, axes, method, rows)
    size_axis(axes, means["dim"])
    axes.set_ylabel(ylabel)


def paper(task: str, metric: str, dataset: str = "imagenet1k") -> pd.DataFrame:
    """The paper's own figures: method, dim, value in per cent, evidence (results/saved/paper)."""
    table = pd.read_csv(ROOT / "results" / "saved" / "paper" / "paper.csv")
    chosen = (table["task"] == task) & (table["metric"] == metric) & (table["dataset"] == dataset)
    return table[chosen]


def paper_panel(drawing: Drawing, axes: Axes, task: str, metric: str) -> None:
    """The paper's curves, drawn lightly: to be compared with the study's in shape only."""
    renamed = {"first_features_of_ff2048": "first_features"}
    table = paper(task, metric).replace({"method": renamed})
    for method, rows in table.groupby("method", sort=False):
        if method not in LOOKS:
            continue
        color, marker, line = LOOKS[method]
        rows = rows.dropna(subset=["dim"]).sort_values("dim")
        axes.plot(
            rows["dim"],
            rows["value"],
            color=color,
            marker=marker or None,
            linestyle=line,
            alpha=0.45,
        )
    size_axis(axes, table["dim"].dropna())
    axes.tick_params(axis="x", rotation=45)
    axes.set_title("the paper: ResNet50, ImageNet-1K\n(comparable in shape only)", color="#666666")


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
    """Write both files whole, without dates, so that the same figure is the same bytes."""
    for path, metadata in ((png, {"Software": None}), (pdf, {"CreationDate": None})):
        with write_aside(path) as aside:
            figure.savefig(aside, metadata=metadata)


def use_style() -> None:
    """Set matplotlib's defaults for this process."""
    matplotlib.use("agg")
    matplotlib.rcParams.update(STYLE)
