"""What is written about each class, as the split `captions`: one row of token ids per class."""

import numpy as np
import pandas as pd

from splits.store import DatasetWriter
from splits.words.wordpieces import CLS, PAD, SEP, WordPieces, learn_vocabulary
from suite.errors import UserError


def write(writer: DatasetWriter, captions: list[str], seen: int, vocabulary: int, length: int) -> None:
    """Write the split, row = label, and vocabulary.txt; int32 [classes, at most `length`].

    captions: of all classes, the `seen` ones first; word pieces are learned from those alone. Longer captions
    are cut off. Raises UserError for a caption without a word, and where an unseen one reads like a seen one.
    """
    if length < 3:
        raise UserError(f"length is {length}: a caption needs 3 tokens at least, [CLS], a piece and [SEP]")
    pieces = learn_vocabulary(captions[:seen], vocabulary)
    cutter = WordPieces(pieces)
    rows = []
    for caption in captions:
        ids = cutter.encode(caption)
        if not ids:
            raise UserError(f"caption {caption!r} holds no word and no sign")
        rows.append([CLS, *ids[: length - 2], SEP])
    tokens = np.full((len(rows), max(map(len, rows))), PAD, np.int32)
    for row, ids in enumerate(rows):
        tokens[row, : len(ids)] = ids
    same = {tuple(row): label for label, row in enumerate(rows[:seen])}
    for label, row in enumerate(rows[seen:], seen):
        if tuple(row) in same:
            raise UserError(
                f"caption {captions[label]!r}, held out, is the same {len(row)} tokens as "
                f"{captions[same[tuple(row)]]!r}, which is trained on; raise `length` or leave one out"
            )
    (writer.folder / "vocabulary.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    items = pd.DataFrame({"id": [f"captions-{row:06d}" for row in range(len(rows))], "caption": captions})
    writer.split("captions", tokens, np.arange(len(rows), dtype=np.int64), items)
