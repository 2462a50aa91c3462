"""Tiny ImageNet and CIFAR-100: what becomes of their official files, what is said when they are missing."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small import build
from torchvision.datasets import CIFAR100

from splits import facts
from splits.sources import cifar100, tiny_imagenet
from splits.store import Dataset
from suite.errors import UserError

PER_CLASS = 12
TINY = {"size": 8, "images": 10, "unseen": 4, "train": 5, "database": 4}
TINY |= {"stream_head": 6, "stream_tail": 2, "superclass": 2}


def jpeg(rng: np.random.Generator) -> bytes:
    """A 64×64 photograph of noise; some are grey, as in the data set."""
    pixels = rng.integers(0, 256, (64, 64) if rng.random() < 0.2 else (64, 64, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """10 classes, 12 training and 3 validation images each, in the official layout."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("zip") / tiny_imagenet.ARCHIVE
    wnids = facts.imagenet1k_classes()["wnid"][::100].tolist()
    with zipfile.ZipFile(path, "w") as out:
        top, lines = "tiny-imagenet-200", []
        for place, wnid in enumerate(wnids):
            for i in rng.permutation(PER_CLASS):
                out.writestr(f"{top}/train/{wnid}/images/{wnid}_{i}.JPEG", jpeg(rng))
            out.writestr(f"{top}/train/{wnid}/{wnid}_boxes.txt", "")
            for i in range(3):
                name = f"val_{3 * place + i}.JPEG"
                out.writestr(f"{top}/val/images/{name}", jpeg(rng))
                lines.append(f"{name}\t{wnid}\t0\t0\t62\t62")
        out.writestr(f"{top}/test/images/test_0.JPEG", jpeg(rng))
        out.writestr(f"{top}/val/val_annotations.txt", "\n".join(lines) + "\n")
        out.writestr(f"{top}/wnids.txt", "\n".join(wnids))
    return path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, archive) -> Dataset:
    return build(tiny_imagenet, tmp_path_factory.mktemp("tiny"), **TINY, file=str(archive))


def test_tiny_imagenet_splits_follow_the_official_ones(tiny):
    counts = {name: len(tiny[name]) for name in tiny.splits}
    stream = counts.pop("stream")
    assert counts == {"train": 30, "val": 18, "database": 16, "query": 12}
    assert tiny["train"].images.shape[1:] == (8, 8, 3)
    for name in tiny.splits:
        official = "val" if name in ("val", "query") else "train"
        assert tiny[name].items["id"].str.contains(f"/{official}/").all()
        assert (tiny.classes["wnid"].to_numpy()[tiny[name].labels] == tiny[name].items["wnid"]).all()
    numbers = pd.concat([tiny[name].items["id"] for name in ("train", "database", "stream")])
    numbers = numbers.str.extract(r"_(\d+)\.JPEG")[0].astype(int)
    assert numbers.max() == 9  # the first ten of twelve
    items = tiny["stream"].items
    assert set(items["group"]) == {"pretrain", "novel"}
    assert ((items["group"] == "pretrain") == (tiny["stream"].labels < 6)).all()
    assert all("group" not in tiny[name].items for name in tiny.splits if name != "stream")
    seen = items[items["group"] == "pretrain"]["wnid"].value_counts()
    # Five images are left of a seen class, six of an unseen one.
    assert seen.max() <= 5 and stream == len(items)


def test_tiny_imagenet_images_are_averaged_photographs(tiny, archive):
    item = tiny["val"].items["id"][4]
    with zipfile.ZipFile(archive) as opened:
        pixels = np.asarray(Image.open(io.BytesIO(opened.read(item))).convert("RGB"), np.float64)
    average = pixels.reshape(8, 8, 8, 8, 3).mean((1, 3))
    assert np.abs(tiny["val"].images[4] - average).max() <= 1


def test_an_archive_with_fewer_images_gives_the_same_data(tiny, archive, tmp_path):
    half = tmp_path / "half.zip"
    with zipfile.ZipFile(archive) as whole, zipfile.ZipFile(half, "w") as out:
        for name in whole.namelist():
            if not name.endswith(("_10.JPEG", "_11.JPEG")) or "/val/" in name:
                out.writestr(name, whole.read(name))
    assert build(tiny_imagenet, tmp_path / "dataset", **TINY, file=str(half)).checksum == tiny.checksum


def test_what_macos_adds_to_an_archive_is_passed_over(archive, tmp_path):
    again = tmp_path / "again.zip"
    again.write_bytes(archive.read_bytes())
    with zipfile.ZipFile(again, "a") as out:
        for name in out.namelist():
            folder, _, file = name.rpartition("/")
            out.writestr(f"__MACOSX/{folder}/._{file}", b"")
    with zipfile.ZipFile(archive) as plain, zipfile.ZipFile(again) as added:
        pd.testing.assert_frame_equal(*(tiny_imagenet.read_members(each, again) for each in (plain, added)))


