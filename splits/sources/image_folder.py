"""The user's own images: a folder per class.

    <root>/train/<class>/*.png|jpg|…     what is trained on (subfolders of a class are searched too)
    <root>/val/<class>/*.png|jpg|…       what is tested on; without it a fraction of train is set apart
    <root>/unseen/<class>/*.png|jpg|…    optional: classes that are never trained on → database and query
    <root>/superclasses.csv              optional: columns class, superclass

Images become squares: the centre of the longer side is kept and the result averaged down to `size`. What is
read of them and how, and what is left out: docs/own_data.md.
"""

import sys
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from splits.checks import check_share, check_whole
from splits.given import composed, files_below, hidden, read_table, refuse_dead, some
from splits.images import pictures
from splits.images.listing import SUFFIXES, names_image
from splits.store import DatasetWriter, class_table
from suite import files
from suite.errors import UserError

OUTSIDE = True
WRITES = ("train", "val")
MAY_WRITE = {
    "database": ["unseen/"],
    "query": ["unseen/"],
    "superclasses": ["superclasses", "superclasses.csv"],
}
OPTIONS = {
    "root": "required",  # the folder that holds train/
    "seed": 0,  # chooses which images are set apart
    "size": 64,  # side of an image in pixels
    "channels": 3,  # 1 grey, 3 colour
    "bits": None,  # of a grey value in files of 16 bits: 9 to 16; None: 16, and darker files are refused
    "val_fraction": 0.2,  # of every class of train, when there is no val/
    "query_fraction": 0.2,  # of every class of unseen/; the rest is its database
    "superclasses": None,  # table of superclasses, relative to root; by default superclasses.csv if there
}
FOLDERS = ("train", "val", "unseen")
# Names that others give to val/. Cutting val from train beside one of them would test on other images.
TESTS = ("valid", "validation", "test", "testing", "dev", "eval")
ALLOWED = {
    "bits": {"type": "integer", "minimum": 9, "maximum": 16},
    "root": {"type": "string"},
    "size": {"minimum": 1, "maximum": 8192},
    "channels": {"enum": [1, 3]},
    "val_fraction": {"exclusiveMinimum": 0, "exclusiveMaximum": 1},
    "query_fraction": {"exclusiveMinimum": 0, "exclusiveMaximum": 1},
    "superclasses": {"type": "string"},
}


def build(writer: DatasetWriter, options: dict, threads: int) -> None:
    """Write train and val, and database and query where there is unseen/.

    Raises UserError for a missing folder, an empty class, images that cannot be read, links that lead
    nowhere, a class of val/ that is not in train/, test images in a folder of another name, or a superclass
    table that does not fit. What is left out is counted and named on stderr.
    """
    root = Path(options["root"]).expanduser()
    check_whole("image_folder", options, seed=0, size=1, channels=1)
    check_share("image_folder", options, "val_fraction", "query_fraction")
    target = pictures.Format(
        options["size"], options["channels"], as_shown=True, bits=pictures.check_bits(options)
    )
    if root.is_dir():
        check_folders(root)
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
        (split, label[name], composed(str(path.relative_to(root))), path)
        for split, classes in chosen.items()
        for name, paths in classes.items()
        for path in paths
    ]
    table = pd.DataFrame(rows, columns=["split", "label", "id", "file"])
    pictures.write_splits(writer, table, target, threads)


def check_folders(root: Path) -> None:
    """Raise UserError where test images seem to lie in a folder of another name; say what is not read."""
    entries = [path for path in sorted(root.iterdir()) if not hidden(path.name)]
    refuse_dead(entries)
    others = [path.name for path in entries if path.is_dir() and path.name not in FOLDERS]
    tests = [name for name in others if name.lower() in (*TESTS, "val")]
    if tests and not (root / "val").exists():
        raise UserError(
            f"{root} holds {some(tests)}, which is not read, and no val/: rename the folder to test on (or "
            f"`ln -s {tests[0]} {root / 'val'}`); to test on a share of train/, move it out of {root}"
        )
    if others:
        print(
            f"image_folder: not read in {root}: {some(others)} (read: {', '.join(FOLDERS)})", file=sys.stderr
        )


def list_classes(folder: Path) -> dict[str, list[Path]]:
    """Image files of every class folder, all in order of their names; other files are counted on stderr.

    Raises UserError if the folder is missing or holds no class, a class no image, a link leads nowhere, or
    two classes have one name in two spellings of its accents.
    """
    if not folder.is_dir():
        there = [path.name for path in folder.parent.glob("*/") if not hidden(path.name)]
        raise UserError(
            f"no folder {folder}: expected {folder.name}/<class>/<image> in {folder.parent}"
            + (f", which holds {some(sorted(there))}" if there else "")
        )
    places = [path for path in sorted(folder.iterdir()) if not hidden(path.name)]
    refuse_dead(places)
    classes, others = {}, [path for path in places if not path.is_dir()]
    for place in (path for path in places if path.is_dir()):
        files = list(files_below(place))
        images = [path for path in files if names_image(path.name)]
        refuse_dead(images)
        if not images:
            raise UserError(f"class folder {place} holds no image ({', '.join(SUFFIXES)})")
        if (name := composed(place.name)) in classes:
            raise UserError(f"{folder}: two folders are called {name}, with accents spelt in two ways")
        classes[name] = images
        others += [path for path in files if not names_image(path.name)]
    if not classes:
        raise UserError(f"{folder} holds no class folders: expected {folder.name}/<class>/<image>")
    if others:
        kinds = Counter("in no class" if names_image(p.name) else p.suffix or "no suffix" for p in others)
        told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        print(f"image_folder: {len(others)} files of {folder} left out: {told}", file=sys.stderr)
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


def superclass_table(root: Path, options: dict) -> Path | None:
    """The file of superclasses; None where none is named and the usual one is not there.

    Raises UserError where the one that is named is not there.
    """
    path = root / Path(options["superclasses"] or "superclasses.csv").expanduser()
    if options["superclasses"] and not path.is_file():
        raise UserError(f"no table of superclasses {path} (data.superclasses, relative to data.root)")
    return path if path.is_file() else None


def read_superclasses(path: Path, names: list[str]) -> dict[str, str]:
    """Superclass of every class that has one.

    Raises UserError for what is no such table, a class twice, or a class that does not exist.
    """
    table = read_table(path, "class", "superclass")
    table["class"] = table["class"].map(composed)
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
