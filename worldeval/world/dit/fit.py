"""Train `dit`: the straight-path loss on noisy histories, then on the model's own histories."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from worldeval.axes import Array, Int
from worldeval.training.checkpoints import Saving
from worldeval.training.optimise import Fitted, Progress, optimise, unwrapped
from worldeval.training.processes import on_device, own_rows
from worldeval.training.recipe import TrainerRecipe, scheduled
from worldeval.world.dit.loss import flow_loss, forgetting, sequence_of
from worldeval.world.dit.network import DitNetwork, Sequence
from worldeval.world.dit.recipe import AT_NOISE
from worldeval.world.flow import sample
from worldeval.world.training.windows import Windows, noisy

STATISTICS = 4096  # transitions from which the standard deviation of changes is estimated


def fit_dit(
    model: DitNetwork,
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
    """Train on every frame of a sequence except the first, which has no predecessor.

    Latents of the history carry noise of a strength drawn per sequence up to `latent_noise`, poses
    a constant offset of `pose_noise` (`Windows.place_noise`). Later in training (`recipe.imagined`)
    the history is the model's own: all frames are sampled at once, each from the current history,
    and the samples become the new history. When this is done twice, the history holds errors caused
    by errors. The idea is that of "Self Forcing" (Huang et al., 2025), by way of parallel scheduled
    sampling (Duckworth et al., 2019): nothing is rolled out frame by frame.
    """
    generator = torch.Generator().manual_seed(seed)
    recipe = model.recipe
    length = min(recipe.length, int(windows.data.length[episodes].max()))
    rows = windows.data.draws(episodes, length - 1)
    if not model.change_fitted:  # training that continues from earlier weights keeps their scale
        single = torch.from_numpy(windows.data.transitions(episodes, 1))
        model.fit_change(_changes(windows, single, generator))

    size = trainer.batch // recipe.accumulate

    def loss_of(net: nn.Module, step: int) -> Tensor:
        picked = rows(size, generator)
        longest = scheduled(recipe.imagined, step / trainer.steps)
        rounds = int(torch.randint(1 + longest, (), generator=generator))
        seed_now = int(torch.randint(2**48, (), generator=generator))
        mine = own_rows(size)
        own, bare = torch.Generator().manual_seed(seed_now + mine.start), unwrapped(net)
        picked = picked[mine]
        noise = torch.randn(len(picked), len(windows.place), generator=own)
        offset = windows.place_noise(pose_noise) * noise
        true = forgetting(
            on_device(sequence_of(windows, picked, length, recipe, pose_offset=offset), net), own
        )
        strength = latent_noise * torch.rand(len(picked), 1, 1, 1, 1, generator=own)
        seen = replace(true, before=noisy(true.before, strength, own))
        seen = seen.seeing(noisy(true.latents, strength[..., None], own))
        for _ in range(rounds):
            seen = imagined(bare, seen, own)
        change = (true.latents - seen.previous()) / bare.change_std
        return flow_loss(net, change, seen, at_noise=AT_NOISE, generator=own)

    saving = None
    if checkpoint is not None:
        saving = Saving(path=checkpoint, every=recipe.save_every, generators=(generator,))
    return optimise(
        model, loss_of, trainer, progress=progress, saving=saving, accumulate=recipe.accumulate
    )


@torch.no_grad()
def imagined(model: DitNetwork, sequence: Sequence, generator: torch.Generator) -> Sequence:
    """Sample every frame of the sequence except the first again, each from the given history."""
    scene, seen = model.settle_sequence(sequence)
    noise = torch.randn(sequence.latents.shape, generator=generator).to(sequence.latents)
    change = sample(
        lambda x, time: model.denoise(x, time, scene, seen),
        noise.flatten(0, 1),
        steps=model.recipe.steps,
    ).view_as(sequence.latents)
    latents = sequence.previous() + change * model.change_std
    return sequence.seeing(torch.cat([sequence.latents[:, :1], latents[:, 1:]], 1))


def _changes(windows: Windows, rows: Tensor, generator: torch.Generator) -> Tensor:
    """Changes between consecutive frames, for transitions drawn from `rows`."""
    picked = rows[torch.randperm(len(rows), generator=generator)[:STATISTICS]].sort().values.numpy()
    return windows.data.gather(picked + 1) - windows.data.gather(picked)
