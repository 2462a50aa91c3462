"""A new method on data that come with embeddings, against what is frozen of them."""

import json
import shutil
from functools import partial
from pathlib import Path

import made
import numpy as np
import pytest
import yaml
from small import build

import analysis.measure
from analysis.compare import judge, own_methods, page
from analysis.compare.freeze import freeze
from analysis.compare.judge import chosen_of_vectors, comparable, compare, new_method
from analysis.compare.saved import Saved, vectors_known_by
from analysis.tabulate import main as tabulate
from baselines import embed
from baselines.representation import Representation
from splits.sources import collection, labelled
from splits.store import Dataset
from suite import files
from suite.contracts import EVALUATION
from suite.errors import UserError
from suite.modules import ROOT
from suite.study import Study, load_study

STUDY, NEW = "mini.yaml", "new.yaml"
METHODS = {
    "nested": {"baseline": "given_embeddings", "model": "nested", "label": "Nested"},
    "nested_axes": {"baseline": "pca", "source": "nested", "label": "Nested, axes"},
    "nested_random": {"baseline": "random_rotation", "source": "nested", "label": "Nested, rotated"},
    "plain": {"baseline": "given_embeddings", "model": "plain", "label": "Plain"},
    "plain_axes": {"baseline": "pca", "source": "plain", "label": "Plain, axes"},
}
CONFIG = {"name": "mini", "title": "mini", "nesting": [4, 8, 12, 16], "seeds": [0], "figures": []}
COLLECTION = CONFIG | {
    "data": {"source": "collection", "root": "mine"},
    "methods": METHODS,
    "tasks": {"judged_retrieval": {"recalls": [10, 20]}, "two_stage_retrieval": {"methods": ["nested"]}},
    "measures": {"ranking": {"depth": 40}, "two_stages": {"lengths": [10]}, "neighbours": {"k": 10}},
}
LABELLED = CONFIG | {
    "data": {"source": "labelled", "root": "mine"},
    "methods": {name: METHODS[name] for name in ("nested", "nested_axes")},
    "tasks": {"knn": None, "linear": None},
}
PREFIXES = "def fit(features, labels, sizes, rng):\n    pass\ndef transform(fitted, x):\n    return x\n"


def finish(config, source):
    """Everything of a study below the working directory, frozen."""
    study = Study(config)
    build(source, study.layout.data, **study.source_options)
    Path(STUDY).write_text(yaml.safe_dump(config))
    for method in study.methods:
        embed.main(["--study", STUDY, "--method", method])
        for measure in sorted(study.frozen_measures(method)):
            analysis.measure.main(["--study", STUDY, "--method", method, "--measure", measure])
    for task in study.tasks:
        if task in study.itemised:
            tabulate(["--study", STUDY, "--task", task])
        else:  # frozen as it is, and not compared
            study.layout.table(task).write_text("study,method,seed\nmini,nested,0\n")
    freeze(study)
    return study


@pytest.fixture(scope="module")
def frozen_collection(tmp_path_factory):
    """The folder of a frozen study of a miniature collection."""
    folder = tmp_path_factory.mktemp("vectors")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        made.collection(folder / "mine")
        finish(COLLECTION, collection)
    return folder


@pytest.fixture
def study(frozen_collection, tmp_path, monkeypatch):
    """That study, in a copy as working directory."""
    shutil.copytree(frozen_collection, tmp_path / "copy", symlinks=True)
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setattr(judge, "judge", partial(judge.judge, resamples=200))  # intervals are not looked at
    return load_study(STUDY)


def judged(given, against=None, name="mine", seeds=()):
    """What the workflow does for a new method: the verdicts, and the study with the method."""
    text = yaml.safe_dump(given, default_flow_style=True) if isinstance(given, dict) else str(given)
    own = ["--study", STUDY, "--name", name, "--out", NEW, "--method", text]
    own_methods.main(["add", *own, *(["--seeds", *map(str, seeds)] if seeds else [])])
    study = load_study(NEW)
    method = study.methods[name]
    for seed in study.seeds:
        run = ["--study", NEW, "--method", name, "--seed", str(seed)]
        if method.source and seed:
            embed.main(["--study", STUDY, "--method", method.source, "--seed", str(seed)])
        embed.main(run)
        for measure in study.frozen_measures():
            analysis.measure.main([*run, "--measure", measure])
    if task := vectors_known_by(study, method):
        for measure in EVALUATION.facts(task).MEASURES:
            analysis.measure.main(["--study", NEW, "--method", method.source, "--measure", measure])
    return compare(study, name, against), study


