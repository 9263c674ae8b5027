"""Depth images: excluded, or converted to grey images if a map gives their range."""

from collections.abc import Iterable

import numpy as np

from worldeval.axes import Array, UInt8
from worldeval.data.finding import DataFinding


def grey(values: Array, near: float, far: float) -> UInt8[Array, "n h w 3"]:
    """Convert distances (n, h, w) or (n, h, w, 1) to grey: 0 at `near` and below, 255 at `far`.

    Zeros and NaN, which sensors return where they measured nothing, become black.
    """
    plain = np.asarray(values, np.float32)
    if plain.ndim == 4:
        plain = plain[..., 0]
    share = (plain - near) / (far - near)
    share = np.where(np.isfinite(share) & (plain > 0), share, 0.0)
    shown = (share * 255).round().clip(0, 255).astype(np.uint8)
    return np.repeat(shown[..., None], 3, axis=-1)


def left_out(keys: Iterable[str], *, can_show: bool = True) -> list[DataFinding]:
    """Report views that are not colour images and that the map does not mention."""
    keys = list(keys)
    if not keys:
        return []
    remedy = (
        f" To show them in grey, give a map with depth: {{{keys[0]}: [NEAR, FAR]}}, in the unit "
        "that they are stored in."
        if can_show
        else ""
    )
    return [
        DataFinding(
            code="depth-left-out",
            severity="warning",
            episode=None,
            field=", ".join(keys),
            text=f"contains depth, not colour, and is not used as a view.{remedy}",
        )
    ]
