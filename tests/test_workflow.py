"""The workflow as a user meets it: every study plans, the tiny one runs, an edit reruns its own jobs only."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from suite.study import STUDIES

ROOT = Path(__file__).resolve().parent.parent
TINY = "tests/studies/tiny.yaml"
FIGURES = "results/figures"


def snakemake(*arguments, folder=ROOT, ok=True):
    """Run snakemake; its output, both streams."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
        cwd=folder,
        env=environment,
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


def edit(path, text="\n# an edit\n"):
    path.write_text(path.read_text() + text)


@pytest.mark.parametrize("study", sorted(path.stem for path in STUDIES.glob("*.yaml")))
def test_every_study_plans_without_its_data(study, copy):
    plan = planned(snakemake("-n", FIGURES, "--config", f"study={study}", folder=copy))
    assert plan["tabulate"] >= 3 and plan["draw"] >= 2


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


def test_a_repeat_has_nothing_to_do(finished):
    assert dry(finished) == {}


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


def test_editing_an_evaluation_scores_again_and_trains_nothing(finished):
    path = finished / "analysis/knn.py"
    original = path.read_text()
    edit(path)
    try:
        assert set(dry(finished)) == {"tabulate", "draw"}
    finally:
        path.write_text(original)


def test_another_evaluated_size_trains_and_embeds_nothing(finished):
    path = finished / TINY
    original = path.read_text()
    path.write_text(original.replace("interpolated: [6]", "interpolated: [5, 6]"))
    try:
        assert set(dry(finished)) <= {"measure", "tabulate", "draw"}
    finally:
        path.write_text(original)


def test_editing_a_method_retrains_that_method_alone(finished):
    path = finished / "baselines/fixed_feature.py"
    original = path.read_text()
    edit(path)
    try:
        plan = snakemake("-n", FIGURES, "--config", f"study={TINY}", folder=finished)
        trained = set(re.findall(r"wildcards: network=(\w+)", plan))
        assert trained == {"fixed_feature_4", "fixed_feature_8"}
    finally:
        path.write_text(original)
