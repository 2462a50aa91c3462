"""Beyond one CNN: vision transformers, image–text contrast, masked language models, and their doors."""

import gzip
import io
import json
import math
import re
import tarfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

from analysis import findings
from analysis.evaluations import findings_image_text
from analysis.findings import Evidence
from analysis.measures.cross_modal import cosine, different, labels_to_rows, measure
from analysis.plotting import Drawing
from analysis.run import Run
from analysis.statistics import clustered_interval, group_totals
from analysis.tabulate import tabulate
from baselines import image_text, masked_lm, masked_lm_fixed
from baselines.backbones import build_backbone
from baselines.backbones.bert_checkpoint import check
from baselines.backbones.text_encoder import TextEncoder
from baselines.backbones.vit import ViT
from baselines.embed import embed_control, embed_fitted, embed_trained
from baselines.image_text import info_nce
from baselines.masked_lm import hide
from baselines.nested import prefix
from baselines.representation import Representation
from baselines.train import seen_captions, train_network
from baselines.training.batches import Normalise
from baselines.training.distributed import Group
from baselines.training.networks import build_learner, count_macs, load_network, macs_per_image
from splits.sources import glyph_captions, image_captions, text
from splits.store import Dataset, DatasetWriter
from splits.words import captions
from splits.words.wordpieces import (
    CLS,
    MASK,
    PAD,
    SEP,
    SPECIAL,
    UNK,
    WordPieces,
    choose_masked,
    learn_vocabulary,
    read_vocabulary,
)
from suite import files
from suite.contracts import FIGURE, MEASURE, METHOD, SOURCE
from suite.errors import UserError
from suite.layout import Layout
from suite.modules import ROOT
from suite.study import STUDIES, Study, load_study

ENCODER = {"name": "text_encoder", "dim": 8, "depth": 1, "heads": 2}


def options(contract, name, **given):
    return contract.facts(name).OPTIONS | given


def build(source, folder, **given):
    """The dataset that a data source writes with these options."""
    chosen = options(SOURCE, source.__name__.split(".")[-1], **given)
    writer = DatasetWriter(folder, source.__name__, chosen)
    source.build(writer, chosen, threads=1)
    writer.finish()
    return Dataset(folder)


# --- vision transformer ---------------------------------------------------------------------------


@pytest.mark.parametrize("stem", [(), (4, 8)])
@pytest.mark.parametrize("channels", [1, 3])
def test_vit_turns_images_into_class_tokens(stem, channels):
    vit = ViT(channels, 12, image=8, patch=4, depth=1, heads=3, stem=stem).eval()
    images = torch.randn(2, channels, 8, 8, generator=torch.Generator().manual_seed(0))
    features = vit(images)
    assert features.shape == (2, 12) and not torch.allclose(features[0], features[1])
    torch.testing.assert_close(
        features.mean(1), torch.zeros(2), atol=1e-6, rtol=0
    )  # behind the last layer norm


def test_vit_multiply_accumulates_by_hand():
    # 4 patches of 16 pixels, the class token; per token: 4 d² to project, hidden 2·d·4d, attention 2·n·d.
    vit = ViT(1, 12, image=8, patch=4, depth=2, heads=3).eval()
    with torch.no_grad():
        counted = count_macs(lambda: vit(torch.zeros(1, 1, 8, 8)))
    assert counted == 4 * 16 * 12 + 2 * 5 * (4 * 12 * 12 + 2 * 12 * 48 + 2 * 5 * 12)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"patch": 3}, "image 8 is not a multiple of patch 3"),
        ({"heads": 5}, "dim 12 is not a multiple of heads 5"),
        ({"stem": (4,)}, "a stem of 1 convolutions makes patches of 2, not 4"),
    ],
)
def test_vit_refuses_sizes_that_do_not_fit(wrong, message):
    with pytest.raises(UserError, match=message):
        ViT(1, 12, **({"image": 8, "patch": 4, "depth": 1, "heads": 3} | wrong))


def test_vit_refuses_images_of_another_size():
    vit = ViT(1, 12, image=8, patch=4, depth=1, heads=3)
    with pytest.raises(UserError, match="backbone.image is 8, but the images are 16×16"):
        vit(torch.zeros(1, 1, 16, 16))


def test_vit_b_16_is_trained_and_embedded_at_its_own_size():
    study = load_study("imagenet_vit")
    assert study.nesting == (12, 24, 48, 96, 192, 384, 768) and study.dim == study.nesting[-1]
    side = study.backbone["image"]
    assert study.training["augment"]["crop"]["side"] == [side] and study.training["evaluation_crop"] == side
    assert study.source_options["size"] >= side
    # Random and first features are those of the plain network alone.
    assert {study.method(name).source for name in ("random_features", "first_features")} == {"fixed_feature"}
    assert [net.sizes for net in study.method("fixed_feature").networks] == [(768,)]
    with pytest.raises(UserError, match="interpolated: size 800 is longer than the embedding"):
        load_study("imagenet_vit", interpolated=[18, 800])


# --- the contrastive objective --------------------------------------------------------------------


def double_loop(images, texts, own, scale, m):
    """InfoNCE in both directions, image by image and caption by caption."""
    cosines = [
        [sum(x[:m] * t[:m]) / (math.sqrt(sum(x[:m] ** 2)) * math.sqrt(sum(t[:m] ** 2))) for t in texts]
        for x in images
    ]
    scores = [[scale * value for value in row] for row in cosines]
    across, down = [], []
    for i in range(len(images)):
        total = sum(math.exp(value) for value in scores[i])
        across.append(-math.log(math.exp(scores[i][own[i]]) / total))
    for j in range(len(texts)):
        total = sum(math.exp(scores[i][j]) for i in range(len(images)))
        positives = [i for i in range(len(images)) if own[i] == j]
        down.append(-sum(math.log(math.exp(scores[i][j]) / total) for i in positives) / len(positives))
    return (sum(across) / len(across) + sum(down) / len(down)) / 2


def two_towers(sizes, captions, dim=6, **given):
    torch.manual_seed(0)
    backbone = nn.Flatten()
    backbone.dim = dim
    chosen = options(METHOD, "image_text", vocabulary=16, depth=1, heads=2, **given)
    return image_text.build(backbone, len(captions), sizes, chosen, captions).double()


def test_blocks_of_the_text_tower_start_apart():
    first, second = TextEncoder(8, depth=2, heads=2, mlp=None).blocks.layers
    assert not torch.equal(first.linear1.weight, second.linear1.weight)


