"""A user's own method: every way to bring one, and every wrong one with its error."""

import json
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace

import frozen
import numpy as np
import pytest
import torch
from frozen import export, run

from analysis.compare import own_methods
from analysis.compare.adapters import transform
from analysis.compare.adapters.folder import Folder
from analysis.compare.own_methods import own_files, with_method
from baselines.fitting import Source
from baselines.representation import Representation, View
from splits.store import Dataset
from suite import cli, modules
from suite.errors import UserError
from suite.modules import ROOT
from suite.study import load_study

EXAMPLES = ROOT / "docs" / "examples"
SIZES = (2, 4, 8, 16)


def test_embeddings_from_a_folder_give_the_baselines_own_neighbours(here, tmp_path):
    _, layout = here
    found, _ = run(layout, "handed_in", export(layout, "mrl", tmp_path / "mine"))
    rows = found.differences.query("task in ('knn', 'retrieval', 'longtail')")
    assert len(rows) == 5 * 4 and (rows["discordant"] == 0).all()
    assert any("No embeddings were given of: r, a" in note for note in found.notes)
    assert ("everything on r", "not measured for handed_in") in found.refused
    assert not any("Row order" in note for note in found.notes)


def test_an_order_of_dimensions_and_arrays_per_size_mean_the_same(here, tmp_path):
    _, layout = here
    order = np.random.default_rng(0).permutation(16)
    one = export(layout, "mrl", tmp_path / "one", ("train", "val"))
    several = tmp_path / "several"
    several.mkdir()
    for split in ("train", "val"):
        array = np.load(one / f"{split}.npy")
        np.savez(several / f"{split}.npz", **{str(m): array[:, order][:, :m] for m in SIZES})
    np.save(one / "order.npy", order)
    rows = [run(layout, "mine", folder)[0].differences.query("task == 'knn'") for folder in (one, several)]
    np.testing.assert_array_equal(rows[0]["new"], rows[1]["new"])
    assert (rows[0]["difference"] != 0).any()  # the order was used


def test_shuffled_rows_are_lower_and_the_page_asks_about_their_order(here, tmp_path):
    _, layout = here
    folder = export(layout, "mrl", tmp_path / "mine", ("train", "val"))
    array = np.load(folder / "val.npy")
    np.save(folder / "val.npy", array[np.random.default_rng(0).permutation(len(array))])
    (folder / "val.ids.txt").unlink()
    found, _ = run(layout, "shuffled", folder)
    assert (found.differences["difference"] <= 0).all() and len(found.differences) == 16  # with the probe's
    # At sizes 2 and 4 mrl itself is not far from chance on 120 items.
    assert set(found.differences.query("dim >= 8")["verdict"]) == {"lower"}
    assert "Row order of val was not checked: no ids were given." in found.notes
    assert any("near chance" in note for note in found.notes)


def test_the_worked_examples_run_and_start_from_the_saved_network(here, monkeypatch):
    _, layout = here
    found, study = run(layout, "whitening", EXAMPLES / "whitening.py")
    assert found.new.label == "Whitening + PCA" and study.methods["whitening"].source == "saved_fixed_feature"
    start = Representation(layout.embeddings("saved_fixed_feature", 0))
    x = np.array(start.array("train"), np.float64)
    z = np.array(Representation(layout.embeddings("whitening", 0)).array("train"), np.float64)
    covariance = np.cov(z, rowvar=False)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-4)
    variances = np.linalg.eigvalsh(np.cov(x, rowvar=False))[::-1]
    np.testing.assert_allclose(
        np.diag(covariance), variances / (variances + 1e-3 * variances.mean()), rtol=1e-3
    )
    found, _ = run(layout, "smec", short_smec(monkeypatch))
    assert set(found.differences["dim"]) == set(SIZES)
    smec = Representation(layout.embeddings("smec", 0))
    assert [view.sizes for view in smec.views] == [(2,), (4,), (8,), (16,)]
    for view in smec.views:  # every size is of unit length, and comes out of the larger one
        np.testing.assert_allclose(np.linalg.norm(smec.features("val", view), axis=1), 1, rtol=1e-5)


def short_smec(monkeypatch):
    """The example with a few steps: a copy, since the file itself is what readers copy."""
    text = (EXAMPLES / "smec.py").read_text()
    Path("short_smec.py").write_text(
        text.replace("STEPS, CLASSES, EACH = 400, 32, 4", "STEPS, CLASSES, EACH = 5, 8, 3")
    )
    assert "= 5, 8, 3" in Path("short_smec.py").read_text()
    return "short_smec.py"


