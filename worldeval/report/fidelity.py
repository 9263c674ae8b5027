"""The fidelity of a run's world model on recorded episodes, read from its card."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from worldeval.errors import UserError
from worldeval.files import read_json

CARD = "world.json"


@dataclass(frozen=True, kw_only=True)
class Horizon:
    """Errors of held-out episodes replayed open loop, a given number of world frames ahead."""

    frames: int
    episodes: int | None
    error: float | None  # mean squared error of standardised latents
    copied: float | None  # the same for a repeated first frame
    position: (
        str  # error of the predicted position: in mm, or a plain number in its own unit; or ""
    )

    @property
    def share(self) -> float | None:
        """The error relative to repeating the first frame; below 1 is better."""
        if self.error is None or not self.copied:
            return None
        return self.error / self.copied


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """Fidelity as stated in the card; empty if the card states none."""

    horizons: tuple[Horizon, ...] = ()
    tokenizer_psnr: float | None = None  # dB; an upper limit for imagined frames

    @property
    def known(self) -> bool:
        """Whether the card states any fidelity."""
        return bool(self.horizons) or self.tokenizer_psnr is not None


def read_fidelity(world: Path) -> Fidelity:
    """Read the fidelity from a world model's card; empty if the card has none."""
    try:
        card = read_json(world / CARD)
    except (UserError, OSError, UnicodeDecodeError):
        return Fidelity()
    if not isinstance(card, dict):
        return Fidelity()
    told = card.get("fidelity")
    found = []
    for name, row in told.items() if isinstance(told, dict) else ():
        match = re.fullmatch(r"h(\d{1,6})", str(name))
        if match and isinstance(row, dict):
            episodes = _value(row.get("episodes"))
            found.append(
                Horizon(
                    frames=int(match[1]),
                    episodes=None if episodes is None else int(episodes),
                    error=_value(row.get("latent_mse")),
                    copied=_value(row.get("copy_mse")),
                    position=_position(row),
                )
            )
    return Fidelity(
        horizons=tuple(sorted(found, key=lambda each: each.frames)),
        tokenizer_psnr=_value(card.get("tokenizer_psnr")),
    )


def _position(row: Mapping[str, object]) -> str:
    hand, place = _value(row.get("hand_mm")), _value(row.get("place_error"))
    if hand is not None:
        return f"{hand:.1f} mm"
    return "" if place is None else f"{place:.3g}"


def _value(raw: object) -> float | None:
    """Return a finite number unchanged, and None for anything else."""
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not isfinite(raw):
        return None
    return float(raw)