def test_the_temperature_comes_back_from_its_bound():
    learner = two_towers((2, 6), CAPTIONS)
    with torch.no_grad():
        learner.log_scale.fill_(9.0)
    learner.after_step(1, 10)
    assert learner.log_scale.exp().item() == pytest.approx(image_text.LARGEST_SCALE)
    images = torch.randn(5, 1, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    learner.loss(images, torch.tensor([3, 0, 3, 1, 0]), 0.0, np.random.default_rng(0))[0].backward()
    assert learner.log_scale.grad.item() != 0


CAPTIONS = torch.tensor([[CLS, 6, 7, SEP], [CLS, 8, SEP, PAD], [CLS, 9, 6, SEP], [CLS, 7, SEP, PAD]])


def test_info_nce_at_every_size_is_the_double_loop_with_its_gradients():
    generator = torch.Generator().manual_seed(1)
    sizes, labels = (2, 3, 6), torch.tensor([3, 0, 3, 1, 0])  # classes twice, one class absent
    learner = two_towers(sizes, CAPTIONS)
    images = torch.randn(5, 1, 2, 3, generator=generator, dtype=torch.float64)
    loss, hits = learner.loss(images, labels, 0.0, np.random.default_rng(0))
    loss.backward()

    present = [0, 1, 3]
    own = [present.index(label) for label in labels]
    with torch.no_grad():
        z, texts = learner.features(images), learner.features(CAPTIONS[present])
    scale = math.exp(learner.log_scale.item())
    x, t = z.numpy(), texts.numpy()
    by_hand = [double_loop(x, t, own, scale, m) for m in sizes]
    assert loss.item() == pytest.approx(sum(by_hand), rel=1e-12)
    for m in sizes:
        cosines = x[:, :m] @ t[:, :m].T / np.linalg.norm(t[:, :m], axis=1)
        assert hits[m].tolist() == [int(row.argmax()) == column for row, column in zip(cosines, own)]

    # Gradients by central differences: of the temperature, and of a weight of either tower.
    def total():
        with torch.no_grad():
            return float(learner.loss(images, labels, 0.0, np.random.default_rng(0))[0])

    for parameter, place in (
        (learner.log_scale, ()),
        (learner.from_image.weight, (1, 4)),
        (learner.from_text.weight, (5, 2)),
        (learner.token_embedding.weight, (7, 3)),
    ):
        step = 1e-6
        with torch.no_grad():
            parameter[place] += step
            up = total()
            parameter[place] -= 2 * step
            down = total()
            parameter[place] += step
        assert float(parameter.grad[place]) == pytest.approx((up - down) / (2 * step), rel=1e-5, abs=1e-8)


def test_training_is_counted_with_a_caption_for_each_image():
    learner = two_towers((2, 6), CAPTIONS)
    images = torch.zeros(2, 1, 2, 3, dtype=torch.float64)

    def step(labels):
        return count_macs(lambda: learner.loss(images, labels, 0.0, np.random.default_rng(0))[0].backward())

    one, two = step(torch.tensor([0, 0])), step(torch.tensor([0, 1]))
    assert macs_per_image(learner, images)["macs_training"] == two // 2 > one // 2


def test_info_nce_is_zero_only_for_perfect_scores_and_log_n_for_equal_ones():
    positive = torch.eye(4, dtype=torch.bool)
    assert float(info_nce(torch.zeros(4, 4), positive)) == pytest.approx(math.log(4), rel=1e-6)
    assert float(info_nce(200 * torch.eye(4), positive)) == pytest.approx(0, abs=1e-6)


def test_nesting_changes_nothing_but_the_sizes():
    """Weights at the start, and each size's own term, are the same whatever other sizes there are."""
    images = torch.randn(4, 1, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    labels = torch.tensor([0, 1, 2, 3])

    def contrast(sizes):
        learner = two_towers(sizes, CAPTIONS)
        return learner, learner.loss(images, labels, 0.0, np.random.default_rng(0))[0].item()

    tokens = torch.from_numpy(np.random.default_rng(0).integers(5, 20, (3, 9)))

    def language(sizes):
        settings = {"backbone": ENCODER, "baseline": "masked_lm", "sizes": sizes, "options": LANGUAGE}
        learner = build_learner(settings, 20, 9, 0)
        return learner, float(learner.loss(tokens, labels[:3], 0.0, np.random.default_rng(0))[0].detach())

    for make in (contrast, language):
        (whole, both), (small, first), (_, last) = make((2, 6)), make((2,)), make((6,))
        assert both == pytest.approx(first + last, rel=1e-6)
        for one, other in zip(whole.state_dict().values(), small.state_dict().values(), strict=True):
            assert torch.equal(one, other)


# --- image–text worlds and their training ---------------------------------------------------------

TINY = {"classes": 12, "unseen": 5, "train": 4, "val": 2, "database": 3, "query": 2}


TRAINING = {
    "epochs": 2,
    "batch_size": 16,
    "learning_rate": 0.01,
    "optimizer": "adamw",
    "precision": "float32",
}


@contextmanager
def finished(root, source, given, methods, tasks, **config):
    """A study trained, embedded and measured in a folder of its own: (study, layout, dataset)."""
    study = Study(
        {
            "name": "tiny",
            "title": "tiny",
            "data": {"source": source.__name__.split(".")[1], **given},
            "nesting": [4, 8],
            "seeds": [0],
            "training": TRAINING,
            "methods": methods,
            "tasks": dict.fromkeys(tasks),
            "figures": [],
            **config,
        }
    )
    embed = {"trained": embed_trained, "fitted": embed_fitted, "control": embed_control}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        layout = Layout(study.name)
        build(source, layout.data, **given)
        for network in study.networks:
            train_network(study, network, 0, "cpu", Group(), "cpu")
        for method in study.methods.values():
            embed[method.kind](study, method, 0, "cpu")
        for method, name in set(study.measured()):
            found = MEASURE.load(name).measure(
                Representation(layout.embeddings(method, 0)),
                Dataset(layout.data),
                study.measure_options(name) | ({"k": 5} if name != "predict" else {}),
            )
            files.write_npz(layout.outcomes(method, 0, name), found)
        yield study, layout, Dataset(layout.data)


def tables_and_figures(study, layout, figures):
    """Every task's table, written where figures look for it; each figure is drawn."""
    tables = {}
    for task in study.tasks:
        tables[task] = table = tabulate(study, task, layout)
        with files.write_aside(layout.table(task)) as path:
            table.to_csv(path, index=False)
        both = table.dropna(subset=["low", "high"])
        assert len(table) and (both["low"] <= both["value"]).all() and (both["value"] <= both["high"]).all()
        keys = [column for column in table if column not in ("value", "low", "high")]
        assert not table.duplicated(keys).any()
    for figure in figures:
        drawn = FIGURE.load(figure).draw(Drawing(study, layout))
        assert all(axes.has_data() for axes in drawn.axes)
        drawn.canvas.draw()
    return tables


@pytest.fixture(scope="module")
def glyph_study(tmp_path_factory):
    """Image–text contrast on 12 characters, and 5 that are held out."""
    methods = {
        "mrl": {"baseline": "image_text", "depth": 1, "heads": 2},
        "fixed_feature": {"baseline": "image_text", "depth": 1, "heads": 2, "nesting": [8]},
        "random_features": {"probe": False, "draws": 2},
        "first_features": None,
        "control_label": None,
        "control_random": None,
    }
    with finished(
        tmp_path_factory.mktemp("image_text"),
        glyph_captions,
        TINY,
        methods,
        ["zero_shot", "text_retrieval", "cosine_margin", "findings_image_text", "cost"],
        backbone={"name": "small_resnet", "dim": 8, "widths": [4, 8]},
    ) as done:
        yield done


def test_held_out_classes_never_reach_image_text_training(glyph_study, monkeypatch):
    _study, layout, dataset = glyph_study
    assert dataset.num_classes == 12 and len(dataset.classes) == 17
    for split in ("train", "val"):
        assert dataset.labels(split).max() < dataset.num_classes
    for split in ("database", "query"):
        assert dataset.labels(split).min() >= dataset.num_classes

    # What training is handed: the captions of seen classes, and no other row.
    handed = seen_captions(dataset)
    assert torch.equal(handed, torch.from_numpy(dataset["captions"].images[:12].astype(np.int64)))
    learner, _, _ = load_network(layout.network("mrl", 0))
    assert torch.equal(learner.captions, handed)
    unseen = dataset["captions"].images[12:]
    for row in unseen:
        assert not (learner.captions.numpy() == row).all(1).any()

    # And nothing of them in the vocabulary: a word that only unseen names have is not a piece of its own.
    names = dataset.classes["caption"]
    seen_words = {word for name in names[:12] for word in name.lower().split()}
    pieces = (layout.data / "vocabulary.txt").read_text().split("\n")
    for name in names[12:]:
        for word in set(name.lower().split()) - seen_words:
            assert word not in pieces or len(word) == 1


def test_a_loaded_two_tower_network_embeds_images_and_captions_as_it_was_trained(glyph_study):
    _study, layout, dataset = glyph_study
    learner, normalise, _ = load_network(layout.network("mrl", 0))
    found = Representation(layout.embeddings("mrl", 0))
    with torch.no_grad():
        for split in ("captions", "query"):
            expected = learner.features(normalise(dataset[split].images)).numpy()
            np.testing.assert_allclose(found.array(split), expected, atol=1e-5)
    weight, bias = found.classifier(found.views[0], 4)
    np.testing.assert_allclose(
        weight / np.linalg.norm(weight, axis=1, keepdims=True),
        found.array("captions")[:12, :4]
        / np.linalg.norm(found.array("captions")[:12, :4], axis=1, keepdims=True),
        atol=1e-5,
    )
    assert not bias.any()
    # 12 captions; smaller sizes are prefixes of the largest, normalised anew.
    assert found.meta["classifier_parameters"] == {"0": 12 * 9, "4": 12 * 5, "8": 12 * 9}


def test_cross_modal_outcomes_are_the_brute_force_ones(glyph_study):
    study, layout, dataset = glyph_study
    found_in = Representation(layout.embeddings("mrl", 0))
    found = measure(found_in, dataset, study, {"k": 3, "seed": 0})
    for split, candidates in (("val", range(12)), ("query", range(12, 17))):
        images, texts = found_in.array(split), found_in.array("captions")
        for place, m in enumerate((4, 8)):
            table = np.array(
                [[cosine(x[None, :m], texts[c][None, :m])[0] for c in candidates] for x in images]
            )
            best = np.argsort(-table, axis=1, kind="stable")[:, :3] + candidates[0]
            assert np.array_equal(found[f"{split}/to_text"][0, place], best)
            best = np.argsort(-table.T, axis=1, kind="stable")[:, :3]
            assert np.array_equal(found[f"{split}/to_image"][0, place], best)
            own = table[np.arange(len(images)), dataset.labels(split) - candidates[0]]
            np.testing.assert_allclose(found[f"{split}/cosine/positive"][0, place], own, atol=1e-6)


def test_image_text_tables_lie_between_floor_and_ceiling(glyph_study):
    study, layout, dataset = glyph_study
    tables = tables_and_figures(study, layout, ["zero_shot", "text_retrieval", "cosine_margin"])
    for name in ("zero_shot", "text_retrieval"):
        table = tables[name]
        np.testing.assert_allclose(table[table["method"] == "control_label"]["value"], 1)
        floor = table[(table["method"] == "control_random") & (table["metric"] == "top1")]["value"]
        assert (floor < 0.6).all()
    margins = tables["cosine_margin"]
    ceiling = margins[(margins["method"] == "control_label") & (margins["pair"] == "positive")]
    np.testing.assert_allclose(ceiling["value"], 1, atol=1e-6)

    # At d, random and first features are the plain model.
    zero_shot = tables["zero_shot"].query("classes == 'unseen' and metric == 'top1'")
    full = zero_shot[zero_shot["dim"] == 8].set_index("method")["value"]
    assert full["fixed_feature"] == full["first_features"] == full["random_features"]

    # The findings read the same outcomes.
    margins = margins.query("classes == 'unseen' and metric == 'margin'")
    run = Run(study, dataset, study.method("mrl"), 0, "findings_image_text", {}, layout)
    for read, table in (
        (findings_image_text.zero_shot_hits, zero_shot),
        (findings_image_text.cosine_margins, margins),
    ):
        rows = table[table["method"] == "mrl"].sort_values("dim")
        np.testing.assert_allclose(read(run)[1].mean((0, 2)), rows["value"], rtol=1e-5)
    claims = tables["findings_image_text"].set_index("finding")
    margin = margins[margins["dim"] == 8].set_index("method")["value"]
    difference = margin["mrl"] - margin["fixed_feature"]
    assert claims.loc["margin_wider", "value"] == pytest.approx(difference, rel=1e-4)
    assert set(claims["shown"]) <= {"shown", "not shown", "not tested"}


@pytest.mark.parametrize("name", ["classes", "unseen"])
def test_one_character_is_told_apart_from_nothing(name, tmp_path):
    with pytest.raises(UserError, match=f"{name} is 1, allowed: whole numbers from 2"):
        build(glyph_captions, tmp_path, **(TINY | {name: 1}))


def test_random_pairs_are_of_other_classes():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 200) * 3
    other = different(labels, np.array([0, 3, 6, 9]), rng)
    assert not (other == labels).any() and set(other) == {0, 3, 6, 9}
    rows = labels_to_rows(labels, other, rng)
    assert np.array_equal(labels[rows], other)


def test_two_towers_refuse_data_without_captions_and_foreign_tokens():
    vit = ViT(1, 12, image=8, patch=4, depth=1, heads=3)
    with pytest.raises(UserError, match="needs data with captions"):
        image_text.build(vit, 3, (12,), options(METHOD, "image_text"), captions=None)
    with pytest.raises(UserError, match="captions hold token 16, but image_text.vocabulary is 16"):
        two_towers((2,), CAPTIONS + 7)


# --- image–caption pairs of the user --------------------------------------------------------------


def picture(path, shade, size=8):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (size, size), shade).save(path)


