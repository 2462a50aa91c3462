"""Fixtures that several files of tests share."""

import pytest


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
