"""Findings as Markdown, and the tables of README and docs/ made from the frozen ones."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from analysis import answers
from analysis.findings import across, across_collections
from analysis.findings.decide import UNFINISHED
from analysis.findings.evidence import signed
from suite.modules import ROOT

BLOCK = re.compile(r"(<!-- findings: (\w+)/(\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
"""A table in a page: <!-- findings: glyphs/findings --> … <!-- end -->, of results/saved/<study>/tables."""

EVERY = re.compile(r"(<!-- every (study|collection) -->\n).*?(<!-- end -->)", re.DOTALL)
"""The table of all studies, or of all collections, in a page: <!-- every study --> … <!-- end -->."""


def markdown(table: pd.DataFrame) -> str:
    """The findings as a Markdown table; differences in points."""
    lines = ["| claim | | difference [95 %] | paper | size by size |", "|---|---|---|---|---|"]
    for row in table[table["outcome"] != "not tested"].itertuples():
        interval = f"{signed(row.value)} [{signed(row.low)}, {signed(row.high)}]"
        paper = "" if np.isnan(row.paper) else signed(row.paper)
        lines.append(f"| {row.claim} ({row.metric}) | {told(row)} | {interval} | {paper} | {row.numbers} |")
    return "\n".join([*lines, "", *footnotes(table)])


def told(row) -> str:
    """The outcome in the page's words; with one training it is of these networks alone."""
    text = f"**{row.outcome}**"
    if row.outcome == "undecided":
        text += f"; {100 * row.detectable:.1f} could have been told"
    return text + (" (these networks)" if row.scope == "networks" else "")


def footnotes(table: pd.DataFrame) -> Iterator[str]:
    """What the table is about, and what it is not: a line each, an empty one between them."""
    left = not_tested(table)
    yield about(table)
    for text in (last_doubling(table), left and f"Not tested: {'; '.join(left)}.", trained_once(table)):
        if text:
            yield from ("", text)


def about(table: pd.DataFrame) -> str:
    """Items, trainings, margin, how many tests."""
    tested = table[table["outcome"] != "not tested"]
    items = ", ".join(f"{row.n:,} ({row.split})" for row in tested.drop_duplicates("split").itertuples())
    seeds = sorted(set(tested["seeds"]))
    return (
        f"Test items: n = {items or 'none'}; trainings of each method: "
        f"{', '.join(map(str, seeds)) or 'none'}. Points of accuracy or mAP@10; paper: the "
        "same difference in the paper's own numbers (ImageNet-1K, ResNet50). Margin: "
        f"± {100 * table['margin'].iloc[0]:g}. {len(tested)} claims are tested, each at 5 % by itself."
    )


def last_doubling(table: pd.DataFrame) -> str:
    """What a longer training gained, and whether networks are unfinished; empty where it was not measured."""
    doubling = table["doubling"].dropna().max() if "doubling" in table else np.nan
    if not isinstance(doubling, str) or not doubling:
        return ""
    unfinished = " **These networks are unfinished**: a longer training may decide otherwise."
    return f"The last doubling of the training's length gained, at d, in points: {doubling}." + (
        unfinished if table["gained"].max() > UNFINISHED else ""
    )


def not_tested(table: pd.DataFrame) -> list[str]:
    """Claims that the study could not decide, each with the reason."""
    left = table[table["outcome"] == "not tested"]
    return [f"{row.claim} ({row.numbers})" for row in left.itertuples()]


def trained_once(table: pd.DataFrame) -> str:
    """What outcomes of one training are about; empty where there were several of every method."""
    of_networks = table.loc[table["outcome"] != "not tested", "scope"] == "networks"
    if not of_networks.any():
        return ""
    if of_networks.all():
        return (
            "One training of each method: the intervals are over test items, and the outcomes are of these "
            "networks, not of the methods."
        )
    return (
        "Outcomes of “these networks” are of methods trained once: their intervals are over test items alone."
    )


def gaps(table: pd.DataFrame) -> str:
    """The table of `training_length` as Markdown: a row per pair of trainings, gaps in points."""
    ranges = {row.range: row.sizes.replace(" ", ", ") for row in table.itertuples()}
    heads = [f"{name} ({sizes})" for name, sizes in ranges.items()]
    heads = [*heads, *(f"training accuracy, {name}" for name in ranges if name != "all")]
    lines = [f"| images seen | from | {' | '.join(heads)} |", f"|---|---|{'---|' * len(heads)}"]
    for (images, seen), rows in table.groupby(["train_images", "images_seen"]):
        found = {(row.metric, row.range): row for row in rows.itertuples()}
        shown = [found["gap", name] for name in ranges]
        shown += [found["train_gap", name] for name in ranges if name != "all"]
        cells = [f"{signed(row.value)} [{signed(row.low)}, {signed(row.high)}]" for row in shown]
        lines.append(f"| {seen:,} | {images:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


AS_MARKDOWN = {"training_length": gaps, "answers": answers.markdown}  # others: `markdown`


def as_markdown(table: pd.DataFrame, name: str) -> str:
    """The table of an evaluation, as pages show it."""
    return AS_MARKDOWN.get(name, markdown)(table)


def with_tables(page: str, saved: Path) -> str:
    """A page with every block made again from the frozen tables below `saved`."""

    def block(found: re.Match) -> str:
        head, study, name, end = found.groups()
        table = pd.read_csv(saved / study / "tables" / f"{name}.csv")
        return f"{head}\n{as_markdown(table, name)}\n\n{end}"

    def every(found: re.Match) -> str:
        head, what, end = found.groups()
        if what == "study":
            table = across.markdown(across.gathered(saved))
        else:
            table = across_collections.markdown(across_collections.gathered(saved, "answers"))
        return f"{head}\n{table}\n\n{end}"

    return EVERY.sub(every, BLOCK.sub(block, page))


def pages() -> list[Path]:
    """Pages of the project that hold such tables."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [path for path in found if has_tables(path.read_text(encoding="utf-8"))]


def has_tables(page: str) -> bool:
    """Whether a page has a block that is made from frozen tables."""
    return bool(BLOCK.search(page) or EVERY.search(page))
