"""A text collection that is embedded already: documents, queries, relevance judgements, vectors of models.

A folder in BEIR's layout, with the vectors beside it (docs/collections.md):

    corpus.jsonl                                  {"_id": …} and whatever else, one document per line
    queries.jsonl                                 the same of queries
    qrels/<split>.tsv                             query, document, gain; or TREC's four columns
    embeddings/<model>/corpus.npy, queries.npy    a row for each line that is not empty (splits/vectors.py)

`corpus` has all documents, `queries` those with judgements in the split. With `train_split`, `train_queries`
has those with judgements in that one, which maps may be fitted to: lines of queries.jsonl as well, as BEIR
has it, or of a train_queries.jsonl, with vectors of that name. Texts are not kept, and vectors stay where
they are: the method `given_embeddings` opens them. All of it is checked here, before anything is made from
it. Embedding is the user's.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from splits.given import MARKS, decoded, hidden, read_text, some
from splits.store import DIGEST, JUDGED, DatasetWriter, class_table
from splits.vectors import EMBEDDINGS, check_ids, check_values, listing, models, open_model
from suite.errors import UserError

PROVIDES = ("embeddings", "judgements")
LABELS = False
WRITES = ("corpus", "queries")
MAY_WRITE = {"train_queries": ["train_split"]}
OUTSIDE = True
OPTIONS = {
    "root": "required",  # the folder
    "split": "test",  # whose judgements: qrels/<split>.tsv
    "train_split": None,  # whose judgements maps may be fitted to, as `train`; null: none
    "models": None,  # folders of embeddings/ to take; null: all of them
    # Judged documents that the corpus lacks: an error, or "missed", never found, as trec_eval counts them.
    "unknown_documents": "refused",
}
ALLOWED = {
    "root": {"type": "string"},
    "split": {"pattern": r"^[\w.-]+$"},
    "train_split": {"type": "string", "pattern": r"^[\w.-]+$"},
    "models": {"type": "array", "minItems": 1, "items": {"type": "string"}},
    "unknown_documents": {"enum": ["refused", "missed"]},
}
NAMES = {"corpus": "corpus.jsonl", "queries": "queries.jsonl"}
TRAIN = "train_queries"  # the split, and the file that has its queries alone


@dataclass
class Texts:
    """What is kept of a .jsonl: ids, the line of each (from 1), and a digest of each text."""

    path: Path
    ids: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)


def build(writer: DatasetWriter, options: dict, threads: int) -> None:
    """Write corpus, queries and judgements. Raises UserError, with file and line, for whatever is wrong."""
    root, arrays = Path(options["root"]).expanduser(), vector_files(options)
    texts = texts_of(root, arrays)
    corpus, missing = texts["corpus"], options["unknown_documents"]
    judged, asked = {}, {}
    for split, path in judgement_files(root, options).items():
        judged[split] = read_judgements(path, corpus, texts[split], missing)
        asked[split] = np.unique(judged[split]["query"])  # rows of the .jsonl
    if TRAIN in asked:
        known, ids = ([texts[split].ids[row] for row in asked[split]] for split in (TRAIN, "queries"))
        if both := sorted(set(known) & set(ids)):
            raise UserError(
                f"{len(both)} queries have judgements in {options['train_split']} and in {options['split']} "
                f"({some(both)}): what maps are fitted to must not be measured"
            )
        named = [judged[split]["document"] for split in ("queries", TRAIN)]
        again = np.isin(*named) & (named[0] >= 0)
        tqdm.write(
            f"{again.sum()} of {len(again)} judgements in {options['split']} are of documents that "
            f"{options['train_split']} judges as well; what is learned from these may not help with others"
        )
    for model in models(root, options["models"], tuple(NAMES)):
        if unchecked := check_model(folder := root / EMBEDDINGS / model, texts, arrays):
            tqdm.write(f"{folder}: no ids, so the order of rows was not checked: {', '.join(unchecked)}")
    here = [rows for split, rows in asked.items() if texts[split] is texts["queries"]]
    if left := len(texts["queries"].ids) - sum(map(len, here)):
        tqdm.write(f"{left} queries have no judgements in {options['split']} and are left out")
    writer.classes(class_table([], [], 0))
    write(writer, "corpus", corpus, np.arange(len(corpus.ids)))
    for split, table in judged.items():
        write(writer, split, texts[split], asked[split])
        writer.judgements(table.assign(query=np.searchsorted(asked[split], table["query"])), split)


def write(writer: DatasetWriter, split: str, texts: Texts, rows: np.ndarray) -> None:
    """Write a split without images: ids, `row` among all that the file has, and digests."""
    items = pd.DataFrame({"id": [texts.ids[row] for row in rows], "row": rows})
    digests = np.array([texts.digests[row] for row in rows], DIGEST)
    writer.without_images(split, np.full(len(rows), -1), items, digests)


def outside(options: dict) -> dict:
    """A listing of the folder. Raises UserError for one that is not there or lacks one of its parts."""
    root = Path(options["root"]).expanduser()
    if not root.is_dir():
        raise UserError(
            f"no folder {root}: data.root is a collection in BEIR's layout with vectors beside it, and no "
            "part of the suite; see docs/collections.md"
        )
    for name in NAMES.values():
        if not (root / name).is_file():
            raise UserError(
                f"no file {root / name}, one line of JSON for each of its items; see docs/collections.md"
            )
    read = [root / f"{name}.jsonl" for name in vector_files(options).values()]
    read += judgement_files(root, options).values()
    read += [root / EMBEDDINGS / model for model in models(root, options["models"], tuple(NAMES))]
    return {"listing": listing(root, read)}


def vector_files(options: dict) -> dict[str, str]:
    """The name of each split's array below a model's folder, without .npy."""
    arrays = {split: split for split in NAMES}
    if options.get("train_split"):
        own = (Path(options["root"]).expanduser() / f"{TRAIN}.jsonl").is_file()
        arrays[TRAIN] = TRAIN if own else "queries"
    return arrays


def judgement_files(root: Path, options: dict) -> dict[str, Path]:
    """By split of queries the file of its judgements. Raises UserError for one that is not there."""
    splits = {"queries": "split", TRAIN: "train_split"}
    return {split: qrels(root, options[key], key) for split, key in splits.items() if options.get(key)}


def qrels(root: Path, split: str, option: str = "split") -> Path:
    """The file of judgements of a split. Raises UserError with those there are."""
    path = root / "qrels" / f"{split}.tsv"
    if not path.is_file():
        there = sorted(found.stem for found in path.parent.glob("*.tsv") if not hidden(found.name))
        raise UserError(
            f"no file {path} (data.{option}); splits with judgements: {', '.join(there) or 'none'}"
        )
    return path


def check_vectors(folder: Path, options: dict) -> list[str]:
    """`check_model` of a folder that lies anywhere, for the texts that are measured and searched."""
    arrays = {split: split for split in NAMES}
    return check_model(folder, texts_of(Path(options["root"]).expanduser(), arrays), arrays)


def texts_of(root: Path, arrays: dict[str, str]) -> dict[str, Texts]:
    """By split the texts of the files that arrays are of; each file is read once."""
    read = {name: read_texts(root / f"{name}.jsonl") for name in dict.fromkeys(arrays.values())}
    return {split: read[name] for split, name in arrays.items()}


def check_model(folder: Path, texts: dict[str, Texts], arrays: dict[str, str]) -> list[str]:
    """Names of arrays whose order was not checked, since no ids tell.

    Raises UserError unless a model has a finite vector for each text, in their order where ids tell.
    """
    unchecked, found = [], open_model(folder, arrays)
    for split, name in arrays.items():
        given, vectors = texts[split], found[split]
        if split != name and name in arrays:
            continue  # training queries among the others
        if len(vectors) != len(given.ids):
            raise UserError(
                f"{vectors.path} has {len(vectors)} rows, but {given.path} has {len(given.ids)} items"
            )
        if not check_ids(folder, name, given.path, given.ids, given.lines):
            unchecked.append(name)
        if zeros := check_values(vectors, given.path, given.lines):
            tqdm.write(f"{vectors.path}: {zeros} rows are all zeros; their cosine with everything is 0")
    return unchecked


def read_texts(path: Path) -> Texts:
    """Ids, lines and digests of a .jsonl. Raises UserError, with the line, where one has no id of its own."""
    found, first = Texts(path), {}
    for number, line in lines_of(path):
        try:
            item = json.loads(decoded(line, f"{path}, line {number}"))
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number}: no JSON object ({error})") from error
        name = item.get("_id") if isinstance(item, dict) else None
        if isinstance(name, bool) or not isinstance(name, (str, int)) or name == "":
            raise UserError(f'{path}, line {number}: needs "_id", a text, as BEIR has it')
        name = str(name)
        if name in first:
            raise UserError(f"{path}, line {number}: {name!r} is already in line {first[name]}")
        first[name] = number
        found.ids.append(name)
        found.lines.append(number)
        text = json.dumps([path.name, name, item.get("title"), item.get("text")])
        found.digests.append(hashlib.blake2b(text.encode(), digest_size=16).digest())
    if not found.ids:
        raise UserError(f"{path} is empty; it needs one line of JSON for each item")
    return found


def lines_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """(number from 1, line) of those that are not blank, without a mark (BOM) in front of the first."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if number == 1:
                line = line.removeprefix(next(mark for mark, name in MARKS.items() if name == "utf-8-sig"))
            if line.strip():
                yield number, line


