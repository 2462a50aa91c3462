"""Collections in BEIR's layout with ready vectors: what is read, what is refused, what is measured."""

import json
import os
import re
from pathlib import Path

import ir_measures
import made
import numpy as np
import pandas as pd
import pytest
from small import build

from analysis.evaluations.quantised_retrieval import asked
from analysis.judged import average_precision, mrr, ndcg, places, recall
from analysis.measure import measure
from analysis.measures import write_outcomes
from analysis.measures.ranking import in_order, later_first, ranked
from analysis.plotting import Drawing
from analysis.run import Run
from analysis.tabulate import tabulate
from baselines import pca, random_rotation, spectral_tempering
from baselines.embed import embed
from baselines.fitting import Source
from baselines.representation import Representation, View
from splits.sources import collection
from splits.store import Dataset, Judgements
from suite import files
from suite.contracts import FIGURE, MEASURE
from suite.errors import UserError
from suite.study import Study

REAL = os.environ.get("MATRYOSHKA_COLLECTIONS")  # a folder of collections, with EXPECTED.csv
METHODS = {
    "nested": {"baseline": "given_embeddings", "model": "nested", "trained": [4, 16], "label": "nested"},
    "plain": {"baseline": "given_embeddings", "model": "plain", "label": "plain"},
}


@pytest.fixture
def root(tmp_path):
    """The folder of a miniature collection."""
    made.collection(tmp_path / "mine")
    return tmp_path / "mine"


@pytest.fixture
def read(root, tmp_path):
    """What builds the data of this collection, with options."""
    return lambda **given: build(collection, tmp_path / "dataset", **{"root": str(root)} | given)


def study_of(root, methods, **config):
    usual = {"name": "mini", "title": "mini", "nesting": [4, 8, 16], "seeds": [0], "figures": []}
    usual |= {"tasks": {"judged_retrieval": {"recalls": [10, 20]}}, "measures": {"ranking": {"depth": 40}}}
    return Study(usual | {"data": {"source": "collection", "root": str(root)}, "methods": methods} | config)


def run(study, folder, monkeypatch):
    """Everything of a study up to its tables, by name, in a folder of its own."""
    monkeypatch.chdir(folder)
    build(collection, study.layout.data, **study.source_options)
    for method in study.methods.values():
        embed(study, method, 0, "cpu")
    before = [(method, other) for method, name in study.measured() for other in MEASURE.facts(name).READS]
    for method, name in dict.fromkeys([*before, *study.measured()]):
        write_outcomes(study.layout, method, 0, name, measure(study, study.layout, method, 0, name))
    return {task: tabulate(study, task, study.layout) for task in study.tasks}


# --- what is read -----------------------------------------------------------------------------------


def test_a_collection_becomes_two_splits_and_judgements_and_queries_without_any_are_left_out(root, read):
    made.write_jsonl(root / "queries.jsonl", ["new", *(f"q{i}" for i in range(made.QUERIES))])
    for model in ("nested", "plain"):
        vectors = made.load(root, model, "queries")
        made.save(root, model, "queries", np.vstack([vectors[:1], vectors]))
    dataset = read()
    assert dataset.splits == ["corpus", "queries"] and dataset.num_classes == 0
    assert dataset["queries"].items["id"].tolist() == [f"q{i}" for i in range(made.QUERIES)]
    assert dataset["queries"].items["row"].tolist() == list(range(1, made.QUERIES + 1))
    judged = dataset.judgements
    assert judged.queries == made.QUERIES and len(judged.gain) == 3 * made.QUERIES
    assert (judged.query[:4].tolist(), judged.document[:4].tolist()) == ([0, 0, 0, 1], [0, 20, 30, 1])


QRELS = ("q0\td00\t2", "q1\td01\t0", "q1\td02\t1")


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(QRELS),
        "query-id\tcorpus-id\tscore\n" + "\n".join(QRELS) + "\n",
        "query-id\tcorpus-id\tscore\r\n" + "\r\n".join(QRELS) + "\r\n\r\n",
        "\ufeffquery-id\tcorpus-id\tscore\n" + "\n".join(QRELS),
        "\ufeff" + "\n".join(QRELS),
        "q0 0 d00 2\nq1 0 d01 0\nq1 Q0 d02 1.0\n",
        "\n".join([*QRELS, QRELS[0]]),
    ],
    ids=["plain", "header", "CRLF", "mark and header", "mark", "TREC", "a line twice"],
)
def test_judgements_are_read_in_every_usual_spelling(root, read, text):
    (root / "qrels" / "test.tsv").write_bytes(text.encode())
    judged = read().judgements
    assert judged.query.tolist() == [0, 1, 1] and judged.document.tolist() == [0, 1, 2]
    assert judged.gain.tolist() == [2, 0, 1] and judged.queries == 2


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_items_are_read_with_either_end_of_line_marks_numbers_for_ids_and_blank_lines(root, read, end, mark):
    lines = [json.dumps({"_id": f"d{i:02d}"}) for i in range(made.DOCUMENTS)]
    lines[-1] = json.dumps({"_id": 59, "title": "é"}, ensure_ascii=False)
    (root / "corpus.jsonl").write_bytes((mark + end.join([lines[0], "", *lines[1:]])).encode())
    assert read()["corpus"].items["id"].tolist()[-2:] == ["d58", "59"]


