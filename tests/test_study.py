"""Study files: what they must hold, what follows from them, and what a wrong one is told."""

import argparse
import json
import re

import pytest
import yaml

from suite import cli
from suite.errors import UserError
from suite.layout import command
from suite.modules import ROOT
from suite.requests import check_config, check_place, files_asked, no_target
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
    assert paper.classifies("svd_tuned") and study.classifies("svd_tuned")  # a job is not told the recipes
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
        # Values of options: type and range.
        ({"backbone__widths": []}, "backbone small_resnet: widths: \\[\\] should be non-empty.*ALLOWED in"),
        ({"backbone__widths": [-4, 8]}, "widths.0: -4 is less than the minimum of 1"),
        ({"backbone__widths": "wide"}, "widths: 'wide' is not of type 'array'"),
        ({"backbone__dim": 10**9}, "dim: 1000000000 is greater than the maximum of 65536"),
        ({"data": {"source": "image_folder", "root": 5}}, "image_folder: root: 5 is not of type 'string'"),
        ({"data__train": 12.0}, "data source glyphs: train: 12.0 is not of type 'integer'"),
        ({"data__subset": 1.5}, "subset: 1.5 is greater than the maximum of 1"),
        ({"data__stream_seen": 9}, "stream_seen is 9, not above classes, which is 8, is allowed"),
        ({"measures": {"neighbours": {"k": -3}}}, "measure neighbours: k: -3 is less than the minimum of 1"),
        ({"measures": {"indexes": {"k": "ten"}}}, "k: 'ten' is not of type 'integer'"),
        ({"measures": {"indexes": {"k": 0}}}, "k: 0 is less than the minimum of 1"),
        ({"measures": {"indexes": {"shortlist": 5}}}, "shortlist is 5, not below k, which is 10, is allowed"),
        ({"methods__pca": {"source": "pca"}}, "pca starts from itself: pca from pca; give one of them"),
        (
            {"methods__pca": {"source": "svd"}, "methods__svd": {"source": "pca"}},
            "starts from itself: (pca from svd from pca|svd from pca from svd); give one",
        ),
        ({"methods__mrl": {"label": "  "}}, "methods.mrl.label: '  ' does not match"),
        (
            {"measures": {"reranking": {"shortlist": 30}, "neighbours": {"k": 20}}},
            "measures.reranking.shortlist is 30, but measures.neighbours.k is 20",
        ),
        (
            {"measures": {"indexes": {"splits": [["val", "trian"]]}}, "tasks__index_retrieval": None},
            "unknown split in measures.indexes.splits 'trian' .did you mean 'train'",
        ),
        ({"measures": {"indexes": {"indexes": {"a": {}}}}}, "indexes.a: 'factory' is a required property"),
        ({"measures": {"neighbours": {"k": True}}}, "k: True is not of type 'integer'"),
        (
            {"tasks__adaptive_classification": {"share": 1}},
            "share: 1 is greater than or equal to the maximum",
        ),
        ({"tasks__retrieval": {"ks": [0]}}, "ks.0: 0 is less than the minimum of 1"),
        ({"methods__random_features": {"draws": 0}}, "draws: 0 is less than the minimum of 10"),
        (
            {"methods__random_features": {"probe_draws": 11}},
            "probe_draws is 11, not above draws, which is 10",
        ),
        ({"methods__mrl": {"loss_weights": [1]}}, "loss_weights has 1 values for 2 sizes \\[4, 8\\]"),
        (
            {"methods__mrl": {"loss_weights": [1, float("nan")]}},
            "loss_weights.1: nan is not of type 'number'",
        ),
        ({"methods__mrl": {"loss_weights": [0, 0]}}, "loss_weights: \\[0, 0\\] does not contain"),
        ({"methods__nested_dropout": {"rho": 1}}, "rho: 1 is greater than or equal to the maximum of 1"),
        ({"methods__nested_dropout": {"rho": "1e-3"}}, "'1e-3' is text; a number is .* as 0.001 or 1.0e-3"),
        ({"training__threads": 100000}, "threads: 100000 is greater than the maximum of 1024"),
        ({"training__epochs": 2.0}, "epochs: 2.0 is not of type 'integer'"),
        ({"training__learning_rate": float("inf")}, "learning_rate: inf is not of type 'number'"),
        ({"seeds": [10**29]}, "is greater than the maximum of 4294967295"),
        ({"seeds": []}, "seeds: \\[\\] should be non-empty"),
        ({"name": "a" * 300}, "has 300 letters; at most 80 are allowed"),
        ({"figures": ["knn", "knn"]}, "figures: .* has non-unique elements"),
        # Names that would be taken for each other.
        (
            {"methods__fixed_feature_4": {"baseline": "mrl", "label": "4"}},
            "methods fixed_feature and fixed_feature_4 both have the network 'fixed_feature_4'",
        ),
        ({"methods__again": {"baseline": "mrl"}}, "mrl and again both have the label 'MRL'.*another label"),
        ({"methods__again": {"baseline": "mrl", "label": " MRL "}}, "both have the label 'MRL'"),
        ({"methods__saved_mrl": {"baseline": "mrl", "label": "a"}}, "names with saved_ in front are for"),
        # What the data do not have.
        (
            {"data": {"source": "omniglot"}, "figures": ["contact_sheet_stream"]},
            "figure contact_sheet_stream needs data with stream; those of omniglot, .* have database, query",
        ),
        (
            {"data": {"source": "cifar100", "unseen": 0}, "tasks": {"longtail": None}, "figures": []},
            "evaluation longtail needs data with stream; those of cifar100",
        ),
        (
            {"data": {"source": "tiny_imagenet"}, "tasks": {"fewshot": None}, "figures": []},
            "evaluation fewshot needs data with v2; those of tiny_imagenet",
        ),
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
        ("name: a\ntitle: a\nname: b\n", "my.yaml, line 3: the key name stands there twice"),
        ("methods:\n  mrl:\n  mrl: {label: a}\n", "line 3: the key mrl stands there twice"),
        ("methods: {no: {}}\n", "methods has the key False, .* put the key in quotes"),
        ("methods: {2: {}}\n", "methods has the key 2"),
        ("name: 2026-01-01\n", "name is read as date 2026-01-01; put it in quotes"),
        ("name: 2026-13-41\n", "my.yaml is not YAML: month must be in"),
        ("a: &a [*a]\n", "my.yaml holds something that contains itself"),
        ("name: é\n".encode("latin-1"), "my.yaml is not UTF-8 \\(byte 6\\); save it as UTF-8"),
        ("name: a\n".encode("utf-16"), "my.yaml is not UTF-8"),
    ],
)
def test_a_file_that_is_no_study_is_named(text, message, tmp_path):
    (tmp_path / "my.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=re.compile(message, re.S)):
        load_study(tmp_path / "my.yaml", seeds=[1])


def test_a_study_is_given_by_name_or_path_and_has_one_spelling(monkeypatch):
    assert load_study(TINY, seeds=[1, 2]).seeds == (1, 2)
    monkeypatch.chdir(ROOT)
    here = "tests/studies/tiny.yaml"
    assert {study_name(name) for name in (here, f"./{here}", ROOT / here, f"config/../{here}")} == {here}
    assert {study_name(name) for name in ("glyphs", "./config/studies/glyphs.yaml")} == {"glyphs"}
    assert study_name("/elsewhere/my study.yaml") == "/elsewhere/my study.yaml"


def test_keys_below_by_size_are_numbers_and_a_byte_order_mark_is_no_text(tmp_path):
    path = tmp_path / "my.yaml"
    tuned = "tuned: {fixed_feature: {by_size: {8: {learning_rate: 0.2}}}}\n"
    path.write_text(TINY.read_text() + tuned, encoding="utf-8-sig")
    assert load_study(path).method("fixed_feature_tuned").by_size == {8: {"learning_rate": 0.2}}


def test_a_study_that_would_replace_results_of_a_shipped_one_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = TINY.read_text().replace("name: tiny", "name: glyphs")
    mine = tmp_path / "mine.yaml"
    mine.write_text(text)
    with pytest.raises(UserError, match="name is glyphs, as that of config/studies/glyphs.yaml"):
        load_study(mine)
    page = tmp_path / "results/compare/glyphs/mine/study.yaml"  # the study with a new method
    page.parent.mkdir(parents=True)
    page.write_text(text)
    assert load_study(page).name == "glyphs"


def test_splits_below_a_root_are_looked_for_there(tmp_path):
    data = {"source": "image_folder", "root": str(tmp_path)}
    config = tiny(data=data, figures=["contact_sheet_query"])
    with pytest.raises(UserError, match="contact_sheet_query needs data with query; .* have train, val"):
        Study(config)
    with pytest.raises(UserError, match="evaluation superclass needs data with superclasses"):
        Study(tiny(data=data, tasks={"superclass": None}, figures=[]))
    (tmp_path / "unseen").mkdir()
    assert "query" in Study(config).written
    assert (
        "query" in Study(tiny(data=data | {"root": "/not/mounted"}, figures=["contact_sheet_query"])).written
    )


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"sudy": "glyphs"}, "unknown key 'sudy' \\(did you mean 'study'"),
        ({"study": None}, "study is left empty: write study=…"),
        ({"study": ["glyphs", "vit"]}, "study: .* is not of type"),
        ({"seeds": None}, "seeds is left empty"),
        ({"seeds": []}, "seeds: \\[\\] should be non-empty"),
        ({"seeds": -1}, "whole numbers, as in 'seeds=\\[0,1,2\\]', not -1"),
        ({"seeds": [["0"]]}, "seeds: .* is not of type"),
        ({"against": None}, "against is left empty"),
        ({"against": {"a": "1"}}, "against: .* is not of type"),
        ({"method": ["a.py"]}, "method: .* is not of type"),
        ({"method": None}, "method is left empty"),
        ({"imagenet21k": ["a"]}, "imagenet21k: .* is not of type"),
    ],
)
def test_wrong_words_behind_config_are_told(config, message):
    with pytest.raises(UserError, match=message):
        check_config(config)


