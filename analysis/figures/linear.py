"""Linear classification against representation size, all methods (paper, Figure 2)."""

from analysis.plotting import curves, headline, legend_below, new_figure, paper_panel

TABLES = ("linear",)
INPUTS = ("data",)


def draw(drawing):
    """Left: the study. Right: the paper's own curves."""
    figure, (left, right) = new_figure(2, width_ratios=(1.7, 1), height=3.4)
    table = drawing.table("linear", metric="top1")
    curves(drawing, left, table, drawing.shown("linear", controls=True))
    headline(figure, drawing.conditions())
    paper_panel(right, "linear", "top1")
    legend_below(figure, left)
    return figure
