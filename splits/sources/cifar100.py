"""CIFAR-100: photographs of 100 classes in 20 superclasses, 32×32 pixels (Krizhevsky 2009).

Read by torchvision, which also fetches it. `unseen` classes are never trained on, evenly over the
superclasses: their test images are the `query`, training images the `database`; the long-tailed `stream`
takes training images that stand in no other split. With `unseen: 0` it is the usual CIFAR-100: all 50,000
training images, all test images, no unseen classes and no stream.
"""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd

from splits import sampling
from splits.images import fetching, pictures
from splits.store import DatasetWriter, class_table, digest
from suite.errors import UserError

WRITES = ("train", "val", "superclasses")
MAY_WRITE = {"database": ["unseen"], "query": ["unseen"], "stream": ["unseen"]}
OPTIONS = {
    "root": None,  # folder that holds cifar-100-python/; None: data/, fetched if missing
    "seed": 0,  # chooses the unseen classes, the images of each split and the stream's order
    "unseen": 20,  # classes of 100 that are not trained on: one of every superclass
    "train": 440,  # images of a seen class of 500; the rest may be in the stream
    "database": 400,  # images of an unseen class; the same
    "stream_head": 100,  # images of the stream's most frequent class
    "stream_tail": 2,  # images of its rarest
}
ALLOWED = {
    "root": {"type": "string"},
    "unseen": {"maximum": 99},
    "train": {"minimum": 1},
    "database": {"minimum": 1},
    "stream_head": {"minimum": 1},
    "stream_tail": {"minimum": 1, "not_above": "stream_head"},
}

ADDRESS = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
FOLDER = "cifar-100-python"


def build(writer: DatasetWriter, options: dict, threads: int) -> None:
    """Write train and val, and database, query and stream where there are unseen classes.

    Raises UserError when the data are neither there nor to be had, or for options that leave a split empty.
    """
    root = find(options)
    images, labels, official, names, superclass = read(root)
    classes = choose_classes(names, superclass, options)
    writer.classes(classes)
    items = pd.DataFrame({"official": official, "class_id": [names[label] for label in labels]})
    items["item"] = [f"{part}-{row:05d}" for part, row in zip(official, items.groupby("official").cumcount())]
    items["row"] = np.arange(len(items))
    rows = items.merge(classes[["name", "label", "seen"]], left_on="class_id", right_on="name")
    table = pictures.in_order_of_roles(sampling.assign(rows, options))
    images = images[table["row"].to_numpy()]
    table = table.rename(columns={"item": "id"})[["split", "label", "id", "group"]]
    pictures.write_arrays(writer, table, images, [digest(image) for image in images])


def find(options: dict) -> Path:
    """Folder that holds cifar-100-python/: the one that was named, a user's copy, or fetched."""
    from torchvision.datasets import CIFAR100

    if options["root"] is not None:
        root = Path(options["root"]).expanduser()
        if not (root / FOLDER).is_dir():
            raise UserError(f"cifar100: no folder {root / FOLDER} (data.root); the data are at {ADDRESS}")
        return root
    root = fetching.data_folder()
    if not (root / FOLDER).is_dir():
        try:
            CIFAR100(root, download=True)
        except (OSError, RuntimeError) as error:  # no network; a file with another checksum
            raise UserError(
                f"cifar100 is missing and could not be fetched ({error}). Get {ADDRESS} and unpack it into "
                f"{root}, so that there is {root / FOLDER}/train; {fetching.ELSEWHERE}"
            ) from error
    return root


def read(root: Path) -> tuple[np.ndarray, list[int], list[str], list[str], list[str]]:
    """(images uint8 [n, 32, 32, 3], fine labels, "train" or "val", class names, superclass of each class).

    Raises UserError when the files are not the official ones.
    """
    from torchvision.datasets import CIFAR100

    images, labels, official, coarse_of = [], [], [], {}
    try:
        for part, train in (("train", True), ("val", False)):
            data = CIFAR100(root, train=train)  # checks the files' digests
            images.append(data.data)
            labels += data.targets
            official += [part] * len(data.targets)
            # torchvision does not keep the superclasses.
            with (root / FOLDER / ("train" if train else "test")).open("rb") as file:
                coarse_of |= dict(zip(data.targets, pickle.load(file, encoding="latin1")["coarse_labels"]))
        with (root / FOLDER / "meta").open("rb") as file:
            coarse_names = pickle.load(file, encoding="latin1")["coarse_label_names"]
    except RuntimeError as error:
        raise UserError(f"{root / FOLDER} is not the official CIFAR-100 ({error}); see {ADDRESS}") from error
    names = [name.replace("_", " ") for name in data.classes]
    superclass = [coarse_names[coarse_of[label]].replace("_", " ") for label in range(len(names))]
    return np.concatenate(images), labels, official, names, superclass


def choose_classes(names: list[str], superclass: list[str], options: dict) -> pd.DataFrame:
    """The class table, seen classes first; unseen ones are drawn evenly from the superclasses."""
    each, rest = divmod(options["unseen"], len(set(superclass)))
    unseen = []
    for i, (_, members) in enumerate(
        pd.Series(names).groupby(np.array(superclass))
    ):  # in order of their names
        unseen += sampling.divide(members.tolist(), each + (i < rest), options["seed"])[1]
    order = [*sorted(set(names) - set(unseen)), *sorted(unseen)]
    of = dict(zip(names, superclass))
    return class_table(order, [of[name] for name in order], len(order) - len(unseen))