def file(text=PREFIXES, source="nested"):
    """A Python file of the user's in the working directory."""
    Path("mine.py").write_text((f"SOURCE = {source!r}\n" if source else "") + text)
    return "mine.py"


def copied(model, change=lambda x: x, root="mine", splits=("corpus", "queries")):
    """A folder with the vectors of one of the study's models, below the working directory."""
    Path("other").mkdir()
    for split in splits:
        np.save(f"other/{split}.npy", change(made.load(Path(root), model, split)))
    return Path("other")


# --- known answers ----------------------------------------------------------------------------------


def test_prefixes_are_the_vectors_that_they_start_from_item_by_item(study):
    found, _ = judged(file(), ["nested", "nested_axes"])
    rows = found.differences.query("baseline == 'nested'")
    assert set(rows["metric"]) == {"ndcg@10", "recall@10", "recall@20", "mrr@10", "map"}
    assert set(rows["dim"]) == {4, 8, 12, 16} and (rows["discordant"] == 0).all()
    assert (rows["difference"] == 0).all() and (
        found.areas.query("baseline == 'nested'")["difference"] == 0
    ).all()
    frozen = files.read_table("results/saved/mini/tables/judged_retrieval.csv")
    table = frozen.query("method == 'nested_axes' and renormalised and split == 'queries'")
    for row in found.differences.query("baseline == 'nested_axes'").itertuples():
        (value,) = table.query("dim == @row.dim and metric == @row.metric")["value"]
        assert row.base == pytest.approx(value, abs=1e-7)


def test_fit_sees_the_documents_alone_and_no_labels(study):
    recording = PREFIXES.replace("    pass\n", "    np.savez('seen', features=features, labels=labels)\n", 1)
    judged(file(f"import numpy as np\n{recording}", "plain"))
    with np.load("seen.npz") as seen:
        np.testing.assert_array_equal(seen["features"], made.load(Path("mine"), "plain").astype(np.float32))
        assert (seen["labels"] == -1).all() and len(seen["labels"]) == made.DOCUMENTS
    fitted = Representation(Path("results/embeddings/mini/mine-0"))
    np.testing.assert_array_equal(fitted.array("queries"), made.load(Path("mine"), "plain", "queries"))


def test_the_suites_own_map_given_as_a_file_is_the_frozen_one(study):
    """And what sets it apart from the vectors is what the table of that map says."""
    found, _ = judged({"baseline": "pca", "source": "plain"}, ["plain", "plain_axes"])
    assert (found.differences.query("baseline == 'plain_axes'")["discordant"] == 0).all()


def test_an_oracle_from_a_folder_has_an_ndcg_of_one(study):
    documents, queries = np.zeros((made.DOCUMENTS, 16)), np.eye(made.QUERIES, 16)
    for i in range(made.QUERIES):  # gains of 2 in line with the query, gains of 1 beside it
        documents[i, i] += 1
        documents[i + 20, [i, 15]] += 1
    folder = Path("other")
    folder.mkdir()
    np.save(folder / "corpus.npy", documents)
    np.save(folder / "queries.npy", queries)
    (folder / "method.yaml").write_text("label: Oracle\ncost: {gpu_hours: 3}\n")
    found, _ = judged(folder)
    assert found.new.label == "Oracle" and found.new.runs[0].cost["stated"] == {"gpu_hours": 3}
    assert [base.name for base in found.baselines] == ["nested", "nested_random", "plain", "plain_axes"]
    rows = found.differences.query("metric == 'ndcg@10' and dim == 16")
    np.testing.assert_allclose(rows["new"], 1)
    np.testing.assert_allclose(rows["difference"], 1 - rows["base"])
    assert set(rows["verdict"]) == {"higher"} and len(rows) == 4
    assert any("Row order of corpus and queries was not checked" in note for note in found.notes)


def test_a_model_that_lies_beside_the_others_is_one_more(study):
    found, _ = judged({"baseline": "given_embeddings", "model": "plain", "label": "again"}, ["plain"])
    assert (found.differences["discordant"] == 0).all()


