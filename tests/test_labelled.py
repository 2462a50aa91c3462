"""Labelled vectors that are ready: what is read, what is refused, what is measured on them."""

import os
from pathlib import Path

import made
import numpy as np
import pandas as pd
import pytest
from small import build

from analysis.measure import measure
from analysis.measures import write_outcomes
from analysis.plotting import Drawing
from analysis.tabulate import tabulate
from baselines.embed import embed
from baselines.representation import Representation
from splits.sources import labelled
from suite import files
from suite.contracts import FIGURE
from suite.errors import UserError
from suite.study import Study

REAL = os.environ.get("MATRYOSHKA_COLLECTIONS")  # a folder of collections, with EXPECTED.csv
MODEL = {"baseline": "given_embeddings", "model": "nested", "label": "nested"}
METHODS = {
    "model": MODEL,
    "drawn": {"baseline": "random_features", "source": "model", "probe_draws": 1, "label": "drawn"},
    "turned": {"baseline": "random_rotation", "source": "model", "draws": 1, "label": "turned"},
    "axes": {"baseline": "pca", "source": "model", "centre": False, "label": "axes"},
    "variance": {"baseline": "pca", "source": "model", "label": "variance"},
    "tempered": {"baseline": "spectral_tempering", "source": "model", "label": "tempered"},
    "mapped": {"baseline": "linear_map", "source": "model", "label": "mapped"},
}


@pytest.fixture
def root(tmp_path):
    """The folder of a miniature set."""
    made.labelled(tmp_path / "mine")
    return tmp_path / "mine"


@pytest.fixture
def read(root, tmp_path):
    """What builds the data of this set, with options."""
    return lambda **given: build(labelled, tmp_path / "dataset", **{"root": str(root)} | given)


def study_of(root, methods=None, **config):
    usual = {"name": "mini", "title": "mini", "nesting": [2, 4, 8, 32], "seeds": [0], "figures": []}
    usual |= {"tasks": {"knn": None}, "methods": methods or {"model": MODEL}}
    return Study(usual | {"data": {"source": "labelled", "root": str(root)}} | config)


def run(study, folder, monkeypatch):
    """Everything of a study up to its tables, by name, in a folder of its own."""
    monkeypatch.chdir(folder)
    build(labelled, study.layout.data, **study.source_options)
    for method in study.methods.values():
        embed(study, method, 0, "cpu")
    for method, name in study.measured():
        write_outcomes(study.layout, method, 0, name, measure(study, study.layout, method, 0, name))
    return {task: tabulate(study, task, study.layout) for task in study.tasks}


def test_labels_and_names_become_classes_and_two_splits(root, read):
    dataset = read()
    assert dataset.splits == ["train", "val"] and dataset.num_classes == 5
    assert dataset.classes["name"].tolist() == list("01234")
    assert np.array_equal(dataset.labels("val"), np.load(root / "test_labels.npy"))
    (root / "label_names.txt").write_bytes("\ufeffred\r\nblue\r\ngrün\r\nbrown\r\ngold\r\nnever\r\n".encode())
    dataset = read()
    assert dataset.classes["name"].tolist() == ["red", "blue", "grün", "brown", "gold", "never"]


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, ">i8", np.float64])
def test_whole_numbers_of_any_type_are_labels(root, read, dtype):
    labels = np.load(root / "train_labels.npy")
    np.save(root / "train_labels.npy", labels.astype(dtype))
    assert np.array_equal(read().labels("train"), labels)


def test_other_vectors_are_other_data_and_equal_ones_in_both_parts_are_counted(root, read):
    before = read().checksum
    x = made.load(root, "nested", "test")
    x[3:5] = made.load(root, "nested", "train")[[7, 9]]
    made.save(root, "nested", "test", x)
    dataset = read()
    assert dataset.checksum != before
    assert dataset.manifest["overlap"]["images"] == {"val in train": 2}


