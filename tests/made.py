"""A miniature collection in BEIR's layout, with vectors of two models, for tests of what is made of it."""

import json

import numpy as np

DOCUMENTS, QUERIES, DIM = 60, 12, 16


def write_jsonl(path, ids, text="text"):
    """A file of items with these ids."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"_id": name, "text": f"{text} {name}"}) + "\n" for name in ids))


def write_qrels(path, rows):
    """BEIR's file of (query, document, gain)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")


def collection(root, seed=0, documents=DOCUMENTS, queries=QUERIES, dim=DIM, zeros=True):
    """Write a collection below `root`; gives it back, by name: ids and judgements.

    Queries lie near their relevant documents: in the first columns of `nested`, and alike in all of `plain`.
    The last document is all zeros, unless `zeros` is false, and the two before it are equal.
    """
    rng = np.random.default_rng(seed)
    corpus_ids, query_ids = [f"d{i:02d}" for i in range(documents)], [f"q{i}" for i in range(queries)]
    write_jsonl(root / "corpus.jsonl", corpus_ids)
    write_jsonl(root / "queries.jsonl", query_ids, "what is")
    gains = {0: 2, 20: 1, 30: 0}  # of the documents so far behind a query's number
    judged = [(f"q{i}", f"d{i + far:02d}", gain) for i in range(queries) for far, gain in gains.items()]
    write_qrels(root / "qrels" / "test.tsv", judged)
    for model in ("nested", "plain"):
        noise = np.linspace(0.1, 3, dim) if model == "nested" else 0.8
        x = rng.standard_normal((documents, dim)).astype(np.float32)
        near = x[:queries] + 0.6 * x[20 : 20 + queries] + noise * rng.standard_normal((queries, dim))
        x[-2], x[-1] = x[-3], x[-1] * (not zeros)
        save(root, model, "corpus", x.astype(np.float16))
        save(root, model, "queries", near.astype(np.float16))
    return {"corpus": corpus_ids, "queries": query_ids, "judged": judged}


def train_judgements(root, count=30, own_file=True, seed=1):
    """Give a collection training queries, each near a document: of files of their own or among others."""
    rng = np.random.default_rng(seed)
    ids = [f"t{i}" for i in range(count)]
    documents = rng.permutation(len((root / "corpus.jsonl").read_text().splitlines()) - 3)[:count]
    write_qrels(root / "qrels" / "train.tsv", [(name, f"d{d:02d}", 1) for name, d in zip(ids, documents)])
    others = (
        [] if own_file else [json.loads(x)["_id"] for x in (root / "queries.jsonl").read_text().splitlines()]
    )
    name = "train_queries" if own_file else "queries"
    write_jsonl(root / f"{name}.jsonl", [*others, *ids], "what is")
    for model in ("nested", "plain"):
        near = load(root, model, "corpus")[documents].astype(np.float32)
        near = (near + 0.3 * rng.standard_normal(near.shape)).astype(np.float16)
        save(root, model, name, near if own_file else np.concatenate([load(root, model, "queries"), near]))
    return documents


def save(root, model, split, array):
    """The vectors of a split; gives their path."""
    path = root / "embeddings" / model / f"{split}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
    return path


def load(root, model="plain", split="corpus"):
    """The vectors of a split."""
    return np.load(root / "embeddings" / model / f"{split}.npy")


def labelled(root, seed=0, train=120, test=40, classes=5, dim=DIM):
    """Write labelled vectors of a model `nested` below `root`: classes apart in its first columns.

    Gives the vectors and labels by split: (train, labels, test, labels).
    """
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((classes, dim)) * np.linspace(2, 0, dim)
    found = []
    for split, count in (("train", train), ("test", test)):
        labels = rng.permutation(np.arange(count) % classes)
        x = (centres[labels] + rng.standard_normal((count, dim))).astype(np.float16)
        save(root, "nested", split, x)
        np.save(root / f"{split}_labels.npy", labels)
        found += [x, labels]
    return tuple(found)
