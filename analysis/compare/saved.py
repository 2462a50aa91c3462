"""Baselines frozen in results/saved/<study>/: small enough for git, enough to judge a new method by.

    manifest.json                     conditions, runs and costs, what was left out, SHA-256 of every file
    tables/<task>.csv                 the tables as they were
    outcomes/<method>-<seed>.npz      per test item: hits of each size, relevance of the first 10 neighbours
    neighbours/<method>-<seed>.npz    ids of the first 10 neighbours
    networks/<network>-<seed>/        weights of the networks that methods on frozen embeddings start from
    logs/<network>-<seed>.csv         the training of every network, epoch by epoch
    search.csv                        the search for settings of the recipe `tuned`, where there was one

Which arrays there are, and their names, the evaluations say (`items` in analysis/evaluations/). AP@10 is not
stored: it is a function of the ten relevance bits, which are exact and smaller.
"""

import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from splits.store import JUDGEMENTS, Dataset
from suite import files
from suite.errors import UserError, unknown
from suite.study import SAVED, Method, Study

PROTOCOL = 2
"""Raised when a number of the suite comes to mean something else; newer protocols are not compared."""

WITHHELD = {
    1: ("fitted", "linear", "it was saved with one probe penalty for all sizes: too low at small ones")
}
"""What of older protocols is not compared: the kind of method, the evaluation, and why."""

MAIN = ("judged_retrieval", "knn", "linear")
"""Of data that come with embeddings: a method is compared on one of these at least."""


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
                "run the study and freeze it: `snakemake --cores all save_baselines --config "
                f"study={self.folder.name}`, or the path of its file"
            )
        restore = f"restore it from git: `git checkout -- {self.folder}`"
        self.manifest = files.read_json(self.folder / "manifest.json", advice=restore)
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

    @cached_property
    def methods(self) -> dict[str, list[int]]:
        """Seeds by method, in the order they were saved in."""
        return {method: [seed for name, seed in self.runs if name == method] for method, _ in self.runs}

    def refuse(self, dataset: Dataset) -> None:
        """Raise UserError when nothing can be compared: a protocol that is not known, or other training data.

        The methods saved were trained or fitted on this split; other splits are looked at one by one.
        """
        protocol = self.manifest["protocol"]
        if protocol not in (*WITHHELD, PROTOCOL):
            raise UserError(
                f"the baselines in {self.folder} follow protocol {protocol}, this suite protocol {PROTOCOL}: "
                "their numbers mean different things; freeze the baselines again"
            )
        if self.learned in self.other_splits(dataset):
            there, here = self.checksums(dataset, self.learned)
            raise UserError(
                f"the saved baselines were trained on other data: checksum of {self.learned} {there}, here "
                f"{here} ({dataset.folder}); comparing them would say nothing about the method"
            )

    @property
    def learned(self) -> str:
        """The split that methods learn from: of a text collection its documents."""
        return "train" if "train" in self.manifest["data"]["splits"] else "corpus"

    def withheld(self, method: str) -> dict[str, str]:
        """Why a method is not compared on an evaluation, by its name."""
        kind, task, why = WITHHELD.get(self.manifest["protocol"], ("", "", ""))
        return {task: why} if self.runs[method, self.methods[method][0]].kind == kind else {}

    def checksums(self, dataset: Dataset, split: str) -> tuple[str, str]:
        """First digits of a split's checksum (there, here), "none" where there is no such split."""
        manifests = (self.manifest["data"], dataset.manifest)
        return tuple(checksums_of(each).get(split, "none")[:12] for each in manifests)

    def other_splits(self, dataset: Dataset) -> set[str]:
        """Splits that are not the same here as when the baselines were saved."""
        there, here = map(checksums_of, (self.manifest["data"], dataset.manifest))
        return {split for split in {*there, *here} if there.get(split) != here.get(split)}

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
        """What evaluations keep of a run, by name: see freeze.collect."""
        self.run(method, seed)
        return read_packed(self.folder / "outcomes" / f"{method}-{seed}.npz")

    def neighbours(self, method: str, seed: int) -> dict[str, np.ndarray]:
        """Ids of the first 10 neighbours, uint16 or int32 [S, n, 10] by "<query>/<database>"."""
        self.run(method, seed)
        path = self.folder / "neighbours" / f"{method}-{seed}.npz"
        if not path.exists():
            raise UserError(f"neighbour ids of {method}-{seed} were not saved: {self._left_out(path)}")
        return read_packed(path)

    def has_network(self, network: str, seed: int) -> bool:
        """Whether a network's weights were kept."""
        return (self.folder / "networks" / f"{network}-{seed}").exists()

    def network(self, network: str, seed: int) -> Path:
        """Folder of a frozen network."""
        folder = self.folder / "networks" / f"{network}-{seed}"
        if not self.has_network(network, seed):
            there = sorted(path.name for path in (self.folder / "networks").glob("*"))
            raise UserError(
                f"the network {network}-{seed} is not among the saved ones ({', '.join(there) or 'none'}): "
                f"{self._left_out(folder)}"
            )
        return folder

    def _left_out(self, path: Path) -> str:
        return self.manifest["left_out"].get(name_in(self.folder, path), "it was never part of them")


def checksums_of(manifest: dict) -> dict[str, str]:
    """By split of a data manifest its checksum; where it has judgements, one of both."""
    marks = manifest.get("files", {})
    found = {name: facts["sha256"] for name, facts in manifest["splits"].items()}
    judged = {name: marks[file] for name, file in JUDGEMENTS.items() if name in found and file in marks}
    return found | {name: files.config_hash([found[name], mark]) for name, mark in judged.items()}


def source_of(method: Method) -> str | None:
    """Name of the trained method that a new method starts from."""
    return method.source and method.source.removeprefix(SAVED)


def vectors_known_by(study: Study, method: Method) -> str | None:
    """The evaluation by which the vectors that a map starts from are known again; None: it starts from none.

    Theirs are measured here too, and have to be what is frozen of them: vectors lie with the user.
    """
    if not study.ready or method.source is None:
        return None
    return next(task for task in MAIN if task in study.tasks)


def name_in(folder: Path, path: Path) -> str:
    """A file's name in the manifest: its path below the folder."""
    return path.relative_to(folder).as_posix()
