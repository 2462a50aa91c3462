"""What files state of themselves is what they do, and nothing imports upwards or in a circle."""

import ast
import inspect
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from suite.contracts import CONTRACTS, EVALUATION, FIGURE, METHOD, SOURCE, option_schema
from suite.errors import UserError
from suite.modules import ROOT
from suite.values import fault

FLOORS = ("suite", "splits", "baselines", "analysis")  # each may import from itself and those before it
REGISTERED = [(contract, name) for contract in CONTRACTS for name in contract.names()]

# What is called by position, per function of a contract.
ARGUMENTS = {
    "data source": {
        "build": ["writer", "options", "threads"],
        "outside": ["options"],
        "vector_files": ["options"],
        "check_vectors": ["folder", "options"],
        "tune": ["options", "count", "threads"],
    },
    "method": {
        "build": ["backbone", "num_classes", "sizes", "options"],
        "fit": ["source", "sizes", "options", "rng"],
        "embed": ["labels", "codes", "rng"],
        "arrays": ["dataset", "options"],
    },
    "backbone": {"build": ["name", "channels"]},
    "measure": {"measure": ["representation", "dataset", "options"]},
    "evaluation": {"items": ["run"], "score": ["run"], "compare": ["runs"]},
    "figure": {"draw": ["drawing"]},
}


# --- files and their contracts ---------------------------------------------------------------------


@pytest.mark.parametrize(("contract", "name"), REGISTERED, ids=lambda value: getattr(value, "kind", value))
def test_every_registered_file_keeps_its_contract(contract, name):
    facts, module = contract.facts(name), contract.load(name)
    for constant, value in vars(facts).items():
        found = getattr(module, constant, value)
        assert (tuple(found) if isinstance(found, list) else found) == value, constant
    for functions in contract.defines(facts):
        there = [getattr(module, function) for function in functions if hasattr(module, function)]
        assert there, f"{name} has none of {functions}"
        for function in there:
            expected = ARGUMENTS[contract.kind][function.__name__]
            given = list(inspect.signature(function).parameters)[: len(expected)]
            assert given == expected, f"{name}.{function.__name__}"
    assert re.match(r".+[.:?)]", contract.summary(name)), "the first line says what comes out"


def test_what_a_file_reads_and_is_drawn_from_exists():
    kinds = {contract.kind: contract for contract in CONTRACTS}
    assert all(len(contract.names()) >= 5 for contract in CONTRACTS)
    for contract, name in REGISTERED:
        facts = vars(contract.facts(name))
        read = facts.get("READS", ())
        if isinstance(read, str):  # the option that lists them
            read = facts["OPTIONS"][read]
        assert set(read) <= set(contract.names()), name
        for kind, constant in (("measure", "MEASURES"), ("evaluation", "TABLES")):
            assert set(facts.get(constant, ())) <= set(kinds[kind].names()), name
        for constant in ("SOURCE", "STARTS_FROM"):
            assert facts.get(constant) in (None, *METHOD.names()), (name, constant)


def test_every_option_has_a_type_and_its_default_is_allowed():
    for contract, name in REGISTERED:
        facts = vars(contract.facts(name))
        for key, default in facts.get("OPTIONS", {}).items():
            schema = option_schema(default, facts["ALLOWED"].get(key, {}))
            assert schema.keys() & {"type", "enum"}, (name, key)
            if default not in (None, "required"):
                assert fault(list(default) if isinstance(default, tuple) else default, schema) is None


MINE = 'KIND = "fitted"\nLABEL = "Mine"\ndef fit(source, sizes, options, rng): ...\n'


def told(contract, text, folder):
    """What is said of a file of one's own, with this text, that breaks its contract."""
    path = folder / "mine.py"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        contract.facts(str(path))
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("", {"KIND": "fitted", "OPTIONS": {}, "NEEDS": (), "READY": False, "SOURCE": None}),
        ('SOURCE = "mrl"\n', {"SOURCE": "mrl"}),
        ('SOURCE: str = "mrl"\n', {"SOURCE": "mrl"}),
        ("SOURCE = None\n", {"SOURCE": None}),
        ('READY, SOURCE = True, "mrl"\n', {"READY": True, "SOURCE": "mrl"}),
        ('NEEDS = ["captions"]\n', {"NEEDS": ("captions",)}),
    ],
)
def test_constants_are_read_in_every_plain_spelling_and_defaults_filled_in(text, stated, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE + text)
    assert stated.items() <= vars(METHOD.facts(str(path))).items()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('SOURCE = "m" + "rl"\n', "line 4: SOURCE is computed"),
        ("SOURCE: str\n", "line 4: SOURCE is computed"),
        ('READY, SOURCE = (True, "mrl")[::-1]\n', "line 4: SOURCE is computed"),
        ("READY = ALONE = True\n", "line 4: READY is computed"),
        ("OPTIONS = dict(rho=1)\n", "line 4: OPTIONS is computed"),
        ('NEEDS = ("captions",)\nNEEDS += ("documents",)\n', "line 5: NEEDS is computed"),
        ('STARTS_FORM = "mrl"\n', "line 4: no method states STARTS_FORM; is STARTS_FROM meant?"),
        ("OPTION = {}\n", "line 4: no method states OPTION; is OPTIONS meant?"),
        ('NEEDS = "captions"\n', "line 4: NEEDS is 'captions', allowed: tuple"),
        ("NEEDS = (1,)\n", "line 4: NEEDS is (1,), allowed: names"),
        ("READY = 1\n", "line 4: READY is 1, allowed: bool"),
        ('OPTIONS = {"a": 1}\nALLOWED = {"b": {}}\n', "line 5: ALLOWED names b, which OPTIONS does not"),
        ('OPTIONS = {"a": 1}\nALLOWED = {"a": {"type": "whole"}}\n', "line 5: ALLOWED is not JSON Schema"),
        ("LABEL = 3\n", "line 4: LABEL is 3, allowed: str"),
        (
            'KIND = "fited"\n',
            "line 4: KIND is 'fited', allowed: 'trained', 'fitted', 'control', 'ready', 'folder'",
        ),
        ('KIND = "trained"\n', "every method defines build"),
        ("def broken(:\n", "line 4: "),
    ],
)
def test_what_breaks_a_contract_is_told_with_its_file_and_line(text, message, tmp_path):
    assert message in told(METHOD, MINE + text, tmp_path)


