"""What the documents say is so: examples run, commands parse, links and paths lead somewhere."""

import argparse
import ast
import doctest
import importlib
import itertools
import json
import re
import shlex
import tomllib
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
import yaml
from checkout import copied, output_of
from snakemake.cli import get_argument_parser, parse_config

from analysis.compare.own_methods import with_method
from suite.contracts import CONTRACTS, REQUIRED
from suite.modules import ROOT
from suite.requests import KEYS
from suite.study import STUDIES, load_study

FLOORS = ("suite", "splits", "baselines", "analysis")
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
EXTEND = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
CODE = [path for floor in FLOORS for path in sorted((ROOT / floor).rglob("*.py"))]
each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)


def blocks(text, *languages):
    """Contents of the fenced blocks of these languages."""
    return re.findall(rf"```(?:{'|'.join(languages)})\n(.*?)```", text, re.S)


# --- examples ---------------------------------------------------------------------------------------


EXAMPLES = [path for path in [*DOCUMENTS, *CODE] if ">>> " in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_give_what_they_say(path):
    if path.suffix == ".md":
        found = doctest.testfile(str(path), module_relative=False)
    else:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found = doctest.testmod(importlib.import_module(name))
    assert found.attempted and not found.failed and len(EXAMPLES) > 10


def test_the_table_of_contracts_is_the_suites_and_its_examples_stand_in_the_files_they_name():
    rows = re.findall(r"^\| ([\w ]+) \| `([A-Z_]+)` \| .+ \| (.+) \| `(.+)` in `(\w+)` \|$", EXTEND, re.M)
    written = {(kind, name): default.strip("`") for kind, name, default, *_ in rows}
    assert len(written) == len(rows) and written == {
        (contract.kind, name): "required" if constant.default is REQUIRED else repr(constant.default)
        for contract in CONTRACTS
        for name, constant in contract.constants.items()
    }
    kinds = {contract.kind: contract for contract in CONTRACTS}
    for kind, name, _, literal, file in rows:
        value, stated = ast.literal_eval(literal), getattr(kinds[kind].facts(file), name)
        assert value.items() <= stated.items() if isinstance(value, dict) else value == stated, (name, file)
    for contract in CONTRACTS:
        assert re.search(rf"^\| {contract.kind} \| `{contract.folder}/` \|", EXTEND, re.M), contract.kind


def examples():
    """What docs/extend.md adds: file by path, and the words in the order in which they stand there."""
    files = dict(re.match(r"# (\S+\.py)\n(.*)", text, re.S).groups() for text in blocks(EXTEND, "python"))
    return files, [yaml.safe_load(text) for text in blocks(EXTEND, "yaml")]


def test_what_an_example_takes_is_counted():
    counted, lines = [], []
    for language, text in re.findall(r"```(python|yaml)\n(.*?)```", EXTEND, re.S):
        if language == "python":
            lines.append(text.count("\n") - 1)  # the first names the file
        else:  # the word in a study that follows the files it is for
            counted.append((len(lines), sum(lines), len(yaml.safe_load(text))))
            lines = []
    written = re.findall(r"^\| an? .+ \| (\d+) \| (\d+) \| (\d+) \|$", EXTEND, re.M)
    assert [tuple(map(int, row)) for row in written] == counted and not lines


ENTRIES = re.findall(r'--config method="({.*})"', (ROOT / "docs" / "compare.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "entry",
    [
        *ENTRIES,
        "{baseline: nested_dropout, rho: 0.9, window: 0, nesting: [8], training: {epochs: 3}, label: '007'}",
    ],
)
def test_an_entry_on_the_command_line_has_its_numbers(entry):
    study, given = load_study("glyphs"), parse_config([f"method={entry}"])["method"]
    written = yaml.safe_load(entry)
    method = with_method(study, "mine", given, [0]).method("mine")
    # As the job gets it.
    assert with_method(study, "mine", json.loads(json.dumps(given)), [0]).method("mine") == method
    options = {key: value for key, value in written.items() if key in method.options}
    assert ENTRIES and options and options.items() <= method.options.items()
    assert method.nesting == tuple(written.get("nesting", study.nesting))
    assert method.training == study.training | written.get("training", {})
    assert method.label == written.get("label", "mine")


def with_words(config, words):
    """A study's configuration with more words in it."""
    ((key, value),) = words.items()
    if key in ("methods", "tasks"):
        value = config[key] | value
    return config | {key: config[key] + value if isinstance(value, list) else value}


# Runs every job of a study in one process, in the order of the workflow.
RUN = """
import sys
from analysis import draw, measure, tabulate
from baselines import embed, train
from splits import build
from suite.contracts import MEASURE
from suite.study import load_study

*steps, last = sys.argv[1:]
for step in steps:
    load_study(step)
study, argument = load_study(last), ["--study", last]
build.main(argument)
for network in study.networks:
    train.main([*argument, "--network", network])
for method in study.methods:
    embed.main([*argument, "--method", method])
for method, name in sorted(study.measured(), key=lambda pair: MEASURE.facts(pair[1]).READS):
    measure.main([*argument, "--method", method, "--measure", name])
for task in study.tasks:
    tabulate.main([*argument, "--task", task])
for figure in study.figures:
    draw.main([*argument, "--figure", figure])
"""


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the suite with the files of docs/extend.md, after the study with its words has run."""
    folder = copied(tmp_path_factory.mktemp("extended"), *FLOORS, "workflow/schemas")
    files, words = examples()
    for name, text in files.items():
        assert not (folder / name).exists(), f"{name} is the suite's own"
        (folder / name).write_text(text, encoding="utf-8")
    config = yaml.safe_load((ROOT / "tests" / "studies" / "tiny.yaml").read_text(encoding="utf-8"))
    config |= {"methods": {"fixed_feature": None}, "tasks": {"knn": None}, "figures": []}
    config["training"] |= {"epochs": 1, "batch_size": 32}
    steps = []
    for step in itertools.accumulate(words, with_words, initial=config):
        steps.append(f"{len(steps)}.yaml")
        (folder / steps[-1]).write_text(json.dumps(step), encoding="utf-8")
    # What is measured on every item is compared as well.
    step["tasks"]["paired"] = {"outcomes": ["knn_vote"], "against": ["fixed_feature"]}
    (folder / steps[-1]).write_text(json.dumps(step), encoding="utf-8")
    code, output = output_of(["-c", RUN, *steps], folder)
    assert code == 0, output[-4000:]
    return folder


def test_a_new_file_of_every_kind_works_with_one_word(extended):
    files, words = examples()
    kinds = {contract.folder for contract in CONTRACTS}
    assert {str(Path(name).parent) for name in files} == kinds
    assert len(words) == len(files) - 1  # a measure is named by an evaluation

    def table(task):
        rows = pd.read_csv(extended / f"results/tables/tiny/{task}.csv")
        return rows[rows["metric"].isin(["top1", "cosine"])].set_index(["method", "dim"])["value"]

    knn, vote, cosine = table("knn"), table("knn_vote"), table("class_cosine")
    every = {(method, m) for method in ("fixed_feature", "mrl_falling", "by_variance") for m in (4, 8)}
    assert set(vote.index) == set(cosine.index) == every <= set(knn.index)
    # Ten digits: far above chance, and the vote of three says something else than the nearest one.
    assert vote.between(0.3, 1).all() and (vote != knn[vote.index]).any() and cosine.between(0.1, 1).all()
    # All coordinates in another order have the same neighbours; the most varying four have others than FF-4.
    assert knn["by_variance", 8] == knn["fixed_feature", 8]
    assert knn["by_variance", 4] != knn["fixed_feature", 4]
    paired = pd.read_csv(extended / "results/tables/tiny/paired.csv")
    assert set(paired["outcome"]) == {"knn_vote"} and set(paired["method"]) == {"mrl_falling", "by_variance"}
    manifest = json.loads((extended / "results/data/tiny/manifest.json").read_text())
    assert manifest["splits"]["val"]["n"] == 400 and manifest["source"] == "digits"
    network = json.loads((extended / "results/networks/tiny/mrl_falling-0/meta.json").read_text())
    settings = network["settings"]
    assert settings["options"] == {"power": 1.0} and settings["backbone"]["name"] == "mlp"
    assert (extended / "results/figures/tiny/knn_vote.png").stat().st_size > 5_000


# --- commands ---------------------------------------------------------------------------------------


def commands(path):
    """Shell commands that a document or a source file shows: in blocks, indented, or in backticks."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        shell = "\n".join([*blocks(text, "sh", "bash"), *re.findall(r"^    (.+)$", text, re.M)])
        found = shell.replace("\\\n", " ").splitlines() + re.findall(r"(?<!`)`([^`]+)`(?!`)", text)
    elif path.suffix == ".yaml":
        found = re.findall(r"^#   +(?:make figures +or +)?(.+)$", text, re.M)
    else:
        docstring = ast.get_docstring(ast.parse(text)) or ""
        found = re.findall(r"^    (python -m .+?)(?:  .*)?$", docstring, re.M)
        found += re.findall(r"`((?:python -m|snakemake) [^`]+)`", docstring)
    for command in found:
        if command.count("'") % 2:  # the job of a Kubernetes manifest, or it goes on in the next line
            continue
        words = shlex.split(re.sub(r"\s+", " ", command), comments=True)
        if words and words[0] in ("python", "snakemake", "make", "pip", "conda"):
            yield from (list(part) for end, part in itertools.groupby(words, lambda w: w == "&&") if not end)


class Parsed(Exception):
    """A command line's parser, in place of running it."""


@cache
def parser_of(module):
    """The argument parser of `python -m module`."""
    if (ROOT / module.replace(".", "/") / "__main__.py").exists():
        module += ".__main__"

    def parse_args(parser, argv=None, namespace=None):
        raise Parsed(parser)

    main = importlib.import_module(module).main
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
        with pytest.raises(Parsed) as caught:
            main([])
    return caught.value.args[0]


def check_python(words):
    """A module of the suite, and arguments that its parser takes."""
    assert words[1] == "-m"
    module, arguments = words[2], words[3:]
    assert module.partition(".")[0] in ("splits", "baselines", "analysis"), module
    parser = parser_of(module)
    choices = {name for action in parser._actions for name in action.choices or ()}
    if "…" in arguments:  # what is left out may be required: the options that are shown exist
        assert {word for word in arguments if word.startswith("--")} <= set(parser._option_string_actions)
    elif not set(arguments) <= choices:  # one of them alone, as "python -m analysis.saved freeze", is a name
        parser.parse_args(arguments)


RULES = "".join(path.read_text() for path in [ROOT / "Snakefile", *(ROOT / "workflow/rules").glob("*.smk")])


def check_snakemake(words):
    """Options that Snakemake has, keys that the workflow has, targets that some rule makes."""
    given = get_argument_parser().parse_args(words[1:])
    config = dict(pair.split("=", 1) for pair in given.config or ())
    assert set(config) <= set(KEYS)
    study = config.get("study", "glyphs")
    study = load_study("glyphs" if study == "my/study.yaml" else study)  # the reader's own, in documents
    for target in given.targets:
        check_target(target, study)


def check_target(target, study):
    """The name of a rule or of a file below results/ that a rule makes."""
    name = re.escape(target)
    if re.search(rf"^rule {name}:|^ *name:\s+\"{name}\"|^ *\"{name}\",$", RULES, re.M):  # or an output
        return
    folder, own, *rest = target.removeprefix("results/").split("/")
    if folder == "report":
        assert target == str(study.layout.report)
        return
    assert own == study.name, f"{target} is not of {study.name}"
    name = Path(rest[-1])
    makes = {
        "data": lambda: rest == ["manifest.json"],
        "networks": lambda: rest[0].rpartition("-")[0] in study.networks and str(name) == "meta.json",
        "tables": lambda: name.stem in study.tasks and name.suffix == ".csv",
        "figures": lambda: name.stem in study.figures and name.suffix in (".png", ".pdf"),
        "compare": lambda: name.stem not in study.methods and name.suffix in (".md", ".html", ".csv", ".png"),
    }
    assert makes[folder](), f"no rule makes {target}"


def check_make(words):
    targets = re.findall(r"^([\w./$()-]+):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    targets = {target.replace("$(VENV)", ".venv") for target in targets}
    assert {word for word in words[1:] if "=" not in word} <= targets


def check_pip(words):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extra in re.findall(r"\[(\w+)\]", " ".join(words)):
        assert extra in extras["optional-dependencies"]


def check_conda(words):
    name = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["name"]
    assert words[1:] in (["env", "create", "-f", "environment.yml"], ["activate", name])


CHECKS = {"python": check_python, "snakemake": check_snakemake, "make": check_make, "pip": check_pip}
CHECKS["conda"] = check_conda


def check(words):
    """Raise AssertionError or ImportError unless a command is one there is."""
    try:
        CHECKS[words[0]](words)
    except SystemExit as error:  # of a parser
        raise AssertionError(shlex.join(words)) from error


@pytest.mark.parametrize(
    "paths",
    [*([path] for path in DOCUMENTS), [*STUDIES.glob("*.yaml"), *CODE]],
    ids=[*(path.name for path in DOCUMENTS), "studies and docstrings"],
)
def test_every_command_is_one_there_is(paths):
    found = [words for path in paths for words in commands(path)]
    assert len(found) > 30 or len(paths) == 1
    for words in found:
        check(words)


@pytest.mark.parametrize(
    "command",
    [
        "python -m baselines.search --study glyphs",
        "python -m analysis.saved freez",
        "python -m baselines.tune --study glyphs --methods mrl --grid rho=1",
        "snakemake --cores all results/tables/glyphs/kmm.csv",
        "snakemake --cores all results/figures --config sudy=glyphs",
        "snakemake --core all results/figures/omniglot/knn.png",
        "make figure",
        "pip install -e .[brt]",
    ],
)
def test_a_wrong_command_is_found(command):
    with pytest.raises((AssertionError, ImportError)):
        check(shlex.split(command))


# --- links and paths --------------------------------------------------------------------------------


def anchors(path):
    """What a link can point to in a document: its headings as GitHub names them."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.S)
    heads = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@each_document
def test_every_link_leads_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            file, _, anchor = target.partition("#")
            there = (path.parent / file).resolve() if file else path
            assert there.exists(), target
            assert not anchor or anchor in anchors(there), target


TOP = "suite|splits|baselines|analysis|config|profiles|workflow|docs|tests|results/saved"


@each_document
def test_every_path_that_is_named_exists(path):
    text = path.read_text(encoding="utf-8")
    if path.name == "extend.md":
        for name in examples()[0]:
            text = text.replace(name, "")
    for named in re.findall(rf"(?<![\w/.…])((?:{TOP})/[\w./<>*{{}}-]*)", text):
        if not re.search(r"[<>*{}]", named):
            assert (ROOT / named.rstrip(".")).exists(), named
    if path.name == "CHANGELOG.md":  # names modules that were
        return
    for module in re.findall(r"`((?:suite|splits|baselines|analysis)\.\w+)", text):
        place = ROOT / module.replace(".", "/")
        assert place.is_dir() or place.with_suffix(".py").is_file(), module


def test_documents_name_variables_that_are_read_and_code_cites_sections_that_protocols_has():
    code = "".join(path.read_text(encoding="utf-8") for path in CODE)
    for path in [*DOCUMENTS, *STUDIES.glob("*.yaml")]:
        for name in re.findall(r"\bMATRYOSHKA_\w+", path.read_text(encoding="utf-8")):
            assert f'"{name}"' in code, (path.name, name)
    headings = re.findall(r"^#+ (.+)$", (ROOT / "docs" / "protocols.md").read_text(encoding="utf-8"), re.M)
    cited = set(re.findall(r"docs/protocols\.md,\s\"([^\"]+)\"", code))
    assert cited and cited <= set(headings)
