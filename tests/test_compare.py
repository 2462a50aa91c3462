"""A new method against saved baselines: known answers, every door, and every bad input with its error."""
# ruff: noqa: F811 (pytest hands fixtures to arguments of their name)

import hashlib
import re
import shutil
from dataclasses import replace
from pathlib import Path

import frozen
import numpy as np
import pytest
import yaml
from baselines.doors import transform
from test_workflow import copy, planned, snakemake  # noqa: F401

import analysis.compare.judge
import analysis.measure
from analysis.compare import own_methods, page
from analysis.compare.adapters.folder import Folder
from analysis.compare.judge import Contender, compare, judge, saved_contender
from analysis.compare.own_methods import admit
from analysis.compare.saved import COMPARABLES, Comparable, Saved, SavedRun, freeze, measures
from analysis.compare.saved import main as saved_main
from analysis.statistics import power_mcnemar
from baselines import embed, train
from baselines.representation import Representation
from splits.store import Dataset
from suite import files
from suite.errors import UserError
from suite.modules import ROOT
from suite.study import Study, load_study

EXAMPLES = ROOT / "docs" / "examples"
SIZES = (2, 4, 8, 16)
NEW_STUDY = "new.yaml"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(study, layout) of a frozen study, and its folder."""
    folder = tmp_path_factory.mktemp("compare")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        study, layout = frozen.build()
        freeze(study, layout)
    return study, layout, folder


@pytest.fixture
def here(finished, monkeypatch):
    """(study, layout) with the study's folder as working directory; the saved baselines stay as they are."""
    study, layout, folder = finished
    monkeypatch.chdir(folder)
    before = fingerprint(layout.saved)
    yield study, layout
    assert fingerprint(layout.saved) == before


def fingerprint(folder):
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(folder)} {files.sha256(path)}\n".encode())
    return digest.hexdigest()


def run(layout, name, given, against=("mrl",)):
    """What the workflow does for a new method; returns the verdicts and the study with the method."""
    arguments = ["admit", "--study", frozen.STUDY, "--name", name, "--out", NEW_STUDY]
    text = yaml.safe_dump(given, default_flow_style=True) if isinstance(given, dict) else str(given)
    own_methods.main([*arguments, "--method", text])
    study = load_study(NEW_STUDY)
    method = study.methods[name]
    shutil.rmtree(layout.embeddings(name, 0), ignore_errors=True)
    if method.kind == "fitted":
        saved_main(["embed", "--study", frozen.STUDY, "--source", own_methods.source_of(method)])
    for network in method.networks:
        train.main(["--study", NEW_STUDY, "--network", network.name])
    command = own_methods.main if method.kind == "folder" else embed.main
    command([*(["embed"] if method.kind == "folder" else []), "--study", NEW_STUDY, "--method", name])
    for measure in measures(study):
        analysis.measure.main(["--study", NEW_STUDY, "--method", name, "--measure", measure])
    return compare(study, name, layout, against), study


def export(layout, method, folder, splits=("train", "val", "v2", "query", "database", "sketch", "stream")):
    """A method's full-size embeddings as someone else would hand them in, ids beside them."""
    folder.mkdir(exist_ok=True)
    dataset, representation = Dataset(layout.data), Representation(layout.embeddings(method, 0))
    for split in splits:
        array = np.array(representation.features(split, representation.serving(representation.dim)[-1]))
        np.save(folder / f"{split}.npy", array)
        (folder / f"{split}.ids.txt").write_text("\n".join(dataset[split].items["id"]) + "\n")
    return folder


# --- known answers --------------------------------------------------------------------------------

LINEAR = next(what for what in COMPARABLES if (what.task, what.split) == ("linear", "val"))
KNN = next(what for what in COMPARABLES if what.task == "knn")
RETRIEVAL = next(what for what in COMPARABLES if (what.task, what.split) == ("retrieval", "val"))


def contender(name, sizes=SIZES, seeds=(0,), **arrays):
    """A method with these outcomes in every seed."""
    outcomes = {"predict/sizes": np.array(sizes), "neighbours/sizes": np.array(sizes)}
    outcomes |= {name.replace("__", "/"): array for name, array in arrays.items()}
    about = SavedRun(name, 0, name, "trained", "baselines", tuple(sizes), 1, {"networks": []}, {}, {})
    return Contender(name, name, dict.fromkeys(seeds, outcomes), dict.fromkeys(seeds, about))