def test_tiny_imagenet_says_what_does_not_fit(archive, tmp_path):
    with pytest.raises(UserError, match=r"no file .*absent.zip \(data.file\)"):
        tiny_imagenet.find({"file": str(tmp_path / "absent.zip")})
    with pytest.raises(UserError, match=r"data.train takes 9 images of each class, which leaves 1"):
        build(tiny_imagenet, tmp_path / "a", **TINY | {"train": 9}, file=str(archive))
    with pytest.raises(UserError, match="data.unseen is 10, but there are 10 classes"):
        build(tiny_imagenet, tmp_path / "b", **TINY | {"unseen": 10}, file=str(archive))
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as out:
        out.writestr("images/1.JPEG", b"")
    with pytest.raises(UserError, match="expected the official layout"):
        build(tiny_imagenet, tmp_path / "c", **TINY, file=str(other))
    other.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(UserError, match="other.zip is not a whole .zip"):
        build(tiny_imagenet, tmp_path / "d", **TINY, file=str(other))


def test_superclasses_are_the_smallest_synsets_that_gather_enough():
    classes = facts.imagenet1k_classes()["wnid"].tolist()
    dogs = [wnid for wnid in classes if "n02084071" in facts.ancestors([wnid])][:6]
    bees = ["n02206856", "n02219486"]  # bee, ant: too few for a group of their own
    beetles = [wnid for wnid in classes if "n02164464" in facts.ancestors([wnid])][:3]
    others = [wnid for wnid in classes if wnid not in dogs + bees + beetles][::25]
    chosen = [*dogs, *bees, *beetles, *others]
    found = tiny_imagenet.wordnet_groups(chosen, 3)
    assert {found[wnid] for wnid in dogs} == {"toy dog"}
    # Beetles are enough for themselves; bee and ant share the group of the insects that are left.
    assert {found[wnid] for wnid in beetles} == {"beetle"} and {found[wnid] for wnid in bees} == {"insect"}
    members = pd.Series(found).groupby(pd.Series(found)).size()
    assert members.min() >= 3
    # No group is vague: a synset above most classes ("entity") would take whatever is left.
    assert members.max() <= tiny_imagenet.VAGUE * len(chosen) and len(found) < len(chosen)


@pytest.fixture(scope="module")
def cifar(tmp_path_factory) -> Path:
    """The official files in miniature: 20 superclasses of 5 classes, 8 training and 2 test images each."""
    root, rng = tmp_path_factory.mktemp("cifar"), np.random.default_rng(0)
    folder = root / cifar100.FOLDER
    folder.mkdir()
    fine, coarse = ([f"{kind}_{i:02d}" for i in range(n)] for kind, n in (("class", 100), ("super", 20)))
    for name, count in (("train", 8), ("test", 2)):
        labels = rng.permutation(np.repeat(np.arange(100), count)).tolist()
        content = {
            "data": rng.integers(0, 256, (len(labels), 3072), dtype=np.uint8),
            "fine_labels": labels,
            "coarse_labels": [label % 20 for label in labels],
        }
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": fine, "coarse_label_names": coarse}))
    return root


@pytest.fixture
def unchecked(monkeypatch):
    """torchvision compares the files with the official digests, which a miniature cannot have."""
    monkeypatch.setattr(CIFAR100, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *args: True)


SMALL = {"train": 5, "database": 4, "stream_head": 4}


def test_cifar100_holds_out_a_class_of_every_superclass(cifar, unchecked, tmp_path):
    dataset = build(cifar100, tmp_path, **SMALL, root=str(cifar))
    classes = dataset.classes
    assert classes[~classes["seen"]]["superclass"].is_unique and dataset.num_classes == 80
    assert classes["superclass"].value_counts().tolist() == [5] * 20
    counts = {name: len(dataset[name]) for name in dataset.splits}
    assert counts.pop("stream") and counts == {"train": 400, "val": 160, "database": 80, "query": 40}
    number = classes["name"].str.removeprefix("class ").astype(int)
    assert (classes["superclass"] == "super " + (number % 20).astype(str).str.zfill(2)).all()
    with (cifar / cifar100.FOLDER / "test").open("rb") as file:
        test = pickle.load(file)
    row = int(dataset["val"].items["id"][7].removeprefix("val-"))
    image = test["data"][row].reshape(3, 32, 32).transpose(1, 2, 0)
    np.testing.assert_array_equal(dataset["val"].images[7], image)
    assert number[dataset["val"].labels[7]] == test["fine_labels"][row]


def test_cifar100_without_unseen_classes_is_the_usual_one(cifar, unchecked, tmp_path):
    dataset = build(cifar100, tmp_path, **SMALL, root=str(cifar), unseen=0)
    assert {name: len(dataset[name]) for name in dataset.splits} == {"train": 800, "val": 200}
    assert dataset.classes["name"].tolist() == [f"class {i:02d}" for i in range(100)]


def test_cifar100_refuses_other_files_and_says_where_to_get_them(cifar, tmp_path):
    with pytest.raises(UserError, match=r"is not the official CIFAR-100 .*cifar-100-python.tar.gz"):
        cifar100.read(cifar)
    with pytest.raises(UserError, match=r"no folder .*absent/cifar-100-python \(data.root\)"):
        cifar100.find({"root": str(tmp_path / "absent")})
