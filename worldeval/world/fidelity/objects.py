"""Where objects are in imagined frames, read by a probe that learned it from recorded ones.

The probe is a small network from one frame's latents and the task to the state of the objects, as a
simulator tells it: a drawer's handle, a block. It never sees an imagined frame while it learns, so
what it reads from one is what the frame shows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from worldeval.axes import Array, Float, Float32, Int
from worldeval.data.columns import Groups, names, spans
from worldeval.data.source import Source
from worldeval.training.optimise import optimise
from worldeval.training.recipe import TrainerRecipe
from worldeval.world.fidelity.held_out import Held, OpenLoop
from worldeval.world.fidelity.mean import Mean, mean_of

WIDTH = 64
TRAINER = TrainerRecipe(steps=800, batch=64, learning_rate=2e-3, weight_decay=0.05, ema=0.99)
NOISE = 0.2  # on the latents, since imagined ones are never exact
THERE = 0.95  # share of recorded frames in which the probe finds the objects, by definition


@dataclass(frozen=True, kw_only=True)
class ObjectStates:
    """The state of the objects in recorded episodes, from whoever knows it."""

    columns: Groups  # what the numbers of a state mean
    # (dataset, episodes, frames) -> states; episodes that are shorter repeat their last one
    read: Callable[[Source, Int[Array, " e"], int], Float32[Array, "e t o"]]


class StateProbe(nn.Module):
    """Read the standardised state of the objects from one latent frame of every view."""

    def __init__(
        self, views: int, latent: tuple[int, int, int], *, tasks: int, columns: int
    ) -> None:
        super().__init__()
        depth, height, breadth = latent
        stride = 2 if height * breadth > 256 else 1
        self.tasks = tasks
        self.sight = nn.Sequential(
            nn.Conv2d(views * depth, WIDTH, 3, stride, padding=1),
            nn.SiLU(),
            nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.LazyLinear(128),
            nn.SiLU(),
        )
        self.tell = nn.Sequential(nn.Linear(128 + tasks, 128), nn.SiLU(), nn.Linear(128, columns))

    def forward(
        self, latents: Float[Tensor, "n v d h w"], task: Int[Tensor, " n"]
    ) -> Float[Tensor, "n o"]:
        """States in standard deviations from their training mean."""
        which = nn.functional.one_hot(task, self.tasks).float()
        return self.tell(torch.cat([self.sight(latents.flatten(1, 2)), which], 1))


@dataclass(frozen=True, kw_only=True)
class FittedStateProbe:
    """A probe with the scale of its output."""

    probe: StateProbe
    tasks: tuple[str, ...]
    mean: Float32[Array, " o"]
    std: Float32[Array, " o"]

    @torch.inference_mode()
    def __call__(
        self, latents: Float32[Array, "e t v d h w"], tasks: Sequence[str]
    ) -> Float32[Array, "e t o"]:
        """Read the states of every frame."""
        rows = []
        for episode, task in zip(latents, tasks, strict=True):
            which = torch.full((len(episode),), self.tasks.index(task))
            rows.append(self.probe(torch.from_numpy(episode), which).float().numpy())
        return np.stack(rows) * self.std + self.mean


def fit_state_probe(
    seen: Held, states: Float32[Array, "e t o"], *, seed: int, trainer: TrainerRecipe = TRAINER
) -> FittedStateProbe:
    """Train the probe on recorded episodes other than those that are measured."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    tasks = tuple(sorted(set(seen.tasks)))
    rows = np.argwhere(np.arange(states.shape[1]) < seen.length[:, None])
    every = states[rows[:, 0], rows[:, 1]]
    mean, std = every.mean(0), every.std(0).clip(1e-5)
    latents = torch.from_numpy(seen.latents)
    wanted = torch.from_numpy(((states - mean) / std).astype(np.float32))
    index = torch.from_numpy(rows)
    which = torch.tensor([tasks.index(task) for task in seen.tasks])
    views, depth, height, breadth = latents.shape[2:]
    probe = StateProbe(views, (depth, height, breadth), tasks=len(tasks), columns=states.shape[2])
    probe(torch.zeros(1, *latents.shape[2:]), torch.zeros(1, dtype=torch.int64))  # lazy sizes

    def loss_of(net: nn.Module, step: int) -> Tensor:
        e, t = index[torch.randint(len(index), (trainer.batch,), generator=generator)].unbind(1)
        frame = latents[e, t]
        frame = frame + NOISE * torch.randn(frame.shape, generator=generator)
        device = next(net.parameters()).device
        told = net(frame.to(device), which[e].to(device))
        return nn.functional.smooth_l1_loss(told, wanted[e, t].to(device))

    fitted = optimise(probe, loss_of, trainer).model
    return FittedStateProbe(
        probe=fitted, tasks=tasks, mean=mean.astype(np.float32), std=std.astype(np.float32)
    )


