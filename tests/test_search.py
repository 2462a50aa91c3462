"""Exact prefix search against brute force in float64 and against FAISS on truncated copies."""

import json
import warnings

import faiss
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from analysis import search
from analysis.measures.indexes import measure_view
from analysis.search import candidates, prefix, prefix_search, resume
from analysis.search.faiss_indexes import TooFewItems, build, flat
from suite.errors import UserError

DIMS = (1, 3, 8, 12, 24, 32, 48)


def gaussian(rng, n, width=48):
    return rng.standard_normal((n, width)).astype(np.float32)


def clustered(rng, n, width=48, classes=20):
    """Classes around shared directions whose strength falls along the columns, sorted by class."""
    centres = np.random.default_rng(1).standard_normal((classes, width))
    labels = np.sort(rng.integers(classes, size=n))
    noise = 0.3 * rng.standard_normal((n, width))
    return ((centres[labels] + noise) / np.arange(1, width + 1) ** 0.5).astype(np.float32)


def scores_of(queries, database, dim, metric):
    """Brute force in float64, larger is nearer: [n, N]."""
    whole = (queries.astype(np.float64), database.astype(np.float64))
    if metric == "cut":
        whole = (a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-300) for a in whole)
    q, x = (a[:, :dim] for a in whole)
    if metric == "cosine":
        q, x = (a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-300) for a in (q, x))
    product = q @ x.T
    return product if metric != "l2" else -((q**2).sum(1)[:, None] - 2 * product + (x**2).sum(1))


def distances_of(scores, metric):
    return {"cosine": 2 - 2 * scores, "l2": -scores}.get(metric, scores)


def assert_exact(found, queries, database, metric):
    """Every id is distinct and scores like the true neighbour of its rank, within float32 rounding."""
    for place, dim in enumerate(found.dims):
        scores = scores_of(queries, database, dim, metric)
        k = found.ids.shape[2]
        true = -np.sort(-scores, axis=1)[:, :k]
        ids = found.ids[place]
        assert all(len(set(row)) == k for row in ids.tolist())
        tolerance = 1e-5 * max(1, np.abs(scores).max())
        np.testing.assert_allclose(np.take_along_axis(scores, ids, 1), true, rtol=0, atol=tolerance)
        np.testing.assert_allclose(
            found.distances[place], distances_of(true, metric), rtol=0, atol=2 * tolerance
        )


@pytest.mark.parametrize("metric", list(search.METRICS))
@pytest.mark.parametrize("make", [gaussian, clustered])
@pytest.mark.parametrize("k", [1, 10, 200, 900])  # the last ranks the whole database
def test_equals_brute_force(rng, metric, make, k):
    queries, database = make(rng, 37), make(rng, 900)
    found = prefix_search(queries, database, DIMS, k, metric=metric, database_block=128)
    assert found.ids.dtype == np.int64 and found.distances.dtype == np.float32
    assert found.ids.shape == found.distances.shape == (len(DIMS), 37, k)
    assert_exact(found, queries, database, metric)


def digits(rng, n):
    """Principal components of n of the handwritten digits, chosen at random."""
    pixels = load_digits().data
    components = PCA(48, svd_solver="full").fit_transform(pixels - pixels.mean(0)).astype(np.float32)
    return components[rng.choice(len(components), n, replace=False)]


@pytest.mark.parametrize("k", [1, 10, 200, 1500])
@pytest.mark.parametrize("make", [gaussian, clustered, digits])
def test_equals_faiss_on_truncated_copies(rng, make, k):
    queries, database = np.split(make(rng, 1790), [24])
    cosine = prefix_search(queries, database, (2, 8, 12, 24, 48), k, database_block=512)
    plain = prefix_search(queries, database, (2, 8, 12, 24, 48), k, metric="l2", database_block=512)
    for dim in plain.dims:
        q, x = (np.ascontiguousarray(a[:, :dim]) for a in (queries, database))
        flat, unit, product = faiss.IndexFlatL2(dim), faiss.IndexFlatL2(dim), faiss.IndexFlatIP(dim)
        flat.add(x)
        assert_same_neighbours(plain.at(dim), flat.search(q, k), scale=np.square(x).sum(1).max())
        faiss.normalize_L2(q)
        faiss.normalize_L2(x)
        unit.add(x)
        assert_same_neighbours(cosine.at(dim), unit.search(q, k), scale=1)
        product.add(x)
        cosines, ids = product.search(q, k)
        assert_same_neighbours(cosine.at(dim), (2 - 2 * cosines, ids), scale=1)


