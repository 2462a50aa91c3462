"""Freezing a finished study's baselines into results/saved/<study>/, which saved.py reads.

A command (`snakemake --cores all save_baselines`, or `python -m analysis.saved freeze`), never a part of the
workflow: no rule makes these files, so nothing can overwrite or delete them by the way.
"""

import argparse
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np

from analysis.compare.saved import PROTOCOL, Saved, SavedRun, name_in, write_packed
from analysis.evaluations.retrieval import FIRST, pairs
from analysis.run import Items, Run, run_of
from splits.store import Dataset
from suite import cli, files
from suite.contracts import EVALUATION, defined
from suite.errors import UserError
from suite.layout import command
from suite.provenance import provenance
from suite.study import Study

BUDGET = 20_000_000
"""Bytes a study may take in git; networks and neighbour ids are left out, last seeds first, to keep it."""

ENTRY = 3_500  # bytes that a run takes in the manifest, its files' checksums included
SOURCES = ("fixed_feature", "mrl")  # methods whose full-size network others start from


# --- what is frozen of a run ----------------------------------------------------------------------


def kept_items(run: Run, measures: Iterable[str]) -> Iterator[Items]:
    """What the study's evaluations keep of a run that has these measures."""
    for task in run.study.itemised:
        if {*EVALUATION.facts(task).MEASURES} <= {*measures}:
            yield from (each for each in run.items(task) if each.kept)


def collect(items: Iterable[Items]) -> dict[str, np.ndarray]:
    """Stored outcomes [draws, S, n, …] by name, and their sizes, as they are frozen.

    Sizes int64 [S] are "<measure>/sizes", or "<name>:sizes" where they are not those of the measure's others.
    """
    found: dict[str, np.ndarray] = {}
    for each in items:
        sizes = np.asarray(each.sizes, np.int64)
        if not np.array_equal(found.setdefault(f"{each.measure}/sizes", sizes), sizes):
            found[f"{each.array}:sizes"] = sizes
        found[each.array] = np.asarray(each.stored)
    return found


# --- freezing -------------------------------------------------------------------------------------


