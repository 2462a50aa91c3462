"""Writes the page of a study, or the page that lists all of them, which a new page is put into at once.

python -m analysis.report --study glyphs    results/report/glyphs.html, and the index
python -m analysis.report --index           results/report/index.html: every frozen study and every page
"""

import argparse
from pathlib import Path

from analysis.report import index
from analysis.report.study import page
from suite import cli, files
from suite.errors import UserError


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--study", help="a name in config/studies/ (glyphs) or the path of a study file")
    what.add_argument("--index", action="store_true", help="write the list of studies alone")
    cli.add_seeds(parser)
    args = parser.parse_args(argv)
    if args.study:
        study = cli.study(args)
        write(study.layout.report, page(study, study.layout))
    elif args.seeds or args.recipes:
        raise UserError("--seeds and --recipes are of a study: give --study, or --index alone")
    write(Path("results/report/index.html"), index.page(Path("results")))


def write(path: Path, text: str) -> None:
    """Replace a page in one step and say where it is."""
    with files.write_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    cli.run(main)
