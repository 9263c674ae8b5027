"""A `uwm` world model as a policy: its policy mode can be ranked like any other policy.

    worldeval rank PROTOCOL --policies runs/world/uwm-tiny

Rank it in a world model of another family: in its own imagination it would judge itself.
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
PARTS = ("base", "fold-")  # subfolders of a training run, which use its name


class UwmPolicy:
    """The transformer's policy mode as a `Policy`; it sees the newest frame and the first."""

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
        """Return action chunks; the first call after a reset sees the first frame."""
        if len(observation) != len(self._generators):
            raise ValueError(
                f"{len(observation)} episodes observed, but reset started {len(self._generators)}"
            )
        spec = self.world.spec
        for task in (each for each in observation.tasks if not spec.knows(each)):
            known = ", ".join(spec.tasks)
            raise UserError(
                f"Policy {self._spec.name} was not trained on the task '{task}' (it knows: "
                f"{known})."
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
    """Load the policy from the folder of a trained `uwm` world model."""
    path = Path(folder)
    card = read_card(path)
    if card["kind"] != KIND:
        raise UserError(
            f"{path} contains a world model of the family '{card['kind']}', which imagines but "
            f"does not act. Only the family '{KIND}' does both."
        )
    world = load_world(path)
    assert isinstance(world, UwmWorld)
    place = path.resolve()
    name = f"{place.parent.name}-{place.name}" if place.name.startswith(PARTS) else place.name
    return UwmPolicy(world, lineage=name, step=card["recipe"].trainer.steps)
