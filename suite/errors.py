"""Errors for people: what was given, what is allowed, where to look."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something the user can put right; command lines print it without a traceback."""


def unknown(kind: str, given: object, allowed: Iterable[str], where: str) -> UserError:
    """The error for a name that does not exist, with the nearest one that does.

    >>> str(unknown("method", "mlr", ["mrl", "mrl_e"], "config/studies/glyphs.yaml"))
    "unknown method 'mlr' (did you mean 'mrl'?); allowed: mrl, mrl_e; see config/studies/glyphs.yaml"
    """
    names = sorted(map(str, allowed))
    near = get_close_matches(str(given), names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return UserError(f"unknown {kind} {given!r}{hint}; allowed: {', '.join(names)}; see {where}")
