"""Cosines of matching and random pairs against size (paper, Table 6): how well the space is used."""

from analysis.evaluations.findings_image_text import UNSEEN
from analysis.plotting import curve, headline, legend_below, new_figure, over_seeds, size_axis

TABLES = ("cosine_margin",)
INPUTS = ("data",)
PANELS = (
    ("cosine", "positive", "image, its caption"),
    ("cosine", "text_image", "image, another caption"),
    ("margin", None, "margin: left − middle"),
)


def draw(drawing):
    """Matching pairs, random pairs, and the margin; classes that were never trained on."""
    table = drawing.table("cosine_margin", classes="unseen")
    figure, panels = new_figure(len(PANELS), height=2.9, sharey=True)
    methods = [m.name for m in drawing.study.task_methods("cosine_margin") if m.kind != "control"]
    for axes, (metric, pair, title) in zip(panels, PANELS):
        some = table[table["metric"] == metric]
        if pair is not None:
            some = some[some["pair"] == pair]
        means = over_seeds(some)
        for method in methods:
            if (means["method"] == method).any():
                curve(drawing, axes, method, means[means["method"] == method], scale=1)
        size_axis(axes, some["dim"])
        axes.set_title(title)
    panels[0].set_ylabel("mean cosine, unseen classes")
    legend_below(figure, panels[0])
    headline(figure, drawing.conditions(UNSEEN, bars="95 % over classes"))
    return figure
