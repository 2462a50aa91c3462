"""The k best so far of each query, kept in rows of integers that order by score and then by lowest id."""

import numpy as np
import torch

# Scores are first compared with a row's threshold by the maximum of a group of this many columns.
GROUP = 32
EMPTY = torch.iinfo(torch.int64).min
LOW_BITS = 2**32 - 1


class Best:
    """The k best scores so far of each query at one size, ties to the lowest id.

    A candidate is one int64: the score's bits, ordered as an integer, above the complement of its id. So one
    comparison orders by score and then by id, and top-k needs no pairs. Candidates above a row's k-th best
    are appended to the row; it is cut back to k, and its threshold raised, when there are enough new ones.
    """

    def __init__(self, rows: int, k: int, device: torch.device):
        self.k = k
        self.capacity = capacity(k)
        self.full = k + max(1, k // 2)
        self.keys = torch.full((rows, self.capacity), EMPTY, device=device)
        self.count = torch.zeros(rows, dtype=torch.int64, device=device)
        self.threshold = torch.full((rows,), -torch.inf, device=device)

    def offer(self, rows: slice, scores: torch.Tensor, start: int, valid: int) -> None:
        """Take what is better in scores [rows, tile], whose first `valid` columns are ids start …

        Ids must come in increasing order over calls: a later equal score is not better.
        """
        if start < self.k:  # rows have no threshold yet
            self._merge_whole(torch.arange(rows.start, rows.stop, device=scores.device), scores, start, valid)
            return
        tile = scores.shape[1]
        threshold = self.threshold[rows]
        maxima = scores.view(len(scores), -1, GROUP).amax(2)
        groups = (maxima > threshold[:, None]).view(-1).nonzero().squeeze(1)
        if len(groups) == 0:
            return
        values = scores.view(-1, GROUP).index_select(0, groups)
        better = values > threshold[groups // (tile // GROUP), None]
        chosen = better.view(-1).nonzero().squeeze(1)
        value = values.view(-1)[chosen]
        place = groups[chosen // GROUP] * GROUP + chosen % GROUP  # in the strip
        row = place // tile
        column = place - row * tile
        if valid < tile:
            real = column < valid
            row, column, value = row[real], column[real], value[real]

        new = torch.bincount(row, minlength=len(scores))
        count = self.count[rows]
        overflow = count + new > self.capacity
        if overflow.any():
            many = overflow.nonzero().squeeze(1)
            self._merge_whole(many + rows.start, scores[many], start, valid)
            fits = ~overflow[row]
            row, column, value = row[fits], column[fits], value[fits]
            new[many] = 0
        # Candidates are ordered by row: a row's n-th goes n places behind those it already has.
        free = torch.arange(rows.start, rows.stop, device=new.device) * self.capacity + count
        slot = (free - new.cumsum(0) + new)[row] + torch.arange(len(row), device=row.device)
        self.keys.view(-1)[slot] = keys_of(value, start + column)
        count += new
        ripe = (count >= self.full).nonzero().squeeze(1) + rows.start
        if len(ripe):
            self._keep(ripe, self.keys[ripe])

    def sorted(self) -> tuple[torch.Tensor, torch.Tensor]:
        """ids int64 [n, k] and scores float32 [n, k], best first."""
        keys = self.keys.topk(self.k, dim=1, sorted=True).values
        return LOW_BITS - (keys & LOW_BITS), score_of(keys)

    def _merge_whole(self, rows: torch.Tensor, scores: torch.Tensor, start: int, valid: int) -> None:
        """Merge whole rows of a tile. rows: int64 [r]; scores: [r, tile]."""
        offered = largest(scores[:, :valid], start, self.k)
        self._keep(rows, torch.cat([self.keys[rows], offered], dim=1))

    def _keep(self, rows: torch.Tensor, keys: torch.Tensor) -> None:
        """Cut `rows` back to the k largest of keys [r, ≥ k]."""
        kept = keys.topk(self.k, dim=1, sorted=False).values
        least = kept.amin(1)
        self.keys[rows] = torch.nn.functional.pad(kept, (0, self.capacity - self.k), value=EMPTY)
        self.count[rows] = self.k
        self.threshold[rows] = torch.where(least == EMPTY, -torch.inf, score_of(least))


def largest(scores: torch.Tensor, start: int, k: int) -> torch.Tensor:
    """Keys of the k best of each row at least, int64 [r, ≥ k or tile]; scores: [r, tile] of ids start …

    numpy finds a row's k-th best with vector instructions, several times as fast as torch; only scores that
    reach it get a key.
    """
    tile = scores.shape[1]
    if scores.device.type != "cpu" or tile <= k:
        ids = torch.arange(start, start + tile, device=scores.device)
        return keys_of(scores, ids).topk(min(k, tile), dim=1, sorted=False).values
    least = np.partition(scores.numpy(), tile - k, axis=1)[:, tile - k]
    row, column = np.divmod(np.flatnonzero(scores.numpy() >= least[:, None]), tile)
    counts = np.bincount(row, minlength=len(scores))
    slot = np.arange(len(row)) - np.repeat(counts.cumsum() - counts, counts)
    keys = torch.full((len(scores), int(counts.max())), EMPTY)
    keys[row, slot] = keys_of(scores[row, column], torch.from_numpy(start + column))
    return keys


def capacity(k: int) -> int:
    """Candidates kept per row: the k best and as many new ones, at least one group's."""
    return k + max(k, GROUP)


def keys_of(scores: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """int64 that order by score, then by lowest id. scores: float32; ids: int64, of a matching shape."""
    bits = (scores + 0.0).view(torch.int32)  # + 0.0 makes -0.0 equal 0.0
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return (ordered.to(torch.int64) << 32) | (LOW_BITS - ids)


def score_of(keys: torch.Tensor) -> torch.Tensor:
    """float32 scores of keys, exactly as they went in."""
    ordered = (keys >> 32).to(torch.int32)
    return (ordered ^ ((ordered >> 31) & 0x7FFFFFFF)).view(torch.float32)
