"""Files that people bring: which of a folder count, what their names and texts are, what they really hold.

Whatever reads a user's own folder, table or text asks here, so that one rule holds for all of them: hidden
files and what macOS puts into archives are no data, links are followed, names are compared in one spelling of
their accents, and text may be UTF-8 or, with its mark in front, UTF-16.
"""

import csv
import io
import os
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath, PurePosixPath

import pandas as pd

from suite.errors import UserError

SHOWN = 3  # names in a message
MAC = "__MACOSX"  # what macOS adds to an archive: a shadow of every file
MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}  # in front of a text
POINTER = "a pointer of Git LFS (`git lfs pull` fetches the file)"
PAGE = "a web page (saved in place of the file it shows)"
SIGNS = {  # how files begin that lie where another kind belongs
    b"version https://git-lfs": POINTER,
    b"<!doctype html": PAGE,
    b"<html": PAGE,
    b"\x93numpy": "a numpy array (.npy)",
    b"\x89hdf": "an HDF5 file",
    b"\x1f\x8b": "a compressed file (.gz)",
    b"\x80\x02": "a Python pickle",
    b"\x80\x04": "a Python pickle",
    b"\x80\x05": "a Python pickle",
}


def hidden(path: str | PurePath) -> bool:
    """Whether a path within what is read is none that a user put there: .x, ._x.png, __MACOSX/x.png."""
    parts = PurePosixPath(path).parts
    return any(part == MAC or (part.startswith(".") and part != "..") for part in parts)


def composed(name: str) -> str:
    """A name as it is compared: macOS may spell é as e and an accent.

    >>> composed("cafe\\u0301") == "caf\\u00e9"
    True
    """
    return unicodedata.normalize("NFC", name)


def some(names: Iterable[object], count: int = SHOWN) -> str:
    """The first few names, for a message."""
    names = list(names)
    return ", ".join(map(str, names[:count])) + (" …" if len(names) > count else "")


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below a folder that is not hidden, sorted by path; links to folders are entered.

    A link that leads nowhere is a file of its name. Raises UserError for links that lead in a circle.
    """
    inside = {folder.resolve()}

    def walk(place: Path) -> Iterator[Path]:
        for entry in list(os.scandir(place)):
            path = place / entry.name
            if hidden(entry.name):
                continue
            if not entry.is_dir():
                yield path
                continue
            real = path.resolve()
            if real in inside:
                raise UserError(f"{path} leads back to {real}, in which it lies: remove this link")
            inside.add(real)
            yield from walk(path)
            inside.remove(real)

    yield from sorted(walk(folder))


def refuse_dead(paths: Iterable[Path]) -> None:
    """Raise UserError for links that lead nowhere."""
    if dead := [path for path in paths if path.is_symlink() and not path.exists()]:
        raise UserError(
            f"{len(dead)} links lead nowhere: {some(f'{path} → {path.readlink()}' for path in dead)}; put "
            "back what they lead to, or remove them"
        )


def resolved(root: Path, names: Sequence[str]) -> list[Path]:
    """The file below `root` of each name in a table; of names that are not there, the path as written.

    Where no file has the very name, one counts that has it with other accents or with / for a backslash.
    """
    paths = [root / name for name in names]
    if not all(path.is_file() for path in paths) and root.is_dir():
        there = {composed(str(path.relative_to(root))): path for path in files_below(root)}
        plain = [composed(os.path.normpath(name.replace("\\", "/"))) for name in names]
        paths = [path if path.is_file() else there.get(name, path) for path, name in zip(paths, plain)]
    return paths


def decoded(content: bytes, name: object) -> str:
    """Text in UTF-8, or in UTF-16 with its mark in front; raises UserError, with the place, for any other."""
    encoding = next((found for mark, found in MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        where = f"byte {error.start} is {content[error.start]:#04x}"
        raise UserError(f"{name} is not {encoding.upper().removesuffix('-SIG')} text: {where}") from error
    if "\0" in text:
        raise UserError(f"{name} is not UTF-8 text: byte {content.index(0)} is 0x00")
    return text


def read_text(path: Path) -> str:
    """A file's text, as `decoded`, with \\n at the ends of lines."""
    return decoded(path.read_bytes(), path).replace("\r\n", "\n").replace("\r", "\n")


def read_table(path: Path, *needed: str) -> pd.DataFrame:
    """The columns of a user's .csv as text, and `line`, where each row begins.

    Raises UserError, naming the line, for a table without the needed columns, a row with more or fewer fields
    than the first line, and a field that a quote opens and none ends.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    rows, begin = [], 1
    try:
        for fields in reader:
            if fields:
                rows.append((begin, fields))
            begin = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{path}, line {begin}: {error}; a field that begins with a quote ends with one, and a quote "
            'within it is written twice ("")'
        ) from error
    if not rows:
        raise UserError(f"{path} is not a table: it is empty; needs columns {', '.join(needed)}")
    (_, columns), *rows = rows
    columns = [name.strip() for name in columns]
    if not set(needed) <= set(columns):
        raise UserError(
            f"{path} has columns {', '.join(columns)}; needs {', '.join(needed)}, with commas between them"
        )
    if twice := [name for name, count in Counter(columns).items() if count > 1]:
        raise UserError(f"{path} names column {twice[0]} more than once")
    for line, fields in rows:
        if len(fields) != len(columns):
            raise UserError(
                f"{path}, line {line}: {len(fields)} fields, but the first line names {len(columns)} "
                f"({', '.join(columns)}); a field with a comma in it stands in quotes"
            )
    table = pd.DataFrame([fields for _, fields in rows], columns=columns, dtype=str)
    return table.assign(line=[line for line, _ in rows])


def really(file: Path | bytes) -> str:
    """What a file, or its content, is instead: "; it is …" for what often lies in its place, else ""."""
    try:
        head = file[:64] if isinstance(file, bytes) else first_bytes(file)
        if head.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(io.BytesIO(file) if isinstance(file, bytes) else file) as archive:
                names = archive.namelist()
            if any(PurePosixPath(name).name == "data.pkl" for name in names):
                return "; it is a file of torch.save"
            arrays = bool(names) and all(name.endswith(".npy") for name in names)
            return "; it is several numpy arrays (.npz)" if arrays else "; it is a .zip"
    except (OSError, zipfile.BadZipFile):
        return ""
    head = head.lstrip().lower()
    return next((f"; it is {what}" for sign, what in SIGNS.items() if head.startswith(sign)), "")


def first_bytes(path: Path) -> bytes:
    """The first 64 bytes of a file."""
    with path.open("rb") as file:
        return file.read(64)