def test_smec_selects_nested_numbers_of_dimensions_and_lowers_its_loss():
    smec = modules.load("docs", str(EXAMPLES / "smec.py"))
    noise = torch.Generator().manual_seed(0)
    mask = smec.select(torch.zeros(12, requires_grad=True), 5, noise)
    assert ((mask == 0) | (mask == 1)).all() and mask.sum() == 5
    z = torch.nn.functional.normalize(torch.randn(12, 6, generator=noise), dim=1)
    classes = torch.arange(4).repeat_interleave(3)
    cosine, by_hand = smec.SCALE * z @ z.T, []
    for i in range(12):
        for j in range(12):
            for k in range(12):
                if i != j and classes[i] == classes[j] and classes[i] != classes[k]:
                    by_hand.append(np.log1p(np.exp(float(cosine[i, k] - cosine[i, j]))))
    smec.EACH = 3
    assert float(smec.ranking_loss(z, classes)) == pytest.approx(np.mean(by_hand), rel=1e-5)
    # Dimensions that hold the class among others that hold noise: those are the ones to be kept.
    labels = np.repeat(np.arange(8), 20)
    x = np.random.default_rng(0).normal(size=(160, 12)).astype(np.float32)
    x[:, [1, 4, 6, 9]] = 3 * np.random.default_rng(1).normal(size=(8, 4))[labels]
    smec.STEPS, smec.CLASSES = 150, 8
    rows = [torch.from_numpy((labels == label).nonzero()[0]) for label in range(8)]
    weight, chosen = smec.train_stage(
        torch.nn.functional.normalize(torch.from_numpy(x), dim=1), rows, 4, noise
    )
    assert weight.shape == (12, 12) and len(set(chosen.tolist()) & {1, 4, 6, 9}) >= 3


def test_a_changed_setting_of_a_fitted_method_and_the_same_setting(here):
    _, layout = here
    found, study = run(layout, "again", {"baseline": "pca"})
    twice, _ = run(layout, "again", {"baseline": "pca"})
    assert found.differences.equals(twice.differences)
    assert study.methods["again"].label == "again" and found.new.runs[0].kind == "fitted"


def test_a_new_loss_is_trained_and_nothing_else_is(here, tmp_path):
    _, layout = here
    path = tmp_path / "halved.py"
    path.write_text(
        "from baselines.learner import Learner\nfrom baselines.nested import NestedHeads\n"
        "KIND = 'trained'\nLABEL = 'Halved weights'\nOPTIONS = {'factor': 0.5}\n"
        "def build(backbone, num_classes, sizes, options):\n"
        "    weights = [options['factor'] ** place for place in range(len(sizes))]\n"
        "    return Learner(backbone, NestedHeads(num_classes, sizes), sizes, weights)\n"
    )
    before = sorted(layout.network("x", 0).parent.iterdir())
    found, _ = run(layout, "halved", path)
    made = set(layout.network("x", 0).parent.iterdir()) - set(before)
    assert {folder.name for folder in made} <= {"halved-0", "saved_fixed_feature_16-0", ".unfinished"}
    assert found.new.label == "Halved weights" and len(found.differences) > 12
    entry = {"baseline": str(path), "factor": 0.25, "label": "quartered"}
    again = with_method(load_study(frozen.STUDY), "quartered", entry)
    assert again.methods["quartered"].options == {"factor": 0.25}


def test_a_class_is_as_good_as_two_functions(here, tmp_path):
    _, layout = here
    functions, cls = tmp_path / "functions.py", tmp_path / "cls.py"
    functions.write_text(
        "SOURCE = 'mrl'\n"
        "def fit(features, labels, sizes, rng):\n    return features.mean(0)\n"
        "def transform(mean, features):\n    return features - mean\n"
    )
    cls.write_text(
        "SOURCE = 'mrl'\n"
        "class Centred:\n"
        "    def fit(self, features, labels, sizes, rng):\n        self.mean = features.mean(0)\n"
        "    def transform(self, features):\n        return features - self.mean\n"
    )
    found = [run(layout, "centred", path)[0].differences for path in (functions, cls)]
    assert found[0].equals(found[1])
    centred = Representation(layout.embeddings("centred", 0)).array("train")
    np.testing.assert_allclose(centred.mean(0), 0, atol=1e-4)