@dataclass(frozen=True, kw_only=True)
class ProbedObjects:
    """What the probe reads at one horizon; errors by group of columns, in the group's unit."""

    recorded: dict[str, Mean]  # on recorded frames: the probe's own error
    imagined: dict[str, Mean]
    unmoved: dict[str, Mean]  # of the true state at the start, as if nothing had moved
    ratio: dict[str, float]  # imagined over recorded
    # Share of episodes in which the probe is at most as far off as on 95% of the recorded frames.
    still_there: Mean
    still_there_recorded: Mean
    still_there_by_chance: Mean | None  # on imagined frames of other episodes of the same task


def probed(
    probe: FittedStateProbe,
    held: Held,
    states: Float32[Array, "e t o"],
    imagined: OpenLoop,
    columns: Groups,
    *,
    horizons: Sequence[int],
) -> dict[str, ProbedObjects]:
    """Return 'h<horizon>' -> what the probe reads from imagined and from recorded frames.

    Episodes of tasks that the probe has not seen are left out.
    """
    known = np.array([task in probe.tasks for task in held.tasks])
    tasks = [task for task, here in zip(held.tasks, known, strict=True) if here]
    length, states = held.length[known], states[known]
    last = states.shape[1]
    read = probe(held.latents[known][:, :last], tasks)
    made = probe(imagined.latents[known][:, :last], tasks)
    other = _others(tasks)
    live = np.arange(last) < length[:, None]
    own = errors(read, states, columns)
    reach = {name: np.quantile(error[live], THERE) for name, error in own.items()}

    def there(found: dict[str, Float[Array, " n"]]) -> Float[Array, " n"]:
        return np.all([found[name] <= reach[name] for name in found], axis=0).astype(float)

    out = {}
    for horizon in horizons:
        rows = np.flatnonzero(length > horizon)
        if horizon >= last or not len(rows):
            continue
        truth = states[rows, horizon]
        away = {
            "recorded": {name: error[rows, horizon] for name, error in own.items()},
            "imagined": errors(made[rows, horizon], truth, columns),
            "unmoved": errors(states[rows, 0], truth, columns),
        }
        means = {side: {name: _mean(each) for name, each in found.items()}
                 for side, found in away.items()}  # fmt: skip
        swapped = np.isin(other[rows], rows) & (other[rows] != rows)
        chance = there(errors(made[other[rows], horizon], truth, columns))[swapped]
        out[f"h{horizon}"] = ProbedObjects(
            **means,
            ratio={
                name: mean.value / max(means["recorded"][name].value, 1e-12)
                for name, mean in means["imagined"].items()
            },
            still_there=_mean(there(away["imagined"])),
            still_there_recorded=_mean(there(away["recorded"])),
            still_there_by_chance=mean_of(chance),
        )
    return out


def errors(
    read: Float[Array, "... o"], true: Float[Array, "... o"], columns: Groups
) -> dict[str, Float[Array, "..."]]:
    """Return the distance of two states for every group of columns, with its unit in the name.

    Metres are given in mm, radians in degrees. Positions: the distance; other groups: the root mean
    square.
    """
    out = {}
    for group, span in spans(columns):
        away = np.square(read[..., span].astype(float) - true[..., span])
        whole = away.sum(-1) if group.means in ("position", "planar") else away.mean(-1)
        unit, factor = {"m": ("mm", 1000.0), "rad": ("deg", 180 / np.pi)}.get(
            group.unit, (group.unit, 1.0)
        )
        name = ", ".join(names((group,)))
        out[f"{name} ({unit})" if unit else name] = factor * np.sqrt(whole)
    return out


def _others(tasks: Sequence[str]) -> Int[Array, " e"]:
    """For every episode the next one of the same task."""
    out = np.arange(len(tasks))
    for task in set(tasks):
        here = np.flatnonzero(np.array(tasks) == task)
        out[here] = np.roll(here, 1)
    return out


def _mean(values: Float[Array, " n"]) -> Mean:
    found = mean_of(values)
    assert found is not None
    return found
