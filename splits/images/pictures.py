"""From image files to splits: decoded in parallel, to one size, and continued where it was stopped.

`write_splits` leaves out images that an earlier split has. `write_split` is for millions of files: what is
done is noted job by job beside the file,

    results/data/<study>/<split>/unfinished/{images,digests,done}.npy, plan.json

and when everything is, `images.npy`, `digests.npy` and `plan.json` take their place in the split: what the
same plan has made is not made again.
"""

import hashlib
import io
import struct
import sys
import tarfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageOps
from tqdm import tqdm

from splits.given import really
from splits.images.listing import INSIDE, read_bytes
from splits.store import DIGEST, DatasetWriter, digest
from suite import files, modules
from suite.errors import UserError
from suite.roles import ROLES

CHUNK = 64  # files per job: some seconds of work are lost when a build is stopped
WAITING = 4  # jobs per process that are handed out at a time, so that memory stays bounded
MODES = {1: "L", 3: "RGB"}
BITS = range(9, 17)  # how many a grey value may have that a file keeps in 16
UNREADABLE_SHOWN = 20  # so many images that cannot be read are named, and no more are looked for
# What Pillow, and what it reads with, raises for files that are damaged or no images.
DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    EOFError,
    struct.error,
    zlib.error,
    tarfile.TarError,
    Image.DecompressionBombError,
)

File = Path | str | bytes  # a file; a path as listing.read_bytes takes it, so of a tar's member too; content
Job = tuple[slice, list[str], list[File]]  # rows, and the names and files of the images that become them


@dataclass(frozen=True)
class Format:
    """What every image becomes.

    inverted: dark ink on white paper becomes light ink on a dark ground. draft: large JPEG files may be
    decoded at a half, a quarter or an eighth of their size (never below `size`), which is several times
    faster; the mean over 2×2 and more pixels is then taken by the decoder.

    as_shown: as programs show a picture, turned by its EXIF orientation and with a ground where it is
    transparent (`on_a_ground`); official data sets are taken as everybody reads them, pixels alone. bits: how
    many of 16 a grey value has; None: 16, but a picture without values beyond 12 is refused.
    """

    size: int
    channels: int
    inverted: bool = False
    draft: bool = False
    # Not in the text by which `write_split` knows its plan: what it decodes are official sets.
    as_shown: bool = field(default=False, repr=False)
    bits: int | None = field(default=16, repr=False)

    def __post_init__(self):
        if self.size < 1 or self.channels not in MODES:
            raise UserError(
                f"images of size {self.size} with {self.channels} channels: size must be at least 1, "
                "channels 1 (grey) or 3 (colour)"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.size, self.size, self.channels)


def decode(name: str, file: File, target: Format) -> np.ndarray:
    """The centre square of an image file, averaged over areas: uint8 [size, size, channels].

    Raises UserError naming the file when it cannot be read, or its values have no range to scale by.
    """
    try:
        if isinstance(file, str):
            file = read_bytes(file)
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as opened:
            if target.draft:
                opened.draft(MODES[target.channels], (target.size, target.size))
            deep = ";16" in str(opened.tile) and not opened.mode.startswith("I;16")
            image = ImageOps.exif_transpose(opened) if target.as_shown else opened
            image = eight_bit(name, image, target.bits)
            if target.as_shown:
                image = on_a_ground(image)
            image = image.convert(MODES[target.channels])
    except DAMAGED as error:
        told = str(error).partition(" <")[0] or type(error).__name__  # no address of a buffer: it varies
        found = really(file) if isinstance(file, (Path, bytes)) else ""
        raise UserError(f"cannot read image {name}: {told}{found}") from error
    if target.as_shown and deep and 0 < np.max(image) < 16:
        raise UserError(
            f"image {name} has 16 bits a channel and uses 12 of them or fewer, so that it would be nearly "
            "black (Pillow keeps the upper 8 of a colour): save it with 8 bits a channel"
        )
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    box = (left, top, left + side, top + side)
    image = image.resize((target.size, target.size), Image.Resampling.BOX, box)
    pixels = np.asarray(image).reshape(target.shape)
    return 255 - pixels if target.inverted else pixels


def check_bits(options: dict) -> int | None:
    """A source's option `bits`; raises UserError unless it is None or one of BITS."""
    if (bits := options["bits"]) is not None and (type(bits) is not int or bits not in BITS):
        raise UserError(f"data.bits is {bits!r}, allowed: null or whole numbers from {BITS[0]} to {BITS[-1]}")
    return bits


