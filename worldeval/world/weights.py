"""Store weights as safetensors in half precision, optionally with 8-bit large matrices.

With `compress`, a large matrix takes one byte per number and one scale per row, so that a small
model also fits into a repository.
"""

from pathlib import Path

import torch
from torch import Tensor

from worldeval.checked_weights import load_checked, save_checked
from worldeval.errors import UserError

BYTES_FROM = 65536  # matrices with fewer numbers stay in half precision


def save_weights(path: Path, state: dict[str, Tensor], *, compress: bool) -> None:
    """Save weights in half precision; with `compress`, large matrices in one byte per number."""
    out: dict[str, Tensor] = {}
    for key, value in state.items():
        value = value.detach().cpu()
        if compress and value.ndim == 2 and value.numel() >= BYTES_FROM:
            scale = value.abs().amax(1, keepdim=True).clamp_min(1e-12) / 127
            out[key] = (value / scale).round().to(torch.int8)
            out[f"{key}.scale"] = scale.float()
        else:
            out[key] = value.half() if value.is_floating_point() and value.ndim > 1 else value
    save_checked(path, out)


def load_weights(path: Path) -> dict[str, Tensor]:
    """Load what `save_weights` wrote, in float32.

    Raises:
        UserError: the file is missing or damaged.
    """
    stored = load_checked(path)
    out = {}
    for key, value in stored.items():
        if f"{key}.scale" in stored:
            scale = stored[f"{key}.scale"]
            if scale.shape != (*value.shape[:1], 1):
                raise UserError(
                    f"{path} is damaged: {key} is {tuple(value.shape)} and its scale "
                    f"{tuple(scale.shape)}. Restore the file from a copy, or train again."
                )
            out[key] = value.float() * scale
        elif not (key.endswith(".scale") and key.removesuffix(".scale") in stored):
            out[key] = value.float() if value.is_floating_point() else value
    return out


def mean_state(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Average several modules' weights; integer buffers are taken from the first module."""
    return {
        key: torch.stack([state[key] for state in states]).mean(0)
        if value.is_floating_point()
        else value
        for key, value in states[0].items()
    }