def planted(n, p01, p10, accuracy=0.6):
    """Hits [1, 1, n] of base and new with exactly n·p01 items that only new has right, n·p10 only base."""
    gained, lost, both = round(n * p01), round(n * p10), round(n * (accuracy - p10))
    base = np.r_[np.ones(both + lost, bool), np.zeros(n - both - lost, bool)]
    new = base.copy()
    new[both : both + lost] = False
    new[both + lost : both + lost + gained] = True
    return base[None, None], new[None, None]


def test_macs_of_a_fitted_method_are_its_networks_and_its_maps():
    cost = {"networks": [{"macs": {"2": 70, "4": 90}}], "projection_macs": {"2": 8, "4": 16}}
    about = replace(contender("mapped").runs[0], cost=cost)
    assert page._macs(replace(contender("mapped"), runs={0: about})) == "106"


def test_a_saved_method_against_itself_is_equivalent_everywhere(here):
    study, layout = here
    saved = Saved(layout.saved)
    for name in saved.methods:
        itself = saved_contender(saved, name)
        found = judge(replace(itself, name="copy"), [itself], COMPARABLES, study.nesting, resamples=200)
        assert set(found.differences["verdict"]) == {"equivalent"}
        assert (found.differences["discordant"] == 0).all() and (found.differences["difference"] == 0).all()
        assert set(found.areas["verdict"]) == {"equivalent"}
        tasks = {"linear", "knn", "retrieval", "robustness", "longtail"}
        assert set(found.differences["task"]) == tasks


def test_a_method_with_its_outputs_shuffled_is_worse_everywhere():
    rng = np.random.default_rng(0)
    hits = rng.random((1, 4, 500)) < 0.9
    relevant = rng.random((1, 4, 500, 10)) < 0.8
    base = contender("base", val__top1=hits, val__train__relevant=relevant)
    # The rows no longer belong to their labels: of 50 classes one in 50 is right by chance.
    wrong = contender(
        "new",
        val__top1=rng.random((1, 4, 500)) < 0.02,
        val__train__relevant=rng.random((1, 4, 500, 10)) < 0.02,
    )
    found = judge(wrong, [base], [LINEAR, KNN, RETRIEVAL], SIZES, resamples=500)
    assert set(found.differences["verdict"]) == {"worse"} and len(found.differences) == 12
    assert set(found.areas["verdict"]) == {"worse"}
    assert "worse in all 12 comparisons" in page.answer(found)


@pytest.mark.parametrize(("n", "found"), [(20_000, "better"), (300, "undecided")])
def test_a_planted_gain_of_two_points_is_found_where_the_power_says_so(n, found):
    p01, p10 = 0.06, 0.04
    power = power_mcnemar(n, p01, p10)
    assert power > 0.999 if found == "better" else power < 0.3
    base, new = planted(n, p01, p10)
    table = judge(
        contender("new", (8,), val__top1=new), [contender("base", (8,), val__top1=base)], [LINEAR], (8,)
    ).differences
    assert table["difference"].item() == pytest.approx(0.02)
    assert table["verdict"].item() == found


def test_planted_gains_are_found_as_often_as_the_power_says():
    n, p01, p10, times = 1500, 0.07, 0.05, 300
    rng = np.random.default_rng(1)
    power = power_mcnemar(n, p01, p10)
    wins = 0
    for _ in range(times):
        u, base = rng.random(n), rng.random(n) < 0.5
        flip = np.where(base, u < p10 / 0.5, u < p01 / 0.5)
        pair = [
            contender(name, (8,), val__top1=hits[None, None])
            for name, hits in (("b", base), ("n", base ^ flip))
        ]
        wins += judge(pair[1], [pair[0]], [LINEAR], (8,)).differences["p"].item() <= 0.05
    assert abs(wins / times - power) < 4 * np.sqrt(power * (1 - power) / times)