def assert_same_neighbours(ours, theirs, scale):
    """Same ids, except where neighbouring ranks lie within rounding of each other."""
    (ids, distances), (their_distances, their_ids) = ours, theirs
    np.testing.assert_allclose(distances, their_distances, rtol=0, atol=4e-6 * scale)
    gap = np.abs(np.diff(distances, axis=1, prepend=-np.inf, append=np.inf))
    clear = np.minimum(gap[:, :-1], gap[:, 1:]) > 8e-6 * scale
    clear[:, -1] = False  # the next neighbour is not known
    assert clear.mean() > 0.2 or ids.shape[1] == 1
    np.testing.assert_array_equal(ids[clear], their_ids[clear])
    if ids.shape[1] == 1:
        assert (ids == their_ids).mean() > 0.95


@pytest.mark.parametrize("metric", list(search.METRICS))
@pytest.mark.parametrize("k", [1, 7, 60])
def test_ties_go_to_the_lowest_id(rng, metric, k):
    # Every row stands in the database many times, in and across tiles; small integers make products exact.
    pool = rng.integers(-3, 4, (9, 16)).astype(np.float32)
    database = pool[rng.integers(9, size=700)]
    queries = pool[:5]
    found = prefix_search(queries, database, (4, 16), k, metric=metric, database_block=64)
    for place, dim in enumerate(found.dims):
        scores = scores_of(queries, database, dim, metric).astype(np.float32).round(4)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        np.testing.assert_array_equal(found.ids[place], order)


def test_equal_rows_of_any_value_tie(rng):
    database = np.tile(gaussian(rng, 30), (40, 1))
    found = prefix_search(gaussian(rng, 33), database, (5, 48), 40, database_block=96)
    expected = found.ids[:, :, :1] + 30 * np.arange(40)
    np.testing.assert_array_equal(found.ids, expected)


@pytest.mark.parametrize("order", [1, -1])
def test_rows_that_get_better_and_better(order):
    # The worst case for a threshold: each tile is better than all before it, and overflows what is kept.
    angles = np.linspace(0.1, 1.5, 1000)[::order]
    database = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = prefix_search(np.array([[0, 1]], np.float32), database, (2,), 50, database_block=256)
    expected = np.argsort(-angles)[:50]
    np.testing.assert_array_equal(found.ids[0, 0], expected)


@pytest.mark.parametrize("metric", list(search.METRICS))
def test_tiles_blocks_and_threads_change_nothing(rng, metric):
    queries, database = clustered(rng, 45), clustered(rng, 1000)
    whole = prefix_search(queries, database, DIMS, 20, metric=metric, threads=1, database_block=1000)
    pieces = {"threads": 3, "database_block": 33, "query_block": 11}
    split = prefix_search(queries, database, DIMS, 20, metric=metric, **pieces)
    np.testing.assert_allclose(whole.distances, split.distances, rtol=1e-5, atol=2e-6)
    assert_exact(split, queries, database, metric)
    assert (whole.ids == split.ids).mean() > 0.99


def test_float16_storage_is_read_exactly_and_summed_in_float32(rng):
    queries, database = gaussian(rng, 9).astype(np.float16), gaussian(rng, 300).astype(np.float16)
    half = prefix_search(queries, database, DIMS, 10, metric="ip")
    full = prefix_search(queries.astype(np.float32), database.astype(np.float32), DIMS, 10, metric="ip")
    np.testing.assert_array_equal(half.ids, full.ids)
    np.testing.assert_array_equal(half.distances, full.distances)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("rows", [slice(None), slice(7, 401)])
