"""Cosines of matching and random pairs against size (paper, Table 6): how well the space is used."""

from analysis.metrics import metric
from analysis.plotting import curves, headline, legend_below, new_figure

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
    for axes, (name, pair, title) in zip(panels, PANELS):
        some = table[table["metric"] == name]
        if pair is not None:
            some = some[some["pair"] == pair]
        curves(drawing, axes, some, drawing.shown("cosine_margin"))
        axes.set_ylabel("")
        axes.set_title(title)
    panels[0].set_ylabel(f"{metric('cosine').axis}, unseen classes")
    legend_below(figure, panels[0])
    headline(figure, drawing.conditions(table["split"].iloc[0], bars="95 % over classes"))
    return figure
