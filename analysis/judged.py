"""Metrics of rankings against relevance judgements, one value per query, from the ranks of judged documents.

A rank is counted from 0; -1 stands for a document that was not found, or not looked for so far down.
Documents without a judgement are not relevant. Values are those of trec_eval: gains of 0 and below are not
relevant, nDCG has linear gains and a log₂ discount, its ideal and the number of relevant documents are taken
from all judgements, and a query without a relevant document has 0 in everything (Järvelin & Kekäläinen 2002;
trec_eval 9.0).
"""

import numpy as np

from splits.store import Judgements

BLOCK = 2**24  # comparisons of ids at once


def places(ids: np.ndarray, judgements: Judgements) -> np.ndarray:
    """Rank of each judged document in the ranking of its query: int32 [..., J].

    ids: [..., n, K], rows of the corpus, best first, for the queries 0 … n-1; below 0 where there is none.
    """
    found = np.full((*ids.shape[:-2], len(judgements.query)), -1, np.int32)
    step = max(1, BLOCK // max(1, ids[..., 0, :].size))
    for start in range(0, found.shape[-1], step):
        some = slice(start, start + step)
        documents = judgements.document[some]
        same = (ids[..., judgements.query[some], :] == documents[:, None]) & (documents >= 0)[:, None]
        found[..., some] = np.where(same.any(-1), same.argmax(-1), -1)
    return found


def ndcg(ranks: np.ndarray, judgements: Judgements, k: int) -> np.ndarray:
    """Discounted gain of the first k, over that of the best order of all judged: float64 [..., n]."""
    gains = np.maximum(judgements.gain, 0)
    ideal = discounted(ideal_ranks(judgements), gains, k)
    best, found = sums(ideal, judgements), sums(discounted(ranks, gains, k), judgements)
    return np.divide(found, best, out=np.zeros_like(found), where=best > 0)


def discounted(ranks: np.ndarray, gains: np.ndarray, k: int) -> np.ndarray:
    """gain / log₂(rank + 2) where the rank is among the first k, else 0: float64 [..., J]."""
    return np.where(among(ranks, k), gains / np.log2(np.maximum(ranks, 0) + 2.0), 0)


def among(ranks: np.ndarray, k: int) -> np.ndarray:
    """Whether each was found among the first k: bool [..., J]."""
    return (ranks >= 0) & (ranks < k)


def ideal_ranks(judgements: Judgements) -> np.ndarray:
    """Ranks of the judged documents where each query has them in the order of their gains: int64 [J]."""
    order = np.lexsort((-judgements.gain, judgements.query))
    ranks = np.empty(len(order), np.int64)
    ranks[order] = within(judgements.query[order])
    return ranks


def within(groups: np.ndarray) -> np.ndarray:
    """0, 1, 2 … within each run of equal numbers: int64 [J].

    >>> within(np.array([3, 3, 5, 5, 5])).tolist()
    [0, 1, 0, 1, 2]
    """
    first = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
    return np.arange(len(groups)) - np.repeat(first, np.diff(np.r_[first, len(groups)]))


def recall(ranks: np.ndarray, judgements: Judgements, k: int) -> np.ndarray:
    """Share of the relevant documents that are among the first k: float64 [..., n]."""
    hits = among(ranks, k) & (judgements.gain > 0)
    return over_relevant(sums(hits, judgements), judgements)


def mrr(ranks: np.ndarray, judgements: Judgements, k: int) -> np.ndarray:
    """1 / (1 + the least rank of a relevant document), 0 if none is among the first k: float64 [..., n]."""
    hits = among(ranks, k) & (judgements.gain > 0)
    found = np.zeros((*ranks.shape[:-1], judgements.queries))
    np.maximum.at(found, (..., judgements.query), np.where(hits, 1 / (np.maximum(ranks, 0) + 1.0), 0))
    return found


def average_precision(ranks: np.ndarray, judgements: Judgements) -> np.ndarray:
    """Mean, over a query's relevant documents, of the precision where each was found: float64 [..., n].

    Those that were not found count 0: of a ranking that was cut at K this is trec_eval's map of K documents.
    """
    relevant = judgements.gain > 0
    flat = ranks.reshape(-1, ranks.shape[-1])
    precision = np.zeros(flat.shape)
    for row, values in zip(precision, flat):
        found = np.flatnonzero((values >= 0) & relevant)
        if len(found):
            order = found[np.lexsort((values[found], judgements.query[found]))]
            row[order] = (within(judgements.query[order]) + 1) / (values[order] + 1.0)
    return over_relevant(sums(precision.reshape(ranks.shape), judgements), judgements)


def over_relevant(values: np.ndarray, judgements: Judgements) -> np.ndarray:
    """Sums of each query [..., n] over how many documents are relevant to it; 0 where none is."""
    count = sums(judgements.gain > 0, judgements)
    return np.divide(values, count, out=np.zeros_like(values), where=count > 0)


def sums(values: np.ndarray, judgements: Judgements) -> np.ndarray:
    """Sums over the judgements of each query: [..., J] → float64 [..., n]."""
    flat, n = values.reshape(-1, values.shape[-1]), judgements.queries
    place = np.arange(len(flat))[:, None] * n + judgements.query
    found = np.bincount(place.ravel(), flat.ravel().astype(np.float64), minlength=len(flat) * n)
    return found.reshape(*values.shape[:-1], n)