# --- what is refused ------------------------------------------------------------------------------

FIT = "def fit(f, l, s, r):\n    pass\n"
TRANSFORM = "def transform(fitted, x):\n    return "
# What transform returns, and what its author is told.
BAD_RESULTS = {
    "x.astype(int)": "must give floats",
    "x[:5]": r"must give floats \[240, D\]",
    "x[:, :1]": "gives 1 columns, the smallest size is 2",
    "x * float('nan')": "NaN or infinity",
    "{3: x[:, :3]}": r"gives sizes \[3\]; the study has \[2, 4, 8, 16\]",
    "{2: x}": "gives 16 columns for size 2",
    "x - x.mean(0)": "must not use statistics of the rows",
    "__import__('numpy').ma.masked_less(x, 5)": "array with masked entries",
    "x * (__import__('numpy').arange(16) > 0)": r'columns 0 of train are constant .* ALLOW = \("constant',
    "x[:, [0, 1, 2, 1]]": r"columns \[1, 3\] of train are copies",
}
BAD_FILES = {f"{FIT}{TRANSFORM}{result}\n": message for result, message in BAD_RESULTS.items()} | {
    "x = 1\n": "functions fit and transform, or one class with both; found neither",
    f"def fit(features):\n    pass\n{TRANSFORM}x\n": "fit.* is called, but too many",
}


@pytest.mark.parametrize("text", BAD_FILES, ids=[*BAD_RESULTS, "nothing", "arguments"])
def test_a_file_that_is_no_method_is_told_why(text, tmp_path):
    path = tmp_path / "bad.py"
    path.write_text(text)
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(240, 16)).astype(np.float32) + 5, np.arange(240) % 12
    source = transform_source(features, labels)
    with pytest.raises(UserError, match=BAD_FILES[text]):
        transform.fit(source, SIZES, {"path": str(path)}, rng)


def test_numbers_of_a_torch_tensor_and_columns_that_are_meant(tmp_path):
    path = tmp_path / "tensors.py"
    path.write_text(
        f"import torch\nALLOW = ('constant_columns',)\n{FIT}"
        "def transform(fitted, x):\n"
        "    x = torch.from_numpy(x).requires_grad_().to(torch.bfloat16)\n"
        "    return torch.cat([x, torch.zeros(len(x), 1)], 1)\n"
    )
    features = np.random.default_rng(0).normal(size=(240, 2)).astype(np.float32)
    fit = transform.fit(transform_source(features, np.arange(240) % 12), (2,), {"path": str(path)}, None)
    np.testing.assert_allclose(fit.transform(features[:5])[:, :2], features[:5], rtol=1e-2)
    assert own_files(SimpleNamespace(baseline=own_methods.ADAPTERS / "x.py", options={"path": path})) == [
        path
    ]


def test_the_numbers_that_a_map_keeps_are_counted_with_its_probes(tmp_path):
    path = tmp_path / "map.py"
    path.write_text(
        "import numpy as np\n"
        "def fit(features, labels, sizes, rng):\n"
        "    return {'mean': features.mean(0), 'map': [np.eye(2), np.eye(2)[:1]]}\n"
        "def transform(fitted, x):\n    return (x - fitted['mean']) @ fitted['map'][0].astype('float32')\n"
    )
    features = np.random.default_rng(0).normal(size=(240, 2)).astype(np.float32)
    fit = transform.fit(transform_source(features, np.arange(240) % 12), (1, 2), {"path": str(path)}, None)
    kept = 2 + 4 + 2
    assert fit.parameters == {1: kept + 2 * 12, 2: kept + 3 * 12}
    assert fit.parameters_all == kept + 5 * 12


def test_numbers_are_counted_once_however_deep_they_lie():
    network, shared = torch.nn.Linear(3, 2), np.zeros(5)
    assert transform.numbers_in(network) == 8
    assert transform.numbers_in(SimpleNamespace(a=shared, b={"again": [shared, network]}, of=np)) == 13
    assert transform.numbers_in(np.array([shared, None], dtype=object)) == 5
    assert transform.numbers_in(None) == transform.numbers_in(3.5) == 0


