"""Finds a data set's files: in a folder where the user put them, or fetched once from their address."""

import os
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from suite import files
from suite.errors import UserError
from suite.modules import ROOT

# Where a user's copies are looked for, in this order; what is fetched goes into the first.
FOLDERS = (ROOT / "data", ROOT.parent / "shared" / "data")
TIMEOUT = 30  # seconds without an answer from the server
BLOCK = 1 << 20


def locate(
    filename: str,
    address: str | None,
    sha256: str | None,
    folders: Iterable[str | os.PathLike] = FOLDERS,
) -> Path:
    """Path of a data file, checked: the user's copy in one of `folders`, or fetched into the first.

    address: where the file can be fetched, None if it cannot; sha256: hex digest, None if it is not known.
    Raises UserError naming the file, its address and the folder when the file is neither there nor to be
    had, or is not the file that was meant.
    """
    folders = [Path(folder) for folder in folders]
    for folder in folders:
        if (folder / filename).is_file():
            check(folder / filename, sha256, f"delete it, or put the right one into {folders[0]}")
            return folder / filename
    path = folders[0] / filename
    if address is None:
        raise UserError(f"{filename} is missing: it has no public address; put your copy into {folders[0]}")
    try:
        fetch(address, path, sha256)
    except (OSError, urllib.error.URLError) as error:  # no network, no such page, no space
        raise UserError(
            f"{filename} is missing and could not be fetched ({error}). Get it from {address} and put it "
            f"into {folders[0]}"
        ) from error
    return path


def fetch(address: str, path: Path, sha256: str | None) -> None:
    """Download a file aside, with progress; it becomes `path` when it is whole and its digest right."""
    with (
        files.write_aside(path) as aside,
        urllib.request.urlopen(address, timeout=TIMEOUT) as answer,
        aside.open("wb") as out,
        tqdm(
            total=int(answer.headers.get("Content-Length") or 0) or None,
            desc=f"fetching {path.name}",
            unit="B",
            unit_scale=True,
            mininterval=2,
        ) as bar,
    ):
        while block := answer.read(BLOCK):
            out.write(block)
            bar.update(len(block))
        out.flush()
        check(aside, sha256, f"{address} holds another file than the one this suite was written for")


def check(path: Path, sha256: str | None, advice: str) -> None:
    """Raise UserError unless the file has the digest."""
    if sha256 is not None and (found := files.sha256(path)) != sha256:
        raise UserError(f"{path} has SHA-256 {found}, expected {sha256}: {advice}")
