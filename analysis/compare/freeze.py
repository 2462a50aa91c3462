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
import pandas as pd

from analysis.compare.saved import PROTOCOL, Saved, SavedRun, name_in, write_packed
from analysis.evaluations.retrieval import FIRST
from analysis.measures import read_outcomes
from analysis.run import Items, Run
from baselines.representation import Representation
from splits.store import Dataset
from suite import cli, files
from suite.contracts import EVALUATION, defined
from suite.errors import UserError
from suite.layout import Layout
from suite.provenance import provenance
from suite.study import Method, Study

BUDGET = 20_000_000
"""Bytes a study may take in git; networks and neighbour ids are left out, last seeds first, to keep it."""

ENTRY = 3_000  # bytes that a run takes in the manifest, its files' checksums included
SOURCES = ("fixed_feature", "mrl")  # methods whose full-size network others start from


# --- what is frozen of a run ----------------------------------------------------------------------


def run_of(study: Study, layout: Layout, dataset: Dataset, method: Method, seed: int) -> Run:
    """A finished run, to ask what any evaluation measured on each test item."""
    splits = Representation(layout.embeddings(method.name, seed)).splits
    return Run(study, dataset.subset(splits), method, seed, "", {}, layout)


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


def neighbour_ids(arrays) -> Iterator[tuple[str, str, np.ndarray]]:
    """(query split, database split, ids int32 [draws, S, n, ≤ 10]) of the outcomes of `neighbours`."""
    for name in arrays:
        query, _, rest = name.partition("/")
        if rest.endswith("/ids"):
            yield query, rest.removesuffix("/ids"), arrays[name][..., :FIRST]


def frozen_methods(study: Study) -> list[str]:
    """Methods with outcomes that are kept, in the order of the study's file."""
    return [name for name in study.methods if study.frozen_measures(name)]


# --- freezing -------------------------------------------------------------------------------------


