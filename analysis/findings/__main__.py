"""Prints a table of findings or answers as Markdown, or writes those of README and docs/ again.

python -m analysis.findings --markdown results/tables/glyphs/findings.csv
python -m analysis.findings --markdown results/tables/scifact/answers.csv
python -m analysis.findings --docs                          from the tables frozen in results/saved, and
                                                            docs/figures/{claims,collections}.png
"""

import argparse
from pathlib import Path

import pandas as pd

from analysis.findings import across, across_collections
from analysis.findings.page import as_markdown, pages, with_tables
from analysis.plotting import use_style
from suite import cli, files
from suite.modules import ROOT

PICTURES = ROOT / "docs" / "figures"


def main(argv: list[str] | None = None) -> None:
    """Print a table as Markdown, or write those of the pages again."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--markdown", type=Path, help="results/tables/<study>/findings.csv or answers.csv, to print"
    )
    what.add_argument("--docs", action="store_true", help="write the tables of README.md and docs/ again")
    args = parser.parse_args(argv)
    if args.markdown:
        print(as_markdown(pd.read_csv(args.markdown), args.markdown.stem))
        return
    saved = ROOT / "results" / "saved"
    use_style()
    answered, codes = (
        across_collections.gathered(saved, name) for name in ("answers", "quantised_retrieval")
    )
    labels = dict(zip(answered["method"], answered["label"]))
    others = pd.read_csv(saved / "corect" / "corect.csv")
    for name, figure in {
        "claims": across.picture(across.gathered(saved)),
        "collections": across_collections.picture(codes, labels, others),
    }.items():
        with files.write_aside(PICTURES / f"{name}.png") as aside:
            figure.savefig(aside, format="png", dpi=200)
        print((PICTURES / f"{name}.png").relative_to(ROOT))
    for path in pages():
        page = with_tables(path.read_text(encoding="utf-8"), saved)
        with files.write_aside(path) as aside:
            aside.write_text(page, encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    cli.run(main)