def test_a_judged_document_that_the_corpus_lacks_is_refused_or_counted_as_never_found(root, read):
    made.write_qrels(root / "qrels" / "test.tsv", [("q0", "d00", 1), ("q0", "gone", 1), ("q0", "too", 1)])
    with pytest.raises(UserError, match=r"test.tsv, line 3: document 'gone' is not in .*corpus.jsonl"):
        read()
    judged = read(unknown_documents="missed").judgements
    assert judged.document.tolist() == [0, -1, -1]
    found = places(np.arange(made.DOCUMENTS)[None], judged)
    assert found.tolist() == [0, -1, -1] and recall(found, judged, 10) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("corpus.jsonl", '{"_id": "a"}\n{"_id": "a"}\n', "corpus.jsonl, line 2: 'a' is already in line 1"),
        ("corpus.jsonl", '{"_id": "a"}\n{"id": "b"}\n', 'corpus.jsonl, line 2: needs "_id"'),
        ("corpus.jsonl", '{"_id": "a"}\n["b"]\n', 'corpus.jsonl, line 2: needs "_id"'),
        ("corpus.jsonl", '{"_id": "a"}\n{"_id": ""}\n', 'corpus.jsonl, line 2: needs "_id"'),
        ("corpus.jsonl", '{"_id": "a"}\n\n{"_id": \n', "corpus.jsonl, line 3: no JSON object"),
        ("corpus.jsonl", b'{"_id": "a"}\n{"_id": "\xe9"}\n', "corpus.jsonl, line 2 is not UTF-8 text"),
        ("queries.jsonl", "", "queries.jsonl is empty"),
        ("queries.jsonl", "\n\n", "queries.jsonl is empty"),
        ("qrels/test.tsv", "q0\td00\n", "test.tsv, line 1: 2 columns"),
        ("qrels/test.tsv", "q0\td00\t1\nq1\td01\n", "test.tsv, line 2: 2 columns, but those before have 3"),
        ("qrels/test.tsv", "q0\td00\t1\nq1\td01\tx\n", "test.tsv, line 2: the gain is 'x'"),
        ("qrels/test.tsv", "q0\td00\t0.5\n", "test.tsv, line 1: the gain is '0.5'"),
        ("qrels/test.tsv", "q0\td00\t1\nq99\td01\t1\n", "test.tsv, line 2: query 'q99' is not in"),
        ("qrels/test.tsv", "q0\td00\t1\nq0\td00\t2\n", "line 2: .* has gain 2, but line 1 says 1"),
        ("qrels/test.tsv", "q0\td00\t0\n", "calls no document relevant"),
        ("qrels/test.tsv", "", "calls no document relevant"),
    ],
)
def test_what_is_wrong_in_a_text_is_named_with_file_and_line(root, read, name, text, message):
    (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=message):
        read()


def changed(array, row, value):
    array = array.copy()
    array[row] = value
    return array


ARRAYS = {
    "rows": (lambda x: x[1:], r"corpus.npy has 59 rows, but .*corpus.jsonl has 60 items"),
    "dimensions": (lambda x: x[:, 1:], "corpus.npy has vectors of 15 dimensions, queries.npy of 16"),
    "NaN": (
        lambda x: changed(x, 7, np.nan),
        r"corpus.npy, row 7 \(.*corpus.jsonl, line 8\): NaN or infinity",
    ),
    "infinity": (lambda x: changed(x, 7, np.inf), r"row 7 \(.*line 8\): NaN or infinity"),
    "beyond float32": (lambda x: changed(x.astype(np.float64), 3, 1e39), r"row 3 .*: numbers too large"),
    "beyond its square": (lambda x: changed(x.astype(np.float32), 3, 1e20), r"row 3 .*: numbers too large"),
    "one axis": (lambda x: x[:, 0], r"corpus.npy has shape \[60\]"),
    "whole numbers": (lambda x: x.astype(np.int64), "this is int64 .*convert it"),
    "bits": (lambda x: x.astype(np.uint8), "this is uint8 .*unpackbits"),
    "bfloat16": (lambda x: x.view("V2"), "bfloat16"),
    "int8": (lambda x: x.astype(np.int8), "is int8, but corpus.scale.npy is missing"),
    "objects": (lambda x: x.astype(object), "corpus.npy cannot be read as a numpy array"),
}


