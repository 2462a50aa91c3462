"""Fixtures that several files of tests share."""

import numpy as np
import pytest


@pytest.fixture
def rng():
    """A generator of its own for every test."""
    return np.random.default_rng(3)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """Twelve documents of words that occur nowhere else, and the dataset built from them."""
    from small import build  # it imports torch, which most files of tests can do without

    from splits.sources import text

    root = tmp_path_factory.mktemp("texts")
    words = "one two three four five six seven eight nine ten"
    for i in range(12):
        (root / f"{i:02d}.txt").write_text(" ".join(f"document{chr(97 + i)} {words}." for _ in range(6)))
    folder = root / "dataset"
    return root, build(text, folder, root=str(root), length=20, vocabulary=200, val_fraction=0.25)


@pytest.fixture(scope="session")
def frozen_study(tmp_path_factory):
    """(study, layout) of a frozen study, and its folder."""
    import frozen  # it imports torch, which most files of tests can do without

    from analysis.compare.freeze import freeze

    folder = tmp_path_factory.mktemp("compare")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        study, layout = frozen.build()
        freeze(study)
    return study, layout, folder


@pytest.fixture
def here(frozen_study, monkeypatch):
    """(study, layout) with the study's folder as working directory; the saved baselines stay as they are."""
    from suite.files import sha256

    study, layout, folder = frozen_study
    monkeypatch.chdir(folder)

    def fingerprint():
        return {path: sha256(path) for path in layout.saved.rglob("*") if path.is_file()}

    before = fingerprint()
    yield study, layout
    assert fingerprint() == before
