"""Train the two-timestep transformer on moments of encoded episodes, including video."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from worldeval.axes import Array, Bool, Int
from worldeval.data.draws import Draws
from worldeval.errors import UserError
from worldeval.training.checkpoints import Saving
from worldeval.training.optimise import Fitted, Progress, optimise
from worldeval.training.processes import on_device, own_rows
from worldeval.training.recipe import TrainerRecipe
from worldeval.world.branch import rows_of
from worldeval.world.training.windows import Windows
from worldeval.world.uwm.loss import MomentCutter, UwmLoss, draw_times, spoilt
from worldeval.world.uwm.modes import Noise
from worldeval.world.uwm.network import PAIR, Uwm

STATISTICS = 2048  # moments from which the standard deviation of changes is estimated


def fit_uwm(
    model: Uwm,
    windows: Windows,
    episodes: Int[Array, " e"],
    trainer: TrainerRecipe,
    *,
    latent_noise: float,
    pose_noise: float,
    seed: int,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Fitted:
    """Train on chunks of 1 to `recipe.chunk` frames after rows of `episodes`.

    The `action_free` episodes are read as video: their actions are never used. An interrupted
    training resumes from `checkpoint`. With several processes, all draw the same batch and each
    uses its own rows of it.
    """
    recipe, generator = model.recipe, torch.Generator().manual_seed(seed)
    video = action_free(episodes, recipe.action_free, marked=windows.data.video)
    cutter = MomentCutter(windows, video=video, successes_only=recipe.imitate == "success")
    rows = {frames: windows.data.draws(episodes, frames) for frames in range(1, recipe.chunk + 1)}
    if not len(rows[recipe.chunk]):
        longest = int(np.max(windows.data.length[episodes], initial=0))
        raise UserError(
            f"chunk: {recipe.chunk} frames must follow a moment, but the longest training episode "
            f"has {longest} frames. Set chunk below that."
        )
    if not model.change_fitted:  # training that continues from earlier weights keeps their scale
        _fit_change(model, cutter, rows, generator)

    def loss_of(net: nn.Module, step: int) -> Tensor:
        frames = 1 + int(torch.randint(recipe.chunk, (), generator=generator))
        clean = cutter.cut(rows[frames](trainer.batch, generator), frames)
        batch = spoilt(
            clean,
            latent_noise=latent_noise,
            pose_noise=windows.place_noise(pose_noise),
            place=windows.place,
            history_drop=recipe.history_drop,
            generator=generator,
        )
        times = draw_times(
            batch.video, last=recipe.times, corners=recipe.corners, generator=generator
        )
        noise = Noise(
            actions=torch.randn(batch.actions.shape, generator=generator),
            future=torch.randn(batch.future.shape, generator=generator),
        )
        mine = own_rows(trainer.batch)
        return net(*(on_device(rows_of(part, mine), net) for part in (batch, times, noise)))

    saving = None
    if checkpoint is not None:
        saving = Saving(path=checkpoint, every=recipe.save_every, generators=(generator,))
    fitted = optimise(UwmLoss(model), loss_of, trainer, progress=progress, saving=saving)
    return Fitted(model=fitted.model.model, loss=fitted.loss)


def action_free(
    episodes: Int[Array, " e"], share: float, *, marked: Bool[Array, " all"] | None = None
) -> Int[Array, " k"]:
    """Return the episodes that are treated as video.

    These are a `share` of the episodes with actions, spaced evenly and so balanced across tasks,
    and every episode that the dataset marks as video (`marked`, over all episodes).
    """
    own = np.zeros(len(episodes), bool) if marked is None else marked[episodes]
    acting = episodes[~own]
    order = np.floor(np.arange(1, len(acting) + 1) * share)
    chosen = acting[np.diff(order, prepend=0.0) > 0]
    return np.sort(np.concatenate([episodes[own], chosen]))


def _fit_change(
    model: Uwm, cutter: MomentCutter, rows: dict[int, Draws], generator: torch.Generator
) -> None:
    changes = []
    for frames, every in rows.items():
        picked = torch.randperm(len(every), generator=generator)[: STATISTICS // len(rows)]
        moments = cutter.cut(every.rows[picked].sort().values, frames)
        changes.append(moments.future[:, PAIR - 1] - moments.seen.latent)
    model.fit_change(torch.cat(changes))
