"""Retrieval across modalities against size: captions for images, images for captions; unseen classes."""

from analysis.plotting import curve_panels, headline

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
    shown = []
    for direction, metric, title in PANELS:
        rows = table[(table["direction"] == direction) & (table["metric"] == metric)]
        if len(rows):  # a handful of candidates has no recall@5
            shown.append((f"{title}\n{rows['n'].iloc[0]:,} queries", rows))
    figure, panels = curve_panels(drawing, "text_retrieval", shown, height=3.2)
    for axes in panels:
        axes.set_ylim(bottom=0)
    headline(figure, f"{drawing.conditions(None, bars='95 % over classes')} · classes never trained on")
    return figure