def test_another_model_is_compared_at_the_sizes_of_both_and_at_the_largest_of_each(study):
    found, _ = judged(copied("nested", lambda x: x[:, :10].astype(np.float64)), ["nested"])
    rows = found.differences.query("metric == 'ndcg@10'")
    assert rows["dim"].tolist() == [4, 8] and (rows["discordant"] == 0).all()
    (largest,) = found.largest.query("metric == 'ndcg@10'").to_dict("records")
    assert largest["sizes"] == "10 against 16"
    frozen = Saved(study.layout.saved).folder / "tables" / "judged_retrieval.csv"
    table = files.read_table(frozen).query("metric == 'ndcg@10' and method == 'nested' and renormalised")
    assert largest["base"] == pytest.approx(table.query("dim == 16")["value"].item(), abs=1e-7)
    assert largest["difference"] == pytest.approx(largest["new"] - largest["base"])
    said = dict(found.refused)
    assert said["mine and Nested at size 10"] == "Nested has no such size"
    assert said["mine and Nested at size 12, 16"] == "mine has no such size"
    assert said["two_stage_retrieval"] == "nothing of it is frozen item by item"


def test_vectors_in_int8_with_a_scale_and_ids_are_those_of_the_study_rounded(study):
    folder = copied("plain", lambda x: np.round(x.astype(np.float32) * 20).astype(np.int8))
    for split in ("corpus", "queries"):
        np.save(folder / f"{split}.scale.npy", np.float32(1 / 20))
        lines = Path(f"mine/{split}.jsonl").read_text().splitlines()
        (folder / f"{split}.ids.txt").write_text("\n".join(json.loads(line)["_id"] for line in lines))
    found, _ = judged(folder, ["plain"])
    assert (found.differences["difference"].abs() < 0.1).all()
    assert not any("Row order" in note for note in found.notes)


def test_the_strongest_map_is_the_one_with_the_largest_area(study):
    found, with_new = judged(file())
    saved, dataset = Saved(study.layout.saved), Dataset(study.layout.data)
    new, items = new_method(with_new, dataset, "mine")
    allowed, _ = comparable(saved, dataset, with_new, items)
    table = files.read_table("results/saved/mini/tables/judged_retrieval.csv")
    table = table.query("metric == 'ndcg@10' and renormalised and method in ('nested_axes', 'nested_random')")
    heights = {
        name: np.trapezoid(rows.sort_values("dim")["value"], np.log2([4, 8, 12, 16]))
        for name, rows in table.groupby("method")
    }
    best = max(heights, key=heights.get)
    assert chosen_of_vectors(saved, with_new, new, allowed) == ["nested", best]
    assert any("chosen as the best, it looks a little better" in note for note in found.notes)
    named, _ = judged(file(), ["plain"])
    assert not any("chosen as the best" in note for note in named.notes)


def test_the_page_has_nothing_of_networks_or_images(study):
    found, with_new = judged(file(), seeds=(0,))
    page.write(found, with_new, Path("mine.md"))
    text = Path("mine.md").read_text()
    for absent in ("image", "train", "network", "1-NN"):
        assert absent not in text.replace("No network is trained", ""), absent
    for heading in ("Differences", "Cost", "What could not be compared", "Conditions"):
        assert f"## {heading}\n" in text
    assert "retrieval recall@20" in text and "of these vectors" in text and "checksum of corpus" in text
    assert "differs on 0 of 12 items" in text and "fitted on the vectors that nested has" in text
    assert Path("mine.png").read_bytes().startswith(b"\x89PNG")


def test_a_map_that_draws_is_run_as_often_as_it_is_said(study):
    text = "def fit(f, l, s, r):\n    return r.standard_normal((16, 16)).astype('f')\n"
    path = file(text + "def transform(fitted, x):\n    return x @ fitted\n")
    assert judged(path)[1].seeds == (0,)
    found, _ = judged(path, ["nested"], seeds=(0, 1))
    assert found.seeds == {"nested": ((0, 1), (0,))}
    runs = [found.new.outcomes[seed]["queries/renormalised"] for seed in (0, 1)]
    assert (runs[0] != runs[1]).any()


