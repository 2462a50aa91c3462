"""Source files as Python sees them: where a module lies, what it imports, how it is loaded by name."""

import ast
import hashlib
import importlib
import importlib.util
import sys
import traceback
import zlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import ModuleType

from suite.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
# What decides numbers. suite/ is left out: it finds files, reads, writes and words errors, and an edit of a
# message is no reason to train again.
PACKAGES = ("splits", "baselines", "analysis")
OWN: set[str] = set()  # files outside these that were loaded by their path


@cache
def parse(path: Path) -> ast.Module:
    """Syntax tree of a source file; raises UserError naming the line that is not Python."""
    try:
        return ast.parse(path.read_text(encoding="utf-8"), str(path))
    except SyntaxError as error:
        raise UserError(f"{path}, line {error.lineno}: {error.msg}") from error


@cache
def imported(path: Path) -> tuple[Path, ...]:
    """Files of PACKAGES that a source file imports, and of a user's own file those that lie beside it.

    Also what it imports inside a function.
    """
    named = set()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            named |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    inside = (ROOT / name.replace(".", "/") for name in named if name.partition(".")[0] in PACKAGES)
    # A package below these is its __init__.py; their own say what they hold and nothing else.
    below = [place for place in inside if place.parent != ROOT]
    if not any(path.is_relative_to(ROOT / package) for package in PACKAGES):
        below += [path.parent / name.replace(".", "/") for name in named]
    files = (file for place in below for file in (place.with_suffix(".py"), place / "__init__.py"))
    return tuple(filter(Path.is_file, files))


def closure(*files: str | Path) -> list[str]:
    """The given source files and all that they import, directly or not; as inputs of a rule, from the root.

    Modules that are loaded by name are no imports: give them too.
    """
    found: set[str] = set()
    waiting = [ROOT / file for file in files]
    while waiting:
        path = waiting.pop()
        if shown(path) not in found:
            found.add(shown(path))
            waiting += imported(path)
    return sorted(found)


def content(files: Iterable[str]) -> str:
    """A hash of source files, names and text, as `closure` gives them."""
    found = hashlib.sha256()
    for file in files:
        found.update(f"{file}\0".encode() + (ROOT / file).read_bytes() + b"\0")
    return found.hexdigest()


def shown(path: Path) -> str:
    """A path as people know it: from the root of the suite if it lies inside."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def locate(package: str, name: str) -> Path:
    """File of a module: `package/name.py`, or `name` itself where that is the path of a .py file.

    So a study can name a method that lies outside the suite (`baseline: /home/me/mine.py`).
    """
    return ROOT / Path(name).expanduser() if name.endswith(".py") else ROOT / package / f"{name}.py"


def load(package: str, name: str) -> ModuleType:
    """Import a module that `locate` finds.

    A user's file, named by its path, finds what lies beside it, as a script does, and stands in sys.modules,
    which dataclasses and pickled functions ask. Raises UserError where an import of it fails.
    """
    path = locate(package, name)
    if not name.endswith(".py") or any(path.is_relative_to(ROOT / inside) for inside in PACKAGES):
        return importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # last, so that none of its files hides a library
    spec = importlib.util.spec_from_file_location(own_name(path), path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    OWN.add(str(path))
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        raise UserError(f"{shown(path)} cannot be imported: {error}") from error
    return module


def own_name(path: Path) -> str:
    """What a file loaded by its path is called: like the file, unless something else is called so."""
    there = sys.modules.get(path.stem)
    if path.stem.isidentifier():
        found = there.__spec__ if there else importlib.util.find_spec(path.stem)
        if found is None or found.origin in (None, str(path)):
            return path.stem
    return f"own_{zlib.crc32(str(path).encode()):08x}"


def ended_by(error: BaseException) -> str:
    """The line of a user's own file that an error came from, "" where it came from none."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in OWN]
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else ""
