"""A `uwm` world model asked what to do: its policy mode as a policy that can be ranked.

    worldeval rank PROTOCOL --policies runs/world/uwm-tiny

Fairest in a world model of another family: in its own imagination it is judged by itself.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from worldeval.axes import Array, Float32
from worldeval.errors import UserError
from worldeval.policy.protocol import PolicySpec
from worldeval.record import Observation
from worldeval.world.load import load_world, read_card
from worldeval.world.uwm.world import UwmWorld

KIND = "uwm"
PARTS = ("base", "fold-")  # folders within that of a training, which bear its name


class UwmPolicy:
    """The transformer's policy mode as a `Policy`: it sees the newest frame and the first."""

    def __init__(self, world: UwmWorld, *, lineage: str, step: int) -> None:
        self.world = world
        self._spec = PolicySpec(
            name=f"{lineage}/step-{step}",
            lineage=lineage,
            step=step,
            views=world.spec.views,
            action_dim=world.spec.action_dim,
            chunk=world.model.recipe.chunk,
            space=world.spec.space,
        )
        self._generators: list[torch.Generator] = []
        self._first: Tensor | None = None

    @property
    def spec(self) -> PolicySpec:
        return self._spec

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Begin a batch; every episode's noise comes from its own seed."""
        self._generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
        self._first = None

    def act(self, observation: Observation) -> Float32[Array, "b k a"]:
        """Action chunks; the first call after a reset sees the first frame."""
        if len(observation) != len(self._generators):
            raise ValueError(
                f"{len(observation)} episodes observed, {len(self._generators)} begun by reset"
            )
        spec = self.world.spec
        for task in (each for each in observation.tasks if not spec.knows(each)):
            known = ", ".join(spec.tasks)
            raise UserError(
                f"Policy {self._spec.name} never saw the task '{task}' (it saw {known})."
            )
        frames = {view: np.asarray(observation.frames[view]) for view in self._spec.views}
        latents = self.world.encode(frames, observation.tasks)
        if self._first is None:
            self._first = latents
        pose = np.asarray(observation.pose, np.float32)
        acted = self.world.act(latents, self._first, pose, observation.tasks, self._generators)
        # Relative commands are shares of the longest step; absolute ones have no such bound.
        bounded = self.world.actuation.scaled
        return np.clip(acted, -1, 1) if bounded else acted


def load(folder: str) -> UwmPolicy:
    """The policy in the folder of a trained `uwm` world model."""
    path = Path(folder)
    card = read_card(path)
    if card["kind"] != KIND:
        raise UserError(
            f"{path} holds a world model of the family '{card['kind']}', which imagines but does "
            f"not act. Of the families, '{KIND}' does both."
        )
    world = load_world(path)
    assert isinstance(world, UwmWorld)
    place = path.resolve()
    name = f"{place.parent.name}-{place.name}" if place.name.startswith(PARTS) else place.name
    return UwmPolicy(world, lineage=name, step=card["recipe"].trainer.steps)
