"""The user's own images: a folder per class.

    <root>/train/<class>/*.png|jpg|…     what is trained on (subfolders of a class are searched too)
    <root>/val/<class>/*.png|jpg|…       what is tested on; without it a fraction of train is set apart
    <root>/unseen/<class>/*.png|jpg|…    optional: classes that are never trained on → database and query
    <root>/superclasses.csv              optional: columns class, superclass

Images become squares: the centre of the longer side is kept and the result averaged down to `size`.
"""

import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from splits.checks import check_share, check_whole
from splits.images import pictures
from splits.images.listing import SUFFIXES, names_image
from splits.store import DatasetWriter, class_table
from suite import files
from suite.errors import UserError

OUTSIDE = True
OPTIONS = {
    "root": "required",  # the folder that holds train/
    "seed": 0,  # chooses which images are set apart
    "size": 64,  # side of an image in pixels
    "channels": 3,  # 1 grey, 3 colour
    "val_fraction": 0.2,  # of every class of train, when there is no val/
    "query_fraction": 0.2,  # of every class of unseen/; the rest is its database
    "superclasses": None,  # table of superclasses, relative to root; by default superclasses.csv if there
}


def build(writer: DatasetWriter, options: dict, threads: int) -> None:
    """Write train and val, and database and query where there is unseen/.

    Raises UserError for a missing folder, an empty class, an image that cannot be read, a class of val/
    that is not in train/, or a superclass table that does not fit.
    """
    root = Path(options["root"]).expanduser()
    check_whole("image_folder", options, seed=0, size=1, channels=1)
    check_share("image_folder", options, "val_fraction", "query_fraction")
    target = pictures.Format(options["size"], options["channels"])
    train = list_classes(root / "train")
    unseen = list_classes(root / "unseen") if (root / "unseen").exists() else {}
    if both := sorted(set(train) & set(unseen)):
        raise UserError(f"{root}: {', '.join(both[:5])} in both train/ and unseen/")
    names = [*train, *unseen]
    label = {name: number for number, name in enumerate(names)}
    table = superclass_table(root, options)
    superclass = read_superclasses(table, names) if table else {}
    writer.classes(class_table(names, [superclass.get(name, "") for name in names], len(train)))
    rng = np.random.default_rng([options["seed"], zlib.crc32(b"image_folder")])
    chosen = {"train": train}
    if (root / "val").exists():
        chosen["val"] = list_classes(root / "val")
        if strangers := sorted(set(chosen["val"]) - set(train)):
            raise UserError(f"{root / 'val'}: {', '.join(strangers[:5])} not among the classes of train/")
    else:
        chosen["train"], chosen["val"] = set_apart(train, options["val_fraction"], rng)
    if unseen:
        chosen["database"], chosen["query"] = set_apart(unseen, options["query_fraction"], rng)
    rows = [
        (split, label[name], str(path.relative_to(root)), path)
        for split, classes in chosen.items()
        for name, paths in classes.items()
        for path in paths
    ]
    table = pd.DataFrame(rows, columns=["split", "label", "id", "file"])
    pictures.write_splits(writer, table, target, threads)


def list_classes(folder: Path) -> dict[str, list[Path]]:
    """Image files of every class folder, all in order of their names.

    Raises UserError if the folder is missing or holds no class, or a class no image.
    """
    if not folder.is_dir():
        raise UserError(f"no folder {folder}: expected {folder.name}/<class>/<image> in {folder.parent}")
    classes = {}
    for place in sorted(p for p in folder.iterdir() if p.is_dir() and p.name[0] != "."):
        paths = sorted(filter(is_image, place.rglob("*")))
        if not paths:
            raise UserError(f"class folder {place} holds no image ({', '.join(SUFFIXES)})")
        classes[place.name] = paths
    if not classes:
        raise UserError(f"{folder} holds no class folders: expected {folder.name}/<class>/<image>")
    return classes


def outside(options: dict) -> dict:
    """What decides the data beside the options: the images, and a table of superclasses.

    Raises UserError for a folder without train/, and for a table that is named and missing.
    """
    root = Path(options["root"]).expanduser()
    if not (root / "train").is_dir():
        raise UserError(f"no folder {root / 'train'} (data.root: {options['root']})")
    table = superclass_table(root, options)
    images = files.listing(root, lambda path: names_image(path.name))
    return {"listing": images, "superclasses": files.outside(table) if table else None}


def is_image(path: Path) -> bool:
    """Whether a file's name says that it is an image."""
    return names_image(path.name) and path.is_file()


def superclass_table(root: Path, options: dict) -> Path | None:
    """The file of superclasses; None where none is named and the usual one is not there.

    Raises UserError where the one that is named is not there.
    """
    path = root / (options["superclasses"] or "superclasses.csv")
    if options["superclasses"] and not path.is_file():
        raise UserError(f"no table of superclasses {path} (data.superclasses, relative to data.root)")
    return path if path.is_file() else None


def read_superclasses(path: Path, names: list[str]) -> dict[str, str]:
    """Superclass of every class that has one.

    Raises UserError for wrong columns, a class twice, or a class that does not exist.
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    if not {"class", "superclass"} <= set(table.columns):
        raise UserError(f"{path} has columns {', '.join(table.columns)}; needs class, superclass")
    if strangers := sorted(set(table["class"]) - set(names)):
        raise UserError(
            f"{path} names classes that have no folder: {', '.join(strangers[:5])}; there are "
            f"{', '.join(names[:5])}{' …' if len(names) > 5 else ''}"
        )
    if (twice := table["class"].duplicated()).any():
        raise UserError(f"{path} names class {table.loc[twice, 'class'].iloc[0]} more than once")
    return dict(zip(table["class"], table["superclass"]))


def set_apart(
    classes: dict[str, list[Path]], fraction: float, rng: np.random.Generator
) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """(the rest, what is set apart): at least one image of every class on either side.

    Raises UserError for a class with a single image.
    """
    rest, apart = {}, {}
    for name, paths in classes.items():
        if len(paths) < 2:
            raise UserError(f"class {name} has one image, {paths[0]}: two are needed to set one apart")
        count = min(len(paths) - 1, max(1, round(fraction * len(paths))))
        taken = set(rng.choice(len(paths), count, replace=False).tolist())
        apart[name] = [path for i, path in enumerate(paths) if i in taken]
        rest[name] = [path for i, path in enumerate(paths) if i not in taken]
    return rest, apart