@pytest.mark.parametrize(("change", "message"), ARRAYS.values(), ids=ARRAYS)
def test_what_is_wrong_with_vectors_is_named_before_anything_is_written(root, read, change, message):
    path = root / "embeddings" / "plain" / "corpus.npy"
    np.save(path, change(made.load(root)), allow_pickle=True)
    with pytest.raises(UserError, match=message):
        read()
    assert not (root.parent / "dataset" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (np.ones(5), r"scale.npy is float64 \[5\]; a scale is of floats, one number, \[16\] by dimension"),
        (np.ones(16, np.int64), "scale.npy is int64"),
        (np.zeros(16), "not above 0"),
        (np.full((60, 1), np.nan), "not above 0 and finite"),
    ],
)
def test_a_scale_fits_its_vectors(root, read, scale, message):
    made.save(root, "plain", "corpus", made.load(root).astype(np.int8))
    np.save(root / "embeddings" / "plain" / "corpus.scale.npy", scale)
    with pytest.raises(UserError, match=message):
        read()


def test_a_scale_belongs_to_int8(root, read):
    np.save(root / "embeddings" / "plain" / "corpus.scale.npy", np.ones(16))
    with pytest.raises(UserError, match="only int8 has a scale"):
        read()


def test_ids_tell_whether_rows_stand_in_the_order_of_the_texts(root, read):
    ids = [f"d{i:02d}" for i in range(made.DOCUMENTS)]
    path = root / "embeddings" / "plain" / "corpus.ids.txt"
    path.write_text("\r\n".join(ids) + "\r\n")
    read()
    path.write_text("\n".join([ids[1], ids[0], *ids[2:]]))
    with pytest.raises(
        UserError, match=r"corpus.ids.txt, line 1: 'd01', but .*corpus.jsonl, line 1, is 'd00'"
    ):
        read()
    path.write_text("\n".join(ids[:-1]))
    with pytest.raises(UserError, match=r"corpus.ids.txt has 59 ids, but .*corpus.jsonl has 60"):
        read()


def test_what_is_missing_is_said_before_any_job(root):
    def told(**given):
        with pytest.raises(UserError) as error:
            collection.outside({"root": str(root), "split": "test", "models": None} | given)
        return str(error.value)

    assert "no folder" in told(root=str(root / "none"))
    assert "splits with judgements: test" in told(split="dev")
    assert "did you mean 'plain'" in told(models=["plane"])
    (root / "queries.jsonl").unlink()
    assert "no file" in told() and "queries.jsonl" in told()


def test_files_that_are_read_decide_and_others_do_not(root):
    options = {"root": str(root), "split": "test", "models": ["plain"]}
    before = collection.outside(options)
    (root / "notes.txt").write_text("mine")
    made.save(root, "nested", "corpus", np.ones((2, 2)))
    assert collection.outside(options) == before
    made.save(root, "plain", "corpus", np.ones((2, 2)))
    assert collection.outside(options) != before


@pytest.mark.parametrize("own_file", [True, False], ids=["of their own", "among the others"])
def test_training_judgements_are_a_split_of_their_own_and_only_if_asked_for(root, read, own_file, capsys):
    plain = read()
    documents = made.train_judgements(root, own_file=own_file)
    assert read().checksum == plain.checksum and "train_queries" not in read()
    dataset = read(train_split="train")
    assert dataset.splits == ["corpus", "queries", "train_queries"]
    both = np.isin(dataset.judgements.document, documents).sum()
    said = f"{both} of 36 judgements in test are of documents that train judges as well"
    assert said in capsys.readouterr().out
    assert dataset["train_queries"].items["id"].tolist() == [f"t{i}" for i in range(30)]
    assert dataset["train_queries"].items["row"].tolist()[0] == (0 if own_file else made.QUERIES)
    assert dataset.train_judgements.document.tolist() == documents.tolist()
    assert dataset["queries"].items["id"].tolist() == [f"q{i}" for i in range(made.QUERIES)]
    for name in ("query", "document", "gain"):
        assert np.array_equal(getattr(dataset.judgements, name), getattr(plain.judgements, name))


def test_training_judgements_that_cannot_be_used_are_refused(root, read):
    with pytest.raises(UserError, match=r"no file .*train.tsv \(data.train_split\); .* test"):
        read(train_split="train")
    made.train_judgements(root, own_file=False)
    made.write_qrels(root / "qrels" / "train.tsv", [("q1", "d05", 1), ("t1", "d06", 1)])
    with pytest.raises(UserError, match=r"1 queries have judgements in train and in test \(q1\): what maps"):
        read(train_split="train")
    made.train_judgements(root)
    made.save(root, "plain", "train_queries", made.load(root, "plain", "train_queries")[1:])
    with pytest.raises(UserError, match="train_queries.npy has 29 rows, but .*train_queries.jsonl has 30"):
        read(train_split="train")


