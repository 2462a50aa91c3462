"""Baselines frozen in results/saved/<study>/: small enough for git, enough to judge a new method by.

    manifest.json                     conditions, runs and costs, what was left out, SHA-256 of every file
    tables/<task>.csv                 the tables as they were
    outcomes/<method>-<seed>.npz      per test item: hits of each size, relevance of the first 10 neighbours
    neighbours/<method>-<seed>.npz    ids of the first 10 neighbours
    networks/<network>-<seed>/        weights of the networks that methods on frozen embeddings start from

Freezing is a command (`snakemake --cores all save_baselines`, or `python -m analysis.saved freeze`), never a
part of the workflow: no rule makes these files, so nothing can overwrite or delete them by the way.

AP@10 is not stored: it is a function of the ten relevance bits, which are exact and smaller.
"""

import argparse
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.metrics import average_precision, relevance, topk_hits
from analysis.run import read_outcomes
from baselines.representation import Representation
from splits.store import Dataset
from suite import cli, files
from suite.contracts import EVALUATION
from suite.errors import UserError, unknown
from suite.layout import Layout
from suite.provenance import provenance
from suite.study import Method, Study

PROTOCOL = 1
"""Raised when a number of the suite comes to mean something else; other protocols are not compared."""

BUDGET = 20_000_000
"""Bytes a study may take in git; networks and neighbour ids are left out, last seeds first, to keep it."""

ENTRY = 3_000  # bytes that a run takes in the manifest, its files' checksums included

FIRST = 10  # neighbours of which relevance and ids are kept
MEASURED = ("predict", "neighbours", "classmeans", "cross_modal")  # what outcomes are collected from
SHOTS = 5  # labelled images per class of the few-shot comparison
SOURCES = ("fixed_feature", "mrl")  # methods whose full-size network others start from
SAVED = "saved_"  # in front of a source's name: its network is the frozen one


# --- raw outcomes, as they are compared -----------------------------------------------------------


@dataclass(frozen=True)
class Comparable:
    """Something measured on each test item, on which two methods can be compared.

    task, split, metric: as in the tables. data: splits it depends on. sizes, array: names in what `collect`
    returns. value: from the array [draws, S, n, …] to one number per item [draws, S, n].
    main: whether it belongs to the short answer.
    """

    task: str
    split: str
    metric: str
    data: tuple[str, ...]
    sizes: str
    array: str
    value: Callable[[np.ndarray], np.ndarray] = lambda array: array
    main: bool = False

    @property
    def measure(self) -> str:
        """What it is measured by, a file of analysis/."""
        return self.sizes.partition("/")[0]

    @property
    def name(self) -> str:
        """For people: "linear top1 (val)"."""
        return f"{self.task} {self.metric} ({self.split})"


def _linear(split: str, metric: str, array: str, *, task: str = "linear", main: bool = False) -> Comparable:
    return Comparable(task, split, metric, ("train", split), "predict/sizes", array, main=main)


def _retrieval(query: str, database: str, *, main: bool = False) -> Comparable:
    array = f"{query}/{database}/relevant"
    data = tuple(dict.fromkeys(("train", query, database)))
    return Comparable(
        "retrieval",
        query,
        "map@10",
        data,
        "neighbours/sizes",
        array,
        lambda rel: average_precision(rel, FIRST),
        main,
    )


COMPARABLES = (
    _linear("val", "top1", "val/top1", main=True),
    Comparable(
        "knn",
        "val",
        "top1",
        ("train", "val"),
        "neighbours/sizes",
        "val/train/relevant",
        lambda rel: rel[..., 0],
        main=True,
    ),
    _retrieval("val", "train", main=True),
    _retrieval("query", "database", main=True),
    _linear("v2", "top1", "v2/top1"),
    _linear("sketch", "top1", "sketch/top1"),
    _linear("r", "top1", "r/restricted", task="robustness"),
    _linear("a", "top1", "a/restricted", task="robustness"),
    _retrieval("v2", "train"),
    Comparable("fewshot", "v2", "top1", ("train", "v2"), "classmeans/sizes", "fewshot/top1"),
    Comparable("longtail", "stream", "top1", ("train", "stream"), "classmeans/sizes", "stream/top1"),
)
"""Everything a new method is compared on; an evaluation that saves outcomes per item adds a line here."""