@pytest.mark.parametrize(("n", "verdict"), [(20_000, "equivalent"), (500, "undecided")])
def test_a_planted_gain_of_nothing_is_not_found(n, verdict):
    base, new = planted(n, 0.05, 0.05)
    assert (base != new).sum() == 0.1 * n
    table = judge(
        contender("new", (8,), val__top1=new), [contender("base", (8,), val__top1=base)], [LINEAR], (8,)
    ).differences
    assert table["difference"].item() == 0 and table["verdict"].item() == verdict


def test_seeds_and_draws_are_averaged_item_by_item_over_the_seeds_both_have():
    rng = np.random.default_rng(2)
    draws = rng.random((3, 1, 50)) < 0.5
    new = contender("new", (8,), seeds=(0,), val__top1=draws)
    base = contender("base", (8,), seeds=(0, 1), val__top1=draws[:1])
    base.outcomes[1] = {**base.outcomes[1], "val/top1": ~draws[:1]}
    found = judge(new, [base], [LINEAR], (8,), resamples=100)
    assert found.seeds == {"base": (0,)}
    assert found.differences["base"].item() == pytest.approx(draws[0].mean())
    assert found.differences["new"].item() == pytest.approx(draws.mean())
    apart = judge(replace(new, outcomes={7: new.outcomes[0]}), [base], [LINEAR], (8,), resamples=100)
    assert apart.differences["base"].item() == pytest.approx(0.5)  # none in common: all of each


def test_seeds_that_disagree_about_the_sign_leave_it_undecided():
    rng = np.random.default_rng(3)
    base = rng.random((1, 1, 4000)) < 0.5

    def shifted(gain):
        """Outcomes of three seeds that are right on `gain` of the items more (or less) than the base."""
        seeds = []
        for change in gain:
            hits = base.copy()
            some = np.flatnonzero(hits[0, 0] == (change < 0))[: round(abs(change) * 4000)]
            hits[0, 0, some] = change > 0
            seeds.append(hits)
        return seeds

    def judged(*gain):
        new = contender("new", (8,), seeds=(0, 1, 2), val__top1=base)
        for seed, hits in enumerate(shifted(gain)):
            new.outcomes[seed] = {**new.outcomes[seed], "val/top1": hits}
        old = contender("base", (8,), seeds=(0, 1, 2), val__top1=base)
        return judge(new, [old], [LINEAR], (8,), resamples=500).differences.iloc[0]

    agreed = judged(0.02, 0.05, 0.08)
    assert agreed["verdict"] == "better" and agreed["seeds"] == 3
    assert (agreed["seed_low"], agreed["seed_high"]) == pytest.approx((0.02, 0.08))
    divided = judged(-0.02, 0.05, 0.08)
    assert divided["verdict"] == "undecided" and divided["p_holm"] < 0.01
    assert (divided["seed_low"], divided["seed_high"]) == pytest.approx((-0.02, 0.08))


def test_curves_are_of_the_seeds_that_were_compared():
    hits = np.ones((1, 1, 20), bool)
    new = contender("new", (8,), seeds=(0,), val__top1=hits)
    base = contender("base", (8,), seeds=(0, 1), val__top1=hits)
    base.outcomes[1] = {**base.outcomes[1], "val/top1": ~hits}
    curves = judge(new, [base], [LINEAR], (8,), resamples=50).curves.set_index("method")["value"]
    assert curves["base"] == 1 and curves["new"] == 1


def test_areas_are_the_mean_height_over_log2_size():
    hits = np.zeros((1, 3, 10), bool)
    hits[0, 0, :2], hits[0, 1, :4], hits[0, 2, :10] = True, True, True
    new = contender("new", (2, 4, 16), val__top1=hits)
    base = contender("base", (2, 4, 16), val__top1=np.zeros_like(hits))
    area = judge(new, [base], [LINEAR], (2, 4, 16), resamples=100).areas.iloc[0]
    assert area["new"] == pytest.approx((0.3 * 1 + 0.7 * 2) / 3) and area["base"] == 0


