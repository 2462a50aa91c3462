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
from contextlib import contextmanager
from pathlib import Path

import frozen
import pandas as pd
import pytest
import yaml
from PIL import Image

from analysis import measure, tabulate
from baselines import embed, train
from splits import build
from suite import modules
from suite.contracts import METHOD
from suite.layout import Layout
from suite.study import STUDIES, load_study

ROOT = Path(__file__).resolve().parent.parent
TINY = "tests/studies/tiny.yaml"
FIGURES = "results/figures"


# Dry runs of several requests in one process: most of the time that a start takes goes into imports.
PLANNER = """
import json, sys
from snakemake.cli import main
for request in json.loads(sys.argv[1]):
    try:
        main(["-n", *request])
    except SystemExit as done:
        print(f"\\n\\0{done.code}", file=sys.stderr, flush=True)
"""
COMMAND = [sys.executable, "-m", "snakemake", "--cores", "2"]
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def output_of(command, folder):
    """(exit code, what it says) of a command, both streams."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def snakemake(*arguments, folder=ROOT, ok=True):
    """Run snakemake; what it says."""
    code, output = output_of([*COMMAND, *arguments], folder)
    assert (code == 0) == ok, output[-4000:]
    return output


def plans(folder, *requests):
    """What snakemake says in a dry run of each request (arguments); "failed: " in front where it did."""
    _, output = output_of([sys.executable, "-c", PLANNER, json.dumps(requests)], folder)
    found = re.findall(r"(.*?)\n\0(\d)\n", output, re.S)
    assert len(found) == len(requests), output[-4000:]
    return ["failed: " * (code != "0") + text for text, code in found]


def planned(output):
    """Rules and counts of a dry run's job table, targets left out."""
    table = re.search(r"Job stats:\n(.*?)\n\n", output, re.S)
    if table is None:
        assert "Nothing to be done" in output, output[-2000:]
        return {}
    rows = [line.split() for line in table.group(1).splitlines()[2:]]
    return {name: int(count) for name, count in rows if name not in ("total", FIGURES, "all")}


@pytest.fixture(scope="session")
def copy(tmp_path_factory):
    """A copy of the tracked files and what is new beside them, results left out."""
    folder = tmp_path_factory.mktemp("suite")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    assert listed.returncode == 0, "the workflow tests copy what git lists; run them in a git checkout"
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def finished(copy):
    """The copy after the whole tiny study was run once."""
    snakemake(FIGURES, "--config", f"study={TINY}", folder=copy)
    return copy


def dry(folder):
    return planned(snakemake("-n", FIGURES, "--config", f"study={TINY}", folder=folder))


@contextmanager
def edited(path, old="", new=""):
    """A file with something put in place of `old`, or a comment at its end; afterwards what it was."""
    original = path.read_text()
    assert old in original
    path.write_text(original.replace(old, new) if old else original + "\n# an edit\n")
    try:
        yield
    finally:
        path.write_text(original)


STUDY_NAMES = sorted(path.stem for path in STUDIES.glob("*.yaml"))


@pytest.fixture(scope="session")
def bare(copy):
    """What dry runs in a checkout without results say, by what `--config` was."""
    configs = [f"study={name}" for name in STUDY_NAMES] + ["study=glyps", "sudy=glyphs"]
    return dict(zip(configs, plans(copy, *([FIGURES, "--config", config] for config in configs))))


@pytest.mark.parametrize("name", STUDY_NAMES)
def test_every_study_plans_without_its_data(name, bare):
    plan, study = planned(bare[f"study={name}"]), load_study(name)
    assert plan["build_splits"] == 1
    assert plan["tabulate"] == len(study.tasks) >= 3 and plan["draw"] == len(study.figures) >= 2
    assert plan["measure"] == len(study.measured()) * len(study.seeds)
    assert plan["train"] <= len(study.networks) * len(study.seeds)


