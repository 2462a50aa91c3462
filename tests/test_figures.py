"""Every figure: drawn from whole tables, it says which study it shows, of how much, and what its bars are."""

import re
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import small
import synthetic
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis.figures import activation_maps, neighbour_grid, rate_envelope
from analysis.figures.contact_sheet import contact_sheet
from analysis.figures.pareto import pareto_points
from analysis.plotting import (
    LOOKS,
    Drawing,
    against_size,
    as_shown,
    cut_below,
    look,
    metric_of,
    over_seeds,
    save,
    use_style,
    whiskers,
)
from analysis.plotting.pictures import paste
from analysis.plotting.retrieval import paper_pairs
from analysis.statistics import interval_over_seeds
from suite import files
from suite.contracts import EVALUATION, FIGURE
from suite.errors import UserError
from suite.layout import Layout
from suite.modules import ROOT
from suite.study import Study, load_study

# Figures of evaluations that need more than images and labels: from the tables that were saved.
SAVED = [
    (study, figure)
    for study in ("image_text", "bert")
    for figure in load_study(study).figures
    for facts in [[EVALUATION.facts(task) for task in FIGURE.facts(figure).TABLES]]
    if any(each.NEEDS or any(EVALUATION.facts(name).NEEDS for name in each.READS) for each in facts)
] + [("tiny_imagenet", "retrieval_map")]  # nine sizes, up to four digits, in three panels
BACKBONE = {"name": "small_resnet", "dim": 8, "widths": [4, 8]}
OTHERS = ("contact_sheet_stream", "pareto_knn", "adaptive_classification_flip", "superclass_mrl_e")
OTHERS += ("paired_mrl",)  # with another argument than the first


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(study, layout) with raw outcomes and tables of everything registered."""
    use_style()
    return synthetic.finish(tmp_path_factory.mktemp("synthetic"))


def drawn(study, layout, name):
    """(figure, what it was drawn with)."""
    module, argument = study.figure_module(name)
    drawing = Drawing(study, layout, argument)
    return FIGURE.load(module).draw(drawing), drawing


def check(figure, drawing, counts):
    """A figure says what it shows: the study, one of the possible `counts`, what bars and bands are."""
    text = "\n".join(text.get_text() for text in figure.findobj(Text) if text.get_visible())
    assert drawing.study.title in text
    said = re.findall(r"n = ([\d,]+)|([\d,]+) (?:queries|images|masked tokens)", text)
    assert {int("".join(number).replace(",", "")) for number in said} & counts, text
    assert any(axes.has_data() for axes in figure.axes), "an empty figure"
    containers = [one for axes in figure.axes for one in axes.containers]
    bars = any(isinstance(one, BarContainer) for one in containers)
    bars |= any(isinstance(one, ErrorbarContainer) and (one.has_xerr or one.has_yerr) for one in containers)
    assert ("bars: " in text) == bars
    bands = any(isinstance(one, PolyCollection) for axes in figure.axes for one in axes.collections)
    assert ("bands: " in text) == bands
    boxes = drawn_texts(figure)
    assert cut_off(figure, boxes) == []
    if "milliseconds" not in text:  # where points lie is not the same twice
        assert overlapping(boxes) == []


def drawn_texts(figure):
    """(text, where it lies) of all that can be seen but rotated ones, whose boxes are too large."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    hidden = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        if not axis.axes.axison:
            hidden.add(axis.label)
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.majorTicks, *axis.minorTicks):
            if not axis.axes.axison or not low <= tick.get_loc() <= high:
                hidden |= {tick.label1, tick.label2}
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    texts = [text for text in texts if text not in hidden and text.get_rotation() in (0, 90)]
    return [(text.get_text(), Text.get_window_extent(text, canvas.get_renderer())) for text in texts]


def cut_off(figure, boxes):
    """Texts that are not wholly on the figure."""
    width, height = figure.bbox.size
    return [text for text, box in boxes if min(box.x0, box.y0, width - box.x1, height - box.y1) < -2]


def overlapping(boxes):
    """Pairs of texts drawn one over the other."""
    return [
        (one, other)
        for (one, a), (other, b) in combinations(boxes, 2)
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 2 and min(a.y1, b.y1) - max(a.y0, b.y0) > 2
    ]


