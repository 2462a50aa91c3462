"""From image files to splits: decoding in parallel, one size for all, and no image in two splits."""

import io
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from splits.store import ROLES, DatasetWriter, digest
from suite import files
from suite.errors import UserError

CHUNK = 256  # files per job
MODES = {1: "L", 3: "RGB"}


@dataclass(frozen=True)
class Format:
    """What every image becomes.

    inverted: dark ink on white paper becomes light ink on a dark ground. draft: large JPEG files may be
    decoded at a half, a quarter or an eighth of their size (never below `size`), which is several times
    faster; the mean over 2×2 and more pixels is then taken by the decoder.
    """

    size: int
    channels: int
    inverted: bool = False
    draft: bool = False

    def __post_init__(self):
        if self.size < 1 or self.channels not in MODES:
            raise UserError(
                f"images of size {self.size} with {self.channels} channels: size must be at least 1, "
                "channels 1 (grey) or 3 (colour)"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.size, self.size, self.channels)


def decode(name: str, file: Path | bytes, target: Format) -> np.ndarray:
    """The centre square of an image file, averaged over areas: uint8 [size, size, channels].

    Raises UserError naming the file when it cannot be read, or its values have no range to scale by.
    """
    try:
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as opened:
            if target.draft:
                opened.draft(MODES[target.channels], (target.size, target.size))
            image = eight_bit(name, opened).convert(MODES[target.channels])
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"cannot read image {name}: {error}") from error
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    image = image.resize(
        (target.size, target.size), Image.Resampling.BOX, (left, top, left + side, top + side)
    )
    pixels = np.asarray(image).reshape(target.shape)
    return 255 - pixels if target.inverted else pixels


def eight_bit(name: str, image: Image.Image) -> Image.Image:
    """The image with 8 bits a channel: of 16-bit grey the upper ones, rounded; others are so already.

    Raises UserError for 32-bit and floating-point grey: Pillow would cut such values off at 255.
    """
    if image.mode.startswith("I;16"):
        return Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        kind = "32-bit whole" if image.mode == "I" else "floating-point"
        raise UserError(f"image {name} holds {kind} numbers: save it with 8 or 16 bits a channel")
    return image


def decode_chunk(job: tuple[list[str], list[Path | bytes], Format]) -> np.ndarray:
    """Images of one job: uint8 [n, size, size, channels]."""
    names, contents, target = job
    return np.stack([decode(name, file, target) for name, file in zip(names, contents)])


def write_splits(writer: DatasetWriter, table: pd.DataFrame, target: Format, threads: int) -> int:
    """Decode every file and write its split; returns how many were left out as copies.

    table: one row per image with split, label, id, file (a path, or the file's bytes) and further columns
    for items.csv. An image that is pixel for pixel in an earlier split (in the order of ROLES) is left out:
    at a small size two simple drawings can coincide. Raises UserError if that leaves a split without images.
    """
    scratch = writer.folder / "decoded.npy"
    table = in_order_of_roles(table)
    with files.create_npy(scratch, (len(table), *target.shape), np.uint8) as decoded:
        copies = write_arrays(
            writer, table.drop(columns="file"), decoded, decode_all(table, target, threads, decoded)
        )
    scratch.unlink()
    return copies


def in_order_of_roles(table: pd.DataFrame) -> pd.DataFrame:
    """Rows by split, in the order of ROLES; within a split as they were."""
    order = list(ROLES)
    return table.iloc[np.argsort(table["split"].map(order.index), kind="stable")]


def write_arrays(writer: DatasetWriter, table: pd.DataFrame, images: np.ndarray, digests: list[bytes]) -> int:
    """Write splits from images in memory or a scratch file; returns how many were left out as copies.

    table: as in `write_splits`, in the order of ROLES; images: uint8 [n, size, size, channels]. A column that
    is "" throughout a split (`group`, but for the stream) is not among its items.
    """
    kept = first_split_only(table["split"].tolist(), digests)
    for split, rows in table.groupby("split", sort=False).indices.items():
        chosen = rows[kept[rows]]
        if len(chosen) == 0:
            raise UserError(f"every image of {split} is also in an earlier split")
        part = table.iloc[chosen]
        items = part.drop(columns=["split", "label"])
        items = items.loc[:, (items != "").any()]
        shape, labels = (len(chosen), *images.shape[1:]), part["label"].to_numpy(np.int64)
        with writer.create(split, shape, labels, items) as out:
            for start in range(0, len(chosen), CHUNK):
                out[start : start + CHUNK] = images[chosen[start : start + CHUNK]]
    return int((~kept).sum())


def decode_all(table: pd.DataFrame, target: Format, threads: int, out: np.ndarray) -> list[bytes]:
    """Fill `out` [n, size, size, channels] with the table's images; returns a digest of each."""
    jobs = []
    for start in range(0, len(table), CHUNK):
        part = table.iloc[start : start + CHUNK]
        jobs.append((part["id"].tolist(), part["file"].tolist(), target))
    digests = []
    with pool(threads) as run:
        done = tqdm(run(decode_chunk, jobs), total=len(jobs), desc="decoding", unit="chunk", mininterval=2)
        for images in done:
            out[len(digests) : len(digests) + len(images)] = images
            digests += [digest(image) for image in images]
    return digests


def first_split_only(splits: list[str], digests: list[bytes]) -> np.ndarray:
    """Which rows are in the first split that has their image: bool [n]."""
    owner: dict[bytes, str] = {}
    return np.array([owner.setdefault(d, split) == split for split, d in zip(splits, digests)])


@contextmanager
def pool(threads: int) -> Iterator:
    """Yield a `map` that keeps the order, over `threads` processes."""
    if threads == 1:
        yield map
        return
    with ProcessPoolExecutor(threads) as executor:
        yield executor.map
