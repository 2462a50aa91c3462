"""Examples in docstrings (`>>> …`) give what they say."""

import doctest
import importlib

import pytest

from suite.modules import ROOT

PACKAGES = ("suite", "splits", "baselines", "analysis")
FILES = sorted(
    str(path.relative_to(ROOT))
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("file", FILES)
def test_examples(file):
    name = file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
    tried = doctest.testmod(importlib.import_module(name))
    assert tried.attempted and not tried.failed


def test_there_are_examples():
    assert len(FILES) >= 10
