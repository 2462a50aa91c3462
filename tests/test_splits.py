"""Data sources: what they write, that splits never overlap, and that their errors help."""

import hashlib
import io
import zipfile
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small import build

from analysis.figures.contact_sheet import contact_sheet
from baselines import tune
from splits.glyphs import reference_network, rendering, typefaces
from splits.images import pictures
from splits.sources import glyphs, image_folder, omniglot
from splits.store import Dataset, DatasetWriter, class_table
from suite.errors import UserError
from suite.roles import ROLES

TINY_GLYPHS = {"classes": 20, "unseen": 10, "train": 12, "val": 4, "v2": 3, "sketch": 3, "r": 10, "a": 3}
TINY_GLYPHS |= {"database": 4, "query": 2, "stream_seen": 6, "stream_unseen": 8, "stream_head": 20}
FORMAT = pictures.Format(1, 3)


@pytest.fixture(scope="module")
def catalogue():
    return typefaces.catalogue()


@pytest.fixture(scope="module")
def glyph_dataset(tmp_path_factory) -> Dataset:
    return build(glyphs, tmp_path_factory.mktemp("glyphs"), **TINY_GLYPHS)


def drawing(rng: np.random.Generator) -> bytes:
    """A 1-bit drawing of 105 × 105 as in Omniglot: dark strokes on white."""
    pixels = np.full((105, 105), 255, np.uint8)
    for _ in range(3):
        y, x = rng.integers(10, 80, 2)
        pixels[y : y + rng.integers(3, 20), x : x + rng.integers(3, 20)] = 0
    file = io.BytesIO()
    Image.fromarray(pixels).convert("1").save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def omniglot_dataset(tmp_path_factory) -> Dataset:
    """From two archives in Omniglot's layout: 2 alphabets of 2 characters, 1 of 3, by 20 people each."""
    folder, rng = tmp_path_factory.mktemp("zips"), np.random.default_rng(0)
    alphabets = [("background", "Greek", 2), ("background", "Early_Aramaic", 2), ("evaluation", "ULOG", 3)]
    for part, alphabet, count in alphabets:
        with zipfile.ZipFile(folder / f"images_{part}.zip", "a") as archive:
            for character, drawer in product(range(1, count + 1), range(1, 21)):
                member = f"{alphabet}/character{character:02d}/0001_{drawer:02d}.png"
                archive.writestr(f"images_{part}/{member}", drawing(rng))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(omniglot, "locate", lambda name, *_: folder / name)
        return build(omniglot, tmp_path_factory.mktemp("omniglot"))


def fill(folder: Path, classes: dict[str, int], seed: int) -> None:
    """Write folders of random colour images: {class: how many}."""
    rng = np.random.default_rng(seed)
    for name, count in classes.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")


@pytest.fixture
def user_root(tmp_path) -> Path:
    root = tmp_path / "mine"
    fill(root / "train", {"cat": 6, "dog": 5}, 0)
    fill(root / "unseen", {"owl": 4}, 1)
    return root


def build_folder(place: Path, **given) -> Dataset:
    return build(image_folder, place.parent / "dataset", **{"root": str(place), "size": 8} | given)


@pytest.fixture
def folder_dataset(user_root) -> Dataset:
    (user_root / "superclasses.csv").write_text("class,superclass\ncat,feline\nowl,bird\n")
    return build_folder(user_root)


@pytest.fixture(params=["glyph_dataset", "omniglot_dataset", "folder_dataset"])
def dataset(request) -> Dataset:
    return request.getfixturevalue(request.param)


# Every source


def test_unseen_classes_are_never_trained_on(dataset):
    unseen = set(dataset.classes.loc[~dataset.classes["seen"], "label"])
    assert unseen and dataset.num_classes == dataset.classes["seen"].sum()
    for name in dataset.splits:
        labels = set(dataset[name].labels.tolist())
        if name in ("database", "query"):
            assert labels == unseen
        elif name != "stream":
            assert not labels & unseen


def test_splits_have_the_stores_form_and_no_image_is_in_two(dataset):
    ids = [item for name in dataset.splits for item in dataset[name].items["id"]]
    assert len(ids) == len(set(ids))
    assert dataset.classes["name"].is_unique
    assert set(dataset.splits) <= set(ROLES)
    owner = {}
    for split in map(dataset.__getitem__, dataset.splits):
        assert all(owner.setdefault(image.tobytes(), split.name) == split.name for image in split.images)
        assert split.images.dtype == np.uint8 and split.images.ndim == 4
        assert split.labels.dtype == np.int64 and len(split.items) == len(split) > 0
    assert set(dataset["train"].labels) == set(dataset["val"].labels) == set(range(dataset.num_classes))