@pytest.mark.parametrize("name", [*synthetic.config()["figures"], *OTHERS])
def test_a_figure_says_what_it_shows(finished, name):
    study, layout = finished
    figure, drawing = drawn(study, layout, name)
    counts = {len(drawing.dataset.labels(split)) for split in drawing.dataset.splits}
    for task in FIGURE.facts(study.figure_module(name)[0]).TABLES:
        table = drawing.table(task)
        # What a method costs is one number per seed.
        counts |= {len(study.seeds)} if task == "cost" else set(table["n"])
    check(figure, drawing, counts)


def test_a_sheet_of_few_columns_has_room_for_what_it_says(finished):
    figure = contact_sheet(Drawing(*finished).dataset, "val", 2, 2, study="A title of a study " * 4)
    assert cut_off(figure, drawn_texts(figure)) == []


def test_a_figure_says_how_often_what_it_draws_was_trained():
    drawing = Drawing(load_study("omniglot"), Layout("omniglot"))
    assert drawing.trainings() == [3]
    assert drawing.trainings(["mrl", "mrl_half_length"]) == [1, 3]


@pytest.mark.parametrize(("saved", "name"), SAVED)
def test_a_figure_of_saved_tables_says_what_it_shows(saved, name, tmp_path, monkeypatch):
    use_style()
    study, layout = load_study(saved), Layout(saved, tmp_path)
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / study.name).symlink_to(ROOT / "results" / "saved" / study.name / "tables")
    items = {"val": 70, "query": 30, "train": 90, "database": 40}
    data = SimpleNamespace(splits=tuple(items), labels=lambda split: np.zeros(items[split], np.int64))
    monkeypatch.setattr(Drawing, "dataset", data)
    figure, drawing = drawn(study, layout, name)
    (task,) = FIGURE.facts(name).TABLES
    check(figure, drawing, {*items.values(), *drawing.table(task)["n"]})


def test_a_point_of_the_rate_envelope_is_its_seeds_mean_and_is_left_out_where_one_diverged(
    finished, tmp_path
):
    rows = [(0.1, 1000, 8, 0.2, False), (0.1, 1000, 16, 0.4, False), (0.1, 1001, 8, 0.4, False)]
    rows += [(0.1, 1001, 16, 0.6, False), (0.2, 1000, 8, 0.5, True), (0.4, 1000, 0, np.nan, False)]
    table = pd.DataFrame(rows, columns=["learning_rate", "seed", "dim", "top1", "chosen"]).assign(head_rate=1)
    points = rate_envelope.by_point(table).set_index("learning_rate")
    assert points.loc[0.1, ["value", "low", "high"]].tolist() == pytest.approx([40, 30, 50])
    assert points["chosen"].tolist() == [False, True, False] and np.isnan(points.loc[0.4, "value"])
    # Networks that were searched for apart have a panel each: other points were trained of them.
    both = pd.concat([table.assign(network="ff_8", dim=8), table[:2].assign(network="ff_16", dim=16)])
    assert [title for title, _ in rate_envelope.apart(both)] == [", 8", ", 16"]
    assert len(rate_envelope.apart(pd.concat([table.assign(network=name) for name in "ab"]))) == 1
    refused(
        finished[0],
        Layout("synthetic", tmp_path),
        "rate_envelope",
        "no settings were searched for: .* run `python",
    )


def test_a_recipe_has_a_panel_of_its_own(finished):
    figure, drawing = drawn(*finished, "linear")
    panels = {axes.get_title(): {line.get_label() for line in axes.containers} for axes in figure.axes}
    assert drawing.label("mrl") in panels["one recipe for all"]
    assert panels["each tuned"] == {drawing.label("mrl_tuned")}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """(study, layout) with a method of its own, whose name is trouble, and FF at two of four sizes."""
    methods = {"mrl": None, "fixed_feature": {"nesting": [2, 16]}}
    methods |= {"own": {"baseline": "mrl", "label": "_Ba$$in$"}}
    tasks = dict.fromkeys(("linear", "knn", "disagreement", "paired"))
    return synthetic.finish(tmp_path_factory.mktemp("own"), methods=methods, tasks=tasks, figures=[])


