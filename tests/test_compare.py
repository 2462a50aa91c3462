"""A new method against saved baselines: known answers, what may be compared, the page."""

import re
from dataclasses import replace

import numpy as np
import pytest
from frozen import NEW_STUDY, export, run

import analysis.compare.saved
from analysis.compare import judge as judging
from analysis.compare import page
from analysis.compare.__main__ import main
from analysis.compare.freeze import kept_items
from analysis.compare.judge import Compared, chosen, comparable, saved_method
from analysis.compare.saved import Saved, SavedRun
from analysis.metrics import average_precision
from analysis.run import Items, run_of
from splits.store import Dataset
from suite.errors import UserError
from suite.study import Study

SIZES = (2, 4, 8, 16)


def judge(*given, margin=0.01, **options):
    """With a margin of a point where none is given."""
    return judging.judge(*given, margin, **options)


# --- known answers --------------------------------------------------------------------------------

EMPTY = np.zeros((1, 0, 0), bool)  # what a method measured lies in its own arrays
LINEAR = Items("top1", "val", EMPTY, EMPTY, main=True, array="val/top1", task="linear", measure="predict")
KNN, RETRIEVAL = (
    replace(LINEAR, task=task, metric=metric, value=value, array="val/train/relevant", measure="neighbours")
    for task, metric, value in (
        ("knn", "top1", lambda relevant: relevant[..., 0]),
        ("retrieval", "map@10", lambda relevant: average_precision(relevant, 10)),
    )
)


def measured(study, layout, name="mrl"):
    """What is compared of a method of the frozen study."""
    run = run_of(study, layout, Dataset(layout.data), study.methods[name], 0)
    return [each for each in kept_items(run, study.frozen_measures()) if each.compared]


def compared(name, sizes=SIZES, seeds=(0,), **arrays):
    """A method with these outcomes in every seed."""
    outcomes = {"predict/sizes": np.array(sizes), "neighbours/sizes": np.array(sizes)}
    outcomes |= {name.replace("__", "/"): array for name, array in arrays.items()}
    about = SavedRun(name, 0, name, "trained", "baselines", tuple(sizes), 1, {"networks": []}, {}, {})
    return Compared(name, name, dict.fromkeys(seeds, outcomes), dict.fromkeys(seeds, about))


def against(new, base, sizes=(8,), what=LINEAR, **how):
    """The verdicts on hits [draws, S, n] of one method against those of another."""
    pair = (compared(name, sizes, val__top1=hits) for name, hits in (("new", new), ("base", base)))
    return judge(next(pair), [*pair], [what], sizes, **how)


def planted(n, p01, p10, accuracy=0.6):
    """Hits [1, 1, n] of new and base with exactly n·p01 items that only new has right, n·p10 only base."""
    gained, lost, both = round(n * p01), round(n * p10), round(n * (accuracy - p10))
    base, new = np.arange(n) < both + lost, np.arange(n) < both + lost + gained
    new[both : both + lost] = False
    return new[None, None], base[None, None]


def test_macs_of_a_fitted_method_are_its_networks_and_its_maps():
    network = dict.fromkeys(("train_seconds", "train_images", "train_macs", "parameters", "forwards"), 1)
    network |= {"macs_all_sizes": 90, "macs": {"2": 70, "4": 90}}
    cost = {"networks": [network], "projection_macs": {"2": 8, "4": 16}}
    about = replace(compared("mapped", (2, 4)).runs[0], kind="fitted", cost=cost)
    lines = page.cost_lines(replace(about, classifier_parameters={"0": 12_345}))
    assert lines["MACs per image, largest size"] == "106" and lines["networks to train"] == "1"
    assert lines["classifier parameters, all sizes"] == "12,345"
    assert lines["bytes per item at each size"] == "8 16"
    of_a_folder = page.cost_lines(replace(about, kind="folder", classifier_parameters={"0": 1}))
    assert of_a_folder["MACs per image, largest size"] == "not known"