def test_contact_sheets_of_every_split_are_drawn(dataset):
    for name in dataset.splits:
        figure = contact_sheet(dataset, name, rows=3, columns=4)
        texts = " ".join(text.get_text() for text in figure.texts)
        assert name in texts and f"{len(dataset[name]):,} images" in texts
    with pytest.raises(UserError, match="unknown split 'trian'"):
        contact_sheet(dataset, "trian")


def test_an_overlap_is_an_error(tmp_path):
    image = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
    writer = DatasetWriter(tmp_path, "test", {})
    writer.classes(class_table(["a"], "", 1))
    for name, images in (("train", image), ("val", np.concatenate([image + 1, image]))):
        ids = [f"{name}-{row}" for row in range(len(images))]
        writer.split(name, images, np.zeros(len(images), np.int64), pd.DataFrame({"id": ids}))
    with pytest.raises(UserError, match="val row 1 is the same image as train row 0"):
        writer.finish()
    assert not (tmp_path / "manifest.json").exists()


def test_labels_are_read_once_and_cannot_be_written_to(folder_dataset):
    labels = folder_dataset.labels("train")
    assert folder_dataset.labels("train") is labels is folder_dataset["train"].labels
    with pytest.raises(ValueError, match="read-only"):
        labels[0] = 1


def test_a_subset_has_some_of_the_splits_and_leaves_the_whole_alone(folder_dataset):
    part = folder_dataset.subset(["query", "train", "v2"])
    assert part.splits == ["train", "query"] and "val" not in part and "val" in folder_dataset
    assert part.checksum == folder_dataset.checksum and part.num_classes == folder_dataset.num_classes
    for read in (part.labels, part.__getitem__):
        with pytest.raises(UserError, match="unknown split 'val'"):
            read("val")


# Glyphs


def test_no_two_characters_share_an_outline(catalogue):
    chosen = {character.codepoint for character in catalogue}
    owner = {}
    for face in typefaces.FACES:
        for codepoint, (digest, _) in typefaces.outlines(face).items():
            if codepoint in chosen:
                assert owner.setdefault(digest, codepoint) == codepoint, (face, chr(codepoint))
    assert set(owner.values()) == chosen


def test_look_alikes_are_one_character(catalogue):
    letters = "".join(chr(character.codepoint) for character in catalogue)
    assert "A" in letters and "Α" not in letters and "А" not in letters  # Latin, Greek, Cyrillic
    assert "𝐀" not in letters  # the bold A of the same typeface
    assert "²" in letters and "₂" not in letters  # the same ink at another height
    assert "c" in letters and "C" in letters and "á" in letters and "à" in letters
    assert not any(0x2800 <= ord(letter) <= 0x28FF for letter in letters)  # Braille


def test_there_are_enough_characters_for_the_papers_scale(catalogue):
    base = [character for character in catalogue if glyphs.is_base(character)]
    large = [character for character in catalogue if character.extent >= glyphs.UNSEEN_EXTENT]
    assert len(base) >= 1000 and len(large) >= 1000 + 4202


def test_a_character_has_ink_in_every_face_it_names(catalogue):
    for character in catalogue[::97]:
        for face in character.faces:
            ink = typefaces.mask(face, character.codepoint)
            assert ink.shape == (typefaces.CANVAS, typefaces.CANVAS) and ink.max() > 100
            border = np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]])
            assert border.max() == 0, (face, chr(character.codepoint))


def test_names_scripts_and_base_letters():
    assert glyphs.base_letter(ord("à")) == "a" and glyphs.base_letter(ord("ł")) == "l"
    assert glyphs.base_letter(ord("й")) == "и" and glyphs.base_letter(ord("a")) == "a"
    assert glyphs.base_letter(ord("+")) == ""
    assert glyphs.superclass(ord("à")) == "latin" and glyphs.superclass(ord("→")) == "arrows"
    assert glyphs.superclass(ord("Ж")) == "cyrillic" and glyphs.superclass(ord("€")) == "currency signs"
    assert glyphs.superclass(ord("⬇")) == "arrows" and glyphs.superclass(ord("⬓")) == "geometric shapes"
    assert glyphs.caption(ord("à")) == "Latin small letter a with grave"
    assert glyphs.caption(ord("Ł")) == "Latin capital letter L with stroke"


