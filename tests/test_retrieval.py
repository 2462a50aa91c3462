"""Retrieval, re-ranking and indexes against brute force and cases worked by hand."""

import faiss
import numpy as np
import pytest
import synthetic
import yaml

import analysis.measure
from analysis.evaluations import adaptive_retrieval, index_retrieval, knn, retrieval
from analysis.measure import measure
from analysis.measures import indexes, neighbours, read_outcomes, reranking
from analysis.metrics import CASCADES, average_precision, funnel_stages, mflops_per_query
from analysis.run import Run
from analysis.search import faiss_indexes, prefix, prefix_search, rerank
from analysis.search.rerank import Prefixes, follow, narrow, search_and_follow
from analysis.statistics import clustered_interval
from analysis.tabulate import tabulate
from baselines.representation import Representation, View, write_representation
from splits.store import Dataset
from suite import files
from suite.contracts import EVALUATION
from suite.errors import UserError
from suite.study import load_study

TASKS = ("retrieval", "adaptive_retrieval", "funnel_retrieval", "index_retrieval")
METHODS = {"mrl": None, "fixed_feature": None, "random_features": None}
SIZES = (2, 4, 8, 16)
GIVEN = {"methods": METHODS, "seeds": [0], "figures": []}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(study, layout) with raw outcomes of everything here."""
    folder = tmp_path_factory.mktemp("retrieval")
    study, layout = synthetic.build(folder, tasks=dict.fromkeys(TASKS), **GIVEN)
    synthetic.measure(study, layout)
    return study, layout


@pytest.fixture
def made(tmp_path):
    """made(queries, database, …) → Representation with splits val and train, or others given as pairs."""

    def make(queries, database, /, sizes=SIZES, **others):
        splits = {"val": queries, "train": database, **others}
        for name, array in splits.items():
            np.save(tmp_path / f"{name}.npy", array)
        given = {"method": "made", "seed": 0, "views": [View(sizes, 0, queries.shape[1])], "classifiers": {}}
        write_representation(tmp_path, splits=list(splits), **given)
        return Representation(tmp_path)

    return make


def gaussian(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def cosines_of(queries, database, dim):
    """Cosine times the query's norm, float64 [n, N]; rows of zeros score 0."""
    q, x = queries[:, :dim].astype(np.float64), database[:, :dim].astype(np.float64)
    norms = np.linalg.norm(x, axis=1)
    return np.divide(q @ x.T, norms, out=np.zeros((len(q), len(x))), where=norms > 0)


def ordered(scores):
    """Ids in falling order of score, ties to the lower id: int [n, N]."""
    return np.argsort(-scores, axis=1, kind="stable")


def columns_of(representation, dim, draw):
    """The columns that are the embedding of size `dim`, worked out from the views one by one."""
    view = next(v for v in representation.views if v.draw == draw and (dim in v.sizes or v.nested))
    return np.arange(10_000)[view.columns][:dim]


# --- re-ranking -----------------------------------------------------------------------------------


def test_stages_keep_the_first_and_order_them_by_hand():
    ids = np.array([[7, 3, 9, 1, 5]])
    scores = {4: np.array([[1, 5, 5, 9, 0]], np.float32), 8: np.array([[3, 1, 2, 8, 9]], np.float32)}
    assert narrow(ids, scores, [(5, 4)]).tolist() == [[1, 3, 9, 7, 5]]  # 3 and 9 tie
    assert narrow(ids, scores, [(3, 4)]).tolist() == [[3, 9, 7]]  # 1 did not make the shortlist
    assert narrow(ids, scores, [(4, 4), (3, 8)]).tolist() == [[1, 9, 3]]
    assert narrow(ids, scores, [(5, 4), (2, 8), (1, 4)]).tolist() == [[1]]


