"""Retrieval across modalities against size: captions for images, images for captions; unseen classes."""

from analysis.plotting import curves, headline, legend_below, new_figure

TABLES = ("text_retrieval",)
INPUTS = ("data",)
PANELS = (
    ("image_to_text", "recall@5", "image → caption"),
    ("text_to_image", "top1", "caption → image"),
    ("text_to_image", "map@10_standard", "caption → image"),
)


def draw(drawing):
    """A panel per direction and metric; classes that were never trained on."""
    table = drawing.table("text_retrieval", classes="unseen")
    rows = [table[(table["direction"] == way) & (table["metric"] == name)] for way, name, _ in PANELS]
    # A handful of candidates has no recall@5.
    shown = [(some, title) for some, (_, _, title) in zip(rows, PANELS) if len(some)]
    figure, panels = new_figure(len(shown), height=3.2, squeeze=False)
    for axes, (some, title) in zip(panels[0], shown):
        curves(drawing, axes, some, drawing.shown("text_retrieval"))
        axes.set_title(f"{title}\n{some['n'].iloc[0]:,} queries")
        axes.set_ylim(bottom=0)
    legend_below(figure, panels[0, 0])
    headline(figure, f"{drawing.conditions(None, bars='95 % over classes')} · classes never trained on")
    return figure
