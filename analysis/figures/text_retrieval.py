"""Retrieval across modalities against size: captions for images, images for captions; unseen classes."""

from analysis.plotting import accuracy_curves, legend_below, new_figure

TABLES = ("text_retrieval",)
INPUTS = ("data",)
PANELS = (
    ("image_to_text", "recall@5", "image → caption", "recall@5 (%)"),
    ("text_to_image", "top1", "caption → image", "top-1 (%)"),
    ("text_to_image", "map@10_standard", "caption → image", "mAP@10 (%)"),
)


def draw(drawing):
    """A panel per direction and metric; classes that were never trained on."""
    table = drawing.table("text_retrieval", classes="unseen")
    rows = [table[(table["direction"] == way) & (table["metric"] == metric)] for way, metric, *_ in PANELS]
    shown = [
        (some, *texts) for some, (_, _, *texts) in zip(rows, PANELS) if len(some)
    ]  # few candidates: fewer
    figure, panels = new_figure(len(shown), height=3.0, squeeze=False)
    methods = [m.name for m in drawing.study.task_methods("text_retrieval") if m.kind != "control"]
    for axes, (some, title, label) in zip(panels[0], shown):
        accuracy_curves(drawing, axes, some, methods, label)
        axes.set_title(f"{title}\n{some['n'].iloc[0]:,} queries")
        axes.set_ylim(bottom=0)
    legend_below(figure, panels[0, 0])
    return figure