@pytest.mark.parametrize(
    ("config", "message"),
    [("study=glyps", "did you mean 'glyphs'"), ("sudy=glyphs", "unknown key 'sudy'")],
)
def test_wrong_configuration_fails_before_any_job(config, message, bare):
    assert bare[config].startswith("failed") and message in bare[config]


def test_missing_weights_are_named_before_anything_starts(copy):
    said = snakemake(FIGURES, "--config", "study=imagenet_released", folder=copy, ok=False)
    assert "data/released/r50_mrl" in said and "does not exist" in said
    assert not (copy / "results/data").exists()


def test_lint_is_clean(copy):
    assert "Congratulations" in snakemake("--lint", folder=copy)


def test_the_whole_study_makes_its_tables_and_figures(finished):
    tables = {path.stem: pd.read_csv(path) for path in (finished / "results/tables/tiny").glob("*.csv")}
    assert {"linear", "knn", "cost"} <= set(tables)
    for name, table in tables.items():
        if "method" in table and "seed" in table:
            assert list(table.columns[:9]) == [
                "study", "method", "seed", "dim", "task", "split", "metric", "value", "n",
            ], name  # fmt: skip
    linear = tables["linear"].query("metric == 'top1'").set_index(["method", "dim"])["value"]
    assert (linear["control_label"] == 1).all()
    drawn = {path.name for path in (finished / "results/figures/tiny").iterdir()}
    assert {"linear.png", "linear.pdf", "knn.png", "contact_sheet_train.pdf"} <= drawn
    knn = tables["knn"].set_index(["method", "dim"])["trained"]
    assert not knn["mrl", 6] and knn["mrl", 4] and ("fixed_feature", 6) not in knn.index


def test_a_repeat_has_nothing_to_do_however_the_study_is_spelt(finished):
    spellings = [TINY, f"./{TINY}", f"config/../{TINY}", f"{finished}/{TINY}"]
    for text in plans(finished, *([FIGURES, "--config", f"study={study}"] for study in spellings)):
        assert planned(text) == {} and "Using workflow specific profile profiles/default" in text


def test_a_study_whose_path_has_a_space_is_one_argument(copy):
    shutil.copy(copy / TINY, copy / "my study.yaml")
    target = "results/data/tiny/manifest.json"
    said = snakemake("-n", "-p", target, "--forceall", "--config", "study=my study.yaml", folder=copy)
    assert "splits.build --study 'my study.yaml'" in said