def test_a_stage_orders_by_score_then_id(rng):
    scores = rng.choice(np.array([-2.5, -1e-30, -0.0, 0.0, 1e-30, 0.5, 3e38, -3e38], np.float32), (40, 25))
    ids = rng.permuted(np.tile(np.arange(25, dtype=np.int32), (40, 1)), axis=1)
    expected = np.take_along_axis(ids, np.lexsort((ids, -scores), axis=1), axis=1)
    np.testing.assert_array_equal(narrow(ids, {4: scores}, [(25, 4)]), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_scores_of_candidates_are_cosines(made, rng, dtype, monkeypatch):
    monkeypatch.setattr(rerank, "ROW_BYTES", 4 * 16 * 7)  # seven rows at a time
    queries, database = gaussian(rng, 9, 16).astype(dtype), gaussian(rng, 50, 16).astype(dtype)
    database[11] = 0
    database[12, :4] = 0
    ids = rng.integers(50, size=(3, 6, 20))
    prefixes = Prefixes(made(queries, database), "val", "train")
    found = prefixes.cosines(slice(2, 8), ids, SIZES)
    for place, dim in enumerate(SIZES):
        expected = cosines_of(queries, database, dim)[2:8]
        expected = np.stack([np.take_along_axis(expected, some, axis=1) for some in ids])
        np.testing.assert_allclose(found[place], expected, rtol=1e-5, atol=1e-5)
    assert (found[:, ids == 11] == 0).all()


def test_equal_rows_score_alike_wherever_they_stand(made, rng):
    database = np.repeat(gaussian(rng, 8, 16), 32, axis=0)[rng.permutation(256)]
    ids = rng.permuted(np.tile(np.arange(256), (1, 4, 1)), axis=2)
    found = Prefixes(made(gaussian(rng, 4, 16), database), "val", "train").cosines(slice(0, 4), ids, SIZES)
    for row in found.reshape(-1, 256):
        assert len(np.unique(row)) <= 8


@pytest.mark.parametrize("copies", [1, 3])
def test_re_ranking_everything_is_a_single_search(made, rng, copies):
    database = np.tile(gaussian(rng, 60, 16), (copies, 1))  # with copies: ties, which go to the lower id
    queries = gaussian(rng, 13, 16)
    prefixes = Prefixes(made(queries, database), "val", "train")
    single = prefix_search(queries, database, SIZES, len(database)).ids
    plan = [(SIZES[0], [(len(database), dim)]) for dim in SIZES]
    np.testing.assert_array_equal(search_and_follow([prefixes], plan, len(database))[0], single)
    # A shortlist that is longer than the database is the whole of it.
    plan = [(SIZES[0], [(10 * len(database), dim)]) for dim in SIZES]
    np.testing.assert_array_equal(search_and_follow([prefixes], plan, 10)[0], single[..., :10])


def test_funnels_are_those_of_brute_force(made, rng):
    queries, database = gaussian(rng, 6, 64), gaussian(rng, 900, 64)
    sizes = (8, 16, 32, 64)
    prefixes = Prefixes(made(queries, database, sizes=sizes), "val", "train")
    plan = [(start, funnel_stages(start, name, 64)) for name in CASCADES for start in sizes[:-1]]
    found = search_and_follow([prefixes], plan, 10)[0]
    scores = {dim: cosines_of(queries, database, dim) for dim in sizes}
    for got, (start, stages) in zip(found, plan):
        for row in range(len(queries)):
            left = ordered(scores[start])[row].tolist()
            for length, dim in stages:
                left = sorted(left[:length], key=lambda item: (-scores[dim][row, item], item))
            assert got[row].tolist() == left[:10]
    assert found.shape == (9, 6, 10)


def test_a_cascade_does_not_depend_on_the_others(made, rng):
    queries, database = gaussian(rng, 5, 16), gaussian(rng, 300, 16)
    prefixes = Prefixes(made(queries, database), "val", "train")
    plan = [(start, funnel_stages(start, name, 16)) for name in CASCADES for start in (2, 4, 8)]
    lists = prefix_search(queries, database, (2, 4, 8), 300).ids
    before = lists.copy()
    together = follow(prefixes, plan, (2, 4, 8), lists, 10)
    backwards = follow(prefixes, plan[::-1], (2, 4, 8), lists, 10)[::-1]
    alone = [follow(prefixes, [funnel], (2, 4, 8), lists, 10)[0] for funnel in plan]
    np.testing.assert_array_equal(together, backwards)
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(lists, before)


@pytest.mark.parametrize("dim", [256, 100])
def test_a_score_does_not_depend_on_the_sizes_asked_beside_it(made, rng, dim):
    sizes = (8, 32, 128, 256)
    representation = made(gaussian(rng, 9, 256), gaussian(rng, 400, 256), sizes=sizes)
    ids = np.tile(np.arange(400), (1, 9, 1))
    alone = Prefixes(representation, "val", "train").cosines(slice(0, 9), ids, [dim])[0]
    for beside in (sizes, (16, 64, 100, 256), (32, 256)):
        asked = sorted({*beside, dim})
        found = Prefixes(representation, "val", "train").cosines(slice(0, 9), ids, asked)
        np.testing.assert_array_equal(found[asked.index(dim)], alone)


class Splits(dict):
    """Rows by split, where a measure asks nothing else of a dataset."""

    def labels(self, split):
        return np.zeros(self[split], np.int64)


def test_a_small_database_does_not_shorten_the_next_ones_shortlists(made, rng):
    dataset = Splits(val=4, train=7, query=5, database=60)
    val, train, query, database = (gaussian(rng, n, 16) for n in dataset.values())
    representation = made(val, train, query=query, database=database)
    saved = neighbours.measure(representation, dataset, {"k": 30, "study_sizes": SIZES})
    options = reranking.OPTIONS | {"shortlist": 20, "keep": 15, "lengths": [40]}
    found = reranking.measure(representation, dataset, options, saved)
    assert (found["val/train/shortlist"], found["query/database/shortlist"]) == (7, 20)
    assert found["val/train/pairs"].shape[-1] == 7 and found["query/database/pairs"].shape[-1] == 15


def test_blocks_change_nothing(made, rng, monkeypatch):
    queries, database = gaussian(rng, 23, 16), gaussian(rng, 120, 16)
    prefixes = Prefixes(made(queries, database), "val", "train")
    plan = [(2, [(50, 4), (20, 16)]), (4, [(60, 16)])]
    whole = search_and_follow([prefixes], plan, 20)
    monkeypatch.setattr(rerank, "SEARCHED", 7)
    monkeypatch.setattr(rerank, "SCORE_BYTES", 4 * 2 * 2 * 60 * 3)  # three queries at a time
    np.testing.assert_array_equal(search_and_follow([prefixes], plan, 20), whole)


@pytest.mark.parametrize("method", METHODS)
def test_saved_pairs_are_those_of_brute_force(finished, method):
    _, layout = finished
    representation = Representation(layout.embeddings(method, 0))
    saved = read_outcomes(layout, method, 0, "neighbours")
    found = read_outcomes(layout, method, 0, "reranking")
    for query, database in reranking.PAIRS:
        name = f"{query}/{database}"
        ids, lists = found[f"{name}/pairs"], saved[f"{name}/ids"]
        assert ids.shape[:2] == (representation.draws, 10) and ids.shape[3] == 10
        for draw in range(representation.draws):
            for place, (short, dim) in enumerate(found["pairs"]):
                columns = columns_of(representation, dim, draw)
                queries, items = (representation.array(split)[:, columns] for split in (query, database))
                shortlist = np.sort(lists[draw, SIZES.index(short), :, :20], axis=1)
                scores = np.take_along_axis(cosines_of(queries, items, dim), shortlist, axis=1)
                best = -np.sort(-scores, axis=1)[:, :10]
                place_of = (shortlist[:, None] == ids[draw, place][:, :, None]).argmax(2)
                chosen, reached = (np.take_along_axis(a, place_of, axis=1) for a in (shortlist, scores))
                np.testing.assert_array_equal(chosen, ids[draw, place])
                # Scores, not ids: rounding may order two that differ by less than float32 resolves.
                np.testing.assert_allclose(reached, best, rtol=1e-5, atol=1e-6)


def test_a_shortlist_needs_as_many_saved_neighbours(finished):
    _, layout = finished
    measures = {"reranking": {"shortlist": 200}}
    study = synthetic.Study(synthetic.config(measures=measures, tasks={}, figures=[]))
    with pytest.raises(UserError, match="a shortlist of 200 .* the 20 neighbours that were saved"):
        measure(study, layout, "mrl", 0, "reranking")


def test_a_measure_killed_before_its_outcomes_are_saved_searches_nothing_twice(tmp_path, monkeypatch):
    given = {"tasks": dict.fromkeys(TASKS), **GIVEN}
    _, layout = synthetic.build(tmp_path, **given)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(synthetic.config(**given)))
    monkeypatch.chdir(tmp_path)
    original, searched = prefix._search_block, []
    monkeypatch.setattr(prefix, "_search_block", lambda *block: searched.append(block) or original(*block))

    def killed(path, arrays):
        """Parts of a search are saved; at the outcomes it is as for a signal: nothing may catch it."""
        if not path.name.startswith("queries-"):
            raise SystemExit
        write(path, arrays)

    write = files.write_npz
    for name in ("neighbours", "reranking"):
        command = ["--study", "study.yaml", "--method", "random_features", "--measure", name]
        with monkeypatch.context() as patch, pytest.raises(SystemExit):
            patch.setattr(files, "write_npz", killed)
            analysis.measure.main(command)
        before = len(searched)
        analysis.measure.main(command)
        assert len(searched) == before > 0
        searched.clear()
        folder = layout.outcomes("random_features", 0, name).parent
        assert not list(folder.glob(".unfinished*"))
        found = read_outcomes(layout, "random_features", 0, name)
        expected = measure(load_study("study.yaml"), layout, "random_features", 0, name)
        for key in found:
            np.testing.assert_array_equal(found[key], expected[key])
        searched.clear()