@pytest.mark.parametrize("folder", ["/home/{me}/suite", "/a}b"])
def test_a_checkout_that_snakemake_could_not_run_in_is_told(folder):
    check_place("/home/me/suite with a space")
    with pytest.raises(UserError, match="takes braces in its path for wildcards; move it"):
        check_place(folder)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("results/figures/tiny/kn.png", "unknown figure 'kn' .*allowed: contact_sheet_train, knn, linear"),
        ("results/tables/tiny/lin.csv", "unknown table 'lin'"),
        (
            "results/figures/vit/knn.png",
            "is of the study vit, but this run is of tiny: put `--config study=vit",
        ),
        ("results/compare/tiny/My-Page.md", "nothing makes .*results/compare/tiny/<small letters"),
        ("results/tabels", "nothing makes results/tabels; there are results/figures"),
        (
            "results/report/tinny.html",
            "of the study tinny, but this run is of tiny: put `--config study=tinny`",
        ),
    ],
)
def test_a_file_that_nothing_makes_is_told_what_there_is(target, message):
    assert list(files_asked(["-n", f"./{target}", "--report", "results/r.html"])) == [target]
    assert re.search(message, str(no_target(target, Study(tiny()))))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--threads", "0"], "0 is not a whole number from 1 to 1024"),
        (["--seed", "-1"], "not a whole number|expected one argument"),
        (["--seed", "9" * 30], "not a whole number from 0 to 4294967295"),
        (["--device", "gpu"], "gpu is no device: cpu, cuda, cuda:1"),
    ],
)
def test_arguments_out_of_range_are_refused_before_anything_is_read(given, message, capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=cli.THREADS)
    cli.add_run(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(given)
    assert re.search(message, capsys.readouterr().err)


def test_the_command_that_makes_a_file_names_its_study():
    assert command("results/data/glyphs/manifest.json").endswith("manifest.json --config study=glyphs")
    assert "<the file of the study mine>" in command("results/data/mine/manifest.json")