def pairs(folder, n=10):
    """A folder of n images with captions of their own."""
    for i in range(n):
        picture(folder / "images" / f"{i}.png", 20 * i)
    rows = [f"images/{i}.png,shade number {i}" for i in range(n)]
    (folder / "captions.csv").write_text("image,caption\n" + "\n".join(rows) + "\n")
    return folder


def as_tar(folder, path, leave_out=()):
    """The same pairs as a webdataset."""
    table = pd.read_csv(folder / "captions.csv")
    with tarfile.open(path, "w") as archive:
        for i, (image, caption) in enumerate(table.itertuples(index=False)):
            members = {"png": (folder / image).read_bytes(), "txt": caption.encode()}
            for suffix, content in members.items():
                if f"{i}.{suffix}" not in leave_out:
                    info = tarfile.TarInfo(f"part/{i:03d}.{suffix}")
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("kind", ["folder", "table", "tar"])
def test_pairs_from_folder_table_and_tar_are_the_same_world(kind, tmp_path):
    folder = pairs(tmp_path / "pairs")
    root = {
        "folder": folder,
        "table": folder / "captions.csv",
        "tar": tmp_path / "pairs.tar",
    }[kind]
    as_tar(folder, tmp_path / "pairs.tar")
    dataset = build(image_captions, tmp_path / "dataset", root=str(root), size=8, channels=1, held_out=0.2)
    assert dataset.splits == ["train", "query", "captions"] and dataset.num_classes == 8
    assert dataset.classes["name"].nunique() == 10
    for split in ("train", "query"):
        for image, label in zip(dataset[split].images, dataset.labels(split)):
            assert dataset.classes["name"][label] == f"shade number {image[0, 0, 0] // 20}"


