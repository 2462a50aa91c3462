"""Nearest neighbours: exact at every prefix size (`prefix_search`), re-ranked, or by an index of FAISS.

`prefix_search` is public: one pass over the database finds what one exact search per size would, with its
distances, by `metric` cosine, l2 or ip. The suite itself asks for ids by cosine.
"""

PUBLIC = ("METRICS", "PrefixNeighbours", "prefix_search")


def __getattr__(name: str) -> object:
    """PUBLIC, imported when asked for: what FAISS times should not share a process with torch's threads."""
    if name not in PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from analysis.search import prefix

    return getattr(prefix, name)
