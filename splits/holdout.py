"""Seen and unseen classes, and a long-tailed stream, from a data set with official training and test images.

Seen classes give `train` and `val`, unseen ones `database` (training images) and `query` (test images); the
`stream` takes training images of either that stand in no other split. Sources give the OPTIONS named here.
"""

import zlib

import numpy as np
import pandas as pd

from splits.imagenet4k import draw, item_keys
from suite.errors import UserError


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

    Classes are ranked at random and counts fall geometrically with the rank, from `stream_head` to
    `stream_tail`; a class that has fewer images left gives those. spare: images in no other split.
    """
    rng = np.random.default_rng([options["seed"], zlib.crc32(b"stream")])
    ranked = rng.permutation(np.sort(spare["label"].unique()))
    counts = np.geomspace(options["stream_head"], options["stream_tail"], len(ranked)).round().astype(int)
    wanted = spare["label"].map(dict(zip(ranked.tolist(), counts.tolist())))
    chosen = spare[spare.groupby("label").cumcount() < wanted]
    chosen = chosen.assign(group=np.where(chosen["seen"], "pretrain", "novel"))
    return chosen.iloc[rng.permutation(len(chosen))]