def test_captions_that_read_alike_are_one_class(tmp_path):
    folder = pairs(tmp_path / "pairs")
    table = (folder / "captions.csv").read_text().replace("shade number 4", "Sháde  NUMBER 3")
    (folder / "captions.csv").write_text(table)
    dataset = build(image_captions, tmp_path / "dataset", root=str(folder), size=8, channels=1, held_out=0.4)
    assert len(dataset.classes) == 9
    for length, message in (
        (2, "length is 2: a caption needs 3 tokens"),
        (3, "is the same 3 tokens as 'shade"),
    ):
        options = {"root": str(folder), "size": 8, "channels": 1, "length": length}
        with pytest.raises(UserError, match=message):
            build(image_captions, tmp_path / f"dataset{length}", **options)


def test_captions_held_out_need_images_that_are_not_in_train(tmp_path):
    folder = pairs(tmp_path / "pairs")
    dataset = build(image_captions, tmp_path / "dataset", root=str(folder), size=8, channels=1, held_out=0.2)
    copied, trained = dataset["query"].items["caption"][0], dataset["train"].items["caption"][0]
    places = [folder / "images" / f"{caption.split()[-1]}.png" for caption in (trained, copied)]
    places[1].write_bytes(places[0].read_bytes())
    with pytest.raises(UserError, match="all captions held out but one are also in train"):
        build(image_captions, tmp_path / "again", root=str(folder), size=8, channels=1, held_out=0.2)


def pairs_example():
    """The study that docs/beyond.md shows for one's own pairs."""
    example = next(
        part
        for part in re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/beyond.md").read_text("utf-8"), re.DOTALL)
        if "image_captions" in part
    )
    return yaml.safe_load((STUDIES / "image_text.yaml").read_text("utf-8")) | yaml.safe_load(example)


def test_a_study_of_own_pairs_runs_to_its_figures(tmp_path):
    example = Study(pairs_example())
    folder = pairs(tmp_path / "pairs", 16)
    own = {
        "root": str(folder),
        "size": 8,
        "channels": 1,
        "held_out": 0.3,
        "vocabulary": 64,
        "length": 8,
    }
    methods = {
        "mrl": {"baseline": "image_text", "depth": 1, "heads": 2, "vocabulary": 64},
        "fixed_feature": {
            "baseline": "image_text",
            "depth": 1,
            "heads": 2,
            "vocabulary": 64,
            "nesting": [8],
        },
        "random_features": {"probe": False, "draws": 2},
        "control_random": None,
    }
    backbone = {"name": "small_resnet", "dim": 8, "widths": [4, 8]}
    training = TRAINING | {"augment": {"flip": True}}
    settings = {"backbone": backbone, "training": training, "interpolated": [6]}
    with finished(tmp_path, image_captions, own, methods, example.tasks, **settings) as (
        study,
        layout,
        dataset,
    ):
        assert dataset.splits == ["train", "query", "captions"]
        tables = tables_and_figures(study, layout, example.figures)
        found = tables["findings_image_text"].set_index("finding")
        assert set(found.loc[["knn_random", "knn_small"], "shown"]) == {"not tested"}
        assert found.loc["knn_random", "numbers"] == "the study has no split val"
        chance = found.loc["zero_shot_chance"]
        assert chance["split"] == "query" and chance["n"] == len(dataset.labels("query"))


def test_an_image_with_captions_of_both_sides_is_trained_on_and_not_tested(tmp_path):
    folder = pairs(tmp_path / "pairs")
    more = "".join(f"images/{i}.png,another caption {i}\n" for i in range(10))
    table = (folder / "captions.csv").read_text() + more
    (folder / "captions.csv").write_text(table)
    dataset = build(image_captions, tmp_path / "dataset", root=str(folder), size=8, channels=1, held_out=0.5)
    names = {split: set(dataset[split].items["id"].str.split("#").str[0]) for split in ("train", "query")}
    assert names["train"] and names["query"] and not names["train"] & names["query"]


def missing_image(folder):
    (folder / "images" / "3.png").unlink()
    return "names 1 images that are not there, first .*3.png"


def no_column(folder):
    (folder / "captions.csv").write_text("file,caption\na,b\n")
    return "needs image, caption"


def not_text(folder):
    (folder / "captions.csv").write_bytes(b"image,caption\n\xff\xfe,x\n")
    return "is not a table in UTF-8"


def not_a_picture(folder):
    (folder / "images" / "3.png").write_text("no picture")
    return "cannot read image images/3.png"


def empty_caption(folder):
    table = (folder / "captions.csv").read_text().replace("shade number 4", "  ")
    (folder / "captions.csv").write_text(table)
    return "1 captions are empty, first that of images/4.png"


