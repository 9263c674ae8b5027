"""Training a tokenizer on shards, and encoding every frame with it once."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from worldeval.axes import Array, Int
from worldeval.data.draws import Draws
from worldeval.data.shards import Shards
from worldeval.device import autocast
from worldeval.run import whole_file
from worldeval.world.optimise import Fitted, Progress, optimise
from worldeval.world.recipe import TokenizerRecipe
from worldeval.world.tokenizer import FrameTokenizer, Tokenizer, new_tokenizer


def fit_tokenizer(
    recipe: TokenizerRecipe,
    shards: Shards,
    episodes: Int[Array, " e"],
    *,
    weights: Sequence[float] = (1.0,),
    seed: int,
    progress: Progress | None = None,
) -> Fitted:
    """A tokenizer trained on the frames of `episodes`; one that others trained is left as it is.

    `weights` are those of the folders of the shards, where there are several.
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
    owner = np.repeat(shards.folder, shards.episodes["length"])[rows]
    part = torch.from_numpy(owner) if len(weights) > 1 else None
    draws = Draws(torch.from_numpy(rows), part=part, weights=weights)

    def loss_of(net: Tokenizer, step: int) -> Tensor:
        frames, task, view = load_frames(shards, draws(half, generator).numpy())
        latents = net.raw(frames, task, view)
        noisy = latents + recipe.noise * torch.randn(latents.shape, generator=generator)
        error = net.from_raw(noisy, task, view) - frames
        away = (frames - net.mean_image[task, view]).abs().amax(1, keepdim=True)
        weight = 1 + (recipe.foreground - 1) * (away / 0.25).clamp(max=1)
        fit = (weight * (error.square() + recipe.absolute * error.abs())).mean()
        return fit + recipe.penalty * latents.float().square().mean()

    fitted = optimise(model, loss_of, recipe.trainer, progress=progress)
    _standardise(fitted.model, shards, rows, generator)
    return fitted


def load_frames(shards: Shards, rows: Int[Array, " n"]) -> tuple[Tensor, Tensor, Tensor]:
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
    model: FrameTokenizer, shards: Shards, tasks: tuple[str, ...], path: Path, *, batch: int = 256
) -> None:
    """Write the latents of every frame to `path`: float16, frames x view x d x h x w.

    `tasks` are the tokenizer's, in its order; the shards may hold only some of them.
    """
    order = torch.tensor([tasks.index(task) for task in shards.tasks])
    shape = (len(shards.pose), len(shards.views), *model.grid)
    with whole_file(path) as draft:
        out = np.lib.format.open_memmap(draft, "w+", np.float16, shape)
        for begin in range(0, shape[0], batch):
            rows = np.arange(begin, min(begin + batch, shape[0]))
            frames, task, view = load_frames(shards, rows)
            with autocast(torch.device("cpu")):
                latents = model.encode(frames, order[task], view)
            split = latents.float().unflatten(0, (shape[1], len(rows))).transpose(0, 1)
            out[rows] = split.numpy().astype(np.float16)
        out.flush()
        del out


@torch.no_grad()
def psnr(
    model: FrameTokenizer, shards: Shards, episodes: Int[Array, " e"], *, frames: int, seed: int
):
    """Mean PSNR (dB) per frame of decoding what was encoded, over random frames of `episodes`."""
    rng = np.random.default_rng(seed)
    rows = _rows(shards, episodes)
    given, task, view = load_frames(shards, rng.choice(rows, min(frames, len(rows)), replace=False))
    again = model.decode(model.encode(given, task, view), task, view).clamp(0, 1)
    error = (again - given).square().mean((1, 2, 3))
    return float((-10 * torch.log10(error.clamp_min(1e-8))).mean())


def _rows(shards: Shards, episodes: Int[Array, " e"]) -> Int[Array, " n"]:
    spans = (shards.rows(int(episode)) for episode in episodes)
    return np.concatenate([np.arange(span.start, span.stop) for span in spans])


def _mean_images(shards: Shards, rows: Int[Array, " n"], *, most: int = 1500) -> Tensor:
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
    model: Tokenizer, shards: Shards, rows: Int[Array, " n"], generator: torch.Generator
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