def freeze(study: Study, layout: Layout, budget: int = BUDGET) -> Path:
    """Write results/saved/<study> from the finished study; returns the folder.

    Everything is written beside the old folder, which is replaced at the end. Tables and outcomes are always
    kept; then, as long as the budget lasts, networks and neighbour ids, earlier seeds first. What was left
    out is in the manifest with the reason.

    Raises UserError when a run is missing or was made on other data, when tables are of other seeds, when
    seeds that are saved would be lost, and when tables and outcomes alone exceed the budget.
    """
    check_seeds(study, layout)
    dataset = Dataset(layout.data)
    check_same_data(study, layout, dataset)
    aside = layout.saved.with_name(f".{study.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        write_frozen(study, layout, dataset, aside, budget)
        shutil.rmtree(layout.saved, ignore_errors=True)
        aside.replace(layout.saved)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return layout.saved


def write_frozen(study: Study, layout: Layout, dataset: Dataset, aside: Path, budget: int) -> None:
    """Everything that is frozen, into the new folder `aside`."""
    # Baselines before ablations: what comes last is left out first.
    methods = sorted(frozen_methods(study), key=lambda name: study.methods[name].group != "baselines")
    runs = [(method, seed) for seed in study.seeds for method in methods]
    entries = []
    for task in study.tasks:
        copy_file(layout.table(task), aside / "tables" / f"{task}.csv")
    for method, seed in runs:
        run = run_of(study, layout, dataset, study.methods[method], seed)
        found = collect(kept_items(run, study.frozen_measures(method)))
        write_packed(aside / "outcomes" / f"{method}-{seed}.npz", found)
        entries.append(asdict(describe(study, layout, method, seed)))
    if size(aside) > budget:
        raise UserError(
            f"tables and outcomes of {study.name} take {size(aside) / 1e6:.1f} MB, more than the "
            f"{budget / 1e6:.0f} MB a study may take in git; freeze fewer seeds"
        )
    left_out = freeze_extras(study, layout, aside, runs, budget - ENTRY * len(runs))
    files.write_json(
        aside / "manifest.json",
        {
            "protocol": PROTOCOL,
            "study": study.config,
            "seeds": list(study.seeds),
            "data": dataset.manifest,
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


def describe(study: Study, layout: Layout, method: str, seed: int) -> SavedRun:
    """The manifest entry of a finished run."""
    representation = Representation(layout.embeddings(method, seed))
    facts, of = representation.meta, study.methods[method]
    return SavedRun(
        method=method,
        seed=seed,
        label=of.label,
        kind=of.kind,
        group=of.group,
        sizes=representation.sizes,
        draws=representation.draws,
        cost=facts["cost"],
        classifier_parameters=facts["classifier_parameters"],
        provenance=facts["provenance"],
    )


def check_seeds(study: Study, layout: Layout) -> None:
    """Raise UserError unless every table is of the study's seeds and no saved seed would be lost."""
    how = f"`snakemake --cores all save_baselines --config study={study.name} seeds=[…]`"
    manifest = layout.saved / "manifest.json"
    lost = set(files.read_json(manifest)["seeds"]) - set(study.seeds) if manifest.exists() else set()
    if lost:
        raise UserError(
            f"{layout.saved} holds seeds {sorted(lost)} too, which freezing seeds {list(study.seeds)} would "
            f"lose: name all of them ({how}), or remove the folder first"
        )
    for task in study.tasks:
        path = layout.table(task)
        # Tables that only compare methods are over all seeds at once.
        if path.exists() and {"items", "score"} & defined(EVALUATION.path(task)):
            found = sorted(set(pd.read_csv(path)["seed"]))
            if found and found != sorted(study.seeds):
                raise UserError(f"{path} is of seeds {found}, not {list(study.seeds)}: {how}")


def check_same_data(study: Study, layout: Layout, dataset: Dataset) -> None:
    """Raise UserError unless every run was embedded from the data that is there now."""
    for method in frozen_methods(study):
        for seed in study.seeds:
            made_on = Representation(layout.embeddings(method, seed)).meta["data_checksum"]
            if made_on != dataset.checksum:
                raise UserError(
                    f"{method}-{seed} was made on other data (checksum {made_on[:12]}…, now "
                    f"{dataset.checksum[:12]}…); run the study again before freezing it"
                )


def freeze_extras(study: Study, layout: Layout, aside: Path, runs, budget: int) -> dict[str, str]:
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
    first, *others = study.seeds
    # One seed of every source, then the other seeds of the source that methods start from by default.
    for method, seed in [*((m, first) for m in sources), *((m, seed) for m in sources for seed in others)]:
        network = method.networks[-1].name
        for name in ("checkpoint.pt", "log.csv", "meta.json"):
            copy_file(layout.network(network, seed) / name, aside / "networks" / f"{network}-{seed}" / name)
        keep(aside / "networks" / f"{network}-{seed}")
    for method, seed in runs:
        path = aside / "neighbours" / f"{method}-{seed}.npz"
        if study.methods[method].kind == "control":
            left_out[name_in(aside, path)] = "a control: its neighbours are noise or labels"
            continue
        if "neighbours" not in study.frozen_measures(method):
            continue
        arrays = read_outcomes(layout, method, seed, "neighbours")
        # Of random methods the first draw: ids of ten draws would take as much as all other methods.
        ids = {f"{query}/{database}": narrow(ids[0]) for query, database, ids in neighbour_ids(arrays)}
        write_packed(path, {"sizes": arrays["sizes"], **ids})
        keep(path)
    return left_out


def narrow(ids: np.ndarray) -> np.ndarray:
    """Ids in 16 bits where they fit."""
    return ids.astype(np.uint16) if ids.max() < 2**16 else ids


def copy_file(origin: Path, target: Path) -> None:
    """Copy one file that the study must have made; raises UserError when it has not."""
    if not origin.exists():
        raise UserError(f"{origin} is missing; run `snakemake --cores all {origin}`")
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
    layout = Layout(study.name)
    if args.command == "freeze":
        folder = freeze(study, layout)
        print(f"{folder}: {size(folder) / 1e6:.1f} MB")
    else:
        saved = Saved(layout.saved)
        print(f"{saved.folder}: {len(saved.runs)} runs, every file as it was frozen")