# --- vectors where they lie -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "linked"),
    [
        (lambda x: x, True),
        (lambda x: x.astype(np.float32), True),
        (np.asfortranarray, True),
        (lambda x: x.astype(np.float64), False),
        (lambda x: x.astype(">f4"), False),
        (lambda x: x.astype(">f2"), False),
        (lambda x: np.asfortranarray(x.astype(">f8")), False),
    ],
    ids=["float16", "float32", "columns first", "float64", ">f4", ">f2", "all"],
)
def test_vectors_stay_where_they_are_or_are_copied_once_and_give_the_same(
    root, tmp_path, monkeypatch, change, linked
):
    study = study_of(root, METHODS)
    plain = run(study, tmp_path, monkeypatch)["judged_retrieval"]
    for split in ("corpus", "queries"):
        made.save(root, "plain", split, change(made.load(root, "plain", split)))
    pd.testing.assert_frame_equal(run(study, tmp_path, monkeypatch)["judged_retrieval"], plain)
    path = study.layout.embeddings("plain", 0) / "corpus.npy"
    assert path.is_symlink() == linked
    assert np.array_equal(np.load(path).astype(np.float64), made.load(root).astype(np.float64))
    assert path.is_symlink() <= (path.resolve() == root / "embeddings" / "plain" / "corpus.npy")


def test_one_array_of_an_archive_gives_the_same_and_a_parquet_is_told_how_to_become_one(
    root, tmp_path, monkeypatch
):
    study = study_of(root, METHODS)
    plain = run(study, tmp_path, monkeypatch)["judged_retrieval"]
    path = root / "embeddings" / "plain" / "corpus.npy"
    array = made.load(root)
    np.savez_compressed(path.with_suffix(".npz"), vectors=array)
    with pytest.raises(UserError, match=r"corpus.npy and corpus.npz are both there"):
        run(study, tmp_path, monkeypatch)
    path.unlink()
    pd.testing.assert_frame_equal(run(study, tmp_path, monkeypatch)["judged_retrieval"], plain)
    assert not (study.layout.embeddings("plain", 0) / "corpus.npy").is_symlink()
    np.savez(path.with_suffix(".npz"), a=array, b=array)
    with pytest.raises(UserError, match=r"corpus.npz cannot be read .*: it holds 2 arrays \(a, b\), not one"):
        run(study, tmp_path, monkeypatch)
    path.with_suffix(".npz").rename(path.with_suffix(".parquet"))
    with pytest.raises(UserError, match=r"corpus.parquet is not read: save its column .* corpus.npy"):
        run(study, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "scale", [np.float32(0.5), np.linspace(0.1, 1, 16), np.linspace(0.1, 1, 60)[:, None]]
)
def test_int8_vectors_are_read_with_their_scale(root, tmp_path, monkeypatch, scale):
    stored = np.clip(made.load(root) * 20, -127, 127).astype(np.int8)
    made.save(root, "plain", "corpus", stored)
    np.save(root / "embeddings" / "plain" / "corpus.scale.npy", scale)
    study = study_of(root, METHODS)
    run(study, tmp_path, monkeypatch)
    found = Representation(study.layout.embeddings("plain", 0)).array("corpus")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, stored * np.asarray(scale, np.float64), rtol=1e-6)


def test_a_model_and_its_trained_sizes_have_to_be_there(root, tmp_path, monkeypatch):
    for change, message in (
        ({"model": "plane"}, "unknown model 'plane' \\(did you mean 'plain'"),
        ({"trained": [32]}, "vectors of 16 dimensions; it cannot be trained for \\[32\\]"),
        ({"model": None}, "has 2 models: nested, plain; name one of them"),
    ):
        with pytest.raises(UserError, match=message):
            run(study_of(root, {"plain": METHODS["plain"] | change}), tmp_path, monkeypatch)


