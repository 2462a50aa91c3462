"""Facts about ImageNet, read from the tables in this folder; README.md says where they are from."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

FOLDER = Path(__file__).parent


def synsets() -> pd.DataFrame:
    """Every ImageNet synset and its WordNet ancestors, sorted and indexed by `wnid`.

    name: the first lemma; images: int64, the count of the fall-2011 release (0 for a synset
    outside its 21,841); parents: tuple of wnids; index_1k: int64, the ImageNet-1K label (-1
    outside); in_4k, in_a, in_r: bool; superclass30: int64, 0 = reject (-1 outside ImageNet-1K).
    """
    # Copy-on-write keeps the cached table from the caller's edits.
    return _synsets().copy(deep=False)


@cache
def _synsets() -> pd.DataFrame:
    table = pd.read_csv(FOLDER / "synsets.csv.gz", dtype=str, keep_default_na=False)
    for column, absent in (("images", 0), ("index_1k", -1), ("superclass30", -1)):
        table[column] = table[column].replace("", str(absent)).astype(np.int64)
    for column in ("in_4k", "in_a", "in_r"):
        table[column] = table[column] == "1"
    table["parents"] = [tuple(parents.split()) for parents in table["parents"]]
    return table.set_index("wnid").sort_index()


@cache
def superclasses30() -> pd.DataFrame:
    """The reference's superclasses, indexed 0 (reject) … 30: wnid, name, unique_name."""
    table = pd.read_csv(FOLDER / "superclasses30.csv", dtype=str, keep_default_na=False)
    table["superclass30"] = table["superclass30"].astype(np.int64)
    table["unique_name"] = _unique_names(table["name"], table["wnid"])
    return table.set_index("superclass30")


def imagenet1k_classes() -> pd.DataFrame:
    """The 1,000 ImageNet-1K classes, indexed by label.

    Columns wnid, name, unique_name, superclass30, superclass, in_a, in_r; superclass is the unique
    name of superclass30, "reject" for the 533 classes outside the 30.
    """
    table = _synsets()
    table = table[table["index_1k"] >= 0].reset_index().sort_values("index_1k", ignore_index=True)
    table.index.name = "label"
    table["unique_name"] = _unique_names(table["name"], table["wnid"])
    table["superclass"] = table["superclass30"].map(superclasses30()["unique_name"])
    return table[["wnid", "name", "unique_name", "superclass30", "superclass", "in_a", "in_r"]]


def leaves(among: Iterable[str]) -> set[str]:
    """Those of `among` that have no descendant in `among`; paths may run through other synsets."""
    among = set(among)
    return among - ancestors(among)


def ancestors(wnids: Iterable[str]) -> set[str]:
    """Every hypernym of any of the synsets, up to the root."""
    parents, above, waiting = _parents(), set(), list(wnids)
    while waiting:
        new = [parent for parent in parents[waiting.pop()] if parent not in above]
        above.update(new)
        waiting.extend(new)
    return above


@cache
def _parents() -> dict[str, tuple[str, ...]]:
    return _synsets()["parents"].to_dict()


def _unique_names(names: pd.Series, wnids: pd.Series) -> pd.Series:
    """Names, with the wnid behind those that stand for two synsets ("crane (n02012849)")."""
    return names.where(~names.duplicated(keep=False), names + " (" + wnids + ")")