def test_sizes_and_tasks_that_one_side_lacks_are_named():
    hits = np.ones((1, 4, 20), bool)
    new = contender("new", (4, 8), val__top1=hits[:, :2], val__train__relevant=np.ones((1, 2, 20, 10), bool))
    base = contender("base", SIZES, val__top1=hits)
    found = judge(new, [base], [LINEAR, KNN, RETRIEVAL], SIZES, resamples=50)
    assert found.differences["dim"].tolist() == [4, 8]
    said = {refusal.what: refusal.why for refusal in found.refused}
    assert said["linear top1 (val) against base, sizes 2, 16"] == "new does not have these sizes"
    assert said["knn top1 (val) against base"] == "not measured for base"
    with pytest.raises(UserError, match="nothing of new can be compared: linear top1 .* these sizes"):
        judge(contender("new", (3,), val__top1=hits[:, :1]), [base], [LINEAR], SIZES)


# --- may they be compared? ------------------------------------------------------------------------


def test_other_training_data_or_another_protocol_are_refused(here, monkeypatch):
    _, layout = here
    saved, dataset = Saved(layout.saved), Dataset(layout.data)
    splits = dataset.manifest["splits"]
    dataset.manifest = dataset.manifest | {
        "splits": splits | {"train": splits["train"] | {"sha256": "f" * 64}}
    }
    with pytest.raises(UserError, match=r"trained on other data: checksum of train \w{12}, here f{12}"):
        analysis.compare.judge.refuse_all(saved, dataset)
    monkeypatch.setattr(analysis.compare.judge, "PROTOCOL", 2)
    with pytest.raises(UserError, match="follow protocol 1, this suite protocol 2"):
        analysis.compare.judge.refuse_all(saved, Dataset(layout.data))


def test_other_settings_of_a_measure_are_left_out_with_the_reason(here):
    study, layout = here
    saved, dataset = Saved(layout.saved), Dataset(layout.data)
    measures = {**study.config.get("measures", {}), "classmeans": {"interval": 7}}
    other = Study({**study.config, "measures": measures}, study.path)
    allowed, refused = analysis.compare.judge.comparable(saved, dataset, other)
    said = {refusal.what: refusal.why for refusal in refused}
    assert "saved with other settings of classmeans" in said["longtail top1 (stream)"]
    assert "linear top1 (val)" in [what.name for what in allowed]


def test_a_test_split_that_differs_or_is_missing_is_left_out_with_the_reason(here):
    study, layout = here
    saved, dataset = Saved(layout.saved), Dataset(layout.data)
    splits = {name: facts for name, facts in dataset.manifest["splits"].items() if name != "sketch"}
    dataset.manifest = dataset.manifest | {"splits": splits | {"v2": splits["v2"] | {"sha256": "f" * 64}}}
    analysis.compare.judge.refuse_all(saved, dataset)
    allowed, refused = analysis.compare.judge.comparable(saved, dataset, study)
    assert "linear top1 (val)" in [what.name for what in allowed]
    said = {refusal.what: refusal.why for refusal in refused}
    assert "the data of v2 differ" in said["retrieval map@10 (v2)"]
    assert said["linear top1 (sketch)"] == "the study has no split sketch"


def test_an_unknown_baseline_is_named(here):
    with pytest.raises(UserError, match="unknown saved method 'mlr'"):
        analysis.compare.judge.chosen(Saved(here[1].saved), ["mlr"])


# --- the doors ------------------------------------------------------------------------------------


def test_embeddings_from_a_folder_give_the_baselines_own_neighbours(here, tmp_path):
    _, layout = here
    found, _ = run(layout, "handed_in", export(layout, "mrl", tmp_path / "mine"))
    rows = found.differences.query("task in ('knn', 'retrieval', 'longtail')")
    assert len(rows) == 5 * 4 and (rows["discordant"] == 0).all()
    said = {refusal.what: refusal.why for refusal in found.refused}
    assert said["robustness top1 (r)"] == "not measured for handed_in"
    assert any("No embeddings were given of: r, a" in note for note in found.notes)
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