def test_a_saved_method_against_itself_is_never_better(here):
    """Alike where there are items enough; the miniature has too few to say so."""
    study, layout = here
    saved, items = Saved(layout.saved), measured(study, layout)
    for name in saved.methods:
        itself = saved_method(saved, study, name)
        found = judge(replace(itself, name="copy"), [itself], items, study.nesting, resamples=200)
        assert set(found.differences["verdict"]) <= {"alike", "equivalent", "undecided"}
        assert (found.differences["discordant"] == 0).all() and (found.differences["difference"] == 0).all()
        assert set(found.areas["verdict"]) <= {"alike", "equivalent", "undecided"}
        loose = judge(replace(itself, name="copy"), [itself], items, study.nesting, margin=0.5, resamples=9)
        assert set(loose.differences["verdict"]) <= {"alike", "equivalent"}
        tasks = {"linear", "knn", "retrieval", "robustness", "longtail"}
        assert set(found.differences["task"]) == tasks


def test_a_method_with_its_outputs_shuffled_is_worse_everywhere():
    rng = np.random.default_rng(0)
    hits = rng.random((1, 4, 500)) < 0.9
    relevant = rng.random((1, 4, 500, 10)) < 0.8
    base = compared("base", val__top1=hits, val__train__relevant=relevant)
    # The rows no longer belong to their labels: of 50 classes one in 50 is right by chance.
    wrong = compared(
        "new",
        val__top1=rng.random((1, 4, 500)) < 0.02,
        val__train__relevant=rng.random((1, 4, 500, 10)) < 0.02,
    )
    found = judge(wrong, [base], [LINEAR, KNN, RETRIEVAL], SIZES, resamples=500)
    assert set(found.differences["verdict"]) == {"lower"} and len(found.differences) == 12
    assert set(found.areas["verdict"]) == {"lower"}
    assert "lower in all 12 comparisons" in page.answer(found) and "(these networks)" in page.answer(found)


@pytest.mark.parametrize(
    ("n", "p01", "p10", "verdict"),
    [
        (20_000, 0.06, 0.04, "higher"),
        (300, 0.06, 0.04, "undecided"),  # too few items: power 0.2
        (20_000, 0.05, 0.05, "alike"),
        (500, 0.05, 0.05, "undecided"),
    ],
)
def test_a_planted_gain_is_found_where_there_is_one_and_items_enough(n, p01, p10, verdict):
    row = against(*planted(n, p01, p10)).differences.iloc[0]
    assert row["difference"] == pytest.approx(p01 - p10) and row["discordant"] == round(n * 0.1)
    assert row["verdict"] == verdict


def test_draws_are_averaged_and_every_training_is_compared():
    rng = np.random.default_rng(2)
    draws = rng.random((3, 1, 50)) < 0.5
    new = compared("new", (8,), seeds=(0,), val__top1=draws)
    base = compared("base", (8,), seeds=(0, 1), val__top1=draws[:1])
    base.outcomes[1] = {**base.outcomes[1], "val/top1": ~draws[:1]}
    found = judge(new, [base], [LINEAR], (8,), resamples=100)
    assert found.seeds == {"base": ((0,), (0, 1))}
    assert found.curves.set_index("method").loc["base", "value"] == pytest.approx(0.5)
    assert found.differences["base"].item() == pytest.approx(0.5)
    assert found.differences["new"].item() == pytest.approx(draws.mean())
    # Of one network, seed by seed: the trainings that both have.
    shared = judge(replace(new, origin="ff"), [replace(base, origin="ff")], [LINEAR], (8,), resamples=100)
    assert shared.seeds == {"base": ((0,), (0,))}
    assert shared.differences["base"].item() == pytest.approx(draws[0].mean())


def test_trainings_that_disagree_leave_it_undecided():
    base = np.random.default_rng(3).random((1, 1, 4000)) < 0.5

    def judged(*gains):
        """Of seeds that are right on so many of the items more (or less) than the base."""
        new, old = (compared(name, (8,), seeds=(0, 1, 2), val__top1=base) for name in ("new", "base"))
        for seed, gain in enumerate(gains):
            hits = base.copy()
            some = np.flatnonzero(hits[0, 0] == (gain < 0))[: round(abs(gain) * 4000)]
            hits[0, 0, some] = gain > 0
            new.outcomes[seed] = {**new.outcomes[seed], "val/top1": hits}
        return judge(new, [old], [LINEAR], (8,)).differences.iloc[0]

    agreed = judged(0.04, 0.05, 0.06)
    assert agreed["verdict"] == "better" and agreed["scope"] == "methods" and agreed["test"] == "seeds"
    divided = judged(-0.02, 0.05, 0.08)
    assert divided["verdict"] == "undecided" and divided["detectable"] > 0.05


