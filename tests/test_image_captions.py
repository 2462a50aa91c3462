"""The user's own image–caption pairs, and captions as tokens."""

import gzip
import io
import re
import tarfile

import pandas as pd
import pytest
import yaml
from PIL import Image
from small import TRAINING, build, finished, tables_and_figures

from splits.sources import image_captions
from splits.store import DatasetWriter, class_table
from splits.words import captions
from suite.errors import UserError
from suite.modules import ROOT
from suite.study import STUDIES, Study


def picture(path, shade, size=8):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (size, size), shade).save(path)


def pairs(folder, n=10):
    """A folder of n images with captions of their own."""
    for i in range(n):
        picture(folder / "images" / f"{i}.png", 20 * i)
    rows = [f"images/{i}.png,shade number {i}" for i in range(n)]
    (folder / "captions.csv").write_text("image,caption\n" + "\n".join(rows) + "\n")
    return folder


def as_tar(folder, path, leave_out=()):
    """The same pairs as a webdataset."""
    table = pd.read_csv(folder / "captions.csv")
    with tarfile.open(path, "w") as archive:
        for i, (image, caption) in enumerate(table.itertuples(index=False)):
            members = {"png": (folder / image).read_bytes(), "txt": caption.encode()}
            for suffix, content in members.items():
                if f"{i}.{suffix}" not in leave_out:
                    info = tarfile.TarInfo(f"part/{i:03d}.{suffix}")
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
    return path


def build_pairs(folder, root, **given):
    """The dataset of pairs, in a folder below this one."""
    return build(image_captions, folder / "dataset", root=str(root), size=8, channels=1, **given)


@pytest.mark.parametrize("kind", ["folder", "table", "tar"])
def test_pairs_from_folder_table_and_tar_are_the_same_data(kind, tmp_path):
    folder = pairs(tmp_path / "pairs")
    tar = as_tar(folder, tmp_path / "pairs.tar")
    root = {"folder": folder, "table": folder / "captions.csv", "tar": tar}[kind]
    dataset = build_pairs(tmp_path, root, held_out=0.2)
    assert dataset.splits == ["train", "query", "captions"] and dataset.num_classes == 8
    assert dataset.classes["name"].nunique() == 10
    for split in ("train", "query"):
        for image, label in zip(dataset[split].images, dataset.labels(split)):
            assert dataset.classes["name"][label] == f"shade number {image[0, 0, 0] // 20}"


def test_captions_that_read_alike_are_one_class(tmp_path):
    folder = pairs(tmp_path / "pairs")
    table = (folder / "captions.csv").read_text().replace("shade number 4", "Sháde  NUMBER 3")
    (folder / "captions.csv").write_text(table)
    dataset = build_pairs(tmp_path, folder, held_out=0.4)
    assert len(dataset.classes) == 9
    for length, message in ((2, "length is 2: a caption needs 3"), (3, "is the same 3 tokens as 'shade")):
        with pytest.raises(UserError, match=message):
            build_pairs(tmp_path, folder, length=length)


def test_captions_held_out_need_images_that_are_not_in_train(tmp_path):
    folder = pairs(tmp_path / "pairs")
    dataset = build_pairs(tmp_path, folder, held_out=0.2)
    copied, trained = dataset["query"].items["caption"][0], dataset["train"].items["caption"][0]
    places = [folder / "images" / f"{caption.split()[-1]}.png" for caption in (trained, copied)]
    places[1].write_bytes(places[0].read_bytes())
    with pytest.raises(UserError, match="all captions held out but one are also in train"):
        build_pairs(tmp_path, folder, held_out=0.2)


def pairs_example():
    """The study that docs/beyond.md shows for one's own pairs."""
    parts = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/beyond.md").read_text("utf-8"), re.DOTALL)
    example = next(part for part in parts if "image_captions" in part)
    return yaml.safe_load((STUDIES / "image_text.yaml").read_text("utf-8")) | yaml.safe_load(example)


