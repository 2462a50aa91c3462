"""Maps that are learned on ready embeddings: residual adaptors and sparse codes, by what they must find."""

from itertools import pairwise

import made
import numpy as np
import pytest
import torch
from small import build
from test_collection import METHODS, run, study_of

from baselines import csr, matryoshka_adaptor
from baselines.embed import embed
from baselines.fitting import Source
from baselines.representation import Representation, View
from splits.sources import collection
from splits.store import Dataset, Judgements
from suite.contracts import METHOD
from suite.errors import UserError

SIZES = (2, 4, 16)


def source_of(x, queries=None, judged=None):
    x = np.asarray(x, np.float32)
    return Source(x, np.full(len(x), -1), 0, None, None, View((x.shape[1],), 0, x.shape[1]), queries, judged)


def fit(name, source, seed=0, **given):
    options = METHOD.options(name, {"steps": 150} | given)
    return METHOD.load(name).fit(source, SIZES, options, np.random.default_rng(seed))


def found_again(x, code):
    """Share of rows whose nearest other row is one of the ten nearest by the embedding x."""
    x, code = (torch.from_numpy(np.asarray(part, np.float32)) for part in (x, code))
    unit = [part / part.norm(dim=1, keepdim=True).clamp_min(1e-9) for part in (x, code)]
    near, first = (matryoshka_adaptor.nearest(part, k) for part, k in zip(unit, (10, 1)))
    return (near == first).any(1).float().mean().item()


@pytest.fixture
def hidden(rng):
    """400 vectors whose first 13 columns are noise, so that the last three are what they are about."""
    x = 0.15 * rng.standard_normal((400, 16))
    x[:, 13:] += rng.standard_normal((400, 3))
    return x.astype(np.float32)


# --- adaptors -----------------------------------------------------------------------------------------


def test_an_adaptor_finds_in_its_first_columns_what_lay_in_the_last(hidden):
    found = fit("matryoshka_adaptor", source_of(hidden), learning_rate=0.005)
    begin, end = found.facts["loss"]
    assert end < 0.7 * begin
    mapped = found.transform(hidden)
    assert mapped.dtype == np.float32 and mapped.shape == hidden.shape
    assert found_again(hidden, hidden[:, :4]) < 0.15
    assert found_again(hidden, mapped[:, :4]) > 0.4
    assert found_again(hidden, mapped) > 0.8
    new = np.vstack([hidden[:3] * 7, np.zeros((1, 16), np.float32)])
    again = found.transform(new)
    np.testing.assert_allclose(again[:3], mapped[:3], atol=1e-5)  # lengths do not count
    assert not again[3].any()


def test_an_adaptor_starts_as_the_embedding_and_a_seed_decides_it(hidden):
    noise = torch.Generator().manual_seed(0)
    model = matryoshka_adaptor.Adaptor(16, 8, noise)
    x = torch.from_numpy(hidden)
    np.testing.assert_allclose(model(x).detach(), x / x.norm(dim=1, keepdim=True), atol=1e-6)
    for name in ("matryoshka_adaptor", "csr"):
        first, again, other = (
            fit(name, source_of(hidden), seed, steps=5).transform(hidden) for seed in (0, 0, 1)
        )
        assert np.array_equal(first, again) and not np.array_equal(first, other), name


