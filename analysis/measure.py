"""Measures one method: `python -m analysis.measure --study glyphs --method mrl --measure neighbours`."""

import argparse
import shutil
from pathlib import Path

import numpy as np

from analysis.measures import read_outcomes, write_outcomes
from baselines.representation import Representation
from splits.store import Dataset
from suite import cli
from suite.contracts import MEASURE
from suite.layout import Layout
from suite.study import Study, load_study


def measure(
    study: Study,
    layout: Layout,
    method: str,
    seed: int,
    measure: str,
    device: str = "cpu",
    resume_dir: Path | None = None,
) -> dict[str, np.ndarray]:
    """Raw outcomes by name of one method, given what the measures in its READS saved before.

    device, resume_dir: for measures that search (SEARCHES): where, and in which folder they keep what they
    have found, to go on from it. The folder stays: it is to be removed once the outcomes are saved.
    """
    facts = MEASURE.facts(measure)
    read = {name: read_outcomes(layout, method, seed, name) for name in facts.READS}
    dataset = Dataset(layout.data)
    representation = Representation.of(layout, method, seed, dataset.checksum)
    # Embeddings from outside the suite may lack splits that the study has.
    dataset = dataset.subset(representation.splits)
    if facts.SEARCHES:
        read |= {"device": cli.device(device), "resume_dir": resume_dir}
    return MEASURE.load(measure).measure(representation, dataset, study.measure_options(measure), **read)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    cli.add_study(parser)
    parser.add_argument("--method", required=True, help="a name under `methods` in the study's file")
    parser.add_argument("--measure", required=True, help="predict, neighbours, …: see analysis/measures/")
    cli.add_run(parser)
    args = parser.parse_args(argv)
    study = load_study(args.study)
    method = study.method(args.method)
    layout = study.layout
    path = layout.outcomes(method.name, args.seed, args.measure)
    unfinished = path.with_name(f".unfinished-{args.measure}")
    found = measure(study, layout, method.name, args.seed, args.measure, args.device, unfinished)
    write_outcomes(layout, method.name, args.seed, args.measure, found)
    shutil.rmtree(unfinished, ignore_errors=True)


if __name__ == "__main__":
    cli.run(main)
