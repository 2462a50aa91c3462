"""A user's own method as one more row of a study, so that the rest of the suite treats it like its own.

    mine.py         fit(features, labels, sizes, rng) and transform(fitted, features), or one class with them
    mine.py         a file like those of baselines/ (KIND = "trained" with build, or "fitted" with fit)
    folder/         <split>.npy or <split>.npz made by anything
    mine.yaml       a row of `methods`: baseline and options; inline as well: "{baseline: mrl, …}"

docs/compare.md describes each. Methods on frozen embeddings start from the *saved* network of their source,
never from one trained here; where data come with embeddings, from these, which are on the user's machine.
"""

import argparse
import copy
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import yaml

from analysis.compare.adapters import vectors
from analysis.compare.adapters.folder import describe_folder
from analysis.compare.saved import MAIN, Saved
from splits.given import hidden
from splits.store import Dataset
from suite import cli, files, modules
from suite.contracts import METHOD, TRANSFORM, stated
from suite.errors import UserError, unknown
from suite.modules import ROOT
from suite.study import CURVES, SAVED, Method, Study, load_study
from suite.values import parse_yaml, read_yaml

ADAPTERS = Path(__file__).parent / "adapters"
TASKS = []  # takes part in no table of the study
SOURCE = "fixed_feature"  # what a file without SOURCE starts from, where networks are trained


def with_method(study: Study, name: str, given: object, seeds: Sequence[int] | None = None) -> Study:
    """The study with one more method `name`, and with the saved source it starts from, if any.

    given: a path (.py, .yaml, folder) or a mapping. seeds: to run it with, by default those that were saved
    (for a method on frozen embeddings, of its source's network). Nothing is imported or measured here: the
    workflow calls this to know which jobs there are. Raises UserError for a name that is taken and for what
    is no method.
    """
    check_name(study, name)
    check_tasks(study)
    row = {"label": name, **row_of(given, study), "group": "new", "tasks": TASKS}
    rows = {name: row}
    facts = METHOD.facts(row.get("baseline", name))
    if facts.KIND == "control":
        raise UserError(f"{row['baseline']} is a control, made from the labels: not a method to compare")
    if facts.STARTS_FROM:
        raise UserError(
            f"{row['baseline']} starts training from {facts.STARTS_FROM}'s weights; add it to the study's "
            f"`methods` ({study.path}) and run the study, so that both are trained alike"
        )
    if facts.KIND == "fitted" and study.ready:
        row["source"] = ready_source(study, row)
    elif facts.KIND == "fitted":
        source = row.get("source", facts.SOURCE or SOURCE)
        row["source"] = SAVED + source
        rows[SAVED + source] = source_row(study, source)
    return extended(study, rows, seeds_of(row, study, seeds))


def check_tasks(study: Study) -> None:
    """Raise UserError for a study that lacks what every method is compared on."""
    missing = [task for task in CURVES if task not in study.tasks]
    if study.ready:
        missing = [] if {*MAIN} & {*study.tasks} else MAIN
    if missing:
        raise UserError(
            f"a method cannot be compared on {study.name}, which has no {' and no '.join(missing)} among its "
            f"tasks ({study.path}); add it to the study's methods instead"
        )


def with_source(study: Study, source: str) -> Study:
    """The study with the method that stands for the saved network of `source`."""
    return extended(study, {SAVED + source: source_row(study, source)}, list(study.seeds))


def extended(study: Study, rows: dict[str, dict], seeds: list[int]) -> Study:
    """The study with more rows under `methods`."""
    config = copy.deepcopy(study.config)
    return Study({**config, "methods": config["methods"] | rows, "seeds": seeds}, study.path)


def check_name(study: Study, name: str) -> None:
    """Raise UserError unless `name` can be a method of its own."""
    if not re.fullmatch("[a-z0-9_]{1,80}", name) or name.startswith(SAVED):
        raise UserError(
            f"{name!r} cannot name a method: use small letters, digits and _, 80 at most, and not "
            f"{SAVED}… in front"
        )
    for what, taken in (("method", study.declared), ("network", study.networks)):
        if name in taken:
            raise UserError(f"{name} is a {what} of {study.name} already; give the new one another name")