def test_main_figures_show_the_papers_methods_and_the_others_minus_ff(own):
    figure, drawing = drawn(*own, "linear")
    names = {line.get_label() for axes in figure.axes for line in axes.containers}
    assert names == {"MRL", "FF"}
    figure, drawing = drawn(*own, "linear_others")
    (line,) = figure.axes[0].containers
    assert line.get_label() == "\u200b_Ba$$in$" in {text.get_text() for text in figure.legends[0].get_texts()}
    means = over_seeds(drawing.table("linear", metric="top1")).set_index(["method", "dim"])["value"]
    expected = [means["own", m] - means["fixed_feature", m] for m in (2, 16)]
    assert line[0].get_xdata().tolist() == [2, 16]
    np.testing.assert_allclose(line[0].get_ydata().astype(float), expected)


def test_a_figure_of_other_methods_is_refused_before_anything_is_trained_where_there_are_none(own):
    papers = own[0].config | {"methods": {"mrl": None, "fixed_feature": None}, "figures": ["knn_others"]}
    message = (
        r"knn_others shows methods beyond the paper's, of which knn evaluates none \(mrl, fixed_feature\)"
    )
    with pytest.raises(UserError, match=message):
        Study(papers)
    other = {"baseline": "mrl", "label": "other"}
    with pytest.raises(UserError, match=message):
        Study(papers | {"methods": papers["methods"] | {"other": other | {"tasks": ["linear"]}}})
    assert Study(papers | {"methods": papers["methods"] | {"other": other}}).other_methods("knn") == ["other"]


def test_names_of_the_users_are_no_formulas(own, tmp_path):
    for name in ("linear_others", "paired"):
        save(drawn(*own, name)[0], tmp_path / f"{name}.png", tmp_path / f"{name}.pdf")


def test_an_axis_holds_the_bars_of_its_curves():
    rows = pd.DataFrame({"value": [0.8, 0.9], "low": [0.7, 0.8], "high": [0.9, 1.0]})
    figure = Figure()
    (axes,) = against_size.broken(figure, figure.add_gridspec(2, 1), 0, [rows])
    low, high = axes.get_ylim()
    assert low < 0.7 and high > 1.0
    (axes,) = against_size.broken(figure, figure.add_gridspec(2, 1), 0, [rows[["value"]]])  # the paper's
    assert axes.get_ylim()[0] > 0.7


def test_bars_stand_at_their_sizes_where_a_method_has_fewer(own):
    figure, _ = drawn(*own, "disagreement")
    bars = {line.get_label(): line.patches for line in figure.axes[1].containers}
    places = {
        label: [round(bar.get_x() + bar.get_width() / 2) for bar in some] for label, some in bars.items()
    }
    assert places == {"MRL": [0, 1, 2, 3, 4], "FF": [0, 3, 4]}  # the last: never
    FigureCanvasAgg(figure).draw()
    assert not any("$" in label.get_text() for label in figure.axes[1].get_yticklabels())


def test_an_axis_is_broken_between_what_holds_up_and_what_collapses():
    def parts(*curves):
        figure = Figure()
        rows = [pd.DataFrame({"dim": [2, 4, 8], "value": values}) for values in curves]
        return [axes.get_ylim() for axes in against_size.broken(figure, figure.add_gridspec(2, 1), 0, rows)]

    (upper, lower) = parts([70, 75, 80], [5, 40, 79])
    assert upper[0] == lower[1] and 65 < upper[0] < 70 and upper[1] > 80 and lower[0] < 5
    assert len(parts([70, 75, 80], [60, 70, 79])) == len(parts([5, 40, 80])) == 1
    np.testing.assert_allclose(against_size.apart(np.array([0.1, 0.95, 0.97]), 0.2), [0.1, 0.8, 1])


def test_what_a_panel_of_differences_cuts_off_is_written_there():
    (axes, other), points = Figure().subplots(1, 2), pd.Series
    cut_below([(axes, points({2: -60.0, 4: 1.0}), "k"), (axes, points({2: -45.0, 4: 2.0}), "b")])
    assert [text.get_text() for text in axes.texts] == ["↓ −60", "↓ −45"] and -40 < axes.get_ylim()[0] <= -30
    cut_below([(other, points({2: -3.0, 4: 1.0}), "k")])
    assert not other.texts and other.get_ylim() == (-5, 3)