@pytest.mark.parametrize(
    ("contract", "text", "message"),
    [
        (METHOD, 'KIND = "trained"\ndef build(): ...\n', "every method states LABEL, which is missing"),
        (SOURCE, "def build(): ...\n", "every data source states OPTIONS, which is missing"),
        (SOURCE, "OPTIONS = {}\nOUTSIDE = True\ndef build(): ...\n", "every data source defines outside"),
        (EVALUATION, "MEASURES = ()\n", "every evaluation defines items or score or compare"),
        (FIGURE, "def draw(): ...\n", "every figure states TABLES, which is missing"),
        (FIGURE, 'TABLES = ()\nARGUMENT = "splits"\ndef draw(): ...\n', "'split', 'group', 'method'"),
    ],
)
def test_what_is_missing_is_named(contract, text, message, tmp_path):
    said = told(contract, text, tmp_path)
    assert message in said and "docs/extend.md" in said


# --- imports ----------------------------------------------------------------------------------------


def imports(root):
    """Module → the modules it imports, also inside functions; `from package import module` is the module."""
    paths = [path for floor in FLOORS for path in (root / floor).rglob("*.py")]
    names = (".".join(path.relative_to(root).with_suffix("").parts) for path in paths)
    modules = {name.removesuffix(".__init__"): path for name, path in zip(names, paths)}
    graph = {}
    for module, path in modules.items():
        found = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: imports are written from the root"
                inside = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= inside & set(modules)
                if not inside <= set(modules):
                    found.add(node.module)
        graph[module] = found & set(modules)
    return graph


def upwards(graph):
    """(module, what it imports from a higher floor)."""
    floor = {module: FLOORS.index(module.partition(".")[0]) for module in graph}
    return sorted((a, b) for a, others in graph.items() for b in others if floor[b] > floor[a])


def circle(graph):
    """Modules that import each other in a circle, the first of them once more at the end; empty if none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_imports_run_downwards_and_in_no_circle():
    graph = imports(ROOT)
    assert upwards(graph) == [] and circle(graph) == []


def test_an_import_upwards_and_a_circle_are_found_inside_functions_too(tmp_path):
    files = {
        "suite/__init__.py": "",
        "suite/low.py": "def late():\n    import analysis.high\n",
        "analysis/high.py": "from analysis.parts import first\n",
        "analysis/parts/__init__.py": "",
        "analysis/parts/first.py": "from analysis.high import anything\nimport os\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    graph = imports(tmp_path)
    assert upwards(graph) == [("suite.low", "analysis.high")]
    assert set(circle(graph)) == {"analysis.high", "analysis.parts.first"}


def paths_named(path, floors):
    """(line, text) of strings in a source file that are paths into one of `floors`; docstrings left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in prose:
                if re.search(rf"(?<![\w/])({'|'.join(floors)})/", text):
                    yield node.lineno, text
            case ast.BinOp(op=ast.Div(), right=ast.Constant(value=text)) if text in floors:
                yield node.lineno, text


def test_no_floor_reads_a_higher_one_by_its_path():
    folders = {contract.folder for contract in CONTRACTS}  # the only ones that are looked into, and for all
    for place, floor in enumerate(FLOORS[:-1]):
        for path in (ROOT / floor).rglob("*.py"):
            allowed = folders if path == Path(inspect.getfile(type(METHOD))) else ()
            found = [text for _, text in paths_named(path, FLOORS[place + 1 :])]
            assert set(found) <= set(allowed), path


def test_a_path_upwards_is_found(tmp_path):
    path = tmp_path / "low.py"
    path.write_text('"""See analysis/run.py."""\nA = ROOT / "baselines" / "x.py"\nB = "splits/store.py"\n')
    assert sorted(line for line, _ in paths_named(path, FLOORS[1:])) == [2, 3]
