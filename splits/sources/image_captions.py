"""The user's own image–caption pairs: a table of files, or a webdataset.

    <root>/captions.csv      columns image (path below <root>) and caption, one pair a row
    <root>.csv               the same; paths are relative to the table's folder
    <root>.tar               webdataset: members <key>.jpg|png|… and <key>.txt of the same key

A class is a caption, case and accents aside: pairs that share it are each other's positives. A share of the
captions is held out for zero-shot retrieval. An image that has captions of both sides is trained on, and left
out of the test. Images become squares: the centre of the longer side is kept and averaged down to `size`.
"""

import lzma
import tarfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from splits import given
from splits.checks import check_share, check_whole
from splits.given import composed, decoded, hidden, resolved, some
from splits.images import pictures
from splits.images.listing import names_image
from splits.store import DatasetWriter, class_table
from splits.words import captions, wordpieces
from suite import files
from suite.errors import UserError

PROVIDES = ("captions",)
WRITES = ("train", "query", "captions")
OUTSIDE = True
OPTIONS = {
    "root": "required",  # folder with captions.csv, a .csv, or a .tar
    "seed": 0,  # chooses the captions that are held out
    "size": 64,  # side of an image in pixels
    "channels": 3,  # 1 grey, 3 colour
    "bits": None,  # of a grey value in files of 16 bits: 9 to 16; None: 16, and darker files are refused
    "held_out": 0.1,  # share of the captions that are never trained on
    "vocabulary": 4096,  # word pieces of the captions at most
    "length": 64,  # tokens of a caption at most
}
ALLOWED = {
    "bits": {"type": "integer", "minimum": 9, "maximum": 16},
    "root": {"type": "string"},
    "size": {"minimum": 1, "maximum": 8192},
    "channels": {"enum": [1, 3]},
    "held_out": {"exclusiveMinimum": 0, "exclusiveMaximum": 1},
    "vocabulary": {"minimum": 1},
    "length": {"minimum": 1},
}


def build(writer: DatasetWriter, options: dict, threads: int) -> None:
    """Write train, query and captions.

    Raises UserError for a missing file, table or column, pairs that lack one side, captions that are not
    text, an image that cannot be read, and fewer than two captions on either side.
    """
    check_whole("image_captions", options, seed=0, size=1, channels=1)
    check_share("image_captions", options, "held_out")
    pairs = read_pairs(Path(options["root"]).expanduser())
    pairs, names, seen = divide(pairs, options["held_out"], options["seed"])
    writer.classes(class_table(names, "", seen, caption=names))
    target = pictures.Format(
        options["size"], options["channels"], as_shown=True, bits=pictures.check_bits(options)
    )
    pictures.write_splits(writer, pairs, target, threads)
    if len(np.unique(np.load(writer.folder / "query" / "labels.npy"))) < 2:
        raise UserError(
            f"{options['root']}: the images of all captions held out but one are also in train; raise "
            "`held_out` or choose another `seed`"
        )
    captions.write(writer, names, seen, options["vocabulary"], options["length"])


def outside(options: dict) -> dict:
    """What decides the data beside the options: the table and the images that it names, or the .tar.

    Raises UserError where that is missing.
    """
    root = Path(options["root"]).expanduser()
    path = root / "captions.csv" if root.is_dir() else root
    if not path.is_file():
        raise UserError(f"no table or .tar {path} (data.root)")
    if path.suffix.lower() == ".tar":
        return {"pairs": files.outside(path)}
    named = read_table(path)["id"]
    images = files.hash_files((name, path.parent / name) for name in sorted(set(named)))
    return {"pairs": files.sha256(path), "images": images}


def read_pairs(root: Path) -> pd.DataFrame:
    """Columns id (the image's name), file (path or bytes) and caption; see the module's first lines."""
    if root.suffix.lower() == ".tar":
        pairs = read_webdataset(root)
    else:
        pairs = read_table(root / "captions.csv" if root.is_dir() else root)
    pairs["caption"] = pairs["caption"].str.split().str.join(" ")
    empty = pairs.loc[pairs["caption"] == "", "id"].tolist()
    if empty:
        raise UserError(f"{root}: {len(empty)} captions are empty, first that of {empty[0]}")
    return pairs


