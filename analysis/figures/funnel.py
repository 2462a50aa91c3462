"""Funnel retrieval: mAP@10 against compute per query, three cascades from every size (paper, Figure 8).

`funnel` draws all funnels of the first method that was evaluated, `funnel_pca` of the one that is named; the
others by the best they do at every cost.
"""

from matplotlib.axes import Axes

from analysis.metrics import CASCADES
from analysis.plotting import SEQUENCE, headline, legend_below, over_seeds, paper
from analysis.plotting.retrieval import PAIRS, panels_of, paper_pairs, single_search

TABLES = ("funnel_retrieval", "adaptive_retrieval")
INPUTS = ("data",)
ARGUMENT = "method"
MARKERS = dict(zip(CASCADES, zip(SEQUENCE, "osD")))


def draw(drawing):
    """A colour per cascade; grey: one re-ranking at full size; black: one search. Numbers are first sizes.

    Below, where several methods were evaluated, what each of them reaches at every cost.
    """
    method, _ = drawing.chosen("funnel_retrieval")
    table = drawing.table("funnel_retrieval", metric="map@10")
    figure, panels, means = panels_of(drawing, table, method, ("cascade", "shortlist_dim", "mflops"))
    others = drawing.table("adaptive_retrieval", metric="map@10", method=method)
    for axes, split in zip(panels, means):
        rows = over_seeds(others[others["split"] == split], PAIRS)
        single_search(axes, rows[rows["search"] == "single"])
        adaptive = rows[rows["search"] == "adaptive"]
        full = adaptive[adaptive["rerank_dim"] == adaptive["rerank_dim"].max()]
        reranked(axes, full[full["shortlist_k"] == full["shortlist_k"].mode().iloc[0]])
        for name, line in means[split].groupby("cascade"):
            color, marker = MARKERS[name]
            lengths = ", ".join(map(str, CASCADES[name]))
            line = line.sort_values("mflops")
            look = {"color": color, "marker": marker, "linestyle": "--", "markersize": 3.5}
            axes.plot(line["mflops"], line["value"], label=f"cascade {name}: {lengths}", **look)
    paper_panel(panels[-1])
    legend_below(figure, panels[0], columns=3)
    starts = ", ".join(f"{m:g}" for m in sorted(table["shortlist_dim"].unique()))
    what = f"{drawing.conditions(None, bars=None)} · {drawing.label(method)}"
    headline(figure, f"{what} · a line's points start at {starts} dimensions")
    return figure


def reranked(axes: Axes, rows, alpha: float = 1.0) -> None:
    """Shortlists that are ordered once, at the full size. rows: mflops, value, shortlist_k."""
    rows = rows.sort_values("mflops")
    look = {"color": "#888888", "markersize": 3.5, "alpha": alpha}
    axes.plot(rows["mflops"], rows["value"], "^-", label="re-ranked once at the full size", **look)


def paper_panel(axes: Axes) -> None:
    """The paper's funnels, which it does not name by cascade, beside its other searches."""
    others = paper_pairs()
    single_search(axes, others[others["rerank_dim"].isna()], alpha=0.5)
    reranked(axes, others[others["rerank_dim"] == others["rerank_dim"].max()], alpha=0.5)
    columns = ["shortlist_dim", "metric", "value"]
    funnels = (
        paper("funnel_retrieval", "map@10")[columns]
        .merge(paper("funnel_retrieval", "mflops_per_query")[columns], on="shortlist_dim")
        .sort_values("shortlist_dim")
    )
    axes.plot(funnels["value_y"], funnels["value_x"], "s--", color=SEQUENCE[1], markersize=3.5, alpha=0.5)
