"""Accuracy of the suite's linear probe against representation size: the same classifier for all methods."""

from analysis.plotting import curves, headline, legend_below, new_figure

TABLES = ("linear",)
INPUTS = ("data",)


def draw(drawing):
    """A curve per method; bars are 95 % over test items."""
    figure, axes = new_figure(height=3.4)
    table = drawing.table("linear", metric="probe_top1")
    curves(drawing, axes, table, drawing.shown("linear", controls=True))
    headline(figure, drawing.conditions())
    legend_below(figure, axes)
    return figure
