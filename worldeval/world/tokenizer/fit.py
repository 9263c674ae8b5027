"""Training a tokenizer on shards, and encoding every frame with it once."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather
from torch import Tensor, nn

from worldeval.axes import Array, Float, Int
from worldeval.data.draws import Draws
from worldeval.data.table import RecordedEpisodes
from worldeval.device import autocast
from worldeval.run import whole_file
from worldeval.training.optimise import Fitted, Progress, optimise
from worldeval.training.processes import own_rows, this_process
from worldeval.world.recipe import TokenizerRecipe
from worldeval.world.tokenizer.network import FrameTokenizer, Tokenizer, new_tokenizer


def fit_tokenizer(
    recipe: TokenizerRecipe,
    shards: RecordedEpisodes,
    episodes: Int[Array, " e"],
    *,
    weights: Sequence[float] = (1.0,),
    seed: int,
    progress: Progress | None = None,
) -> Fitted:
    """A tokenizer trained on the frames of `episodes`; one that others trained is left as it is.

    `weights` are those of the folders of the shards, where there are several. Under several
    processes all draw the same frames, and each takes its own of them.
    """
    if recipe.folder:
        given = {"tasks": len(shards.tasks), "views": len(shards.views), "size": shards.size}
        return Fitted(model=new_tokenizer(recipe, **given), loss=0.0)
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    views = shards.views
    model = Tokenizer(recipe, tasks=len(shards.tasks), views=len(views), size=shards.size)
    for part in (model.encoder, model.decoder):
        part.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    rows = _rows(shards, episodes)
    model.mean_image.copy_(_mean_images(shards, rows))
    half = recipe.trainer.batch // len(views)
    owner = np.repeat(shards.part, shards.episodes["length"])[rows]
    part = torch.from_numpy(owner) if len(weights) > 1 else None
    draws = Draws(torch.from_numpy(rows), part=part, weights=weights)

    def loss_of(net: nn.Module, step: int) -> Tensor:
        chosen = draws(half, generator)
        noise = torch.randn(len(views), half, *model.grid, generator=generator)
        mine = own_rows(half)
        batch = (*load_frames(shards, chosen[mine].numpy()), noise[:, mine].flatten(0, 1))
        device = where(net)
        return net(*(each.to(device, non_blocking=True) for each in batch))

    fitted = optimise(TokenizerLoss(model, recipe), loss_of, recipe.trainer, progress=progress)
    trained: Tokenizer = fitted.model.model
    _standardise(trained, shards, rows, generator)
    return Fitted(model=trained, loss=fitted.loss)


class TokenizerLoss(nn.Module):
    """The loss as a module, so that what wraps modules for several devices can wrap it.

    Squared and absolute error of what is drawn from noisy latents, where the picture differs from
    its mean up to `foreground` times, and a penalty on large latents.
    """

    def __init__(self, model: Tokenizer, recipe: TokenizerRecipe) -> None:
        super().__init__()
        self.model, self.recipe = model, recipe

    def forward(
        self,
        frames: Float[Tensor, "n 3 h w"],
        task: Int[Tensor, " n"],
        view: Int[Tensor, " n"],
        noise: Float[Tensor, "n d y x"],
    ) -> Float[Tensor, ""]:
        model, recipe = self.model, self.recipe
        latents = model.raw(frames, task, view)
        error = model.from_raw(latents + recipe.noise * noise, task, view) - frames
        away = (frames - model.mean_image[task, view]).abs().amax(1, keepdim=True)
        weight = 1 + (recipe.foreground - 1) * (away / 0.25).clamp(max=1)
        fit = (weight * (error.square() + recipe.absolute * error.abs())).mean()
        return fit + recipe.penalty * latents.float().square().mean()


def load_frames(shards: RecordedEpisodes, rows: Int[Array, " n"]) -> tuple[Tensor, Tensor, Tensor]:
    """Every view's frames (0-1, channels first) at `rows`, with their task and view indices."""
    frames = np.concatenate([shards.frames(view, rows) for view in shards.views])
    task = torch.from_numpy(np.tile(shards.task_of_row[rows], len(shards.views)))
    view = torch.arange(len(shards.views)).repeat_interleave(len(rows))
    return to_unit(frames), task, view


