"""The one error a user is meant to read: what was found, what fits, what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A mistake in the input. The command line prints the text and exits with status 2."""


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the nearest known word, else the list of known words."""
    known = sorted(known)
    near = get_close_matches(wrong, known, n=1, cutoff=0.5)
    if near:
        return f" Did you mean '{near[0]}'?"
    return f" Known: {', '.join(known)}." if known else ""
