"""Doors for a method from outside the suite: a Python file, a folder of embeddings, or a changed setting.

`admit` turns any of them into one more row of the study, so that the rest of the suite treats it like its
own methods. docs/compare.md describes what each door expects.

    mine.py         fit(features, labels, sizes, rng) and transform(fitted, features), or one class with them
    mine.py         a file like those of baselines/ (KIND = "trained" with build, or "fitted" with fit)
    folder/         <split>.npy or <split>.npz made by anything
    mine.yaml       a row of `methods`: baseline and options; inline as well: "{baseline: mrl, …}"

Methods on frozen embeddings start from the *saved* network of their source, never from one trained here.
"""

import argparse
import copy
import re
from pathlib import Path

import yaml

from analysis.compare.adapters.folder import Folder, describe_folder, embed_folder
from splits.store import Dataset
from suite import cli, files, modules
from suite.contracts import METHOD, TRANSFORM, stated
from suite.errors import UserError, unknown
from suite.layout import Layout
from suite.study import CURVES, Method, Study, load_study

ADAPTERS = Path(__file__).parent / "adapters"
TASKS = []  # takes part in no table of the study
SOURCE = "fixed_feature"  # what a file without SOURCE starts from
SAVED = "saved_"  # prefix of a source that is restored from the saved baselines


def admit(study: Study, name: str, given: object) -> Study:
    """The study with one more method `name`, and with the saved source it starts from, if any.

    given: a path (.py, .yaml, folder) or a mapping. Nothing is imported or measured here: the workflow calls
    this to know which jobs there are. Raises UserError for a name that is taken and for what is no method.
    """
    check_name(study, name)
    if missing := [task for task in CURVES if task not in study.tasks]:
        raise UserError(
            f"a method cannot be compared on {study.name}, which has no {' and no '.join(missing)} among its "
            f"tasks ({study.path}); add it to the study's methods instead"
        )
    row = {"label": name, **row_of(given), "group": "new", "tasks": TASKS}
    rows = {name: row}
    facts = METHOD.facts(row.get("baseline", name))
    if facts.KIND == "control":
        raise UserError(f"{row['baseline']} is a control, made from the labels: not a method to compare")
    if facts.STARTS_FROM:
        raise UserError(
            f"{row['baseline']} starts training from {facts.STARTS_FROM}'s weights; add it to the study's "
            f"`methods` ({study.path}) and run the study, so that both are trained alike"
        )
    if facts.KIND == "fitted":
        source = row.get("source", facts.SOURCE or SOURCE)
        row["source"] = SAVED + source
        rows[SAVED + source] = source_row(study, source)
    return extended(study, rows, seeds_of(row, study))


def with_source(study: Study, source: str) -> Study:
    """The study with the method that stands for the saved network of `source`."""
    return extended(study, {SAVED + source: source_row(study, source)}, list(study.seeds))


def extended(study: Study, rows: dict[str, dict], seeds: list[int]) -> Study:
    """The study with more rows under `methods`."""
    config = copy.deepcopy(study.config)
    return Study({**config, "methods": config["methods"] | rows, "seeds": seeds}, study.path)


def check_name(study: Study, name: str) -> None:
    """Raise UserError unless `name` can be a method of its own."""
    if not re.fullmatch("[a-z0-9_]+", name) or name.startswith(SAVED):
        raise UserError(
            f"{name!r} cannot name a method: use small letters, digits and _ , and not {SAVED}… in front"
        )
    if name in study.methods:
        raise UserError(f"{name} is a method of {study.name} already; give the new one another name")


def row_of(given: object) -> dict:
    """What stands under the method's name in a study's `methods`; see the module's first lines."""
    if isinstance(given, dict):
        return entry(given, "--config method")
    path = Path(str(given))
    if path.is_dir():
        return folder_row(path)
    if not path.exists():
        raise UserError(f"no method at {path}: give a .py file, a folder of embeddings or a .yaml entry")
    if path.suffix in (".yaml", ".yml"):
        return entry(parse(path.read_text(encoding="utf-8"), str(path)), str(path))
    if path.suffix == ".py":
        return python_row(path)
    raise UserError(f"{path} is no method: a .py file, a folder of embeddings or a .yaml entry is one")