OWN = """
from dataclasses import dataclass
from beside import FACTOR

@dataclass
class Settings:
    factor: int = FACTOR

def double(x):
    return FACTOR * x

def stop():
    raise SystemExit(0)
"""


@pytest.mark.parametrize("name", ["own_method", "json", "two.dots"])
def test_a_file_outside_the_suite_is_loaded_as_a_module_is(name, tmp_path):
    path = tmp_path / f"{name}.py"
    path.write_text(OWN)
    (tmp_path / "beside.py").write_text("FACTOR = 2\n")
    module = modules.load("baselines", str(path))
    assert (
        module.Settings() == pickle.loads(pickle.dumps(module.Settings())) and module.Settings().factor == 2
    )
    assert pickle.loads(pickle.dumps(module.double))(3) == 6
    assert sys.modules["json"] is json  # the library is still there
    assert modules.closure(path) == sorted([str(path), str(tmp_path / "beside.py")])
    with pytest.raises(SystemExit, match=rf"error: .*{name}.py, line 13 ended the program"):
        cli.run(module.stop)
    path.write_text("from nowhere_at_all import x\n")
    with pytest.raises(UserError, match=f"{name}.py cannot be imported: No module named 'nowhere_at_all'"):
        modules.load("baselines", str(path))
    path.write_text("import sys\nsys.exit()\n")
    with pytest.raises(SystemExit, match="line 2 ended the program"):
        cli.run(lambda: modules.load("baselines", str(path)))
    sys.path.remove(str(tmp_path))
    sys.modules.pop("beside")


def test_other_ends_of_a_command_stay_what_they_are():
    for code in (None, 0, 2):
        with pytest.raises(SystemExit) as ended:
            cli.run(lambda code=code: sys.exit(code))
        assert ended.value.code == code


def transform_source(features, labels):
    weight = np.zeros((12, 16), np.float32)
    return Source(features, labels, 12, weight, weight[:, 0], View((16,), 0, 16))


def test_what_is_no_method_or_has_no_name_of_its_own(here, tmp_path):
    study = here[0]
    broken = tmp_path / "broken.py"
    broken.write_text("def fit(:\n")
    for given, name, message in [
        ("nowhere.py", "new", "no method at nowhere.py"),
        (__file__.replace(".py", ".md"), "new", "no method at"),
        (str(ROOT / "README.md"), "new", "is no method: a .py file, a folder of embeddings or a .yaml entry"),
        (str(broken), "new", r"broken\.py, line 1"),
        ({"loss_weights": [1, 1]}, "new", "a method's entry is a mapping with `baseline`"),
        ({"baseline": "mlr"}, "new", "unknown method 'mlr'"),
        ({"baseline": "mrl", "los_weights": [1]}, "new", "unknown option of method mrl 'los_weights'"),
        ({"baseline": "control_label"}, "new", "is a control, made from the labels"),
        ({"baseline": "finetune"}, "new", "starts training from fixed_feature's weights"),
        ({"baseline": "pca", "source": "svd"}, "new", "unknown source 'svd'"),
        ({"baseline": "mrl"}, "mrl", "mrl is a method of synthetic already"),
        ({"baseline": "mrl"}, "My Method", "cannot name a method"),
        ({"baseline": "mrl"}, "a" * 300, "cannot name a method"),
        ({"baseline": "mrl"}, "fixed_feature_8", "fixed_feature_8 is a network of synthetic already"),
        ({"baseline": "mrl", "label": "FF"}, "new", "fixed_feature and new both have the label 'FF'"),
        ({"baseline": "mrl", "loss_weights": ["2", "1"]}, "new", "loss_weights has 2 values for 4 sizes"),
        ({"baseline": "nested_dropout", "rho": "1.5"}, "new", "rho: 1.5 is greater than or equal to"),
        ({"baseline": "mrl"}, "saved_mrl", "cannot name a method"),
    ]:
        with pytest.raises(UserError, match=message):
            with_method(study, name, given)


SPLITS = ("train", "val", "v2")  # of a folder that is spoilt


def edited(change, *splits):
    """A function that replaces arrays of a folder by what `change` makes of them."""

    def spoil(folder):
        for split in splits:
            np.save(folder / f"{split}.npy", change(np.load(folder / f"{split}.npy")))

    return spoil


def put(where, value, split):
    """A function that writes a value into a split's array."""

    def change(array):
        array[where] = value
        return array

    return edited(change, split)


