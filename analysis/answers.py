"""The table of `answers` in words: what to do with an embedding, a sentence for each question."""

from collections.abc import Iterable

import pandas as pd

from analysis.findings.evidence import signed, with_interval


def answers(table: pd.DataFrame) -> dict[str, list[tuple[str, str]]]:
    """By model, as it is labelled: (question, answer) of what its rows are about."""
    found = {}
    for label, rows in table.groupby("label", sort=False):
        some = {name: rows[rows["question"] == name] for name in QUESTIONS}
        found[label] = [
            (asked, said(some[name])) for name, (asked, said) in QUESTIONS.items() if len(some[name])
        ]
    return found


def markdown(table: pd.DataFrame) -> str:
    """The same as a Markdown table, a column for each model."""
    models = {label: dict(pairs) for label, pairs in answers(table).items()}
    lines = [f"| | {' | '.join(models)} |", "|---|" + "---|" * len(models)]
    for question, _ in QUESTIONS.values():
        cells = [pairs.get(question, "") for pairs in models.values()]
        lines += [f"| **{question}** | {' | '.join(cells)} |"] * any(cells)
    return "\n".join([*lines, "", about(table)])


def about(table: pd.DataFrame) -> str:
    """What the numbers are."""
    margin = points(table.loc[table["question"] == "size", "bound"].max())
    return (
        f"Differences of nDCG@10 in points with 95 % intervals, paired over {table['n'].max():,} queries. "
        f"Not worse: the whole interval loses less than {margin}; worse: the whole interval loses more. "
        "Each interval stands by itself: of twenty comparisons one may mislead, and the best of many looks a "
        "little better than it is."
    )


def points(fraction: float) -> str:
    """A part of 1 in points.

    >>> points(0.01), points(0.005)
    ('1 point', '0.5 points')
    """
    number = f"{100 * fraction:g}"
    return f"{number} point{'s' * (number != '1')}"


def listed(names: Iterable[object]) -> str:
    """In words; empty for none.

    >>> listed([1, 2, 3]), listed(["a"]), listed([])
    ('1, 2 and 3', 'a', '')
    """
    *first, last = [*map(str, names)] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def at_sizes(rows: pd.DataFrame, verdict: str) -> str:
    """The sizes of a verdict, each with its difference; empty for none."""
    some = rows[(rows["verdict"] == verdict) & (rows["dim"] > 0)]
    return listed(f"{row.dim} ({with_interval(row)})" for row in some.itertuples())


def each_size(rows: Iterable) -> str:
    """Differences at every size."""
    return ", ".join(f"{signed(row.value)} at {row.dim}" for row in rows if row.dim > 0)


def then(head: str, text: str) -> str:
    """A further sentence, where there is something to say."""
    return f" {head} {text}." if text else ""


# --- which rows decide: of one model and question ---------------------------------------------------


def settled(rows: pd.DataFrame) -> pd.Series:
    """Whether a size and all longer ones are not worse. rows: sizes decreasing."""
    return (rows["verdict"] == "not worse").cummin()


def enough_bytes(rows: pd.DataFrame) -> pd.DataFrame:
    """Codes that are not worse, fewest bytes first."""
    enough = rows[rows["verdict"] == "not worse"]
    return enough.sort_values(["bytes_per_item", "score"], ascending=[True, False])


def enough_candidates(rows: pd.DataFrame) -> pd.DataFrame:
    """Shortlists that are cheaper than one full search and not worse, cheapest first."""
    shorter = (rows["shortlist_k"] < rows["items"]) & (rows["mflops"] < rows["full_mflops"])
    return rows[shorter & (rows["verdict"] == "not worse")].sort_values("mflops")


# --- questions: rows of one model -----------------------------------------------------------------


def of_size(rows: pd.DataFrame) -> str:
    """The shortest size that is not worse, stepping down from the full one as far as that is settled."""
    rows = rows.sort_values("dim", ascending=False)
    full, margin = rows["full"].iloc[0], points(rows["bound"].iloc[0])
    holds = settled(rows)
    said = f"**No size below {full:.0f}** is shown to lose less than {margin}."
    if holds.any():
        last = next(rows[holds][::-1].itertuples())
        said = f"**To {last.dim} of {full:.0f}**: not worse by more than {margin}, {with_interval(last)}."
    rest = rows[~holds]
    return said + "".join(
        then(f"{name.capitalize()}:", at_sizes(rest, name)) for name in ("undecided", "not worse", "worse")
    )


def of_renormalise(rows: pd.DataFrame) -> str:
    """Where it helps, and by how much."""
    rows = rows.sort_values("dim")
    ahead, behind, open_ = (at_sizes(rows, name) for name in ("better", "worse", "undecided"))
    if ahead and behind:
        said = f"**It depends**: ahead at {ahead}, behind at {behind}."
    elif ahead:
        said = f"**Yes**: ahead at {ahead}."
    elif behind:
        said = f"**No**: behind at {behind}."
    else:
        said = "**No difference is shown.**"
    return said + then("Undecided:", open_)


