"""Accuracy under shift, a panel per split, beside clean images of the same classes (paper, appendix H)."""

from analysis.measures.predict import RESTRICTED
from analysis.plotting import curves, headline, legend_below, new_figure, over_seeds
from suite.errors import UserError

TABLES = ("robustness",)
INPUTS = ("data",)
SPLITS = ("v2", "sketch", "r", "a")
REFERENCE = "mrl"  # whose accuracy on clean images is drawn
KINDS = {"v2": "collected again", "sketch": "outlines", "r": "renditions", "a": "naturally hard"}


def draw(drawing):
    """Every method's curve; dashed and grey, the reference on clean images under the same restriction."""
    table = drawing.table("robustness")
    splits = [split for split in SPLITS if (table["split"] == split).any()]
    if not splits:
        raise UserError(
            f"robustness has nothing to draw: {drawing.study.name} has none of the splits "
            f"{', '.join(SPLITS)}; take the figure out of {drawing.study.path}"
        )
    figure, panels = new_figure(len(splits), width=7.2, height=3.7, squeeze=False, sharey=True)
    for axes, split in zip(panels[0], splits):
        clean = f"val@{split}" if split in RESTRICTED else "val"
        shown = fewest_classes(table, split)
        curves(drawing, axes, shown, drawing.shown("robustness"))
        if axes is not panels[0, 0]:
            axes.set_ylabel("")
        means = over_seeds(fewest_classes(table, clean))
        rows = means[means["method"] == REFERENCE]
        if len(rows):
            label = f"{drawing.label(REFERENCE)} on clean images of the same classes"
            axes.plot(rows["dim"], rows["value"], color="#888888", linestyle=(0, (4, 2)), label=label)
        axes.set_title(
            f"{split}: {KINDS[split]}\nn = {shown['n'].max():,}, {shown['classes'].max():.0f} classes"
        )
        axes.tick_params(axis="x", rotation=60)
        axes.set_xlabel("size")
    text = drawing.conditions(None)
    restricted = [split for split in RESTRICTED if split in splits]
    if restricted:
        text += f"\n{' and '.join(restricted)}: logits restricted to their classes"
    headline(figure, text)
    legend_below(figure, panels[0, 0], columns=4)
    return figure


def fewest_classes(table, split):
    """Rows of a split, restricted to its classes where that was done."""
    rows = table[table["split"] == split]
    return rows[rows["classes"] == rows["classes"].min()]
