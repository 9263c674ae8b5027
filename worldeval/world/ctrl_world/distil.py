"""Distil the sampler into the network, so that one or two steps take the place of fifty.

Song et al., "Consistency Models" (2023), consistency distillation (algorithm 2): between two
neighbouring noise levels, the trained network, the teacher, takes one step of its sampler, with
guidance. The student learns to predict the same clean frames from both ends of that step. At the
lowest level it predicts what it is given, so that it comes to predict, from any level, where the
teacher's sampler would end. Guidance is then in its weights. As in Song & Dhariwal, "Improved
Techniques for Training Consistency Models" (2023), the student itself is the target, without an
average of its weights.
"""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from worldeval.axes import Array, Float, Int
from worldeval.training.checkpoints import Saving
from worldeval.training.optimise import Fitted, Progress, optimise, unwrapped
from worldeval.training.processes import on_device, own_rows
from worldeval.world.ctrl_world.denoiser import VideoDenoiser
from worldeval.world.ctrl_world.draw import Draw
from worldeval.world.ctrl_world.edm import Scales, sampling_sigmas
from worldeval.world.ctrl_world.fit import Clips
from worldeval.world.ctrl_world.recipe import AUGMENTATION, SIGMA_MIN
from worldeval.world.training.windows import Window, Windows


def distil(
    teacher: VideoDenoiser,
    windows: Windows,
    episodes: Int[Array, " e"],
    *,
    seed: int,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Fitted:
    """Train a student of `teacher` on clips of `episodes`, as its recipe's `distil` says."""
    recipe = teacher.recipe
    generator = torch.Generator().manual_seed(seed)
    clips = Clips(teacher, windows, episodes, generator)
    frozen = deepcopy(teacher).eval().requires_grad_(False)

    def loss_of(net: nn.Module, step: int) -> Tensor:
        picked, offsets, drawn = clips.draw()
        levels = torch.randint(recipe.distil.levels, (clips.size,), generator=generator)
        mine = own_rows(clips.size)
        clip = on_device(windows.cut(picked[mine], offsets[mine]), net)
        own = on_device(drawn.rows(mine), net)
        device = own.sigma.device
        return consistency_loss(net, frozen.to(device), clip, own, levels[mine].to(device))

    saving = None
    if checkpoint is not None:
        every = recipe.trainer.save_every
        saving = Saving(path=checkpoint, every=every, generators=(generator,))
    trainer = replace(
        recipe.trainer, steps=recipe.distil.steps, learning_rate=recipe.distil.learning_rate
    )
    return optimise(
        teacher,
        loss_of,
        trainer,
        progress=progress,
        saving=saving,
        accumulate=trainer.accumulate,
    )


def consistency_loss(
    net: nn.Module,
    teacher: VideoDenoiser,
    clip: Window,
    draw: Draw,
    level: Int[Tensor, " b"],
) -> Float[Tensor, ""]:
    """Squared difference of the student's predictions from both ends of a step of the teacher's.

    `level` is that of each clip's noisier end; 0 is the highest. `draw.sigma` is not read.
    """
    student = unwrapped(net)
    sigmas = sampling_sigmas(student.recipe.edm, student.recipe.distil.levels).to(level.device)
    now, then = sigmas[level], sigmas[level + 1]
    wide = (-1, 1, 1, 1, 1)
    shown = student.shown(clip, draw)
    words, kept = student.text[clip.task], torch.ones_like(draw.kept)
    given = (shown.past, shown.newest, clip.pose, words)
    x = shown.target + draw.noise * now.view(wide)
    with torch.no_grad():
        clean = teacher.guided(x, now, *given)
        nearer = x + ((then - now) / now).view(wide) * (x - clean)
        aim = student(nearer, then.clamp_min(SIGMA_MIN), *given, kept, AUGMENTATION)
        aim = torch.where(then.view(wide) > 0, aim, nearer)
    found = net(x, now, *given, kept, AUGMENTATION)
    return (Scales.at(now).weight * (found - aim).square()).mean()
