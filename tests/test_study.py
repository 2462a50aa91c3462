"""Study files: what they must hold, what follows from them, and what a wrong one is told."""

import json
import re

import pytest
import yaml

from suite.errors import UserError
from suite.modules import ROOT
from suite.study import STUDIES, Study, load_study, study_name

TINY = ROOT / "tests/studies/tiny.yaml"


def tiny(**changes):
    config = yaml.safe_load(TINY.read_text())
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = config
        for parent in parents:
            place = place[parent]
        place[last] = value
    return config


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_study_of_the_suite_is_valid_and_named_like_its_file(path):
    study = load_study(path.stem)
    assert study.name == path.stem
    # The two controls bound every evaluation: below the one and above the other, something is wrong.
    kinds = {method.baseline for method in study.methods.values()}
    assert {"control_random", "control_label"} <= kinds or study.source not in ("glyphs", "omniglot")


def test_networks_serve_all_sizes_or_one_each_and_ablations_are_evaluated_by_the_curves_alone():
    study = Study(tiny())
    assert {net.name: net.sizes for net in study.networks.values()} == {
        "mrl": (4, 8),
        "fixed_feature_4": (4,),
        "fixed_feature_8": (8,),
        "mrl_8boost": (4, 8),
    }

    assert "mrl_8boost" in [m.name for m in study.task_methods("knn")]
    assert "mrl_8boost" not in [m.name for m in study.task_methods("cost")]
    without = Study(tiny(methods__mrl={"tasks": []}))
    assert "mrl" not in [method.name for method in without.task_methods("linear")]


def test_a_method_is_run_with_the_first_seeds_of_its_study():
    study = Study(
        tiny(seeds=[4, 2, 7], methods__mrl_8boost={"baseline": "mrl", "label": "other", "seeds": 2})
    )
    assert study.method("mrl").seeds == (4, 2, 7) and study.method("mrl_8boost").seeds == (4, 2)
    assert Study(study.config | {"seeds": [5]}).method("mrl_8boost").seeds == (5,)


def test_only_what_decides_the_weights_is_in_the_settings_of_a_network():
    base = Study(tiny()).trained_with("mrl")
    fewer = tiny(interpolated=[5, 6], tasks={"knn": {}}, figures=["knn"], seeds=[3])
    assert Study(fewer).trained_with("mrl") == base
    assert Study(tiny(nesting=[2, 8])).trained_with("mrl") != base
    assert Study(tiny(training__epochs=3)).trained_with("mrl") != base


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_papers_recipe_is_one_for_all_methods_and_ablations_keep_the_scale_of_the_gradient(path):
    study = load_study(path.stem)
    trained = [method for method in study.methods.values() if method.kind == "trained"]
    for method in trained:
        # What is trained on from another network is no recipe from fresh weights.
        if method.group == "baselines" and not method.starts_from:
            assert method.training == study.training and not method.by_size
        if method.name == "mrl_long":
            assert method.training["epochs"] == len(study.nesting) * study.training["epochs"]
        if method.baseline == "mrl" and study.name in ("glyphs", "glyphs_full"):
            weights = method.options["loss_weights"] or [1] * len(method.nesting)
            assert len(study.nesting) == (method.options["loss_total"] or sum(weights))


TUNED = {
    "mrl": {"learning_rate": 0.8, "head_rate": 4},
    "fixed_feature": {"by_size": {8: {"learning_rate": 0.2}}},
}


