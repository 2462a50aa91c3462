"""A study of random numbers: splits, and embeddings and classifiers in which classes are planted.

For benchmarks at sizes at which nobody waits for a training, and for tests. An embedding is the code of its
class, a Gaussian around that of its superclass, plus noise; some are of another class of their superclass,
so that no size is ever perfect. Longer prefixes average out more noise.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from baselines.representation import View, write_representation
from splits.store import Dataset, DatasetWriter
from suite import files
from suite.layout import Layout
from suite.study import Method

DEVIATION = 1.5  # of the noise of train and val, in every dimension
# How noisy the embeddings of other splits are, against these.
NOISE = {"v2": 1.2, "sketch": 1.6, "r": 1.6, "a": 2.0}
SUBSET = ("r", "a")  # splits that hold a fifth of the seen classes
UNSEEN = ("database", "query")  # splits that hold unseen classes only
MISTAKEN = 0.15  # share of embeddings that are of another class of their superclass
BANK = 4096  # rows of noise, used in random order: drawing millions would take longer than what is measured
BLOCK = 16_384


@dataclass(frozen=True)
class Planted:
    """What embeddings are made from.

    codes: float32 [classes, d]; siblings: for each class another of its superclass, int64 [classes].
    """

    codes: np.ndarray
    siblings: np.ndarray


def write_dataset(
    layout: Layout,
    counts: dict[str, int],
    rng: np.random.Generator,
    *,
    seen: int,
    unseen: int,
    superclasses: int,
    image: tuple[int, int, int] = (8, 8, 1),
) -> Dataset:
    """Write splits of random images and return them.

    counts: images per split. Classes are spread evenly over a split, but over `stream`, which holds half of
    the seen and half of the unseen ones with a long tail, in random order.
    """
    writer = DatasetWriter(layout.data, "synthetic", dict(counts))
    classes = pd.DataFrame({"label": np.arange(seen + unseen)})
    classes["name"] = [f"class {label}" for label in classes["label"]]
    classes["superclass"] = [f"superclass {label % superclasses}" for label in classes["label"]]
    writer.classes(classes.assign(seen=classes["label"] < seen))
    for name, n in counts.items():
        chosen = split_labels(name, n, seen, unseen, rng)
        items = pd.DataFrame({"id": [f"{name}-{row:07d}" for row in range(n)]})
        writer.split(name, rng.integers(0, 256, (n, *image), dtype=np.uint8), chosen, items)
    writer.finish()
    return Dataset(layout.data)


def split_labels(name: str, n: int, seen: int, unseen: int, rng: np.random.Generator) -> np.ndarray:
    """Labels of one split: int64 [n]."""
    if name == "stream":
        classes = rng.permutation(np.r_[0 : seen // 2, seen : seen + unseen // 2])
        share = np.geomspace(60, 1, len(classes))
        return rng.choice(classes, n, p=share / share.sum())
    if name in UNSEEN:
        return seen + np.arange(n) % unseen
    classes = np.sort(rng.permutation(seen)[: max(2, seen // 5)]) if name in SUBSET else np.arange(seen)
    return classes[np.arange(n) % len(classes)]


def plant(dataset: Dataset, dim: int, rng: np.random.Generator) -> Planted:
    """Codes of all classes of a dataset."""
    groups, group = np.unique(dataset.classes["superclass"], return_inverse=True)
    centres = rng.standard_normal((len(groups), dim), dtype=np.float32)
    codes = centres[group] + rng.standard_normal((len(group), dim), dtype=np.float32)
    # The next class of the same superclass among the seen ones, and among the unseen ones.
    siblings = np.arange(len(group))
    for members in dataset.classes.groupby(["superclass", "seen"])["label"]:
        siblings[members[1]] = np.roll(members[1], 1)
    return Planted(codes, siblings)


def write_method(
    layout: Layout,
    method: Method,
    seed: int,
    dataset: Dataset,
    planted: Planted,
    rng: np.random.Generator,
    splits: dict[str, np.ndarray],
    dtype: type = np.float32,
) -> None:
    """Write what `python -m baselines.embed` would: arrays, classifiers, meta.json.

    A method with a network per size gets an array with the sizes side by side, one with `draws` that many
    orders of the columns, any other one nested view. splits: labels int64 [n] by name.
    """
    folder, dim = layout.embeddings(method.name, seed), planted.codes.shape[1]
    views = method_views(method, dim, rng)
    noise = DEVIATION * rng.standard_normal((BANK, dim), dtype=np.float32)
    columns = np.concatenate([np.arange(m) for m in (method.nesting if method.network_per_size else [dim])])
    for name, labels in splits.items():
        bank = noise * NOISE.get(name, 1)
        with files.create_npy(folder / f"{name}.npy", (len(labels), len(columns)), dtype) as out:
            for start in range(0, len(labels), BLOCK):
                shown = labels[start : start + BLOCK]
                shown = np.where(rng.random(len(shown)) < MISTAKEN, planted.siblings[shown], shown)
                embedded = planted.codes[shown] + bank[rng.integers(0, BANK, len(shown))]
                out[start : start + BLOCK] = embedded[:, columns]
    write_representation(
        folder,
        method=method.name,
        seed=seed,
        views=views,
        splits=list(splits),
        classifiers={
            (place, m): classifier(view, m, columns, planted, dataset.num_classes)
            for place, view in enumerate(views)
            for m in view.sizes
        },
        classifier_parameters={str(m): dataset.num_classes * (m + 1) for m in (0, *method.nesting)},
        data_checksum=dataset.checksum,
        cost=made_up_cost(method, dim) | {"embed_images": sum(map(len, splits.values()))},
    )


def made_up_cost(method: Method, dim: int) -> dict:
    """Cost of a method and its networks; a fitted method has that of the network it starts from."""
    training = {"train_seconds": 1.0, "train_images": 1000, "train_macs": 30_000_000, "forwards": 1}
    networks = [
        {
            "network": name,
            "parameters": 1000 + max(sizes),
            "macs": {str(m): 10_000 + m for m in sizes},
            "macs_all_sizes": 10_000 + sum(sizes),
            **training,
        }
        for name, sizes in [(net.name, net.sizes) for net in method.networks] or [(method.name, (dim,))]
    ]
    return {"networks": networks, "embed_seconds": 1.0}


def method_views(method: Method, dim: int, rng: np.random.Generator) -> list[View]:
    """Views of a method over its array; see `write_method`."""
    if method.network_per_size:
        return View.side_by_side(method.nesting)
    if "draws" in method.options:
        orders = [tuple(rng.permutation(dim).tolist()) for _ in range(method.options["draws"])]
        return [View(method.nesting, 0, dim, draw, order=order) for draw, order in enumerate(orders)]
    return [View(method.nesting, 0, dim)]


def classifier(
    view: View, m: int, columns: np.ndarray, planted: Planted, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """(weight [C, m], bias [C]): logits are log-likelihoods, up to a constant, of the planted model."""
    means = planted.codes[:num_classes, columns[view.prefix(m)]]
    return means / DEVIATION**2, -0.5 * (means**2).sum(1) / DEVIATION**2
