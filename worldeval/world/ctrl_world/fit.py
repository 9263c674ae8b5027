"""Train Ctrl-World on clips of encoded episodes."""

from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn

from worldeval.axes import Array, Float, Int
from worldeval.data.latents import LatentEpisodes
from worldeval.errors import UserError
from worldeval.training.checkpoints import Saving
from worldeval.training.low_rank import adapted, merged
from worldeval.training.optimise import Fitted, Progress, optimise, unwrapped
from worldeval.training.processes import on_device, own_rows
from worldeval.world.ctrl_world.denoiser import VideoDenoiser
from worldeval.world.ctrl_world.draw import Draw, draw
from worldeval.world.ctrl_world.recipe import STILL, MemoryRecipe
from worldeval.world.training.windows import Windows, steps

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")  # layers of the UNet that `lora` adapts
STATISTICS = 2048  # changes from which their standard deviation is estimated


def fit_denoiser(
    model: VideoDenoiser,
    windows: Windows,
    episodes: Int[Array, " e"],
    *,
    seed: int,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Train on clips of `episodes` as `model.recipe` says; resumes from `checkpoint` if present.

    With `lora`, only updates of low rank of the attention layers are trained, and the encoder of
    poses; the result has them in its weights. With several processes, all draw the same batch and
    each uses its own rows of it.
    """
    recipe, trainer = model.recipe, model.recipe.trainer
    generator = torch.Generator().manual_seed(seed)
    clips = Clips(model, windows, episodes, generator)

    def loss_of(net: nn.Module, step: int) -> Tensor:
        picked, offsets, drawn = clips.draw()
        mine = own_rows(clips.size)
        clip = on_device(windows.cut(picked[mine], offsets[mine]), net)
        return unwrapped(net).loss(net, clip, on_device(drawn.rows(mine), net))

    saving = None
    if checkpoint is not None:
        saving = Saving(path=checkpoint, every=trainer.save_every, generators=(generator,))
    if recipe.lora:
        model = deepcopy(model)
        torch.manual_seed(seed)
        adapted(model, ATTENTION, recipe.lora, also=["network.action_encoder"])
    fitted = optimise(
        model, loss_of, trainer, progress=progress, saving=saving, accumulate=trainer.accumulate
    )
    if recipe.lora:
        merged(fitted.model)
    return fitted


class Clips:
    """What the clips of each batch are, drawn from one generator for all processes together."""

    def __init__(
        self,
        model: VideoDenoiser,
        windows: Windows,
        episodes: Int[Array, " e"],
        generator: torch.Generator,
    ) -> None:
        recipe, trainer = model.recipe, model.recipe.trainer
        self.recipe, self.frame, self.generator = recipe, model.frame, generator
        self.size = trainer.batch // trainer.accumulate
        if self.size * trainer.accumulate != trainer.batch:
            raise UserError(
                f"trainer.accumulate: {trainer.accumulate} does not divide the batch of "
                f"{trainer.batch} clips."
            )
        data = windows.data
        transitions(data, episodes, recipe.future)  # checks that there are any
        self.rows = {k: data.draws(episodes, k) for k in futures(recipe.future, recipe.any_future)}

    def draw(self) -> tuple[Int[Tensor, " b"], Int[Tensor, "b t"], Draw]:
        """The rows of the newest frames, the offsets of all frames, and the random numbers."""
        generator, size = self.generator, self.size
        future = list(self.rows)[int(torch.randint(len(self.rows), (), generator=generator))]
        picked = self.rows[future](size, generator)
        offsets = training_offsets(size, self.recipe.memory, future, generator)
        drawn = draw(size, self.recipe, frame=self.frame, future=future, generator=generator)
        return picked, offsets, drawn


def training_offsets(
    count: int, memory: MemoryRecipe, future: int, generator: torch.Generator
) -> Int[Tensor, "b t"]:
    """Frame offsets of training clips, by the official code's rule.

    Each clip draws one stride for its past, and its future stride grows in proportion to the
    shortest: with strides of 4 and 8, the pairs are (4, 1) and (8, 2). In a share `STILL` of the
    clips, all past frames are the newest frame, and the future keeps its stride.
    """
    strides = torch.tensor(memory.strides)
    drawn = strides[torch.randint(len(strides), (count,), generator=generator)]
    still = torch.rand(count, generator=generator) < STILL
    back = torch.where(still, 0, drawn)[:, None] * torch.arange(-len(memory.recall), 0)
    ahead = (drawn // min(memory.strides))[:, None] * steps(0, future)
    return torch.cat([back, ahead], 1)


def fit_statistics(
    model: VideoDenoiser, data: LatentEpisodes, episodes: Int[Array, " e"], *, seed: int
) -> None:
    """Compute the statistics of a robot's poses and changes from its training episodes."""
    spans = [
        torch.arange(int(data.begin[each]), int(data.begin[each] + data.length[each]))
        for each in episodes
    ]
    model.scale.fit(torch.from_numpy(data.pose)[torch.cat(spans)].float())
    if model.recipe.change:
        model.fit_change(_changes(model, data, episodes, seed=seed))


def transitions(data: LatentEpisodes, episodes: Int[Array, " e"], future: int) -> Int[Tensor, " n"]:
    """Rows followed by `future` frames of the same episode. Raises UserError if there are none."""
    rows = torch.from_numpy(data.transitions(episodes, future))
    if not len(rows):
        raise UserError(
            f"No training episode is longer than the {future} frames to imagine at once. "
            "Set a smaller `future`, or add longer episodes."
        )
    return rows


def futures(most: int, any_future: bool) -> list[int]:
    """The numbers of new frames to train on."""
    return list(range(1, most + 1)) if any_future else [most]


def _changes(
    model: VideoDenoiser, data: LatentEpisodes, episodes: Int[Array, " e"], *, seed: int
) -> Float[Tensor, "n v d h w"]:
    generator = torch.Generator().manual_seed(seed)
    future = model.recipe.future
    rows = transitions(data, episodes, future)
    picked = rows[torch.randperm(len(rows), generator=generator)[:STATISTICS]].sort().values
    ahead = torch.randint(1, future + 1, (len(picked),), generator=generator)
    strides = torch.tensor(model.recipe.memory.strides) // min(model.recipe.memory.strides)
    ahead = ahead * strides[torch.randint(len(strides), (len(picked),), generator=generator)]
    last = torch.from_numpy((data.begin + data.length - 1)[data.episode_of_row])[picked]
    later = torch.minimum(picked + ahead, last)
    return data.gather(later.numpy()) - data.gather(picked.numpy())
