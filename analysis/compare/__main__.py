"""Judges a new method against saved baselines: `python -m analysis.compare --study … --method mine`.

results/compare/<study>/<name>.md     the verdict; .html: the same in one file that opens offline
results/compare/<study>/<name>.csv    every difference with interval, p and verdict; then areas, largest sizes
results/compare/<study>/<name>.png    curves with the baselines
"""

import argparse
from pathlib import Path

import pandas as pd

from analysis.compare import page
from analysis.compare.judge import AGAINST, compare
from suite import cli, files


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cli.add_study(parser)
    cli.add_seeds(parser)
    parser.add_argument("--method", required=True, help="the new method's name in that study")
    usual = f"{', '.join(AGAINST)}; of data with embeddings, a model's vectors and the strongest map of them"
    parser.add_argument("--against", nargs="+", help=f"saved methods; default: {usual}")
    parser.add_argument("--out", required=True, type=Path, help="the page (.md); others lie beside it")
    args = parser.parse_args(argv)
    study = cli.study(args)
    verdicts = compare(study, args.method, args.against)
    with files.write_aside(args.out.with_suffix(".csv")) as path:
        pd.concat([verdicts.differences, verdicts.areas, verdicts.largest]).to_csv(path, index=False)
    page.write(verdicts, study, args.out)


if __name__ == "__main__":
    cli.run(main)
