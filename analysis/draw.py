"""Draws one figure of a study as PNG and PDF: `python -m analysis.draw --study glyphs --figure knn`."""

import argparse

from analysis.plotting import Drawing, save, use_style
from suite import cli
from suite.contracts import FIGURE


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    cli.add_study(parser)
    parser.add_argument("--figure", required=True, help="a name under `figures` in the study's file")
    cli.add_seeds(parser)
    args = parser.parse_args(argv)
    study = cli.study(args)
    study.check_figure(args.figure)
    module, argument = study.figure_module(args.figure)
    use_style()
    figure = FIGURE.load(module).draw(Drawing(study, study.layout, argument))
    save(figure, study.layout.figure(args.figure), study.layout.figure(args.figure, "pdf"))


if __name__ == "__main__":
    cli.run(main)