def test_a_size_without_a_network_cannot_re_rank(finished):
    _, layout = finished
    prefixes = Prefixes(Representation(layout.embeddings("fixed_feature", 0)), "val", "train")
    with pytest.raises(UserError, match="fixed_feature has no representation of size 3"):
        prefixes.cosines(slice(0, 2), np.zeros((1, 2, 3), int), [3])


def test_prefixes_of_zeros_are_counted(made, rng):
    dataset, queries, database = Splits(val=5, train=9), gaussian(rng, 5, 16), gaussian(rng, 9, 16)
    queries[[0, 3], :4], queries[2], database[8, :2] = 0, 0, 0
    representation = made(queries, database)
    found = neighbours.measure(representation, dataset, {"k": 3, "study_sizes": SIZES})
    assert found["zeros/val"].tolist() == [[3, 3, 1, 1]] and found["zeros/train"].tolist() == [[1, 0, 0, 0]]
    assert (found["val/train/ids"][0, :2, [0, 2, 3]] == [0, 1, 2]).all()  # every cosine is 0


def test_the_table_says_where_prefixes_are_zeros(finished, monkeypatch):
    study, layout = finished
    given = study, Dataset(layout.data), study.methods["mrl"], 0, "knn"
    run = Run(*given, {"sampled": "classes"}, layout)
    assert not [row for row in knn.score(run) if row["metric"] == "zero_prefixes"]
    outcomes = dict(run.outcomes("neighbours")) | {"zeros/val": np.array([[3, 1, 0, 0]])}
    monkeypatch.setattr(Run, "outcomes", lambda self, measure: outcomes)
    rows = list(knn.score(run))
    found = [row for row in rows if row["metric"] == "zero_prefixes"]
    assert [(row["dim"], row["value"], row["n"]) for row in found] == [(2, 3, 120), (4, 1, 120)]
    hits = retrieval.first_relevant(run, "val", "train")[0, 0, :, 0]
    expected = clustered_interval(hits, run.dataset.labels("val"))
    assert (rows[0]["low"], rows[0]["high"]) == pytest.approx((expected.low, expected.high))
    with pytest.raises(UserError, match="tasks.knn.sampled is class; allowed: items, classes"):
        next(knn.items(Run(*given, {"sampled": "class"}, layout)))


