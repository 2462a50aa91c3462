"""Where a data set's files are looked for, what is fetched, and what is said when neither works."""

import hashlib
from pathlib import Path

import pytest

from splits.images import fetching
from splits.sources import cifar100, omniglot, tiny_imagenet
from suite.errors import UserError
from suite.modules import ROOT

CONTENT = b"some data"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder that the variable names; it does not exist yet."""
    monkeypatch.setenv("MATRYOSHKA_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def served(tmp_path):
    path = tmp_path / "served.zip"
    path.write_bytes(CONTENT)
    return path


def test_data_lie_beside_the_code_unless_the_variable_says_where(monkeypatch):
    monkeypatch.delenv("MATRYOSHKA_DATA", raising=False)
    assert fetching.data_folder() == ROOT / "data"
    named = {"": ROOT / "data", "/large/disk": Path("/large/disk"), "~/data": Path.home() / "data"}
    for value, folder in named.items():
        monkeypatch.setenv("MATRYOSHKA_DATA", value)
        assert fetching.data_folder() == folder


def test_a_users_copy_is_taken(folder):
    folder.mkdir()
    (folder / "x.zip").write_bytes(CONTENT)
    assert fetching.locate("x.zip", "https://nowhere.invalid/x.zip", DIGEST) == folder / "x.zip"


def test_a_file_is_fetched_once_and_checked(folder, served, capsys):
    path = fetching.locate("x.zip", served.as_uri(), DIGEST)
    assert path == folder / "x.zip" and path.read_bytes() == CONTENT
    assert "fetching x.zip: 100%" in capsys.readouterr().err  # though it is no terminal
    served.unlink()
    assert fetching.locate("x.zip", served.as_uri(), DIGEST) == path


def test_a_wrong_file_is_an_error(folder, served):
    with pytest.raises(UserError, match="served.zip holds another file"):
        fetching.locate("x.zip", served.as_uri(), "00ff")
    assert not (folder / "x.zip").exists()
    (folder / "x.zip").write_bytes(b"other data")
    with pytest.raises(UserError, match="x.zip has SHA-256 .*expected 00ff: .*MATRYOSHKA_DATA"):
        fetching.locate("x.zip", served.as_uri(), "00ff")


def test_a_missing_file_is_named_with_address_folder_and_variable(folder, tmp_path):
    address = (tmp_path / "nowhere.zip").as_uri()
    with pytest.raises(UserError) as error:
        fetching.locate("x.zip", address, DIGEST)
    for part in ("x.zip is missing", address, str(folder), "MATRYOSHKA_DATA"):
        assert part in str(error.value)


def fails(*args, **options):
    raise OSError("no network")


@pytest.mark.parametrize(
    ("find", "file", "address"),
    [
        (lambda: omniglot.build(None, omniglot.OPTIONS, 1), "images_background.zip", omniglot.ADDRESS),
        (lambda: tiny_imagenet.find(tiny_imagenet.OPTIONS), tiny_imagenet.ARCHIVE, tiny_imagenet.ADDRESS),
        (lambda: cifar100.find(cifar100.OPTIONS), cifar100.FOLDER, cifar100.ADDRESS),
    ],
)
def test_every_source_with_files_looks_there(find, file, address, folder, monkeypatch):
    monkeypatch.setattr(fetching.urllib.request, "urlopen", fails)
    monkeypatch.setattr("torchvision.datasets.CIFAR100.download", fails)
    with pytest.raises(UserError, match="could not be fetched") as error:
        find()
    for part in (file, address, str(folder), "MATRYOSHKA_DATA"):
        assert part in str(error.value)
