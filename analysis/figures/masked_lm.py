"""Masked-token accuracy against size: all tokens, and the frequent ones apart from the others."""

from analysis.plotting import curve_panels, headline, rows_by

TABLES = ("masked_lm",)
INPUTS = ("data",)
PANELS = {"all": "all tokens", "frequent": "the most frequent tokens", "others": "all others"}


def draw(drawing):
    """A panel per kind of token; bars are intervals over documents."""
    kinds = rows_by(drawing.table("masked_lm", metric="top1"), "tokens", PANELS)
    shown = [(f"{PANELS[kind]}\n{rows['n'].iloc[0]:,} masked tokens", rows) for kind, rows in kinds.items()]
    figure, panels = curve_panels(drawing, "masked_lm", shown, height=2.9)
    for axes in panels:
        axes.set_ylim(bottom=0)
    headline(figure, drawing.conditions(bars="95 % over documents"))
    return figure