# --- scoring --------------------------------------------------------------------------------------


def test_retrieval_scores_by_hand():
    rel = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]], bool)
    given = rel, np.array([2, 0, 5]), [1, 3]
    found = {metric: values for metric, _, values in retrieval.scores(*given, reference=True)}
    assert found["top3"].tolist() == [True, False, True]
    np.testing.assert_allclose(found["p@3"], [2 / 3, 0, 1 / 3])
    np.testing.assert_allclose(found["map@3"], [5 / 9, 0, 1 / 6])
    # The second query has no item of its class: it has no recall, and is left out.
    np.testing.assert_allclose(found["map@3_standard"], [5 / 6, 1 / 6])
    np.testing.assert_allclose(found["recall@3"], [1, 1 / 5])
    np.testing.assert_allclose(found["recall@3_reference"], [2 / 1300, 0, 1 / 1300])
    without = {metric: asked for metric, asked, _ in retrieval.scores(*given)}
    assert {*found} - {*without} == {"recall@1_reference", "recall@3_reference"}
    assert without["recall@3"].tolist() == [True, False, True]


def test_recall_over_1300_is_of_the_database_that_is_named(finished):
    study, layout = finished
    given = study, Dataset(layout.data), study.methods["mrl"], 0, "retrieval"
    rows = retrieval.score(Run(*given, {"ks": [10], "recall_reference": "database"}, layout))
    found = {row["split"]: row["metric"] for row in rows if row["metric"].endswith("_reference")}
    assert found == {"query": "recall@10_reference"}
    with pytest.raises(UserError, match="recall_reference is sketch; allowed: null, train, train, database"):
        next(retrieval.score(Run(*given, {"ks": [10], "recall_reference": "sketch"}, layout)))


