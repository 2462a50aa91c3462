"""The workflow as a user meets it: every study plans, the tiny one runs, an edit reruns its own jobs only."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter

import frozen
import pandas as pd
import pytest
import yaml
from checkout import copied, environment, output_of
from PIL import Image

from analysis import measure, tabulate
from baselines import embed, train
from splits import build
from suite import modules
from suite.contracts import MEASURE, METHOD
from suite.layout import Layout
from suite.modules import ROOT
from suite.study import STUDIES, load_study

TINY = "tests/studies/tiny.yaml"
CONFIG = ["--config", f"study={TINY}"]
FIGURES = "results/figures"
PLAN = ["-n", FIGURES, *CONFIG]

# Several requests in one process: most of the time that a start takes goes into imports. A request is the
# arguments of snakemake, or what files hold from then on: text by path, none where there is to be no file.
SESSION = """
import json, sys
from pathlib import Path
from snakemake.cli import main
for request in json.loads(sys.argv[1]):
    if isinstance(request, dict):
        for path, text in request.items():
            Path(path).unlink() if text is None else Path(path).write_text(text)
        continue
    try:
        main(["--cores", "2", *request])
    except SystemExit as done:
        print(f"\\n\\0{done.code}", file=sys.stderr, flush=True)
"""


def snakemake(folder, *requests):
    """What snakemake says to each request; "failed: " in front where it did."""
    _, output = output_of(["-c", SESSION, json.dumps(requests)], folder)
    found = re.findall(r"(.*?)\n\0(\d)\n", output, re.S)
    assert len(found) == sum(isinstance(request, list) for request in requests), output[-4000:]
    return ["failed: " * (code != "0") + text for text, code in found]


def jobs_of(output):
    """Rules and counts of a job table, targets left out."""
    assert not output.startswith("failed"), output[-4000:]
    table = re.search(r"Job stats:\n(.*?)\n\n", output, re.S)
    if table is None:
        assert "Nothing to be done" in output, output[-2000:]
        return {}
    rows = [line.split() for line in table.group(1).splitlines()[2:]]
    return {name: int(count) for name, count in rows if name not in ("total", FIGURES, "all")}


@pytest.fixture(scope="session")
def copy(tmp_path_factory):
    """A copy of the tracked files and what is new beside them, results left out."""
    return copied(tmp_path_factory.mktemp("suite"))


@pytest.fixture(scope="session")
def finished(copy):
    """The copy after the whole tiny study was run once."""
    (said,) = snakemake(copy, [FIGURES, *CONFIG])
    assert jobs_of(said)["train"] == 4
    return copy


STUDY_NAMES = sorted(path.stem for path in STUDIES.glob("*.yaml"))


@pytest.fixture(scope="session")
def bare(copy):
    """What dry runs in a checkout without results say, by study, and what other requests are told there."""
    shutil.copy(copy / TINY, copy / "my {own} study.yaml")
    requests = {name: ["-n", FIGURES, "--config", f"study={name}"] for name in [*STUDY_NAMES, "glyps"]}
    requests["wrong key"] = ["-n", FIGURES, "--config", "sudy=glyphs"]
    requests["wrong seeds"] = ["-n", FIGURES, "--config", "seeds=[0,one]"]
    requests["a space"] = ["-n", "-p", "results/data/tiny/manifest.json", "--forceall"]
    requests["a space"] += ["--config", "study=my {own} study.yaml"]
    requests["no data"] = [FIGURES, "--config", "study=imagenet_released"]
    tuned = "tuned: {mrl: {learning_rate: 0.2}}\n"
    (copy / "tuned.yaml").write_text((copy / TINY).read_text() + tuned)
    requests["recipes"] = ["-n", "-p", FIGURES, "--config", "study=tuned.yaml", "recipes=[paper,tuned]"]
    requests["lint"] = ["--lint"]
    requests["dag"] = ["--rulegraph", "mermaid-js", "all"]
    return dict(zip(requests, snakemake(copy, *requests.values())))


@pytest.mark.parametrize("name", STUDY_NAMES)
def test_every_study_plans_without_its_data(name, bare):
    plan, study = jobs_of(bare[name]), load_study(name)
    assert plan["build_splits"] == 1
    assert plan["tabulate"] == len(study.tasks) >= 2 and plan["draw"] == len(study.figures) >= 1
    before = [(method, read) for method, measure in study.measured() for read in MEASURE.facts(measure).READS]
    measured = {*study.measured(), *before}  # a measure may start from one that no evaluation asks for
    assert plan["measure"] == sum(len(study.methods[method].seeds) for method, _ in measured)
    trainings = sum(len(study.methods[network.method].seeds) for network in study.networks.values())
    assert plan.get("train", 0) <= trainings


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ("glyps", "did you mean 'glyphs'"),
        ("wrong key", "unknown key 'sudy'"),
        ("wrong seeds", "seeds must be whole numbers, as in 'seeds=[0,1,2]', not ['0', 'one']"),
        ("no data", "Nothing was run or removed: is a disk not mounted?"),
    ],
)
def test_what_is_wrong_is_told_before_any_job(request_, message, bare, copy):
    assert bare[request_].startswith("failed") and message in bare[request_]
    assert not (copy / "results/data/imagenet_released").exists()


def edges(text):
    """Pairs of rules of a mermaid flow chart."""
    names = dict(re.findall(r"(id\d+)\[(\w+)\]", text))
    return {(names[one], names[other]) for one, other in re.findall(r"(id\d+) --> (id\d+)", text)}


def test_the_picture_of_the_dag_is_the_workflows(bare):
    drawn = edges((ROOT / "docs" / "dag.md").read_text())
    assert ("tabulate", "draw") in drawn and drawn == edges(bare["dag"])


def test_both_recipes_are_run_when_they_are_asked_for(bare):
    assert jobs_of(bare["recipes"])["train"] == 5
    assert re.search(r"analysis.tabulate .* --seeds 0 --recipes paper tuned", bare["recipes"])
    assert re.search(r"baselines.train --study tuned.yaml --network mrl_tuned", bare["recipes"])


def test_lint_is_clean_and_a_study_whose_path_has_a_space_and_braces_is_one_argument(bare):
    assert "Congratulations" in bare["lint"]
    assert "splits.build --study 'my {own} study.yaml'" in bare["a space"]


def test_the_whole_study_makes_its_tables_and_figures(finished):
    tables = {path.stem: pd.read_csv(path) for path in (finished / "results/tables/tiny").glob("*.csv")}
    assert {"linear", "knn", "cost"} <= set(tables)
    for name, table in tables.items():
        if "method" in table and "seed" in table:
            keys = ["study", "method", "seed", "dim", "task", "split", "metric", "value", "n"]
            assert list(table.columns[:9]) == keys, name
    linear = tables["linear"].query("metric == 'top1'").set_index(["method", "dim"])["value"]
    assert (linear["control_label"] == 1).all()
    drawn = {path.name for path in (finished / "results/figures/tiny").iterdir()}
    assert {"linear.png", "linear.pdf", "knn.png", "contact_sheet_train.pdf"} <= drawn
    knn = tables["knn"].set_index(["method", "dim"])["trained"]
    assert not knn["mrl", 6] and knn["mrl", 4] and ("fixed_feature", 6) not in knn.index


def test_what_was_killed_or_deleted_is_made_again_alone_and_to_the_same_bytes(finished):
    made = ["results/tables/tiny/knn.csv", "results/figures/tiny/linear.png"]
    before = [(finished / name).read_bytes() for name in made]
    for name in made:
        (finished / name).unlink()
    nowhere = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    run = [sys.executable, "-m", "snakemake", "--cores", "2", made[0], *CONFIG]
    job = subprocess.Popen(run, cwd=finished, env=environment(finished), **nowhere)
    started = finished / ".snakemake/incomplete"
    while not (started.is_dir() and any(started.iterdir())):
        assert job.poll() is None, "ended before it could be killed"
        time.sleep(0.05)
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    (finished / made[0]).write_text("half a table")
    again = [*made, *CONFIG]
    locked, _, done = snakemake(finished, again, ["--unlock", *CONFIG], again)
    assert locked.startswith("failed") and "--unlock" in locked
    assert jobs_of(done) == {"tabulate": 1, "draw": 1}
    assert [(finished / name).read_bytes() for name in made] == before


def test_the_page_of_a_study_is_part_of_all_and_made_again_with_its_templates(finished):
    page, style = "results/report/tiny.html", finished / "analysis/report/page.css"
    before, ask = style.read_text(), ["-n", *CONFIG]
    edit, undo = {str(style): f"{before}/* an edit */\n"}, {str(style): before}
    said = snakemake(finished, ask, [page, *CONFIG], ask, edit, ask, undo)
    assert list(map(jobs_of, said)) == [{"page": 1}, {"page": 1}, {}, {"page": 1}]
    text, index = ((finished / path).read_text() for path in (page, "results/report/index.html"))
    assert 'id="figure-linear"' in text and 'id="table-knn"' in text and len(text) < 10**7
    assert '<a href="tiny.html">tiny</a>' in index


# Per file that is edited: the rules that run again, with how many jobs where it is not all of them.
EDITS = {
    "analysis/evaluations/knn.py": {"tabulate": 1, "draw": 1},
    "analysis/statistics.py": {"tabulate": 4, "draw": 4},
    "analysis/figures/knn.py": {"draw": 1},
    "analysis/search/__init__.py": {"measure": 6, "tabulate": 2, "draw": 1},
    "baselines/fitting.py": {"embed": 5, "measure": 16, "tabulate": 4, "draw": 2},
}
FITTING = "baselines/fitting.py"


@pytest.fixture(scope="session")
def plans(finished):
    """What dry runs of the finished study say: however it is spelt, of everything, and after an edit."""
    files = {path: (finished / path).read_text() for path in (TINY, FITTING)}
    spelt = [f"./{TINY}", f"config/../{TINY}", f"{finished}/{TINY}"]
    requests = {name: [["-n", FIGURES, "--config", f"study={name}"]] for name in [TINY, *spelt]}
    requests["everything"] = [["-n", "--forceall", FIGURES, *CONFIG]]
    for name, path, old, new in (
        ("code", FITTING, '"""\n', '"""\n# an edit\n'),
        ("size", TINY, "interpolated: [6]", "interpolated: [5, 6]"),
        ("width", TINY, "dim: 8,", "dim: 9,"),
    ):
        assert old in files[path]
        requests[name] = [{path: files[path].replace(old, new, 1)}, PLAN, files]
    return dict(zip(requests, snakemake(finished, *(each for some in requests.values() for each in some))))


def test_a_repeat_has_nothing_to_do_however_the_study_is_spelt(plans):
    spelt = [text for name, text in plans.items() if name.endswith(TINY)]
    assert len(spelt) == 4
    for text in spelt:
        assert jobs_of(text) == {} and "Using workflow specific profile profiles/default" in text


@pytest.fixture(scope="session")
def jobs(plans):
    """(rule, inputs, outputs, wildcards) of every job of the tiny study, as a dry run lists them."""
    found = []
    for rule, block in re.findall(r"^(?:local)?rule (\S+):\n((?:    .*\n)+)", plans["everything"], re.M):
        said = dict(line.strip().split(": ", 1) for line in block.splitlines())
        files = [set(said.get(kind, "").split(", ")) for kind in ("input", "output")]
        found.append((rule, *files, said.get("wildcards", "")))
    return [job for job in found if job[0] != FIGURES]


def again(jobs, file):
    """Jobs that are made with a file, and those made from what they make."""
    found, changed = [], {file}
    while more := [job for job in jobs if job not in found and job[1] & changed]:
        found += more
        changed |= {name for job in more for name in job[2]}
    return found


@pytest.mark.parametrize("file", EDITS)
def test_an_edit_runs_what_is_made_with_it_and_nothing_before(jobs, plans, file):
    assert Counter(rule for rule, *_ in again(jobs, file)) == EDITS[file]
    if file == FITTING:  # edited in earnest
        assert jobs_of(plans["code"]) == EDITS[file]


def test_editing_how_images_are_drawn_draws_them_and_editing_a_method_retrains_that_method_alone(jobs):
    assert "build_splits" in {rule for rule, *_ in again(jobs, "splits/glyphs/rendering.py")}
    trained = {which for rule, _, _, which in again(jobs, "baselines/fixed_feature.py") if rule == "train"}
    assert trained == {"network=fixed_feature_4, seed=0", "network=fixed_feature_8, seed=0"}


def test_another_size_measures_neighbours_and_scores_what_reads_them_and_another_width_embeds_controls(plans):
    plan = jobs_of(plans["size"])
    assert set(plan) == {"measure", "tabulate", "draw"} and plan["tabulate"] == 2
    assert re.search(r"rule embed:(?:\n .*)*wildcards: method=control_label", plans["width"])


def test_code_of_learning_is_all_that_is_imported_and_nothing_of_analysis():
    for method in METHOD.names():
        file = f"baselines/{method}.py"
        training = modules.closure("baselines/train.py", file)
        embedding = modules.closure("baselines/embed.py", file)
        learning = {f"baselines/training/{name}.py" for name in ("loading", "distributed", "networks")}
        assert {file, *learning} <= {*training}
        assert {file, "baselines/representation.py", "baselines/probe.py"} <= {*embedding}
        assert not [name for name in training + embedding if name.startswith(("analysis/", "suite/"))]
    glyphs = modules.closure("splits/build.py", "splits/sources/glyphs.py")
    drawing = {"glyphs/typefaces.py", "glyphs/reference_network.py", "images/pictures.py"}
    assert {f"splits/{name}" for name in drawing} <= {*glyphs}


def test_imports_inside_functions_and_of_imports_count(monkeypatch, tmp_path):
    files = {
        "analysis/one.py": "def f():\n    from analysis import two\n",
        "analysis/two.py": "import analysis.deep.three, numpy\nfrom suite import files\n",
        "analysis/deep/three.py": "from splits import four\n",
        "splits/four/__init__.py": "from analysis.one import f\n",
        "splits/__init__.py": "",
        "suite/files.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(modules, "ROOT", tmp_path)
    every = ["analysis/deep/three.py", "analysis/one.py", "analysis/two.py", "splits/four/__init__.py"]
    assert modules.closure("analysis/one.py") == every


def test_another_image_of_ones_own_is_seen(copy):
    for kind in ("cat", "dog"):
        for number in range(3):
            path = copy / f"mine/train/{kind}/{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (4, 4), 60 * number + len(kind) + ord(kind[0])).save(path)
    tiny = yaml.safe_load((copy / TINY).read_text())
    data = {"source": "image_folder", "root": "mine", "size": 4, "channels": 1}
    (copy / "mine.yaml").write_text(yaml.safe_dump({**tiny, "name": "mine", "data": data}))
    make = ["results/data/mine/manifest.json", "--config", "study=mine.yaml"]
    another, classes = "mine/train/cat/3.png", {"mine/superclasses.csv": "class,superclass\ncat,pet\n"}
    plan, instead = ["-n", *make], {another: None} | classes
    made, *plans = snakemake(copy, make, plan, {another: "one"}, plan, instead, plan)
    assert "decoding" in made  # progress, though it goes through a pipe
    assert list(map(jobs_of, plans)) == [{}, {"build_splits": 1}, {"build_splits": 1}]
    (copy / "mine/superclasses.csv").unlink()
    (copy / "mine").rename(copy / "unmounted")
    (said,) = snakemake(copy, make)
    assert said.startswith("failed") and "no folder mine/train" in said and "not mounted?" in said
    (copy / "unmounted").rename(copy / "mine")
    assert (copy / make[0]).exists()
    assert list(map(jobs_of, snakemake(copy, plan))) == [{}]


def test_the_same_seed_gives_the_same_tables(tmp_path, monkeypatch):
    study = str(ROOT / TINY)
    fewer = {"methods": {"mrl": None}, "tasks": {"linear": None, "knn": None}, "figures": []}
    alone = load_study(study, **fewer)
    made = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        monkeypatch.chdir(folder)
        build.main(["--study", study])
        train.main(["--study", study, "--network", "mrl", "--device", "cpu"])
        embed.main(["--study", study, "--method", "mrl", "--device", "cpu"])
        for name in ("predict", "probe", "neighbours"):
            given = ["--method", "mrl", "--measure", name, "--device", "cpu"]
            measure.main(["--study", study, *given])
        made.append([tabulate.tabulate(alone, task, Layout("tiny")).to_csv() for task in alone.tasks])
    assert made[0] == made[1]


# --- a new method against saved baselines ---------------------------------------------------------

NEEDED = {"build_splits": 1, "add_method": 1, "embed": 1, "measure": 4, "compare": 1}
WHITENING = "method=docs/examples/whitening.py"
# What is asked for, and what is run for it: never a baseline.
NEW_METHODS = {
    WHITENING: NEEDED | {"embed_saved": 1},
    "method={baseline: mrl, loss_weights: [2, 1, 1, 1]}": NEEDED | {"train": 1},
    "method={baseline: fixed_feature, label: Mine}": NEEDED | {"train": 4},
    "method=embeddings": NEEDED,
}
# The same of a study of vectors, none of which is there; those of a map's source are measured again.
OF_VECTORS = {
    "method={baseline: docs/examples/whitening.py, source: wordllama}": NEEDED | {"embed": 2, "measure": 2},
    "method=embeddings": NEEDED | {"measure": 1},
}
WRONG_REQUESTS = {
    (): "say which one, --config method=mine.py",
    ("method=mine.py",): "no method at mine.py",
    ("method={baseline: mlr}",): "did you mean 'mrl'",
    (WHITENING, "against=mlr"): "unknown saved method 'mlr'",
}


@pytest.fixture(scope="session")
def compared(copy, frozen_study):
    """What dry runs of a page say, by request, in a checkout with a frozen study and nothing else of it."""
    saved = copy / "results/saved/synthetic"
    shutil.copytree(frozen_study[2] / "results/saved/synthetic", saved)
    shutil.copy(frozen_study[2] / frozen.STUDY, copy / frozen.STUDY)
    (copy / "embeddings").mkdir()
    (copy / "embeddings/train.npy").touch()
    requests = [*((config,) for config in NEW_METHODS), *WRONG_REQUESTS]
    page = ["-n", "results/compare/synthetic/new.md", "--config", f"study={frozen.STUDY}"]
    other = ["-n", "results/compare/tiny/new.md", *CONFIG, WHITENING]
    taken = ["-n", "results/compare/synthetic/mrl.md", *page[2:], WHITENING]
    of_vectors = ["results/compare/scifact/new.md", "--config", "study=scifact"]
    vectors = [["-n", *of_vectors, request] for request in OF_VECTORS] + [[*of_vectors, "method=embeddings"]]
    texts = snakemake(copy, *([*page, *request] for request in requests), other, taken, *vectors)
    shutil.rmtree(saved)
    shutil.rmtree(copy / "embeddings")
    of_vectors = [("scifact", request) for request in OF_VECTORS]
    return dict(zip([*requests, "not saved", "taken", *of_vectors, "no vectors"], texts))


@pytest.mark.parametrize("config", NEW_METHODS)
def test_a_bare_clone_runs_the_new_method_and_no_baseline(config, compared):
    assert jobs_of(compared[config,]) == NEW_METHODS[config]


@pytest.mark.parametrize("config", OF_VECTORS)
def test_a_map_of_vectors_and_a_folder_of_others_run_no_baseline_either(config, compared):
    assert jobs_of(compared["scifact", config]) == OF_VECTORS[config]


def test_vectors_that_are_not_there_are_said_before_any_job(compared):
    said = compared["no vectors"]
    assert said.startswith("failed") and "Job stats" not in said
    assert "no folder data/collections/scifact" in said and "see docs/collections.md" in said


@pytest.mark.parametrize("config", WRONG_REQUESTS)
def test_a_wrong_request_fails_before_any_job(config, compared):
    assert compared[config].startswith("failed") and WRONG_REQUESTS[config] in compared[config]


def test_a_name_that_is_taken_and_baselines_that_were_not_saved_are_told_apart(compared):
    assert "mrl is a method of synthetic already" in compared["taken"]
    assert "no saved baselines in results/saved/tiny" in compared["not saved"]
    assert "snakemake --cores all save_baselines" in compared["not saved"]


def test_a_finished_study_is_frozen_and_a_new_method_judged_against_it(finished):
    mine, whitening = "baseline: docs/examples/whitening.py\nlabel: Mine\n", "docs/examples/whitening.py"
    (finished / "mine.yaml").write_text(mine)
    code = (finished / whitening).read_text()
    page = finished / "results/compare/tiny/mine.md"
    request = [str(page.relative_to(finished)), *CONFIG, "method=mine.yaml"]
    edited, relabelled = {whitening: f"{code}# an edit\n"}, {"mine.yaml": mine.replace("Mine", "Ours")}
    _, done, changed, same, renamed = snakemake(
        finished,
        ["save_baselines", *CONFIG],
        request,
        edited,
        ["-n", *request],
        PLAN,
        {whitening: code} | relabelled,
        ["-n", *request],
    )
    assert jobs_of(done) == {"add_method": 1, "embed_saved": 1, "embed": 1, "measure": 3, "compare": 1}
    assert "Mine" in page.read_text() and page.with_suffix(".png").exists()
    again = {"add_method": 1, "embed": 1, "measure": 3, "compare": 1}
    assert jobs_of(changed) == jobs_of(renamed) == again and jobs_of(same) == {}
    shutil.rmtree(finished / "results/saved/tiny")