def read_judgements(path: Path, corpus: Texts, queries: Texts, unknown_documents: str) -> pd.DataFrame:
    """Columns of JUDGED, rows of the two files, ordered by query; a document that is not there is -1.

    Three columns (BEIR: query, document, gain) or four (TREC: a number in between), with tabs between them or
    white space; a first line without a gain is a header. Raises UserError with the line.
    """
    rows = {
        name: {item: row for row, item in enumerate(texts.ids)}
        for name, texts in (("query", queries), ("document", corpus))
    }
    found: dict[tuple[int, object], tuple[int, int]] = {}
    width, missed = None, set()
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        parts = [part.strip() for part in (line.split("\t") if "\t" in line else line.split())]
        is_gain = re.fullmatch(r"[+-]?\d+(\.0*)?", parts[-1]) is not None
        if width is None:
            width = len(parts)
            if width not in (3, 4):
                raise UserError(
                    f"{path}, line {number}: {width} columns; judgements have three (query, document, gain) "
                    "or TREC's four (query, 0, document, gain)"
                )
            if not is_gain and parts[0] not in rows["query"]:
                continue  # a header
        if len(parts) != width:
            raise UserError(f"{path}, line {number}: {len(parts)} columns, but those before have {width}")
        if not is_gain:
            raise UserError(f"{path}, line {number}: the gain is {parts[-1]!r}; allowed: whole numbers")
        query, document, gain = parts[0], parts[-2], int(float(parts[-1]))
        if query not in rows["query"]:
            raise UserError(f"{path}, line {number}: query {query!r} is not in {queries.path}")
        if document not in rows["document"]:
            if unknown_documents == "refused":
                raise UserError(
                    f"{path}, line {number}: document {document!r} is not in {corpus.path}; if that is "
                    "meant, `unknown_documents: missed` counts such documents as never found"
                )
            missed.add(document)
        pair = rows["query"][query], rows["document"].get(document, document)
        before = found.setdefault(pair, (gain, number))
        if before[0] != gain:
            raise UserError(
                f"{path}, line {number}: query {query!r}, document {document!r} has gain {gain}, but line "
                f"{before[1]} says {before[0]}"
            )
    if not any(gain > 0 for gain, _ in found.values()):
        raise UserError(f"{path} calls no document relevant: it needs gains above 0")
    if missed:
        tqdm.write(f"{path}: {len(missed)} judged documents are not in the corpus: {some(sorted(missed))}")
    table = [(query, row if isinstance(row, int) else -1, gain) for (query, row), (gain, _) in found.items()]
    return pd.DataFrame(table, columns=list(JUDGED), dtype=np.int64).sort_values("query", kind="stable")
