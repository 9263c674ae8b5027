"""Comparison of many pairs: family-wise error (Holm) and the compact letter display."""

import numpy as np

from worldeval.axes import Array, Bool, Float


def holm(p: Float[Array, " m"]) -> Float[Array, " m"]:
    """Adjust p-values by Holm's step-down method; rejecting those <= alpha keeps FWER at alpha."""
    p = np.asarray(p, dtype=float)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted


def compact_letters(separated: Bool[Array, "k k"]) -> list[str]:
    """Assign letters: two policies share one exactly if they are statistically tied.

    Uses insert-and-absorb (Piepho 2004, J. Comput. Graph. Stat. 13). Letters follow the order of
    the policies, so sort them by rate first.
    """
    k = len(separated)
    columns: list[frozenset[int]] = [frozenset(range(k))]
    for i, j in zip(*np.nonzero(np.triu(separated, 1)), strict=True):
        split: list[frozenset[int]] = []
        for column in columns:
            split += [column - {i}, column - {j}] if i in column and j in column else [column]
        unique = list(dict.fromkeys(split))
        columns = [c for c in unique if not any(c < other for other in unique)]
    columns.sort(key=sorted)
    return ["".join(_letter(n) for n, c in enumerate(columns) if i in c) for i in range(k)]


def _letter(n: int) -> str:
    """a..z, then A..Z, then a1, b1, ..."""
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return letters[n % 52] + (str(n // 52) if n >= 52 else "")