def test_what_was_killed_is_done_again_once_unlocked(finished):
    table = finished / "results/tables/tiny/knn.csv"
    target, before = str(table.relative_to(finished)), table.read_bytes()
    table.unlink()
    run = [*COMMAND, target, "--config", f"study={TINY}"]
    job = subprocess.Popen(
        run,
        cwd=finished,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    started = finished / ".snakemake/incomplete"
    while not (started.is_dir() and any(started.iterdir())):
        assert job.poll() is None, "ended before it could be killed"
        time.sleep(0.05)
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    table.write_text("half a table")
    assert "--unlock" in snakemake(target, "--config", f"study={TINY}", folder=finished, ok=False)
    snakemake("--unlock", "--config", f"study={TINY}", folder=finished)
    snakemake(target, "--config", f"study={TINY}", folder=finished)
    assert table.read_bytes() == before


@pytest.mark.parametrize(
    ("made", "rule"), [("tables/tiny/knn.csv", "tabulate"), ("figures/tiny/linear.png", "draw")]
)
def test_what_was_deleted_is_made_again_alone_and_to_the_same_bytes(finished, made, rule):
    path = finished / "results" / made
    before = path.read_bytes()
    path.unlink()
    done = snakemake(str(path.relative_to(finished)), "--config", f"study={TINY}", folder=finished)
    assert planned(done) == {rule: 1}
    assert path.read_bytes() == before


# Per file that is edited: the rules that run again, with how many jobs where it is not all of them.
EDITS = {
    "analysis/evaluations/knn.py": {"tabulate": 1, "draw": 2},
    "analysis/statistics.py": {"tabulate": 4, "draw": 4},
    "analysis/figures/knn.py": {"draw": 1},
    "analysis/search/__init__.py": {"measure": 7, "tabulate": 2, "draw": 2},
    "baselines/fitting.py": {"embed": 6, "measure": 13, "tabulate": 4, "draw": 4},
}


@pytest.fixture(scope="session")
def jobs(finished):
    """(rule, inputs, outputs, wildcards) of every job of the tiny study, as a dry run lists them."""
    text = snakemake("-n", "--forceall", FIGURES, "--config", f"study={TINY}", folder=finished)
    found = []
    for rule, block in re.findall(r"^(?:local)?rule (\S+):\n((?:    .*\n)+)", text, re.M):
        listed = dict(line.strip().split(": ", 1) for line in block.splitlines())
        files = [set(listed.get(kind, "").split(", ")) for kind in ("input", "output")]
        found.append((rule, *files, listed.get("wildcards", "")))
    return [job for job in found if job[0] != FIGURES]


def again(jobs, file):
    """Jobs that are made with a file, and those made from what they make."""
    found, changed = [], {file}
    while more := [job for job in jobs if job not in found and job[1] & changed]:
        found += more
        changed |= {name for job in more for name in job[2]}
    return found


def counts(jobs):
    return dict(Counter(rule for rule, *_ in jobs))


def test_an_edit_runs_what_lists_the_file_and_what_is_made_from_it(finished, jobs):
    file = "baselines/fitting.py"
    with edited(finished / file):
        assert dry(finished) == counts(again(jobs, file))


@pytest.mark.parametrize("file", EDITS)
def test_an_edit_runs_what_is_made_with_it_and_nothing_before(jobs, file):
    assert counts(again(jobs, file)) == EDITS[file]


def test_editing_how_images_are_drawn_draws_them_again(jobs):
    assert counts(again(jobs, "splits/glyphs/rendering.py"))["build_splits"] == 1


def test_editing_a_method_retrains_that_method_alone(jobs):
    trained = {which for rule, _, _, which in again(jobs, "baselines/fixed_feature.py") if rule == "train"}
    assert trained == {"network=fixed_feature_4, seed=0", "network=fixed_feature_8, seed=0"}


def test_another_evaluated_size_measures_neighbours_and_scores_what_reads_them(finished):
    with edited(finished / TINY, "interpolated: [6]", "interpolated: [5, 6]"):
        plan = dry(finished)
    assert set(plan) == {"measure", "tabulate", "draw"} and plan["tabulate"] == 2


def test_another_width_embeds_the_controls_too(finished):
    with edited(finished / TINY, "dim: 8,", "dim: 9,"):
        plan = snakemake("-n", FIGURES, "--config", f"study={TINY}", folder=finished)
    assert re.search(r"rule embed:(?:\n .*)*wildcards: method=control_label", plan)


def test_code_of_learning_is_all_that_is_imported_and_nothing_of_analysis():
    for method in METHOD.names():
        file = f"baselines/{method}.py"
        training = modules.closure("baselines/train.py", file)
        embedding = modules.closure("baselines/embed.py", file)
        assert {
            file,
            "baselines/training/loading.py",
            "baselines/training/distributed.py",
            "baselines/training/networks.py",
        } <= {*training}
        assert {file, "baselines/representation.py", "baselines/probe.py"} <= {*embedding}
        assert not [name for name in training + embedding if name.startswith(("analysis/", "suite/"))]
    glyphs = modules.closure("splits/build.py", "splits/sources/glyphs.py")
    assert {
        "splits/glyphs/typefaces.py",
        "splits/glyphs/reference_network.py",
        "splits/images/pictures.py",
    } <= {*glyphs}


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
    arguments = ("results/data/mine/manifest.json", "--config", "study=mine.yaml")
    assert "decoding" in snakemake(*arguments, folder=copy)  # progress, though it goes through a pipe
    assert planned(snakemake("-n", *arguments, folder=copy)) == {}
    Image.new("L", (4, 4), 250).save(copy / "mine/train/cat/3.png")
    assert planned(snakemake("-n", *arguments, folder=copy)) == {"build_splits": 1}
    (copy / "mine/train/cat/3.png").unlink()
    (copy / "mine/superclasses.csv").write_text("class,superclass\ncat,pet\n")
    assert planned(snakemake("-n", *arguments, folder=copy)) == {"build_splits": 1}


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
        for name in ("predict", "neighbours"):
            given = ["--method", "mrl", "--measure", name, "--device", "cpu"]
            measure.main(["--study", study, *given])
        made.append([tabulate.tabulate(alone, task, Layout("tiny")).to_csv() for task in alone.tasks])
    assert made[0] == made[1]


# --- a new method against saved baselines ---------------------------------------------------------

NEEDED = {"build_splits": 1, "add_method": 1, "embed": 1, "measure": 3, "compare": 1}
WHITENING = "method=docs/examples/whitening.py"
# What is asked for, and what is run for it: never a baseline.
NEW_METHODS = {
    WHITENING: NEEDED | {"embed_saved": 1},
    "method={baseline: mrl, loss_weights: [2, 1, 1, 1]}": NEEDED | {"train": 1},
    "method={baseline: fixed_feature, label: Mine}": NEEDED | {"train": 4},
    "method=embeddings": NEEDED,
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
    page = ["results/compare/synthetic/new.md", "--config", f"study={frozen.STUDY}"]
    other = ["results/compare/tiny/new.md", "--config", f"study={TINY}", WHITENING]
    taken = ["results/compare/synthetic/mrl.md", *page[1:], WHITENING]
    texts = plans(copy, *([*page, *request] for request in requests), other, taken)
    shutil.rmtree(saved)
    shutil.rmtree(copy / "embeddings")
    return dict(zip([*requests, "not saved", "taken"], texts))


@pytest.mark.parametrize("config", NEW_METHODS)
def test_a_bare_clone_runs_the_new_method_and_no_baseline(config, compared):
    assert planned(compared[config,]) == NEW_METHODS[config]


@pytest.mark.parametrize("config", WRONG_REQUESTS)
def test_a_wrong_request_fails_before_any_job(config, compared):
    assert compared[config].startswith("failed") and WRONG_REQUESTS[config] in compared[config]


def test_a_name_that_is_taken_and_baselines_that_were_not_saved_are_told_apart(compared):
    assert "mrl is a method of synthetic already" in compared["taken"]
    assert "no saved baselines in results/saved/tiny" in compared["not saved"]
    assert "snakemake --cores all save_baselines" in compared["not saved"]


def test_a_finished_study_is_frozen_and_a_new_method_judged_against_it(finished):
    config = ["--config", f"study={TINY}"]
    snakemake("save_baselines", *config, folder=finished)
    (finished / "mine.yaml").write_text("baseline: docs/examples/whitening.py\nlabel: Mine\n")
    page = finished / "results/compare/tiny/mine.md"
    request = [str(page.relative_to(finished)), *config, "method=mine.yaml"]
    done = planned(snakemake(*request, folder=finished))
    assert done == {"add_method": 1, "embed_saved": 1, "embed": 1, "measure": 2, "compare": 1}
    assert "Mine" in page.read_text() and page.with_suffix(".png").exists()
    for change in ((finished / "docs/examples/whitening.py",), (finished / "mine.yaml", "Mine", "Ours")):
        with edited(*change):
            changed, same = plans(finished, request, [FIGURES, *config])
        assert planned(changed) == {"add_method": 1, "embed": 1, "measure": 2, "compare": 1}
        assert planned(same) == {}
    shutil.rmtree(finished / "results/saved/tiny")