def one_caption(folder):
    table = "image,caption\nimages/1.png,x y\nimages/2.png,x y\n"
    (folder / "captions.csv").write_text(table)
    return "1 different captions: two are needed on either side"


@pytest.mark.parametrize(
    "harm", [missing_image, no_column, not_text, not_a_picture, empty_caption, one_caption]
)
def test_bad_caption_tables_are_refused_before_anything_is_trained(harm, tmp_path):
    folder = pairs(tmp_path / "pairs")
    message = harm(folder)
    with pytest.raises(UserError, match=message):
        build(image_captions, tmp_path / "dataset", root=str(folder), size=8, channels=1)
    assert not (tmp_path / "dataset" / "manifest.json").exists()


def test_bad_webdatasets_are_refused(tmp_path):
    folder = pairs(tmp_path / "pairs")
    for root, message in (
        (
            as_tar(folder, tmp_path / "a.tar", leave_out=["4.txt"]),
            "1 keys have an image or a caption .* alone",
        ),
        (tmp_path / "none.tar", "no file"),
    ):
        with pytest.raises(UserError, match=message):
            build(image_captions, tmp_path / "dataset", root=str(root))
    twice = tmp_path / "twice.tar"
    with tarfile.open(as_tar(folder, twice), "a") as archive:
        archive.add(folder / "images" / "0.png", "part/000.jpg")
    with pytest.raises(UserError, match=r"part/000.png and part/000.jpg are images of one key"):
        build(image_captions, tmp_path / "dataset", root=str(twice))
    whole = gzip.compress((tmp_path / "a.tar").read_bytes())
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="is not a whole .tar"):
        build(image_captions, tmp_path / "dataset", root=str(tmp_path / "cut.tar"))
    (tmp_path / "folder.tar").mkdir()
    with pytest.raises(UserError, match="is not a whole .tar: .*directory"):
        build(image_captions, tmp_path / "dataset", root=str(tmp_path / "folder.tar"))
    (tmp_path / "text.tar").write_text("no archive")
    with pytest.raises(UserError, match="is not a whole .tar"):
        build(image_captions, tmp_path / "dataset", root=str(tmp_path / "text.tar"))


# --- word pieces ----------------------------------------------------------------------------------


def test_word_pieces_are_the_longest_that_match():
    pieces = WordPieces([*SPECIAL, "un", "##able", "##ab", "##le", "##a", "a", "."])
    assert pieces.pieces("Unable a.") == ["un", "##able", "a", "."]
    assert pieces.encode("unknown") == [UNK]
    assert pieces.pieces("ÁA") == ["a", "##a"]  # lower case, without accents


def test_a_learned_vocabulary_spells_every_word_of_its_text():
    documents = ["a rose is a rose", "rows of roses"]
    vocabulary = learn_vocabulary(documents, 30)
    assert vocabulary[:5] == list(SPECIAL) and vocabulary[-5:] == ["rose", "is", "of", "roses", "rows"]
    pieces = WordPieces(vocabulary)
    assert pieces.pieces("rose rewo") == ["rose", "r", "##e", "##w", "##o"]
    assert UNK not in pieces.encode(" ".join(documents))
    with pytest.raises(UserError, match="a vocabulary of 9 does not even hold"):
        learn_vocabulary(documents, 9)


def test_bert_vocabulary_files_are_checked(tmp_path):
    path = tmp_path / "vocab.txt"
    with pytest.raises(UserError, match="no vocabulary"):
        read_vocabulary(path)
    path.write_text("[PAD]\n[UNK]\nthe\n[CLS]\n[SEP]\n[MASK]\na\n")
    assert read_vocabulary(path) == [*SPECIAL, "the", "a"]
    path.write_text("[PAD]\n[UNK]\nthe\n")
    with pytest.raises(UserError, match=r"lacks \[CLS\], \[SEP\], \[MASK\]"):
        read_vocabulary(path)
    path.write_text("\n".join([*SPECIAL, "<S>", "the", "The", "##T"]))
    with pytest.raises(UserError, match="is cased: 2 pieces begin with a capital, first The, ##T"):
        read_vocabulary(path)
    path.write_bytes(b"[PAD]\n\xff\n")
    with pytest.raises(UserError, match="not UTF-8 text: byte 6 is 0xff"):
        read_vocabulary(path)


# --- text -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Twelve documents of words that occur nowhere else, and the dataset built from them."""
    root = tmp_path_factory.mktemp("texts")
    words = "one two three four five six seven eight nine ten"
    for i in range(12):
        (root / f"{i:02d}.txt").write_text(" ".join(f"document{chr(97 + i)} {words}." for _ in range(6)))
    folder = root / "dataset"
    return root, build(text, folder, root=str(root), length=20, vocabulary=200, val_fraction=0.25)


def test_a_document_is_in_one_split_only(corpus):
    root, dataset = corpus
    documents = {name: set(dataset[name].items["document"]) for name in ("train", "val")}
    assert len(documents["train"]) == 9 and len(documents["val"]) == 3
    assert not documents["train"] & documents["val"]
    # And it is its own text that stands there: words of a val document are in no row of train.
    pieces = WordPieces(dataset.classes["name"].tolist())
    whole = {
        name: {tuple(pieces.encode(path.read_text())) for path in root.glob("*.txt") if path.name in some}
        for name, some in documents.items()
    }
    for name in ("train", "val"):
        streams = [" ".join(map(str, ids)) for ids in whole[name]]
        for row in dataset[name].images[:40]:
            tokens = [str(t) if t != MASK else None for t in row[1:] if t not in (CLS, SEP, PAD)]
            runs = [run for run in "|".join(t or "" for t in tokens).split("||") if run.strip("|")]
            assert any(all(run.strip("|").replace("|", " ") in stream for run in runs) for stream in streams)


def test_rows_ask_for_the_token_that_is_hidden(corpus):
    _, dataset = corpus
    val, train = dataset["val"], dataset["train"]
    for row, label in zip(val.images, val.labels):
        assert row[1 + row[0]] == MASK and label >= len(SPECIAL)
    position, tokens = train.images[:, 0], train.images[:, 1:]
    assert np.array_equal(tokens[np.arange(len(tokens)), position], train.labels)
    assert not (tokens == MASK).any() and len(train) == len(np.unique(tokens, axis=0)) + repeated(tokens)
    # Every masked position of a sequence is a row, and there are 15 % of them.
    sequences, counts = np.unique(val.images[:, 1:], axis=0, return_counts=True)
    assert np.array_equal((sequences == MASK).sum(1), counts) or repeated(val.images[:, 1:])
    words = (sequences >= MASK).sum(1)
    np.testing.assert_array_equal((sequences == MASK).sum(1), np.maximum(1, np.round(0.15 * words)))