def test_similarity_losses_of_prefixes_worked_out_by_hand():
    before = torch.tensor([[3.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    after = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    cosine = np.sqrt(0.5)
    # At size 2, off the diagonal: 0 → √½, √½ → 0, √½ → √½; at size 1 rows are 1, 1 and 0.
    two, one = [cosine, cosine, 0], [1, cosine, cosine]
    options = {"pairs": 2.0, "stay": 0.0}
    anchors, others = torch.tensor([0]), torch.tensor([[2]])
    found = matryoshka_adaptor.similarity_loss(before, after, anchors, others, (1, 2), options)
    diagonal = 1  # of row 2 at size 1, whose prefix is all zeros
    near = (cosine + cosine) / 2
    pairs = (2 * sum(two) / 9 + (2 * sum(one) + diagonal) / 9) / 2
    assert found.item() == pytest.approx(near + 2 * pairs, abs=1e-6)
    options = {"pairs": 0.0, "stay": 1.0}
    more = matryoshka_adaptor.similarity_loss(before, after, anchors, others, (1, 2), options)
    unit = before / before.norm(dim=1, keepdim=True)
    assert more.item() == pytest.approx(near + (after - unit).norm(dim=1).mean().item(), abs=1e-6)


def test_the_ranking_loss_counts_pairs_by_how_much_their_gains_differ():
    items, queries = np.eye(3, dtype=np.float32), np.array([[1, 0, 0]], np.float32)
    judged = Judgements(np.zeros(3, int), np.array([0, 1, -1]), np.array([2, 1, 3]), 1)
    ranked = matryoshka_adaptor.Ranked(items, queries, judged, "cpu")
    more = torch.tensor([[0.0, 0.0, 1.0]])
    found = ranked.loss(torch.nn.Identity(), more, (3,), 8, torch.Generator().manual_seed(0))
    log = lambda x: np.log1p(np.exp(x))  # noqa: E731
    # Scores 1, 0, 0 of gains 2, 1, 0: pairs (2, 1) and (2, 0) with 1 and 2, (1, 0) with 1.
    assert found.item() == pytest.approx((log(-1) + 2 * log(-1) + log(0)) / 4, abs=1e-6)


def test_training_judgements_teach_what_similarity_alone_cannot(rng):
    """Queries say that the first two columns decide, which make up little of an embedding's length."""
    x = rng.standard_normal((300, 16)).astype(np.float32)
    x[:, :2] *= 0.5
    queries = (0.3 * rng.standard_normal((200, 16))).astype(np.float32)
    documents = rng.integers(0, 300, 200)
    queries[:, :2] = x[documents, :2]
    judged = Judgements(np.arange(200), documents, np.ones(200, int), 200)

    def rank(found):
        asked, there = (found.transform(part)[:, :4] for part in (queries, x))
        asked, there = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (asked, there))
        scores = asked @ there.T
        return (scores > scores[np.arange(200), documents][:, None]).sum(1).mean()

    given = source_of(x, queries, judged)
    taught = fit("matryoshka_adaptor", given, judgements="train", ranking=5.0, learning_rate=0.005)
    alone = fit("matryoshka_adaptor", given, learning_rate=0.005)
    assert taught.facts["judgements"] == 200 and alone.facts["judgements"] == 0
    assert rank(taught) < 0.8 * rank(alone)


# --- sparse codes -------------------------------------------------------------------------------------


def test_codes_have_as_many_numbers_as_take_the_bytes_of_a_prefix_and_keep_what_is_near(hidden):
    found = fit("csr", source_of(hidden), times=8)
    codes = found.transform(hidden)
    assert [view.sizes for view in found.views] == [(2,), (4,), (16,)]
    assert found.facts["k"] == {"2": 1, "4": 2, "16": 10} and found.facts["units"] == 128
    assert found.facts["bytes_per_item"] == {"2": 6, "4": 12, "16": 60}
    parts = [codes[:, view.prefix(m)] for view, m in zip(found.views, SIZES)]
    for part, k in zip(parts, (1, 2, 10)):
        assert part.shape == (400, 128) and (np.count_nonzero(part, axis=1) == k).all() and part.min() >= 0
    assert found.facts["nonzeros"] == {"2": 1, "4": 2, "16": 10}
    for small, large in pairwise(parts):  # what a smaller code has, a larger one has as well
        assert (large[small > 0] == small[small > 0]).all()
    assert found_again(hidden, parts[2]) > 0.7 > found_again(hidden, hidden[:, :4])
    assert found.facts["loss"][1] < found.facts["loss"][0]
    assert not found.transform(np.zeros((2, 16), np.float32)).any()


def test_what_is_lost_is_what_codes_of_two_lengths_leave_over():
    model = csr.Autoencoder(2, 2, torch.zeros(2), torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.weight.copy_(torch.eye(2))
    x = torch.tensor([[3.0, 1.0]])
    loss, code = model.loss(x, 1)  # of one number (3, 0) is kept, of four everything
    assert (code.tolist(), loss.item()) == ([[3.0, 0.0]], 1.0)
    assert csr.sparse(torch.tensor([[1.0, 3.0, 2.0]]), 2).tolist() == [[0.0, 3.0, 2.0]]


# --- in a study ---------------------------------------------------------------------------------------

LEARNED = {
    "adapted": {"baseline": "matryoshka_adaptor", "source": "plain", "steps": 20, "label": "adapted"},
    "coded": {"baseline": "csr", "source": "plain", "steps": 20, "label": "coded"},
}
TAUGHT = {
    "adapted": LEARNED["adapted"] | {"judgements": "train"},
    "coded": LEARNED["coded"] | {"judgements": "train"},
}


def test_learned_maps_are_scored_like_all_others_and_codes_by_their_own_bytes(tmp_path, monkeypatch):
    made.collection(tmp_path / "mine")
    study = study_of(tmp_path / "mine", METHODS | LEARNED)
    table = run(study, tmp_path, monkeypatch)["judged_retrieval"]
    assert set(table["method"]) == {*METHODS, *LEARNED}
    coded = table[table["method"] == "coded"].set_index(["metric", "dim"])
    full = 59 / 60  # of the documents; one is all zeros
    assert coded.loc["nonzeros", "value"].tolist() == pytest.approx([2 * full, 5 * full, 10 * full])
    assert coded.loc["ndcg@10", "bytes_per_item"].tolist() == [12, 30, 60]
    assert coded.at[("ndcg@10", 16), "value"] > 0.3
    representation = Representation(study.layout.embeddings("coded", 0))
    for view, k in zip(representation.views, (2, 5, 10)):
        codes = representation.features("corpus", view)
        assert codes.shape == (made.DOCUMENTS, 64) and np.count_nonzero(codes, axis=1).max() <= k
    adapted = Representation(study.layout.embeddings("adapted", 0)).meta
    assert adapted["fit"]["fitted_on"] == "corpus"
    assert adapted["cost"]["projection_macs"]["4"] == 16 * 16 + 16 * 4


@pytest.mark.parametrize("name", LEARNED)
def test_test_judgements_decide_nothing_and_training_judgements_do(name, tmp_path, monkeypatch):
    root = tmp_path / "mine"
    made.collection(root)
    made.train_judgements(root)
    monkeypatch.chdir(tmp_path)

    def mapped(methods=TAUGHT, gone=False):
        methods = {"plain": METHODS["plain"], name: methods[name]}
        data = {"source": "collection", "root": str(root), "train_split": "train"}
        study = study_of(root, methods, data=data)
        build(collection, study.layout.data, **study.source_options)
        if gone:
            (study.layout.data / "judgements.csv").unlink()
            monkeypatch.setattr(Dataset, "judgements", property(lambda self: pytest.fail("they are read")))
        for method in study.methods.values():
            embed(study, method, 0, "cpu")
        return np.load(study.layout.embeddings(name, 0) / "corpus.npy")

    first = mapped()
    assert not np.array_equal(first, mapped(LEARNED))  # without judgements
    made.write_qrels(root / "qrels" / "test.tsv", [(f"q{i}", f"d{9 - i:02d}", 1) for i in range(10)])
    assert np.array_equal(first, mapped(gone=True))
    made.write_qrels(root / "qrels" / "train.tsv", [(f"t{i}", f"d{i + 9:02d}", 1) for i in range(30)])
    assert not np.array_equal(first, mapped())


def test_what_the_data_or_an_evaluation_lack_is_said_when_the_study_is_read():
    with pytest.raises(UserError, match="judgements of method adapted needs data with train_queries"):
        study_of("nowhere", METHODS | {"adapted": TAUGHT["adapted"]})
    tasks = {"judged_retrieval": None, "two_stage_retrieval": None}
    with pytest.raises(UserError, match="two_stage_retrieval cuts vectors to their first .* leave coded out"):
        study_of("nowhere", METHODS | LEARNED, tasks=tasks)
    study_of("nowhere", METHODS | LEARNED, tasks=tasks | {"two_stage_retrieval": {"methods": ["plain"]}})
