"""Glyphs with the characters' Unicode names as captions: images and text, without a download.

The characters and drawings are those of glyphs.py. Characters that are never trained on, and their
names, are the zero-shot test: `query` and `database`.
"""

import numpy as np

from splits.checks import check_whole
from splits.images import pictures
from splits.sources.glyphs import Artist, choose_classes
from splits.store import DatasetWriter
from splits.words import captions

PROVIDES = ("captions",)
WRITES = ("train", "val", "database", "query", "captions", "superclasses")
OPTIONS = {
    "seed": 0,  # chooses the classes and draws every image
    "classes": 1000,  # characters that are trained on: what a name means is learned from many
    "unseen": 200,  # characters that are not
    "unseen_faces": 4,  # typefaces an unseen character is in, at least
    "train": 20,  # images per class, and so below
    "val": 5,
    "database": 20,
    "query": 10,
    "vocabulary": 4096,  # word pieces of the captions at most
    "length": 32,  # tokens of a caption at most
}
ALLOWED = {
    "classes": {"minimum": 2},
    "unseen": {"minimum": 2},
    "unseen_faces": {"minimum": 1},
    "train": {"minimum": 1},
    "val": {"minimum": 1},
    "database": {"minimum": 1},
    "query": {"minimum": 1},
    "vocabulary": {"minimum": 1},
    "length": {"minimum": 1},
}
LEAST = {"seed": 0, "classes": 2, "unseen": 2}  # two classes: captions are told apart


def build(writer: DatasetWriter, options: dict, threads: int) -> None:
    """Write train, val, database, query and captions. Raises UserError for options that make no dataset."""
    check_whole("glyph_captions", options, **dict.fromkeys(options, 1) | LEAST)
    classes, characters = choose_classes(options)
    writer.classes(classes)
    seen, unseen = np.flatnonzero(classes["seen"]), np.flatnonzero(~classes["seen"])
    with pictures.pool(threads) as run:
        artist = Artist(options["seed"], characters, run)
        for labels, names in ((seen, ("train", "val")), (unseen, ("database", "query"))):
            for name in names:
                artist.write(writer, name, artist.plan(name, labels, options[name]))
    captions.write(writer, classes["caption"].tolist(), len(seen), options["vocabulary"], options["length"])
