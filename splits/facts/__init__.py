"""Facts about ImageNet, read from the tables in this folder; README.md says where they are from."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from suite.errors import unknown

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
def _superclasses30() -> pd.DataFrame:
    table = pd.read_csv(FOLDER / "superclasses30.csv", dtype=str, keep_default_na=False)
    table["superclass30"] = table["superclass30"].astype(np.int64)
    table = table.set_index("superclass30")
    table["unique_name"] = _unique_names(table["name"], table["wnid"])
    return table


def superclasses30() -> pd.DataFrame:
    """The reference's superclasses, indexed 0 (reject) … 30: wnid, name, unique_name."""
    return _superclasses30().copy(deep=False)


def imagenet1k_classes() -> pd.DataFrame:
    """The 1,000 ImageNet-1K classes, indexed by label.

    Columns wnid, name, unique_name, superclass30, superclass, in_a, in_r; superclass is the unique
    name of superclass30, "reject" for the 533 classes outside the 30.
    """
    table = _synsets()
    table = table[table["index_1k"] >= 0].reset_index().sort_values("index_1k", ignore_index=True)
    table.index.name = "label"
    table["unique_name"] = _unique_names(table["name"], table["wnid"])
    table["superclass"] = table["superclass30"].map(_superclasses30()["unique_name"])
    return table[["wnid", "name", "unique_name", "superclass30", "superclass", "in_a", "in_r"]]


def restricted_classes(which: str) -> np.ndarray:
    """ImageNet-1K labels of ImageNet-A ("a") or ImageNet-R ("r"): int64 [200], sorted.

    Raises UserError for another name.
    """
    if which not in ("a", "r"):
        raise unknown("restricted class list", which, ("a", "r"), "splits/facts/README.md")
    classes = imagenet1k_classes()
    return classes.index[classes[f"in_{which}"]].to_numpy(dtype=np.int64)


def descendants(wnid: str) -> list[str]:
    """All hyponyms of a synset among the table's, itself not included, sorted."""
    found: set[str] = set()
    waiting = [wnid]
    while waiting:
        new = [child for child in _children().get(waiting.pop(), ()) if child not in found]
        found.update(new)
        waiting.extend(new)
    return sorted(found)


def leaves(among: Iterable[str]) -> set[str]:
    """Those of `among` that have no descendant in `among`; paths may run through other synsets."""
    among = set(among)
    parents = _synsets()["parents"].to_dict()
    above: set[str] = set()
    waiting = list(among)
    while waiting:
        new = [parent for parent in parents[waiting.pop()] if parent not in above]
        above.update(new)
        waiting.extend(new)
    return among - above


@cache
def _children() -> dict[str, list[str]]:
    children: dict[str, list[str]] = {}
    for wnid, parents in _synsets()["parents"].items():
        for parent in parents:
            children.setdefault(parent, []).append(wnid)
    return children


def _unique_names(names: pd.Series, wnids: pd.Series) -> pd.Series:
    """Names, with the wnid behind those that stand for two synsets ("crane (n02012849)")."""
    return names.where(~names.duplicated(keep=False), names + " (" + wnids + ")")
