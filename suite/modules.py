"""Finds methods, evaluations, figures and data sources by file name, without importing them.

The workflow has to know what each one needs before any job starts, and importing torch for that would
cost seconds; so modules state it as literal constants (`KIND = "trained"`) and these are read from the
source text.
"""

import ast
import importlib
import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

from suite.errors import UserError, unknown

ROOT = Path(__file__).resolve().parent.parent


@cache
def names(package: str, constant: str) -> tuple[str, ...]:
    """Modules of `package` ("analysis", "analysis/figures") that define `constant`, sorted."""
    return tuple(sorted(path.stem for path in (ROOT / package).glob("*.py") if constant in constants(path)))


@cache
def constants(path: Path) -> dict[str, object]:
    """Upper-case literal assignments at the top level of a source file."""
    found = {}
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    except SyntaxError as error:
        raise UserError(f"{path}, line {error.lineno}: {error.msg}") from error
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name.isupper():
                try:
                    found[name] = ast.literal_eval(node.value)
                except ValueError:
                    continue  # computed, so not part of what the module declares
    return found


def locate(package: str, name: str) -> Path:
    """File of a module: `package/name.py`, or `name` itself where that is the path of a .py file.

    So a study can name a method that lies outside the suite (`baseline: /home/me/mine.py`).
    """
    return ROOT / name if name.endswith(".py") else ROOT / package / f"{name}.py"


def load(package: str, name: str) -> ModuleType:
    """Import a module that `locate` finds."""
    if not name.endswith(".py"):
        return importlib.import_module(f"{package.replace('/', '.')}.{name}")
    path = locate(package, name)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def declared(package: str, name: str, marker: str, kind: str) -> dict[str, object]:
    """Constants of a module that `locate` finds; `marker` is the constant that makes it a `kind`.

    Raises UserError for a name that is not there, with the names that are.
    """
    path = locate(package, name)
    if not path.exists() or marker not in constants(path):
        raise unknown(kind, name, names(package, marker), f"{package}/")
    return constants(path)


def summary(package: str, name: str) -> str:
    """First line of a module's docstring."""
    text = ast.get_docstring(ast.parse(locate(package, name).read_text(encoding="utf-8")))
    return text.partition("\n")[0] if text else name


def options(package: str, name: str, marker: str, kind: str, given: dict | None) -> dict:
    """Options of a module: its OPTIONS defaults overlaid with `given`; unknown keys raise UserError."""
    defaults = declared(package, name, marker, kind).get("OPTIONS", {})
    given = given or {}
    for key in given:
        if key not in defaults:
            raise unknown(f"option of {kind} {name}", key, defaults, f"{package}/{name}.py")
    missing = [key for key, value in (defaults | given).items() if value == "required"]
    if missing:
        raise UserError(f"{kind} {name} needs {', '.join(missing)}; see OPTIONS in {package}/{name}.py")
    return defaults | given