def test_areas_are_the_mean_height_over_log2_size():
    hits = np.zeros((1, 3, 10), bool)
    hits[0, 0, :2], hits[0, 1, :4], hits[0, 2, :10] = True, True, True
    area = against(hits, np.zeros_like(hits), (2, 4, 16), resamples=100).areas.iloc[0]
    assert area["new"] == pytest.approx((0.3 * 1 + 0.7 * 2) / 3) and area["base"] == 0


def test_sizes_and_tasks_that_one_side_lacks_are_named():
    hits = np.ones((1, 4, 20), bool)
    new = compared("new", (4, 8), val__top1=hits[:, :2], val__train__relevant=np.ones((1, 2, 20, 10), bool))
    base = compared("base", SIZES, val__top1=hits)
    found = judge(new, [base], [LINEAR, KNN, RETRIEVAL], SIZES, resamples=50)
    assert found.differences["dim"].tolist() == [4, 8]
    said = dict(found.refused)
    assert said["linear classification against base, sizes 2, 16"] == "new does not have these sizes"
    assert said["1-NN against base"] == "not measured for base"
    with pytest.raises(UserError, match="nothing of new can be compared: linear .* these sizes"):
        judge(compared("new", (3,), val__top1=hits[:, :1]), [base], [LINEAR], SIZES)


# --- may they be compared? ------------------------------------------------------------------------


def test_other_training_data_or_another_protocol_are_refused(here, monkeypatch):
    _, layout = here
    saved, dataset = Saved(layout.saved), Dataset(layout.data)
    splits = dataset.manifest["splits"]
    dataset.manifest = dataset.manifest | {
        "splits": splits | {"train": splits["train"] | {"sha256": "f" * 64}}
    }
    with pytest.raises(UserError, match=r"trained on other data: checksum of train \w{12}, here f{12}"):
        saved.refuse(dataset)
    monkeypatch.setattr(analysis.compare.saved, "PROTOCOL", 7)
    with pytest.raises(UserError, match=r"follow protocol \d, this suite protocol 7"):
        saved.refuse(Dataset(layout.data))


def test_probes_of_the_old_protocol_are_not_compared(here):
    study, layout = here
    saved, items = Saved(layout.saved), measured(study, layout)
    saved.manifest = saved.manifest | {"protocol": 1}
    saved.refuse(Dataset(layout.data))
    both = [saved_method(saved, study, name) for name in ("mrl", "pca")]
    found = judge(replace(both[0], name="new", label="new"), both, items, study.nesting, resamples=9)
    assert dict(found.refused)["linear classification against PCA (centred)"].startswith(
        "it was saved with one"
    )
    assert set(found.differences.query("task == 'linear'")["baseline"]) == {"mrl"}
    assert "pca" in set(found.differences.query("task == 'knn'")["baseline"])


def test_other_settings_of_a_measure_are_left_out_with_the_reason(here):
    study, layout = here
    saved, dataset = Saved(layout.saved), Dataset(layout.data)
    measures = {**study.config.get("measures", {}), "classmeans": {"interval": 7}}
    other = Study({**study.config, "measures": measures}, study.path)
    items = measured(study, layout)
    allowed, refused = comparable(saved, dataset, other, items)
    said = dict(refused)
    assert "saved with other settings of classmeans" in said["long-tailed stream"]
    assert "linear classification" in [what.name for what in allowed]


def test_a_test_split_that_differs_or_is_missing_is_left_out_with_the_reason(here):
    study, layout = here
    saved, dataset = Saved(layout.saved), Dataset(layout.data)
    splits = {name: facts for name, facts in dataset.manifest["splits"].items() if name != "sketch"}
    dataset.manifest = dataset.manifest | {"splits": splits | {"v2": splits["v2"] | {"sha256": "f" * 64}}}
    saved.refuse(dataset)
    items = [each for each in measured(study, layout) if each.split != "sketch"]
    allowed, refused = comparable(saved, dataset, study, items)
    assert "linear classification" in [what.name for what in allowed]
    said = dict(refused)
    assert "the data of v2 differ" in said["retrieval mAP@10 on v2"]
    assert said["everything on sketch"] == "the study has no such split"