def eight_bit(name: str, image: Image.Image, bits: int | None = 16) -> Image.Image:
    """The image with 8 bits a channel: of 16-bit grey the upper ones, rounded; others are so already.

    bits: as in `Format`. Raises UserError for values that need more bits, or that leave it open how many they
    have; and for 32-bit and floating-point grey: Pillow would cut such values off at 255.
    """
    if image.mode.startswith("I;16"):
        values = np.asarray(image)
        highest = int(values.max())
        if bits is None and 0 < highest < 2**12:
            raise UserError(
                f"image {name} holds 16-bit numbers of at most {highest:,}: it would be nearly black. Say in "
                "`data` how many bits its values have: `bits: 12` for a camera of 12, or `bits: 16` if it is "
                "meant to be so dark"
            )
        full = 2 ** (bits or 16) - 1
        if highest > full:
            raise UserError(
                f"image {name} holds numbers up to {highest:,}, but `bits: {bits}` ends at {full:,}"
            )
        return Image.fromarray(np.rint(values / (full / 255)).astype(np.uint8))
    if image.mode in ("I", "F"):
        kind = "32-bit whole" if image.mode == "I" else "floating-point"
        raise UserError(f"image {name} holds {kind} numbers: save it with 8 or 16 bits a channel")
    return image


def on_a_ground(image: Image.Image) -> Image.Image:
    """The image without transparency: on white paper, or on black where white would hide all of it.

    Without a ground, a drawing whose ink is in the transparency alone is all black.
    """
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    flat = {
        ground: Image.alpha_composite(Image.new("RGBA", image.size, ground), image).convert("RGB")
        for ground in ("white", "black")
    }
    seen = [each for each in flat.values() if any(low < high for low, high in each.getextrema())]
    return next(iter(seen), flat["white"])


def write_splits(writer: DatasetWriter, table: pd.DataFrame, target: Format, threads: int) -> None:
    """Decode every file and write its split, leaving out copies as `write_arrays` does.

    table: one row per image with split, label, id, file (see File) and further columns for items.csv.
    """
    table = in_order_of_roles(table)
    names, contents = table["id"].tolist(), table["file"].tolist()
    jobs = [(rows, names[rows], contents[rows]) for rows in chunks(len(table))]
    scratch, digests = writer.folder / "decoded.npy", []
    with files.create_npy(scratch, (len(table), *target.shape), np.uint8) as decoded:
        bar = tqdm(total=len(table), desc="decoding", unit="image", mininterval=2)
        for _, found in decode_all(jobs, decoded.filename, target, threads, bar):
            digests += found
        write_arrays(writer, table.drop(columns="file"), decoded, digests)
    scratch.unlink()


def in_order_of_roles(table: pd.DataFrame) -> pd.DataFrame:
    """Rows by split, in the order of ROLES; within a split as they were."""
    return table.sort_values("split", key=lambda splits: splits.map(list(ROLES).index), kind="stable")


def write_arrays(
    writer: DatasetWriter, table: pd.DataFrame, images: np.ndarray, digests: list[bytes]
) -> None:
    """Write splits from images in memory or a scratch file, and say how many were left out as copies.

    An image that is pixel for pixel in an earlier split (in the order of ROLES) is left out: at a small size
    two simple drawings can coincide. table: as in `write_splits`, in the order of ROLES; images: uint8 [n,
    size, size, channels]. A column that is "" throughout a split (`group`, but for the stream) is not among
    its items. Raises UserError if a split is left without images.
    """
    owner: dict[bytes, str] = {}
    kept = np.array(
        [owner.setdefault(image, split) == split for split, image in zip(table["split"], digests)]
    )
    for split, rows in table.groupby("split", sort=False).indices.items():
        chosen = rows[kept[rows]]
        if len(chosen) == 0:
            raise UserError(f"every image of {split} is also in an earlier split")
        part = table.iloc[chosen]
        items = part.drop(columns=["split", "label"])
        items = items.loc[:, (items != "").any()]
        shape, labels = (len(chosen), *images.shape[1:]), part["label"].to_numpy(np.int64)
        with writer.create(split, shape, labels, items) as out:
            for some in chunks(len(chosen)):
                out[some] = images[chosen[some]]
    if copies := int((~kept).sum()):
        print(f"{writer.source}: {copies} images left out, the same in an earlier split", file=sys.stderr)


def write_split(
    writer: DatasetWriter, name: str, table: pd.DataFrame, root: Path, target: Format, threads: int
) -> None:
    """Decode every file of `table` and write the split `name`, starting where an earlier call stopped.

    table: one row per image with label, id, path (relative to `root`, see listing.read_bytes) and further
    columns for items.csv. Raises UserError naming files that cannot be decoded; what is done is kept.
    """
    labels = table["label"].to_numpy(np.int64)
    with writer.filled(name, (len(table), *target.shape), labels, table.drop(columns=["label", "path"])):
        fill(writer.folder / name, table["path"].tolist(), root, target, threads)


