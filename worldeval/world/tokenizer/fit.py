"""Train a tokenizer on the frames of any dataset."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from worldeval.axes import Array, Float, Int
from worldeval.data.draws import Draws
from worldeval.training.optimise import Fitted, Progress, optimise
from worldeval.training.processes import own_rows
from worldeval.world.recipe import ABSOLUTE, FOREGROUND, LATENT_NOISE, PENALTY, TokenizerRecipe
from worldeval.world.tokenizer.build import new_tokenizer
from worldeval.world.tokenizer.frame_tokenizer import FrameTokenizer
from worldeval.world.tokenizer.frames import TokenizerFrames
from worldeval.world.tokenizer.network import Tokenizer


def fit_tokenizer(
    recipe: TokenizerRecipe,
    frames: TokenizerFrames,
    episodes: Int[Array, " e"],
    *,
    weights: Sequence[float] = (1.0,),
    seed: int,
    progress: Progress | None = None,
) -> Fitted:
    """Train a tokenizer on the frames of `episodes`; a pretrained one is returned unchanged.

    `weights` are the datasets' sampling weights, if there are several. With several processes, all
    draw the same frames and each uses its own share.
    """
    recorded, tasks = frames.recorded, len(frames.tasks)
    if recipe.folder:
        given = {"tasks": tasks, "views": len(recorded.views), "size": recorded.size}
        return Fitted(model=new_tokenizer(recipe, **given), loss=0.0)
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    views = recorded.views
    model = Tokenizer(recipe, tasks=tasks, views=len(views), size=recorded.size)
    for part in (model.encoder, model.decoder):
        part.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    rows = frames.rows(episodes)
    model.mean_image.copy_(_mean_images(frames, rows))
    half = recipe.trainer.batch // len(views)
    owner = np.repeat(recorded.part, recorded.episodes["length"])[rows]
    part = torch.from_numpy(owner) if len(weights) > 1 else None
    draws = Draws(torch.from_numpy(rows), part=part, weights=weights)

    def loss_of(net: nn.Module, step: int) -> Tensor:
        chosen = draws(half, generator)
        noise = torch.randn(len(views), half, *model.grid, generator=generator)
        mine = own_rows(half)
        batch = (*frames.read(chosen[mine].numpy()), noise[:, mine].flatten(0, 1))
        device = where(net)
        return net(*(each.to(device, non_blocking=True) for each in batch))

    fitted = optimise(TokenizerLoss(model), loss_of, recipe.trainer, progress=progress)
    trained: Tokenizer = fitted.model.model
    _standardise(trained, frames, rows, generator)
    return Fitted(model=trained, loss=fitted.loss)


class TokenizerLoss(nn.Module):
    """The loss as a module, so that wrappers for several devices can wrap it.

    Squared and absolute error of the frames decoded from noisy latents, weighted up to `FOREGROUND`
    times where a frame differs from its mean image, plus a penalty on large latents.
    """

    def __init__(self, model: Tokenizer) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        frames: Float[Tensor, "n 3 h w"],
        task: Int[Tensor, " n"],
        view: Int[Tensor, " n"],
        noise: Float[Tensor, "n d y x"],
    ) -> Float[Tensor, ""]:
        model = self.model
        latents = model.raw(frames, task, view)
        error = model.from_raw(latents + LATENT_NOISE * noise, task, view) - frames
        away = (frames - model.mean_image[task, view]).abs().amax(1, keepdim=True)
        weight = 1 + (FOREGROUND - 1) * (away / 0.25).clamp(max=1)
        fit = (weight * (error.square() + ABSOLUTE * error.abs())).mean()
        return fit + PENALTY * latents.float().square().mean()


@torch.no_grad()
def psnr(
    model: FrameTokenizer,
    given: TokenizerFrames,
    episodes: Int[Array, " e"],
    *,
    frames: int,
    seed: int,
) -> float:
    """Mean PSNR (dB) of reconstructed frames, over random frames of `episodes`."""
    rng = np.random.default_rng(seed)
    rows = given.rows(episodes)
    chosen = rng.choice(rows, min(frames, len(rows)), replace=False)
    true, task, view = (each.to(where(model)) for each in given.read(chosen))
    again = model.decode(model.encode(true, task, view), task, view).clamp(0, 1)
    error = (again - true).square().mean((1, 2, 3))
    return float((-10 * torch.log10(error.clamp_min(1e-8))).mean())


def where(model: nn.Module) -> torch.device:
    """Return the device that a model is on."""
    return next(model.parameters()).device


def _mean_images(frames: TokenizerFrames, rows: Int[Array, " n"], *, most: int = 1500) -> Tensor:
    recorded = frames.recorded
    height, width = recorded.size
    out = torch.zeros(len(frames.tasks), len(recorded.views), 3, height, width)
    for task in range(len(frames.tasks)):
        own = rows[frames.task_of_row[rows] == task]
        own = own[:: max(1, len(own) // most)]
        if not len(own):  # no training episode has this task
            continue
        for index, view in enumerate(recorded.views):
            mean = recorded.frames(view, own).mean(0, dtype=np.float64) / 255
            out[task, index] = torch.from_numpy(mean).permute(2, 0, 1).float()
    return out


@torch.no_grad()
def _standardise(
    model: Tokenizer, frames: TokenizerFrames, rows: Int[Array, " n"], generator: torch.Generator
) -> None:
    chosen = rows[torch.randint(len(rows), (2000,), generator=generator).numpy()]
    unit, task, view = frames.read(chosen)
    raw = torch.cat(
        [
            model.raw(*part).float()
            for part in zip(unit.split(250), task.split(250), view.split(250), strict=True)
        ]
    )
    for index in range(len(frames.recorded.views)):
        own = raw[view == index]
        model.shift[index] = own.mean((0, 2, 3))[:, None, None]
        model.scale[index] = own.std((0, 2, 3)).clamp_min(1e-3)[:, None, None]
