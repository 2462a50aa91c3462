"""Which classes are chosen, which are never trained on, and which images of them are drawn: for any data.

What is drawn depends on a seed and on names alone: not on the order of a listing, not on the machine. For a
data set with official training and test images, `assign` gives every split: `train` and `val` of seen
classes, `database` (training images) and `query` (test images) of unseen ones, and a `stream` of training
images of either that stand in no other split. Sources give the options named there.
"""

import zlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from suite.errors import UserError, unknown

# What a class must be to be chosen. "images" needs a count, the others a column of the same name.
RULES = {"published": ("images", "unseen", "leaf"), "stated": ("images", "unseen")}
REASONS = {"images": "too few images", "unseen": "in ImageNet-1K", "leaf": "not a leaf"}
NOT_DRAWN = -1


def select_classes(candidates: pd.DataFrame, rule: str, min_images: int) -> pd.DataFrame:
    """One row per candidate, by class id: `kept` (bool) and `reason` (all of them; "" when kept).

    candidates: indexed by class id, with `images` (count) and, where the rule asks for it,
    `unseen` and `leaf` (bool). Raises UserError for a rule that does not exist.
    """
    if rule not in RULES:
        raise unknown("rule", rule, RULES, "RULES in splits/sampling.py")
    candidates = candidates.sort_index()
    met = candidates.assign(images=candidates["images"] >= min_images)[list(RULES[rule])].astype(bool)
    refused = ~met.rename(columns=REASONS)
    why = ["; ".join(refused.columns[row]) for row in refused.to_numpy()]
    return pd.DataFrame({"kept": ~refused.any(axis=1), "reason": why}, index=candidates.index)


def draw(items: pd.DataFrame, per_class: dict[str, int], seed: int) -> pd.DataFrame:
    """The drawn rows of `items` and their `split`: for each split so many of every class.

    items: `class_id` and `item` (str, unique within its class). Rows come by split, class and rank. A draw
    depends on the seed and the names alone, not on the order of the rows nor on other classes; and asking
    more of the *last* split leaves what the others have as it is. Raises UserError naming every class that
    has too few items, and ValueError for an item that occurs twice.
    """
    codes, classes = pd.factorize(items["class_id"], sort=True)
    keys = item_keys(items["item"].to_numpy(dtype=object), seed)
    order = np.lexsort((keys, codes))
    codes, keys = codes[order], keys[order]
    twice = (np.diff(codes) == 0) & (keys[1:] == keys[:-1])
    if twice.any():
        row = items.iloc[order[np.argmax(twice)]]
        raise ValueError(f"item {row['item']!r} of class {row['class_id']} occurs twice")
    needed = sum(per_class.values())
    found = np.bincount(codes, minlength=len(classes))
    short = [f"{classes[c]} ({found[c]})" for c in np.flatnonzero(found < needed)]
    if short:
        raise UserError(f"each class needs {needed} items; too few: {', '.join(short)}")
    place = place_rows(codes, np.ones(len(codes), bool), per_class)
    chosen = np.concatenate([np.flatnonzero(place == s) for s in range(len(per_class))])
    drawn = items.iloc[order[chosen]].copy()
    drawn["split"] = np.array(list(per_class), dtype=object)[place[chosen]]
    return drawn


def item_keys(names: np.ndarray, seed: int) -> np.ndarray:
    """uint64 [n]: the SipHash-2-4 of each name (str objects [n]), keyed by the seed and mixed.

    Sorting by it is a random order that every machine and every listing agrees on.
    """
    if not 0 <= seed < 10**16:
        raise UserError(f"seed {seed} is not between 0 and 10^16")
    return pd.util.hash_array(names, hash_key=f"{seed:016d}", categorize=False)


def place_rows(codes: np.ndarray, usable: np.ndarray, per_class: dict[str, int]) -> np.ndarray:
    """int8 [n]: which split of `per_class` each row goes to (an index), or NOT_DRAWN.

    Rows are sorted by class (codes: int [n]) and rank; those that are not usable (bool [n]) are passed over.
    """
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    before = np.cumsum(usable) - usable
    rank = before - before[first][inverse]
    place = np.searchsorted(np.cumsum(list(per_class.values())), rank, side="right")
    return np.where(usable & (place < len(per_class)), place, NOT_DRAWN).astype(np.int8)


def divide(class_ids: list[str], unseen: int, seed: int) -> tuple[list[str], list[str]]:
    """(seen, unseen) class ids, each sorted; which are unseen depends on the seed and the ids alone.

    Raises UserError when nothing would be left to train on.
    """
    if not 0 <= unseen < len(class_ids):
        raise UserError(f"data.unseen is {unseen}, but there are {len(class_ids)} classes to divide")
    ids = np.array(class_ids, dtype=object)
    drawn = ids[np.argsort(item_keys(ids, seed))]
    return sorted(drawn[unseen:]), sorted(drawn[:unseen])


def assign(rows: pd.DataFrame, options: dict) -> pd.DataFrame:
    """The rows of every split, with `split` and `group` (of the stream pretrain or novel, else "").

    rows: one per image with class_id and item (names, unique within the class), label, seen (bool) and
    official ("train" or "val"). options: seed, unseen, train, database, stream_head, stream_tail. Without
    unseen classes every training image is trained on, and there is no stream.

    Raises UserError when `train` or `database` leave nothing for the stream.
    """
    rows = rows.assign(group="")
    official = rows["official"] == "val"
    tested = rows[official].assign(split=np.where(rows.loc[official, "seen"], "val", "query"))
    if not options["unseen"]:
        return pd.concat([rows[~official].assign(split="train"), tested])
    parts, left = [tested], []
    for split, seen in (("train", True), ("database", False)):
        group = rows[~official & (rows["seen"] == seen)]
        spare = int(group["class_id"].value_counts().min()) - options[split]
        if spare < options["stream_tail"] or options[split] < 1:
            raise UserError(
                f"data.{split} takes {options[split]} images of each class, which leaves {spare} "
                f"for the stream; at least data.stream_tail ({options['stream_tail']}) are needed"
            )
        drawn = draw(group, {split: options[split], "stream": spare}, options["seed"])
        parts.append(drawn[drawn["split"] == split])
        left.append(drawn[drawn["split"] == "stream"])
    parts.append(stream(pd.concat(left), options))
    return pd.concat(parts)


def stream(spare: pd.DataFrame, options: dict) -> pd.DataFrame:
    """Rows of the stream in the order they arrive, with `group` pretrain or novel.

    spare: images in no other split. A class that has fewer left than `long_tail` asks for gives those.
    """
    rng = stream_generator(options["seed"])
    wanted = long_tail(np.sort(spare["label"].unique()), options, rng)
    chosen = spare[spare.groupby("label").cumcount() < spare["label"].map(wanted)]
    chosen = chosen.assign(group=np.where(chosen["seen"], "pretrain", "novel"))
    return chosen.iloc[rng.permutation(len(chosen))]


def stream_generator(seed: int) -> np.random.Generator:
    """What the stream's classes and order are drawn from."""
    return np.random.default_rng([seed, zlib.crc32(b"stream")])


def long_tail(labels: Sequence[int], options: dict, rng: np.random.Generator) -> dict[int, int]:
    """How many images each class has in the stream, the most frequent first.

    Classes are ranked at random and counts fall geometrically with the rank, from `stream_head` to
    `stream_tail`: a few frequent classes of either group, many rare ones.
    """
    ranked = rng.permutation(labels)
    counts = np.geomspace(options["stream_head"], options["stream_tail"], len(ranked)).round().astype(int)
    return dict(zip(ranked.tolist(), counts.tolist()))
