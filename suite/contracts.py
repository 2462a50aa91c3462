"""What a file of each kind states about itself, read from its source text.

The place says what a file is: a file of analysis/figures/ is a figure, one of splits/sources/ a data source.
What it needs has to be known before any job starts, and importing torch for that would cost seconds; so it
stands in the file as literal constants (`LABEL = "MRL"`, annotated or not), which are read without importing
it. docs/extend.md shows the contracts as a table, and one example of each kind.
"""

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace

from suite import modules
from suite.errors import UserError, unknown
from suite.modules import ROOT, shown
from suite.values import fault, schema_fault

REQUIRED = object()


@dataclass(frozen=True)
class Constant:
    """One constant of a contract: its type, its default (REQUIRED: none), the values allowed (empty: any)."""

    type: type | tuple[type, ...]
    default: object = REQUIRED
    allowed: tuple = ()

    def fault(self, value: object) -> str | None:
        """What is allowed, where the value is not."""
        if value is self.default:
            return None
        if self.allowed and isinstance(value, str):
            return None if value in self.allowed else ", ".join(map(repr, self.allowed))
        if isinstance(value, (tuple, list)) and not all(isinstance(name, str) for name in value):
            return "names"
        kinds = self.type if isinstance(self.type, tuple) else (self.type,)
        if isinstance(value, (*kinds, *((list,) if tuple in kinds else ()))):
            return None
        return " or ".join(kind.__name__ for kind in kinds)


@dataclass(frozen=True, eq=False)
class Contract:
    """What files of one kind state, and what they define.

    kind: what it is called in errors. folder: where its files lie. constants: by name. defines: from the
    constants to groups of functions; the file has one of each group at least. marker: a constant that tells
    its files from others in the same folder, where there are others.
    """

    kind: str
    folder: str
    constants: dict[str, Constant]
    defines: Callable[[SimpleNamespace], Sequence[tuple[str, ...]]]
    marker: str | None = None

    def names(self) -> tuple[str, ...]:
        """Every one there is, sorted."""
        return names(self.folder, self.marker)

    def path(self, name: str) -> Path:
        """Its file. Raises UserError with the names that there are."""
        path = modules.locate(self.folder, name)
        if name.endswith(".py"):
            if not path.is_file():
                raise UserError(f"no {self.kind} at {path}: there is no such file")
        elif name not in self.names():
            raise unknown(self.kind, name, self.names(), f"{self.folder}/")
        return path

    def facts(self, name: str) -> SimpleNamespace:
        """Its constants, defaults filled in. Raises UserError with the line that breaks the contract."""
        return checked(self, self.path(name))

    def options(self, name: str, given: dict | None, sizes: Sequence[int] | None = None) -> dict:
        """Its OPTIONS overlaid with `given`. Raises UserError for unknown, missing and wrong ones.

        sizes: those it is for; a list that has one entry for each has as many.
        """
        facts, given = self.facts(name), given or {}
        defaults, where = facts.OPTIONS, shown(self.path(name))
        for key in given:
            if key not in defaults:
                raise unknown(f"option of {self.kind} {name}", key, defaults, where)
        options = defaults | given
        if missing := [key for key, value in options.items() if value == "required"]:
            raise UserError(f"{self.kind} {name} needs {', '.join(missing)}; see OPTIONS in {where}")
        for key, value in given.items():
            if why := option_fault(key, value, facts, options, sizes):
                raise UserError(f"{self.kind} {name}: {why}; see OPTIONS and ALLOWED in {where}")
        return options

    def load(self, name: str) -> ModuleType:
        """Import it."""
        self.path(name)
        return modules.load(self.folder, name)

    def summary(self, name: str) -> str:
        """First line of its docstring."""
        text = ast.get_docstring(modules.parse(self.path(name)))
        return text.partition("\n")[0] if text else name