def test_shuffled_rows_are_worse_and_the_page_asks_about_their_order(here, tmp_path):
    _, layout = here
    folder = export(layout, "mrl", tmp_path / "mine", ("train", "val"))
    array = np.load(folder / "val.npy")
    np.save(folder / "val.npy", array[np.random.default_rng(0).permutation(len(array))])
    (folder / "val.ids.txt").unlink()
    found, _ = run(layout, "shuffled", folder)
    assert (found.differences["difference"] <= 0).all() and len(found.differences) == 12
    # At sizes 2 and 4 mrl itself is not far from chance on 120 items.
    assert set(found.differences.query("dim >= 8")["verdict"]) == {"worse"}
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
    import torch

    from suite import modules

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
    again = admit(load_study(frozen.STUDY), "quartered", entry)
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


def transform_source(features, labels):
    from baselines.fitting import Source
    from baselines.representation import View

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
        ({"baseline": "mrl"}, "saved_mrl", "cannot name a method"),
    ]:
        with pytest.raises(UserError, match=message):
            admit(study, name, given)


def save(folder, split, array):
    np.save(folder / f"{split}.npy", array)


def edit(split, change):
    def apply(folder):
        array = np.load(folder / f"{split}.npy")
        save(folder, split, change(array))

    return apply


def with_value(row, column, value):
    def change(array):
        array[row, column] = value
        return array

    return change


def leak(folder):
    train, val = (np.load(folder / f"{split}.npy") for split in ("train", "val"))
    train[7] = val[3]
    save(folder, "train", train)


def swap_ids(folder):
    path = folder / "val.ids.txt"
    ids = path.read_text().splitlines()
    path.write_text("\n".join([ids[1], ids[0], *ids[2:]]))


BAD_FOLDERS = {
    "rows": (edit("val", lambda a: a[:-1]), "val has 119 rows, but the split has 120 items"),
    "axes": (edit("val", lambda a: a[:, :, None]), r"\[rows, dimensions\]; this has shape \[120, 16, 1\]"),
    "integers": (edit("train", lambda a: a.astype(np.int64)), "float16, float32 or float64; this is int64"),
    "objects": (edit("train", lambda a: a.astype(object)), "train cannot be read as numpy arrays"),
    "dimensions": (edit("v2", lambda a: a[:, :8]), "train has dimensions 16 and v2 8"),
    "too few": (
        lambda folder: [edit(s, lambda a: a[:, :1])(folder) for s in ("train", "val", "v2")],
        "1 dimensions are fewer than the smallest size of synthetic, 2",
    ),
    "too many": (
        lambda folder: [save(folder, s, np.zeros((2, 65_537), np.float16)) for s in ("train", "val", "v2")],
        "65537 dimensions; 1 to 65,536 are possible",
    ),
    "nan": (edit("val", with_value(5, 2, np.nan)), r"val: 1 of 120 embeddings hold NaN .* rows \[5\]"),
    "infinite": (edit("train", with_value(9, 0, np.inf)), r"train: 1 of 240 .* rows \[9\]"),
    "beyond float32": (
        edit("val", lambda a: with_value(0, 0, 1e300)(a.astype(np.float64))),
        "val holds numbers beyond float32",
    ),
    "constant": (edit("train", with_value(slice(None), 4, 1.5)), "columns 4 of train are constant"),
    "duplicate": (
        edit("train", lambda a: np.hstack([a[:, :15], a[:, 2:3]])),
        r"columns \[2, 15\] of train are copies of each other",
    ),
    "order of rows": (
        swap_ids,
        "rows of val are in another order than the split: row 0 is val-0000001, must",
    ),
    "other ids": (
        lambda folder: (folder / "val.ids.txt").write_text("a\nb\nc\n"),
        r"ids of val are not those of the split: 3 of 120, unknown: \['a', 'b', 'c'\]",
    ),
    "leakage": (leak, r"1 rows of val are identical to rows of other splits \(row 3 to row 7 of train\)"),
    "no train": (lambda folder: (folder / "train.npy").unlink(), "no embeddings of train"),
    "unknown file": (lambda folder: (folder / "vall.npy").write_bytes(b""), r"unknown file 'vall\.npy'"),
    "twice": (
        lambda folder: np.savez(folder / "val.npz", embeddings=np.load(folder / "val.npy")),
        "holds both val.npy and val.npz",
    ),
    "not numpy": (lambda folder: (folder / "val.npy").write_bytes(b"abc"), "val cannot be read as numpy"),
    "size of an array": (
        lambda folder: [
            (
                (folder / f"{s}.npy").unlink(),
                np.savez(folder / f"{s}.npz", **{"5": np.zeros((2, 4), np.float32)}),
            )
            for s in ("train", "val", "v2")
        ],
        "the array of size 5 has 4 columns",
    ),
    "order of dimensions": (
        lambda folder: np.save(folder / "order.npy", np.zeros(16, int)),
        "must be a permutation of 0 … 15",
    ),
    "order in two axes": (
        lambda folder: np.save(folder / "order.npy", np.arange(16).reshape(4, 4)),
        "must be a permutation of 0 … 15",
    ),
    "order that is no array": (
        lambda folder: (folder / "order.npy").write_bytes(b"abc"),
        "order.npy cannot be read as a numpy array",
    ),
    "damaged archive": (
        lambda folder: [
            ((folder / f"{s}.npy").unlink(), (folder / f"{s}.npz").write_bytes(b"PK\x03\x04 cut off"))
            for s in ("train", "val", "v2")
        ],
        "train cannot be read as numpy arrays",
    ),
    "ids alone": (
        lambda folder: [
            ((folder / f"{s}.npy").unlink(), np.savez(folder / f"{s}.npz", ids=np.array(["a"])))
            for s in ("train", "val", "v2")
        ],
        "holds no embeddings: give `embeddings`",
    ),
    "leakage in another type": (
        lambda folder: (leak(folder), edit("val", lambda a: a.astype(np.float64))(folder)),
        "1 rows of val are identical to rows of other splits",
    ),
    "cost that is no mapping": (
        lambda folder: (folder / "method.yaml").write_text("cost: 5\n"),
        "cost must be a mapping, not 5",
    ),
    "description that is no mapping": (
        lambda folder: (folder / "method.yaml").write_text("[label]\n"),
        r"must be a mapping with some of label, seed, cost, allow, not \['label'\]",
    ),
    "description that is no YAML": (
        lambda folder: (folder / "method.yaml").write_text("label: [x\n"),
        "method.yaml is not YAML",
    ),
    "unknown key": (
        lambda folder: (folder / "method.yaml").write_text("lable: x\n"),
        "unknown key 'lable' .did you mean 'label'",
    ),
    "unknown check": (
        lambda folder: (folder / "method.yaml").write_text("allow: [nan]\n"),
        "unknown check 'nan'",
    ),
}


