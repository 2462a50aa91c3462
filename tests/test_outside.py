"""Inputs outside the suite: what is edited, added, deleted or exchanged there is noticed by every source."""

import os
import shutil

import numpy as np
import pytest
import synthetic
from PIL import Image
from small import options

from baselines.conditions import begun_from
from splits.store import DatasetWriter, class_table
from suite.contracts import SOURCE
from suite.errors import UserError

OLD = (1_000_000_000, 1_000_000_000)  # of every file at first


def image(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), value).save(path)
    os.utime(path, OLD)


def text(path, words):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(words)
    os.utime(path, OLD)


def pictures(root):
    for place, value in (("train/cat/a", 10), ("train/dog/a", 20), ("val/cat/a", 30)):
        image(root / f"{place}.png", value)
    text(root / "superclasses.csv", "class,superclass\ncat,pet\n")
    return {"root": str(root)}


def swap(root):
    """Two images of equal size change places; their times stay theirs."""
    cat, dog = root / "train/cat/a.png", root / "train/dog/a.png"
    image(cat, 20), image(dog, 10)
    os.utime(cat, (5, 5))


def linked(root):
    """An image is exchanged in a class that is a link to a folder."""
    (root / "train/cat").rename(root.parent / "cats")
    (root / "train/cat").symlink_to(root.parent / "cats")
    os.utime(root.parent / "cats/a.png", (7, 7))


def captions(root):
    image(root / "a.png", 10), image(root / "b.png", 20)
    text(root / "captions.csv", "image,caption\na.png,one\nb.png,two\n")
    return {"root": str(root)}


def texts(root):
    text(root / "a.txt", "one"), text(root / "below/b.md", "two"), text(root / "vocab", "x")
    return {"root": str(root), "vocabulary_file": str(root / "vocab")}


def archive(root):
    text(root / "tiny.zip", "zip")
    return {"file": str(root / "tiny.zip")}


def imagenet(root):
    for part in ("train", "val"):
        image(root / part / "n01440764/1.JPEG", 10)
    parts = dict.fromkeys(("v2", "r", "a", "sketch", "imagenet21k"))
    return {"root": str(root), **parts}


def edit(name, words):
    return lambda root: text(root / name, words)


def touch(name):
    return lambda root: os.utime(root / name, (9, 9))


PETS, NAMED = "class,superclass\ncat,tep\n", "image,caption\na.png,eno\nb.png,two\n"
CHANGES = [
    ("image_folder", pictures, [swap, lambda root: image(root / "train/cat/b.png", 1), linked]),
    ("image_folder", pictures, [edit("superclasses.csv", PETS), touch("val/cat/a.png")]),
    ("image_captions", captions, [edit("captions.csv", NAMED), touch("b.png")]),
    ("text", texts, [edit("a.txt", "three"), edit("c.rst", "new"), touch("below/b.md"), edit("vocab", "y")]),
    ("text", texts, [lambda root: (root / "a.txt").unlink()]),
    ("tiny_imagenet", archive, [edit("tiny.zip", "piz")]),
    ("imagenet", imagenet, [lambda root: image(root / "val/n01440764/2.JPEG", 1)]),
]


@pytest.mark.parametrize(("source", "make", "changes"), CHANGES)
def test_every_change_of_the_users_own_files_is_noticed(source, make, changes, tmp_path):
    root = tmp_path / "root"
    given = options(SOURCE, source, **make(root))
    outside = SOURCE.load(source).outside
    seen = [outside(given)]
    for change in changes:
        assert outside(given) == seen[-1]
        change(root)
        assert outside(given) not in seen
        seen.append(outside(given))
    shutil.rmtree(root)
    with pytest.raises(UserError, match=str(root)):
        outside(given)


def test_what_a_source_does_not_read_is_no_reason_to_build_again(tmp_path):
    given = options(SOURCE, "image_folder", **pictures(tmp_path))
    outside = SOURCE.load("image_folder").outside
    before = outside(given)
    text(tmp_path / "train/cat/notes.txt", "a note")
    touch("superclasses.csv")(tmp_path)  # its content counts
    assert outside(given) == before
    for source in ("text", "tiny_imagenet"):  # nothing of the user's
        assert SOURCE.load(source).outside(options(SOURCE, source)) == {}


METHOD = """
from baselines.mrl import build  # noqa: F401

KIND = "trained"
LABEL = "Mine"
OPTIONS = {"loss_weights": None}
"""


def test_an_unfinished_training_is_of_its_code_and_of_the_weights_that_it_began_from(tmp_path):
    mine, weights = tmp_path / "mine.py", tmp_path / "weights.pt"
    mine.write_text(METHOD)
    weights.write_bytes(b"1")
    backbone = {"name": "resnet18", "dim": 16, "init_weights": str(weights)}
    config = {"methods": {"mine": {"baseline": str(mine)}, "mrl": None}, "tasks": {"linear": None}}
    study = synthetic.Study(synthetic.config(**config, figures=[], backbone=backbone))
    seen = [begun_from(study, "mine")]
    assert begun_from(study, "mine") == seen[0] != begun_from(study, "mrl")
    for path, words in ((weights, b"2"), (mine, f"{METHOD}# an edit\n".encode())):
        times = path.stat()
        path.write_bytes(words)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert begun_from(study, "mine") not in seen
        seen.append(begun_from(study, "mine"))


def test_a_folder_of_weights_is_of_all_its_files(tmp_path):
    from suite import files

    np.save(tmp_path / "a.npy", np.zeros(2))
    before = files.content(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert files.content(tmp_path) != before and files.content(tmp_path / "nothing") is None


def test_data_that_are_there_stay_until_others_are_written(tmp_path):
    manifest = tmp_path / "manifest.json"
    manifest.write_text("{}")
    given = options(SOURCE, "image_folder", root=str(tmp_path / "unmounted"))
    writer = DatasetWriter(tmp_path, "image_folder", given)
    with pytest.raises(UserError, match="no folder .*unmounted/train"):
        SOURCE.load("image_folder").build(writer, given, threads=1)
    assert manifest.exists()
    writer.classes(class_table(["a"], "", 1))
    assert not manifest.exists()