def read_table(path: Path) -> pd.DataFrame:
    """Pairs of a .csv, checked: every image must be there."""
    if not path.is_file():
        raise UserError(f"no table {path}: expected columns image, caption (data.root)")
    table = given.read_table(path, "image", "caption")
    for line, caption in zip(table["line"], table["caption"]):
        # A caption may have several lines, but none that is a row of the table.
        if any(names_row(part) for part in caption.split("\n")[1:]):
            raise UserError(
                f"{path}, line {line}: the caption goes on over lines that name images: its quote has no end"
            )
    files = resolved(path.parent, table["image"].tolist())
    if missing := [str(file) for file in files if not file.is_file()]:
        raise UserError(
            f"{path} names {len(missing)} images that are not there, first {some(missing)}; paths are "
            f"relative to {path.parent}"
        )
    return pd.DataFrame({"id": table["image"], "file": files, "caption": table["caption"]})


def names_row(line: str) -> bool:
    """Whether a line of a caption is itself a row with an image."""
    return "," in line and any(names_image(field.strip(' "')) for field in line.split(","))


def read_webdataset(path: Path) -> pd.DataFrame:
    """Pairs of a .tar, read into memory: the members of one key are an image and its caption."""
    images: dict[str, tuple[str, bytes]] = {}
    texts: dict[str, str] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if hidden(member.name) or not (member.isfile() or member.islnk() or member.issym()):
                    continue
                name = PurePosixPath(member.name)
                key = composed(str(name.parent / name.name.partition(".")[0]))
                if names_image(name.name):
                    if key in images:
                        raise UserError(f"{path}: {images[key][0]} and {member.name} are images of one key")
                    images[key] = member.name, archive.extractfile(member).read()
                elif name.suffix.lower() == ".txt":
                    texts[key] = decoded(archive.extractfile(member).read(), f"{path}: {member.name}")
    except FileNotFoundError as error:
        raise UserError(f"no file {path} (data.root)") from error
    except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise UserError(f"{path} is not a whole .tar: {error}") from error
    except KeyError as error:
        raise UserError(f"{path}: {member.name} is a link to what is not in it") from error
    if alone := sorted(set(images) ^ set(texts)):
        raise UserError(
            f"{path}: {len(alone)} keys have an image or a caption (.txt) alone, first {', '.join(alone[:3])}"
        )
    rows = [(name, content, texts[key]) for key, (name, content) in images.items()]
    return pd.DataFrame(rows, columns=["id", "file", "caption"])


def divide(pairs: pd.DataFrame, held_out: float, seed: int) -> tuple[pd.DataFrame, list[str], int]:
    """(pairs with split and label, captions by label, how many of them are trained on)."""
    # As the tokeniser reads them: "A dog." and "a dog." are one class.
    first = pairs.groupby(pairs["caption"].map(wordpieces.words))["caption"].transform("first")
    pairs = pairs.assign(caption=first)
    names = sorted(set(pairs["caption"]))
    if len(names) < 4:
        raise UserError(
            f"{len(names)} different captions: two are needed on either side, held out and trained on"
        )
    rng = np.random.default_rng([seed, zlib.crc32(b"image_captions")])
    count = min(len(names) - 2, max(2, round(held_out * len(names))))
    apart = set(rng.choice(names, count, replace=False).tolist())
    held = pairs["caption"].isin(apart)
    pairs = pairs.assign(split=np.where(held, "query", "train"))
    pairs = pairs[~held | ~pairs["id"].isin(pairs.loc[~held, "id"])]
    tested = apart & set(pairs["caption"])
    if len(tested) < 2:
        raise UserError(
            f"{len(tested)} captions held out have an image left, two are needed: the other images also have "
            "a caption of train"
        )
    names = [name for name in names if name not in apart] + sorted(tested)
    label = {name: number for number, name in enumerate(names)}
    ids = [f"{name}#{row}" for row, name in enumerate(pairs["id"])]  # an image with several captions
    return pairs.assign(label=pairs["caption"].map(label), id=ids), names, len(names) - len(tested)
