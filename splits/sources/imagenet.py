"""ImageNet at the paper's scale: ImageNet-1K, V2, R, A, Sketch and ImageNet-4K, from their official folders.

    train/<wnid>/*.JPEG       ImageNet-1K, training images (class folders, or the 1,000 tars)
    val/<wnid>/*.JPEG         its 50,000 validation images, in class folders
    <v2>/<0 … 999>/*.jpeg     ImageNet-V2: folders are ImageNet-1K labels
    <r>/<wnid>/*.jpg          ImageNet-R and ImageNet-A: 200 classes each
    <sketch>/<wnid>/*.JPEG    ImageNet-Sketch
    <imagenet21k>             class folders or tars of ImageNet-21K, a manifest of them, or what
                              `python -m splits.imagenet4k` has made of them

Each becomes the split of its name, ImageNet-4K the `database` and the `query`; labels are 0 … 999 in the
order of WordNet ids, ImageNet-4K's follow. An entry that is null is left out. Images are stored as their
centre square, averaged down to `size`: at 256 its centre 224 is the usual evaluation crop. Training crops
come from that square too; what lies outside it in a wide image is never seen, unlike in the paper's recipe.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from splits import facts, imagenet4k
from splits.images.listing import list_images, open_source
from splits.images.pictures import Format, write_split
from splits.store import DatasetWriter, class_table
from suite import files
from suite.errors import UserError

WRITES = ("train", "val", "superclasses")
MAY_WRITE = {
    "v2": ["v2"],
    "r": ["r"],
    "a": ["a"],
    "sketch": ["sketch"],
    "database": ["imagenet21k"],
    "query": ["imagenet21k"],
}
OPTIONS = {
    "root": "data/imagenet",  # what the other paths are relative to; absolute ones are taken as they are
    "train": "train",
    "val": "val",
    "v2": "imagenetv2-matched-frequency-format-val",
    "r": "imagenet-r",
    "a": "imagenet-a",
    "sketch": "sketch",
    "imagenet21k": "imagenet21k",
    "size": 256,  # side of the stored square in pixels: 252 GB for train, 826 GB for ImageNet-4K's database
    "classes": None,  # WordNet ids to keep of ImageNet-1K; None: all 1,000
    "rule": "published",  # chooses ImageNet-4K's classes: "published" (4,202) or "stated" (6,167)
    "seed": 0,  # draws its images
    "database": 1000,  # images of each of its classes
    "query": 50,
    "counts": "published",  # its classes by published image counts, or by the images "found"
    "check_images": "decode",  # before drawing: "read" or "decode" each image, or null to trust the files
}
ALLOWED = {
    "v2": {"type": ["string", "null"]},
    "r": {"type": ["string", "null"]},
    "a": {"type": ["string", "null"]},
    "sketch": {"type": ["string", "null"]},
    "imagenet21k": {"type": ["string", "null"]},
    "size": {"minimum": 1, "maximum": 8192},
    "classes": {"type": "array", "minItems": 1, "items": {"type": "string"}},
    "rule": {"enum": ["published", "stated"]},
    "database": {"minimum": 1},
    "query": {"minimum": 1},
    "counts": {"enum": ["published", "found"]},
    "check_images": {"enum": ["read", "decode", None]},
}


@dataclass(frozen=True)
class Part:
    """One data set: what it is, where one gets it, what its folder holds."""

    name: str
    address: str
    layout: str


PARTS = {
    "train": Part(
        "ImageNet-1K training images",
        "https://image-net.org/download-images (ILSVRC2012_img_train.tar)",
        "<wnid>/*.JPEG in 1,000 folders, or <wnid>.tar 1,000 times",
    ),
    "val": Part(
        "ImageNet-1K validation images",
        "https://image-net.org/download-images (ILSVRC2012_img_val.tar, sorted into class folders)",
        "<wnid>/*.JPEG in 1,000 folders",
    ),
    "v2": Part(
        "ImageNet-V2, matched frequency",
        "https://huggingface.co/datasets/vaishaal/ImageNetV2",
        "0/*.jpeg … 999/*.jpeg",
    ),
    "r": Part("ImageNet-R", "https://github.com/hendrycks/imagenet-r", "<wnid>/*.jpg in 200 folders"),
    "a": Part(
        "ImageNet-A", "https://github.com/hendrycks/natural-adv-examples", "<wnid>/*.jpg in 200 folders"
    ),
    "sketch": Part(
        "ImageNet-Sketch", "https://github.com/HaohanWang/ImageNet-Sketch", "<wnid>/*.JPEG in 1,000 folders"
    ),
    "imagenet21k": Part(
        "ImageNet-21K, fall 2011, for ImageNet-4K",
        "https://image-net.org/download-images",
        "<wnid>/*.JPEG or <wnid>.tar, a manifest (path, wnid), or a build of splits.imagenet4k",
    ),
}
OUTSIDE = True
REQUIRED = ("train", "val")
OVERLAP = "ImageNet's official sets repeat some photographs, and are kept as they are"


def build(writer: DatasetWriter, options: dict, threads: int) -> None:
    """Write every split whose folder is named; what an earlier, stopped build has decoded is kept.

    Raises UserError that names all missing folders, before anything is written, or the classes that a folder
    lacks.
    """
    paths = find(options)
    seen = seen_classes(options)
    listed = {name: list_part(name, paths[name], seen) for name in paths if name != "imagenet21k"}
    unseen = None
    if "imagenet21k" in paths:
        unseen = unseen_images(paths["imagenet21k"], writer.folder / "imagenet4k", options, threads)
    # Rejected classes have no superclass; nor have those of ImageNet-4K.
    superclasses = seen["superclass"].where(seen["superclass30"] > 0, "").tolist()
    more = pd.DataFrame({"name": [], "wnid": []}) if unseen is None else unseen["classes"]
    names, wnids = [*seen["unique_name"], *more["name"]], [*seen["wnid"], *more["wnid"]]
    writer.classes(class_table(names, superclasses + [""] * len(more), len(seen), wnid=wnids))
    writer.keep_overlap(OVERLAP)
    target = Format(options["size"], channels=3, draft=True)
    for name, (table, root) in listed.items():
        write_split(writer, name, table, root, target, threads)
    if unseen is not None:
        for name in ("database", "query"):
            table = unseen[name].assign(label=unseen[name]["label"] + len(seen), id=unseen[name]["path"])
            write_split(writer, name, table[["label", "path", "id"]], unseen["root"], target, threads)


def outside(options: dict) -> dict:
    """What decides the data beside the options: the folders of images, tars or manifests of every part.

    Of a class folder its name and time of change, which another image, one less or a new name change; the
    images, up to 14 million, are not looked at one by one. Raises UserError for parts that are missing.
    """
    return {
        name: files.sha256(path / "manifest.json") if is_build(path) else open_source(path).fingerprint()
        for name, path in find(options).items()
    }


def find(options: dict) -> dict[str, Path]:
    """Where each part lies. Raises one UserError with every missing one, its source and its layout."""
    root = Path(options["root"]).expanduser()
    paths = {name: root / Path(options[name]).expanduser() for name in PARTS if options[name] is not None}
    if absent := [name for name in REQUIRED if name not in paths]:
        raise UserError(f"imagenet: {' and '.join(absent)} cannot be left out (data.{absent[0]})")
    if missing := [name for name, path in paths.items() if not path.exists()]:
        lines = [
            f"  data.{name}: {paths[name]}\n    {PARTS[name].name}, from {PARTS[name].address}\n"
            f"    expected there: {PARTS[name].layout}"
            for name in missing
        ]
        raise UserError(
            "imagenet: missing data; put it there, name another place in the study's file, or leave a part "
            "other than train and val out with null:\n" + "\n".join(lines)
        )
    return paths


def seen_classes(options: dict) -> pd.DataFrame:
    """The ImageNet-1K classes of the study, labelled 0, 1, …: wnid, unique_name, superclass30, index_1k …

    Raises UserError for a WordNet id that is not in ImageNet-1K.
    """
    classes = facts.imagenet1k_classes().rename_axis("index_1k").reset_index()
    if options["classes"] is None:
        return classes
    if strange := sorted(set(options["classes"]) - set(classes["wnid"])):
        raise UserError(f"data.classes names {', '.join(strange[:5])}, not in ImageNet-1K")
    return classes[classes["wnid"].isin(options["classes"])].reset_index(drop=True)


def list_part(name: str, path: Path, seen: pd.DataFrame) -> tuple[pd.DataFrame, Path]:
    """(one row per image by label and path: label, path, id; the folder that paths are relative to).

    Raises UserError naming classes that have no images there.
    """
    wanted = seen
    if name in ("r", "a"):
        wanted = seen[seen[f"in_{name}"]]
        if wanted.empty:
            raise UserError(
                f"imagenet: none of data.classes is in {PARTS[name].name}; leave it out (data.{name}: null)"
            )
    label_of = dict(zip(wanted["index_1k"].astype(str) if name == "v2" else wanted["wnid"], wanted.index))
    # Released folders also hold a README: only what is a class is looked at.
    source = open_source(path)
    listing = list_images(source, label_of.keys())
    listed = dict(zip(listing.classes, listing.listed.tolist()))
    if empty := [class_id for class_id in label_of if listed.get(class_id, 0) <= 0]:
        # As the official archive of validation images unpacks.
        flat = " (images lie in it unsorted)" if any(path.glob("ILSVRC2012_val_*.JPEG")) else ""
        raise UserError(
            f"imagenet: {path}{flat} lacks images of {len(empty)} of {len(label_of)} classes "
            f"({', '.join(empty[:5])}{' …' if len(empty) > 5 else ''}); expected {PARTS[name].layout}, from "
            f"{PARTS[name].address}"
        )
    labels = np.array([label_of.get(class_id, -1) for class_id in listing.classes], np.int64)[listing.codes]
    table = pd.DataFrame({"label": labels, "path": listing.paths})
    table = table[table["label"] >= 0].sort_values(["label", "path"], ignore_index=True)
    return table.assign(id=name + "/" + table["path"]), source.root


def unseen_images(path: Path, out: Path, options: dict, threads: int) -> dict:
    """ImageNet-4K: root, classes (label, wnid, name), database and query (path, wnid, label).

    path: a build of splits.imagenet4k, or what one can be made from; it is made in `out`, once.
    """
    built = path
    per_class = {split: options[split] for split in ("query", "database")}
    asked = {key: options[key] for key in ("rule", "seed", "counts")} | {"per_class": per_class}
    asked["check"] = options["check_images"]
    if is_build(path):
        check_build(path, asked)
    else:
        built = out
        if not (is_build(out) and made_with(out, path, asked)):
            print(f"imagenet: choosing ImageNet-4K's classes and images from {path}", file=sys.stderr)
            imagenet4k.build(path, out, threads=threads, **asked)
    manifest = files.read_json(built / "manifest.json")
    tables = {
        name: pd.read_csv(built / f"{name}.csv", dtype={"path": str, "wnid": str}, keep_default_na=False)
        for name in ("classes", "database", "query")
    }
    return tables | {"root": Path(manifest["root"])}


def is_build(path: Path) -> bool:
    """Whether a folder is what splits.imagenet4k writes."""
    manifest = path / "manifest.json"
    return manifest.is_file() and files.read_json(manifest).get("builder") == "imagenet4k"


def check_build(path: Path, asked: dict) -> None:
    """Raise UserError when a ready build has other settings, or its images are not where they were."""
    manifest = files.read_json(path / "manifest.json")
    for key in ("rule", "seed", "counts", "per_class"):
        if manifest[key] != asked[key]:
            raise UserError(
                f"{path / 'manifest.json'} was made with {key} {manifest[key]}, the study asks for "
                f"{asked[key]}: change `data` in its file, or build again (python -m splits.imagenet4k)"
            )
    if not Path(manifest["root"]).exists():
        raise UserError(
            f"the images of {path} lay in {manifest['root']}, which is not there; put them back, or build "
            "again (python -m splits.imagenet4k)"
        )


def made_with(out: Path, path: Path, asked: dict) -> bool:
    """Whether the build in `out` is of these images with these settings."""
    manifest = files.read_json(out / "manifest.json")
    made = {key: manifest["checked" if key == "check" else key] for key in asked}
    return made == asked and imagenet4k.identity(open_source(path)).items() <= manifest.items()