@pytest.mark.parametrize("task", TASKS)
def test_intervals_of_unseen_queries_are_over_classes(finished, task, monkeypatch):
    study, layout = finished
    run = Run(study, Dataset(layout.data), study.methods["mrl"], 0, task, study.tasks[task], layout)
    mean, over = Run.mean, {}

    def recorded(self, dim, split, metric, outcomes, groups=None, **keys):
        over[split] = groups
        return mean(self, dim, split, metric, outcomes, groups, **keys)

    monkeypatch.setattr(Run, "mean", recorded)
    rows = list(EVALUATION.load(task).score(run))
    assert over["val"] is None
    np.testing.assert_array_equal(over["query"], run.dataset.labels("query"))
    if task == "retrieval":
        relevant = retrieval.first_relevant(run, "query", "database")
        expected = clustered_interval(average_precision(relevant, 10)[0, 0], over["query"])
        row = next(row for row in rows if (row["split"], row["metric"]) == ("query", "map@10"))
        assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))


def test_retrieval_agrees_with_one_nearest_neighbour(finished):
    study, layout = finished
    dataset = Dataset(layout.data)
    table = tabulate(study, "retrieval", layout).query("method == 'mrl'")
    assert set(table["split"]) == {"val", "v2", "query"}
    ids = read_outcomes(layout, "mrl", 0, "neighbours")["val/train/ids"][0, :, :, 0]
    expected = (dataset.labels("train")[ids] == dataset.labels("val")).mean(1)
    found = table.query("split == 'val' and metric == 'top1'").set_index("dim")["value"]
    np.testing.assert_allclose(found.loc[list(SIZES)], expected)


def test_more_neighbours_than_were_saved_cannot_be_scored(finished):
    study, layout = finished
    run = Run(
        study,
        Dataset(layout.data),
        study.methods["mrl"],
        0,
        "retrieval",
        {"ks": [100], "recall_reference": None},
        layout,
    )
    with pytest.raises(UserError, match="k = 100 asked for, but 20 neighbours"):
        list(retrieval.score(run))


def test_the_adaptive_table_counts_compute(finished):
    study, layout = finished
    table = tabulate(study, "adaptive_retrieval", layout).query("method == 'mrl' and split == 'val'")
    precision = table.query("metric == 'map@10'")
    pair = precision.query("search == 'adaptive' and shortlist_dim == 2 and rerank_dim == 16")
    assert dict(zip(pair["shortlist_k"], pair["mflops"])) == {
        k: mflops_per_query(240, 2, [(k, 16)]) for k in (10, 20, 30)
    }
    single = precision.query("search == 'single'").set_index("dim")
    assert single["mflops"].to_dict() == {m: 240 * m / 1e6 for m in SIZES}
    same = precision.query("search == 'adaptive' and shortlist_dim == rerank_dim").set_index("dim")
    assert same["value"].to_dict() == pytest.approx(single["value"].to_dict(), abs=1e-3)  # but for rounding


def test_the_funnel_table_says_its_stages(finished):
    study, layout = finished
    table = tabulate(study, "funnel_retrieval", layout).query("method == 'mrl' and metric == 'map@10'")
    row = table.query("split == 'val' and cascade == 'C' and shortlist_dim == 2").iloc[0]
    assert row["stages"] == "200:4 100:8 50:16"
    assert row["mflops"] == pytest.approx((240 * 2 + 200 * 4 + 100 * 8 + 50 * 16) / 1e6)
    assert len(table.query("split == 'val'")) == 9


def test_no_other_lengths_are_scored_where_none_were_asked_for(tmp_path):
    measures = {"neighbours": {"k": 20}, "reranking": {"shortlist": 20, "lengths": []}}
    given = GIVEN | {"methods": {"mrl": None}, "tasks": {"adaptive_retrieval": None}}
    study, layout = synthetic.build(tmp_path, measures=measures, **given)
    synthetic.measure(study, layout)
    table = tabulate(study, "adaptive_retrieval", layout).query("search == 'adaptive'")
    assert set(table["shortlist_k"]) == {20}


def test_a_method_with_one_size_has_no_funnel(tmp_path):
    tasks = dict.fromkeys(["adaptive_retrieval", "funnel_retrieval"])
    given = GIVEN | {"methods": {"mrl": None}, "tasks": tasks}
    one, layout = synthetic.build(tmp_path, nesting=[16], **given)
    synthetic.measure(one, layout, "neighbours", "reranking")
    assert tabulate(one, "funnel_retrieval", layout).empty
    assert set(tabulate(one, "adaptive_retrieval", layout)["search"]) == {"single", "adaptive"}


# --- indexes --------------------------------------------------------------------------------------