def changed(array, row, value):
    array = array.copy()
    array[row] = value
    return array


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("train", lambda y: y[1:], r"train.npy has 120 rows, but .*train_labels.npy has 119 labels"),
        ("train", lambda y: changed(y, 4, -1), "train_labels.npy, row 4: the label is -1; allowed: whole"),
        ("test", lambda y: changed(y.astype(float), 2, 0.5), "labels.npy, row 2: the label is 0.5"),
        ("test", lambda y: changed(y.astype(float), 2, np.nan), "row 2: the label is nan; allowed"),
        ("test", lambda y: changed(y, 3, 7), "row 3: class 7 has no item in .*train_labels.npy"),
        ("train", lambda y: changed(y, 3, 9), "no item of class 5, but one of 9: number the classes 0"),
        ("train", lambda y: y.astype(str), "labels are whole numbers from 0, and their names"),
        ("train", lambda y: y[:, None], r"has shape \[120, 1\]; labels are \[rows\]"),
        ("train", lambda y: y[:0], r"has shape \[0\]"),
    ],
)
def test_labels_that_do_not_fit_are_named_with_their_row(root, read, name, change, message):
    path = root / f"{name}_labels.npy"
    np.save(path, change(np.load(path)))
    with pytest.raises(UserError, match=message):
        read()
    assert not (root.parent / "dataset" / "manifest.json").exists()


def test_names_and_vectors_that_do_not_fit_are_refused(root, read):
    made.save(root, "nested", "test", changed(made.load(root, "nested", "test"), 6, np.nan))
    with pytest.raises(UserError, match="test.npy, row 6: NaN or infinity"):
        read()
    made.labelled(root)
    (root / "label_names.txt").write_text("a\nb\n")
    with pytest.raises(UserError, match=r"label is \d, but .*label_names.txt has 2 names, for 0 to 1"):
        read()
    made.save(root, "nested", "test", made.load(root, "nested", "test")[:, 1:])
    (root / "label_names.txt").unlink()
    with pytest.raises(UserError, match="train.npy has vectors of 16 dimensions, test.npy of 15"):
        read()


def test_what_is_missing_is_said_before_any_job(root):
    def told(**given):
        with pytest.raises(UserError) as error:
            labelled.outside({"root": str(root), "models": None} | given)
        return str(error.value)

    assert "no folder" in told(root=str(root / "none"))
    assert "did you mean 'nested'" in told(models=["nestet"])
    before = labelled.outside({"root": str(root), "models": None})
    (root / "notes.txt").write_text("mine")
    assert labelled.outside({"root": str(root), "models": None}) == before
    (root / "label_names.txt").write_text("a\nb\nc\nd\ne\n")
    assert labelled.outside({"root": str(root), "models": None}) != before
    (root / "test_labels.npy").unlink()
    assert "test_labels.npy" in told()
    (root / "embeddings").rename(root / "vectors")
    assert "no file" in told()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"methods": {"mrl": None}}, "mrl trains a network, but data of labelled come with embeddings"),
        ({"tasks": {"judged_retrieval": None}}, "needs data with judgements, which labelled does not have"),
        (
            {"tasks": {"fewshot": None}},
            "needs data with v2; .* train, val; change measures.classmeans.split, take it out",
        ),
        ({"training": {"epochs": 1, "batch_size": 2, "learning_rate": 1}}, "take out the section training"),
    ],
)
def test_a_study_of_labelled_vectors_has_what_can_be_done_without_networks(config, message):
    with pytest.raises(UserError, match=message):
        study_of("nowhere", **config)


def test_all_methods_are_measured_at_every_size_they_have(tmp_path, monkeypatch):
    train, labels, test, answers = made.labelled(tmp_path / "mine")
    tasks = {"knn": None, "linear": None, "fewshot": None}
    tasks["paired"] = {"against": ["model"], "outcomes": ["knn", "linear"]}
    measures = {"classmeans": {"split": "val", "shots": [1, 5], "choices": 3}}
    study = study_of(tmp_path / "mine", METHODS, tasks=tasks, measures=measures)
    tables = run(study, tmp_path, monkeypatch)
    knn = tables["knn"].query("metric == 'top1'").set_index(["method", "dim"])["value"]
    assert set(knn.index) == {(name, m) for name in METHODS for m in (2, 4, 8, 16)}
    for m in (2, 4, 8, 16):
        a, b = (x[:, :m].astype(np.float64) for x in (test, train))
        a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
        assert knn["model", m] == pytest.approx((labels[(a @ b.T).argmax(1)] == answers).mean())
    # Rotations and choices of columns change nothing at the full size.
    assert knn["drawn", 16] == knn["turned", 16] == knn["axes", 16] == knn["model", 16]
    probed = tables["linear"].query("metric in ('top1', 'probe_top1')").set_index(["metric", "method", "dim"])
    value = probed["value"]
    assert value["top1", "model", 16] > 0.8 and value["top1", "mapped", 2] > value["top1", "model", 2]
    assert value["top1", "model", 8] == value["probe_top1", "model", 8]
    few = tables["fewshot"].set_index(["method", "shots", "dim"])
    assert set(few["split"]) == {"val"} and set(few["n"]) == {40}
    assert few.at[("model", 5, 16), "value"] > few.at[("model", 1, 16), "value"] > 0.4
    assert set(tables["paired"]["method"]) == set(METHODS) - {"model"}
    for name in ("knn", "linear", "fewshot", "paired"):
        with files.write_aside(study.layout.table(name)) as path:
            tables[name].to_csv(path, index=False)
    for name in ("knn", "linear_probe", "fewshot", "paired"):
        drawing = Drawing(study, study.layout, "model" if name == "paired" else "")
        assert FIGURE.load(name).draw(drawing).axes[0].has_data()