def parse(text: str, where: str) -> object:
    """YAML text; raises UserError where it is none."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{where} is not YAML: {error}") from error


def entry(given: object, where: str) -> dict:
    """A changed setting of a method: {baseline: mrl, loss_weights: […]}."""
    if not isinstance(given, dict) or not isinstance(given.get("baseline"), str):
        raise UserError(
            f"{where}: a method's entry is a mapping with `baseline` and its options, as under `methods` in "
            f"a study's file; got {given!r}"
        )
    row = {key: value for key, value in given.items() if key not in ("group", "tasks")}
    if row["baseline"].endswith(".py"):
        row = python_row(Path(row.pop("baseline"))) | row
    return row


def python_row(path: Path) -> dict:
    """A file like those of baselines/ stands for itself; one with fit and transform goes through a door."""
    if not path.exists():
        raise UserError(f"no such file: {path}")
    path = path.resolve()
    if "KIND" in stated(path):
        return {"baseline": str(path), "label": METHOD.facts(str(path)).LABEL}
    facts = TRANSFORM.facts(str(path))
    row = {"baseline": str(ADAPTERS / "transform.py"), "path": str(path), "source": facts.SOURCE}
    return row | ({"label": facts.LABEL} if facts.LABEL else {})


def folder_row(folder: Path) -> dict:
    """A folder of embeddings; its method.yaml may give a label."""
    label = describe_folder(folder).get("label")
    row = {"baseline": str(ADAPTERS / "folder.py"), "path": str(folder.resolve())}
    return row | ({"label": label} if label else {})


def source_row(study: Study, source: str) -> dict:
    """The row that stands for a saved network: the source's own, for the sizes of its largest network."""
    if source not in study.methods or study.methods[source].kind != "trained":
        trained = [method.name for method in study.methods.values() if method.kind == "trained"]
        raise unknown("source", source, trained, f"{study.path}: a source is a trained method")
    row = dict(study.config["methods"][source] or {})
    method = study.methods[source]
    return row | {
        "baseline": method.baseline,
        "label": f"{method.label} (saved)",
        "nesting": list(method.networks[-1].sizes),
        "group": "new",
        "tasks": TASKS,
    }


def seeds_of(row: dict, study: Study) -> list[int]:
    """A folder is one run, under the seed that its method.yaml states; other methods run with every seed."""
    if row.get("baseline") == str(ADAPTERS / "folder.py"):
        return [describe_folder(Path(row["path"])).get("seed", study.seeds[0])]
    return list(study.seeds)


def source_of(method: Method) -> str | None:
    """Name of the trained method that a new method starts from."""
    return method.source and method.source.removeprefix(SAVED)


def files_of(given: object) -> list[Path]:
    """Files whose content decides a new method: for the workflow, which compares them."""
    row = row_of(given)
    baseline = modules.locate("baselines", row["baseline"])
    if "path" not in row:
        return [baseline]
    path = Path(row["path"])
    return [baseline, *(sorted(path.glob("*.*")) if path.is_dir() else [path])]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Lets a method from outside into a comparison.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("admit", help="check it and write the study with one more method")
    cli.add_study(command)
    command.add_argument("--name", required=True, help="what the method is called from here on")
    command.add_argument("--method", required=True, help=".py, .yaml, folder, or an entry as YAML text")
    command.add_argument("--out", required=True, type=Path, help="study file to write")
    cli.add_seeds(command)
    command = commands.add_parser("embed", help="embed a folder, in a study that `admit` wrote")
    cli.add_study(command)
    command.add_argument("--method", required=True, help="the method's name")
    cli.add_run(command)
    args = parser.parse_args(argv)
    from analysis.compare.saved import Saved

    study = cli.study(args) if args.command == "admit" else load_study(args.study)
    if args.command == "embed":
        embed_folder(study, study.method(args.method), args.seed)
        return
    given = parse(args.method, "--method") if args.method.lstrip().startswith("{") else args.method
    admitted = admit(study, args.name, given)
    method = admitted.method(args.name)
    dataset = Dataset(Layout(study.name).data)
    Saved(Layout(study.name).saved).refuse(dataset)
    if method.kind == "folder":
        Folder(method.options["path"], admitted, dataset)
    with files.write_aside(args.out) as path:
        path.write_text(
            f"# {study.name} with one more method, {args.name}; written by analysis.compare.own_methods.\n"
            + yaml.safe_dump(admitted.config, sort_keys=False, allow_unicode=True),
            encoding="utf-8",
        )


if __name__ == "__main__":
    cli.run(main)