def test_a_tuned_method_is_a_second_one_with_settings_or_a_source_of_its_own():
    changes = {"tuned": TUNED | {"svd": None}, "figures": ["linear", "rate_envelope"]}
    study = Study(tiny(**changes, recipes=["paper", "tuned"]))
    mrl, again = study.methods["mrl"], study.methods["mrl_tuned"]
    assert again.training == mrl.training | TUNED["mrl"] and again.options == mrl.options
    assert (again.label, again.group, study.methods["svd_tuned"].source) == (
        "MRL, tuned",
        "tuned",
        "fixed_feature_tuned",
    )
    rates = [study.trained_with(f"fixed_feature_tuned_{m}")["training"]["learning_rate"] for m in (4, 8)]
    assert rates == [0.1, 0.2] and "by_size" not in study.trained_with("fixed_feature_tuned_8")["training"]
    assert "mrl_tuned" in [m.name for m in study.task_methods("knn")]
    assert "mrl_tuned" not in [m.name for m in study.task_methods("cost")]
    # Not run unless it is asked for, nor is the figure of its search drawn; but a job of it finds it.
    paper = Study(tiny(**changes))
    assert "mrl_tuned" not in paper.methods and "mrl_tuned" not in paper.networks
    assert paper.figures == ("linear",) and study.figures == ("linear", "rate_envelope")
    assert paper.method("mrl_tuned") == again
    assert paper.trained_with("mrl_tuned") == study.trained_with("mrl_tuned")
    # As a frozen study has it, whose keys are text.
    assert Study(json.loads(json.dumps(study.config))).methods == study.methods


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipes": ["paper", "tuned"]}, "recipes has tuned, but the section `tuned`, .* is missing"),
        ({"recipes": ["tuned"]}, "recipes: .*'tuned'.* is not one of"),
        ({"tuned": {"mlr": {"learning_rate": 1}}}, "unknown method 'mlr' \\(did you mean 'mrl'"),
        ({"tuned": {"mrl": None}}, "tuned.mrl needs settings, such as learning_rate"),
        ({"tuned": {"svd": None}}, "tuned.svd starts from fixed_feature, which is not among tuned itself"),
        (
            {"tuned": {"control_label": None}},
            "allowed are .* fitted ones, with none; control_label is control",
        ),
        ({"tuned": TUNED | {"svd": {"learning_rate": 1}}}, "allowed are methods trained .*; svd is fitted"),
        (
            {"tuned": {"mrl": {"by_size": {4: {"epochs": 3}}}}},
            "by_size of mrl_tuned names \\[4\\]; allowed: nothing",
        ),
        ({"tuned": {"fixed_feature": {"by_size": {5: {"epochs": 3}}}}}, "names \\[5\\]; allowed: 4, 8"),
        ({"tuned": {"fixed_feature": {"by_size": {"small": {"epochs": 3}}}}}, "'small' does not match"),
        ({"tuned": {"mrl": {"learning_rat": 1}}}, "'learning_rat' was unexpected"),
        ({"methods__mrl_tuned": {"baseline": "mrl"}, "tuned": TUNED}, "methods.mrl_tuned has the name"),
        ({"methods__mrl": {"group": "tuned"}}, "methods.mrl.group: .*should not be valid"),
        ({"training__by_size": {}}, "training: .* should not be valid"),
        ({"training__head_rate": 0}, "head_rate: 0 is less than or equal to the minimum"),
        (
            {"methods__masked_lm": {"training": {"head_rate": 4}}},
            "head_rate of masked_lm is 4, but masked_lm has no classifiers apart from its network",
        ),
        ({"nesting": [4, 16]}, "size 16 is longer than the embedding, which has 8 dimensions"),
        ({"nesting": [8, 4]}, "must increase strictly"),
        ({"nesting": [4, 4]}, "must increase strictly"),
        ({"nesting": [0, 4]}, "0 is less than the minimum of 1"),
        ({"epochs": 3}, "'epochs' was unexpected"),
        ({"training__epoch": 3}, "'epoch' was unexpected"),
        ({"methods": {"mlr": None}}, "unknown method 'mlr'.*allowed: .*mrl"),
        ({"methods": {"mrl": {"loss_wieghts": [1, 2]}}}, "did you mean 'loss_weights'"),
        ({"methods": {"svd": None}}, "starts from fixed_feature, which is not among"),
        (
            {"seeds": [0, 1], "methods__fixed_feature": {"seeds": 1}},
            "svd is run with 2 seeds, but starts from fixed_feature, which is run with 1; allowed: seeds: 1",
        ),
        ({"methods__mrl": {"seeds": 0}}, "methods.mrl.seeds: 0 is less than the minimum of 1"),
        ({"tasks": {"knm": None}}, "unknown evaluation 'knm' \\(did you mean 'knn'"),
        ({"figures": ["liner"]}, "unknown figure 'liner' \\(did you mean 'linear'"),
        ({"data__source": "glyph"}, "unknown data source 'glyph' \\(did you mean 'glyphs'"),
        ({"data__clases": 3}, "unknown option of data source glyphs 'clases' \\(did you mean 'classes'"),
        ({"measures": {"neighbours": {"kk": 3}}}, "unknown option of measure neighbours 'kk'"),
        ({"methods__mrl": {"tasks": ["liner"]}}, "unknown evaluation 'liner' \\(did you mean 'linear'"),
        ({"tasks__adaptive_retrieval": {"methods": ["mlr"]}}, "unknown method 'mlr' \\(did you mean 'mrl'"),
        ({"backbone__name": "small_resnt"}, "unknown backbone 'small_resnt' \\(did you mean 'small_resnet'"),
        ({"backbone__width": 4}, "unknown option of backbone small_resnet 'width' \\(did you mean 'widths'"),
        ({"backbone": {"name": "vit", "dim": 8, "image": 32}}, "backbone vit needs patch, depth, heads"),
        (
            {"figures": ["contact_sheet_trian"]},
            "unknown figure 'contact_sheet_trian' \\(did you mean 'contact_sheet_train'",
        ),
        (
            {"tasks": {"zero_shot": None}, "figures": []},
            "evaluation zero_shot needs data with captions, which glyphs does not have; "
            "sources that do: .*glyph_captions.*image_captions",
        ),
        (
            {"methods": {"image_text": None}, "figures": []},
            "method image_text needs data with captions, which glyphs does not have; .*glyph_captions",
        ),
        ({"tasks": {"knn": {}}}, "figure linear is drawn from the table of linear, which is not among"),
    ],
)
def test_a_wrong_study_is_told_what_is_wrong_and_what_is_allowed(changes, message):
    with pytest.raises(UserError, match=message):
        Study(tiny(**changes))