# --- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: file(source=None), r"vectors of 2 models, nested, plain: say which .* source: nested\}"),
        (lambda: file(source="fixed_feature"), "unknown source 'fixed_feature'; allowed: nested, plain"),
        (lambda: file(source="nested_axes"), "unknown source 'nested_axes'.*; allowed: nested, plain"),
        (lambda: {"baseline": "mrl"}, "mrl needs labels, which data of collection do not have"),
        (lambda: {"baseline": "svd", "source": "plain"}, "svd needs labels, which data of collection do not"),
        (
            lambda: file("KIND = 'fitted'\nLABEL = 'x'\ndef fit():\n    pass\n"),
            "that does without says LABELS",
        ),
        (
            lambda: copied("plain", lambda x: x[:-1]),
            "corpus.npy has 59 rows, but mine/corpus.jsonl has 60 items",
        ),
        (
            lambda: copied("plain", lambda x: x * np.float16(np.nan)),
            "other/corpus.npy, row 0 .*NaN or infinity",
        ),
        (lambda: copied("plain", splits=("corpus",)), "other has no queries.npy: .* docs/collections.md"),
        (
            lambda: copied("plain", lambda x: x.astype(np.int8)),
            "corpus.npy is int8, but corpus.scale.npy is miss",
        ),
    ],
    ids=["which", "no such", "a map", "trained", "labels", "own", "rows", "nan", "queries", "scale"],
)
def test_what_cannot_be_compared_is_told_before_anything_is_measured(study, given, message):
    with pytest.raises(UserError, match=message):
        judged(given())
    assert not Path(NEW).exists()


def test_ids_in_another_order_and_keys_that_mean_nothing_here(study):
    folder = copied("plain")
    (folder / "queries.ids.txt").write_text("\n".join(f"q{i}" for i in reversed(range(made.QUERIES))))
    with pytest.raises(
        UserError, match="queries.ids.txt, line 1: 'q11', but mine/queries.jsonl, line 1, is 'q0'"
    ):
        judged(folder)
    (folder / "method.yaml").write_text("allow: [constant_columns]\n")
    with pytest.raises(UserError, match="unknown key 'allow'; allowed: cost, label"):
        judged(folder)


def test_columns_and_rows_are_checked_as_on_images(study):
    with pytest.raises(UserError, match="columns 3 of corpus are constant"):
        judged(file(PREFIXES.replace("return x", "return x * (__import__('numpy').arange(16) != 3)")))
    with pytest.raises(UserError, match="must not use statistics of the rows"):
        judged(file(PREFIXES.replace("return x", "return x - x.mean(0)")))


def test_other_vectors_than_those_that_are_frozen_are_refused(study):
    rng = np.random.default_rng(5)
    for split in ("corpus", "queries"):
        x = made.load(Path("mine"), "nested", split)
        made.save(Path("mine"), "nested", split, rng.permuted(x, axis=0))
    embed.main(["--study", STUDY, "--method", "nested"])
    with pytest.raises(UserError, match=r"vectors of nested that are here are not those .* of 12 items"):
        judged(file())


def test_other_judgements_and_another_corpus_are_refused(study):
    judgements = Path("mine/qrels/test.tsv")
    judgements.write_text(judgements.read_text().replace("\t2\n", "\t3\n"))
    build(collection, study.layout.data, **study.source_options)
    for method in ("nested", "plain"):
        embed.main(["--study", STUDY, "--method", method])
    with pytest.raises(UserError, match="nothing of mine can be compared: .*|data of queries differ"):
        judged(file())
    made.write_jsonl(Path("mine/corpus.jsonl"), [f"e{i}" for i in range(made.DOCUMENTS)])
    made.write_qrels(judgements, [("q0", "e0", 1)])
    build(collection, study.layout.data, **study.source_options)
    with pytest.raises(UserError, match="trained on other data: checksum of corpus"):
        judged(file())


def test_a_study_of_vectors_without_a_main_evaluation_is_not_compared_on(study):
    other = Study({**COLLECTION, "tasks": {"two_stage_retrieval": {"methods": ["nested"]}}})
    with pytest.raises(UserError, match="has no judged_retrieval and no knn and no linear among its tasks"):
        own_methods.with_method(other, "mine", file())


# --- labelled vectors -------------------------------------------------------------------------------


def test_labelled_vectors_are_compared_with_their_labels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made.labelled(tmp_path / "mine")
    finish(LABELLED, labelled)
    found, with_new = judged(ROOT / "docs" / "examples" / "whitening.py")  # starts from the only vectors
    assert with_new.methods["mine"].source == "nested"
    assert {"knn", "linear"} <= {*found.differences["task"]}
    found, with_new = judged(copied("nested", splits=("train", "test")), ["nested"])
    assert (found.differences["discordant"] == 0).all()
    assert {"knn", "linear"} <= {*found.differences["task"]}
    page.write(found, with_new, Path("mine.md"))
    assert "1-NN" in Path("mine.md").read_text()
    np.save("other/test.npy", np.load("other/test.npy")[:-1])
    with pytest.raises(UserError, match="test.npy has 39 rows, but mine/test_labels.npy has 40 labels"):
        judged(Path("other"))
