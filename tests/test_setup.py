"""The ways to set the suite up agree with one another."""

import re
import tomllib
from pathlib import Path

import yaml
from checkout import listed
from setuptools import find_packages

from suite.modules import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
# dict() of what is split needs two parts each: every requirement has one exact version.
PINS = dict(line.split("==") for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"])


def test_every_pin_stands_in_environment_yml_and_in_the_constraints():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert dict(line.split("==") for line in conda[-1]["pip"] if "==" in line) == PINS
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    for line in constraints:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line), line
    constrained = dict(line.lower().split("==") for line in constraints)
    assert {name.lower(): version for name, version in PINS.items()}.items() <= constrained.items()


def test_the_version_is_the_same_wherever_it_stands():
    latest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M).group(1)
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]
    assert PROJECT["version"] == cited == latest


def test_an_installed_copy_has_every_package_and_the_files_they_read():
    tool = PYPROJECT["tool"]["setuptools"]
    inside = [Path(name) for name in listed("suite", "splits", "baselines", "analysis")]
    found = set(find_packages(str(ROOT), include=tool["packages"]["find"]["include"]))
    assert found == {".".join(path.parent.parts) for path in inside if path.suffix == ".py"}
    data = [path for path in inside if path.suffix not in (".py", ".md")]
    assert data
    for path in data:
        patterns = tool["package-data"][".".join(path.parent.parts)]
        assert any(path.match(pattern) for pattern in patterns), path


def test_the_slurm_profile_names_rules_there_are_and_sizes_all_that_are_heavy():
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    text = "\n".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    every = dict(re.findall(r"^rule (\w+):\n((?:(?: .*)?\n)+)", text + "\n", re.M))
    sized, threads = profile["set-resources"], profile["set-threads"]
    assert {*sized, *threads} <= {*every}
    heavy = {name for name, text in every.items() if "gpu=" in text}
    assert heavy == {"train", "embed", "embed_saved", "measure"}
    assert heavy | {"build_splits", "tabulate"} <= {*sized} and heavy | {"build_splits"} <= {*threads}
    assert all(sized[name]["gpu"] for name in ("train", "embed", "embed_saved"))