def archives(arrays, split=None):
    """A function that gives one split as an .npz, too, or every split as one instead."""

    def spoil(folder):
        for name in (split,) if split else SPLITS:
            np.savez(folder / f"{name}.npz", **arrays)
            if not split:
                (folder / f"{name}.npy").unlink()

    return spoil


def written(name, content):
    """A function that writes a file: text, bytes, or an array."""

    def spoil(folder):
        if isinstance(content, np.ndarray):
            np.save(folder / name, content)
        else:
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return spoil


def swapped_ids(folder):
    first, second, *rest = (folder / "val.ids.txt").read_text().splitlines()
    (folder / "val.ids.txt").write_text("\n".join([second, first, *rest]))


def leakage(folder):
    put(7, np.load(folder / "val.npy")[3], "train")(folder)


def leakage_in_another_type(folder):
    leakage(folder)
    edited(np.float64, "val")(folder)


def beyond_float32(folder):
    edited(np.float64, "val")(folder)
    put((0, 0), 1e300, "val")(folder)


def damaged_archives(folder):
    archives({})(folder)
    for split in SPLITS:
        (folder / f"{split}.npz").write_bytes(b"PK\x03\x04 cut off")


def renamed_archive(folder):
    np.savez(folder / "x.npz", np.load(folder / "val.npy"))
    (folder / "x.npz").replace(folder / "val.npy")


PERMUTATION = "must be a permutation of 0 … 15"
BAD_FOLDERS = {  # by what is done to a folder: the function that does it, what its owner is told
    "a row less": (edited(lambda x: x[:-1], "val"), "val has 119 rows, but the split has 120 items"),
    "an axis more": (
        edited(lambda x: x[..., None], "val"),
        r"\[rows, dimensions\]; this has shape \[120, 16, 1\]",
    ),
    "integers": (edited(np.int64, "train"), r"float16, float32 or float64; this is int64 .*astype"),
    "packed bits": (edited(lambda x: np.packbits(x > 0, axis=1), "train"), "packed, save np.unpackbits"),
    "bfloat16": (edited(lambda x: x.astype(np.float16).view("V2"), "train"), r"tensor.float\(\).numpy\(\)"),
    "an archive": (renamed_archive, r"val cannot be read as numpy arrays; it is several numpy arrays"),
    "a pointer": (written("val.npy", "version https://git-lfs.github.com/spec/v1"), "a pointer of Git LFS"),
    "a web page": (written("order.npy", "<html>"), "order.npy cannot be read .*; it is a web page"),
    "objects": (edited(lambda x: x.astype(object), "train"), "train cannot be read as numpy arrays"),
    "other dimensions": (edited(lambda x: x[:, :8], "v2"), "train has dimensions 16 and v2 8"),
    "too few": (
        edited(lambda x: x[:, :1], *SPLITS),
        "1 dimensions are fewer than the smallest size of synthetic, 2",
    ),
    "too many": (
        edited(lambda x: np.zeros((2, 65_537), np.float16), *SPLITS),
        "65537 dimensions; 1 to 65,536 are possible",
    ),
    "nan": (put((5, 2), np.nan, "val"), r"val: 1 of 120 embeddings hold NaN .* rows \[5\]"),
    "infinite": (put((9, 0), np.inf, "train"), r"train: 1 of 240 .* rows \[9\]"),
    "beyond float32": (beyond_float32, "val holds numbers beyond float32"),
    "constant": (put(np.s_[:, 4], 1.5, "train"), "columns 4 of train are constant"),
    "copied column": (
        edited(lambda x: np.hstack([x[:, :15], x[:, 2:3]]), "train"),
        r"columns \[2, 15\] of train are copies of each other",
    ),
    "swapped ids": (
        swapped_ids,
        "rows of val are in another order than the split: row 0 is val-0000001, must",
    ),
    "other ids": (
        written("val.ids.txt", "a\nb\nc\n"),
        r"ids of val are not those of the split: 3 of 120, unknown: \['a', 'b', 'c'\]",
    ),
    "leakage": (leakage, r"1 rows of val are identical to rows of other splits \(row 3 to row 7 of train\)"),
    "leakage in another type": (
        leakage_in_another_type,
        "1 rows of val are identical to rows of other splits",
    ),
    "no train": (lambda folder: (folder / "train.npy").unlink(), "no embeddings of train"),
    "unknown file": (written("vall.npy", ""), r"unknown file 'vall\.npy'"),
    "a split twice": (archives({"embeddings": np.ones((120, 16))}, "val"), "holds both val.npy and val.npz"),
    "no array": (written("val.npy", "abc"), "val cannot be read as numpy"),
    "another size": (archives({"5": np.zeros((2, 4), np.float32)}), "the array of size 5 has 4 columns"),
    "ids alone": (archives({"ids": np.array(["a"])}), "holds no embeddings: give `embeddings`"),
    "damaged": (damaged_archives, "train cannot be read as numpy arrays"),
    "order that repeats": (written("order.npy", np.zeros(16, int)), PERMUTATION),
    "order in two axes": (written("order.npy", np.arange(16).reshape(4, 4)), PERMUTATION),
    "order that is no array": (written("order.npy", "abc"), "order.npy cannot be read as a numpy array"),
    **{
        text: (written("method.yaml", text), message)
        for text, message in {
            "cost: 5": "cost must be a mapping, not 5",
            "[label]": r"must be a mapping with some of label, seed, cost, allow, not \['label'\]",
            "label: [x": "method.yaml is not YAML",
            "lable: x": "unknown key 'lable' .did you mean 'label'",
            "allow: [nan]": "unknown check 'nan'",
        }.items()
    },
}