def test_glyph_images_are_the_ones_they_were(glyph_dataset):
    """The pinned Pillow, matplotlib and numpy draw these bytes; other versions are other data."""
    digest = hashlib.sha256()
    for name in ("train", "val", "v2", "sketch", "r", "database", "query", "stream"):
        digest.update(np.ascontiguousarray(glyph_dataset[name].images[::3]).tobytes())
    assert digest.hexdigest() == "c18a26f462caad9234857267e7702629302eeb714ed47b4190e3838c1bec1536"


def test_images_to_tune_on_are_drawn_apart_and_stand_in_no_split(glyph_dataset, monkeypatch):
    study = SimpleNamespace(source="glyphs", source_options=glyph_dataset.manifest["options"])
    (part,) = tune.parts_of(study, glyph_dataset, 70, None, 1)
    assert part.name == "tune" and np.bincount(part.labels).tolist() == [4] * 20  # every class as often
    (again,) = tune.parts_of(study, glyph_dataset, 70, None, 2)
    np.testing.assert_array_equal(again.images, part.images)
    assert "tune" not in ROLES  # no split of the data, so nothing else can read them
    part.images[3] = glyph_dataset["val"].images[1]
    monkeypatch.setattr(glyphs, "tune", lambda *given, **more: (part.images, part.labels))
    with pytest.raises(UserError, match="image 3 that was drawn to tune on is row 1 of val"):
        tune.parts_of(study, glyph_dataset, 70, None, 1)


def test_images_do_not_depend_on_the_number_of_processes(catalogue):
    characters = [character for character in catalogue if glyphs.is_base(character)][:30]
    drawn = []
    for threads in (1, 2):
        with pictures.pool(threads) as run:
            artist = glyphs.Artist(3, characters, run)
            plan = artist.plan("val", range(30), 10)
            drawn.append(np.concatenate(list(artist.images("val", plan, rendering.NATURAL))))
    assert len(drawn[0]) == 300 > glyphs.CHUNK
    assert np.array_equal(*drawn)


def test_another_seed_is_another_dataset():
    tables = [glyphs.choose_classes(glyphs.OPTIONS | {"seed": seed})[0] for seed in (0, 0, 1)]
    assert tables[0].equals(tables[1])
    assert set(tables[0]["name"]) != set(tables[2]["name"])


def test_default_classes_have_superclasses_and_fine_grained_pairs():
    table, characters = glyphs.choose_classes(glyphs.OPTIONS)
    seen = table[table["seen"]]
    sizes = seen.groupby("superclass").size()
    assert len(seen) == 100 and 5 <= len(sizes) <= 20 and sizes.min() >= 3
    bases = seen.loc[seen["base"] != "", "base"].value_counts()
    assert (bases > 1).sum() >= 5
    for character in characters[:100]:
        assert len(character.trained_faces) >= 4 and character.held_out_faces


def test_typefaces_of_v2_are_never_trained_on(glyph_dataset):
    assert not set(glyph_dataset["v2"].items["face"]) & set(glyph_dataset["train"].items["face"])
    assert set(glyph_dataset["val"].items["face"]) <= set(typefaces.TRAINED_FACES)