def fill(folder: Path, paths: list[str], root: Path, target: Format, threads: int) -> None:
    """Write folder/images.npy [n, size, size, channels] and folder/digests.npy [n]."""
    work = folder / "unfinished"
    listed = hashlib.sha256("".join(f"{path}\n" for path in paths).encode()).hexdigest()
    # What a path leads to counts, and how it is decoded: an image may be exchanged under its name.
    content = files.hash_files((name, root / name) for name in {path.partition(INSIDE)[0] for path in paths})
    code = modules.content(modules.closure("splits/images/pictures.py"))
    plan = {"format": repr(target), "root": str(root), "paths": listed, "files": content, "code": code}
    if follows(folder, plan) and (folder / "images.npy").exists():
        return
    if not follows(work, plan):
        begin(work, len(paths), target, plan)
    try:
        done, digests = (np.load(work / f"{name}.npy", mmap_mode="r+") for name in ("done", "digests"))
        opened(work / "images.npy")
    except (OSError, ValueError, EOFError):  # damaged, as after a full disk
        begin(work, len(paths), target, plan)
        done, digests = (np.load(work / f"{name}.npy", mmap_mode="r+") for name in ("done", "digests"))

    def jobs() -> Iterator[Job]:
        for rows in chunks(len(paths)):
            if not done[rows].all():
                named = [f"{root}/{path}" for path in paths[rows]]
                yield rows, named, named

    bar = tqdm(total=len(paths), initial=int(done.sum()), desc=f"decoding {folder.name}", unit="image")
    for rows, found in decode_all(jobs(), work / "images.npy", target, threads, bar):
        digests[rows] = np.array(found, DIGEST)
        done[rows] = True  # after the images: what is noted as done is there
    for array in (digests, done):
        array.flush()
    (folder / "plan.json").unlink(missing_ok=True)  # it must not vouch for half-renamed files
    for name in ("images.npy", "digests.npy", "plan.json"):
        (work / name).replace(folder / name)
    (work / "done.npy").unlink()
    work.rmdir()


def follows(folder: Path, plan: dict) -> bool:
    """Whether what lies in `folder` was made to this plan."""
    try:
        return files.read_json(folder / "plan.json") == plan
    except (FileNotFoundError, UserError):  # a damaged one vouches for nothing
        return False


def begin(work: Path, n: int, target: Format, plan: dict) -> None:
    """Lay out the files of a new filling; the plan, which makes them count, last."""
    (work / "plan.json").unlink(missing_ok=True)
    laid = {"images": ((n, *target.shape), np.uint8), "digests": ((n,), DIGEST), "done": ((n,), bool)}
    for name, (shape, dtype) in laid.items():
        with files.create_npy(work / f"{name}.npy", shape, dtype):
            pass  # zeros, and on most file systems no bytes, until something is written
    files.write_json(work / "plan.json", plan)


def chunks(n: int) -> list[slice]:
    """Rows 0 … n − 1, CHUNK at a time."""
    return [slice(start, min(start + CHUNK, n)) for start in range(0, n, CHUNK)]


def decode_all(
    jobs: Iterable[Job], array: str | Path, target: Format, threads: int, bar: tqdm
) -> Iterator[tuple[slice, list[bytes]]]:
    """Decode images into an .npy file [n, size, size, channels]; yields each job's rows and a digest of each.

    Workers write into the file themselves: neither do images pass between processes, nor are hundreds of
    gigabytes read again to compare splits. Raises one UserError with every file that cannot be decoded, when
    the others are done; jobs that hold one are not yielded.
    """
    opened.cache_clear()  # another array may have had the same name
    faults: list[str] = []
    with bar, pool(threads) as run:
        for rows, digests, told in run(decode_into, ((str(array), target, job) for job in jobs)):
            bar.update(rows.stop - rows.start)
            faults += told
            if len(faults) >= UNREADABLE_SHOWN:
                break
            if not told:
                yield rows, digests
    opened.cache_clear()
    if len(faults) > 1:
        least = "at least " if len(faults) >= UNREADABLE_SHOWN else ""
        raise UserError(f"{least}{len(faults)} images cannot be used:\n  " + "\n  ".join(faults))
    if faults:
        raise UserError(faults[0])


def decode_into(job: tuple[str, Format, Job]) -> tuple[slice, list[bytes], list[str]]:
    """Decode the files of one job into their rows of the array; the rows, the images' digests, and faults."""
    array, target, (rows, names, contents) = job
    out, digests, faults = opened(array), [], []
    for row, name, file in zip(range(rows.start, rows.stop), names, contents):
        try:
            out[row] = image = decode(name, file, target)
        except UserError as error:
            faults.append(str(error))
        else:
            digests.append(digest(image))
    return rows, digests, faults


@lru_cache(maxsize=1)
def opened(path: str) -> np.ndarray:
    """The array a worker writes to, mapped once."""
    return np.load(path, mmap_mode="r+")


@contextmanager
def pool(threads: int) -> Iterator[Callable]:
    """Yield a `map` over so many processes that keeps the order and takes few jobs at a time."""
    if threads == 1:
        yield map
        return
    with ProcessPoolExecutor(threads) as executor:

        def run(work: Callable, jobs: Iterable) -> Iterator:
            waiting: deque[Future] = deque()
            try:
                for job in jobs:
                    waiting.append(executor.submit(work, job))
                    if len(waiting) >= WAITING * threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

        yield run
