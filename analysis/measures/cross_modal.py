"""Images and captions searched for each other at every size: the raw material of all image–text tasks.

`val` has the classes that were trained on, `query` those that were not; each is searched with the captions
of its own classes as candidates, so that unseen classes are told apart by their captions alone. Prefixes are
cut, then normalised. Saves per split

    <split>/captions        int64 [C]                   labels of the candidates
    <split>/to_text         int32 [draws, sizes, n, k]  labels of the best captions for each image
    <split>/to_image        int32 [draws, sizes, C, k]  rows of the best images for each caption
    <split>/cosine/<pair>   float32 [draws, sizes, n]   of an image with its caption (`positive`) and with
                            that of another class (`text_image`); of two images (`image_image`) and of two
                            captions (`text_text`) of different classes
"""

import numpy as np

from analysis.measures import empty
from analysis.search.views import nearest_rows
from baselines.representation import Representation
from splits.store import Dataset

SPLITS = {"val": True, "query": False}  # whether its classes were trained on
PAIRS = ("positive", "text_image", "image_image", "text_text")
OPTIONS = {
    "k": 10,  # neighbours to keep
    "seed": 0,  # of the random pairs
}
ALLOWED = {
    "k": {"minimum": 1},
}


def measure(representation: Representation, dataset: Dataset, options: dict) -> dict[str, np.ndarray]:
    """Raw outcomes by name; see the module's first lines."""
    sizes = representation.sizes
    found = {"sizes": np.array(sizes, np.int64)}
    texts = representation.array("captions")
    for split, seen in SPLITS.items():
        if split in dataset:
            images = representation.array(split)
            candidates = np.flatnonzero(dataset.classes["seen"].astype(bool) == seen)
            to_text = nearest_rows(representation, images, texts[candidates], sizes, options["k"])
            to_image = nearest_rows(representation, texts[candidates], images, sizes, options["k"])
            found |= {
                f"{split}/captions": candidates,
                f"{split}/to_text": candidates[to_text].astype(np.int32),
                f"{split}/to_image": to_image,
            }
            rng = np.random.default_rng([options["seed"], len(candidates)])
            pairs = cosines(representation, split, dataset.labels(split), candidates, rng)
            found |= {f"{split}/cosine/{pair}": values for pair, values in pairs.items()}
    return found


def cosines(
    representation: Representation,
    split: str,
    labels: np.ndarray,
    candidates: np.ndarray,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Cosine at every size of pairs by kind, float32 [draws, sizes, n]: one pair of each kind per image."""
    images, texts = representation.array(split), representation.array("captions")
    other_text = different(labels, candidates, rng)
    other_image = labels_to_rows(labels, different(labels, np.unique(labels), rng), rng)
    sides = {
        "positive": (images, texts[labels]),
        "text_image": (images, texts[other_text]),
        "image_image": (images, images[other_image]),
        "text_text": (texts[labels], texts[other_text]),
    }
    found = {pair: empty(representation, len(labels), dtype=np.float32) for pair in PAIRS}
    for view in representation.views:
        for m in view.sizes:
            columns, where = view.prefix(m), (view.draw, representation.sizes.index(m))
            for pair, (a, b) in sides.items():
                found[pair][where] = cosine(a[:, columns], b[:, columns])
    return found


def different(labels: np.ndarray, candidates: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each label another one of `candidates` (sorted, distinct, at least two), at random: int64 [n]."""
    own = np.searchsorted(candidates, labels)
    return candidates[(own + rng.integers(1, len(candidates), len(labels))) % len(candidates)]


def labels_to_rows(labels: np.ndarray, wanted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each wanted label a row that has it, at random: int64 [len(wanted)]."""
    order = np.argsort(labels, kind="stable")
    first, last = (np.searchsorted(labels[order], wanted, side) for side in ("left", "right"))
    return order[rng.integers(first, last)]


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Row by row: [n] of a, b [n, m]; 0 where one of the two is."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return (a * b).sum(1) / np.where(norms > 0, norms, 1)