def test_pareto_leaves_out_and_names_what_is_not_evaluated_at_every_size():
    rows = [
        (method, "linear", m, 0.1 * m)
        for method, sizes in {"mrl": (4, 8), "svd": (8,)}.items()
        for m in sizes
    ]
    linear = pd.DataFrame(rows, columns=["method", "task", "dim", "value"])
    linear = linear.assign(task="linear", metric="top1", low=np.nan, high=np.nan)
    costs = {"train_macs": 2e12, "fit_macs": 1e12, "networks": 1, "forwards": 1}
    cost = pd.DataFrame([(name, *item) for name in ("mrl", "svd") for item in costs.items()])
    cost.columns = ["method", "metric", "value"]
    drawing = SimpleNamespace(
        argument="linear",
        study=SimpleNamespace(nesting=(4, 8), path="study.yaml"),
        table=lambda name, **keys: linear if name == "linear" else cost,
        shown=lambda argument: ["mrl", "svd", "pca"],
    )
    points, left_out = pareto_points(drawing)
    assert left_out == ["svd", "pca"]
    (point,) = points.to_dict("records")
    assert point["compute"] == pytest.approx(3) and point["accuracy"] == pytest.approx(60)
    drawing.shown = lambda argument: ["svd"]
    with pytest.raises(UserError, match="pareto_linear has nothing to draw: no method is evaluated at every"):
        pareto_points(drawing)


def test_no_figure_is_left_out():
    study = synthetic.Study(synthetic.config())
    names = {study.figure_module(name)[0] for name in study.figures} | {name for _, name in SAVED}
    assert names | {*load_study("collection").figures} == set(FIGURE.names())  # these: test_collection


@pytest.mark.parametrize("name", ["pareto_linear", "neighbour_grid"])
def test_a_figure_is_the_same_bytes_again(finished, name, tmp_path):
    for copy in ("a", "b"):
        save(drawn(*finished, name)[0], tmp_path / f"{copy}.png", tmp_path / f"{copy}.pdf")
    for suffix in ("png", "pdf"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def refused(study, layout, name, message):
    """A figure that cannot be drawn says why."""
    with pytest.raises(UserError, match=message):
        drawn(study, layout, name)


def test_a_figure_of_a_method_that_its_table_lacks_says_so(finished):
    message = "the table of funnel_retrieval has no rows of mrl_8boost, only of mrl, .*; take its figures out"
    refused(*finished, "funnel_mrl_8boost", message)


def test_figures_of_data_without_the_splits_they_are_about_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic, "COUNTS", {name: synthetic.COUNTS[name] for name in ("train", "val")})
    tasks = dict.fromkeys(["fewshot", "longtail", "robustness"])
    finished = synthetic.finish(tmp_path, tasks=tasks, seeds=[0], methods={"mrl": None}, figures=[])
    refused(*finished, "fewshot", r"fewshot has no rows, .* \(splits: train, val\); take its figures")
    refused(*finished, "longtail", "the table of longtail has no rows")
    refused(*finished, "robustness", "has none of the splits v2, sketch, r, a")


def test_figures_of_data_without_superclasses_or_the_methods_they_are_about_say_so(tmp_path):
    tasks = {"fewshot": None, "superclass": None, "disagreement": None, "linear": None}
    tasks |= {
        "adaptive_classification": {"against": None},
        "paired": {"against": ["mrl_e"], "outcomes": ["linear"]},
    }
    study, layout = synthetic.build(tmp_path, tasks=tasks, seeds=[0], methods={"mrl_e": None}, figures=[])
    classes = pd.read_csv(layout.data / "classes.csv")
    classes.assign(superclass="").to_csv(layout.data / "classes.csv", index=False)
    manifest = files.read_json(layout.data / "manifest.json")
    files.write_json(layout.data / "manifest.json", manifest | {"files": {}})  # as if it had been written so
    synthetic.measure(study, layout)
    synthetic.tabulated(study, layout)
    for task, methods in (
        ("superclass", ", since"),
        ("disagreement", " of mrl or fixed_feature, only of mrl_e; take its figures out of"),
        ("adaptive_classification", " of mrl, only of mrl_e"),
    ):
        refused(study, layout, task, f"the table of {task} has no rows{methods}")
    (axes,) = FIGURE.load("fewshot").draw(Drawing(study, layout)).axes  # of the methods that there are
    assert axes.get_legend_handles_labels()[1][0] == "MRL-E"


# --- what figures share ---------------------------------------------------------------------------


