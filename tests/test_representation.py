"""What methods hand over: views, prefixes, classifiers."""

from pathlib import Path
from unittest.mock import MagicMock

import frozen
import numpy as np
import pytest
import small
import synthetic
import torch

from analysis.measures.predict import best, measure
from baselines import control_label, control_random
from baselines.embed import embed, label_codes
from baselines.representation import Representation, View, check_finite, write_representation
from splits.store import Dataset
from suite import files
from suite.errors import UserError


def write(folder, array, views, classifiers=None, split="val"):
    files.write_npy(folder / f"{split}.npy", array)
    write_representation(
        folder, method="toy", seed=0, views=views, splits=[split], classifiers=classifiers or {}
    )
    return Representation(folder)


def test_views_slice_and_permute_columns(tmp_path):
    array = np.arange(24, dtype=np.float32).reshape(2, 12)
    nested = View((2, 4), 0, 4)
    beside = View((4,), 4, 8, nested=False)
    permuted = View((2, 4), 8, 12, draw=1, order=(3, 0, 2, 1))
    rep = write(tmp_path, array, [nested, beside, permuted])
    assert rep.views == (nested, beside, permuted)
    assert rep.sizes == (2, 4) and rep.draws == 2
    assert rep.features("val", nested, 2).tolist() == [[0, 1], [12, 13]]
    assert rep.features("val", beside, 4)[0].tolist() == [4, 5, 6, 7]
    assert rep.features("val", permuted, 2)[0].tolist() == [11, 8]


def test_sizes_side_by_side_have_columns_of_their_own():
    assert View.side_by_side([2, 5]) == [View((2,), 0, 2, nested=False), View((5,), 2, 7, nested=False)]
    assert View.side_by_side([2, 5])[1].prefix(3) == slice(2, 5)


def test_sizes_in_between_exist_for_nested_views_only(tmp_path):
    array = np.zeros((2, 8), np.float32)
    nested = write(tmp_path / "a", array, [View((2, 8), 0, 8)])
    assert nested.serving(5) == list(nested.views)
    assert write(tmp_path / "b", array, View.side_by_side([2, 6])).serving(5) == []


def test_a_prefix_longer_than_the_embedding_is_refused(tmp_path):
    rep = write(tmp_path, np.zeros((2, 8), np.float32), [View((8,), 0, 8)])
    for view in (rep.views[0], View((8,), 0, 8, order=tuple(range(8)))):
        with pytest.raises(UserError, match="a prefix of 16 dimensions was asked of an embedding of 8"):
            rep.features("val", view, 16)


def test_nan_is_refused_where_embeddings_and_classifiers_are_written(tmp_path):
    array = np.zeros((20_000, 4), np.float32)
    array[17_000, 2] = np.nan  # beyond the rows that are looked at first
    with pytest.raises(UserError, match=r"mrl, split val: 1 of 20000 embeddings .* rows \[17000\]"):
        check_finite(array, "mrl, split val")
    weight, bias = np.ones((2, 4), np.float32), np.array([0, np.inf])
    with pytest.raises(UserError, match=r"toy: the classifier of size 4 holds NaN or infinity \(bias\)"):
        write(tmp_path, array, [View((4,), 0, 4)], {(0, 4): (weight, bias)})
    assert not (tmp_path / "meta.json").exists()


def test_every_way_to_embed_refuses_nan(tmp_path, monkeypatch):
    """Folders of embeddings are checked when they are opened: tests/test_compare.py."""
    monkeypatch.chdir(tmp_path)
    methods = {"mrl": None, "fixed_feature": None, "pca": None, "control_random": None}
    study, layout = synthetic.build(Path(), methods=methods, tasks={"linear": None}, figures=[], seeds=[0])
    frozen.write_network(study, layout, Dataset(layout.data), "mrl", 0)
    checkpoint = layout.network("mrl", 0) / "checkpoint.pt"
    weights = torch.load(checkpoint)
    weights["backbone.expand.0.weight"][3] = np.nan
    torch.save(weights, checkpoint)
    small.without_marks(layout.network("mrl", 0))
    source = layout.embeddings("fixed_feature", 0) / "query.npy"
    files.write_npy(source, np.load(source) * np.nan)
    small.without_marks(source.parent)
    monkeypatch.setattr(control_random, "embed", lambda labels, codes, rng: codes[labels] * np.nan)
    for name in ("mrl", "pca", "control_random"):
        (layout.embeddings(name, 0) / "meta.json").unlink()
        with pytest.raises(UserError, match=rf"{name}, split \w+: .* embeddings hold NaN or infinity"):
            embed(study, study.method(name), 0, "cpu")
        assert not (layout.embeddings(name, 0) / "meta.json").exists()


def test_an_unfinished_folder_and_a_split_that_was_not_embedded_say_so(tmp_path):
    with pytest.raises(UserError, match="meta.json is missing"):
        Representation(tmp_path)
    rep = write(tmp_path, np.zeros((2, 8), np.float32), [View((8,), 0, 8)])
    with pytest.raises(UserError, match="split 'train' was not embedded"):
        rep.array("train")
    with pytest.raises(KeyError):
        rep.classifier(rep.views[0], 4)


def test_a_half_written_file_is_never_there(tmp_path):
    with pytest.raises(RuntimeError), files.create_npy(tmp_path / "x.npy", (4,), np.float32) as out:
        out[:2] = 1
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_predictions_take_the_best_with_ties_to_the_lower_class():
    scores = np.array([[0, 5, 5, 1, 5, 2.0], [1, 1, 1, 1, 1, 1], [6, 5, 4, 3, 2, 1]])
    assert best(scores, 3).tolist() == [[1, 2, 4], [0, 1, 2], [0, 1, 2]]
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 4, (200, 30)).astype(float)  # many ties, also at the border
    assert np.array_equal(best(coarse, 5), np.argsort(-coarse, axis=1, kind="stable")[:, :5])


def test_labels_above_2048_survive_prediction(tmp_path):
    rng, labels = np.random.default_rng(0), np.array([0, 2047, 2048, 2049, 4095, 4096, 4097, 4201])
    codes = label_codes(4202, 8, 8, rng)
    dataset = MagicMock(num_classes=4202, labels=lambda name: labels)
    dataset.__contains__.side_effect = "val".__eq__
    classifiers = {(0, 8): (codes, -0.5 * (codes**2).sum(1))}
    rep = write(tmp_path, control_label.embed(labels, codes, rng), [View((8,), 0, 8)], classifiers)
    files.write_npz(tmp_path / "predict.npz", measure(rep, dataset, {}))
    loaded = np.load(tmp_path / "predict.npz")["val/top5"]
    assert loaded.dtype == np.int64
    assert loaded[0, 0, :, 0].tolist() == labels.tolist()


def test_label_codes_tell_all_classes_apart_in_their_first_columns():
    codes = label_codes(4202, 16, 8, np.random.default_rng(0))[:, :8]
    similar = codes @ codes.T
    np.fill_diagonal(similar, -1)
    assert similar.max() < 1 - 1e-4
