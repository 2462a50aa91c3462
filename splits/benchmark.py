"""A manifest as large as ImageNet-21K's, without an image: to measure the ImageNet-4K builder at full size.

python -m splits.benchmark manifest.csv             # 14,197,114 lines, by class
python -m splits.benchmark manifest.csv --shuffle   # in random order
/usr/bin/time -v python -m splits.imagenet4k --images manifest.csv --out imagenet4k
"""

import os
from argparse import ArgumentParser, RawDescriptionHelpFormatter

import numpy as np

from splits import facts
from suite import cli, files


def synthesise_manifest(path: str | os.PathLike, shuffle_seed: int | None = None) -> int:
    """Write a manifest of the published counts and return how many lines it has.

    Lines are shuffled when a seed is given.
    """
    counts = facts.synsets()["images"]
    counts = counts[counts > 0]
    wnids = counts.index.to_numpy(dtype=object)
    order = np.arange(counts.sum())
    codes = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    first = np.cumsum(counts.to_numpy()) - counts.to_numpy()
    if shuffle_seed is not None:
        np.random.default_rng(shuffle_seed).shuffle(order)
    with files.write_aside(path) as aside, aside.open("w", encoding="utf-8") as file:
        file.write("path,wnid\n")
        for rows in np.array_split(order, 30):
            numbers = rows - first[codes[rows]]
            file.writelines(
                f"{wnid}/{wnid}_{i}.JPEG,{wnid}\n" for wnid, i in zip(wnids[codes[rows]], numbers)
            )
    return len(order)


def main(argv: list[str] | None = None) -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("manifest", help="the .csv to write")
    parser.add_argument("--shuffle", action="store_true", help="lines in random order")
    parser.add_argument("--seed", type=int, default=0, help="of --shuffle")
    args = parser.parse_args(argv)
    lines = synthesise_manifest(args.manifest, args.seed if args.shuffle else None)
    print(f"{args.manifest}: {lines:,} lines")


if __name__ == "__main__":
    cli.run(main)
