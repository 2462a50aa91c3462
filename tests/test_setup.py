"""The ways to set the suite up agree with one another."""

import re
import subprocess
import tomllib
from pathlib import Path

import yaml
from setuptools import find_packages

ROOT = Path(__file__).resolve().parent.parent


def pins(lines):
    return dict(line.split("==") for line in lines if "==" in line)


def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def project():
    return pyproject()["project"]


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


def test_an_installed_copy_has_every_package_and_the_files_they_read():
    tool = pyproject()["tool"]["setuptools"]
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    inside = [Path(name) for name in listed.stdout.splitlines() if (ROOT / name).is_file()]
    inside = [path for path in inside if path.parts[0] in ("suite", "splits", "baselines", "analysis")]
    found = set(find_packages(str(ROOT), include=tool["packages"]["find"]["include"]))
    assert found == {".".join(path.parent.parts) for path in inside if path.suffix == ".py"}
    data = [path for path in inside if path.suffix not in (".py", ".md")]
    assert data
    for path in data:
        patterns = tool["package-data"][".".join(path.parent.parts)]
        assert any(path.match(pattern) for pattern in patterns), path


def rules():
    """Text of every named rule of the workflow."""
    text = "\n".join(path.read_text() for path in sorted((ROOT / "workflow/rules").glob("*.smk")))
    return dict(re.findall(r"^rule (\w+):\n((?:(?: .*)?\n)+)", text + "\n", re.M))


def test_the_slurm_profile_names_rules_there_are_and_sizes_all_that_are_heavy():
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    every, sized, threads = rules(), profile["set-resources"], profile["set-threads"]
    assert {*sized, *threads} <= {*every}
    heavy = {name for name, text in every.items() if "gpu=" in text}
    assert heavy == {"train", "embed", "embed_saved", "measure"}
    assert heavy | {"build_splits", "tabulate"} <= {*sized} and heavy | {"build_splits"} <= {*threads}
    assert all(sized[name]["gpu"] for name in ("train", "embed", "embed_saved"))
