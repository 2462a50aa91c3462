"""Mean average precision of the first ten neighbours against size (paper, Figure 7 and appendix E)."""

from analysis.plotting import curves, headline, legend_below, new_figure, paper_panel, rows_by
from analysis.plotting.retrieval import PANELS, searched

TABLES = ("retrieval",)
INPUTS = ("data",)


def draw(drawing):
    """Seen classes, unseen ones where the study has any, and the paper's own curves."""
    splits = rows_by(drawing.table("retrieval", metric="map@10"), "split", PANELS)
    ratios = [1.3] * len(splits) + [1]
    figure, panels = new_figure(len(ratios), width=7.4, height=3.5, width_ratios=ratios)
    for axes, rows in zip(panels, splits.values()):
        curves(drawing, axes, rows, drawing.shown("retrieval"))
        axes.tick_params(axis="x", rotation=45)
        axes.set_title(searched(drawing, rows))
    paper_panel(panels[-1], "retrieval", "map@10")
    panels[-1].set_title("the paper: ImageNet-1K\n(compare the shape)", color="#666666")
    headline(figure, drawing.conditions(None, bars="95 % over queries, of unseen classes over classes"))
    legend_below(figure, panels[0])
    return figure