# --- studies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"tasks": {"retrieval": None}}, "evaluation retrieval needs labels, .* allowed: .*judged_retrieval"),
        ({"tasks": {"knn": None}}, "evaluation knn needs labels"),
        ({"tasks": {"paired": {"outcomes": ["knn"]}, "knn": None}}, "evaluation knn needs labels"),
        ({"methods": METHODS | {"mrl": None}}, "method mrl needs labels, .* allowed: .*given_embeddings"),
        ({"methods": METHODS | {"svd": {"source": "plain"}}}, "method svd needs labels"),
        ({"training": {"epochs": 1, "batch_size": 2, "learning_rate": 1}}, "take out the section training"),
        ({"data": {"source": "glyphs"}}, "'backbone' is a required property"),
        ({"data": {"source": "collection", "root": ".", "split": "../x"}}, "split: '../x' does not match"),
        ({"data": {"source": "collection"}}, "data source collection needs root"),
    ],
)
def test_a_study_of_a_collection_has_what_can_be_done_without_labels(config, message):
    with pytest.raises(UserError, match=message):
        study_of("nowhere", **{"methods": METHODS} | config)


# --- metrics ----------------------------------------------------------------------------------------


def trec(judged, scores, corpus_ids):
    """What ir_measures has per query and metric, of rankings by score: float [n, 4].

    Its reciprocal rank breaks ties the other way than its other metrics, so it is asked of untied scores.
    """
    n = judged.queries
    judgements = [
        ir_measures.Qrel(str(q), corpus_ids[d], int(gain))
        for q, d, gain in zip(judged.query, judged.document, judged.gain)
    ]
    asked = {
        "ndcg": ir_measures.nDCG @ 10,
        "recall": ir_measures.R @ 20,
        "mrr": ir_measures.RR @ 10,
        "map": ir_measures.AP,
    }
    order = np.argsort(corpus_ids)[::-1]
    untied = np.empty_like(scores)  # the ranking that trec_eval has: score, then the later id
    for q in range(n):
        ranking = order[np.argsort(-scores[q][order], kind="stable")]
        untied[q, ranking] = -np.arange(len(ranking))
    found = {name: np.full(n, np.nan) for name in asked}
    for name, of in asked.items():
        given = untied if name == "mrr" else scores
        some = [
            ir_measures.ScoredDoc(str(q), corpus_ids[d], float(given[q, d]))
            for q in range(n)
            for d in range(len(corpus_ids))
            if np.isfinite(scores[q, d])
        ]
        for value in ir_measures.iter_calc([of], judgements, some):
            found[name][int(value.query_id)] = value.value
    return found


@pytest.mark.parametrize("seed", range(12))
def test_metrics_are_those_of_trec_eval(seed):
    rng = np.random.default_rng(seed)
    n, documents = 9, 40
    corpus_ids = np.array([f"d{i}" for i in rng.permutation(documents)])  # "d9" is later than "d10"
    # Few different scores: many ties. Of graded judgements, some are negative, and most documents have none.
    scores = rng.integers(0, rng.choice([3, 12, 1000]), (n, documents)).astype(np.float32)
    pairs = rng.choice(n * documents, 100, replace=False)
    gain = rng.integers(-1, 4, 100)
    query, document = np.divmod(pairs, documents)
    gain[query == 3] = 0  # judged, but nothing is relevant
    order = np.argsort(query, kind="stable")
    judged = Judgements(query[order], document[order], gain[order], n)
    later = later_first(corpus_ids)
    ids = np.argsort(-scores, axis=1, kind="stable")
    ids = in_order(ids, -np.take_along_axis(scores, ids, axis=1), later)
    ids[5] = -1  # a query that nothing was found for
    ranks = places(ids, judged)
    scores[5] = np.nan
    wanted = trec(judged, scores, corpus_ids)
    found = {"ndcg": ndcg(ranks, judged, 10), "recall": recall(ranks, judged, 20)}
    found |= {"mrr": mrr(ranks, judged, 10), "map": average_precision(ranks, judged)}
    for name, values in found.items():
        # A query without a relevant document, or without a ranking, has 0.
        np.testing.assert_allclose(values, np.nan_to_num(wanted[name]), atol=1e-12, err_msg=name)
        assert values[5] == 0 and values[3] == 0


def test_metrics_of_a_ranking_worked_out_by_hand():
    judged = Judgements(np.array([0, 0, 0, 1]), np.array([4, 7, 8, 2]), np.array([3, 1, 0, 1]), 3)
    ranks = places(np.array([[8, 7, 1, 4], [0, 1, 3, 4], [0, 1, 2, 3]]), judged)
    assert ranks.tolist() == [3, 1, 0, -1]
    best = 3 + 1 / np.log2(3)
    assert ndcg(ranks, judged, 10).tolist() == pytest.approx([(3 / np.log2(5) + 1 / np.log2(3)) / best, 0, 0])
    assert ndcg(ranks, judged, 2)[0] == pytest.approx(1 / np.log2(3) / best)
    assert recall(ranks, judged, 2).tolist() == [0.5, 0, 0]
    assert mrr(ranks, judged, 10).tolist() == [0.5, 0, 0]
    assert average_precision(ranks, judged).tolist() == pytest.approx([(1 / 2 + 2 / 4) / 2, 0, 0])
    several = np.stack([ranks, np.full(4, -1)])[:, None]  # leading axes
    assert ndcg(several, judged, 10).shape == (2, 1, 3) and not ndcg(several, judged, 10)[1].any()