def test_a_study_without_linear_classification_is_not_compared_on():
    with pytest.raises(UserError, match="cannot be compared on image_text, which has no linear among"):
        admit(load_study("image_text"), "mine", str(EXAMPLES / "whitening.py"))


@pytest.mark.parametrize("name", BAD_FOLDERS)
def test_a_bad_folder_is_told_what_is_wrong(name, here, tmp_path):
    study, layout = here
    folder = export(layout, "mrl", tmp_path / "mine", ("train", "val", "v2"))
    Folder(folder, study, Dataset(layout.data))  # as it was handed in, nothing is wrong
    spoil, message = BAD_FOLDERS[name]
    spoil(folder)
    with pytest.raises(UserError, match=message):
        Folder(folder, study, Dataset(layout.data))
    arguments = ["--study", frozen.STUDY, "--name", "new", "--out", str(tmp_path / "new.yaml")]
    with pytest.raises(UserError, match=message):
        own_methods.main(["admit", *arguments, "--method", str(folder)])
    assert not (tmp_path / "new.yaml").exists()


@pytest.mark.parametrize(("name", "check"), [("leakage", "identical_rows"), ("constant", "constant_columns")])
def test_a_check_can_be_switched_off_and_the_page_says_so(name, check, here, tmp_path):
    study, layout = here
    folder = export(layout, "mrl", tmp_path / "mine", ("train", "val", "v2"))
    BAD_FOLDERS[name][0](folder)
    (folder / "method.yaml").write_text(f"allow: [{check}]\nlabel: Mine\ncost: {{train_seconds: 3}}\n")
    notes = Folder(folder, study, Dataset(layout.data)).notes
    assert any(note.startswith("Allowed by method.yaml") for note in notes)
    assert admit(study, "mine", str(folder)).methods["mine"].label == "Mine"


# --- the page -------------------------------------------------------------------------------------