def test_sparse_codes_have_neighbours_and_probes_but_are_not_cut(root, tmp_path, monkeypatch):
    coded = {"baseline": "csr", "source": "model", "steps": 30, "label": "coded"}
    methods = {"model": MODEL, "coded": coded}
    with pytest.raises(UserError, match="fewshot cuts vectors .* leave coded out"):
        study_of(root, methods, tasks={"fewshot": None}, measures={"classmeans": {"split": "val"}})
    study = study_of(root, methods, tasks={"knn": None, "linear": None})
    tables = run(study, tmp_path, monkeypatch)
    knn = tables["knn"].query("metric == 'top1' and method == 'coded'").set_index("dim")["value"]
    found = Representation(study.layout.embeddings("coded", 0))
    labels, answers = (np.load(root / f"{name}_labels.npy") for name in ("train", "test"))
    for view in found.views:
        train, test = (found.features(split, view).astype(np.float64) for split in ("train", "val"))
        train, test = (x / np.linalg.norm(x, axis=1, keepdims=True).clip(1e-9) for x in (train, test))
        nearest = labels[(test @ train.T).argmax(1)]
        assert knn[view.sizes[0]] == pytest.approx((nearest == answers).mean(), abs=0.03)
    probed = tables["linear"].query("metric == 'probe_top1' and method == 'coded'").set_index("dim")["value"]
    assert probed[16] > 0.5


def test_few_labelled_items_are_of_train_and_all_of_val_is_tested(root, tmp_path, monkeypatch):
    measures = {"classmeans": {"split": "val", "shots": [24], "choices": 2}}  # all that a class has
    study = study_of(root, tasks={"fewshot": None}, measures=measures)
    table = run(study, tmp_path, monkeypatch)["fewshot"].set_index("dim")
    found = Representation(study.layout.embeddings("model", 0))
    train, test = (found.array(split).astype(np.float32) for split in ("train", "val"))
    labels, answers = (np.load(root / f"{name}_labels.npy") for name in ("train", "test"))
    means = np.stack([train[labels == label].mean(0) for label in range(5)])
    nearest = ((test[:, None] - means) ** 2).sum(2).argmin(1)
    assert table.at[16, "value"] == pytest.approx((nearest == answers).mean(), abs=1e-6)
    study = study_of(root, tasks={"fewshot": None}, measures={"classmeans": {"split": "val", "shots": [25]}})
    with pytest.raises(UserError, match="25-shot classification needs 25 images of every class in train"):
        run(study, tmp_path, monkeypatch)


@pytest.mark.skipif(not REAL, reason="MATRYOSHKA_COLLECTIONS names no folder of collections")
def test_values_of_a_real_set_are_those_computed_elsewhere(tmp_path, monkeypatch):
    expected = pd.read_csv(Path(REAL) / "EXPECTED.csv")
    expected = expected.query(
        "collection == 'banking77' and renormalised == 'yes' and model == 'wordllama-256'"
    )
    model = MODEL | {"model": "wordllama-256"}
    monkeypatch.setattr("baselines.embed.probes", lambda *given, **more: {})  # minutes, and not asked for
    study = study_of(Path(REAL) / "labelled" / "banking77", {"model": model}, nesting=[64])
    table = run(study, tmp_path, monkeypatch)["knn"].query("metric == 'top1'").set_index("dim")["value"]
    assert table.to_dict() == pytest.approx(dict(zip(expected["dim"], expected["value"])), abs=1e-6)