def collect(outcomes: dict[str, dict[str, np.ndarray]], dataset: Dataset) -> dict[str, np.ndarray]:
    """Outcomes per item from the raw outcomes of one run: [draws, S, n] and, for retrieval, [..., 10].

    outcomes: arrays by measure. Besides, "<measure>/sizes" int64 [S].
    """
    found = {}
    for measure, arrays in outcomes.items():
        found[f"{measure}/sizes"] = np.asarray(arrays["sizes"], np.int64)
        for name, array in COLLECTED[measure](arrays, dataset):
            found[name] = array
    return found


def _predictions(arrays, dataset: Dataset) -> Iterator[tuple[str, np.ndarray]]:
    """Hits of the method's own classifier; where a split has some of the classes only, among these."""
    for name in arrays:
        split, _, kind = name.partition("/")
        if split in dataset and kind == "top5":
            for k in (1, 5):
                if k <= arrays[name].shape[-1]:
                    yield f"{split}/top{k}", topk_hits(arrays[name], dataset.labels(split), k)
        elif split in dataset and kind == "restricted":
            yield name, arrays[name] == dataset.labels(split)


def _neighbours(arrays, dataset: Dataset) -> Iterator[tuple[str, np.ndarray]]:
    """Whether each of the first neighbours has the query's label."""
    for query, database, ids in neighbour_ids(arrays):
        labels = dataset.labels(database)
        yield f"{query}/{database}/relevant", relevance(labels[ids], dataset.labels(query))


def neighbour_ids(arrays) -> Iterator[tuple[str, str, np.ndarray]]:
    """(query split, database split, ids int32 [draws, S, n, ≤ 10]) of the outcomes of `neighbours`."""
    for name in arrays:
        query, _, rest = name.partition("/")
        if rest.endswith("/ids"):
            ids = arrays[name][..., :FIRST]
            if (ids < 0).any():
                raise ValueError(f"{name} has gaps: a size that a view of the method does not serve")
            yield query, rest.removesuffix("/ids"), ids


def _class_means(arrays, dataset: Dataset) -> Iterator[tuple[str, np.ndarray]]:
    """Share of the choices of labelled images in which an item is recognised, and hits along the stream."""
    if "fewshot/hits" in arrays and SHOTS in arrays["fewshot/shots"]:
        hits = arrays["fewshot/hits"][:, :, arrays["fewshot/shots"].tolist().index(SHOTS)]
        tested = (hits >= 0).sum(2)  # the same for every size and draw: the choices are the study's
        some = (tested > 0).all((0, 1))
        yield "fewshot/top1", ((hits == 1).sum(2)[..., some] / tested[..., some]).astype(np.float32)
    if "stream/predicted" in arrays:
        yield "stream/top1", arrays["stream/predicted"] == dataset.labels("stream")


def _captions(arrays, dataset: Dataset) -> Iterator[tuple[str, np.ndarray]]:
    """Whether an image's nearest caption is its own: zero-shot hits, of unseen classes in `query`."""
    for name in arrays:
        split, _, what = name.partition("/")
        if what == "to_text":
            yield f"{split}/zero_shot", arrays[name][..., 0] == dataset.labels(split)


COLLECTED = {
    "predict": _predictions,
    "neighbours": _neighbours,
    "classmeans": _class_means,
    "cross_modal": _captions,
}


# --- files ----------------------------------------------------------------------------------------


