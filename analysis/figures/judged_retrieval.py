"""Retrieval from a collection against size: nDCG@10 and recall@100 of prefixes, cut and then normalised."""

from analysis.plotting import curve_panels, headline

TABLES = ("judged_retrieval",)
INPUTS = ("data",)
PANELS = ("ndcg@10", "recall@100")


def draw(drawing):
    """A panel per metric, a curve per method; bars are 95 % over queries."""
    table = drawing.table("judged_retrieval", renormalised=True)
    found = [table[table["metric"] == name] for name in PANELS]
    shown = [(f"{rows['n'].iloc[0]:,} queries", rows) for rows in found if len(rows)]
    figure, panels = curve_panels(drawing, "judged_retrieval", shown, height=3.4)
    for axes in panels:
        axes.set_ylim(bottom=0)
    headline(figure, drawing.conditions(None, bars="95 % over queries"))
    return figure
