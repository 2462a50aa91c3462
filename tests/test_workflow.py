"""The workflow as a user meets it: every study plans, the tiny one runs, an edit reruns its own jobs only."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

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


COMMAND = [sys.executable, "-m", "snakemake", "--cores", "2"]
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def snakemake(*arguments, folder=ROOT, ok=True):
    """Run snakemake; its output, both streams."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == ok, done.stdout[-4000:]
    return done.stdout


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


def dry(folder, *arguments):
    return planned(snakemake("-n", *(arguments or (FIGURES,)), "--config", f"study={TINY}", folder=folder))


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


@pytest.mark.parametrize("study", sorted(path.stem for path in STUDIES.glob("*.yaml")))
def test_every_study_plans_without_its_data(study, copy):
    plan = planned(snakemake("-n", FIGURES, "--config", f"study={study}", folder=copy))
    assert plan["tabulate"] >= 3 and plan["draw"] >= 2


def test_missing_weights_are_named_before_anything_starts(copy):
    said = snakemake(FIGURES, "--config", "study=imagenet_released", folder=copy, ok=False)
    assert "data/released/r50_mrl" in said and "does not exist" in said
    assert not (copy / "results/data").exists()


def test_lint_is_clean(copy):
    assert "Congratulations" in snakemake("--lint", folder=copy)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--config", "study=glyps"), "did you mean 'glyphs'"),
        (("--config", "sudy=glyphs"), "unknown key 'sudy'"),
    ],
)
def test_wrong_configuration_fails_before_any_job(arguments, message, copy):
    assert message in snakemake("-n", FIGURES, *arguments, folder=copy, ok=False)


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


def test_a_repeat_has_nothing_to_do_and_reads_the_default_profile(finished):
    said = snakemake("-n", FIGURES, "--config", f"study={TINY}", folder=finished)
    assert planned(said) == {}
    assert "Using workflow specific profile profiles/default" in said


@pytest.mark.parametrize("spelling", [f"./{TINY}", f"config/../{TINY}", "{folder}/" + TINY])
def test_another_spelling_of_the_study_has_nothing_to_do(finished, spelling):
    study = spelling.format(folder=finished)
    assert planned(snakemake("-n", FIGURES, "--config", f"study={study}", folder=finished)) == {}


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


def test_a_deleted_table_is_made_again_alone_and_to_the_same_bytes(finished):
    table = finished / "results/tables/tiny/knn.csv"
    before = table.read_bytes()
    table.unlink()
    assert dry(finished, str(table.relative_to(finished))) == {"tabulate": 1}
    snakemake(str(table.relative_to(finished)), "--config", f"study={TINY}", folder=finished)
    assert table.read_bytes() == before


def test_a_deleted_figure_is_drawn_again_alone(finished):
    figure = finished / "results/figures/tiny/linear.png"
    before = figure.read_bytes()
    figure.unlink()
    assert dry(finished) == {"draw": 1}
    snakemake(FIGURES, "--config", f"study={TINY}", folder=finished)
    assert figure.read_bytes() == before


# Per file that is edited: the rules that run again, with how many jobs where it is not all of them.
EDITS = {
    "analysis/evaluations/knn.py": {"tabulate": 1, "draw": 2},
    "analysis/statistics.py": {"tabulate": 4, "draw": 4},
    "analysis/figures/knn.py": {"draw": 1},
    "analysis/search/__init__.py": {"measure": 7, "tabulate": 2, "draw": 2},
    "baselines/fitting.py": {"embed": 6, "measure": 13, "tabulate": 4, "draw": 4},
}


@pytest.mark.parametrize("file", EDITS)
def test_an_edit_runs_what_is_made_with_it_and_nothing_before(finished, file):
    with edited(finished / file):
        assert dry(finished) == EDITS[file]


def test_editing_how_images_are_drawn_draws_them_again(finished):
    with edited(finished / "splits/glyphs/rendering.py"):
        assert dry(finished)["build_splits"] == 1


def test_another_evaluated_size_measures_neighbours_and_scores_what_reads_them(finished):
    with edited(finished / TINY, "interpolated: [6]", "interpolated: [5, 6]"):
        plan = dry(finished)
    assert set(plan) == {"measure", "tabulate", "draw"} and plan["tabulate"] == 2


def test_another_width_embeds_the_controls_too(finished):
    with edited(finished / TINY, "dim: 8,", "dim: 9,"):
        plan = snakemake("-n", FIGURES, "--config", f"study={TINY}", folder=finished)
    assert re.search(r"rule embed:(?:\n .*)*wildcards: method=control_label", plan)


def test_editing_a_method_retrains_that_method_alone(finished):
    with edited(finished / "baselines/fixed_feature.py"):
        plan = snakemake("-n", FIGURES, "--config", f"study={TINY}", folder=finished)
    trained = set(re.findall(r"wildcards: network=(\w+)", plan))
    assert trained == {"fixed_feature_4", "fixed_feature_8"}


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