def to_unit(frames: Array) -> Tensor:
    """uint8 n h w 3 -> float 0-1, n 3 h w in channels_last memory."""
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float().div_(255)


@torch.no_grad()
def encode_all(
    model: FrameTokenizer,
    shards: RecordedEpisodes,
    tasks: tuple[str, ...],
    path: Path,
    *,
    batch: int = 256,
) -> None:
    """Write the latents of every frame to `path`: float16, frames x view x d x h x w.

    `tasks` are the tokenizer's, in its order; the shards may hold only some of them. Encoded where
    the tokenizer is; of several processes each encodes a part, and the first one writes.
    """
    order = torch.tensor([tasks.index(task) for task in shards.tasks])
    shape, state = (len(shards.pose), len(shards.views), *model.grid), this_process()
    device = where(model)

    def encoded(rows: Int[Array, " n"]) -> Float[Tensor, "n v d y x"]:
        frames, task, view = load_frames(shards, rows)
        with autocast(device):
            each = model.encode(frames.to(device), order[task].to(device), view.to(device))
        return each.float().unflatten(0, (shape[1], len(rows))).transpose(0, 1)

    with whole_file(path) if state.is_main_process else nullcontext() as draft:
        out = None if draft is None else np.lib.format.open_memmap(draft, "w+", np.float16, shape)
        begin = 0
        while begin < shape[0]:
            # As many frames in every process, so that they can be gathered: the last ones twice.
            size = min(batch, -(-(shape[0] - begin) // state.num_processes))
            first = begin + size * state.process_index
            rows = np.minimum(np.arange(first, first + size), shape[0] - 1)
            latents: Any = gather(encoded(rows).to(state.device))
            if out is not None:
                out[begin : begin + len(latents)] = latents.cpu()[: shape[0] - begin].numpy()
            begin += len(latents)
        if out is not None:
            out.flush()
        del out
    state.wait_for_everyone()


@torch.no_grad()
def psnr(
    model: FrameTokenizer,
    shards: RecordedEpisodes,
    episodes: Int[Array, " e"],
    *,
    frames: int,
    seed: int,
):
    """Mean PSNR (dB) per frame of decoding what was encoded, over random frames of `episodes`."""
    rng = np.random.default_rng(seed)
    rows = _rows(shards, episodes)
    chosen = rng.choice(rows, min(frames, len(rows)), replace=False)
    given, task, view = (each.to(where(model)) for each in load_frames(shards, chosen))
    again = model.decode(model.encode(given, task, view), task, view).clamp(0, 1)
    error = (again - given).square().mean((1, 2, 3))
    return float((-10 * torch.log10(error.clamp_min(1e-8))).mean())


def where(model: nn.Module) -> torch.device:
    """The device that a model is on."""
    return next(model.parameters()).device


def _rows(shards: RecordedEpisodes, episodes: Int[Array, " e"]) -> Int[Array, " n"]:
    spans = (shards.rows(int(episode)) for episode in episodes)
    return np.concatenate([np.arange(span.start, span.stop) for span in spans])


def _mean_images(shards: RecordedEpisodes, rows: Int[Array, " n"], *, most: int = 1500) -> Tensor:
    height, width = shards.size
    out = torch.zeros(len(shards.tasks), len(shards.views), 3, height, width)
    for task in range(len(shards.tasks)):
        own = rows[shards.task_of_row[rows] == task]
        own = own[:: max(1, len(own) // most)]
        for index, view in enumerate(shards.views):
            mean = shards.frames(view, own).mean(0, dtype=np.float64) / 255
            out[task, index] = torch.from_numpy(mean).permute(2, 0, 1).float()
    return out


@torch.no_grad()
def _standardise(
    model: Tokenizer, shards: RecordedEpisodes, rows: Int[Array, " n"], generator: torch.Generator
) -> None:
    chosen = rows[torch.randint(len(rows), (2000,), generator=generator).numpy()]
    frames, task, view = load_frames(shards, chosen)
    raw = torch.cat(
        [
            model.raw(*part).float()
            for part in zip(frames.split(250), task.split(250), view.split(250), strict=True)
        ]
    )
    for index in range(len(shards.views)):
        own = raw[view == index]
        model.shift[index] = own.mean((0, 2, 3))[:, None, None]
        model.scale[index] = own.std((0, 2, 3)).clamp_min(1e-3)[:, None, None]
