"""What a result was made with, and the device it was asked for."""

import json
import os
import subprocess

import pytest
import torch

from suite import cli
from suite import provenance as module
from suite.errors import UserError
from suite.machine import cores
from suite.provenance import LIBRARIES, git_commit, provenance


def test_provenance_is_json_with_the_libraries_and_the_conditions_given():
    found = provenance(seed=3, threads=2)
    assert json.loads(json.dumps(found)) == found
    assert (found["seed"], found["threads"]) == (3, 2)
    assert set(found["libraries"]) == set(LIBRARIES)
    assert torch.__version__.startswith(found["libraries"]["torch"])
    assert found["date"].endswith("+00:00") and found["cores"] >= 1


def git(folder, *words):
    who = ["-c", "user.name=x", "-c", "user.email=x"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


def test_a_commit_is_marked_when_tracked_files_differ_from_it(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_commit() == "unknown"
    git(tmp_path, "init")
    (tmp_path / "a.py").write_text("1")
    git(tmp_path, "add", "a.py")
    git(tmp_path, "commit", "-m", "a")
    git(tmp_path, "tag", "v1")  # a tag is no hash
    clean = git_commit()
    assert len(clean) == 12 and int(clean, 16) >= 0
    (tmp_path / "new.py").write_text("untracked files do not count")
    assert git_commit() == clean
    (tmp_path / "a.py").write_text("2")
    assert git_commit() == clean + "+"
    monkeypatch.setenv("PATH", "")
    assert git_commit() == "unknown"


@pytest.mark.parametrize("there", [True, False])
def test_auto_takes_a_gpu_where_there_is_one_and_what_was_asked_for_is_kept(there, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2 * there)
    assert cli.device("auto") == ("cuda" if there else "cpu") and cli.device("cpu") == "cpu"
    if there:
        assert cli.device("cuda:1") == "cuda:1"
        with pytest.raises(UserError, match="--device cuda:2: this machine has 2 GPUs"):
            cli.device("cuda:2")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are not a process's here")
def test_cores_are_those_this_process_may_run_on():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert cores() == provenance()["cores"] == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert cores() == len(allowed)
