"""Files that people bring: which count, what they hold, and how odd ones are read or refused."""

import io
import struct
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from small import build

from splits import given
from splits.images import pictures
from splits.images.listing import list_images, open_source
from splits.sources import image_captions, image_folder, text
from splits.words.wordpieces import WordPieces, learn_vocabulary
from suite.errors import UserError

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def picture(path: Path, shade: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(path, "PNG")
    return path


@pytest.fixture
def root(tmp_path):
    """Two classes of three images each."""
    for number in range(6):
        picture(tmp_path / "mine" / "train" / "ab"[number % 2] / f"{number}.png", 40 * number)
    return tmp_path / "mine"


def build_folder(root, **options):
    return build(image_folder, root.parent / "dataset", root=str(root), size=4, **options)


# --- which files count ------------------------------------------------------------------------------


def test_links_are_followed_and_what_is_hidden_is_no_data(root, tmp_path, capsys):
    for number in (6, 7):
        picture(tmp_path / "elsewhere" / f"{number}.png", 30 * number)
    (root / "train" / "a" / "more").symlink_to(tmp_path / "elsewhere")
    (root / "train" / "c").symlink_to(tmp_path / "elsewhere")
    for name in ("__MACOSX/a/._0.png", "train/__MACOSX/._a.png", "train/a/._0.png", ".git/x.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\0")
    (root / "train" / "a" / "notes.txt").write_text("")
    (root / "raw").mkdir()
    (root / "val").mkdir()
    for name in "abc":
        picture(root / "val" / name / "0.png", 255 - ord(name))
    dataset = build_folder(root)
    assert dataset.classes["name"].tolist() == ["a", "b", "c"]
    assert np.bincount(dataset.labels("train")).tolist() == [5, 3, 2]
    said = capsys.readouterr().err
    assert "not read in" in said and "raw" in said and "1 files of" in said and ".txt" in said


@pytest.mark.parametrize(
    ("link", "target", "message"),
    [
        ("train/a/x.png", "gone", "1 links lead nowhere: .*x.png → gone"),
        ("train/c", "gone", "links lead nowhere: .*train/c"),
        ("val", "gone", "links lead nowhere: .*val"),
        ("train/a/back", ".", "back leads back to"),
    ],
)
def test_links_that_lead_nowhere_or_in_a_circle_are_errors(link, target, message, root):
    (root / link).symlink_to(target)
    with pytest.raises(UserError, match=message):
        build_folder(root)


@pytest.mark.parametrize("name", ["valid", "Test", "validation", "VAL"])
def test_test_images_under_another_name_are_not_passed_over(name, root):
    picture(root / name / "a" / "9.png", 9)
    with pytest.raises(UserError, match=f"holds {name}, which is not read, and no val/"):
        build_folder(root)
    (root / "val").symlink_to(root / name)
    assert len(build_folder(root).labels("val")) == 1


def test_names_are_one_in_either_spelling_of_their_accents(root):
    picture(root / "train" / DECOMPOSED / "1.png", 7)
    picture(root / "val" / COMPOSED / "2.png", 8)
    (root / "superclasses.csv").write_text(f"class,superclass\n{COMPOSED},places\n", encoding="utf-16")
    classes = build_folder(root).classes
    assert classes["name"].tolist() == ["a", "b", COMPOSED] and classes["superclass"][2] == "places"
    picture(root / "train" / COMPOSED / "3.png", 9)
    with pytest.raises(UserError, match="two folders are called"):
        build_folder(root)


def test_every_bad_image_is_named_with_what_it_is(root):
    (root / "train" / "a" / "x.png").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    (root / "train" / "b" / "y.jpg").write_bytes(b"<!DOCTYPE html><html>")
    (root / "train" / "b" / "z.tif").write_bytes(b"II*\0\x08\0\0\0\0\0" + b"\0" * 6)
    with pytest.raises(UserError, match="3 images cannot be used") as told:
        build_folder(root)
    for part in ("x.png", "pointer of Git LFS", "y.jpg", "a web page", "z.tif"):
        assert part in str(told.value)
    assert not (root.parent / "dataset" / "manifest.json").exists()


def test_a_missing_folder_says_what_is_there(root):
    (root / "train").rename(root / "Train")
    with pytest.raises(UserError, match="no folder .*train: expected .* which holds Train"):
        build_folder(root)


# --- pixels -----------------------------------------------------------------------------------------


def decoded(image: Image.Image, suffix: str, side: int = 2, channels: int = 1, bits=None, **save):
    """A saved picture as the user's own images are read, as a list."""
    file = io.BytesIO()
    image.save(file, suffix, **save)
    target = pictures.Format(side, channels, as_shown=True, bits=bits)
    return pictures.decode("x", file.getvalue(), target)[..., 0].tolist()


@pytest.mark.parametrize("suffix", ["PNG", "TIFF", "WEBP"])
def test_photographs_are_turned_as_their_orientation_says(suffix):
    upright = np.array([[10, 250], [90, 170]], np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to look at it
    stored = Image.fromarray(np.rot90(upright)).convert("L" if suffix != "WEBP" else "RGB")
    save = {"lossless": True} if suffix == "WEBP" else {}
    assert decoded(stored, suffix, exif=exif, **save) == upright.tolist()
    file = io.BytesIO()
    stored.save(file, suffix, exif=exif, **save)
    if suffix != "TIFF":  # which Pillow turns itself
        pixels = pictures.decode("x", file.getvalue(), pictures.Format(2, 1))
        assert pixels[..., 0].tolist() == np.rot90(upright).tolist()  # official sets: as everybody reads them


@pytest.mark.parametrize(("ink", "seen"), [(0, [0, 255]), (255, [255, 0]), (100, [100, 255])])
def test_ink_in_the_transparency_is_seen(ink, seen):
    drawing = np.zeros((2, 2, 4), np.uint8)
    drawing[..., :3] = ink
    drawing[0, 0, 3] = 255
    pixels = decoded(Image.fromarray(drawing), "PNG")
    assert pixels == [[seen[0], seen[1]], [seen[1], seen[1]]]


def test_twelve_bits_in_sixteen_are_scaled_when_the_study_says_so():
    values = Image.fromarray(np.array([[0, 4095], [2048, 1000]], np.uint16))
    with pytest.raises(UserError, match=r"at most 4,095: it would be nearly black.*`bits: 12`"):
        decoded(values, "PNG")
    assert decoded(values, "PNG", bits=12) == [[0, 255], [128, 62]]
    assert decoded(values, "PNG", bits=16) == [[0, 16], [8, 4]]
    with pytest.raises(UserError, match="numbers up to 4,095, but `bits: 10` ends at 1,023"):
        decoded(values, "PNG", bits=10)
    for wrong in (8, 17, "12", True):
        with pytest.raises(UserError, match="data.bits is"):
            pictures.check_bits({"bits": wrong})


def png_of_16_bits(value: int) -> bytes:
    """A colour PNG of one pixel with 16 bits a channel, which Pillow cannot write."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    pixel = zlib.compress(b"\0" + struct.pack(">HHH", value, value, value))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")


def test_colours_of_sixteen_bits_that_would_be_black_are_refused():
    target = pictures.Format(1, 3, as_shown=True, bits=None)
    assert pictures.decode("x", png_of_16_bits(0x8000), target).ravel().tolist() == [0x80] * 3
    with pytest.raises(UserError, match="x has 16 bits a channel and uses 12 of them or fewer"):
        pictures.decode("x", png_of_16_bits(4000), target)


def test_a_large_text_in_a_png_is_an_error_with_the_files_name():
    about = PngInfo()
    about.add_text("workflow", "x" * (2 << 20), zip=True)
    with pytest.raises(UserError, match="cannot read image x: Decompressed data too large"):
        decoded(Image.new("L", (2, 2)), "PNG", pnginfo=about)


# --- tables and texts -------------------------------------------------------------------------------


@pytest.fixture
def pairs(tmp_path):
    """Twenty pairs, and the lines of their table."""
    for number in range(20):
        picture(tmp_path / "pairs" / f"{number}.png", 10 * number)
    return tmp_path / "pairs", ["image,caption", *(f"{number}.png,shade {number}" for number in range(20))]


@pytest.mark.parametrize(
    ("line", "row", "message"),
    [
        (4, '3.png,"shade 3', "line 5: the caption goes on over lines that name images"),
        (4, '3.png,"shade" 3', "line 5: .*a quote within it is written twice"),
        (4, "3.png,shade 3, dark", r"line 5: 3 fields, but the first line names 2 \(image, caption\)"),
        (1, "0.png,shade 0, dark", "line 2: 3 fields"),
        (4, "3.png", "line 5: 1 fields"),
        (0, "image;caption", "needs image, caption, with commas"),
        (0, "image,caption,image", "names column image more than once"),
    ],
)
def test_a_damaged_table_of_captions_says_its_line(line, row, message, pairs):
    folder, lines = pairs
    lines[line] = row
    if row.endswith('"shade 3'):  # as a spreadsheet would not write it: 20 pairs would become fewer
        lines[14] = '13.png,shade 13"'
        lines[10] = '9.png,the shade is "9"'
        lines = [each.replace('"9"', "9") for each in lines]
    (folder / "captions.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=message):
        image_captions.read_table(folder / "captions.csv")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_are_read_in_every_encoding_that_says_what_it_is(encoding, pairs):
    folder, lines = pairs
    picture(folder / "in" / f"{DECOMPOSED}.png", 99)
    lines += [f'in\\{COMPOSED}.png,"two\nlines, {COMPOSED}"', ""]
    (folder / "captions.csv").write_text("\r\n".join(lines), encoding=encoding, newline="")
    table = image_captions.read_table(folder / "captions.csv")
    assert len(table) == 21 and table["caption"].iloc[20] == f"two\nlines, {COMPOSED}"
    assert table["file"].iloc[20] == folder / "in" / f"{DECOMPOSED}.png"


def test_texts_made_on_other_systems(tmp_path):
    for number, encoding in enumerate(["utf-8", "utf-8-sig", "utf-16"]):
        (tmp_path / f"{number}.txt").write_text(f"text {number}", encoding=encoding)
    (tmp_path / "__MACOSX").mkdir()
    for name in ("._0.txt", "__MACOSX/._1.txt"):
        (tmp_path / name).write_bytes(b"\0\xff")
    assert text.read_folder(tmp_path) == {f"{number}.txt": f"text {number}" for number in range(3)}
    for name in ("bad.txt", "worse.md"):
        (tmp_path / name).write_bytes(b"\xe9\n")
    with pytest.raises(UserError, match=r"bad.txt is not UTF-8 text: byte 0 is 0xe9; .*worse.md"):
        text.read_folder(tmp_path)
    (tmp_path / "bad.txt").write_bytes("no mark".encode("utf-16-le"))
    with pytest.raises(UserError, match="bad.txt is not UTF-8 text: byte 1 is 0x00"):
        given.read_text(tmp_path / "bad.txt")


def test_chinese_characters_are_words():
    documents = ["一只狗在跑步", "a 狗 runs"]
    pieces = WordPieces(learn_vocabulary(documents, 40)).pieces("狗在跑 runs")
    assert pieces == ["狗", "在", "跑", "runs"]
    assert "[UNK]" not in WordPieces(learn_vocabulary(documents, 40)).pieces("狗" * 200)


def test_unknown_words_are_counted(capsys):
    text.tell_unknown([[5] * 99, [1]])
    assert capsys.readouterr().err == ""
    text.tell_unknown([[5] * 98, [1, 1]])
    assert "2 of 100 tokens are [UNK]" in capsys.readouterr().err


# --- ImageNet's layouts -----------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["winter21_whole/n01/0.JPEG", "whole/n01/n01/0.JPEG", "n01/n01/0.JPEG"])
def test_a_further_level_of_folders_is_looked_through(place, tmp_path):
    picture(tmp_path / place, 1)
    (tmp_path / place).parents[0].parent.joinpath("._n01").write_bytes(b"\0")
    (tmp_path / "__MACOSX").mkdir()
    source = open_source(tmp_path)
    found = list_images(source, ["n01"])
    assert found.classes == ["n01"] and (source.root / found.paths[0]).samefile(tmp_path / place)


def test_backslashes_in_a_manifest_are_slashes(tmp_path):
    rows = pd.DataFrame({"path": ["n01\\0.JPEG", "n01/1.JPEG"], "wnid": "n01"})
    rows.to_csv(tmp_path / "list.csv", index=False)
    found = list_images(open_source(tmp_path / "list.csv"), ["n01"])
    assert sorted(found.paths) == ["n01/0.JPEG", "n01/1.JPEG"]


# --- what a file holds ------------------------------------------------------------------------------


def archive(save) -> bytes:
    file = io.BytesIO()
    save(file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (archive(lambda file: np.save(file, np.ones(2))), "a numpy array (.npy)"),
        (archive(lambda file: np.savez(file, a=np.ones(2))), "several numpy arrays (.npz)"),
        (b"\n<HTML><body>", "a web page"),
        (b"PK\x03\x04 cut off", ""),
        (b"anything", ""),
        (b"", ""),
    ],
)
def test_a_file_says_what_it_is(content, said, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(content)
    assert said in given.really(path) and given.really(path) == given.really(content)
    assert bool(said) == bool(given.really(path))


def test_paths_begin_at_home(root, monkeypatch):
    monkeypatch.setenv("HOME", str(root.parent))
    assert len(build(image_folder, root.parent / "dataset", root="~/mine", size=4).labels("train")) == 4