def row_of(given: object, study: Study) -> dict:
    """What stands under the method's name in a study's `methods`; see the module's first lines."""
    if isinstance(given, dict):
        return entry(typed(given), "--config method")
    path = Path(str(given)).expanduser()
    if path.is_dir():
        return folder_row(path, study)
    if not path.exists():
        raise UserError(f"no method at {path}: give a .py file, a folder of embeddings or a .yaml entry")
    if path.suffix in (".yaml", ".yml"):
        return entry(read_yaml(path), str(path))
    if path.suffix == ".py":
        return python_row(path)
    raise UserError(f"{path} is no method: a .py file, a folder of embeddings or a .yaml entry is one")


TEXTS = ("baseline", "label", "source", "path")  # of an entry, text whatever it looks like


def typed(value: object) -> object:
    """A mapping from Snakemake's command line, which leaves numbers, true and null in it as text.

    >>> typed({"label": "007", "loss_weights": ["2", "0.5"], "training": {"augment": {"flip": "true"}}})
    {'label': '007', 'loss_weights': [2, 0.5], 'training': {'augment': {'flip': True}}}
    """
    if isinstance(value, dict):
        return {key: each if key in TEXTS else typed(each) for key, each in value.items()}
    if isinstance(value, list):
        return [typed(each) for each in value]
    return parse_yaml(value, "--config method") if isinstance(value, str) else value


def entry(given: object, where: str) -> dict:
    """A changed setting of a method: {baseline: mrl, loss_weights: […]}."""
    if not isinstance(given, dict) or not isinstance(given.get("baseline"), str):
        raise UserError(
            f"{where}: a method's entry is a mapping with `baseline` and its options, as under `methods` in "
            f"a study's file; got {given!r}"
        )
    row = {key: value for key, value in given.items() if key not in ("group", "tasks")}
    if row["baseline"].endswith(".py"):
        row = python_row(Path(row.pop("baseline")).expanduser()) | row
    return row


def python_row(path: Path) -> dict:
    """A file like those of baselines/ stands for itself; one with fit and transform is adapted."""
    if not path.exists():
        raise UserError(f"no such file: {path}")
    path = path.resolve()
    if "KIND" in stated(path):
        facts, row = METHOD.facts(str(path)), {"baseline": str(path)}
    else:
        facts = TRANSFORM.facts(str(path))
        row = {"baseline": str(ADAPTERS / "transform.py"), "path": str(path)}
    named = {"source": facts.SOURCE, "label": facts.LABEL}
    return row | {key: value for key, value in named.items() if value}


def folder_row(folder: Path, study: Study) -> dict:
    """A folder of embeddings; its method.yaml may give a label."""
    label = (vectors.described if study.ready else describe_folder)(folder).get("label")
    row = {"baseline": str(ADAPTERS / f"{'vectors' if study.ready else 'folder'}.py")}
    row |= {"path": str(folder.resolve())}
    return row | ({"label": label} if label else {})


def ready_source(study: Study, row: dict) -> str:
    """The vectors that a fitted method starts from: those its file or entry names, or the only ones."""
    ready = [method.name for method in study.methods.values() if method.kind == "ready"]
    file = row.get("path", row["baseline"])
    how = f'SOURCE of a file, or --config method="{{baseline: {file}, source: {ready[0]}}}"'
    if "source" not in row and len(ready) > 1:
        raise UserError(
            f"{study.name} has vectors of {len(ready)} models, {', '.join(ready)}: say which of them the "
            f"method starts from ({how})"
        )
    source = row.get("source", ready[0])
    if source not in ready:
        raise unknown("source", source, ready, f"{study.path}; {how}")
    return source


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


