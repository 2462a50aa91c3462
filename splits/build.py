"""Builds a study's data: `python -m splits.build --study glyphs`."""

import argparse

from splits.store import DatasetWriter
from suite import cli
from suite.contracts import SOURCE
from suite.study import load_study


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    cli.add_study(parser)
    parser.add_argument("--threads", type=cli.THREADS, default=1, help="processes to draw or decode with")
    args = parser.parse_args(argv)
    study = load_study(args.study)
    folder = study.layout.data
    source = SOURCE.load(study.source)
    writer = DatasetWriter(folder, study.source, study.source_options)
    source.build(writer, study.source_options, threads=args.threads)
    writer.finish()


if __name__ == "__main__":
    cli.run(main)