def test_a_look_is_the_methods_own_else_one_that_nothing_else_has():
    assert look("mrl") == look("mrl", 5, {"#0072B2"}) == {"color": "#0072B2", "marker": "o", "linestyle": "-"}
    assert look("control_random")["marker"] is None
    others = [look("another", place) for place in range(40)]
    assert len({(each["color"], each["marker"]) for each in others}) == 40
    taken = {LOOKS["mrl"][0], LOOKS["fixed_feature"][0]}
    assert not taken & {look("another", place, taken)["color"] for place in range(40)}


def test_means_over_seeds_are_in_the_units_of_their_metrics():
    table = pd.DataFrame(
        [
            ("knn", "top1", "mrl", 8, 0.5, 0.4, 0.6, 10),
            ("knn", "top1", "mrl", 8, 0.7, 0.6, 0.8, 10),
            ("cosine_margin", "cosine", "mrl", 8, 0.5, 0.5, 0.75, 10),
        ],
        columns=["task", "metric", "method", "dim", "value", "low", "high", "n"],
    )
    means = over_seeds(table).set_index("metric")
    both = 100 * np.array(interval_over_seeds([0.5, 0.7], [0.1 / 1.96, 0.1 / 1.96]))
    assert means.loc["top1", ["value", "low", "high", "n"]].tolist() == pytest.approx([*both, 10])
    assert means.loc["cosine", ["value", "low", "high"]].tolist() == [0.5, 0.5, 0.75]
    assert metric_of(table[:2]).axis == "1-NN accuracy (%)"
    with pytest.raises(ValueError, match="too many"):
        metric_of(table)
    shown = as_shown(table)
    np.testing.assert_allclose(whiskers(shown), [[10, 10, 0], [10, 10, 0.25]])
    assert whiskers(shown.assign(low=[0, np.nan, 0])) is None
    # A metric of one's own that METRICS does not list is a share.
    assert metric_of(own := table.assign(task="mine", metric="f1")).axis == "f1 (%)"
    assert as_shown(own)["value"].tolist() == [50, 70, 50]


def test_the_papers_own_costs_come_out():
    table = paper_pairs().set_index(["shortlist_dim", "rerank_dim"])["mflops"]
    assert table[8, 8] == pytest.approx(10.250936)
    assert table[8, 2048] == pytest.approx(10.658936)
    assert table[16, 2048] == pytest.approx(20.908272)


@pytest.mark.parametrize(("side", "frame"), [(32, 2), (28, 2), (256, 16)])
def test_a_frame_grows_with_its_picture(side, frame):
    assert neighbour_grid.frame_of(side) == frame
    sheet = np.full((side + 2 * (frame + 2),) * 2 + (3,), 255, np.uint8)
    paste(sheet, np.zeros((side, side, 1), np.uint8), 2, 2, frame, neighbour_grid.RIGHT)
    assert (sheet == neighbour_grid.RIGHT).all(2).sum() == (side + 2 * frame) ** 2 - side**2


@pytest.mark.parametrize("method", ["mrl", "mrl_e", "fixed_feature"])
def test_the_mean_of_an_activation_map_and_the_bias_are_the_logit(method, rng):
    learner = small.learner(method, [8] if method == "fixed_feature" else [4, 8], BACKBONE).eval()
    images = torch.from_numpy(rng.normal(size=(3, 1, 16, 16)).astype(np.float32))
    classes = np.array([0, 3, 3])
    for m in learner.sizes:
        maps = activation_maps.class_maps(learner, activation_maps.feature_maps(learner, images), m, classes)
        bias = learner.classifier(m)[1][classes]
        logits = learner.logits(learner.features(images))[m][range(3), classes]
        torch.testing.assert_close(maps.mean((1, 2)) + bias, logits.detach())


def test_activation_maps_are_of_images_of_different_classes():
    labels = np.array([2, 2, 0, 1, 1, 0])
    assert activation_maps.chosen(np.array([0, 1, 1, 0, 1, 1], bool), labels).tolist() == [2, 4, 1]


def test_a_study_without_feature_maps_has_no_activation_maps(monkeypatch):
    with pytest.raises(UserError, match="shows feature maps, which vit has not; take it out"):
        load_study("vit").mapped("activation_maps")
    with pytest.raises(UserError, match="shows feature maps, and control_label has no network"):
        load_study("glyphs").mapped("activation_maps_control_label")
    with pytest.raises(UserError, match="PaperVariant has no feature maps of one network for all sizes"):
        learner = small.learner("slimmable", [4, 8], BACKBONE)
        activation_maps.feature_maps(learner, torch.zeros(1, 1, 16, 16))
