"""What every command line of the suite shares."""

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

from suite import modules
from suite.contracts import LARGEST
from suite.errors import UserError
from suite.modules import ROOT
from suite.study import RECIPES, Study, load_study


def whole(least: int, most: int) -> Callable[[str], int]:
    """The type of an argument that is a whole number between two; argparse says what is wrong."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"\d{1,10}", text) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number from {least} to {most}")
        return int(text)

    return parse


def device_name(text: str) -> str:
    """The type of --device."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", text):
        raise argparse.ArgumentTypeError(f"{text} is no device: cpu, cuda, cuda:1 …, or auto")
    return text


THREADS = whole(1, 1024)
SEED = whole(0, LARGEST)


def add_study(parser: argparse.ArgumentParser) -> None:
    """Add --study."""
    where = "a name in config/studies/ (glyphs) or the path of a study file (my/study.yaml)"
    parser.add_argument("--study", required=True, help=where)


def add_seeds(parser: argparse.ArgumentParser) -> None:
    """Add --seeds and --recipes, for what is made from several runs."""
    parser.add_argument("--seeds", type=SEED, nargs="+", help="default: the study's own")
    parser.add_argument("--recipes", choices=RECIPES, nargs="+", help="default: the study's own, else paper")


def study(args: argparse.Namespace) -> Study:
    """The study of --study, with the seeds of --seeds and the recipes of --recipes if given."""
    given = {"seeds": args.seeds, "recipes": args.recipes}
    return load_study(args.study, **{key: value for key, value in given.items() if value})


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add --seed and --device."""
    parser.add_argument("--seed", type=SEED, default=0, help="seed of the run (default 0)")
    add_device(parser)


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add --device."""
    which = "cpu, cuda, cuda:1 …; auto (default) takes a GPU if there is one"
    parser.add_argument("--device", type=device_name, default="auto", help=which)


def device(asked: str) -> str:
    """`auto` made definite: cuda where there is a GPU, else cpu. Raises UserError for a missing GPU."""
    if asked == "cpu":
        return asked
    import torch

    found = torch.cuda.device_count()
    if asked == "auto":
        return "cuda" if found else "cpu"
    if int(asked.partition(":")[2] or 0) >= found:
        raise UserError(
            f"--device {asked}: this machine has {found} GPUs that PyTorch can use; try --device cpu"
        )
    return asked


def has_gpu() -> bool:
    """Whether this machine has an NVIDIA GPU, asked without importing torch."""
    return Path("/dev/nvidia0").exists()


def run(main: Callable[[], None]) -> None:
    """Run a command; print a UserError as one line and exit with 1; anything else shows its traceback.

    A user's own file that ends the program is such an error, too. Elsewhere than in the suite's folder a
    note says so: results/ is below the folder that a command is run in.
    """
    if Path.cwd() != ROOT:
        print(f"note: results/ is below {Path.cwd()}, not below {ROOT} where the suite is", file=sys.stderr)
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except SystemExit as error:
        # Of a user's own file. Ended with 0, the job would have succeeded without its results.
        if place := modules.ended_by(error):
            sys.exit(f"error: {place} ended the program (sys.exit or exit): return or raise an error there")
        raise
