"""The work and memory of imagining frames with a world model of a recipe, on the `meta` device."""

import math
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldeval.world.cost.count import Counting
from worldeval.world.cost.cuda import AsCuda
from worldeval.world.cost.work import Work
from worldeval.world.families import family
from worldeval.world.recipe import WorldRecipe
from worldeval.world.size import layout_of
from worldeval.world.world import World

SETTLED = 20  # calls after which the history that a model reads is long enough for any recipe


@dataclass(frozen=True, kw_only=True)
class Imagination:
    """One call of a world model, for a batch of episodes."""

    batch: int
    steps: int  # of the sampler; 0: it has none
    frames: int  # of every episode, imagined by the call; a frame is all its views
    work: Work
    weights: float  # bytes of the networks, as they are held
    peak: float  # bytes of tensors besides the weights, at most
    cache: float  # bytes of keys and values held between calls, within `peak`
    growth: float  # bytes of one more frame and pose of all episodes


class Imagining:
    """A world model of a recipe on `meta`, whose history is as long as it gets."""

    def __init__(self, kind: str, recipe: WorldRecipe) -> None:
        spec = layout_of(recipe)
        with torch.device("meta"):
            world = family(kind).new(spec, recipe)
        self.world: World = world.to("meta").eval()  # some libraries ignore the device above
        self.steps = self.world.steps if self.world.sampler else 0
        self._calls: dict[tuple[int, int], Imagination] = {}
        self.frames = int(getattr(recipe, "future", 1)) if hasattr(world, "advance") else 1
        if self.steps:
            self.world.steps = 1  # the history does not depend on it
        self._state = self._begun(batch=1)

    def cost(self, batch: int, steps: int | None = None) -> Imagination:
        """The cost of a call for `batch` episodes. `steps`: of the sampler, else the recipe's.

        More than two steps follow from one and two, since all are alike.
        """
        steps = (steps or self.steps) if self.steps else 0
        one = self._call(batch, steps=min(steps, 1))
        if steps < 2:
            return one
        two = self._call(batch, steps=2)
        work = one.work + (two.work - one.work) * (steps - 1)
        parts = {each.name: getattr(two, each.name) for each in fields(two)}
        return Imagination(**(parts | {"steps": steps, "work": work}))

    def _call(self, batch: int, *, steps: int) -> Imagination:
        if (batch, steps) not in self._calls:
            self._calls[batch, steps] = self._computed(batch, steps=steps)
        return self._calls[batch, steps]

    @torch.inference_mode()
    def _computed(self, batch: int, *, steps: int) -> Imagination:
        if steps:
            self.world.steps = 1
        with Counting() as counted:
            state = self.world.branch(self._state, np.zeros(batch, np.int64))
            with AsCuda():
                state = self._advanced(state, batch)  # a branch begins by moving its history
            if steps:
                self.world.steps = steps
            counted.begin()
            with AsCuda():
                self._advanced(state, batch)
            spec = self.world.spec
            numbers = len(spec.views) * math.prod(spec.latent) + spec.pose_dim
            return Imagination(
                batch=batch,
                steps=steps,
                frames=self.frames,
                work=counted.work,
                weights=float(sum(each.nbytes for each in tensors_of(self.world.state_dict()))),
                peak=float(counted.peak),
                cache=float(sum(each.nbytes for each in tensors_of(getattr(state, "cache", ())))),
                growth=4.0 * batch * numbers,
            )

    @torch.inference_mode()
    def _begun(self, *, batch: int) -> Any:
        spec = self.world.spec
        latents = torch.zeros(batch, len(spec.views), *spec.latent, device="meta")
        pose = np.zeros((batch, spec.pose_dim), np.float32)
        tasks = [spec.tasks[0]] * batch
        with Counting() as counted:
            with AsCuda():
                state = self.world.begin_latents(latents, pose, tasks, list(range(batch)))
            before = None
            for _ in range(SETTLED):
                counted.begin()
                with AsCuda():
                    state = self._advanced(state, batch)
                now = (counted.work.flops, sum(counted.kernels.values()))
                if now == before:
                    break
                before = now
        return state

    def _advanced(self, state: Any, batch: int) -> Any:
        shape = (batch, self.frames, self.world.spec.action_dim)
        actions = torch.zeros(shape, device="meta")
        if self.frames == 1:
            return self.world.step(state, actions[:, 0])
        return self.world.advance(state, actions)  # type: ignore[operator]


def tensors_of(value: Any) -> list[Tensor]:
    """Every tensor in a record, a mapping or a list of them."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        return tensors_of(list(value.values()))
    if isinstance(value, list | tuple):
        return [each for part in value for each in tensors_of(part)]
    if is_dataclass(value):
        return tensors_of([getattr(value, each.name) for each in fields(value)])
    return []