def unit(rng, n, dim=16):
    return faiss_indexes.normalised(np.abs(gaussian(rng, n, dim)))


@pytest.mark.parametrize("dim", [2, 8, 16])
def test_an_exact_index_searches_normalised_prefixes(rng, dim):
    items, queries = unit(rng, 300), unit(rng, 20)
    built = faiss_indexes.build(items, "Flat", dim)
    expected = prefix_search(queries, items, [dim], 10).ids[0]
    np.testing.assert_array_equal(built.index.search(queries, 10)[1], expected)
    assert 0 < built.bytes - 300 * 4 * dim < 300  # and a header
    # Queries come as they are: an index cuts and normalises them itself, at every size.
    for index in (built.index, faiss_indexes.whole(faiss_indexes.flat([items]).index)):
        scaled = index.search(7 * queries, 10)
        np.testing.assert_array_equal(scaled[1], index.search(queries, 10)[1])
        assert (scaled[0] <= 2 + 1e-5).all()  # of vectors of length 1 in one orthant


def test_refining_everything_is_exact_search(rng):
    items, queries = unit(rng, 300), unit(rng, 20)
    full = faiss_indexes.flat([items]).index
    short = faiss_indexes.build(items, "Flat", 2).index
    refined = faiss_indexes.refine(short, full, 300 / 10)
    np.testing.assert_array_equal(refined.search(7 * queries, 10)[1], full.search(queries, 10)[1])
    assert (short.search(queries, 10)[1] != full.search(queries, 10)[1]).any()


@pytest.mark.parametrize("dim", [4, 16])
def test_binary_codes_are_compared_by_differing_bits(rng, dim):
    items, queries = unit(rng, 80), unit(rng, 7)
    built = faiss_indexes.build(items, "Binary", dim)
    cut, asked = (faiss_indexes.normalised(part[:, :dim]) for part in (items, queries))
    bits, asked = cut > cut.mean(0), asked > cut.mean(0)
    distances = (asked[:, None] != bits[None]).sum(2)
    found = np.take_along_axis(distances, built.index.search(3 * queries, 5)[1], axis=1)
    np.testing.assert_array_equal(found, np.sort(distances, axis=1)[:, :5])
    assert built.bytes == 80 * -(-dim // 8)


def test_a_product_quantiser_takes_sizes_it_divides():
    given = {"pq": {"factory": "PQ4x4np"}, "whole": {"factory": "PQ8"}, "exact": {"factory": "Flat"}}
    sizes = [2, 4, 6, 8, 16]
    expected = {"pq": [8, 16], "whole": [16], "exact": sizes}
    assert list(indexes.wanted(given, sizes)) == [(name, m) for name in given for m in expected[name]]


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        ("IVF64,Flat", r"points \(50\) should be at least as large as number of clusters \(64\)"),
        ("PQ4np", r"points \(50\) should be at least as large as number of clusters \(256\)"),
        ("Flatt", "items: could not parse index string Flatt"),
    ],
)
def test_an_index_that_faiss_cannot_make_is_named(rng, factory, reason):
    with pytest.raises(UserError, match=reason) as error:
        faiss_indexes.build(unit(rng, 50), factory, 8)
    assert f"the index {factory} at size 8 of 50 items" in str(error.value)
    assert "measures.indexes.indexes" in str(error.value)


def test_the_full_size_is_in_memory_once(rng):
    items, queries = gaussian(rng, 300, 16), unit(rng, 20)
    full = faiss_indexes.flat([items[:100], items[100:]])
    np.testing.assert_array_equal(faiss_indexes.vectors(full.index), faiss_indexes.normalised(items))
    options = indexes.OPTIONS | {"seconds": 0, "indexes": {"exact": {"factory": "Flat", "refine": True}}}
    parts = indexes.measure_view(full, queries, [4, 16], options, full_size=True)
    found = {(part["dim"], part["refined"]): part for part in parts}
    assert set(found) == {(4, False), (4, True), (16, False)}
    whole = found[16, False]
    assert (whole["build_seconds"], whole["bytes_per_item"]) == (full.seconds, full.bytes / 300)
    np.testing.assert_array_equal(whole["ids"], prefix_search(queries, items, [16], 10).ids[0])


def test_adding_in_blocks_changes_nothing(rng, monkeypatch):
    items, queries = unit(rng, 300), unit(rng, 20)
    whole = faiss_indexes.build(items, "SQ8", 8).index.search(queries, 10)[1]
    monkeypatch.setattr(faiss_indexes, "BLOCK", 70)
    np.testing.assert_array_equal(faiss_indexes.build(items, "SQ8", 8).index.search(queries, 10)[1], whole)