def repeated(rows):
    """How many rows are copies of earlier ones."""
    return len(rows) - len(np.unique(rows, axis=0))


def test_choose_masked_takes_a_share_and_never_a_special_token():
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 30, (50, 40))
    chosen = choose_masked(tokens, 0.15, rng)
    allowed = tokens >= len(SPECIAL)
    assert not (chosen & ~allowed).any()
    assert np.array_equal(chosen.sum(1), np.maximum(1, np.round(0.15 * allowed.sum(1))))
    assert not choose_masked(np.zeros((2, 5), int), 0.15, rng).any()


def test_the_corpus_inside_python_is_divided_by_document():
    documents = text.python_text(Path(json.__file__).parent)
    chosen = text.divide(sorted(documents), 0.1, 0)
    assert sum("module" in name for name in documents) >= 4 and not set(chosen["train"]) & set(chosen["val"])
    assert sum("topic" in name for name in documents) > 50
    assert chosen == text.divide(sorted(documents), 0.1, 0) != text.divide(sorted(documents), 0.1, 1)


def test_what_val_quotes_from_train_is_left_out_of_it(tmp_path):
    rng = np.random.default_rng(0)
    words = [f"{a}{b}" for a in "bcdfgh" for b in "aeiou"]
    own = [list(rng.choice(words, 90)) for _ in range(12)]
    for i, some in enumerate(own):
        quoted = own[(i + 1) % 12][30:60] + own[(i + 5) % 12][:25]  # each quotes two others
        (tmp_path / f"{i:02d}.txt").write_text(" ".join(some[:45] + quoted + some[45:]))
    (tmp_path / "copy.txt").write_text((tmp_path / "00.txt").read_text())
    dataset = build(
        text, tmp_path / "dataset", root=str(tmp_path), length=40, vocabulary=60, val_fraction=0.4
    )
    documents = {name: set(dataset[name].items["document"]) for name in ("train", "val")}
    assert len(documents["train"] | documents["val"]) == 12  # the copy is none of its own
    cutter = WordPieces(dataset.classes["name"].tolist())
    train = [cutter.encode((tmp_path / name).read_text()) for name in documents["train"]]
    stands = {tuple(ids[i : i + text.RUN]) for ids in train for i in range(len(ids) - text.RUN + 1)}
    whole = {name: cutter.encode((tmp_path / name).read_text()) for name in documents["val"]}
    assert any(tuple(ids[i : i + text.RUN]) in stands for ids in whole.values() for i in range(len(ids)))
    known = np.unique(np.concatenate([text.runs(ids) for ids in train]))
    kept = 0
    for ids in whole.values():
        parts = text.without_runs(ids, known)
        kept += sum(map(len, parts))
        for part in parts:
            assert not any(tuple(part[i : i + text.RUN]) in stands for i in range(len(part)))
    # And what is written: every sequence of val, with the tokens that its rows ask for.
    sequences = {}
    for row, label in zip(dataset["val"].images.tolist(), dataset.labels("val").tolist()):
        sequences.setdefault(tuple(row[1:]), row[1:])[row[0]] = label
    assert len(sequences) > 1
    for ids in sequences.values():
        ids = [token for token in ids if token not in (CLS, SEP, PAD)]
        assert not any(tuple(ids[i : i + text.RUN]) in stands for i in range(len(ids)))
    facts = files.read_json(tmp_path / "dataset" / "corpus.json")
    assert facts["quoted_from_train"] == sum(map(len, whole.values())) - kept > 0


def test_text_that_is_everywhere_the_same_is_refused(tmp_path):
    for name in "abcd":
        (tmp_path / f"{name}.txt").write_text("the same words in every file of the folder")
    with pytest.raises(UserError, match="all 4 documents have the same text"):
        build(text, tmp_path / "dataset", root=str(tmp_path))


def test_docstrings_are_found_wherever_python_lies(tmp_path):
    library = tmp_path / "tests" / "site-packages" / "lib"
    (library / "test").mkdir(parents=True)
    (library / "one.py").write_text('"""What the module does."""\n')
    (library / "test" / "two.py").write_text('"""Not English text."""\n')
    modules = [name for name in text.python_text(library) if name.startswith("module")]
    assert modules == ["module one"]