def test_the_page_has_the_verdict_and_opens_offline(here, tmp_path):
    _, layout = here
    folder = export(layout, "pca", tmp_path / "mine", ("train", "val"))
    (folder / "method.yaml").write_text("label: 'Mine <b>'\ncost: {train_seconds: 3}\n")
    run(layout, "mine", folder)
    out = tmp_path / "page" / "mine.md"
    analysis.compare.judge.main(["--study", NEW_STUDY, "--method", "mine", "--out", str(out)])
    text, page = out.read_text(), out.with_suffix(".html").read_text()
    for heading in ("Differences", "Whole curves", "Cost", "What could not be compared", "Conditions"):
        assert f"## {heading}\n" in text and f"<h2>{heading}</h2>" in page
    assert (
        "Against **PCA** it is" in text and "Against **MRL** it is" in text and "Against **FF** it is" in text
    )
    assert "| 1-NN |" in text and "= identical on every item" in text
    assert "train_seconds (stated) | 3 |" in text and "not known" in text
    assert "Mine &lt;b&gt;" in page and "<b>PCA</b>" in page
    assert not re.search(r'(?:src|href)="(?!data:)', page) and "data:image/png;base64," in page
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    rows = out.with_suffix(".csv").read_text().splitlines()
    assert {"dim", "new", "base", "low", "high", "p_holm", "verdict"} <= set(rows[0].split(","))


def test_the_answer_names_sizes_and_the_range_of_differences():
    rng = np.random.default_rng(3)
    base = rng.random((1, 2, 4000)) < 0.5
    new = base.copy()
    new[0, 1, :400] = True
    found = judge(
        contender("new", (8, 16), val__top1=new),
        [contender("base", (8, 16), val__top1=base)],
        [LINEAR],
        (8, 16),
    )
    assert page.answer(found).endswith(
        "it is better in 1 and equivalent in 1 of 2 comparisons: better on linear classification at 16 "
        f"(differences from +0.0 to {100 * (new - 1.0 * base)[0, 1].mean():+.1f} points)."
    )


def test_every_comparable_has_a_name_for_the_page():
    assert all(isinstance(what, Comparable) and page.task_name(what) for what in COMPARABLES)


# --- the workflow ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clone(copy, finished):
    """A checkout with the frozen study and nothing else of its results."""
    for path in (Path(frozen.STUDY), Path("results/saved/synthetic")):
        origin, target = finished[2] / path, copy / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(origin, target) if origin.is_dir() else shutil.copy(origin, target)
    yield copy
    shutil.rmtree(copy / "results/saved/synthetic")


def plan(clone, *config, name="new", ok=True):
    page = f"results/compare/synthetic/{name}.md"
    return snakemake("-n", page, "--config", f"study={frozen.STUDY}", *config, folder=clone, ok=ok)


def test_a_bare_clone_runs_the_new_method_and_no_baseline(clone):
    frozen_embeddings = planned(plan(clone, "method=docs/examples/whitening.py"))
    measured = {"admit_method": 1, "embed_method": 1, "measure_method": 3, "compare": 1, "build_splits": 1}
    assert frozen_embeddings == {**measured, "embed_saved": 1}
    trained = planned(plan(clone, "method={baseline: mrl, loss_weights: [2, 1, 1, 1]}"))
    assert trained == {**measured, "train_method": 1}


@pytest.mark.parametrize(
    ("config", "name", "message"),
    [
        ((), "new", "say which one, --config method=mine.py"),
        (("method=mine.py",), "new", "no method at mine.py"),
        (("method={baseline: mlr}",), "new", "did you mean 'mrl'"),
    ],
)
def test_a_wrong_request_fails_before_any_job(config, name, message, clone):
    assert message in plan(clone, *config, name=name, ok=False)


def test_a_study_without_saved_baselines_says_how_to_freeze_them(copy):
    method = "method=docs/examples/whitening.py"
    page = "results/compare/tiny/new.md"
    said = snakemake("-n", page, "--config", "study=tests/studies/tiny.yaml", method, folder=copy, ok=False)
    assert (
        "no saved baselines in results/saved/tiny" in said and "snakemake --cores all save_baselines" in said
    )
