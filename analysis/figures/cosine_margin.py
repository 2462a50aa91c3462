"""Cosines of matching and random pairs against size (paper, Table 6): how well the space is used."""

from analysis.metrics import metric
from analysis.plotting import curve_panels, headline

TABLES = ("cosine_margin",)
INPUTS = ("data",)
PANELS = (
    ("cosine", "positive", "image, its caption"),
    ("cosine", "text_image", "image, another caption"),
    ("margin", "", "margin: left − middle"),
)


def draw(drawing):
    """Matching pairs, random pairs, and the margin; classes that were never trained on."""
    table = drawing.table("cosine_margin", classes="unseen")
    kinds = dict(iter(table.fillna({"pair": ""}).groupby(["metric", "pair"])))
    shown = [(title, kinds[name, pair]) for name, pair, title in PANELS]
    figure, panels = curve_panels(drawing, "cosine_margin", shown, height=2.9, sharey=True)
    for axes in panels:
        axes.set_ylabel("")
    panels[0].set_ylabel(f"{metric('cosine').axis}, unseen classes")
    headline(figure, drawing.conditions(table["split"].iloc[0], bars="95 % over classes"))
    return figure
