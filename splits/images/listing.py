"""Which images a folder of classes, a set of tars or a manifest holds, and how to read one of them.

    folder     n01440764/n01440764_18.JPEG
    tars       n01440764.tar, one per class, as ImageNet-21K is distributed; never unpacked
    manifest   a csv or tsv (gz too) with the columns path, wnid; paths relative to its folder

A folder that holds one folder of these and nothing else stands for that one, as archives unpack.

A path of an image is relative to the source's root; inside a tar it reads `n01440764.tar::n01440764_18.JPEG`.
"""

import io
import os
import posixpath
import tarfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from splits.given import hidden
from suite import files
from suite.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
INSIDE = "::"  # between a tar and its member
MANIFEST_SUFFIXES = {".csv": ",", ".csv.gz": ",", ".tsv": "\t", ".tsv.gz": "\t"}
CHUNK = 500_000  # manifest lines in memory as text at a time, about 100 MB


@dataclass(frozen=True)
class Source:
    """Where images lie. layout: "folder", "tars" or "manifest"; paths are relative to `root`."""

    path: Path
    layout: str

    @property
    def root(self) -> Path:
        return self.path.parent if self.layout == "manifest" else self.path

    def fingerprint(self) -> object:
        """What changes when images are added, removed or renamed, a tar or a manifest written; JSON-like."""
        if self.layout == "manifest":
            return files.outside(self.path)
        with os.scandir(self.path) as entries:
            visible = sorted((entry.name, entry.path) for entry in entries if not entry.name.startswith("."))
        return files.hash_files((name, Path(path)) for name, path in visible)


@dataclass(frozen=True)
class Listing:
    """The images of a source, in no particular order.

    classes: every class id met, sorted; listed: int64 [classes], images per class (-1 for a class that was
    not wanted and not opened); codes: int32 [n], the class of each wanted image as an index into `classes`;
    paths: str objects [n]; elsewhere: bool [n], whether the path is also listed under a class that was not
    wanted; broken: (class id, path, what is wrong) of unreadable tars.
    """

    classes: list[str]
    listed: np.ndarray
    codes: np.ndarray
    paths: np.ndarray
    elsewhere: np.ndarray
    broken: list[tuple[str, str, str]]


def open_source(path: str | os.PathLike) -> Source:
    """The source at `path`, its layout recognised; raises UserError if it is none of the three."""
    path = Path(path).expanduser()
    if path.is_file():
        if not path.name.endswith(tuple(MANIFEST_SUFFIXES)):
            raise UserError(
                f"{path} is no manifest ({', '.join(MANIFEST_SUFFIXES)}); of tars or class folders "
                "give the folder that holds them"
            )
        return Source(path, "manifest")
    if not path.is_dir():
        raise UserError(f"no images at {path}: there is no such folder or manifest")
    visible = _visible(path)
    while len(visible) == 1 and visible[0].is_dir() and _holds_classes(below := _visible(visible[0])):
        path, visible = Path(visible[0]), below
    tars = any(entry.name.endswith(".tar") for entry in visible)
    folders = any(entry.is_dir() for entry in visible)
    if tars and folders:
        raise UserError(
            f"{path} holds both tars and folders; keep one kind there, or images are listed twice"
        )
    if not tars and not folders:
        raise UserError(f"{path} holds neither class folders (n01440764/) nor tars (n01440764.tar)")
    return Source(path, "tars" if tars else "folder")


def _visible(folder: str | os.PathLike) -> list[os.DirEntry]:
    """Entries of a folder that are not hidden."""
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not hidden(entry.name)]


def _holds_classes(entries: list[os.DirEntry]) -> bool:
    """Whether a folder with these entries holds class folders or tars, no images."""
    return any(entry.is_dir() or entry.name.endswith(".tar") for entry in entries) and not any(
        names_image(entry.name) for entry in entries
    )


def list_images(source: Source, wanted: Collection[str]) -> Listing:
    """List the images of the `wanted` classes.

    A manifest counts the other classes too; folders and tars of other classes are not opened.
    Raises UserError for a manifest that cannot be parsed.
    """
    wanted, from_manifest = set(wanted), source.layout == "manifest"
    codes_of: dict[str, int] = {}
    listed, broken = Counter(), []
    codes, paths = [np.empty(0, np.int32)], [np.empty(0, object)]
    # 64 bits of each path instead of the text of those not wanted. That two paths of fourteen million agree
    # by chance has a probability of about 10⁻⁵.
    hashes, unwanted = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    chunks = _manifest_chunks(source.path) if from_manifest else _entry_chunks(source, wanted, broken)
    for class_ids, found in chunks:
        names = class_ids.categories
        code_of = np.array([codes_of.setdefault(name, len(codes_of)) for name in names], np.int32)
        listed.update(dict(zip(names, np.bincount(class_ids.codes, minlength=len(names)).tolist())))
        keep = names.isin(wanted)[class_ids.codes]
        hashed = pd.util.hash_array(found, categorize=False)
        codes.append(code_of[class_ids.codes[keep]])
        paths.append(found[keep])
        hashes.append(hashed[keep])
        unwanted.append(hashed[~keep])
    classes = sorted(codes_of)
    counts = [listed[name] if from_manifest or name in wanted else -1 for name in classes]
    place = np.empty(len(classes), np.int32)  # of each code among the sorted classes
    place[[codes_of[name] for name in classes]] = np.arange(len(classes))
    elsewhere = np.isin(np.concatenate(hashes), np.concatenate(unwanted))
    codes = place[np.concatenate(codes)]
    return Listing(classes, np.array(counts, np.int64), codes, np.concatenate(paths), elsewhere, broken)