OPTIONS = Constant(dict, {})
ALLOWED = Constant(dict, {})  # by option what its values may be, as a JSON Schema; see `option_schema`
NAMES = Constant(tuple, ())
KINDS = {"trained": "build", "fitted": "fit", "control": "embed", "ready": "arrays", "folder": "Folder"}
SOURCE = Contract(
    "data source",
    "splits/sources",
    {
        "OPTIONS": Constant(dict),
        "ALLOWED": ALLOWED,
        "PROVIDES": NAMES,  # what its data have beyond images and labels
        "LABELS": Constant(bool, True),  # its items have labels
        "WRITES": NAMES,  # its splits, and `superclasses` where its classes have any; nothing: not said
        # More, by name: one of these options is set or, with a dot or slash, lies below the option root.
        "MAY_WRITE": Constant(dict, {}),
        "OUTSIDE": Constant(bool, False),  # defines outside(options): what else decides its data
        "TUNES": Constant(bool, False),  # defines tune(options, count, threads): images to choose settings on
    },
    lambda facts: [
        ("build",),
        *[("outside",)] * facts.OUTSIDE,
        *[("tune",)] * facts.TUNES,
        *[("vector_files",), ("check_vectors",)] * ("embeddings" in facts.PROVIDES),
    ],
)
METHOD = Contract(
    "method",
    "baselines",
    {
        "KIND": Constant(str, allowed=tuple(KINDS)),
        "LABEL": Constant(str),  # in figures
        "OPTIONS": OPTIONS,
        "ALLOWED": ALLOWED,
        "SOURCE": Constant(str, None),  # fitted: the method whose embeddings it starts from
        "STARTS_FROM": Constant(str, None),  # trained: the method whose full-size network it starts from
        "NETWORK_PER_SIZE": Constant(bool, False),
        "HEADS": Constant(bool, True),  # trained: has classifiers apart from its network
        "READY": Constant(bool, False),  # trained: elsewhere, its weights lie at the option `path`
        "NEEDS": NAMES,  # what the data must have beyond images and labels
        "LABELS": Constant(bool, True),  # it learns from labels, or from a classifier that did
        "COUNTS_FIT": Constant(bool, False),  # fitted: says what its fit multiplied (`Fit.fit_macs`)
        "SPARSE": Constant(bool, False),  # a size is how many numbers of a longer code are not 0
    },
    lambda facts: [(KINDS[facts.KIND],)],
    marker="KIND",
)
BACKBONE = Contract(
    "backbone",
    "baselines/backbones",
    # NAMES: several architectures in one file; else the file's name.
    {
        "OPTIONS": Constant(dict),
        "ALLOWED": ALLOWED,
        "NAMES": NAMES,
        "MAPS": Constant(bool, False),  # has `maps`, of which its features are the means over positions
    },
    lambda facts: [("build",)],
)
MEASURE = Contract(
    "measure",
    "analysis/measures",
    {
        "OPTIONS": OPTIONS,
        "ALLOWED": ALLOWED,
        "READS": NAMES,  # measures whose outcomes it starts from
        "SEARCHES": Constant(bool, False),  # takes a device and a folder to go on from
        "ALONE": Constant(bool, False),  # takes times: no other job runs beside it
        "CLASSIFIES": Constant(bool, False),  # it asks a method's classifiers
        "CUTS": Constant(bool, False),  # it cuts vectors itself, which sparse codes have no use for
        "STUDY_SIZES": Constant(bool, False),  # takes the study's sizes, trained or not, as an option
    },
    lambda facts: [("measure",)],
)
EVALUATION = Contract(
    "evaluation",
    "analysis/evaluations",
    {
        "OPTIONS": OPTIONS,
        "ALLOWED": ALLOWED,
        "MEASURES": NAMES,  # whose outcomes it is computed from
        # Evaluations whose items it is computed from; a text is the name of the option that lists them.
        "READS": Constant((tuple, str), ()),
        "ALL_METHODS": Constant(bool, False),  # whether ablations take part as well
        "NEEDS": NAMES,  # what the data must have beyond images and labels
        "LABELS": Constant(bool, True),  # it is scored by labels
        # Splits, or `superclasses`, of which the data need one; a text: a measure's option that names it.
        "ASKS": Constant((tuple, str), ()),
        "NAME": Constant(str, None),  # for people, on the page of a comparison
        "WORD": Constant(str, None),  # in front of its metrics in a sentence: "1-NN top1"
    },
    lambda facts: [("items", "score", "compare")],
)
FIGURE = Contract(
    "figure",
    "analysis/figures",
    {
        "TABLES": Constant(tuple),  # evaluations whose tables it is drawn from
        "INPUTS": NAMES,  # what else it reads: data, logs, search, maps of a method's networks
        "MEASURES": NAMES,  # measures whose outcomes it reads
        # What follows the file's name in the figure's: a split, a group of methods, a method or none, a list.
        "ARGUMENT": Constant((str, tuple), (), allowed=("split", "group", "method")),
    },
    lambda facts: [("draw",)],
)
# A user's file with a map of embeddings: no method of the suite, but compared like one (docs/compare.md).
TRANSFORM = Contract(
    "file with fit and transform",
    ".",
    {
        "LABEL": Constant(str, None),
        "SOURCE": Constant(str, None),  # whose embeddings it starts from; None: what the study has for it
        "ALLOW": NAMES,  # checks that its columns may fail: constant_columns, duplicate_columns
    },
    lambda facts: [],
)
CONTRACTS = (SOURCE, METHOD, BACKBONE, MEASURE, EVALUATION, FIGURE)