def write_packed(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays as an .npz that numpy opens, bits packed eight to a byte, compressed by LZMA.

    bool arrays become uint8 with their shape beside them ("<name>:shape"). The same arrays give the same
    bytes.
    """
    with (
        files.write_aside(path) as aside,
        zipfile.ZipFile(aside, "w", zipfile.ZIP_LZMA) as archive,
    ):
        for name, array in _packed(arrays):
            info = zipfile.ZipInfo(f"{name}.npy")  # its date is 1980: the same bytes every time
            info.compress_type = archive.compression
            with archive.open(info, "w") as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)


def _packed(arrays: dict[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    for name, array in arrays.items():
        if array.dtype == bool:
            yield name, np.packbits(array)
            yield f"{name}:shape", np.array(array.shape, np.int64)
        else:
            yield name, array


def read_packed(path: Path) -> dict[str, np.ndarray]:
    """What `write_packed` was given."""
    with np.load(path) as archive:
        arrays = dict(archive)
    for name in [name for name in arrays if name.endswith(":shape")]:
        shape, of = arrays.pop(name), name.removesuffix(":shape")
        arrays[of] = np.unpackbits(arrays[of], count=int(np.prod(shape))).astype(bool).reshape(shape)
    return arrays


@dataclass(frozen=True)
class SavedRun:
    """One frozen method and seed: its manifest entry.

    kind, group, label: as in the study; draws: random draws that were averaged; cost and
    classifier_parameters: as its embeddings' meta.json has them; provenance: what it was made with.
    """

    method: str
    seed: int
    label: str
    kind: str
    group: str
    sizes: tuple[int, ...]
    draws: int
    cost: dict
    classifier_parameters: dict
    provenance: dict


class Saved:
    """The frozen baselines of one study.

    Raises UserError when there are none, when a file is missing, changed or added, and for a run that was
    not saved.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        if not (self.folder / "manifest.json").exists():
            there = sorted(path.parent.name for path in self.folder.parent.glob("*/manifest.json"))
            raise UserError(
                f"no saved baselines in {self.folder} (saved are: {', '.join(there) or 'none'}); "
                "run the study and freeze it: `snakemake --cores all save_baselines --config study=…`"
            )
        self.manifest = files.read_json(self.folder / "manifest.json")
        self.check()
        self.runs = {
            (run["method"], run["seed"]): SavedRun(**run | {"sizes": tuple(run["sizes"])})
            for run in self.manifest["runs"]
        }

    def check(self) -> None:
        """Compare every file with its checksum; raises UserError naming those that differ."""
        listed = self.manifest["files"]
        there = {name_in(self.folder, path) for path in self.folder.rglob("*") if path.is_file()}
        wrong = {
            "missing": sorted(set(listed) - there),
            "not in the manifest": sorted(there - set(listed) - {"manifest.json"}),
            "changed": sorted(
                name for name in there & set(listed) if files.sha256(self.folder / name) != listed[name]
            ),
        }
        found = "; ".join(f"{what}: {', '.join(names)}" for what, names in wrong.items() if names)
        if found:
            raise UserError(
                f"the saved baselines in {self.folder} are not as they were frozen ({found}); "
                f"restore them from git: `git checkout -- {self.folder}`"
            )

    def refuse(self, dataset: Dataset) -> None:
        """Raise UserError when nothing can be compared: another protocol, or other training data.

        The methods saved were trained on this training split; other splits are looked at one by one.
        """
        protocol = self.manifest["protocol"]
        if protocol != PROTOCOL:
            raise UserError(
                f"the baselines in {self.folder} follow protocol {protocol}, this suite protocol {PROTOCOL}: "
                "their numbers mean different things; freeze the baselines again"
            )
        if "train" in self.other_splits(dataset):
            raise UserError(
                f"the saved baselines were trained on other data: checksum of train "
                f"{checksum(self.manifest['data'], 'train')}, here {checksum(dataset.manifest, 'train')} "
                f"({dataset.folder}); comparing them would say nothing about the method"
            )

    def other_splits(self, dataset: Dataset) -> set[str]:
        """Splits that are not the same here as when the baselines were saved."""
        there, here = self.manifest["data"]["splits"], dataset.manifest["splits"]
        return {
            split
            for split in {*there, *here}
            if there.get(split, {}).get("sha256") != here.get(split, {}).get("sha256")
        }

    @cached_property
    def methods(self) -> dict[str, list[int]]:
        """Seeds by method, in the order they were saved in."""
        found: dict[str, list[int]] = {}
        for method, seed in self.runs:
            found.setdefault(method, []).append(seed)
        return found

    def require(self, methods: Iterable[str]) -> None:
        """Raise UserError for a method that was not saved."""
        for method in methods:
            if method not in self.methods:
                raise unknown("saved method", method, self.methods, self.folder / "manifest.json")

    def run(self, method: str, seed: int) -> SavedRun:
        """The manifest entry of a run."""
        self.require([method])
        if (method, seed) not in self.runs:
            raise UserError(
                f"{method} was saved with seeds {self.methods[method]}, not {seed}; see {self.folder}"
            )
        return self.runs[method, seed]

    def outcomes(self, method: str, seed: int) -> dict[str, np.ndarray]:
        """What `collect` returned for a run."""
        self.run(method, seed)
        return read_packed(self.folder / "outcomes" / f"{method}-{seed}.npz")

    def neighbours(self, method: str, seed: int) -> dict[str, np.ndarray]:
        """Ids of the first 10 neighbours, uint16 or int32 [S, n, 10] by "<query>/<database>"."""
        self.run(method, seed)
        path = self.folder / "neighbours" / f"{method}-{seed}.npz"
        if not path.exists():
            raise UserError(f"neighbour ids of {method}-{seed} were not saved: {self._left_out(path)}")
        return read_packed(path)

    def network(self, network: str, seed: int) -> Path:
        """Folder of a frozen network."""
        folder = self.folder / "networks" / f"{network}-{seed}"
        if not folder.exists():
            there = sorted(path.name for path in (self.folder / "networks").glob("*"))
            raise UserError(
                f"the network {network}-{seed} is not among the saved ones ({', '.join(there) or 'none'}): "
                f"{self._left_out(folder)}"
            )
        return folder

    def _left_out(self, path: Path) -> str:
        return self.manifest["left_out"].get(name_in(self.folder, path), "it was never part of them")


def name_in(folder: Path, path: Path) -> str:
    """A file's name in the manifest: its path below the folder."""
    return path.relative_to(folder).as_posix()


def checksum(manifest: dict, split: str) -> str:
    """First digits of a split's checksum in a data manifest, "none" where there is no such split."""
    return manifest["splits"].get(split, {}).get("sha256", "none")[:12]


def source_of(method: Method) -> str | None:
    """Name of the trained method that a new method starts from."""
    return method.source and method.source.removeprefix(SAVED)


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
    methods = sorted(measured_methods(study), key=lambda name: study.methods[name].group != "baselines")
    runs = [(method, seed) for seed in study.seeds for method in methods]
    entries = []
    for task in study.tasks:
        copy(layout.table(task), aside / "tables" / f"{task}.csv")
    for method, seed in runs:
        found = collect(measured(layout, method, seed, measures(study, method)), dataset)
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


def measured_methods(study: Study) -> list[str]:
    """Methods with outcomes that are kept, in the order of the study's file."""
    return [name for name in study.methods if measures(study, name)]


def measures(study: Study, method: str | None = None) -> list[str]:
    """Measures to collect from: those of the study's evaluations, of one method or of any."""
    have = {measure for name, measure in study.measured() if method in (None, name)}
    return [measure for measure in MEASURED if measure in have]


def measured(layout: Layout, method: str, seed: int, wanted: list[str]) -> dict[str, np.lib.npyio.NpzFile]:
    """Raw outcomes of one run by measure, opened lazily."""
    return {measure: read_outcomes(layout, method, seed, measure) for measure in wanted}


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
        if path.exists() and hasattr(EVALUATION.load(task), "score"):
            found = sorted(set(pd.read_csv(path)["seed"]))
            if found and found != sorted(study.seeds):
                raise UserError(f"{path} is of seeds {found}, not {list(study.seeds)}: {how}")


def check_same_data(study: Study, layout: Layout, dataset: Dataset) -> None:
    """Raise UserError unless every run was embedded from the data that is there now."""
    for method in measured_methods(study):
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
            copy(layout.network(network, seed) / name, aside / "networks" / f"{network}-{seed}" / name)
        keep(aside / "networks" / f"{network}-{seed}")
    for method, seed in runs:
        path = aside / "neighbours" / f"{method}-{seed}.npz"
        if study.methods[method].kind == "control":
            left_out[name_in(aside, path)] = "a control: its neighbours are noise or labels"
            continue
        if "neighbours" not in measures(study, method):
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


def copy(origin: Path, target: Path) -> None:
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


if __name__ == "__main__":
    cli.run(main)
