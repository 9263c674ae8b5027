"""Five modes of one network: which parts are sampled, given or ignored.

UWM (arXiv 2504.02792), section 3.2. A given part has diffusion time 0 and is clean. An ignored part
has the last time, where it is pure noise, and so is marginalised. A sampled part is moved from
there to 0 by DDIM.

    policy   p(actions | seen)           forward  p(future | seen, actions)
    video    p(future | seen)            inverse  p(actions | seen, future)
    joint    p(actions, future | seen)
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from worldeval.axes import Float
from worldeval.device import gpu_autocast
from worldeval.world.uwm.network import PAIR, Uwm
from worldeval.world.uwm.seen import UwmContext

Role = Literal["drawn", "given", "ignored"]

# mode -> the roles of actions and of the future
MODES: dict[str, tuple[Role, Role]] = {
    "policy": ("drawn", "ignored"),
    "forward": ("given", "drawn"),
    "inverse": ("drawn", "given"),
    "video": ("ignored", "drawn"),
    "joint": ("drawn", "drawn"),
}


@dataclass(frozen=True, kw_only=True)
class Moment:
    """Where a sampler is: at the step `step` of `steps`, the first being 0."""

    left: float  # share of noise left, squared
    step: int
    steps: int


# (predicted clean actions in robot units, the sampler's moment) -> guided actions
Guide = Callable[[Float[Tensor, "b n a"], Moment], Float[Tensor, "b n a"]]


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Initial noise of samples; ignored parts stay at it."""

    actions: Float[Tensor, "b n a"]
    future: Float[Tensor, "b 2 v d h w"]

    def first(self, frames: int) -> "Noise":
        """Return the noise of a shorter chunk."""
        return Noise(actions=self.actions[:, :frames], future=self.future)


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Both parts after sampling; an ignored part is None."""

    actions: Float[Tensor, "b n a"] | None  # in the robot's units
    future: Float[Tensor, "b 2 v d h w"] | None  # latents of the chunk's last two frames


def own_noise(model: Uwm, generators: list[torch.Generator]) -> Noise:
    """Draw noise for a whole chunk; row i only depends on generator i."""
    shape = (model.recipe.chunk, len(model.features.action_mean))
    device = model.change_std.device
    acting, seeing = [], []
    for each in generators:
        acting.append(torch.randn(shape, generator=each, device=each.device))
        seeing.append(torch.randn((PAIR, *model.latent), generator=each, device=each.device))
    return Noise(actions=torch.stack(acting).to(device), future=torch.stack(seeing).to(device))


@torch.no_grad()
def draw(
    model: Uwm,
    seen: UwmContext,
    noise: Noise,
    *,
    mode: str,
    steps: int,
    actions: Float[Tensor, "b n a"] | None = None,
    future: Float[Tensor, "b 2 v d h w"] | None = None,
    guide: Guide | None = None,
) -> Drawn:
    """Sample from `model` in `mode` with `steps` DDIM steps; the noise sets the chunk's length.

    `actions` (robot units) and `future` (latents) are read only if they are given in this mode.
    `guide` modifies the predicted actions at every step (guidance.py).
    """
    acting, seeing = MODES[mode]
    device = model.change_std.device
    schedule = model.schedule
    with gpu_autocast(device):
        look = model.look(seen)
    if acting == "given":
        assert actions is not None, f"{mode} needs actions"
        own_actions = model.unit_actions(actions)
    else:
        own_actions = noise.actions
    if seeing == "given":
        assert future is not None, f"{mode} needs a future"
        own_future = model.change(future, seen)
    else:
        own_future = noise.future

    def at(role: Role, now: int) -> Tensor:
        time = {"drawn": now, "given": 0, "ignored": schedule.times}[role]
        return torch.full((len(seen),), time, device=look.feature.device)

    for step, (now, then) in enumerate(itertools.pairwise(schedule.ladder(steps))):
        times = at(acting, now), at(seeing, now)
        with gpu_autocast(device):
            said = model.denoise(look, own_actions, own_future, *times)
        if acting == "drawn":
            clean = schedule.data(said.actions, own_actions, times[0])
            if guide is not None:
                left = float(schedule.noise[now]) ** 2
                moment = Moment(left=left, step=step, steps=steps)
                clean = model.unit_actions(guide(model.robot_actions(clean), moment))
            own_actions = schedule.ddim(clean, own_actions, times[0], at(acting, then))
        if seeing == "drawn":
            clean = schedule.data(said.future, own_future, times[1])
            own_future = schedule.ddim(clean, own_future, times[1], at(seeing, then))
    return Drawn(
        actions=None if acting == "ignored" else model.robot_actions(own_actions),
        future=None if seeing == "ignored" else model.changed(own_future, seen),
    )
