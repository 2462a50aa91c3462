"""What files state of themselves is what they do, and nothing imports upwards or in a circle."""

import ast
import inspect
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import yaml

from suite.contracts import CONTRACTS, EVALUATION, FIGURE, METHOD, SOURCE
from suite.errors import UserError
from suite.modules import ROOT
from suite.study import Study

FLOORS = ("suite", "splits", "baselines", "analysis")  # each may import from itself and those before it
REGISTERED = [(contract, name) for contract in CONTRACTS for name in contract.names()]

# What is called by position, per function of a contract; None: another number is for other kinds of method.
ARGUMENTS = {
    "data source": {"build": ["writer", "options", "threads"], "outside": ["options"]},
    "method": {
        "build": ["backbone", "num_classes", "sizes", "options"],
        "fit": ["source", "sizes", "options", "rng"],
        "embed": ["labels", "codes", "rng"],
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
        if hasattr(module, constant):
            found = getattr(module, constant)
            assert (tuple(found) if isinstance(found, list) else found) == value, constant
    for functions in contract.defines(facts):
        there = [function for function in functions if hasattr(module, function)]
        assert there, f"{name} has none of {functions}"
        for function in there:
            given = list(inspect.signature(getattr(module, function)).parameters)
            expected = ARGUMENTS[contract.kind][function]
            assert given[: len(expected)] == expected, f"{name}.{function}({', '.join(given)})"
    assert re.match(r".+[.:?)]", contract.summary(name)), "the first line says what comes out"


def test_each_kind_has_files_and_every_file_of_a_folder_is_of_its_kind():
    for contract in CONTRACTS:
        assert len(contract.names()) >= 5
        if contract.marker is None:
            found = {path.stem for path in (ROOT / contract.folder).glob("*.py")} - {"__init__"}
            assert found == set(contract.names())


def test_what_a_file_reads_and_is_drawn_from_exists():
    kinds = {contract.kind: contract for contract in CONTRACTS}
    for contract, name in REGISTERED:
        facts = vars(contract.facts(name))
        read = facts.get("READS", ())
        if isinstance(read, str):  # the option that lists them
            read = facts["OPTIONS"][read]
        reads = "measure" if contract.kind == "measure" else "evaluation"
        for kind, named in (
            ("measure", facts.get("MEASURES")),
            ("evaluation", facts.get("TABLES")),
            (reads, read),
        ):
            assert set(named or ()) <= set(kinds[kind].names()), name
        for constant in ("SOURCE", "STARTS_FROM"):
            assert facts.get(constant) in (None, *METHOD.names()), (name, constant)


MINE = 'KIND = "fitted"\nLABEL = "Mine"\ndef fit(source, sizes, options, rng): ...\n'


def method(folder, text):
    """Facts of a file of one's own with this text behind a whole contract's."""
    path = folder / "mine.py"
    path.write_text(MINE + text)
    return METHOD.facts(str(path))


@pytest.mark.parametrize("text", ['SOURCE = "mrl"\n', 'SOURCE: str = "mrl"\n'])
def test_a_constant_counts_with_and_without_an_annotation(text, tmp_path):
    facts = method(tmp_path, text)
    assert facts.SOURCE == "mrl" and facts.KIND == "fitted"
    assert (facts.OPTIONS, facts.NEEDS, facts.READY) == ({}, (), False)


def test_a_default_may_be_stated(tmp_path):
    assert method(tmp_path, "SOURCE = None\n").SOURCE is None


def test_several_constants_may_stand_in_a_line(tmp_path):
    facts = method(tmp_path, 'READY, SOURCE = True, "mrl"\n')
    assert facts.READY and facts.SOURCE == "mrl"


def test_lists_and_tuples_of_names_are_the_same(tmp_path):
    assert method(tmp_path, 'NEEDS = ["captions"]\n').NEEDS == ("captions",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('SOURCE = "m" + "rl"\n', "line 4: SOURCE is computed"),
        ("SOURCE: str\n", "line 4: SOURCE is computed"),
        ('READY, SOURCE = (True, "mrl")[::-1]\n', "line 4: SOURCE is computed"),
        ("OPTIONS = dict(rho=1)\n", "line 4: OPTIONS is computed"),
        ('NEEDS = ("captions",)\nNEEDS += ("documents",)\n', "line 5: NEEDS is computed"),
        ('STARTS_FORM = "mrl"\n', "line 4: no method states STARTS_FORM; is STARTS_FROM meant?"),
        ("OPTION = {}\n", "line 4: no method states OPTION; is OPTIONS meant?"),
        ('NEEDS = "captions"\n', "line 4: NEEDS is 'captions', allowed: tuple"),
        ("NEEDS = (1,)\n", "line 4: NEEDS is (1,), allowed: names"),
        ("READY = 1\n", "line 4: READY is 1, allowed: bool"),
        ("LABEL = 3\n", "line 4: LABEL is 3, allowed: str"),
        ('KIND = "fited"\n', "line 4: KIND is 'fited', allowed: 'trained', 'fitted', 'control', 'folder'"),
        ('KIND = "trained"\n', "every method defines build"),
        ("def broken(:\n", "line 4: "),
    ],
)
def test_what_breaks_a_contract_is_told_with_its_file_and_line(text, message, tmp_path):
    with pytest.raises(UserError) as told:
        method(tmp_path, text)
    assert str(tmp_path / "mine.py") in str(told.value) and message in str(told.value)


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
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(UserError) as told:
        contract.facts(str(path))
    assert str(path) in str(told.value) and "docs/extend.md" in str(told.value)
    assert message in str(told.value)


# --- what data must have ----------------------------------------------------------------------------


def tiny(**changes):
    config = yaml.safe_load((ROOT / "tests" / "studies" / "tiny.yaml").read_text())
    return config | changes


@pytest.mark.parametrize(
    ("changes", "who"),
    [
        ({"tasks": {"zero_shot": None}}, "evaluation zero_shot"),
        ({"methods": {"image_text": None}}, "method image_text"),
    ],
)
def test_a_study_whose_data_lack_what_is_needed_is_refused_with_the_sources_that_have_it(changes, who):
    with pytest.raises(UserError) as told:
        Study(tiny(figures=[], **changes))
    assert f"{who} needs data with captions, which glyphs does not have" in str(told.value)
    assert "glyph_captions" in str(told.value) and "image_captions" in str(told.value)


# --- imports ----------------------------------------------------------------------------------------


def named(root):
    """Dotted name → file of every module of the floors below `root`."""
    found = {}
    for path in (path for floor in FLOORS for path in (root / floor).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(root):
    """Module → the modules it imports, also inside functions; `from package import module` is the module."""
    modules = named(root)
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


def test_imports_run_downwards():
    assert upwards(imports(ROOT)) == []


def test_imports_run_in_no_circle():
    assert circle(imports(ROOT)) == []


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
            found = [(line, text) for line, text in paths_named(path, FLOORS[place + 1 :])]
            if path == Path(inspect.getfile(type(METHOD))):
                found = [(line, text) for line, text in found if text not in folders]
            assert not found, path


def test_a_path_upwards_is_found(tmp_path):
    path = tmp_path / "low.py"
    path.write_text('"""See analysis/run.py."""\nA = ROOT / "baselines" / "x.py"\nB = "splits/store.py"\n')
    assert sorted(line for line, _ in paths_named(path, FLOORS[1:])) == [2, 3]
