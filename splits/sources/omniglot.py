"""Omniglot: handwriting in 50 alphabets, each character drawn once by each of 20 people.

The 964 characters of the background set are trained on, the 659 of the evaluation set are the unseen
classes; the alphabet is the superclass. Of the people 1 … 16 a share of the drawings is the test set `val`;
everything the others drew is `v2`: the same characters from hands that were never trained on. The unseen
characters' `query` images come from those hands too, the `database` from the rest. There is no `stream`:
with 20 drawings a class no class could be frequent.

Lake, Salakhutdinov and Tenenbaum, "Human-level concept learning through probabilistic program induction",
Science 2015; https://github.com/brendenlake/omniglot.
"""

import zipfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from splits.checks import check_share, check_whole
from splits.images import pictures
from splits.images.fetching import locate
from splits.store import DatasetWriter, class_table
from suite.errors import UserError

WRITES = ("train", "val", "v2", "database", "query", "superclasses")
OPTIONS = {
    "seed": 0,  # chooses which drawings are val
    "size": 32,  # side of an image in pixels; the drawings have 105
    "new_drawers": 4,  # people of 20 who are never trained on (v2 and query)
    "val_share": 0.2,  # share of the other people's drawings that are tested on
    "characters": 0,  # of each set, evenly over it; 0 = all (964 and 659)
}
ALLOWED = {
    "size": {"minimum": 1, "maximum": 8192},
    "new_drawers": {"minimum": 1, "maximum": 18},
    "val_share": {"exclusiveMinimum": 0, "exclusiveMaximum": 1},
}

ADDRESS = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"
ARCHIVES = {
    "images_background.zip": "0ca674f1c02257123afb1ae3337b536f9c4d0181ca780d9af318151efb4e45bc",
    "images_evaluation.zip": "fd45a41e89479c48ddc20ba2db00bee78297e97e337db2b9eba978d143193271",
}
DRAWERS = 20


def build(writer: DatasetWriter, options: dict, threads: int) -> None:
    """Write train, val, v2, database and query."""
    check(options)
    background, evaluation = (locate(name, ADDRESS + name, sha256) for name, sha256 in ARCHIVES.items())
    drawings = pd.concat([read(background, True, options), read(evaluation, False, options)])
    drawings["label"] = pd.factorize(drawings["name"])[0]
    classes = drawings.drop_duplicates("label")
    names, alphabets = classes["name"].tolist(), classes["superclass"].tolist()
    writer.classes(class_table(names, alphabets, classes["seen"].sum()))
    drawings["split"] = assign(drawings, options)
    table = drawings[["split", "label", "id", "drawer", "file"]]
    target = pictures.Format(options["size"], channels=1, inverted=True)
    pictures.write_splits(writer, table, target, threads)


def check(options: dict) -> None:
    """Raise UserError for options that are no numbers of their kind or leave a split empty."""
    check_whole("omniglot", options, seed=0, size=1, new_drawers=1, characters=0)
    check_share("omniglot", options, "val_share")
    if not 1 <= options["new_drawers"] <= DRAWERS - 2:
        raise UserError(
            f"omniglot: new_drawers is {options['new_drawers']}; {DRAWERS} people drew, allowed are 1 to "
            f"{DRAWERS - 2}"
        )
    known = DRAWERS - options["new_drawers"]
    if not 1 <= round(options["val_share"] * known) < known:
        raise UserError(
            f"omniglot: val_share {options['val_share']} of {known} people's drawings leaves nothing to "
            "train on or nothing to test on"
        )


def read(archive: Path, seen: bool, options: dict) -> pd.DataFrame:
    """One row per drawing: id (its member), file (its bytes), name, superclass, seen, drawer 1 … 20."""
    rows = []
    with zipfile.ZipFile(archive) as opened:
        members = sorted(PurePosixPath(name) for name in opened.namelist() if name.endswith(".png"))
        characters = sorted({member.parent for member in members})
        if options["characters"]:
            step = max(1, len(characters) // options["characters"])
            characters = characters[::step][: options["characters"]]
        wanted = set(characters)
        for member in (member for member in members if member.parent in wanted):
            alphabet = member.parent.parent.name.replace("_", " ")
            number = int(member.parent.name.removeprefix("character"))
            drawer = int(member.stem.rpartition("_")[2])
            rows.append(
                (str(member), opened.read(str(member)), f"{alphabet} {number:02d}", alphabet, seen, drawer)
            )
    if not rows:
        raise UserError(f"{archive} holds no drawings (<alphabet>/character<n>/<image>.png)")
    return pd.DataFrame(rows, columns=["id", "file", "name", "superclass", "seen", "drawer"])


def assign(drawings: pd.DataFrame, options: dict) -> np.ndarray:
    """The split of every drawing."""
    rng = np.random.default_rng([options["seed"], zlib.crc32(b"val")])
    known = DRAWERS - options["new_drawers"]
    tested = {
        label: set((rng.permutation(known) + 1)[: round(options["val_share"] * known)].tolist())
        for label in sorted(drawings.loc[drawings["seen"], "label"].unique())
    }
    labels, drawers, seen = (drawings[column].to_numpy() for column in ("label", "drawer", "seen"))
    of_val = np.array([drawer in tested.get(label, ()) for label, drawer in zip(labels, drawers)])
    new = drawers > known
    return np.select([seen & new, seen & of_val, seen, new], ["v2", "val", "train", "query"], "database")
