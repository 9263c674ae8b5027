"""Training the recurrent state-space model on sequences of encoded episodes."""

import numpy as np
import torch
from torch import Tensor, nn

from worldeval.axes import Array, Int
from worldeval.errors import UserError
from worldeval.world.fit_dynamics import on_device
from worldeval.world.optimise import Fitted, Progress, optimise
from worldeval.world.recipe import TrainerRecipe
from worldeval.world.rssm.loss import RssmLoss
from worldeval.world.rssm.network import Rssm
from worldeval.world.rssm.sequences import SequenceCutter
from worldeval.world.windows import Windows

AT_START = 0.25  # share of sequences that begin where an episode does, as evaluation does


def fit_rssm(
    model: Rssm,
    windows: Windows,
    episodes: Int[Array, " e"],
    trainer: TrainerRecipe,
    *,
    latent_noise: float,
    seed: int,
    progress: Progress | None = None,
) -> Fitted:
    """Train on sequences of `recipe.length` frames after the first, drawn from `episodes`.

    What the posterior sees carries noise of a strength drawn per sequence up to `latent_noise`.
    """
    recipe, cutter = model.recipe, SequenceCutter(windows)
    generator = torch.Generator().manual_seed(seed)
    anywhere = torch.from_numpy(windows.data.transitions(episodes, recipe.length))
    if not len(anywhere):
        longest = int(np.max(windows.data.length[episodes], initial=0))
        raise UserError(
            f"length: {recipe.length} frames must follow the first of a sequence; the longest "
            f"training episode has {longest} frames. Set length below that."
        )
    starts = anywhere[torch.isin(anywhere, torch.from_numpy(windows.data.begin))]

    def loss_of(net: nn.Module, step: int) -> Tensor:
        rows = _pick(anywhere, trainer.batch, generator)
        if len(starts):
            first = int(AT_START * trainer.batch)
            rows = torch.cat([_pick(starts, first, generator), rows[first:]])
        batch = on_device(cutter.cut(rows, recipe.length), net)
        shape = (2, recipe.length + 1, len(rows), recipe.groups, recipe.classes)
        uniform = torch.rand(shape, generator=generator).to(batch.latents)
        strength = latent_noise * torch.rand(len(rows), 1, 1, 1, 1, 1, generator=generator)
        noise = strength * torch.randn(batch.latents.shape, generator=generator)
        return net(batch, uniform, noise=noise.to(batch.latents))

    model.judged.fill_(cutter.judged)
    fitted = optimise(RssmLoss(model), loss_of, trainer, progress=progress)
    return Fitted(model=fitted.model.model, loss=fitted.loss)


def _pick(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    return rows[torch.randint(len(rows), (count,), generator=generator)]
