"""Fixtures that several files of tests share."""

import pytest


@pytest.fixture(scope="session")
def frozen_study(tmp_path_factory):
    """(study, layout) of a frozen study, and its folder."""
    import frozen  # it imports torch, which most files of tests can do without

    from analysis.compare.freeze import freeze

    folder = tmp_path_factory.mktemp("compare")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        study, layout = frozen.build()
        freeze(study, layout)
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
