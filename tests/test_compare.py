"""A new method against saved baselines: known answers, what may be compared, the page."""

import re
from dataclasses import replace

import numpy as np
import pytest
from frozen import NEW_STUDY, export, run

import analysis.compare.judge
import analysis.compare.saved
from analysis.compare import page
from analysis.compare.judge import Contender, judge, saved_contender
from analysis.compare.saved import COMPARABLES, Comparable, Saved, SavedRun
from analysis.statistics import power_mcnemar
from splits.store import Dataset
from suite.errors import UserError
from suite.study import Study

SIZES = (2, 4, 8, 16)


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
        saved.refuse(dataset)
    monkeypatch.setattr(analysis.compare.saved, "PROTOCOL", 2)
    with pytest.raises(UserError, match="follow protocol 1, this suite protocol 2"):
        saved.refuse(Dataset(layout.data))


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
    saved.refuse(dataset)
    allowed, refused = analysis.compare.judge.comparable(saved, dataset, study)
    assert "linear top1 (val)" in [what.name for what in allowed]
    said = {refusal.what: refusal.why for refusal in refused}
    assert "the data of v2 differ" in said["retrieval map@10 (v2)"]
    assert said["linear top1 (sketch)"] == "the study has no split sketch"


def test_an_unknown_baseline_is_named(here):
    with pytest.raises(UserError, match="unknown saved method 'mlr'"):
        analysis.compare.judge.chosen(Saved(here[1].saved), ["mlr"])


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
