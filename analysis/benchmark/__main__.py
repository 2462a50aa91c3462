"""Speed and memory of the suite's own machinery, measured beside what it is compared with.

    python -m analysis.benchmark search            exact prefix search against nine FAISS flat searches
    python -m analysis.benchmark search --scale    4,202,000 x 2048 in float16 on disk, in bounded memory
    python -m analysis.benchmark adaptive          shortlists, re-ranked, against one search at full size
    python -m analysis.benchmark retrieval         the same, and funnels, at ImageNet's size, on disk
    python -m analysis.benchmark evaluations       few-shot, long tail, … of 50,000 images and 1,000 classes

Everything a ratio is made of is measured in one run with the same number of threads: ratios can be compared
between machines, seconds cannot. Columns that begin with cpu_ count processor time instead of the clock; they
are the ones to read where other programs share the cores.
"""

import argparse
from pathlib import Path

import torch

from analysis.benchmark import adaptive, evaluations, retrieval, search
from analysis.search.prefix import known_device
from suite import cli, files
from suite.errors import UserError
from suite.machine import cores
from suite.provenance import provenance

# What each gives: add_arguments(parser), and run(args), its table.
COMMANDS = {"search": search, "adaptive": adaptive, "retrieval": retrieval, "evaluations": evaluations}


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line. Raises UserError for threads, a device or a file name that it cannot use."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in COMMANDS.items():
        summary = module.__doc__.partition("\n")[0]
        sub = commands.add_parser(name, help=summary, description=summary)
        sub.add_argument("--threads", type=int, default=cores(), help="default: all cores")
        sub.add_argument("--device", default="cpu", help="cpu (default) or cuda")
        sub.add_argument("--seed", type=int, default=0, help="seed of the random data (default 0)")
        sub.add_argument("--out", type=Path, help="also write the table: .csv, or .json with its conditions")
        module.add_arguments(sub)
    args = parser.parse_args(argv)
    if args.threads < 1:
        raise UserError(f"--threads {args.threads}: at least one thread is needed")
    known_device(args.device)
    if args.out and args.out.suffix not in (".csv", ".json"):
        raise UserError(f"--out {args.out}: the name must end in .csv or .json")
    return args


def main(argv: list[str] | None = None) -> None:
    """Measure, print the table, and write it if asked."""
    args = arguments(argv)
    torch.set_num_threads(args.threads)
    table = COMMANDS[args.command].run(args)
    print(table.T.to_string(header=False, float_format=lambda value: f"{value:.4g}"))
    if args.out and args.out.suffix == ".csv":
        with files.write_aside(args.out) as path:
            table.to_csv(path, index=False)
    elif args.out:
        conditions = provenance(threads=args.threads, device=args.device, seed=args.seed)
        files.write_json(args.out, {"conditions": conditions, "table": table.to_dict("records")})


if __name__ == "__main__":
    cli.run(main)
