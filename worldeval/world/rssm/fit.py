"""Train the recurrent state-space model on sequences of encoded episodes."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from worldeval.axes import Array, Int
from worldeval.errors import UserError
from worldeval.training.checkpoints import Saving
from worldeval.training.optimise import Fitted, Progress, optimise
from worldeval.training.processes import on_device, own_rows
from worldeval.training.recipe import TrainerRecipe
from worldeval.world.rssm.loss import RssmLoss
from worldeval.world.rssm.network import Rssm
from worldeval.world.training.windows import Windows, steps

AT_START = 0.25  # share of sequences that begin at an episode's start, as evaluation does


def fit_rssm(
    model: Rssm,
    windows: Windows,
    episodes: Int[Array, " e"],
    trainer: TrainerRecipe,
    *,
    latent_noise: float,
    seed: int,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Fitted:
    """Train on sequences of a first frame and `recipe.length` more, drawn from `episodes`.

    The posterior's inputs carry noise of a strength drawn per sequence up to `latent_noise`. An
    interrupted training resumes from `checkpoint`. With several processes, all draw the same batch
    and each uses its own rows of it.
    """
    recipe, ahead = model.recipe, steps(0, model.recipe.length)
    generator = torch.Generator().manual_seed(seed)
    anywhere = windows.data.draws(episodes, recipe.length)
    if not len(anywhere):
        longest = int(np.max(windows.data.length[episodes], initial=0))
        raise UserError(
            f"length: sequences have {recipe.length} frames after the first, but the longest "
            f"training episode has {longest} frames. Set length below that."
        )
    starts = anywhere.where(torch.isin(anywhere.rows, torch.from_numpy(windows.data.begin)))

    def loss_of(net: nn.Module, step: int) -> Tensor:
        rows = anywhere(trainer.batch, generator)
        if len(starts):
            first = int(AT_START * trainer.batch)
            rows = torch.cat([starts(first, generator), rows[first:]])
        shape = (2, recipe.length + 1, len(rows), recipe.groups, recipe.classes)
        uniform = torch.rand(shape, generator=generator)
        strength = latent_noise * torch.rand(len(rows), 1, 1, 1, 1, 1, generator=generator)
        cells = (len(rows), recipe.length + 1, *model.latent)
        noise = strength * torch.randn(cells, generator=generator)
        mine = own_rows(trainer.batch)
        batch = on_device(windows.cut(rows[mine], ahead), net)
        own = (each.to(batch.latents) for each in (uniform[:, :, mine], noise[mine]))
        return net(batch, *own)

    model.judged.fill_(windows.judged)
    saving = None
    if checkpoint is not None:
        saving = Saving(path=checkpoint, every=recipe.save_every, generators=(generator,))
    fitted = optimise(RssmLoss(model), loss_of, trainer, progress=progress, saving=saving)
    return Fitted(model=fitted.model.model, loss=fitted.loss)