def _manifest_chunks(path: Path) -> Iterator[tuple[pd.Categorical, np.ndarray]]:
    """(class ids, paths) of a manifest, CHUNK lines at a time; `./a/0.JPEG` is given as `a/0.JPEG`."""
    suffix = next(s for s in MANIFEST_SUFFIXES if path.name.endswith(s))
    try:
        reader = pd.read_csv(
            path,
            sep=MANIFEST_SUFFIXES[suffix],
            dtype=defaultdict(lambda: object, wnid="category"),
            keep_default_na=False,
            chunksize=CHUNK,
        )
        first_line = 2
        with reader, tqdm(desc="listing", unit=" lines", unit_scale=True) as bar:
            for chunk in reader:
                if missing := {"path", "wnid"} - set(chunk.columns):
                    raise ValueError(f"no column {', '.join(sorted(missing))}")
                # pandas takes a field too many in the first line for row names: an unquoted comma
                if not isinstance(chunk.index, pd.RangeIndex):
                    raise ValueError("line 2 has more fields than the first line names")
                empty = (chunk["path"] == "").to_numpy() | (chunk["wnid"] == "").to_numpy()
                if empty.any():
                    lines = (np.flatnonzero(empty)[:5] + first_line).tolist()
                    raise UserError(f"{path}: empty path or wnid in line {lines}")
                # Windows writes \\ between folders, and another name would be another draw.
                plain = chunk["path"].str.replace("\\", "/", regex=False)
                paths = np.array([posixpath.normpath(path) for path in plain], dtype=object)
                yield chunk["wnid"].array, paths
                first_line += len(chunk)
                bar.update(len(chunk))
        if first_line == 2:
            raise ValueError("it lists no images")
    except (ValueError, OSError, EOFError, zlib.error) as error:  # wrong columns, ragged lines, a bad gz
        raise UserError(
            f"{path}: {error}; a manifest has a first line naming the columns path and wnid"
        ) from error


def _entry_chunks(
    source: Source, wanted: set[str], broken: list
) -> Iterator[tuple[pd.Categorical, np.ndarray]]:
    """(class id, paths) of each class folder or tar, sorted; no paths of one that is not wanted.

    Hidden entries and loose files do not count. broken: (class id, name, what is wrong) is added to it.
    """
    tars = source.layout == "tars"
    entries = [
        entry
        for entry in sorted(source.path.glob("*.tar" if tars else "*"))
        if not hidden(entry.name) and (tars or entry.is_dir())
    ]
    for entry in tqdm(entries, desc="listing"):
        class_id, paths = entry.stem if tars else entry.name, []
        try:
            if class_id in wanted:
                paths = _paths_in(entry, source.layout)
        except (OSError, tarfile.TarError) as error:
            broken.append((class_id, entry.name, str(error)))
        yield pd.Categorical.from_codes(np.zeros(len(paths), np.int8), [class_id]), np.array(paths, object)


def _paths_in(entry: Path, layout: str) -> list[str]:
    """Paths, relative to the root, of the images in one class's folder or tar."""
    if layout == "tars":
        return [f"{entry.name}{INSIDE}{name}" for name in _members(entry) if names_image(name)]
    inside, prefix = _visible(entry), entry.name
    while len(inside) == 1 and inside[0].is_dir():
        prefix, inside = f"{prefix}/{inside[0].name}", _visible(inside[0])
    # A link that leads nowhere is listed: its image is missing, and named as such when it is read.
    return [f"{prefix}/{f.name}" for f in inside if names_image(f.name) and not f.is_dir()]


def names_image(name: str) -> bool:
    """Whether a file's name, or its path within what is read, is an image's and not hidden."""
    return name.lower().endswith(SUFFIXES) and not hidden(name)


@lru_cache(maxsize=64)  # images are read class by class, so a few tars at a time are enough
def _members(tar: Path) -> dict[str, tuple[int, int]]:
    """Offset and size in bytes of every regular file in a tar, by name."""
    with tarfile.open(tar, "r:") as archive:
        return {member.name: (member.offset_data, member.size) for member in archive if member.isreg()}


def read_bytes(path: str, root: str | os.PathLike = ".") -> bytes:
    """An image's file as bytes. path: relative to `root` or absolute; inside a tar `x.tar::member`.

    Raises FileNotFoundError when the file, the tar or the member is not there.
    """
    outer, inside, member = path.partition(INSIDE)
    file = Path(root) / outer
    if not inside:
        return file.read_bytes()
    members = _members(file)
    if member not in members:
        raise FileNotFoundError(f"no {member} in {file}")
    offset, size = members[member]
    with file.open("rb") as archive:
        archive.seek(offset)
        return archive.read(size)


def read_image(path: str, root: str | os.PathLike = ".") -> Image.Image:
    """An image, decoded to RGB; as `read_bytes`, and raises OSError if it does not decode."""
    with Image.open(io.BytesIO(read_bytes(path, root))) as image:
        return image.convert("RGB")