LARGEST = 2**32 - 1  # of whole numbers, seeds among them


def option_schema(default: object, stated: dict) -> dict:
    """What an option's values may be, as a JSON Schema: its default's type, and what ALLOWED states of it.

    Numbers whose default is not negative are not, and whole ones at most LARGEST, unless a type is stated.

    >>> option_schema(3, {"minimum": 1})
    {'type': 'integer', 'maximum': 4294967295, 'minimum': 1}
    """
    if "type" in stated or "enum" in stated or default is None or default == "required":
        return stated
    match default:
        case bool():
            own = {"type": "boolean"}
        case int():
            own = {"type": "integer", "maximum": LARGEST} | ({"minimum": 0} if default >= 0 else {})
        case float():
            own = {"type": "number"} | ({"minimum": 0} if default >= 0 else {})
        case str():
            own = {"type": "string"}
        case list() | tuple():
            own = {"type": "array"}
        case _:
            own = {"type": "object"}
    return own | stated


def option_fault(
    key: str, value: object, facts: SimpleNamespace, options: dict, sizes: Sequence[int] | None
) -> str | None:
    """What is wrong with the value that a study gives an option; None where it is allowed.

    Beside JSON Schema's, ALLOWED knows `not_above` and `not_below`, which name another option, and
    `per_size`: a list has one entry for each size. A study checks what goes beyond one module: `at_most`
    names an option of another measure, values that are `of: splits` are pairs of the data's splits, and a
    method's option `asks` for a split that the data need where it is set.
    """
    default, stated = facts.OPTIONS[key], facts.ALLOWED.get(key, {})
    if value is None and default is None:
        return None
    if found := fault(value, option_schema(default, stated)):
        place, what = found
        return f"{key}{place and '.'}{place}: {what}"
    for word, sign in (("not_above", 1), ("not_below", -1)):
        other = options.get(stated.get(word))
        if other is not None and sign * value > sign * other:
            return f"{key} is {value}, {word.replace('_', ' ')} {stated[word]}, which is {other}, is allowed"
    if stated.get("per_size") and sizes is not None and len(value) != len(sizes):
        return f"{key} has {len(value)} values for {len(sizes)} sizes {list(sizes)}; give one per size"
    return None