def test_stream_is_long_tailed_and_mixed(glyph_dataset):
    stream = glyph_dataset["stream"]
    counts = np.sort(np.bincount(stream.labels)[np.unique(stream.labels)])
    assert counts[0] == 2 and counts[-1] == 20 and len(counts) == 14
    novel = stream.labels >= glyph_dataset.num_classes
    assert np.array_equal(stream.items["group"] == "novel", novel)
    assert novel[: len(novel) // 2].any() and not novel[: len(novel) // 2].all()


def test_a_fifth_of_the_classes_has_renditions_and_hard_images(glyph_dataset):
    assert len(np.unique(glyph_dataset["r"].labels)) == len(np.unique(glyph_dataset["a"].labels)) == 4
    assert set(glyph_dataset["r"].items["style"]) == set(rendering.RENDITIONS)
    hard = glyph_dataset["a"]
    assert np.bincount(hard.labels).max() <= TINY_GLYPHS["a"]
    train = glyph_dataset["train"]
    net = reference_network.train(train.images, train.labels, 20, seed=0)
    probability = reference_network.predict(net, np.array(hard.images))
    assert np.array_equal(probability.argmax(axis=1), hard.items["taken_for"])
    assert (hard.items["taken_for"] != hard.labels).all()
    assert (probability[np.arange(len(hard)), hard.labels] < 0.15).all()


def test_too_many_classes_are_an_error():
    with pytest.raises(UserError, match="classes is 9000, but only"):
        glyphs.choose_classes(glyphs.OPTIONS | {"classes": 9000})
    with pytest.raises(UserError, match="unseen is 9000, but only"):
        glyphs.choose_classes(glyphs.OPTIONS | {"unseen": 9000})


@pytest.mark.parametrize(
    "given, message",
    [
        ({"val": 0}, "val is 0"),
        ({"seed": -1}, "seed is -1, allowed: whole numbers from 0"),
        ({"seed": "a"}, "seed is 'a'"),
        ({"classes": True}, "classes is True"),
        ({"subset": "a"}, "subset is 'a'"),
        ({"subset": 1.5}, "subset is 1.5"),
        ({"stream_seen": 101}, "stream_seen is 101, but classes is 100"),
        ({"stream_unseen": 201}, "stream_unseen is 201, but unseen is 200"),
        ({"stream_tail": 500}, "stream_tail is 500, more than stream_head"),
    ],
)
def test_options_that_cannot_be_drawn_are_errors(given, message):
    with pytest.raises(UserError, match=message):
        glyphs.check(glyphs.OPTIONS | given)


# Omniglot


def test_omniglot_splits_follow_the_drawers(omniglot_dataset):
    drawers = {name: set(omniglot_dataset[name].items["drawer"]) for name in omniglot_dataset.splits}
    assert drawers["v2"] == drawers["query"] == {17, 18, 19, 20}
    assert (drawers["train"] | drawers["val"]) == drawers["database"] == set(range(1, 17))
    lengths = {name: len(omniglot_dataset[name]) for name in omniglot_dataset.splits}
    assert lengths == {"train": 4 * 13, "val": 4 * 3, "v2": 4 * 4, "database": 3 * 16, "query": 3 * 4}


def test_omniglot_classes_carry_their_alphabet(omniglot_dataset):
    classes = omniglot_dataset.classes
    assert classes["name"].tolist()[0] == "Early Aramaic 01"
    assert set(classes["superclass"]) == {"Greek", "Early Aramaic", "ULOG"}
    assert not classes.loc[classes["superclass"] == "ULOG", "seen"].any()
    items = omniglot_dataset["val"].items
    for label, member in zip(omniglot_dataset["val"].labels, items["id"]):
        assert classes.loc[label, "superclass"].replace(" ", "_") in member


def test_omniglot_ink_is_light_on_dark_and_averaged(omniglot_dataset):
    images = omniglot_dataset["train"].images
    assert images.shape[1:] == (32, 32, 1)
    assert (images == 0).mean() > 0.5 and images.max() == 255  # ground, and the inside of a stroke
    assert ((images > 0) & (images < 255)).any()  # edges


def test_copies_stay_in_the_first_split_only(tmp_path, capsys):
    file, other = io.BytesIO(), io.BytesIO()
    Image.new("L", (4, 4), 7).save(file, "PNG")
    Image.new("L", (4, 4), 9).save(other, "PNG")
    rows = [("val", "a", file), ("train", "b", file), ("val", "c", other), ("train", "d", file)]
    rows = [(split, 0, name, content.getvalue()) for split, name, content in rows]
    table = pd.DataFrame(rows, columns=["split", "label", "id", "file"])
    writer = DatasetWriter(tmp_path, "test", {})
    pictures.write_splits(writer, table, pictures.Format(4, 1), threads=1)
    assert "test: 1 images left out, the same in an earlier split" in capsys.readouterr().err
    writer.classes(class_table(["x"], "", 1))
    writer.finish()
    dataset = Dataset(tmp_path)
    assert dataset["train"].items["id"].tolist() == ["b", "d"]
    assert dataset["val"].items["id"].tolist() == ["c"]
    assert not (tmp_path / "decoded.npy").exists()


BAD = {
    "new_drawers": [20],
    "val_share": [0.0, 1.0, 0.01],
    "characters": [-1],
    "size": ["a"],
    "seed": [None],
}


@pytest.mark.parametrize(("name", "values"), BAD.items())
def test_omniglot_options_that_empty_a_split_are_errors(name, values):
    for value in values:
        with pytest.raises(UserError, match=name):
            omniglot.check(omniglot.OPTIONS | {name: value})


# The user's own images


def test_image_folder_reads_classes_and_superclasses(folder_dataset):
    classes = folder_dataset.classes
    assert classes["name"].tolist() == ["cat", "dog", "owl"]
    assert classes["superclass"].tolist() == ["feline", "", "bird"]
    assert classes["seen"].tolist() == [True, True, False]
    lengths = {name: len(folder_dataset[name]) for name in folder_dataset.splits}
    assert lengths == {"train": 5 + 4, "val": 1 + 1, "database": 3, "query": 1}
    assert folder_dataset["train"].images.shape[1:] == (8, 8, 3)


def test_image_folder_takes_a_val_folder_as_it_is(user_root):
    fill(user_root / "val", {"cat": 2}, 5)
    # A copy of a training image is no test image.
    first = user_root / "train" / "cat" / "0.png"
    (user_root / "val" / "cat" / "copy.png").write_bytes(first.read_bytes())
    dataset = build_folder(user_root, channels=1)
    assert len(dataset["train"]) == 11 and len(dataset["val"]) == 2
    assert dataset["val"].images.shape[1:] == (8, 8, 1)


def test_image_folder_pixels_are_the_centre_square(tmp_path):
    pixels = np.zeros((2, 4, 3), np.uint8)
    pixels[:, 1:3] = 200
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    image = pictures.decode("wide", tmp_path / "wide.png", pictures.Format(2, 3))
    assert (image == 200).all() and image.shape == (2, 2, 3)


def grey_file(path: Path, values, dtype) -> Path:
    """A grey TIFF of 1 × n pixels with these numbers."""
    Image.fromarray(np.array([values], dtype)).save(path)
    return path


def test_sixteen_bits_are_scaled_to_eight(tmp_path):
    values = [0, 257 * 10, 257 * 200 + 100, 65535]
    for suffix in ("png", "tif"):
        path = grey_file(tmp_path / f"deep.{suffix}", values, np.uint16)
        image = Image.open(path)
        assert image.mode == "I;16"
        assert np.asarray(pictures.eight_bit("deep", image)).tolist() == [[0, 10, 200, 255]]
    pixels = pictures.decode("deep", grey_file(tmp_path / "one.png", [257 * 99], np.uint16), FORMAT)
    assert pixels.tolist() == [[[99, 99, 99]]]


@pytest.mark.parametrize(("dtype", "kind"), [(np.int32, "32-bit whole"), (np.float32, "floating-point")])
def test_numbers_without_a_range_are_refused(dtype, kind, tmp_path):
    path = grey_file(tmp_path / "deep.tif", [70_000], dtype)
    with pytest.raises(UserError, match=f"image deep.tif holds {kind} numbers"):
        pictures.decode("deep.tif", path, FORMAT)


@pytest.mark.parametrize(
    "file, content, message",
    [
        ("train/emu/notes.txt", "", "class folder .*emu holds no image"),
        ("train/cat/bad.png", "not an image", r"cannot read image train/cat/bad\.png"),
        ("superclasses.csv", "class,superclass\ncta,feline\n", "no folder: cta"),
        ("superclasses.csv", "class,superclass\ncat,feline\ncat,pet\n", "names class cat more than once"),
        ("superclasses.csv", "a,b\ncat,feline\n", "has columns a, b; needs class, superclass"),
        ("val/bat/1.png", "", "bat not among the classes of train/"),
        ("train/eel/1.png", "", "class eel has one image"),
        ("unseen/dog/1.png", "", "dog in both train/ and unseen/"),
    ],
)
def test_image_folder_errors_name_what_is_wrong(user_root, file, content, message):
    (user_root / file).parent.mkdir(parents=True, exist_ok=True)
    (user_root / file).write_text(content)
    with pytest.raises(UserError, match=message):
        build_folder(user_root)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"root": "/nothing"}, "no folder /nothing/train"),
        ({"val_fraction": 1.5}, "val_fraction is 1.5"),
        ({"channels": 2}, "with 2 channels"),
        ({"size": "a"}, "size is 'a'"),
        ({"superclasses": "super.csv"}, "no table of superclasses .*mine/super.csv"),
    ],
)
def test_image_folder_options_that_make_no_data_are_errors(user_root, given, message):
    with pytest.raises(UserError, match=message):
        build_folder(user_root, **given)


def test_files_that_only_look_like_images_are_left_out(user_root):
    """macOS keeps ._0.png beside 0.png."""
    (user_root / "train" / "cat" / "._0.png").write_bytes(b"no image")
    assert len(build_folder(user_root)["train"]) == 9
