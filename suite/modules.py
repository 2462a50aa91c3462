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
# What decides numbers. suite/ is left out: it finds files, reads, writes and words errors, and an edit of a
# message is no reason to train again.
PACKAGES = ("splits", "baselines", "analysis")


@cache
def names(package: str, constant: str) -> tuple[str, ...]:
    """Modules of `package` ("analysis", "analysis/figures") that define `constant`, sorted."""
    # Every job asks this: files that do not so much as mention it need not be parsed.
    files = [path for path in (ROOT / package).glob("*.py") if constant in path.read_text(encoding="utf-8")]
    return tuple(sorted(path.stem for path in files if constant in constants(path)))


@cache
def constants(path: Path) -> dict[str, object]:
    """Upper-case literal assignments at the top level of a source file."""
    found = {}
    for node in parse(path).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name.isupper():
                try:
                    found[name] = ast.literal_eval(node.value)
                except ValueError:
                    continue  # computed, so not part of what the module declares
    return found


@cache
def parse(path: Path) -> ast.Module:
    """Syntax tree of a source file; raises UserError naming the line that is not Python."""
    try:
        return ast.parse(path.read_text(encoding="utf-8"), str(path))
    except SyntaxError as error:
        raise UserError(f"{path}, line {error.lineno}: {error.msg}") from error


def parameters(path: Path, behind: str) -> dict[str, bool]:
    """Parameters behind the one called `behind` of the file's class, and whether each has to be given."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            names = [argument.arg for argument in node.args.args]
            if behind in names:
                needed = len(names) - len(node.args.defaults)
                first = names.index(behind) + 1
                return {name: place < needed for place, name in enumerate(names[first:], first)}
    raise ValueError(f"no class in {path} is built from {behind}")


@cache
def imported(path: Path) -> tuple[Path, ...]:
    """Files of PACKAGES that a source file imports, also those it imports inside a function."""
    named = set()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            named |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    inside = (ROOT / name.replace(".", "/") for name in named if name.partition(".")[0] in PACKAGES)
    # A package below these is its __init__.py; their own say what they hold and nothing else.
    files = (
        file
        for place in inside
        for file in (place.with_suffix(".py"), place / "__init__.py")
        if place.parent != ROOT and file.is_file()
    )
    return tuple(files)


def closure(*files: str | Path) -> list[str]:
    """The given source files and all that they import, directly or not; as inputs of a rule, from the root.

    Modules that are loaded by name are no imports: give them too.
    """
    found: set[str] = set()
    waiting = [ROOT / file for file in files]
    while waiting:
        path = waiting.pop()
        name = str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
        if name not in found:
            found.add(name)
            waiting += imported(path)
    return sorted(found)


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
    text = ast.get_docstring(parse(locate(package, name)))
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