def test_memory_mapped_file_is_searched_like_an_array(rng, tmp_path, dtype, rows):
    database = gaussian(rng, 500).astype(dtype)
    np.save(tmp_path / "x.npy", database)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")[rows]
    queries = gaussian(rng, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = prefix_search(queries, mapped, DIMS, 10, database_block=64)
    expected = prefix_search(queries, np.array(database[rows]), DIMS, 10, database_block=64)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), database)


def test_memory_mapped_pages_are_given_back(rng, tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", gaussian(rng, 4096))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    advised = []
    monkeypatch.setattr(prefix, "_advise", lambda array, *advice: advised.append(advice))
    prefix_search(gaussian(rng, 3), mapped, (8,), 1, database_block=1024)
    released = [(start, stop) for start, stop, what in advised if what == "MADV_DONTNEED"]
    assert released == [(0, 1024), (1024, 2048), (2048, 3072), (3072, 4096)]


@pytest.mark.parametrize("start,stop", [(0, 5), (3, 40), (39, 40), (40, 40)])
def test_advice_stays_inside_the_file(tmp_path, start, stop):
    np.save(tmp_path / "x.npy", np.ones((50, 3000), np.float32))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")[10:]
    for advice in ("MADV_WILLNEED", "MADV_DONTNEED"):
        prefix._advise(mapped, start, stop, advice)  # the kernel refuses what is not inside
    assert (mapped == 1).all()


CHOSEN = [np.array([40, 3, 3, 17, 0, 22, 9, 47, 5]), np.arange(48) % 2 == 0]


@pytest.mark.parametrize("columns", [*CHOSEN, slice(5, 40), slice(1, None, 3), slice(None, None, -1)])
def test_columns_equal_a_copy_of_those_columns(rng, tmp_path, columns):
    queries, database = gaussian(rng, 8), gaussian(rng, 300)
    np.save(tmp_path / "x.npy", database)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    found = prefix_search(queries, mapped, (2, 5, 9), 10, columns=columns, database_block=64)
    copies = (np.ascontiguousarray(array[:, columns]) for array in (queries, database))
    copied = prefix_search(*copies, (2, 5, 9), 10, database_block=64)
    np.testing.assert_array_equal(found.ids, copied.ids)
    np.testing.assert_array_equal(found.distances, copied.distances)


def test_inputs_are_left_alone(rng):
    queries, database = gaussian(rng, 8), gaussian(rng, 100)
    before = queries.copy(), database.copy()
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    for metric in search.METRICS:
        prefix_search(queries, database, DIMS, 3, metric=metric, threads=2)
    np.testing.assert_array_equal(queries, before[0])
    np.testing.assert_array_equal(database, before[1])
    assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == (threads, precision)


def test_zero_prefix_has_similarity_zero(rng):
    queries, database = gaussian(rng, 4), gaussian(rng, 60)
    queries[0] = 0
    database[::2, :8] = 0  # the short prefix only
    found = prefix_search(queries, database, (4, 8, 48), 60)
    assert np.isfinite(found.distances).all()
    assert_exact(found, queries, database, "cosine")
    np.testing.assert_array_equal(found.ids[:, 0], np.broadcast_to(np.arange(60), (3, 60)))
    assert (found.distances[:, 0] == 2).all()


@pytest.fixture
def killed(monkeypatch):
    """killed(n) → the blocks searched from now on; the search is killed, once, at the n-th of them.

    As a signal would: nothing in the search may catch it.
    """

    def at(number):
        original, searched = prefix._search_block, []

        def search(*given):
            searched.append(given)
            if len(searched) == number:
                raise SystemExit
            return original(*given)

        monkeypatch.setattr(prefix, "_search_block", search)
        return searched

    return at


def test_interrupted_search_goes_on_where_it_stopped(rng, tmp_path, killed):
    queries, database = gaussian(rng, 40), gaussian(rng, 200)
    arguments = {"dims": DIMS, "k": 5, "query_block": 10, "resume_dir": tmp_path / "parts"}
    searched = killed(3)
    with pytest.raises(SystemExit):
        prefix_search(queries, database, **arguments)
    assert len(list((tmp_path / "parts").glob("queries-*.npz"))) == 2
    key = json.loads((tmp_path / "parts" / "key.json").read_text())
    assert (key["dims"], key["k"], key["metric"]) == (list(DIMS), 5, "cosine")
    found = prefix_search(queries, database, **arguments)
    assert len(searched) == 3 + 2  # two blocks came from the folder
    # The parts stay: a kill before the result is saved elsewhere loses nothing.
    prefix_search(queries, database, **arguments)
    assert len(searched) == 3 + 2
    expected = prefix_search(queries, database, DIMS, 5, query_block=10)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.distances, expected.distances)


