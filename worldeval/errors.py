"""The error for a user's mistake: what was found, what was expected, and what to do next."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A mistake in the input. The command line prints the text and exits with status 2."""


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Suggest the nearest known word (` Did you mean 'x'?`), else list the known words."""
    known = sorted(known)
    near = get_close_matches(wrong, known, n=1, cutoff=0.5)
    if near:
        return f" Did you mean '{near[0]}'?"
    return f" Known: {', '.join(known)}." if known else ""