def test_a_study_of_own_pairs_runs_to_its_figures(tmp_path):
    example = Study(pairs_example())
    folder = pairs(tmp_path / "pairs", 16)
    own = {"root": str(folder), "size": 8, "channels": 1, "held_out": 0.3, "vocabulary": 64, "length": 8}
    towers = {"baseline": "image_text", "depth": 1, "heads": 2, "vocabulary": 64}
    methods = {
        "mrl": towers,
        "fixed_feature": towers | {"nesting": [8], "label": "FF"},
        "random_features": {"probe_draws": 0},
        "control_random": None,
    }
    backbone = {"name": "small_resnet", "dim": 8, "widths": [4, 8]}
    training = TRAINING | {"augment": {"flip": True}, "batch_size": 8}
    settings = {"backbone": backbone, "training": training, "interpolated": [6]}
    run = finished(tmp_path, image_captions, own, methods, example.tasks, **settings)
    with run as (study, layout, dataset):
        assert dataset.splits == ["train", "query", "captions"]
        tables = tables_and_figures(study, layout, example.figures)
        found = tables["findings_image_text"].set_index("finding")
        assert set(found.loc[["knn_random", "knn_small"], "outcome"]) == {"not tested"}
        assert found.loc["knn_random", "numbers"] == "the study has no split val"
        chance = found.loc["zero_shot_chance"]
        assert chance["split"] == "query" and chance["n"] == len(dataset.labels("query"))


def test_an_image_with_captions_of_both_sides_is_trained_on_and_not_tested(tmp_path):
    folder = pairs(tmp_path / "pairs")
    more = "".join(f"images/{i}.png,another caption {i}\n" for i in range(10))
    table = (folder / "captions.csv").read_text() + more
    (folder / "captions.csv").write_text(table)
    dataset = build_pairs(tmp_path, folder, held_out=0.5)
    names = {split: set(dataset[split].items["id"].str.split("#").str[0]) for split in ("train", "query")}
    assert names["train"] and names["query"] and not names["train"] & names["query"]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("images/3.png", None, "names 1 images that are not there, first .*3.png"),
        ("images/3.png", b"no picture", "cannot read image images/3.png"),
        ("captions.csv", b"file,caption\na,b\n", "needs image, caption"),
        ("captions.csv", b"image,caption\n\xff\xfe,x\n", "is not UTF-8 text: byte 14 is 0xff"),
        ("captions.csv", b"image,caption\nimages/4.png,  \n", "1 captions are empty, first that of images/4"),
        ("captions.csv", b"image,caption\nimages/1.png,x y\n", "1 different captions: two are needed on"),
    ],
)
def test_bad_caption_tables_are_refused_before_anything_is_trained(file, content, message, tmp_path):
    folder = pairs(tmp_path / "pairs")
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)
    with pytest.raises(UserError, match=message):
        build_pairs(tmp_path, folder)
    assert not (tmp_path / "dataset" / "manifest.json").exists()


def test_bad_webdatasets_are_refused(tmp_path):
    folder = pairs(tmp_path / "pairs")
    alone = as_tar(folder, tmp_path / "alone.tar", leave_out=["4.txt"])
    with tarfile.open(as_tar(folder, tmp_path / "twice.tar"), "a") as archive:
        archive.add(folder / "images" / "0.png", "part/000.jpg")
    whole = gzip.compress(alone.read_bytes())
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "folder.tar").mkdir()
    (tmp_path / "text.tar").write_text("no archive")
    for name, message in {
        "alone": "1 keys have an image or a caption .* alone",
        "twice": "part/000.png and part/000.jpg are images of one key",
        "none": "no file",
        "cut": "is not a whole .tar",
        "folder": "is not a whole .tar: .*directory",
        "text": "is not a whole .tar",
    }.items():
        with pytest.raises(UserError, match=message):
            build_pairs(tmp_path, tmp_path / f"{name}.tar")


def test_captions_are_learned_from_seen_classes_alone(tmp_path):
    writer = DatasetWriter(tmp_path, "test", {})
    names = ["red square", "blue square", "zebra"]
    writer.classes(class_table(names, "", 2))
    captions.write(writer, names, 2, vocabulary=100, length=8)
    pieces = (tmp_path / "vocabulary.txt").read_text().split("\n")
    assert "square" in pieces and "zebra" not in pieces
    with pytest.raises(UserError, match="holds no word"):
        captions.write(writer, ["red", "   "], 2, 100, 8)
