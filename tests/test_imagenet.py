"""The ImageNet study on a miniature in the official layouts: decoding, ResNet50, every table and figure."""

import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from analysis import draw, measure, tabulate
from analysis.measures.reranking import PAIRS
from baselines import embed, train
from baselines.backbones import build_backbone
from baselines.training import one_cycle
from baselines.training.batches import Normalise, augment, crop_side, draw_crops, random_crop
from baselines.training.networks import build_learner
from splits import build, facts
from splits.images import pictures
from splits.sources import imagenet
from splits.store import Dataset, DatasetWriter, class_table, digest
from suite.contracts import FIGURE, MEASURE, METHOD
from suite.errors import UserError
from suite.layout import Layout
from suite.study import STUDIES, load_study

SMALLER = {"name": "resnet18", "dim": 512, "blur_pool": True}  # ResNet50's parts, in a quarter of the time
METHODS = ("mrl", "fixed_feature", "svd", "mrl_8boost", "mrl_uniform", "finetune_conv2", "control_label")


def photograph(path: Path, rng: np.random.Generator, tone: int) -> None:
    """A JPEG file of some size: a blurred pattern whose colour tells its class."""
    width, height = rng.integers(70, 120, 2)
    colour = np.array([tone * 60 % 256, 40 + tone * 90 % 200, 255 - tone * 50 % 256])
    small = (colour + rng.normal(0, 40, (6, 8, 3))).clip(0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(small).resize((int(width), int(height)), Image.Resampling.BICUBIC).save(path, quality=90)


@pytest.fixture(scope="module")
def wnids() -> list[str]:
    """Six ImageNet-1K classes that are in ImageNet-R and -A: three of one superclass, three of none."""
    classes = facts.imagenet1k_classes()
    both = classes[classes["in_r"] & classes["in_a"]]
    known = both[both["superclass30"] > 0]
    group = known["superclass30"].value_counts().index[0]
    chosen = known[known["superclass30"] == group]["wnid"][:3]
    return sorted([*chosen, *both[both["superclass30"] == 0]["wnid"][:3]])


@pytest.fixture(scope="module")
def photographs(tmp_path_factory, wnids) -> Path:
    """Every part in its official layout."""
    root, rng = tmp_path_factory.mktemp("imagenet"), np.random.default_rng(0)
    labels = facts.imagenet1k_classes().reset_index().set_index("wnid")["label"]
    (root / "imagenet-r").mkdir()
    (root / "imagenet-r" / "README.txt").write_text("ImageNet-R")
    for tone, wnid in enumerate(wnids):
        for i in range(6):
            photograph(root / "train" / wnid / f"{wnid}_{i}.JPEG", rng, tone)
        for i in range(3):
            photograph(root / "val" / wnid / f"ILSVRC2012_val_{tone}{i:07d}.JPEG", rng, tone)
            photograph(root / "imagenet-r" / wnid / f"art_{i}.jpg", rng, tone)
            photograph(root / "imagenet-a" / wnid / f"0.00{i}_fox _ fox_0.9.jpg", rng, tone)
            photograph(root / "sketch" / wnid / f"sketch_{i}.JPEG", rng, tone)
        for i in range(10):
            folder = root / "imagenetv2-matched-frequency-format-val" / str(labels[wnid])
            photograph(folder / f"{i:08x}.jpeg", rng, tone)
    synsets = facts.synsets()
    unseen = [*synsets.index[synsets["in_4k"]][:3], wnids[0]]  # one that has been seen must be left out
    for tone, wnid in enumerate(unseen):
        for i in range(10):
            photograph(root / "images" / f"{wnid}_{i}.JPEG", rng, tone)
        (root / "imagenet21k").mkdir(exist_ok=True)
        with tarfile.open(root / "imagenet21k" / f"{wnid}.tar", "w") as tar:
            for i in range(10):
                tar.add(root / "images" / f"{wnid}_{i}.JPEG", f"{wnid}_{i}.JPEG")
    return root


def released(path: Path, classes: int, sizes: list[int]) -> Path:
    """A checkpoint in the reference's layout, with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = build_backbone(SMALLER, 3)
        state = {f"module.{name}": value for name, value in backbone.network.state_dict().items()}
        for i, m in enumerate(sizes):
            state[f"module.fc.nesting_classifier_{i}.weight"] = torch.randn(classes, m)
            state[f"module.fc.nesting_classifier_{i}.bias"] = torch.randn(classes)
    torch.save(state, path)
    return path


def miniature(root: Path, wnids: list[str], checkpoint: Path) -> dict:
    """config/studies/imagenet.yaml with smaller sizes and fewer methods."""
    study = yaml.safe_load((STUDIES / "imagenet.yaml").read_text(encoding="utf-8"))
    study["name"] = "miniature"
    study["data"] |= {"root": str(root), "classes": wnids, "size": 64}
    study["data"] |= {"database": 8, "query": 2, "counts": "found"}
    study |= {"nesting": [8, 512], "interpolated": [12], "backbone": SMALLER}
    study["training"] |= {"epochs": 1, "batch_size": 8, "evaluation_crop": 56, "threads": 1}
    study["training"] |= {"learning_rate": 0.01}  # four steps of eight images
    study["training"]["augment"]["crop"] |= {"side": [32, 48], "ramp": [0, 1]}
    study["measures"]["reranking"] = {"shortlist": 12, "lengths": [12, 20], "keep": 12}
    study["measures"]["indexes"] = {"shortlist": 12, "seconds": 0.0, "splits": list(map(list, PAIRS))}
    study["measures"]["indexes"]["indexes"] = {"exact": {"factory": "Flat", "refine": True}}
    study["methods"] = {name: study["methods"][name] for name in METHODS}
    for given in (given for given in study["tasks"].values() if given and "methods" in given):
        given["methods"] = [name for name in given["methods"] if name in METHODS]
    study["methods"]["mrl_8boost"]["loss_weights"] = [2, 1]
    study["methods"]["mrl_uniform"]["nesting"] = [256, 512]
    # One figure of each kind: a contact sheet of every split says no more.
    drawn_by = {name: max(filter(name.startswith, FIGURE.names()), key=len) for name in study["figures"]}
    study["figures"] = list({module: name for name, module in drawn_by.items()}.values())
    ready = {"baseline": "released", "path": str(checkpoint), "label": "MRL (released)"}
    study["methods"]["released_mrl"] = ready
    study["methods"]["finetune_conv2"]["training"] = {"epochs": 1, "learning_rate": 0.01}
    return study


@pytest.fixture(scope="module")
def run(tmp_path_factory, photographs, wnids):
    """(study, layout) of the miniature after every job of the workflow, in the workflow's order."""
    folder = tmp_path_factory.mktemp("run")
    path = folder / "miniature.yaml"
    checkpoint = released(folder / "r50_mrl1_e0_ff2048.pt", len(wnids), [8, 512])
    small = miniature(photographs, wnids, checkpoint)
    path.write_text(yaml.safe_dump(small, sort_keys=False), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        study, layout = load_study(path), Layout("miniature", folder / "results")
        arguments = ["--study", str(path)]
        build.main([*arguments, "--threads", "2"])
        for network in study.networks:
            train.main([*arguments, "--network", network, "--device", "cpu"])
        for method in study.methods:
            embed.main([*arguments, "--method", method, "--device", "cpu"])
        # Measures that read another's outcomes come after it.
        reads = {what: MEASURE.facts(what).READS for _, what in study.measured()}
        for method, what in sorted(set(study.measured()), key=lambda pair: len(reads[pair[1]])):
            measure.main([*arguments, "--method", method, "--measure", what])
        for task in study.tasks:
            tabulate.main([*arguments, "--task", task])
        for figure in study.figures:
            draw.main([*arguments, "--figure", figure])
    return study, layout


def test_every_part_becomes_its_split_with_the_labels_of_imagenet_1k(run, photographs, wnids):
    dataset = Dataset(run[1].data)
    counts = {name: len(dataset[name]) for name in dataset.splits}
    assert counts == {
        "train": 36, "val": 18, "v2": 60, "sketch": 18, "r": 18, "a": 18, "database": 24, "query": 6,
    }  # fmt: skip
    assert dataset.classes["wnid"].tolist()[:6] == wnids
    assert dataset.classes["seen"].tolist() == [True] * 6 + [False] * 3
    assert wnids[0] not in dataset.classes["wnid"].tolist()[6:]
    assert sorted(dataset.classes["superclass"][:6] == "") == [False] * 3 + [True] * 3
    for name in ("val", "v2"):
        source = dataset[name].items["id"][5].removeprefix(f"{name}/")
        with Image.open(photographs / imagenet.OPTIONS[name] / source) as image:
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            box = (left, top, left + side, top + side)
            square = image.convert("RGB").resize((64, 64), Image.Resampling.BOX, box)
        np.testing.assert_array_equal(dataset[name].images[5], np.asarray(square))
    made = np.load(run[1].data / "val" / "digests.npy")  # by two processes
    assert [bytes(of) for of in made] == [digest(image) for image in dataset["val"].images]
    v2 = dataset["v2"]
    index = facts.imagenet1k_classes()["wnid"]
    folders = [int(item.split("/")[1]) for item in v2.items["id"]]
    assert [index[i] for i in folders] == [wnids[label] for label in v2.labels]


def test_every_table_and_every_figure_is_made(run):
    study, layout = run
    for task in study.tasks:
        table = pd.read_csv(layout.table(task))
        tested = table[table["outcome"] != "not tested"] if task == "findings" else table
        assert len(tested) and tested["value"].notna().all(), task
    robustness = pd.read_csv(layout.table("robustness"))
    assert set(robustness["split"]) >= {"v2", "r", "a", "sketch", "val@r"}
    # Here r and a hold every class: restricted or not is one row.
    assert not robustness.duplicated(["method", "seed", "dim", "split", "classes"]).any()
    for figure in study.figures:
        assert layout.figure(figure).stat().st_size > 5_000, figure
    linear = pd.read_csv(layout.table("linear"))
    ceiling = linear[(linear["method"] == "control_label") & (linear["metric"] == "top1")]
    assert (ceiling["value"] == 1).all()


def test_a_missing_folder_is_named_with_source_and_layout_before_anything_is_written(photographs, tmp_path):
    options = imagenet.OPTIONS | {"root": str(photographs), "val": "no_val", "a": "no_a"}
    writer = DatasetWriter(tmp_path / "data", "imagenet", options)
    with pytest.raises(UserError) as error:
        imagenet.build(writer, options, threads=1)
    said = str(error.value)
    assert f"data.val: {photographs / 'no_val'}" in said and "ILSVRC2012_img_val.tar" in said
    assert f"data.a: {photographs / 'no_a'}" in said and "hendrycks/natural-adv-examples" in said
    assert "data.train" not in said and "<wnid>/*.jpg in 200 folders" in said
    assert list((tmp_path / "data").iterdir()) == []


def test_missing_classes_are_named(photographs, wnids, tmp_path):
    options = imagenet.OPTIONS | {"root": str(photographs), "imagenet21k": None}
    with pytest.raises(UserError, match=r"train lacks images of 994 of 1000 classes \(n0"):
        imagenet.build(DatasetWriter(tmp_path, "imagenet", options), options, threads=1)
    with pytest.raises(UserError, match="data.classes names n99999999, not in ImageNet-1K"):
        imagenet.seen_classes({"classes": [*wnids, "n99999999"]})
    with pytest.raises(UserError, match=r"train cannot be left out \(data.train\)"):
        imagenet.find(options | {"train": None})


def table_of(folder: Path, n: int) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    for i in range(n):
        photograph(folder / f"{i}.JPEG", rng, i)
    paths = [f"{i}.JPEG" for i in range(n)]
    return pd.DataFrame({"label": np.arange(n) % 2, "path": paths, "id": paths})


def test_a_stopped_decoding_goes_on_where_it_was(tmp_path, monkeypatch):
    table, target = table_of(tmp_path / "images", 10), pictures.Format(16, 3, draft=True)
    monkeypatch.setattr(pictures, "CHUNK", 2)
    decoded = []

    def counted(name, file, form, limit=5):
        if len(decoded) == limit:
            raise KeyboardInterrupt
        decoded.append(name)
        return whole(name, file, form)

    whole = pictures.decode
    writer = DatasetWriter(tmp_path / "data", "test", {})
    monkeypatch.setattr(pictures, "decode", counted)
    with pytest.raises(KeyboardInterrupt):
        pictures.write_split(writer, "train", table, tmp_path / "images", target, 1)
    assert not (tmp_path / "data" / "train" / "images.npy").exists()
    monkeypatch.setattr(pictures, "decode", lambda *job: counted(*job, limit=99))
    pictures.write_split(writer, "train", table, tmp_path / "images", target, 1)
    assert len(decoded) == 5 + 6  # two chunks were whole; the fifth image is decoded again
    folder = tmp_path / "data" / "train"
    images = np.load(folder / "images.npy")
    assert [bytes(of) for of in np.load(folder / "digests.npy")] == [digest(image) for image in images]
    assert not (folder / "unfinished").exists()
    for row in range(10):
        path = tmp_path / "images" / f"{row}.JPEG"
        np.testing.assert_array_equal(images[row], whole(str(path), path.read_bytes(), target))
    pictures.write_split(writer, "train", table, tmp_path / "images", target, 1)
    assert len(decoded) == 11  # it was whole
    pictures.write_split(writer, "train", table[:8], tmp_path / "images", target, 1)
    assert len(decoded) == 19  # another plan


def test_official_sets_may_share_photographs_and_the_manifest_says_how_many(tmp_path):
    table = table_of(tmp_path / "images", 4)
    for keep in (True, False):
        writer = DatasetWriter(tmp_path / "data", "test", {})
        writer.classes(class_table(["a", "b"], "", 2))
        for name, rows in (("train", table[:3]), ("val", table[2:])):
            pictures.write_split(writer, name, rows, tmp_path / "images", pictures.Format(16, 3), 1)
        if keep:
            writer.keep_overlap("as published")
            writer.finish()
            found = Dataset(tmp_path / "data").manifest["overlap"]
            assert found == {"kept_because": "as published", "images": {"val in train": 1}}
        else:
            with pytest.raises(UserError, match="val row 0 is the same image as train row 2"):
                writer.finish()


def test_the_recipe_is_the_papers():
    study = load_study("imagenet")
    training = study.training
    assert study.nesting == tuple(2**i for i in range(3, 12)) and study.dim == 2048
    crop = training["augment"]["crop"]
    sides = [crop_side(crop, epoch) for epoch in range(training["epochs"])]
    assert sides == [160] * 32 + [192] * 8
    steps = 1000 * training["epochs"]
    rates = [one_cycle(step, steps, training["warmup"]) for step in range(steps)]
    assert np.argmax(rates) == 2 * 1000 - 1 and max(rates) == 1


def test_crops_lie_within_the_image_and_have_the_areas_and_ratios_asked_for():
    crop = {"side": [8], "area": [0.2, 0.9], "ratio": [0.5, 2]}
    top, left, height, width = draw_crops(crop, 4000, np.random.default_rng(0))
    assert min(top.min(), left.min()) >= 0
    assert max((top + height).max(), (left + width).max()) <= 1 + 1e-12
    assert 0.2 <= (height * width).min() < 0.21 and 0.85 < (height * width).max() <= 0.9
    ratio = width / height
    assert 0.5 <= ratio.min() < 0.52 and 1.9 < ratio.max() <= 2
    assert abs(np.log(ratio).mean()) < 0.03  # wide as often as tall


def test_a_crop_is_what_slicing_gives_where_pixels_coincide():
    images = torch.rand(3, 3, 12, 12)
    boxes = torch.tensor([[0, 0.25, 0.5], [0, 0.5, 0.25], [1, 0.5, 0.5], [1, 0.5, 0.5]])
    same = random_crop(images[1:], boxes[:, 1:], 6, None)
    torch.testing.assert_close(same[0], images[1, :, 3:9, 6:12])
    torch.testing.assert_close(same[1], images[2, :, 6:12, 3:9])
    mirrored = random_crop(images, boxes, 12, torch.tensor([True, False, False]))
    torch.testing.assert_close(mirrored[0], images[0].flip(2))
    smaller = random_crop(images[:1], boxes[:, :1], 6, None)  # half the side: the mean of 2×2 pixels
    torch.testing.assert_close(smaller[0], torch.nn.functional.avg_pool2d(images[:1], 2)[0])


def test_a_part_of_a_batch_is_changed_as_in_the_whole():
    images, settings = torch.rand(6, 1, 10, 10), {"flip": True, "crop": {"side": [8]}}
    whole = augment(images, settings, seed=0, step=3)
    part = augment(images[2:4], settings, seed=0, step=3, total=6, share=slice(2, 4))
    assert whole.shape == (6, 1, 8, 8) and torch.equal(part, whole[2:4])


def test_evaluation_looks_at_the_centre():
    images = np.random.default_rng(0).integers(0, 256, (2, 10, 10, 3), np.uint8)
    whole, cropped = Normalise((0.5,) * 3, (0.2,) * 3), Normalise((0.5,) * 3, (0.2,) * 3, crop=6)
    torch.testing.assert_close(cropped(images), whole(images)[:, :, 2:8, 2:8])
    with pytest.raises(UserError, match="evaluation_crop is 6, but the stored images are 4×4"):
        cropped(images[:, :4, :4])


def test_a_blurred_resnet_can_be_slimmed():
    options = METHOD.options("slimmable", {})
    backbone = {"name": "resnet18", "dim": 512, "blur_pool": True}
    settings = {"backbone": backbone, "baseline": "slimmable", "options": options, "sizes": [8, 512]}
    learner = build_learner(settings, 5, 3, 0)
    loss, _ = learner.loss(torch.rand(4, 3, 64, 64), torch.arange(4), 0.1, np.random.default_rng(0))
    loss.backward()
    blurred = learner.get_parameter("backbone.backbone.network.layer2.0.conv1.conv.weight")
    assert torch.isfinite(loss) and blurred.grad.abs().sum() > 0