@pytest.mark.parametrize("change", ["database", "k", "metric", "dims", "columns"])
def test_parts_of_another_search_are_not_used(rng, tmp_path, killed, caplog, change):
    database, other = gaussian(rng, 200), gaussian(rng, 200)
    changed = {"database": other, "k": 6, "metric": "l2", "dims": (4, 7), "columns": np.arange(48)[::-1]}
    arguments = {"queries": gaussian(rng, 20), "database": database, "dims": DIMS, "k": 5}
    arguments |= {"query_block": 10, "resume_dir": tmp_path}
    (tmp_path / "notes.txt").write_text("of somebody else")
    killed(2)
    with pytest.raises(SystemExit):
        prefix_search(**arguments)
    arguments[change] = changed[change]
    found = prefix_search(**arguments)
    fresh = prefix_search(**arguments | {"resume_dir": None})
    np.testing.assert_array_equal(found.ids, fresh.ids)
    assert "other inputs" in caplog.text
    assert (tmp_path / "notes.txt").read_text() == "of somebody else"


@pytest.mark.parametrize("stored", ["memory", "file", "part of a file"])
def test_a_change_in_any_row_is_noticed(rng, tmp_path, stored):
    path, rows = tmp_path / "x.npy", slice(5, None) if stored == "part of a file" else slice(None)
    array = gaussian(rng, 1000)

    def database():
        if stored == "memory":
            return array
        np.save(path, array)
        return np.load(path, mmap_mode="r")[rows]

    queries = gaussian(rng, 2)
    before = prefix_search(queries, database(), (8,), 1, resume_dir=tmp_path / "parts")
    array[777] = 1000 * queries[0]
    after = prefix_search(queries, database(), (8,), 1, resume_dir=tmp_path / "parts")
    assert after.ids[0, 0] == 777 - (rows.start or 0) != before.ids[0, 0]


def test_parts_of_one_file_are_told_apart(rng, tmp_path):
    np.save(tmp_path / "x.npy", gaussian(rng, 100))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    views = [mapped, mapped[:50], mapped[50:], mapped[::2], mapped[:, :24], mapped[:, 24:]]
    assert len({str(resume.fingerprint(view)) for view in views}) == len(views)


def test_candidates_stay_within_their_memory():
    for sizes, k in [(1, 1), (9, 1), (9, 200), (9, 2048), (12, 10_000)]:
        block = prefix.default_query_block(sizes, k)
        assert 1 <= block <= prefix.MAX_QUERY_BLOCK
        assert block * sizes * candidates.capacity(k) * 8 <= prefix.CANDIDATE_BYTES


