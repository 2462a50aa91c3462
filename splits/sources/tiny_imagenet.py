"""Tiny ImageNet: photographs of 200 ImageNet classes, 64×64 pixels, in the official archive's layout.

A part of the classes is trained on, the rest are the unseen classes: their official validation images are
the `query`, training images the `database`. `val` is the official validation images of the seen classes.
The `stream` is long-tailed and takes training images that stand in no other split. There is no `v2`,
`sketch`, `r` or `a`: nobody has collected such images of Tiny ImageNet. Superclasses are WordNet synsets
that gather at least `superclass` of the classes.

Official layout, below tiny-imagenet-200/ in tiny-imagenet-200.zip:

    wnids.txt                          the 200 WordNet ids
    train/<wnid>/images/<wnid>_<n>.JPEG   n = 0 … 499
    val/images/val_<n>.JPEG            n = 0 … 9,999
    val/val_annotations.txt            file, wnid and a box, separated by tabs

Le and Yang, "Tiny ImageNet Visual Recognition Challenge", Stanford CS 231N, 2015.
"""

import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import pandas as pd

from splits import facts, sampling
from splits.given import decoded, hidden
from splits.images import fetching, pictures
from splits.store import DatasetWriter, class_table
from suite import files
from suite.errors import UserError

WRITES = ("train", "val", "superclasses")
MAY_WRITE = {"database": ["unseen"], "query": ["unseen"], "stream": ["unseen"]}
OUTSIDE = True
OPTIONS = {
    "file": None,  # path of the archive; None: tiny-imagenet-200.zip below data/, fetched if missing
    "seed": 0,  # chooses the unseen classes, the images of each split and the stream's order
    "size": 32,  # side of an image in pixels; the photographs have 64
    "images": 500,  # training images of a class that may be used at all: the first so many by number
    "unseen": 100,  # classes of 200 that are not trained on
    "train": 400,  # images of a seen class to train on; what is left of `images` may be in the stream
    "database": 400,  # images of an unseen class to search; the same
    "stream_head": 100,  # images of the stream's most frequent class
    "stream_tail": 2,  # images of its rarest
    "superclass": 5,  # classes a superclass has, at least
}
ALLOWED = {
    "file": {"type": "string"},
    "size": {"minimum": 1, "maximum": 8192},
    "images": {"minimum": 1, "maximum": 500},
    "unseen": {"maximum": 199},
    "train": {"minimum": 1},
    "database": {"minimum": 1},
    "stream_head": {"minimum": 1},
    "stream_tail": {"minimum": 1, "not_above": "stream_head"},
    "superclass": {"minimum": 1},
}

ARCHIVE = "tiny-imagenet-200.zip"
ADDRESS = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
SHA256 = "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821"
VAGUE = 0.25  # a synset above a larger share of the classes ("artifact") says little: no superclass


def build(writer: DatasetWriter, options: dict, threads: int) -> None:
    """Write train, val, database, query and stream.

    Raises UserError for a missing or damaged archive and for options that leave a split without images.
    """
    path = find(options)
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is not a whole .zip; put the official archive in its place")
    with zipfile.ZipFile(path) as archive:
        members = read_members(archive, path)
        photographs = members[members["number"] < options["images"]]
        classes = choose_classes(sorted(members["wnid"].unique()), options)
        writer.classes(classes)
        rows = photographs.merge(classes[["wnid", "label", "seen"]], on="wnid")
        rows = rows.assign(class_id=rows["wnid"], item=rows["id"].str.rpartition("/")[2])
        table = sampling.assign(rows, options)[["split", "label", "id", "wnid", "group"]]
        table["file"] = [archive.read(member) for member in table["id"]]
    target = pictures.Format(options["size"], channels=3)
    pictures.write_splits(writer, table, target, threads)


def outside(options: dict) -> dict:
    """What decides the data beside the options: an archive that is named. The official one has its digest.

    Raises UserError where it is missing.
    """
    return {"file": files.outside(find(options))} if options["file"] is not None else {}


def find(options: dict) -> Path:
    """The archive: the one that was named, the user's copy, or fetched."""
    if options["file"] is not None:
        path = Path(options["file"]).expanduser()
        if not path.is_file():
            raise UserError(f"tiny_imagenet: no file {path} (data.file); the archive is at {ADDRESS}")
        return path
    return fetching.locate(ARCHIVE, ADDRESS, SHA256)


def read_members(archive: zipfile.ZipFile, path: Path) -> pd.DataFrame:
    """One row per labelled image: id (its member), wnid, number, official split ("train" or "val").

    Raises UserError when the archive is not in the official layout.
    """
    names = [name for name in archive.namelist() if not hidden(name)]
    annotations = [name for name in names if name.endswith("val/val_annotations.txt")]
    if len(annotations) != 1:
        raise UserError(
            f"{path} has no val/val_annotations.txt: expected the official layout, tiny-imagenet-200/ with "
            "train/<wnid>/images/*.JPEG, val/images/*.JPEG and val/val_annotations.txt"
        )
    lines = decoded(archive.read(annotations[0]), annotations[0]).splitlines()
    wnid_of = dict(line.split("\t")[:2] for line in lines if line)
    rows = []
    for name in (name for name in names if name.endswith(".JPEG")):
        place = PurePosixPath(name)
        wnid, _, number = place.stem.rpartition("_")
        if "train" in place.parts:
            if not number.isdecimal():
                raise UserError(
                    f"{path}: {name} is not called <wnid>_<number>.JPEG, as in the official archive"
                )
            rows.append((name, wnid, int(number), "train"))
        elif "val" in place.parts:
            if place.name not in wnid_of:
                raise UserError(f"{path}: {name} has no line in {annotations[0]}")
            rows.append((name, wnid_of[place.name], 0, "val"))
    table = pd.DataFrame(rows, columns=["id", "wnid", "number", "official"])
    trained = set(table.loc[table["official"] == "train", "wnid"])
    known = set(facts.imagenet1k_classes()["wnid"]) & trained
    if strange := sorted(set(table["wnid"]) - known):
        raise UserError(f"{path}: no ImageNet-1K class, or without training images: {strange[:5]}")
    if not trained:
        raise UserError(f"{path} holds no training images (train/<wnid>/images/*.JPEG)")
    return table


def choose_classes(wnids: list[str], options: dict) -> pd.DataFrame:
    """The class table: seen classes first, either group by wnid."""
    seen, unseen = sampling.divide(wnids, options["unseen"], options["seed"])
    order = [*seen, *unseen]
    groups = wordnet_groups(order, options["superclass"])
    names = facts.imagenet1k_classes().set_index("wnid")["unique_name"][order].tolist()
    return class_table(names, [groups.get(wnid, "") for wnid in order], len(seen), wnid=order)


def wordnet_groups(wnids: Iterable[str], smallest: int) -> dict[str, str]:
    """Superclass of every class that has one: the smallest WordNet ancestor that still gathers `smallest`.

    Ancestors are asked in order of how many classes they have (then of their ids), and take those that are
    not taken yet: some dogs are "dog", a lone cat is with the "carnivore".
    """
    names = facts.synsets()["name"]
    below: dict[str, set[str]] = {}
    for wnid in wnids:
        for ancestor in facts.ancestors([wnid]):
            below.setdefault(ancestor, set()).add(wnid)
    left, groups = set(wnids), {}
    for ancestor in sorted(below, key=lambda a: (len(below[a]), a)):
        members = below[ancestor] & left
        if len(members) >= smallest and len(below[ancestor]) <= VAGUE * len(wnids):
            groups |= dict.fromkeys(members, names[ancestor])
            left -= members
    return groups
