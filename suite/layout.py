"""Where every file of a study lies, said once; the workflow and the command lines both ask here."""

from dataclasses import dataclass
from pathlib import Path

from suite.errors import UserError
from suite.modules import ROOT


def command(path: str | Path) -> str:
    """The command that makes a file of a study, whose name stands in its path: results/<kind>/<study>/…

    >>> command("results/data/omniglot/manifest.json")
    'snakemake --cores all results/data/omniglot/manifest.json --config study=omniglot'
    """
    parts = Path(path).parts
    study = parts[parts.index("results") + 2] if "results" in parts[:-2] else "…"
    if not (ROOT / "config" / "studies" / f"{study}.yaml").exists():
        study = f"<the file of the study {study}>"
    return f"snakemake --cores all {path} --config study={study}"


@dataclass(frozen=True)
class Layout:
    """Paths of one study below a results folder.

    data/         the splits: images, labels, classes            (splits/)
    networks/     one trained network: checkpoint, log, conditions (baselines/)
    embeddings/   one method and seed: features per split, classifiers (baselines/)
    outcomes/     raw outcomes per test item, one file per measure (analysis/)
    tables/, figures/, report/  what people read
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
    def searched(self) -> Path | None:
        """That table, else the frozen one; None where there is neither."""
        return next((path for path in (self.search, self.saved / "search.csv") if path.exists()), None)

    def require_search(self) -> Path:
        """`searched`. Raises UserError where nothing was searched for."""
        if self.searched is None:
            raise UserError(
                f"no settings were searched for: there is no {self.search} and none is frozen; run "
                f"`python -m baselines.tune --study {self.study} --method …`"
            )
        return self.searched

    @property
    def report(self) -> Path:
        """The page of the study."""
        return self.root / "report" / f"{self.study}.html"

    @property
    def compared(self) -> Path:
        """Pages that judge new methods, and for each the study with it."""
        return self.root / "compare" / self.study

    @property
    def saved(self) -> Path:
        """Frozen baselines, the part of results/ that is committed."""
        return self.root / "saved" / self.study