def freeze(study: Study, budget: int = BUDGET) -> Path:
    """Write results/saved/<study> from the finished study; returns the folder.

    Everything is written beside the old folder, which is replaced at the end. Tables, outcomes and the search
    for settings, if there was one, are always kept; then, as long as the budget lasts, networks and neighbour
    ids, earlier seeds first. What was left out is in the manifest with the reason.

    Raises UserError when a run is missing or was made on other data, when tables are of other seeds, when
    seeds that are saved would be lost, and when tables and outcomes alone exceed the budget.
    """
    check_seeds(study)
    saved = study.layout.saved
    aside = saved.with_name(f".{study.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        write_frozen(study, aside, budget)
        shutil.rmtree(saved, ignore_errors=True)
        aside.replace(saved)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return saved


def finished_runs(study: Study) -> Iterator[Run]:
    """Every run with outcomes that are kept; ablations last: what comes last is left out first."""
    dataset = Dataset(study.layout.data)
    methods = [method for name, method in study.methods.items() if study.frozen_measures(name)]
    methods.sort(key=lambda method: method.group != "baselines")
    for seed in study.seeds:
        for method in (each for each in methods if seed in each.seeds):
            yield run_of(study, study.layout, dataset, method, seed)


def write_frozen(study: Study, aside: Path, budget: int) -> None:
    """Everything that is frozen, into the new folder `aside`."""
    for task in study.tasks:
        copy_file(study.layout.table(task), aside / "tables" / f"{task}.csv")
    if study.layout.searched:  # what the settings of the recipe `tuned` were chosen by
        copy_file(study.layout.searched, aside / "search.csv")
    for name, network in study.networks.items():
        for seed in study.methods[network.method].seeds:
            copy_file(study.layout.network(name, seed) / "log.csv", aside / "logs" / f"{name}-{seed}.csv")
    entries = []
    for run in finished_runs(study):
        kept = kept_items(run, study.frozen_measures(run.method.name))
        write_packed(aside / "outcomes" / f"{run.method.name}-{run.seed}.npz", collect(kept))
        entries.append(asdict(describe(run)))
    if size(aside) > budget:
        raise UserError(
            f"tables and outcomes of {study.name} take {size(aside) / 1e6:.1f} MB, more than the "
            f"{budget / 1e6:.0f} MB a study may take in git; freeze fewer seeds"
        )
    left_out = freeze_extras(study, aside, budget - ENTRY * len(entries))
    files.write_json(
        aside / "manifest.json",
        {
            "protocol": PROTOCOL,
            "study": study.config,
            "seeds": list(study.seeds),
            "data": Dataset(study.layout.data).manifest,
            **provenance(),
            "runs": entries,
            "left_out": left_out,
            "files": {
                name_in(aside, path): files.sha256(path)
                for path in sorted(aside.rglob("*"))
                if path.is_file()
            },
        },
    )


def describe(run: Run) -> SavedRun:
    """The manifest entry of a finished run."""
    method, facts = run.method, run.representation.meta
    return SavedRun(
        method=method.name,
        seed=run.seed,
        label=method.label,
        kind=method.kind,
        group=method.group,
        sizes=run.representation.sizes,
        draws=run.representation.draws,
        cost=facts["cost"],
        classifier_parameters=facts["classifier_parameters"],
        provenance=facts["provenance"],
    )


def check_seeds(study: Study) -> None:
    """Raise UserError unless every table is of the study's seeds and no saved seed would be lost."""
    how = f"`snakemake --cores all save_baselines --config study={study.name} 'seeds=[…]'`"
    saved = study.layout.saved
    manifest = saved / "manifest.json"
    restore = f"restore it from git (`git checkout -- {saved}`) or remove the folder"
    there = files.read_json(manifest, advice=restore)["seeds"] if manifest.exists() else []
    lost = set(there) - set(study.seeds)
    if lost:
        raise UserError(
            f"{saved} holds seeds {sorted(lost)} too, which freezing seeds {list(study.seeds)} would "
            f"lose: name all of them ({how}), or remove the folder first"
        )
    for task in study.tasks:
        path = study.layout.table(task)
        # Tables that only compare methods are over all seeds at once.
        if path.exists() and {"items", "score"} & defined(EVALUATION.path(task)):
            found = sorted(set(files.read_table(path)["seed"]))
            own = sorted({seed for method in study.task_methods(task) for seed in method.seeds})
            if found and found != own:
                raise UserError(f"{path} is of seeds {found}, not {own}: {how}")


def freeze_extras(study: Study, aside: Path, budget: int) -> dict[str, str]:
    """Add networks, then neighbour ids, while they fit; returns what was left out and why."""
    left_out = {}
    full = set()  # kinds of files of which one did not fit: what comes behind it is left out too

    def keep(path: Path) -> None:
        """Remove `path` again when it does not fit."""
        kind = path.parent.name
        if kind in full or size(aside) > budget:
            full.add(kind)
            left_out[name_in(aside, path)] = f"the study would take more than {budget / 1e6:g} MB"
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    sources = [study.methods[name] for name in SOURCES if name in study.methods]
    first = study.seeds[0]
    # One seed of every source, then the other seeds of the source that methods start from by default.
    for method, seed in [
        *((m, first) for m in sources),
        *((m, seed) for m in sources for seed in m.seeds[1:]),
    ]:
        network = method.networks[-1].name
        folder = aside / "networks" / f"{network}-{seed}"
        for name in ("checkpoint.pt", "meta.json"):
            copy_file(study.layout.network(network, seed) / name, folder / name)
        keep(folder)
    for run in finished_runs(study):
        path = aside / "neighbours" / f"{run.method.name}-{run.seed}.npz"
        if run.method.kind == "control":
            left_out[name_in(aside, path)] = "a control: its neighbours are noise or labels"
        elif "neighbours" in study.frozen_measures(run.method.name):
            arrays = run.outcomes("neighbours")
            # Of random methods the first draw: ids of ten draws would take as much as all other methods.
            names = [f"{query}/{database}" for query, database in pairs(run)]
            ids = {name: narrow(arrays[f"{name}/ids"][0, ..., :FIRST]) for name in names}
            write_packed(path, {"sizes": arrays["sizes"], **ids})
            keep(path)
    return left_out


def narrow(ids: np.ndarray) -> np.ndarray:
    """Ids in 16 bits where they fit."""
    return ids.astype(np.uint16) if ids.max() < 2**16 else ids


def copy_file(origin: Path, target: Path) -> None:
    """Copy one file that the study must have made; raises UserError when it has not."""
    if not origin.exists():
        raise UserError(f"{origin} is missing; run `{command(origin)}`")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(origin, target)


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Freezes a finished study's baselines, or checks frozen ones."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("freeze", "write results/saved/<study>"), ("check", "compare with the checksums")):
        command = commands.add_parser(name, help=text)
        cli.add_study(command)
        cli.add_seeds(command)
    args = parser.parse_args(argv)
    study = cli.study(args)
    if args.command == "freeze":
        folder = freeze(study)
        print(f"{folder}: {size(folder) / 1e6:.1f} MB")
    else:
        saved = Saved(study.layout.saved)
        print(f"{saved.folder}: {len(saved.runs)} runs, every file as it was frozen")
