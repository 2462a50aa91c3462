"""Finds a data set's files: in the folder where the user put them, or fetched once from their address."""

import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from suite import files
from suite.errors import UserError
from suite.modules import ROOT

VARIABLE = "MATRYOSHKA_DATA"
ELSEWHERE = f"where data lie elsewhere, name their folder in the environment variable {VARIABLE}"
TIMEOUT = 30  # seconds without an answer from the server
BLOCK = 1 << 20


def data_folder() -> Path:
    """Where a user's copies lie and fetched files go: the folder that VARIABLE names, else data/."""
    return Path(os.environ.get(VARIABLE) or ROOT / "data").expanduser()


def locate(filename: str, address: str, sha256: str) -> Path:
    """Path of a data file, checked: the user's copy in `data_folder`, or fetched into it.

    address: where the file can be fetched; sha256: hex digest. Raises UserError naming the file, its address,
    the folder and the variable when the file is neither there nor to be had, or is not the one meant.
    """
    path = data_folder() / filename
    if path.is_file():
        check(path, sha256, f"delete it, or put the file of {address} in its place; {ELSEWHERE}")
        return path
    try:
        fetch(address, path, sha256)
    except (OSError, urllib.error.URLError) as error:  # no network, no such page, no space
        raise UserError(
            f"{filename} is missing and could not be fetched ({error}). Get it from {address} and put it "
            f"into {path.parent}; {ELSEWHERE}"
        ) from error
    return path


def fetch(address: str, path: Path, sha256: str) -> None:
    """Download a file aside, with progress; it becomes `path` when it is whole and its digest right."""
    with files.write_aside(path) as aside, urllib.request.urlopen(address, timeout=TIMEOUT) as answer:
        total = int(answer.headers.get("Content-Length") or 0) or None
        progress = tqdm.wrapattr(answer, "read", total, desc=f"fetching {path.name}", mininterval=2)
        with progress as watched, aside.open("wb") as out:
            shutil.copyfileobj(watched, out, BLOCK)
        check(aside, sha256, f"{address} holds another file than the one this suite was written for")


def check(path: Path, sha256: str, advice: str) -> None:
    """Raise UserError unless the file has the digest."""
    if (found := files.sha256(path)) != sha256:
        raise UserError(f"{path} has SHA-256 {found}, expected {sha256}: {advice}")