def test_unknown_study_method_and_network_name_what_there_is():
    with pytest.raises(UserError, match="unknown study 'glyps' \\(did you mean 'glyphs'.*config/studies"):
        load_study("glyps")
    with pytest.raises(UserError, match="unknown method 'pca'; allowed: .*svd"):
        Study(tiny()).method("pca")
    with pytest.raises(UserError, match="unknown network 'fixed_feature'.*fixed_feature_4"):
        Study(tiny()).network("fixed_feature")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "my.yaml holds no study"),
        ("- mrl\n", "my.yaml holds no study"),
        ("name: [1\n", "my.yaml is not YAML: .*line 2"),
    ],
)
def test_a_file_that_is_no_study_is_named(text, message, tmp_path):
    (tmp_path / "my.yaml").write_text(text)
    with pytest.raises(UserError, match=re.compile(message, re.S)):
        load_study(tmp_path / "my.yaml", seeds=[1])


def test_a_study_is_given_by_name_or_path_and_has_one_spelling(monkeypatch):
    assert load_study(TINY, seeds=[1, 2]).seeds == (1, 2)
    monkeypatch.chdir(ROOT)
    here = "tests/studies/tiny.yaml"
    assert {study_name(name) for name in (here, f"./{here}", ROOT / here, f"config/../{here}")} == {here}
    assert {study_name(name) for name in ("glyphs", "./config/studies/glyphs.yaml")} == {"glyphs"}
    assert study_name("/elsewhere/my study.yaml") == "/elsewhere/my study.yaml"
