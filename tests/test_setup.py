"""The ways to set the suite up agree with one another."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent


def pins(lines):
    return dict(line.split("==") for line in lines if "==" in line)


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_environment_yml_carries_the_pins_of_pyproject():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    ours = pins(project()["dependencies"]) | pins(project()["optional-dependencies"]["dev"])
    assert pins(conda[-1]["pip"]) == ours


def test_every_requirement_is_pinned_and_constrained_to_the_same_version():
    every = project()["dependencies"] + project()["optional-dependencies"]["dev"]
    constrained = pins((ROOT / "constraints.txt").read_text().lower().split())
    assert all("==" in requirement for requirement in every)
    for name, version in pins(every).items():
        assert constrained[name.lower()] == version


def test_constraints_are_names_and_versions_only():
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line), line
