"""Masked-token accuracy against size: all tokens, and the frequent ones apart from the others."""

from analysis.plotting import curves, headline, legend_below, new_figure

TABLES = ("masked_lm",)
INPUTS = ("data",)
PANELS = (("all", "all tokens"), ("frequent", "the most frequent tokens"), ("others", "all others"))


def draw(drawing):
    """A panel per kind of token; bars are intervals over documents."""
    table = drawing.table("masked_lm", metric="top1")
    shown = [(tokens, title) for tokens, title in PANELS if (table["tokens"] == tokens).any()]
    figure, panels = new_figure(len(shown), height=2.9, squeeze=False)
    for axes, (tokens, title) in zip(panels[0], shown):
        some = table[table["tokens"] == tokens]
        curves(drawing, axes, some, drawing.shown("masked_lm"))
        axes.set_title(f"{title}\n{some['n'].iloc[0]:,} masked tokens")
        axes.set_ylim(bottom=0)
    legend_below(figure, panels[0, 0])
    headline(figure, drawing.conditions(bars="95 % over documents"))
    return figure