@pytest.mark.parametrize("depth", [1, 3, 10, 50])
def test_rankings_are_exact_and_runs_of_equal_scores_are_in_the_order_of_ids_however_long(rng, depth):
    corpus = rng.integers(-1, 2, (400, 2)).astype(np.float32)  # nine different vectors, one of zeros
    queries = rng.integers(-1, 2, (30, 2)).astype(np.float32)
    names = np.array([f"d{i}" for i in range(400)])
    later = later_first(names)
    for metric in ("cosine", "cut"):
        found = ranked(queries, corpus, (1, 2), depth, later, metric=metric)
        for place, m in enumerate((1, 2)):
            a, b = (x.astype(np.float64) for x in (queries, corpus))
            if metric == "cosine":
                a, b = a[:, :m], b[:, :m]
            a, b = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9) for x in (a, b))
            scores = np.round(a[:, :m] @ b[:, :m].T, 6)
            for q in range(len(queries)):
                wanted = sorted(range(400), key=lambda d: (-scores[q, d], later[d]))[:depth]
                assert found[place, q].tolist() == wanted
    assert names[np.argsort(later)].tolist() == sorted(names, reverse=True)


def test_a_table_has_every_metric_by_size_and_says_what_was_trained(root, tmp_path, monkeypatch):
    table = run(study_of(root, METHODS), tmp_path, monkeypatch)["judged_retrieval"]
    assert set(table["metric"]) == {"ndcg@10", "recall@10", "recall@20", "mrr@10", "map"}
    assert set(table["dim"]) == {4, 8, 16} and set(table["n"]) == {made.QUERIES}
    assert (table["bytes_per_item"] == 4 * table["dim"]).all()
    trained = table.loc[table["trained"], ["method", "dim"]].drop_duplicates()
    assert trained.to_numpy().tolist() == [["nested", 4], ["nested", 16]]
    values = table.pivot(index=["method", "renormalised"], columns=["metric", "dim"], values="value")
    assert values.min().min() >= 0 and values.max().max() <= 1
    full = values.xs(16, axis=1, level="dim")  # where nothing is cut
    pd.testing.assert_series_equal(full.loc["plain", True], full.loc["plain", False], check_names=False)
    assert (values["ndcg@10"][16] > values["ndcg@10"][4]).loc["plain"].all()


def test_a_recall_beyond_the_ranking_is_refused(root, tmp_path, monkeypatch):
    study = study_of(root, METHODS, tasks={"judged_retrieval": None})
    with pytest.raises(
        UserError, match=r"recalls has 100, but rankings end at 40 \(measures.ranking.depth\)"
    ):
        run(study, tmp_path, monkeypatch)


def test_prefixes_are_ahead_of_random_columns_where_the_first_columns_carry_more(tmp_path, monkeypatch):
    made.collection(tmp_path / "mine", documents=200, queries=60)
    drawn = {
        name: {"baseline": "random_features", "source": name.partition("_")[0], "label": name}
        for name in ("nested_random", "plain_random")
    }
    turned = {"nested_turned": {"baseline": "random_rotation", "source": "nested", "draws": 2}}
    tasks = {"judged_retrieval": {"recalls": []}, "nestedness": None}
    study = study_of(tmp_path / "mine", METHODS | drawn | turned, tasks=tasks)
    tables = run(study, tmp_path, monkeypatch)
    table = tables["nestedness"].set_index(["method", "dim"])
    assert table.index.tolist() == [(name, m) for name in METHODS for m in (4, 8, 0)]
    assert set(table["baseline"]) == set(drawn) and set(table["metric"]) == {"difference"}
    assert (table.loc["nested", "verdict"] == "higher").all() and (table.loc["nested", "low"] > 0).all()
    assert (table.loc["plain", "low"] < 0).all() and (table.loc["plain", "high"] > 0).all()
    # Both are means of the same queries: the difference is that of the table.
    means = tables["judged_retrieval"].query("metric == 'ndcg@10' and renormalised")
    means = means.set_index(["method", "dim"])["value"]
    assert table.at[("nested", 4), "value"] == pytest.approx(means["nested", 4] - means["nested_random", 4])
    # At the full size a choice of columns and a rotation change nothing; below, a rotation makes all alike.
    assert means["nested_random", 16] == pytest.approx(means["nested", 16])
    assert means["nested_turned", 16] == pytest.approx(means["nested", 16])
    assert means["nested_turned", 4] < means["nested", 4] - 0.1
    for name in ("judged_retrieval", "nestedness"):
        with files.write_aside(study.layout.table(name)) as path:
            tables[name].to_csv(path, index=False)
        assert all(axes.has_data() for axes in FIGURE.load(name).draw(Drawing(study, study.layout)).axes)


