"""Freezes a study's baselines, or checks frozen ones: `python -m analysis.saved freeze --study glyphs`."""

from analysis.compare.freeze import main
from suite import cli

if __name__ == "__main__":
    cli.run(main)