def test_a_study_without_linear_classification_is_not_compared_on():
    with pytest.raises(UserError, match="cannot be compared on image_text, which has no linear among"):
        with_method(load_study("image_text"), "mine", str(EXAMPLES / "whitening.py"))


@pytest.mark.parametrize("name", BAD_FOLDERS)
def test_a_bad_folder_is_told_what_is_wrong(name, here, tmp_path):
    _, layout = here
    folder, out = export(layout, "mrl", tmp_path / "mine", ("train", "val", "v2")), tmp_path / "new.yaml"
    spoil, message = BAD_FOLDERS[name]
    spoil(folder)
    arguments = ["--study", frozen.STUDY, "--name", "new", "--out", str(out), "--method", str(folder)]
    with pytest.raises(UserError, match=message):
        own_methods.main(["add", *arguments])
    assert not out.exists()


def test_a_folder_as_it_was_handed_in_is_as_good_as_its_files(here, tmp_path):
    study, layout = here
    folder = export(layout, "mrl", tmp_path / "mine", ("train", "val", "v2"))
    opened = Folder(folder, study, Dataset(layout.data))
    assert opened.notes == ["No embeddings were given of: sketch, r, a, database, query, stream."]
    added = with_method(study, "mine", str(folder)).methods["mine"]
    assert {path.name for path in own_files(added)} == {path.name for path in folder.iterdir()}
    assert own_files(study.methods["pca"]) == []


def test_ids_may_be_written_on_other_systems(here, tmp_path):
    study, layout = here
    folder = export(layout, "mrl", tmp_path / "mine", ("train", "val"))
    path = folder / "val.ids.txt"
    path.write_text(path.read_text().replace("\n", "\r\n"), encoding="utf-16", newline="")
    (folder / "._val.npy").write_bytes(b"\0")
    notes = Folder(folder, study, Dataset(layout.data)).notes
    assert not any("Row order" in note for note in notes)


def test_numbers_that_snakemake_left_as_text_are_numbers_again(here):
    given = {"baseline": "mrl", "label": "Boosted", "loss_weights": ["2", "0.5", "1", "1"]}
    added = with_method(here[0], "boosted", given).methods["boosted"]
    assert added.label == "Boosted" and added.options["loss_weights"] == [2, 0.5, 1, 1]


@pytest.mark.parametrize(("name", "check"), [("leakage", "identical_rows"), ("constant", "constant_columns")])
def test_a_check_can_be_switched_off_and_the_page_says_so(name, check, here, tmp_path):
    study, layout = here
    folder = export(layout, "mrl", tmp_path / "mine", ("train", "val", "v2"))
    BAD_FOLDERS[name][0](folder)
    (folder / "method.yaml").write_text(f"allow: [{check}]\nlabel: Mine\ncost: {{train_seconds: 3}}\n")
    notes = Folder(folder, study, Dataset(layout.data)).notes
    assert any(note.startswith("Allowed by method.yaml") for note in notes)
    assert with_method(study, "mine", str(folder)).methods["mine"].label == "Mine"
