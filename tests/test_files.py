"""Files that are cut, exchanged, overwritten or left behind: what is said of them, and what is done."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import frozen
import numpy as np
import pandas as pd
import pytest
import small
import synthetic
import torch

import analysis.measure
from analysis.measures import read_outcomes, write_outcomes
from analysis.plotting import Drawing
from analysis.search.resume import FinishedBlocks
from baselines.representation import Representation
from baselines.training.checkpoint import Checkpoint
from baselines.training.distributed import Group
from baselines.training.networks import identity, load_network
from splits.images import pictures
from splits.store import Dataset
from suite import files
from suite.errors import UserError

# --- writing --------------------------------------------------------------------------------------


def test_what_a_killed_process_left_is_removed_and_what_a_running_one_writes_is_not(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / f".part{dead.pid}.x.json"  # as older versions named it
    elsewhere = tmp_path / f".part{dead.pid}@another-machine.x.json"
    other = tmp_path / f".part{dead.pid}.y.json"
    alive = tmp_path / f".part{os.getppid()}.x.json"
    for path in (left, elsewhere, other, alive):
        path.touch()
    files.write_json(tmp_path / "x.json", {})
    assert {*tmp_path.iterdir()} == {tmp_path / "x.json", elsewhere, other, alive}


def full(*given):
    raise OSError(errno.ENOSPC, "No space left on device")


def short(path):
    np.save(path, np.zeros(8))
    raise OSError("1000000 requested and 12484 written")  # as numpy says it


def unexpected(path):
    raise RuntimeError(
        "[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"
    )  # as torch does


@pytest.mark.parametrize("write", [full, short, unexpected])
def test_a_full_disk_is_one_line_with_the_disk_and_the_megabytes(write, tmp_path):
    (tmp_path / "x.npy").write_text("old")
    message = r"no space for .*x\.npy: .* the disk /\S* has [\d,]+ MB free"
    with pytest.raises(UserError, match=message), files.write_aside(tmp_path / "x.npy") as aside:
        write(aside)
    assert (tmp_path / "x.npy").read_text() == "old" and len([*tmp_path.iterdir()]) == 1


def test_the_space_of_an_array_is_reserved_before_it_is_written(tmp_path, monkeypatch):
    if hasattr(os, "posix_fallocate"):
        with files.create_npy(tmp_path / "x.npy", (1000, 1000), np.float32):
            (aside,) = tmp_path.iterdir()
            assert aside.stat().st_blocks * 512 >= 4_000_000
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    path, message = tmp_path / "y.npy", "no space for .*y.npy: it needs 4 MB, and the disk"
    with pytest.raises(UserError, match=message), files.create_npy(path, (1000, 1000), np.float32):
        pytest.fail("written to")
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


# --- marks ----------------------------------------------------------------------------------------


def test_a_sampled_mark_tells_files_apart_by_their_size_ends_and_between(tmp_path):
    path = tmp_path / "x"
    content = bytearray(300_000)
    found = set()
    for change in (None, 0, 150_400, 299_999):
        if change is not None:
            content[change] = 1
        path.write_bytes(content)
        found.add(files.sampled(path))
    path.write_bytes(content[:-1])
    assert len(found | {files.sampled(path)}) == 5
    path.write_bytes(content[:100])
    assert files.sampled(path) == files.sha256(path)


def test_a_listing_follows_links_and_changes_with_names_sizes_and_times(tmp_path):
    elsewhere, root = tmp_path / "elsewhere", tmp_path / "root"
    for folder in (elsewhere, root):
        folder.mkdir()
    assert files.listing(root) is None
    (elsewhere / "a.png").write_text("1")
    (root / "cat").symlink_to(elsewhere)
    (root / "round").symlink_to(root)  # is not walked for ever
    seen = [files.listing(root)]
    (elsewhere / "a.png").write_text("2")
    os.utime(elsewhere / "a.png", (1, 1))
    seen.append(files.listing(root))
    (elsewhere / "a.png").write_text("22")
    os.utime(elsewhere / "a.png", (1, 1))
    seen.append(files.listing(root))
    (elsewhere / "a.png").rename(elsewhere / "b.png")
    seen.append(files.listing(root))
    (elsewhere / "lost.png").symlink_to("nowhere")
    seen.append(files.listing(root))
    assert None not in seen and len({*seen}) == 5
    assert files.listing(root, lambda path: path.suffix == ".txt") is None


def test_of_a_large_file_size_and_time_are_the_mark(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_text("one")
    assert files.outside(path) == files.sha256(path) and files.outside(tmp_path / "y") is None
    monkeypatch.setattr(files, "DIGESTED", 2)
    os.utime(path, ns=(5, 5))
    assert files.outside(path) == [3, 5]


# --- damaged and exchanged ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A study with embeddings and some outcomes, made once; `copied` is for tests that damage it."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("finished")
        patch.chdir(folder)
        methods = dict.fromkeys(("mrl", "mrl_e"))
        study, layout = synthetic.build(Path(), methods=methods, tasks={"linear": None}, figures=[])
        for method in methods:
            found = analysis.measure.measure(study, layout, method, 0, "predict")
            write_outcomes(layout, method, 0, "predict", found)
        return study, folder


@pytest.fixture
def copied(finished, tmp_path, monkeypatch):
    import shutil

    study, folder = finished
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return study, study.layout


def cut(path):
    path.write_bytes(path.read_bytes()[:-7])


def overwrite(path):
    path.write_text("<html>moved</html>")


def empty(path):
    path.write_bytes(b"")


def read_everything(study, layout):
    dataset = Dataset(layout.data)
    for name in dataset.splits:
        assert len(dataset[name].images) == len(dataset[name].labels) == len(dataset[name].items)
    assert len(dataset.classes)
    representation = Representation.of(layout, "mrl", 0, dataset.checksum)
    assert all(len(representation.array(name)) for name in representation.splits)
    representation.classifier(representation.views[0], representation.dim)
    return [*read_outcomes(layout, "mrl", 0, "predict").values()]


HELD = [
    "data/synthetic/manifest.json",
    "data/synthetic/classes.csv",
    "data/synthetic/train/images.npy",
    "data/synthetic/val/labels.npy",
    "data/synthetic/val/items.csv",
    "embeddings/synthetic/mrl-0/meta.json",
    "embeddings/synthetic/mrl-0/train.npy",
    "embeddings/synthetic/mrl-0/classifiers.npz",
    "outcomes/synthetic/mrl-0/predict.npz",
]


@pytest.mark.parametrize("damage", [cut, overwrite, empty])
@pytest.mark.parametrize("name", HELD)
def test_a_damaged_file_is_named_with_what_to_remove(name, damage, copied):
    read_everything(*copied)
    path = Path("results") / name
    damage(path)
    with pytest.raises(UserError, match=rf"{path} .*remove \S+ and run again") as said:
        read_everything(*copied)
    assert "\n" not in str(said.value)


def of_another_method(layout):
    for path in layout.embeddings("mrl_e", 0).iterdir():
        yield path, layout.embeddings("mrl", 0) / path.name


def of_another_seed(layout):
    yield layout.embeddings("mrl", 1) / "train.npy", layout.embeddings("mrl", 0) / "train.npy"


def classifiers_of_another(layout):
    yield layout.embeddings("mrl", 1) / "classifiers.npz", layout.embeddings("mrl", 0) / "classifiers.npz"


def outcomes_of_another(layout):
    yield layout.outcomes("mrl_e", 0, "predict"), layout.outcomes("mrl", 0, "predict")


def labels_of_another(layout):
    yield layout.data / "v2/labels.npy", layout.data / "val/labels.npy"


@pytest.mark.parametrize(
    ("exchange", "message"),
    [
        (of_another_method, "mrl-0 holds embeddings of mrl_e, seed 0"),
        (of_another_seed, "mrl-0/train.npy is not the file that was written there"),
        (classifiers_of_another, "mrl-0/classifiers.npz is not the file"),
        (outcomes_of_another, "mrl-0/predict.npz holds outcomes of method mrl_e, not mrl: remove it"),
        (labels_of_another, "val/labels.npy is not the file"),
    ],
)
def test_what_belongs_to_another_run_is_refused(exchange, message, copied):
    for origin, target in exchange(copied[1]):
        target.write_bytes(origin.read_bytes())
    with pytest.raises(UserError, match=message):
        read_everything(*copied)


def test_an_edited_label_and_outcomes_of_earlier_embeddings_are_refused(copied):
    study, layout = copied
    path = layout.data / "val" / "labels.npy"
    labels = np.load(path)
    labels[3] = (labels[3] + 1) % 12
    with pytest.raises(UserError, match="val/labels.npy is not the file that was written there"):
        np.save(path, labels)
        read_everything(study, layout)
    meta = layout.embeddings("mrl", 0) / "meta.json"
    facts = files.read_json(meta)
    files.write_json(meta, facts | {"files": facts["files"] | {"val.npy": "0"}})
    with pytest.raises(UserError, match="predict.npz holds outcomes of other embeddings: remove it"):
        read_outcomes(layout, "mrl", 0, "predict")
    files.write_json(meta, facts | {"data_checksum": "0" * 64})
    with pytest.raises(UserError, match="mrl-0 was made on other data"):
        Representation.of(layout, "mrl", 0, Dataset(layout.data).checksum)


@pytest.fixture
def networks(copied):
    """(folder of an untrained network of MRL, loads it as embedding does); others lie beside it."""
    study, layout = copied
    dataset = Dataset(layout.data)
    for name, seed in (("mrl", 0), ("mrl", 1), ("mrl_e", 0)):
        frozen.write_network(study, layout, dataset, name, seed)
        meta = layout.network(name, seed) / "meta.json"
        files.write_json(meta, files.read_json(meta) | {"data_checksum": dataset.checksum})
    folder = layout.network("mrl", 0)
    return folder, lambda: load_network(folder, identity(study, "mrl", 0, dataset.checksum))


def test_a_network_of_another_seed_method_study_or_data_is_refused(networks):
    folder, load = networks
    load()
    whole = {path: path.read_bytes() for path in folder.iterdir()}
    for other, message in (("mrl-1", "says seed 1, not 0"), ("mrl_e-0", "says network mrl_e, not mrl")):
        for name in ("checkpoint.pt", "meta.json"):
            (folder / name).write_bytes((folder.parent / other / name).read_bytes())
            said = "checkpoint.pt is not the file that was written there" if name != "meta.json" else message
            with pytest.raises(UserError, match=f"{said}.*remove (it|{folder}) and run again"):
                load()
        for path, content in whole.items():
            path.write_bytes(content)
    meta = files.read_json(folder / "meta.json")
    longer = meta["settings"] | {"training": meta["settings"]["training"] | {"epochs": 90}}
    for change, message in (
        ({"data_checksum": "0"}, "its meta.json says data_checksum 0, not"),
        ({"settings": longer}, "its meta.json says training other than the study's; remove it"),
    ):
        files.write_json(folder / "meta.json", meta | change)
        with pytest.raises(UserError, match=message):
            load()
    files.write_json(
        folder / "meta.json", meta | change | {"copied_from": "results/saved"}
    )  # as it was trained
    load()


@pytest.mark.parametrize("damage", [cut, overwrite, empty])
@pytest.mark.parametrize("marked", [True, False])
def test_a_damaged_checkpoint_is_named_with_or_without_a_mark(marked, damage, networks):
    folder, load = networks
    if not marked:
        small.without_marks(folder)
    damage(folder / "checkpoint.pt")
    with pytest.raises(UserError, match=rf"{folder}/checkpoint.pt is .*remove {folder} and run again"):
        load()


def test_a_table_that_was_cut_or_is_of_another_study_is_not_drawn(copied):
    study, layout = copied
    table = pd.DataFrame({"study": ["synthetic"] * 2, "method": ["mrl", "mrl_e"], "value": [0.25, 0.75]})
    path = layout.table("linear")
    drawing = Drawing(study, layout)
    with pytest.raises(UserError, match=f"no table {path}; run `snakemake --cores all"):
        drawing.table("linear")
    with files.write_aside(path) as aside:
        table.to_csv(aside, index=False)
    assert len(drawing.table("linear")) == 2
    whole = path.read_text()
    for left in (whole[:-1], whole[:-4], whole[:-8], ""):
        path.write_text(left)
        with pytest.raises(UserError, match=rf"{path} is damaged \(.*\): remove it and run again"):
            drawing.table("linear")
    path.write_text(whole.replace("synthetic,mrl_e", "glyphs,mrl_e"))
    with pytest.raises(UserError, match="linear.csv holds rows of glyphs, not of synthetic"):
        drawing.table("linear")


@pytest.mark.parametrize("damage", [cut, overwrite, empty])
def test_a_damaged_state_of_a_training_begins_anew_and_says_so(damage, tmp_path, capsys):
    path = tmp_path / "state.pt"
    torch.save({"conditions": "a", "step": 3, "seconds": 1.0}, path)
    assert Checkpoint(path, "a").resume({}, Group()) == (3, 1.0)
    damage(path)
    assert Checkpoint(path, "a").resume({}, Group()) == (0, 0.0)
    assert f"{path} is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("damage", [cut, overwrite, empty])
def test_damaged_parts_of_a_search_are_searched_again(damage, tmp_path, caplog):
    def search():
        return [np.arange(3)]

    def never():
        pytest.fail("searched again")

    blocks = FinishedBlocks(tmp_path / "work", dict)
    blocks.find(0, search)
    assert FinishedBlocks(tmp_path / "work", dict).find(0, never)[0].tolist() == [0, 1, 2]
    damage(tmp_path / "work" / "queries-000000000.npz")
    assert blocks.find(0, search)[0].tolist() == [0, 1, 2]
    damage(tmp_path / "work" / "key.json")
    found = FinishedBlocks(tmp_path / "work", dict)
    assert not [*(tmp_path / "work").glob("queries-*")] and len(caplog.records) == 2
    found.find(0, search)
    assert FinishedBlocks(tmp_path / "work", dict).find(0, never)


def test_an_image_that_was_exchanged_under_its_name_is_decoded_again(tmp_path, monkeypatch):
    from PIL import Image

    target = pictures.Format(4, 1)
    found = []
    for value in (50, 50, 200):
        if value != 50 or not found:
            Image.new("L", (4, 4), value).save(tmp_path / "a.png")
        pictures.fill(tmp_path / "val", ["a.png"], tmp_path, target, 1)
        found.append(int(np.load(tmp_path / "val/images.npy")[0, 0, 0, 0]))
    assert found == [50, 50, 200]
    (tmp_path / "val/plan.json").write_text("{")
    pictures.fill(tmp_path / "val", ["a.png"], tmp_path, target, 1)
    assert np.load(tmp_path / "val/images.npy").max() == 200
