"""Where every file of a study lies, said once; the workflow and the command lines both ask here."""

from dataclasses import dataclass
from pathlib import Path

from suite.errors import UserError


@dataclass(frozen=True)
class Layout:
    """Paths of one study below a results folder.

    data/         the splits: images, labels, classes            (splits/)
    networks/     one trained network: checkpoint, log, conditions (baselines/)
    embeddings/   one method and seed: features per split, classifiers (baselines/)
    outcomes/     raw outcomes per test item, one file per measure (analysis/)
    tables/, figures/  what people read
    """

    study: str
    root: Path = Path("results")

    @property
    def data(self) -> Path:
        return self.root / "data" / self.study

    def network(self, network: str, seed: int | str) -> Path:
        return self.root / "networks" / self.study / f"{network}-{seed}"

    def embeddings(self, method: str, seed: int | str) -> Path:
        return self.root / "embeddings" / self.study / f"{method}-{seed}"

    def outcomes(self, method: str, seed: int | str, measure: str) -> Path:
        return self.root / "outcomes" / self.study / f"{method}-{seed}" / f"{measure}.npz"

    def table(self, task: str) -> Path:
        return self.root / "tables" / self.study / f"{task}.csv"

    def figure(self, figure: str, suffix: str = "png") -> Path:
        return self.root / "figures" / self.study / f"{figure}.{suffix}"

    @property
    def search(self) -> Path:
        """The trainings by which settings were chosen (baselines/tune.py)."""
        return self.root / "search" / f"{self.study}.csv"

    @property
    def searched(self) -> Path:
        """That table, else the frozen one. Raises UserError where there is neither."""
        frozen = self.saved / "search.csv"
        for path in (self.search, frozen):
            if path.exists():
                return path
        raise UserError(
            f"no settings were searched for: neither {self.search} nor {frozen} exists; run "
            f"`python -m baselines.tune --study {self.study} --method …`"
        )

    @property
    def saved(self) -> Path:
        """Frozen baselines, the part of results/ that is committed."""
        return self.root / "saved" / self.study
