"""`python -m analysis.compare`: see judge.py."""

from analysis.compare.judge import main
from suite import cli

if __name__ == "__main__":
    cli.run(main)
