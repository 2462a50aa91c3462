"""Writes one table of a study: `python -m analysis.tabulate --study glyphs --task knn`."""

import argparse

import pandas as pd

from analysis.run import COLUMNS, Run, run_of
from splits.store import Dataset
from suite import cli, files
from suite.contracts import EVALUATION
from suite.errors import unknown
from suite.layout import Layout
from suite.study import Study

DIGITS = "%.8g"
"""How numbers are written: far finer than any interval, in two thirds of the bytes of all digits."""


def tabulate(study: Study, task: str, layout: Layout) -> pd.DataFrame:
    """The tidy table of one evaluation: every method that takes part, every seed."""
    module = EVALUATION.load(task)
    dataset = Dataset(layout.data)

    some = [(method, seed) for method in study.task_methods(task) for seed in method.seeds]
    runs = [run_of(study, layout, dataset, *each, task) for each in some]
    score = getattr(module, "score", Run.means if hasattr(module, "items") else lambda run: ())
    rows = [row for run in runs for row in score(run)]
    if hasattr(module, "compare"):
        rows += module.compare(runs)
    table = pd.DataFrame(rows)
    # A study without the splits a task is about gets a table without rows.
    return table.reindex(columns=COLUMNS + [column for column in table if column not in COLUMNS])


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    cli.add_study(parser)
    parser.add_argument("--task", required=True, help="a name under `tasks` in the study's file")
    cli.add_seeds(parser)
    args = parser.parse_args(argv)
    study = cli.study(args)
    if args.task not in study.tasks:
        raise unknown("evaluation", args.task, study.tasks, study.path)
    table = tabulate(study, args.task, study.layout)
    with files.write_aside(study.layout.table(args.task)) as path:
        table.to_csv(path, index=False, float_format=DIGITS)


if __name__ == "__main__":
    cli.run(main)