def test_rotations_are_orthogonal_and_differ_by_draw_and_seed(rng):
    x = rng.standard_normal((40, 6)).astype(np.float32)
    source = Source(x, np.full(40, -1), 0, None, None, View((6,), 0, 6))
    found = random_rotation.fit(source, (3, 6), {"draws": 2, "probe_draws": None}, rng)
    turned = found.transform(x)
    assert [(view.start, view.stop, view.draw) for view in found.views] == [(0, 6, 0), (6, 12, 1)]
    for part in (turned[:, :6], turned[:, 6:]):
        np.testing.assert_allclose(part @ part.T, x @ x.T, atol=1e-4)
    assert np.abs(turned[:, :6] - turned[:, 6:]).max() > 0.1


@pytest.mark.parametrize("centre", [False, True])
def test_tempering_evens_variances_out_in_part_and_0_is_a_rotation(rng, centre):
    x = (3 * rng.standard_normal((300, 5)) @ rng.standard_normal((5, 6)) + 2).astype(np.float32)  # of rank 5
    source = Source(x, np.full(300, -1), 0, None, None, View((6,), 0, 6))
    (axes,) = (pca.fit(source, (2, 6), {"centre": centre}, rng).transform(x),)
    energy = (axes.astype(np.float64) ** 2).mean(0)
    assert (np.diff(energy) <= 1e-3).all()
    for gamma in (0, 0.25, 0.5, 0.75, 1.0):
        fit = spectral_tempering.fit(source, (2, 6), {"gamma": gamma, "centre": centre}, rng)
        found = fit.transform(x).astype(np.float64)
        there = fit.facts["directions"]
        assert there == 5 + (not centre)
        np.testing.assert_allclose((found**2).mean(0)[:there], energy[:there] ** (1 - gamma), rtol=1e-3)
        assert np.abs(found[:, there:]).max(initial=0) < 1e-3
        if gamma == 0:
            np.testing.assert_allclose(found[:, :there], axes[:, :there], atol=1e-3)


CODES = {
    "float32": {"factory": "Flat", "refine": True},
    "float16": {"factory": "SQfp16"},
    "int8": {"factory": "SQ8", "refine": True},
    "bits4": {"factory": "SQ4"},
    "pq": {"factory": "PQ2x4np", "refine": True},
    "rabitq": {"factory": "RaBitQ", "refine": True},
    "binary": {"factory": "Binary"},
    "top8": {"factory": "TopBits8"},
    "top1": {"factory": "TopBits1", "refine": True},
}


def test_codes_are_weighed_and_scored_and_full_vectors_put_them_right(tmp_path, monkeypatch):
    made.collection(tmp_path / "mine", documents=200, queries=60, zeros=False)
    measures = {"ranking": {"depth": 40}, "neighbours": {"k": 20}}
    measures["indexes"] = {"splits": [["queries", "corpus"]], "queries": 40, "shortlist": 200, "seconds": 0}
    measures["indexes"]["indexes"] = CODES
    tasks = {"judged_retrieval": {"recalls": [10]}, "quantised_retrieval": None}
    study = study_of(tmp_path / "mine", METHODS, tasks=tasks, measures=measures)
    tables = run(study, tmp_path, monkeypatch)
    table = tables["quantised_retrieval"].query("method == 'plain'")
    assert set(table["metric"]) == {"ndcg@10", "recall@10", "mrr@10"} and set(table["n"]) == {40}
    keys = ["index", "refined", "dim"]
    scores = table[table["metric"] == "ndcg@10"].set_index(keys).sort_index()
    value, size = scores["value"], scores["bytes_per_item"]
    assert set(scores.loc["binary"].index.get_level_values("dim")) == {4, 8, 16}
    # The same 40 queries, exactly: what the other table says of them.
    rows = np.linspace(0, 59, 40).astype(int)
    main = Run(study, Dataset(study.layout.data), study.method("plain"), 0, "", {}, study.layout)
    exact = main.main_items("judged_retrieval").mean_of_draws()
    for m in (4, 8, 16):
        assert value["float32", False, m] == pytest.approx(exact[m][rows].mean(), abs=1e-6)
        assert value["float16", False, m] == pytest.approx(value["float32", False, m], abs=0.02)
        order = [size[name, False, m] for name in ("binary", "bits4", "int8", "float16", "float32")]
        assert order == sorted(order)
    assert value["top8", False, 16] == pytest.approx(value["int8", False, 16], abs=0.02)
    for m in (4, 8, 16):  # codes of whole bytes, and what FAISS writes around its own
        assert size["top1", False, m] == (m + 7) // 8 + 8 * m / 200
        assert size["top8", False, m] <= size["int8", False, m]
    # With the whole corpus for a shortlist, full vectors give the result of full vectors, whatever the code.
    for name in ("int8", "pq", "rabitq", "top1"):
        for m in (m for m in (4, 8) if (name, True, m) in value.index):
            assert value[name, True, m] == pytest.approx(value["float32", False, 16], abs=1e-6)
            assert size[name, True, m] > size["float32", False, 16]
    with files.write_aside(study.layout.table("quantised_retrieval")) as path:
        tables["quantised_retrieval"].to_csv(path, index=False)
    drawn = FIGURE.load("bytes_tradeoff").draw(Drawing(study, study.layout))
    assert all(axes.has_data() for axes in drawn.axes)