def test_an_unknown_baseline_is_named(here):
    with pytest.raises(UserError, match="unknown saved method 'mlr'"):
        chosen(Saved(here[1].saved), ["mlr"])


# --- the page -------------------------------------------------------------------------------------


def test_the_page_has_the_verdict_and_opens_offline(here, tmp_path):
    _, layout = here
    folder = export(layout, "pca", tmp_path / "mine", ("train", "val"))
    (folder / "method.yaml").write_text("label: 'Mine <b>'\ncost: {train_seconds: 3}\n")
    run(layout, "mine", folder)
    out = tmp_path / "page" / "mine.md"
    main(["--study", NEW_STUDY, "--method", "mine", "--out", str(out)])
    text, page = out.read_text(), out.with_suffix(".html").read_text()
    for heading in ("Differences", "Cost", "What could not be compared", "Conditions"):
        assert f"## {heading}\n" in text and f"<h2>{heading}</h2>" in page
    assert (
        "Against **PCA (centred)** it is" in text
        and "Against **MRL** it is" in text
        and "Against **FF** it is" in text
    )
    assert "| 1-NN |" in text and "identical on every item" in text and "of these networks" in text
    assert "train_seconds (stated) | 3 |" in text and "not known" in text
    assert "Mine &lt;b&gt;" in page and "<b>PCA (centred)</b>" in page
    assert not re.search(r'(?:src|href)="(?!data:)', page) and "data:image/png;base64," in page
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    rows = out.with_suffix(".csv").read_text().splitlines()
    assert {"dim", "new", "base", "low", "high", "p_holm", "verdict"} <= set(rows[0].split(","))


def test_the_answer_names_sizes_and_the_range_of_differences():
    rng = np.random.default_rng(3)
    base = rng.random((1, 2, 4000)) < 0.5
    new = base.copy()
    new[0, 1, :400] = True
    found = against(new, base, (8, 16))
    assert page.answer(found).endswith(
        "it is higher in 1 and alike in 1 of 2 comparisons (these networks): higher on linear classification "
        f"at 16 (differences from +0.0 to {100 * (new - 1.0 * base)[0, 1].mean():+.1f} points)."
    )
    counts = page.markdown(page.count_table(found))
    assert counts.splitlines()[2] == "| against base | △ 1 ≈ 1 |"
    # What is drawn: one training, its own items' interval.
    rows = found.curves.query("method == 'base' and dim == 8").iloc[0]
    error = 1.96 * base[0, 0].std() / 4000**0.5
    np.testing.assert_allclose(
        [rows["low"], rows["high"]], base[0, 0].mean() + np.array([-error, error]), atol=1e-4
    )


def test_what_could_not_be_compared_is_one_line_for_each_reason():
    refused = [("1-NN against A", "not measured"), ("v2", "no split"), ("1-NN against B", "not measured")]
    assert page.left_out(refused) == ["1-NN against A; 1-NN against B: not measured.", "v2: no split."]


def test_a_metric_of_which_less_is_better_turns_the_verdict_round():
    less = replace(LINEAR, metric="expected_dim")
    new, base = planted(20_000, 0.06, 0.04)
    pair = [compared(name, (8,), (0, 1), val__top1=hits) for name, hits in (("new", new), ("base", base))]
    for what, verdict in ((LINEAR, "better"), (less, "worse")):
        found = judge(pair[0], [pair[1]], [what], (8,))
        assert found.differences["verdict"].item() == verdict


def test_items_that_come_in_groups_are_compared_by_group():
    rng = np.random.default_rng(4)
    hits, groups = rng.random((1, 1, 400)) < 0.5, np.repeat(np.arange(40), 10)
    assert against(hits, ~hits, resamples=50).differences["n"].item() == 400
    found = against(hits, ~hits, what=replace(LINEAR, groups=groups), resamples=50).differences
    assert found["n"].item() == 40
    assert found["difference"].item() == pytest.approx(hits.mean() - (~hits).mean())


def test_everything_compared_has_a_name_for_the_page(here):
    names = [each.name for each in measured(*here)]
    assert {"linear classification", "1-NN", "retrieval mAP@10 of unseen classes"} <= {*names}
    assert {"classification on r", "classification on v2", "long-tailed stream"} <= {*names}
    assert len({*names}) == len(names)
