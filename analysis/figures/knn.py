"""1-NN accuracy against representation size, all methods (paper, Figure 3)."""

from analysis.plotting import curves, headline, legend_below, new_figure, paper_panel

TABLES = ("knn",)
INPUTS = ("data",)


def draw(drawing):
    """Left: the study, at trained sizes. Right: the paper's own curves."""
    figure, (left, right) = new_figure(2, width_ratios=(1.7, 1), height=3.4)
    table = drawing.table("knn", metric="top1", trained=True)
    curves(drawing, left, table, drawing.shown("knn", controls=True))
    sampled = drawing.study.tasks["knn"]["sampled"]
    headline(
        figure, drawing.conditions(bars=f"95 % over {'classes' if sampled == 'classes' else 'test items'}")
    )
    paper_panel(right, "knn", "top1")
    legend_below(figure, left)
    return figure