def test_judgements_of_some_queries_are_numbered_anew():
    judged = Judgements(np.array([0, 1, 1, 4]), np.array([5, 6, 7, 8]), np.array([1, 2, 3, 4]), 5)
    found = asked(judged, np.array([1, 2, 4]))
    assert (found.query.tolist(), found.document.tolist()) == ([0, 0, 2], [6, 7, 8])
    assert (found.gain.tolist(), found.queries) == ([2, 3, 4], 3)


def test_two_stages_find_what_one_search_does_once_the_shortlist_is_long_enough(tmp_path, monkeypatch):
    made.collection(tmp_path / "mine", documents=200, queries=60)
    drawn = {"plain_random": {"baseline": "random_features", "source": "plain", "label": "drawn"}}
    measures = {"ranking": {"depth": 40}, "two_stages": {"lengths": [10, 50, 200, 1000]}}
    tasks = {"judged_retrieval": {"recalls": [10]}, "two_stage_retrieval": None}
    study = study_of(tmp_path / "mine", METHODS | drawn, tasks=tasks, measures=measures)
    tables = run(study, tmp_path, monkeypatch)
    both = tables["two_stage_retrieval"]
    assert set(both["shortlist_k"]) == {0, 10, 50, 200}  # there are no 1,000 documents
    main = tables["judged_retrieval"].query("metric == 'ndcg@10' and renormalised and dim == 16")
    for name, full in main.set_index("method")["value"].items():
        table = both[both["method"] == name].set_index(["metric", "dim", "shortlist_k"])
        value, mflops = table["value"], table["mflops"]
        assert value["ndcg@10", 16, 0] == pytest.approx(full, abs=1e-6)
        for m in (4, 8):
            kept = [value["exact_recall@10", m, k] for k in (10, 50, 200)]
            assert kept == sorted(kept) and kept[0] < 1 and kept[-1] == 1
            assert value["difference", m, 200] == 0
            assert value["difference", m, 10] == pytest.approx(value["ndcg@10", m, 10] - full, abs=1e-6)
            assert mflops["ndcg@10", m, 50] == pytest.approx((200 * m + 50 * 16) / 1e6)
        assert value["exact_recall@10", 8, 10] > value["exact_recall@10", 4, 10]
    with files.write_aside(study.layout.table("two_stage_retrieval")) as path:
        both.to_csv(path, index=False)
    left, right = FIGURE.load("shortlists").draw(Drawing(study, study.layout)).axes
    assert len(left.containers) == 2 and len(right.lines) == 3  # two sizes, and one full search


@pytest.mark.skipif(not REAL, reason="MATRYOSHKA_COLLECTIONS names no folder of collections")
@pytest.mark.parametrize("name", ["scifact", "cranfield", "vaswani", "xquad-en", "xquad-de"])
def test_values_of_real_collections_are_those_computed_elsewhere(name, tmp_path, monkeypatch):
    expected = pd.read_csv(Path(REAL) / "EXPECTED.csv")
    expected = expected[expected["collection"] == name]
    assert len(expected) == 18
    models = {re.sub(r"\W", "_", model): model for model in expected["model"].unique()}
    methods = {
        key: {"baseline": "given_embeddings", "model": model, "label": model} for key, model in models.items()
    }
    study = study_of(Path(REAL) / name, methods, nesting=[64], measures={}, tasks={"judged_retrieval": None})
    table = run(study, tmp_path, monkeypatch)["judged_retrieval"]
    keys = ["method", "dim", "renormalised", "metric"]
    for row in expected.itertuples():
        key = {"method": re.sub(r"\W", "_", row.model), "dim": row.dim, "metric": row.metric.lower()}
        key |= {"renormalised": row.renormalised == "yes"}
        found = table[(table[keys] == pd.Series(key)[keys]).all(axis=1)]
        assert found["value"].item() == pytest.approx(row.value, abs=1e-6)