def seeds_of(row: dict, study: Study, given: Sequence[int] | None) -> list[int]:
    """A folder is one run, under the seed that its method.yaml states; others run with every saved seed.

    Where nothing is trained, one run is enough for what draws nothing.
    """
    if row.get("baseline") == str(ADAPTERS / "folder.py"):
        return [describe_folder(Path(row["path"])).get("seed", study.seeds[0])]
    if given:
        return list(given)
    saved = Saved(study.layout.saved)
    seeds = saved.manifest["seeds"]
    if study.ready:
        return seeds[:1]
    if row.get("source", "").startswith(SAVED):
        network = study.methods[row["source"].removeprefix(SAVED)].networks[-1].name
        return [seed for seed in seeds if saved.has_network(network, seed)] or seeds[:1]
    return list(seeds)


def own_files(method: Method) -> list[Path]:
    """The user's files that an adapter reads, and what these import from beside them."""
    if Path(method.baseline).parent != ADAPTERS:
        return []
    path = Path(method.options["path"])
    if path.is_dir():
        return sorted(file for file in path.glob("*.*") if not hidden(file.name))
    return [ROOT / file for file in modules.closure(path)]


def check(study: Study, method: Method) -> None:
    """Raise UserError unless the method can be compared on the data that are there."""
    dataset = Dataset(study.layout.data)
    Saved(study.layout.saved).refuse(dataset)
    if method.kind == "folder":
        METHOD.load(method.baseline).Folder(method.options["path"], study, dataset)
    elif method.kind == "ready":
        module = METHOD.load(method.baseline)
        if hasattr(module, "facts"):  # else a model of the study's own data, which were checked
            module.facts(dataset, method.options)
        module.arrays(dataset, method.options)


def embed_saved(study: Study, source: str, seed: int, device: str, threads: int = 1) -> None:
    """Embed every split with the frozen network of `source`: what methods on frozen embeddings start from.

    The network is copied to the place of the method that stands for it, and its conditions go with it.
    """
    import torch  # which adding a method does without

    from baselines.embed import embed

    torch.set_num_threads(threads)
    with_saved = with_source(study, source)
    method = with_saved.methods[SAVED + source]
    frozen = Saved(study.layout.saved).network(study.methods[source].networks[-1].name, seed)
    place = study.layout.network(method.networks[-1].name, seed)
    shutil.copytree(frozen, place, dirs_exist_ok=True)
    meta = files.read_json(place / "meta.json")
    files.write_json(place / "meta.json", meta | {"copied_from": str(frozen)})
    embed(with_saved, method, seed, device)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Adds a method of one's own to a study.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("add", help="check a method and write the study with it")
    cli.add_study(command)
    command.add_argument("--name", required=True, help="what the method is called from here on")
    command.add_argument("--method", required=True, help=".py, .yaml, folder, or an entry as YAML text")
    command.add_argument("--out", required=True, type=Path, help="study file to write")
    cli.add_seeds(command)
    command = commands.add_parser("embed", help="embed every split with the frozen network of a source")
    cli.add_study(command)
    command.add_argument("--source", required=True, help="a trained method of the study")
    command.add_argument("--threads", type=cli.THREADS, default=1, help="threads to compute with (default 1)")
    cli.add_run(command)
    args = parser.parse_args(argv)
    if args.command == "embed":
        embed_saved(load_study(args.study), args.source, args.seed, cli.device(args.device), args.threads)
        return
    given = parse_yaml(args.method, "--method") if args.method.lstrip().startswith("{") else args.method
    study = with_method(cli.study(args), args.name, given, args.seeds)
    check(study, study.method(args.name))
    with files.write_aside(args.out) as path:
        path.write_text(
            f"# {study.name} with one more method, {args.name}; written by analysis.compare.own_methods.\n"
            + yaml.safe_dump(study.config, sort_keys=False, allow_unicode=True),
            encoding="utf-8",
        )


if __name__ == "__main__":
    cli.run(main)
