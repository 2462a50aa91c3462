"""What became of every claim in every frozen study: one table, and one picture of it."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.findings import COLOURS, MARKS
from analysis.findings.evidence import signed
from analysis.findings.rules import OUTCOMES
from analysis.plotting import new_figure

FIRST = ("glyphs_full", "glyphs", "glyphs1k", "omniglot", "tiny_imagenet", "vit", "image_text", "bert")
"""Studies in the order of their columns; others come behind, by name."""
GAINED = "gained by the last doubling, points"
WIDTH = 70  # characters of a claim in a line of the picture
COLUMN = 0.64  # inches of a study in it: no head may touch the next


def gathered(saved: Path) -> pd.DataFrame:
    """Rows of all findings tables below `saved`, studies in the order of FIRST; raises ValueError for none.

    Columns beside theirs: `of`, the study, and `asked`, the claim with its metric.
    """
    found = []
    for path in sorted(saved.glob("*/tables/findings*.csv"), key=lambda path: place(path.parts[-3])):
        table = pd.read_csv(path)
        asked = table["claim"] + " (" + table["metric"] + ")"
        found.append(table.assign(of=path.parts[-3], asked=asked))
    return pd.concat(found, ignore_index=True)


def place(study: str, first: Sequence[str] = FIRST) -> tuple[int, str]:
    """Sorts studies as `first` has them, others behind by name."""
    return (first.index(study) if study in first else len(first), study)


def markdown(table: pd.DataFrame) -> str:
    """Claims by studies: outcome and difference in points; empty where a study could not test one."""
    studies = list(dict.fromkeys(table["of"]))
    lines = [f"| claim | {' | '.join(f'`{name}`' for name in studies)} | the paper |"]
    lines += ["|---|" + "---|" * (len(studies) + 1)]
    for name, cells in facts(table, studies).items():
        lines.append(f"| *{name}* | {' | '.join(cells)} | |")
    for asked, rows in table.groupby("asked", sort=False):
        by_study = {row.of: row for row in rows.itertuples()}
        cells = [cell(by_study[name]) if name in by_study else "" for name in studies]
        lines.append(f"| {asked} | {' | '.join(cells)} | {of_the_paper(rows)} |")
    return "\n".join(lines)


def cell(row) -> str:
    """**shown** −0.4; nothing for a claim that could not be tested."""
    return "" if row.outcome == "not tested" else f"**{row.outcome}** {signed(row.value)}"


def of_the_paper(rows: pd.DataFrame) -> str:
    """The paper's own difference; empty where it printed none."""
    values = rows["paper"].dropna()
    return signed(values.iloc[0]) if len(values) else ""


def facts(table: pd.DataFrame, studies: Sequence[str]) -> dict[str, list[str]]:
    """What limits the outcomes of each study: trainings, items, what the last doubling gained."""
    found = {name: [] for name in ("trainings of each method", "test items", GAINED)}
    for name in studies:
        rows = table[table["of"] == name]
        gained = rows["gained"].max() if "gained" in rows else np.nan
        said = "" if np.isnan(gained) else signed(gained)
        cells = (str(rows["seeds"].max()), f"{rows['n'].iloc[0]:,}", said)
        for column, text in zip(found.values(), cells):
            column.append(text)
    return found


def picture(table: pd.DataFrame) -> Figure:
    """A row per claim that some study tested, a column per study: outcome and difference.

    Over each column how often its methods were trained and what the last doubling of the length gained; marks
    of what was trained once are pale.
    """
    studies = list(dict.fromkeys(table["of"]))
    tested = table[table["outcome"] != "not tested"]
    claims = list(dict.fromkeys(tested["asked"]))
    figure, axes = new_figure(width=2.7 + COLUMN * (len(studies) + 1), height=1.2 + 0.21 * len(claims))
    for row in tested.itertuples():
        x, y = studies.index(row.of), claims.index(row.asked)
        pale = row.scope == "networks"
        look = {"color": COLOURS[row.outcome], "marker": MARKS[row.outcome], "alpha": 0.35 if pale else 1}
        axes.plot(x - 0.28, y, markersize=5, **look)
        axes.text(x - 0.14, y, signed(row.value), va="center", fontsize=5.5, alpha=0.6 if pale else 1)
    for y, claim in enumerate(claims):
        printed = of_the_paper(tested[tested["asked"] == claim])
        axes.text(len(studies) - 0.3, y, printed, va="center", fontsize=5.5)
    axes.set_xlim(-0.6, len(studies) + 0.4)
    axes.set_ylim(len(claims) - 0.4, -0.6)
    trainings, _, gained = facts(table, studies).values()
    names = [
        f"{name.replace('_', ' ')}\ntrained {count} ×\nlast doubling\n{points or 'not known'}"
        for name, count, points in zip(studies, trainings, gained)
    ]
    axes.set_xticks([*range(len(studies)), len(studies) - 0.1], [*names, "the paper"], fontsize=5.5)
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(claims)), [fill(claim, WIDTH) for claim in claims], fontsize=5)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)
    for y in range(0, len(claims), 2):
        axes.axhspan(y - 0.5, y + 0.5, color="#F4F4F4", zorder=0)
    handles = [
        Line2D([], [], color=COLOURS[each], marker=MARKS[each], linestyle="none", label=each)
        for each in OUTCOMES[:3]
    ]
    pale = {"color": "#777777", "alpha": 0.35, "marker": "o", "linestyle": "none"}
    handles.append(Line2D([], [], **pale, label="pale: these networks, trained once"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=6)
    return figure