def of_nested(rows: pd.DataFrame) -> str:
    """Prefixes against random columns: over all sizes below the full one, and at each."""
    row = next(rows.sort_values("dim").itertuples())  # dim 0 is first
    over = "over all sizes below the full one" if row.dim == 0 else f"at {row.dim}"
    head = {
        "better": "**Yes, it is nested**: the first are ahead of random ones",
        "worse": "**Yes, and the first ones are worse** than random ones",
        "undecided": "**Not that it shows**: the first ones against random ones",
    }[row.verdict]
    return f"{head}, {with_interval(row)} {over} ({each_size(rows.itertuples())})."


def of_map(rows: pd.DataFrame) -> str:
    """The one that is furthest ahead over all sizes, and the others that are ahead or behind."""
    whole = rows[rows["dim"] == 0] if (rows["dim"] == 0).any() else rows
    ordered = list(whole.sort_values("value", ascending=False).itertuples())
    ahead, behind = ([row for row in ordered if row.verdict == name] for name in ("better", "worse"))
    said = "**None is shown to be.**"
    if ahead:
        sizes = rows[rows["other"] == ahead[0].other].sort_values("dim").itertuples()
        said = f"**Yes**: {named(ahead[0])} over all sizes below the full one ({each_size(sizes)})."
    more, worse = (listed(map(named, some)) for some in (ahead[1:], behind))
    return said + then("Ahead as well:", more) + then("Behind:", worse)


def named(row) -> str:
    """A map with its difference."""
    return f"{row.other} ({with_interval(row)})"


def of_code(rows: pd.DataFrame) -> str:
    """The fewest bytes that are not worse: of all codes, of plain prefixes, and with re-ranking."""
    margin = points(rows["bound"].iloc[0])
    enough = list(enough_bytes(rows).itertuples())
    alone, again = ([row for row in enough if bool(row.refined) == refined] for refined in (False, True))
    said = f"**None of the codes alone** is shown to lose less than {margin}."
    if alone:
        best = alone[0]
        said = (
            f"**{best.bytes_per_item:,.0f} bytes an item**, {best.index} of {best.dim} dimensions: not worse "
            f"than float32 of all ({best.full_bytes:,.0f} bytes) by more than {margin}, "
            f"{with_interval(best)}."
        )
        plain = [row for row in alone if row.factory == PLAIN]
        said += then("By cutting alone:", f"{plain[0].bytes_per_item:,.0f} bytes" if plain else "")
    for row in again[:1]:
        said += (
            f" With {row.shortlist_k:.0f} candidates ordered again by full vectors, which may lie on a disk: "
            f"{row.bytes_per_item - row.full_bytes:,.0f} bytes to search, {row.index} of {row.dim}, "
            f"{with_interval(row)}."
        )
    return said


def of_equal_bytes(rows: pd.DataFrame) -> str:
    """Codes of all dimensions against prefixes of float32 that take as many bytes."""
    rows = rows[rows["dim"] == rows["dim"].max()].sort_values("bytes_per_item", ascending=False)
    heads = {("better",): "Quantise", ("worse",): "Cut"}
    head = heads.get(tuple(set(rows["verdict"])), "It depends on the code")
    each = [
        f"{row.index} ({row.bytes_per_item:,.0f} bytes) {with_interval(row)} against float32 cut to "
        f"{row.other_dim:.0f}"
        for row in rows.itertuples()
    ]
    return f"**{head}**: of all {rows['dim'].iloc[0]} dimensions {'; '.join(each)}."


def of_shortlist(rows: pd.DataFrame) -> str:
    """The cheapest that gives back the share, of those that are cheaper than one full search."""
    share = 100 * (1 - rows["bound"].iloc[0] / rows["full_score"].iloc[0])
    enough = enough_candidates(rows)
    if enough.empty:
        return f"**None that is cheaper** than one full search is shown to give back {share:g} % of it."
    best = next(enough.itertuples())
    return (
        f"**{best.shortlist_k:.0f} candidates from {best.dim} dimensions**, ordered again by all "
        f"{best.full:.0f}, give back {share:g} % of one full search: {with_interval(best)} of "
        f"{100 * best.full_score:.1f}, with "
        f"{100 * best.mflops / best.full_mflops:.0f} % of its multiply-accumulates."
    )


PLAIN = "Flat"
QUESTIONS = {
    "size": ("How far can it be cut?", of_size),
    "renormalise": ("Normalise again after the cut?", of_renormalise),
    "nested": ("Does it matter which dimensions are kept?", of_nested),
    "map": ("Is a map fitted afterwards better?", of_map),
    "code": ("How few bytes are enough?", of_code),
    "equal_bytes": ("Cut or quantise, at equal bytes?", of_equal_bytes),
    "shortlist": ("How long a shortlist?", of_shortlist),
}
"""By the table's `question`: what is asked, and what says the answer."""
