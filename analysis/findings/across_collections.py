"""What the frozen studies of text collections answer, side by side: a table, and a picture beside CoRECT's.

CoRECT's numbers are others' (results/saved/corect/README.md), drawn in grey.
"""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.answers import PLAIN, enough_bytes, enough_candidates, listed, settled
from analysis.findings.across import place
from analysis.findings.evidence import with_interval
from analysis.metrics import pareto_front
from analysis.plotting import SEQUENCE, log_axis, new_figure

FIRST = ("scifact", "cranfield", "vaswani", "xquad_en", "xquad_de")
"""Collections in the order of their rows; others come behind, by name."""
COLUMNS = ["compression", "share"]
GREY = "#777777"
LEAST = 0.2  # share of the full result at which the picture ends


def gathered(saved: Path, table: str) -> pd.DataFrame:
    """Rows of one table of all frozen collections below `saved`, in the order of FIRST.

    Raises ValueError where no study has it.
    """
    paths = sorted(saved.glob(f"*/tables/{table}.csv"), key=lambda path: place(path.parts[-3], FIRST))
    return pd.concat([pd.read_csv(path) for path in paths], ignore_index=True)


# --- the table ------------------------------------------------------------------------------------


def markdown(table: pd.DataFrame) -> str:
    """Collections and models by question, shortly. table: that of `answers`, of all collections."""
    lines = [f"| collection | queries | model | {' | '.join(SHORTLY)} |", "|---" * (len(SHORTLY) + 3) + "|"]
    for (study, label), rows in table.groupby(["study", "label"], sort=False):
        cells = []
        for question, said in SHORTLY.values():
            some = rows[rows["question"] == question]
            cells.append(said(some) if len(some) else "")
        lines.append(f"| `{study}` | {rows['n'].max():,} | {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def at_a_quarter(rows: pd.DataFrame) -> str:
    """The difference at the largest size up to a quarter of the full one."""
    some = rows[4 * rows["dim"] <= rows["full"]].sort_values("dim", ascending=False)
    row = next(some.itertuples())
    return f"{row.dim}: {with_interval(row)}"


def shortest(rows: pd.DataFrame) -> str:
    """The shortest size down to which all are not worse; sizes that are undecided."""
    rows = rows.sort_values("dim", ascending=False)
    holds = settled(rows)
    dim = f"{rows.loc[holds, 'dim'].min() if holds.any() else rows['full'].iloc[0]:.0f}"
    open_ = rows.loc[rows["verdict"] == "undecided", "dim"]
    said = f"{dim} of {rows['full'].iloc[0]:.0f}"
    return said + (f"; undecided: {listed(open_)}" if len(open_) else "")


def over_all(rows: pd.DataFrame) -> str:
    """The difference over all sizes below the full one, with its verdict where there is one."""
    row = next(rows[rows["dim"] == 0].itertuples())
    return f"**{'yes' if row.verdict == 'better' else row.verdict}** {with_interval(row)}"


def best_map(rows: pd.DataFrame) -> str:
    """The map that is furthest ahead over all sizes, if one is shown to be."""
    ahead = rows[(rows["dim"] == 0) & (rows["verdict"] == "better")].sort_values("value", ascending=False)
    return next((f"{row.other} {with_interval(row)}" for row in ahead.itertuples()), "none is shown")


def fewest_bytes(rows: pd.DataFrame) -> str:
    """Bytes of the smallest code that is not worse, alone."""
    for row in enough_bytes(rows[~rows["refined"].astype(bool)]).itertuples():
        return f"{row.bytes_per_item:,.0f} of {row.full_bytes:,.0f} ({row.index} of {row.dim})"
    return "none is shown"


def shortlist(rows: pd.DataFrame) -> str:
    """The cheapest shortlist that gives back the share."""
    for row in enough_candidates(rows).itertuples():
        return f"{row.shortlist_k:.0f} of {row.items:,.0f} from {row.dim}"
    return "none is shown"


SHORTLY: dict[str, tuple[str, Callable[[pd.DataFrame], str]]] = {
    "shortest size": ("size", shortest),
    "at a quarter": ("size", at_a_quarter),
    "prefix − random columns": ("nested", over_all),
    "best map − prefix": ("map", best_map),
    "fewest bytes": ("code", fewest_bytes),
    "candidates for 99 %": ("shortlist", shortlist),
}
"""By column: the question of `answers`, and what is said of its rows."""


# --- the picture ----------------------------------------------------------------------------------


def picture(table: pd.DataFrame, labels: dict[str, str], others: pd.DataFrame) -> Figure:
    """Share of the full nDCG@10 against compression, a panel per collection, and one of CoRECT's models.

    table: that of `quantised_retrieval`, of all collections; labels: of its methods; others: corect.csv.
    """
    studies = list(dict.fromkeys(table["study"]))
    columns = 3
    rows = -(-(len(studies) + 1) // columns)
    figure, grid = new_figure(
        columns, rows, width=7.4, height=0.7 + 2.1 * rows, squeeze=False, sharex=True, sharey=True
    )
    panels = list(grid.flat)
    for axes, study in zip(panels, studies):
        for method, color in zip(labels, SEQUENCE):
            codes = table[(table["study"] == study) & (table["method"] == method)]
            if len(codes):
                lines(axes, shares(codes), color)
        axes.set_title(study)
    for _, codes in others.groupby("model"):
        compression = codes["bytes"].max() / codes["bytes"]
        codes = codes.assign(compression=compression, plain=codes["quantiser"] == "full")
        lines(panels[len(studies)], codes, GREY)
    collections = others["collections"].max()
    panels[len(studies)].set_title(f"CoRECT: {others['model'].nunique()} models, {collections} collections")
    for axes in panels[len(studies) + 1 :]:
        axes.set_visible(False)
    for axes in panels:
        log_axis(axes, base=2, number=lambda times: f"{times:g}×")
        axes.set_ylim(bottom=100 * LEAST)
    for axes in grid[-1]:
        axes.set_xlabel("smaller than float32 at full size")
    for axes in grid[:, 0]:
        axes.set_ylabel("nDCG@10 kept (%)")
    handles = [Line2D([], [], color=color, label=label) for label, color in zip(labels.values(), SEQUENCE)]
    handles.append(Line2D([], [], color=GREY, label="CoRECT's models"))
    handles += [
        Line2D([], [], color="black", marker=marker, linestyle=line, markersize=3, label=label)
        for label, marker, line in LINES
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=7)
    return figure


LINES = (
    ("cut: prefixes, float32", "o", "-"),
    ("quantised: all dimensions", "s", "--"),
    ("both, the best there is", "", ":"),
)


def shares(table: pd.DataFrame) -> pd.DataFrame:
    """Codes of one model, alone, with `compression` and `share` of float32 at the full size."""
    alone = table[(table["metric"] == "ndcg@10") & ~table["refined"].astype(bool)]
    full = alone[alone["factory"] == PLAIN].sort_values("dim").iloc[-1]
    return alone.assign(
        compression=full["bytes_per_item"] / alone["bytes_per_item"],
        share=alone["value"] / full["value"],
        plain=alone["factory"] == PLAIN,
    )


def lines(axes, codes: pd.DataFrame, color: str) -> None:
    """A model's three lines. codes: dim, compression, share, plain (whether float32)."""
    full = codes["dim"] == codes["dim"].max()
    for (_, marker, line), some in zip(LINES, (codes[codes["plain"]], codes[full], codes)):
        points = some[COLUMNS].sort_values(COLUMNS).to_numpy()
        if line != "-":  # of several codes of as many bytes the best
            points = points[pareto_front(points, (1, 1))]
        look = {"color": color, "linestyle": line, "marker": marker or None, "markersize": 2.5}
        axes.plot(points[:, 0], 100 * points[:, 1], linewidth=0.9, **look)