@pytest.mark.parametrize(
    "files, message",
    [
        ({}, "holds 0 text files"),
        ({"a.txt": b"one document"}, "holds 1 text files"),
        ({"a.txt": b"good text", "b.txt": b"bad \xff text"}, "b.txt is not UTF-8 text: byte 4 is 0xff"),
        ({"a.txt": b"too short", "b.txt": b"as well"}, "hold no sequence of 8 tokens"),
    ],
)
def test_unreadable_text_is_refused_before_anything_is_trained(files, message, tmp_path):
    (tmp_path / "texts").mkdir()
    for name, content in files.items():
        (tmp_path / "texts" / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        build(text, tmp_path / "dataset", root=str(tmp_path / "texts"))
    with pytest.raises(UserError, match="no folder"):
        build(text, tmp_path / "dataset", root=str(tmp_path / "nowhere"))


# --- masked language models -----------------------------------------------------------------------

LANGUAGE = {"loss_weights": None, "masked": 0.15}


def language_model(sizes=(4, 8), vocabulary=30):
    torch.manual_seed(0)
    return masked_lm.build(build_backbone(ENCODER, 9), vocabulary, sizes, LANGUAGE)


def test_only_masked_positions_are_scored():
    """The loss is that of the chosen positions and no others, size by size."""
    learner = language_model().double()
    rng = np.random.default_rng(3)
    rows = torch.from_numpy(rng.integers(5, 30, (4, 13)))
    loss, hits = learner.loss(rows, torch.zeros(4), 0.0, np.random.default_rng(7))
    shown, hidden = hide(rows[:, 1:], 0.15, 30, np.random.default_rng(7))
    assert hidden.sum(1).tolist() == [2, 2, 2, 2]  # 15 % of 12
    assert torch.equal(shown[~hidden], rows[:, 1:][~hidden])
    states = learner.encode(shown).detach().numpy()
    weight, bias = learner.head.weight.detach().numpy(), learner.head.bias.detach().numpy()
    expected, found = 0.0, {4: [], 8: []}
    for m in (4, 8):
        terms = []
        for row, place in np.argwhere(hidden.numpy()):
            scores = weight[:, :m] @ states[row, place, :m] + bias
            target = int(rows[row, 1 + place])
            terms.append(math.log(np.exp(scores).sum()) - scores[target])
            found[m].append(bool(scores.argmax() == target))
        expected += np.mean(terms)
    assert loss.item() == pytest.approx(expected, rel=1e-9)
    assert {m: values.tolist() for m, values in hits.items()} == found


def test_hiding_follows_berts_shares():
    tokens = torch.full((200, 100), 7)
    shown, hidden = hide(tokens, 0.15, 1000, np.random.default_rng(0))
    assert int(hidden.sum()) == 3000
    there = shown[hidden]
    assert (there == MASK).float().mean() == pytest.approx(0.8, abs=0.03)
    assert (there == 7).float().mean() == pytest.approx(0.1, abs=0.03)
    assert int(shown[hidden].min()) >= MASK  # never another special token


def test_features_hide_what_they_are_asked_for():
    learner = language_model().eval()
    rows = torch.tensor([[2, CLS, 9, 11, 12, SEP], [3, CLS, 9, 11, 12, SEP], [2, CLS, 9, 20, 12, SEP]])
    z = learner.features(rows)
    assert torch.allclose(z[0], z[2], atol=1e-6)  # the third token cannot be seen
    assert not torch.allclose(z[0], z[1], atol=1e-3)
    # Rows about one masked sequence share a forward pass and still differ by position.
    asked = torch.tensor([[1, CLS, MASK, MASK, 12, SEP], [2, CLS, MASK, MASK, 12, SEP]])
    states = learner.encode(asked[:1, 1:])[0]
    torch.testing.assert_close(learner.features(asked), states[[1, 2]])


def test_padding_changes_nothing():
    learner = language_model().eval()
    short, long = torch.tensor([[1, CLS, 9, 11, SEP]]), torch.tensor([[1, CLS, 9, 11, SEP, PAD, PAD]])
    torch.testing.assert_close(learner.features(short), learner.features(long))


def test_the_head_of_every_size_is_the_embedding_matrix():
    learner = language_model()
    for m in (4, 8):
        weight, _ = learner.classifier(m)
        assert torch.equal(weight, prefix(learner.head.weight, m))
    before = learner.encode(torch.tensor([[CLS, 9, SEP]])).detach()
    with torch.no_grad():
        learner.head.weight[9] += 1
    assert not torch.allclose(before, learner.encode(torch.tensor([[CLS, 9, SEP]])))  # tokens come in by it


def test_fixed_feature_is_the_nested_model_with_one_size():
    torch.manual_seed(0)
    fixed = masked_lm_fixed.build(build_backbone(ENCODER, 9), 30, (4,), {"masked": 0.15})
    nested = language_model(sizes=(4,))
    rows = torch.from_numpy(np.random.default_rng(0).integers(5, 30, (3, 13)))
    losses = [learner.loss(rows, None, 0.0, np.random.default_rng(0))[0] for learner in (fixed, nested)]
    assert torch.equal(*losses)


def test_tokens_pass_the_normalisation_as_they_are():
    tokens = np.array([[1, 4000], [2, 3]], np.int32)
    passed = Normalise.of(tokens)(tokens)
    assert passed.dtype == torch.int64 and passed.tolist() == tokens.tolist()


def test_text_encoder_reads_in_both_directions_and_knows_positions():
    torch.manual_seed(0)
    encoder = TextEncoder(8, 1, 2, None).eval()
    x = torch.randn(1, 5, 8)
    nothing = torch.zeros(1, 5, dtype=torch.bool)
    changed = x.clone()
    changed[0, 4] += torch.randn(8)
    assert not torch.allclose(encoder(x, nothing)[0, 0], encoder(changed, nothing)[0, 0], atol=1e-5)
    swapped = x[:, [1, 0, 2, 3, 4]]
    assert not torch.allclose(encoder(x, nothing)[0, 2], encoder(swapped, nothing)[0, 2], atol=1e-5)


def test_masked_lm_tables_are_what_the_heads_predict(corpus, tmp_path):
    root, _ = corpus
    methods = {
        "mrl": {"baseline": "masked_lm"},
        "fixed_feature": {"baseline": "masked_lm_fixed"},
        "first_features": None,
        "control_label": None,
    }
    given = {"root": str(root), "length": 20, "vocabulary": 200, "val_fraction": 0.25}
    tasks = ["masked_lm", "findings_masked_lm", "cost"]
    with finished(tmp_path, text, given, methods, tasks, backbone=ENCODER) as (study, layout, dataset):
        tables = tables_and_figures(study, layout, ["masked_lm"])
        table = tables["masked_lm"].query("metric == 'top1'")
        every = table[table["tokens"] == "all"].set_index(["method", "dim"])["value"]
        assert (every["control_label"] == 1).all()
        for network, m in (("mrl", 4), ("mrl", 8), ("fixed_feature_4", 4)):
            learner, _, _ = load_network(layout.network(network, 0))
            with torch.no_grad():
                z = learner.features(torch.from_numpy(dataset["val"].images.astype(np.int64)))
                weight, bias = learner.classifier(m)
                hits = (z[:, :m] @ weight.T + bias).argmax(1).numpy() == dataset.labels("val")
            # One item may fall either way: the order of sums differs.
            found = every[study.network(network).method, m]
            assert found == pytest.approx(hits.mean(), abs=1.5 / len(hits))
        parts = table[table["tokens"] != "all"].query("method == 'mrl' and dim == 8")
        total = (parts["value"] * parts["n"]).sum() / parts["n"].sum()
        assert every["mrl", 8] == pytest.approx(total)
        assert set(tables["findings_masked_lm"]["shown"]) <= {"shown", "not shown"}


# --- checkpoints ----------------------------------------------------------------------------------


def checkpoint(folder, **changes):
    config = {
        "model_type": "bert",
        "hidden_size": 8,
        "vocab_size": 7,
        "max_position_embeddings": 32,
    } | changes
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "the", *SPECIAL[1:], "a"]) + "\n")
    return folder


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"model_type": "gpt2"}, "describes a 'gpt2' model"),
        ({"hidden_size": 16}, "backbone.dim is 8, but hidden_size .* is 16"),
        ({"max_position_embeddings": 12}, "data.length is 20, but max_position_embeddings .* is 12"),
        ({"vocab_size": 9}, "has 7 pieces, but the checkpoint embeds 9"),
    ],
)
def test_checkpoints_of_another_architecture_are_refused(changes, message, tmp_path):
    check(checkpoint(tmp_path / "good"), 8, 20)
    with pytest.raises(UserError, match=message):
        check(checkpoint(tmp_path / "bad", **changes), 8, 20)


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(UserError, match="is no checkpoint: config.json is missing"):
        build_backbone({"name": "bert_checkpoint", "dim": 8, "checkpoint": str(tmp_path)}, 21)