@cache
def names(folder: str, marker: str | None) -> tuple[str, ...]:
    """Modules of a folder, those that state `marker` where one is given, sorted."""
    found = [path for path in (ROOT / folder).glob("*.py") if path.stem != "__init__"]
    return tuple(sorted(path.stem for path in found if marker is None or marker in stated(path)))


@cache
def stated(path: Path) -> dict[str, tuple[int, ast.expr | None]]:
    """Upper-case names at the top level of a source file: the line, and the value (None: not a plain `=`)."""
    found = {}
    for node in modules.parse(path).body:
        match node:
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                pairs = zip(targets, values)
            case ast.Assign(targets=[ast.Name() as target]) | ast.AnnAssign(target=target):
                pairs = [(target, node.value)]
            case ast.Assign() | ast.AugAssign():  # of several at once, of what is unpacked, to what was there
                written = (
                    each for each in ast.walk(node) if isinstance(getattr(each, "ctx", None), ast.Store)
                )
                pairs = [(target, None) for target in written]
            case _:
                continue
        named = [(target.id, value) for target, value in pairs if isinstance(target, ast.Name)]
        found |= {name: (node.lineno, value) for name, value in named if name.isupper()}
    return found


@cache
def checked(contract: Contract, path: Path) -> SimpleNamespace:
    """The constants of a file by its contract. Raises UserError with file and line."""
    found, facts = stated(path), {}

    def refusal(line: int, what: str) -> UserError:
        return UserError(f"{shown(path)}, line {line}: {what}; see docs/extend.md")

    for name, (line, _) in found.items():
        near = get_close_matches(name, contract.constants, n=1, cutoff=0.85)
        if name not in contract.constants and near and near[0] not in found:
            raise refusal(line, f"no {contract.kind} states {name}; is {near[0]} meant?")
    for name, constant in contract.constants.items():
        line, node = found.get(name, (1, None))
        if name in found:
            try:
                value = ast.literal_eval(node)
            except ValueError as error:
                reason = "is computed, but it is read without running the file: write it out"
                raise refusal(line, f"{name} {reason}") from error
            if fault := constant.fault(value):
                raise refusal(line, f"{name} is {value!r}, allowed: {fault}")
            facts[name] = tuple(value) if isinstance(value, list) else value
        elif constant.default is REQUIRED:
            raise refusal(line, f"every {contract.kind} states {name}, which is missing")
        else:
            facts[name] = constant.default
    facts = SimpleNamespace(**facts)
    line = found.get("ALLOWED", (1, None))[0]
    if strange := set(stated_of := getattr(facts, "ALLOWED", {})) - set(getattr(facts, "OPTIONS", {})):
        raise refusal(line, f"ALLOWED names {', '.join(sorted(strange))}, which OPTIONS does not")
    if stated_of and (wrong := schema_fault({"properties": stated_of})):
        raise refusal(line, f"ALLOWED is not JSON Schema: {wrong}")
    for functions in contract.defines(facts):
        if not set(functions) & defined(path):
            raise refusal(1, f"every {contract.kind} defines {' or '.join(functions)}")
    return facts


def defined(path: Path) -> set[str]:
    """Names that a source file has at its top level: functions, classes, imports, variables."""
    found = set()
    for node in modules.parse(path).body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Assign(targets=targets):
                found |= {target.id for target in targets if isinstance(target, ast.Name)}
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                found |= {alias.asname or alias.name for alias in aliases}
    return found


def backbone_module(name: str) -> str:
    """The module that builds a backbone; raises UserError with the names there are."""
    known = {
        name: module for module in BACKBONE.names() for name in BACKBONE.facts(module).NAMES or (module,)
    }
    if name not in known:
        raise unknown("backbone", name, known, f"{BACKBONE.folder}/")
    return known[name]


def backbone_options(backbone: dict) -> dict:
    """Options of a study's `backbone` section, defaults filled in; raises UserError for wrong keys."""
    given = dict(backbone)
    return BACKBONE.options(backbone_module(given.pop("name")), given)
