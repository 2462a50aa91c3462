"""The page that lists studies: those frozen in results/saved/, and pages of others that exist."""

import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from analysis.findings.rules import OUTCOMES
from analysis.report.html import render
from suite import files


def page(root: Path) -> str:
    """The list as HTML, of what lies below a results folder; links are from its report/ folder."""
    frozen = [study(root, path) for path in sorted(root.glob("saved/*/manifest.json"))]
    names = {each["name"] for each in frozen}
    others = [path.stem for path in pages(root) if path.stem not in names]
    return render(
        "index.html", title="Matryoshka suite: studies", outcomes=OUTCOMES, frozen=frozen, others=others
    )


def pages(root: Path) -> list[Path]:
    """Pages of studies that exist."""
    return [path for path in sorted(root.glob("report/*.html")) if path.stem != "index"]


def study(root: Path, path: Path) -> dict:
    """A line: what a frozen study is, what came of the paper's claims, its pages. path: its manifest."""
    manifest = files.read_json(path, advice=f"restore it from git: `git checkout -- {path}`")
    name = path.parent.name
    return {
        "name": name,
        "title": manifest["study"]["title"],
        "page": f"{name}.html" if (root / "report" / f"{name}.html").exists() else "",
        "compared": [
            (each.stem, os.path.relpath(each, root / "report"))
            for each in sorted((root / "compare" / name).glob("*.html"))
        ],
        "counts": dict(outcomes(path.parent)),
        "seeds": len(manifest["seeds"]),
        "date": manifest["date"][:10],
        "commit": manifest["commit"],
        "machine": manifest["machine"],
    }


def outcomes(folder: Path) -> Iterator[tuple[str, int]]:
    """(outcome, how many claims), from the frozen tables of findings."""
    found = [files.read_table(path) for path in sorted(folder.glob("tables/findings*.csv"))]
    said = pd.concat([table["outcome"] for table in found]) if found else pd.Series(dtype=str)
    for outcome in OUTCOMES if found else ():
        yield outcome, int((said == outcome).sum())