def test_a_checkpoint_without_transformers_says_what_to_install(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    folder = checkpoint(tmp_path / "bert")
    with pytest.raises(UserError, match=r"needs the package transformers: pip install -e '.\[bert\]'"):
        build_backbone({"name": "bert_checkpoint", "dim": 8, "checkpoint": str(folder)}, 21)


def test_a_bert_checkpoint_predicts_as_transformers_does(tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    vocabulary = ["[PAD]", "the", *SPECIAL[1:], "a", "rose"]
    config = transformers.BertConfig(
        vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=32,
    )  # fmt: skip
    reference = transformers.BertModel(config, add_pooling_layer=False).eval()
    reference.save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    backbone = build_backbone({"name": "bert_checkpoint", "dim": 8, "checkpoint": str(tmp_path)}, 9)
    learner = masked_lm.build(backbone, 8, (4, 8), LANGUAGE).eval()
    ours = read_vocabulary(tmp_path / "vocab.txt")
    row = torch.tensor([[2, *(ours.index(t) for t in ("[CLS]", "a", "[MASK]", "rose", "[SEP]", "[PAD]"))]])
    theirs = torch.tensor([[vocabulary.index(ours[t]) for t in row[0, 1:]]])
    with torch.no_grad():
        expected = reference(theirs, attention_mask=(theirs != 0).long()).last_hidden_state[0, 2]
        torch.testing.assert_close(learner.features(row)[0], expected, atol=1e-5, rtol=1e-5)
    tokeniser = transformers.BertTokenizer(str(tmp_path / "vocab.txt"))
    assert WordPieces(ours).pieces("The ROSE, a_rosé") == tokeniser.tokenize("The ROSE, a_rosé")
    with pytest.raises(UserError, match="vocabulary has 8 tokens, that of the data 30"):
        masked_lm.build(backbone, 30, (8,), LANGUAGE)

    # Weights of another network, cut-off weights and none are refused instead of left random.
    settings = {"name": "bert_checkpoint", "dim": 8, "checkpoint": str(tmp_path)}
    weights = tmp_path / "model.safetensors"
    whole = weights.read_bytes()
    other = transformers.GPT2Config(vocab_size=8, n_embd=8, n_layer=1, n_head=2, n_positions=32)
    transformers.GPT2Model(other).save_pretrained(tmp_path / "gpt")
    for content, message in (
        ((tmp_path / "gpt" / "model.safetensors").read_bytes(), "not those of a BERT: .* parts are missing"),
        (whole[: len(whole) // 2], "its weights cannot be read"),
        (None, "its weights cannot be read"),
    ):
        weights.unlink() if content is None else weights.write_bytes(content)
        with pytest.raises(UserError, match=message):
            build_backbone(settings, 9)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{not json", "config.json is not JSON"),
        ("[1]", "config.json is no configuration: it holds a list"),
        ('{"model_type": "gpt2"}', "describes a 'gpt2' model"),
        ('{"model_type": "bert", "vocab_size": 8}', "does not say hidden_size, max_position_embeddings"),
    ],
)
def test_a_config_that_is_no_berts_is_refused(config, message, tmp_path):
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(UserError, match=message):
        check(tmp_path, 8, 8)


# --- intervals over groups ------------------------------------------------------------------------


def test_clustered_interval_with_one_item_a_group_is_the_t_interval():
    from analysis.statistics import mean_interval

    values = np.random.default_rng(0).random(30)
    np.testing.assert_allclose(clustered_interval(values, np.arange(30)), mean_interval(values))


def test_clustered_interval_does_not_shrink_when_items_are_copied():
    values, groups = np.array([1.0, 0, 0, 1, 1]), np.arange(5)
    once, copied = (
        clustered_interval(values, groups),
        clustered_interval(np.tile(values, 9), np.tile(groups, 9)),
    )
    np.testing.assert_allclose(once, copied)
    with pytest.raises(ValueError, match="two or more"):
        clustered_interval(values, np.zeros(5))


def test_group_totals_keep_the_mean_over_items():
    values, groups = np.array([[1.0, 0, 1, 1], [0, 0, 0, 1]]), np.array(["b", "a", "b", "b"])
    totals = group_totals(values, groups)
    np.testing.assert_allclose(totals, [[0, 1.5], [0, 0.5]])
    np.testing.assert_allclose(totals.mean(1), values.mean(1))


# --- findings -------------------------------------------------------------------------------------


class Given:
    """Evidence with the outcomes it is given: method → size → [n]."""

    def __init__(self, **outcomes):
        self.given = outcomes
        self.evidence = Evidence({}, 0, {})

    def outcomes(self, method, metric):
        return self.given[method]

    def __getattr__(self, name):
        return getattr(self.evidence, name)


def shares(*values, n=2000):
    """Outcomes by size 2, 4, 8 …: so many hits of n, each in a random order."""
    rng = np.random.default_rng(5)
    return {
        2 ** (i + 1): rng.permutation(np.arange(n) < value * n).astype(float)
        for i, value in enumerate(values)
    }


@pytest.mark.parametrize(
    "rule, new, base, shown",
    [
        (findings.better_at_every_size, (0.5, 0.7, 0.8), (0.2, 0.5, 0.8), True),
        (findings.better_at_every_size, (0.5, 0.5, 0.8), (0.2, 0.5, 0.8), False),
        (findings.gains_most_when_small, (0.5, 0.6, 0.8), (0.2, 0.5, 0.8), True),
        (findings.gains_most_when_small, (0.3, 0.8, 0.8), (0.2, 0.5, 0.8), False),
        (findings.as_good_at_full_size, (0.1, 0.1, 0.9), (0.2, 0.5, 0.8), True),
        (findings.as_good_at_full_size, (0.1, 0.1, 0.8), (0.2, 0.5, 0.82), False),
        (findings.within_margin_at_every_size, (0.5, 0.7, 0.8), (0.5, 0.7, 0.8), True),
        (findings.within_margin_at_every_size, (0.5, 0.7, 0.8), (0.5, 0.72, 0.8), False),
        (findings.ahead_at_every_size, (0.6, 0.7, 0.9), (0.5, 0.69, 0.8), True),
        (findings.ahead_at_every_size, (0.6, 0.69, 0.9), (0.5, 0.7, 0.8), False),
    ],
)
def test_rules_decide_as_they_say(rule, new, base, shown):
    found = rule(Given(new=shares(*new), base=shares(*base)), "new", "base", "top1")
    assert bool(found["shown"]) is shown
    assert found["low"] <= found["value"] <= found["high"] and found["numbers"]


def test_captions_are_learned_from_seen_classes_alone(tmp_path):
    writer = DatasetWriter(tmp_path, "test", {})
    names = ["red square", "blue square", "zebra"]
    writer.classes(
        pd.DataFrame({"label": range(3), "name": names, "superclass": "", "seen": [True, True, False]})
    )
    captions.write(writer, names, 2, vocabulary=100, length=8)
    pieces = (tmp_path / "vocabulary.txt").read_text().split("\n")
    assert "square" in pieces and "zebra" not in pieces
    with pytest.raises(UserError, match="holds no word"):
        captions.write(writer, ["red", "   "], 2, 100, 8)