def test_keys_order_by_score_then_lowest_id():
    scores = torch.tensor([-torch.inf, -1.5, -1e-40, -0.0, 0.0, 1e-40, 2.0, 2.0, torch.inf])
    ids = torch.tensor([0, 1, 2, 9, 4, 5, 7, 6, 2**32 - 1])
    keys = candidates.keys_of(scores, ids)
    expected = [8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert keys.argsort(descending=True).tolist() == expected
    assert torch.equal(candidates.score_of(keys), scores)
    assert torch.equal(candidates.LOW_BITS - (keys & candidates.LOW_BITS), ids)
    assert keys.min() > candidates.EMPTY


@pytest.mark.parametrize("metric", list(search.METRICS))
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_values_that_are_not_finite_are_named(rng, metric, value):
    queries, database = gaussian(rng, 4), gaussian(rng, 50)
    spoilt = database.copy()
    spoilt[41, 3] = value
    with pytest.raises(UserError, match="database row 41"):
        prefix_search(queries, spoilt, (8,), 1, metric=metric, database_block=32)
    prefix_search(queries, spoilt, (3,), 1, metric=metric)  # a column that is not searched
    queries[2, 0] = value
    with pytest.raises(UserError, match="queries row 2"):
        prefix_search(queries, database, (8,), 1, metric=metric, query_block=2)


@pytest.mark.parametrize(
    "change,message",
    [
        ({"dims": (8, 64)}, "dim 64 is longer than the embeddings, which have 48 columns"),
        ({"dims": (8, 12), "columns": slice(0, 10)}, "dim 12 .* 10 columns among those chosen"),
        ({"columns": np.array([3, 48])}, "columns do not fit embeddings with 48 columns"),
        ({"columns": 3}, "columns choose an array"),
        ({"queries": np.zeros((3, 48), np.float32)[:, ::-1]}, "queries are a reversed view"),
        ({"dims": (8, 8)}, "must be at least 1 and increase"),
        ({"dims": (16, 8)}, "must be at least 1 and increase"),
        ({"dims": (0, 8)}, "must be at least 1"),
        ({"dims": ()}, "must be at least 1"),
        ({"k": 0}, "from 1 to 50"),
        ({"k": 51}, "k = 51 neighbours of 50"),
        ({"k": 1.5}, "k = 1.5"),
        ({"metric": "manhattan"}, "unknown metric 'manhattan'.*cosine, cut, ip, l2"),
        ({"queries": np.zeros((3, 47), np.float32)}, "queries have 47 columns, the database 48"),
        ({"queries": np.zeros((3, 48))}, "queries are float64"),
        ({"queries": np.zeros(48, np.float32)}, r"queries are float32 \[48\]"),
        ({"queries": np.zeros((0, 48), np.float32)}, "at least one row"),
        ({"database_block": 0}, "database_block = 0"),
        ({"query_block": 0}, "query_block = 0"),
        ({"threads": 0}, "threads = 0"),
        ({"device": "abacus"}, "device 'abacus'"),
    ],
)
def test_errors_say_what_is_wrong(rng, change, message):
    given = {"queries": gaussian(rng, 4), "database": gaussian(rng, 50), "dims": (8, 16), "k": 3}
    with pytest.raises(UserError, match=message):
        prefix_search(**given | change)


def test_size_that_was_not_searched_is_an_error(rng):
    found = prefix_search(gaussian(rng, 2), gaussian(rng, 9), (8, 16), 1)
    with pytest.raises(UserError, match="unknown dim 12; allowed: 16, 8"):
        found.at(12)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("metric", list(search.METRICS))
@pytest.mark.parametrize("k", [1, 200])
def test_cuda_finds_the_same(rng, metric, k):
    queries, database = clustered(rng, 100), clustered(rng, 3000)
    found = prefix_search(queries, database, DIMS, k, metric=metric, device="cuda", database_block=512)
    assert_exact(found, queries, database, metric)


def test_an_index_that_needs_more_items_than_there_are_is_left_out(rng):
    items = rng.normal(size=(50, 8)).astype(np.float32)
    indexes = {"ivf": {"factory": "IVF64,Flat"}, "exact": {"factory": "Flat"}}
    options = {"k": 3, "shortlist": 3, "seconds": 0, "indexes": indexes}
    found = list(measure_view(flat([items]), items[:4], [4, 8], options, full_size=True))
    assert {(row["index"], row["dim"]) for row in found} == {(1, 4), (1, 8)}
    with pytest.raises(TooFewItems, match="IVF64,Flat at size 8 of 50 items"):
        build(items, "IVF64,Flat", 8)
