"""Measure how well a world model predicts held-out episodes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from worldeval.data.data_map import read_map
from worldeval.data.weighted import Weighted, read_weighted
from worldeval.errors import UserError
from worldeval.recipe import shipped
from worldeval.rollout.replayed_objects import replayed_objects
from worldeval.world.fidelity.objects import ObjectStates
from worldeval.world.fidelity.report import HORIZONS, measure


@dataclass(frozen=True)
class MeasuredFidelity:
    """How well a world model predicts held-out episodes, replayed open loop.

    Every measure is a mean over episodes with its 95% interval: columns NAME, NAME_low, NAME_high.

    Attributes:
        record: all numbers, as the command prints them with `--json`.
    """

    record: Mapping[str, Any]

    @cached_property
    def latents(self) -> pd.DataFrame:
        """One row per horizon (world frames): latent_mse, copied_latent_mse (of repeating the
        first frame), hand_mm (position error; place_error if it is not in metres)."""
        return _table({(int(key[1:]),): row for key, row in self.record["latents"].items()},
                      ["horizon"])  # fmt: skip

    @cached_property
    def pictures(self) -> pd.DataFrame | None:
        """One row per view and horizon: psnr (dB), ssim and lpips, each also for the first frame
        (copied_) and for decoded true latents (ceiling_); None without a decoder."""
        if self.record["pictures"] is None:
            return None
        rows = {
            (view, int(key[1:])): row
            for view, horizons in self.record["pictures"].items()
            for key, row in horizons.items()
        }
        return _table(rows, ["view", "horizon"])

    @cached_property
    def actions(self) -> pd.DataFrame:
        """One row per kind of actions and horizon: error (latent MSE to the recording), change (1
        is as much as in the recording), hand_mm (how far the hand moved; place_error if positions
        are not in metres). Kinds that the data do not say how to make are in `not_measured`."""
        rows = {
            (name, int(key[1:])): row
            for name, horizons in self.record["action_following"]["actions"].items()
            for key, row in horizons.items()
        }
        return _table(rows, ["actions", "horizon"])

    @property
    def not_measured(self) -> dict[str, str]:
        """Measure -> why it is unavailable here."""
        return dict(self.record["not_measured"])


def fidelity(
    world: str | Path,
    data: str | Path | Weighted,
    *,
    horizons: Sequence[int] = HORIZONS,
    episodes: int = 60,
    fvd_backbone: str | Path | None = None,
    sampler_steps: int | None = None,
    probe: str | None = None,
    format: str | None = None,
    map: str | Path | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> MeasuredFidelity:
    """Replay held-out episodes open loop: image quality, action following and memory.

    Args:
        world: folder of a trained world model.
        data: the dataset that it was trained on, or another one.
        horizons: world frames after the start at which errors are measured.
        episodes: maximum number of held-out episodes.
        fvd_backbone: TorchScript file of an I3D network, for FVD. Without it, FVD is skipped.
        sampler_steps: sampler steps of the world model per frame. Default: as in training.
        probe: address of the simulator in which the episodes were recorded. They are replayed in
            it, and a probe learns to read the state of the objects from recorded frames; its error
            on imagined frames is then measured.
        format, map: as in `open_dataset`.
        seed: random seed.
        say: function that is called with progress messages.

    Returns:
        The measures, as tables and as a record.

    Raises:
        UserError: an argument is invalid, or no episode is held out.

    >>> import worldeval as we
    >>> found = we.fidelity("toy/world", "toy/data", horizons=(1, 2), episodes=2)
    >>> list(found.latents.index), list(found.pictures.index.unique("view"))
    ([1, 2], ['side', 'top'])
    >>> list(found.actions.index.unique("actions"))
    ['true', 'zeroed', 'shuffled', 'mirrored']
    """
    backbone = None if fvd_backbone is None else Path(fvd_backbone)
    if backbone is not None and not backbone.is_file():
        raise UserError(f"There is no file {backbone} (--fvd-backbone).")
    given = None if map is None else read_map(Path(map))
    if not isinstance(data, Weighted):
        data = read_weighted(str(data), format=format, given=given)
    return MeasuredFidelity(
        measure(
            Path(shipped(str(world))),
            data,
            horizons=tuple(sorted(set(horizons))),
            episodes=episodes,
            backbone=backbone,
            sampler_steps=sampler_steps,
            objects=None if probe is None else _objects(probe, data, say),
            seed=seed,
            say=say,
        )
    )


def _objects(address: str, data: Weighted, say: Callable[[str], None]) -> ObjectStates:
    task = data.open().heads[0].task
    columns, read = replayed_objects(address, task=task, say=say)
    return ObjectStates(columns=columns, read=read)


def _table(rows: Mapping[tuple, Mapping[str, Any]], index: list[str]) -> pd.DataFrame:
    """Tabulate means with their intervals; what was not measured is missing."""
    flat = [
        dict(zip(index, key, strict=True))
        | {
            f"{name}{part}": mean and mean[side]
            for name, mean in row.items()
            for part, side in (("", "value"), ("_low", "low"), ("_high", "high"))
        }
        for key, row in rows.items()
    ]
    return pd.DataFrame(flat, columns=None if flat else index).set_index(index)