def test_eight_top_bits_are_the_int8_code_of_faiss_and_rank_as_it_does(rng):
    items, queries = unit(rng, 300), unit(rng, 20)
    index = faiss_indexes.build(items, "TopBits8", 16).index
    theirs = faiss.IndexScalarQuantizer(16, faiss.ScalarQuantizer.QT_8bit)
    theirs.train(items)
    np.testing.assert_array_equal(index.cells, theirs.sa_encode(items))
    decoded = theirs.sa_decode(theirs.sa_encode(items)).astype(np.float64)
    decoded /= np.linalg.norm(decoded, axis=1, keepdims=True)
    np.testing.assert_allclose(index.decoded(slice(None)), decoded, atol=1e-6)
    found = index.search(queries, 10)[1]
    np.testing.assert_array_equal(found, np.argsort(-(queries @ decoded.T), axis=1)[:, :10])


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_fewer_bits_and_dimensions_are_a_part_of_the_whole_code(rng, bits):
    items = unit(rng, 300)
    whole = faiss_indexes.build(items, "TopBits8", 16).index
    for dim in (3, 8, 16):
        built = faiss_indexes.build(items, f"TopBits{bits}", dim)
        np.testing.assert_array_equal(built.index.cells, whole.cells[:, :dim] >> (8 - bits))
        assert built.bytes == 300 * -(-dim * bits // 8) + 8 * dim
        # What is decoded lies in the middle of what the codes that begin alike are decoded to.
        cells, step = built.index.cells, whole.step[:dim]
        first = whole.first[:dim] + step * (cells.astype(int) << (8 - bits))
        middle = first + step * (2 ** (8 - bits) - 1) / 2
        middle /= np.linalg.norm(middle, axis=1, keepdims=True)
        np.testing.assert_allclose(built.index.decoded(slice(None)), middle, atol=1e-6)


@pytest.mark.parametrize("factory", ["TopBits1", "Binary"])
def test_own_codes_are_put_right_by_the_full_vectors_and_searched_in_blocks(rng, factory, monkeypatch):
    items, queries = unit(rng, 300), unit(rng, 20)
    full = faiss_indexes.flat([items])
    exact = faiss_indexes.whole(full.index).search(queries, 10)[1]
    index = faiss_indexes.build(items, factory, 8).index
    found = faiss_indexes.refine(index, full.index, 30).search(queries, 10)[1]
    np.testing.assert_array_equal(found, exact)
    short = faiss_indexes.refine(index, full.index, 2).search(queries, 10)[1]
    assert 0.2 < (short[:, :, None] == exact[:, None]).any(2).mean() < 1
    if factory != "Binary":
        whole = index.search(queries, 10)[0]
        monkeypatch.setattr(faiss_indexes, "BLOCK", 70)
        parts = faiss_indexes.build(items, factory, 8).index.search(queries, 10)[0]
        np.testing.assert_allclose(parts, whole, atol=1e-6)


@pytest.mark.parametrize(
    "given",
    [{"search": "nprobe=8"}, {"factory": "Flat", "refined": True}, {"factory": "Binary", "search": "x=1"}],
)
def test_an_index_has_known_keys(given):
    with pytest.raises(UserError, match=r"indexes\.indexes\.mine.* (needs factory|no search parameters)"):
        list(indexes.wanted({"mine": given}, [8]))


def test_search_parameters_that_faiss_does_not_know_are_named(rng):
    with pytest.raises(UserError, match="cannot search with efsearch=64: .*; in a study's file"):
        faiss_indexes.configure(faiss_indexes.build(unit(rng, 50), "HNSW8", 8).index, "efsearch=64")


def test_settings_that_come_to_the_same_are_searched_once():
    """HNSW keeps at least as many candidates as a shortlist takes."""
    found = ["efSearch=16", "efSearch=64", "efSearch=256"]
    assert indexes.settings(found, 10) == list(enumerate(found))
    assert indexes.settings(found, 200) == [(0, "efSearch=200"), (2, "efSearch=256")]


def test_a_thorough_search_finds_more(finished):
    study, layout = finished
    table = tabulate(study, "index_retrieval", layout).query("method == 'mrl' and split == 'val'")
    hnsw = table.query("index == 'hnsw' and not refined and dim == 16 and metric == 'own_recall@10'")
    assert hnsw["search"].tolist() == ["efSearch=10", "efSearch=40"]  # of the 4 and 40 asked for
    assert hnsw["value"].is_monotonic_increasing
    timed = table.query("metric == 'milliseconds'")
    assert (timed["repeats"] >= 3).all()
    assert ((timed["fastest"] <= timed["value"]) & (timed["value"] <= timed["slowest"])).all()


def test_the_fastest_search_that_finds_enough_is_chosen():
    columns = ("dim", "index", "refined", "threads", "value")
    rows = [
        (8, "a", True, 1, 3.0),
        (16, "a", True, 1, 2.0),
        (16, "a", False, 1, 9.0),
        (16, "a", True, 2, 1.0),
    ]
    found = list(index_retrieval.fastest([dict(zip(columns, row)) for row in rows], 0.9))
    assert [(row["dim"], row["refined"], row["threads"]) for row in found] == [
        (16, True, 2),
        (16, True, 1),
        (16, False, 1),
    ]
    assert {(row["metric"], row["recall"]) for row in found} == {("milliseconds_at_recall", 0.9)}


def test_a_refined_index_shares_what_the_full_vectors_hold(finished):
    """Prefixes of 4 · m bytes are in the full vectors already, of 64; their norms, of 4 bytes, are not."""
    study, layout = finished
    table = tabulate(study, "index_retrieval", layout).query("method == 'mrl' and metric == 'top1'")
    exact = table.query("index == 'exact' and refined").drop_duplicates("dim").set_index("dim")
    np.testing.assert_allclose(exact["bytes_shared"], 64 + 4, atol=2)
    np.testing.assert_allclose(exact["bytes_per_item"], 64 + 4 * exact.index, atol=2)
    plain = table.query("not refined")
    assert (plain["bytes_shared"] == plain["bytes_per_item"]).all() and (plain["shortlist_k"] == 0).all()
    assert set(exact["shortlist_k"]) == {20} and set(exact.query("split == 'val'")["items"]) == {240}


def test_splits_of_the_indexes_must_exist(finished):
    study, layout = finished
    dataset = Dataset(layout.data).subset(["train", "val"])
    representation = Representation(layout.embeddings("mrl", 0))
    for given in (["query", "database"], "val"):
        options = study.measure_options("indexes") | {"splits": [given]}
        with pytest.raises(UserError, match="splits has .*; allowed are pairs .* splits: train, val"):
            indexes.measure(representation, dataset, options, {})


@pytest.mark.parametrize("method", METHODS)
def test_indexes_are_judged_against_exact_neighbours(finished, method):
    study, layout = finished
    table = tabulate(study, "index_retrieval", layout).query("method == @method and split == 'val'")
    exact = table.query("index == 'exact' and not refined")
    recall = exact.query("metric == 'own_recall@10'").set_index("dim")["value"]
    assert set(recall.index) == set(SIZES) and (recall > 0.99).all()
    assert exact.query("metric == 'exact_recall@10' and dim == 16")["value"].item() > 0.99
    # Other networks' vectors cannot refine what one network found.
    assert table["refined"].any() == (method != "fixed_feature")
    space = exact.drop_duplicates("dim").set_index("dim")["bytes_per_item"]
    assert ((space - 4 * space.index).between(0, 2)).all()
    assert (table.query("metric == 'milliseconds'")["value"] > 0).all()


def test_what_an_index_did_not_find_is_not_relevant(finished, monkeypatch):
    """−1 stands for a neighbour that was not found; as an index it would be the last item."""
    study, layout = finished
    run = Run(
        study, Dataset(layout.data), study.methods["mrl"], 0, "index_retrieval", {"recalls": []}, layout
    )
    outcomes = dict(run.outcomes("indexes"))
    for name in ("val/train/ids", "query/database/ids"):
        outcomes[name] = np.full_like(outcomes[name], -1)
    monkeypatch.setattr(Run, "outcomes", lambda self, measure: outcomes)
    rows = [row for row in index_retrieval.score(run) if row["metric"] in ("top1", "map@10")]
    assert rows and all(row["value"] == 0 for row in rows)


def test_shared_neighbours_by_hand():
    ids, exact = np.array([[1, 2, 3], [4, -1, -1]]), np.array([[3, 1, 9], [5, 6, 7]])
    np.testing.assert_allclose(index_retrieval.shared(ids, exact), [2 / 3, 0])


def test_pairs_of_splits_are_read_from_the_outcomes(finished):
    _, layout = finished
    found = adaptive_retrieval.split_pairs(read_outcomes(layout, "mrl", 0, "reranking"))
    assert found == [("val", "train"), ("query", "database")]
