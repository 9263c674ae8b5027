"""The work and memory of one training step of a recipe, by its own loss on the `meta` device."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from worldeval.data.latents import LatentEpisodes
from worldeval.training.optimise import LossOf, Rehearse, rehearsed
from worldeval.training.recipe import TrainerRecipe
from worldeval.world.cost.count import Counting
from worldeval.world.cost.cuda import AsCuda, attention
from worldeval.world.cost.work import Kernel, Work
from worldeval.world.dit import attended
from worldeval.world.families import Fitting, TrainedHand, family
from worldeval.world.hand.commands import actuation_of
from worldeval.world.protocol import WorldSpec
from worldeval.world.recipe import WorldRecipe
from worldeval.world.size import layout_of
from worldeval.world.training.prepare import Prepared
from worldeval.world.world import World

EPISODES, FRAMES = 4, 120  # of the made-up data; only their shapes matter
# Bytes for every trained weight, all float32: the weight, two moments of AdamW, the average.
HELD = 4 + 8 + 4
# Read and written by one update: AdamW (28), the average (12), the gradient's norm and clip (12).
UPDATED = 52


@dataclass(frozen=True, kw_only=True)
class TrainingStep:
    """One step on one GPU, without what the other processes of a training send."""

    batch: int  # rows of the batch on this GPU
    work: Work  # of the costlier steps of the schedule
    held: float  # bytes between steps: weights, optimiser, average
    peak: float  # bytes of gradients and activations, at most

    @property
    def memory(self) -> float:
        """Bytes at most."""
        return self.held + self.peak


def training_step(kind: str, recipe: WorldRecipe, batch: int) -> TrainingStep:
    """Cost of a step of the dynamics with `batch` rows, without accumulation of gradients.

    It is the costliest step: the last of the schedule, where all that is drawn for the whole batch,
    such as how many frames are imagined, comes out longest.
    """
    found: list[TrainingStep] = []

    def by(model: nn.Module, loss_of: LossOf, trainer: TrainerRecipe) -> None:
        found.append(_measured(model, loss_of, trainer))

    rehearse(kind, recipe, batch, by)
    return found[-1]


def rehearse(
    kind: str, recipe: WorldRecipe, batch: int, by: Rehearse, *, device: str = "meta"
) -> None:
    """Give `by` the network of a recipe's dynamics on `device`, and its loss on made-up episodes.

    The loss is that of the family's own training, at `batch` rows a step.
    """
    recipe = _without_files(recipe)
    trainer: Any = replace(recipe.trainer, batch=batch)
    if hasattr(trainer, "accumulate"):
        trainer = replace(trainer, accumulate=1)
    recipe = replace(recipe, trainer=trainer)
    spec = layout_of(recipe)
    with torch.device(device):
        world: Any = family(kind).new(spec, recipe)
    _with_buffers(world)
    world.actuation = actuation_of(recipe.actuation, spec)  # computes with the data's numbers
    nobody = np.zeros(0, np.int64)
    with tempfile.TemporaryDirectory() as folder, rehearsed(by):
        family(kind).fit(
            _Rehearsal(
                world=world,
                recipe=recipe,
                prepared=Prepared(
                    spec=spec, tokenizer=None, episodes=_episodes(spec), held=nobody, weak=nobody
                ),
                episodes=np.arange(EPISODES),
                seed=0,
                report=lambda stage, steps: lambda step, loss: None,
                stage="rehearsal",
                fresh=False,
                folder=Path(folder),
            )
        )


@dataclass(frozen=True, kw_only=True)
class _Rehearsal(Fitting):
    """A training whose kinematics need none."""

    def hand(self) -> TrainedHand:
        kinematics = self.world.kinematics
        windows = self.windows().in_units(kinematics.pose_std)
        return TrainedHand(kinematics=kinematics, windows=windows)


def _measured(model: nn.Module, loss_of: LossOf, trainer: TrainerRecipe) -> TrainingStep:
    net = deepcopy(model).to("meta").train()
    trained = sum(each.numel() for each in net.parameters() if each.requires_grad)
    fixed = sum(each.nbytes for each in net.buffers())
    update = Work({Kernel(flops=0.0, read_write=float(UPDATED * trained), alone=True): 1})
    with Counting() as counted, _Longest(), AsCuda(), _banded():
        loss = loss_of(net, max(trainer.steps - 1, 0))
        _backward(loss)
    return TrainingStep(
        batch=trainer.batch,
        work=counted.work + update,
        held=float(HELD * trained + fixed),
        peak=float(counted.peak),
    )


@contextmanager
def _banded() -> Iterator[None]:
    """Sequences of `dit` attend under a block mask, as on a GPU: by FlexAttention.

    Its arithmetic is that of plain attention to as many keys as a query sees on average. What
    tiles of the mask compute in vain at its edges is not counted.
    """
    kept = attended.bands, attended._flexible
    attended.FLEXIBLE.add("meta")
    attended.bands, attended._flexible = _seen_keys, lambda kind: _few_keys
    try:
        yield
    finally:
        attended.FLEXIBLE.discard("meta")
        attended.bands, attended._flexible = kept


def _seen_keys(frames: int, cells: int, read: int, window: int, device: torch.device) -> int:
    before = sum(min(frame, window) for frame in range(frames)) / frames
    return round((before + 1) * cells + read)


def _few_keys(query: Tensor, keys: Tensor, values: Tensor, *, block_mask: int, **_: Any) -> Tensor:
    return attention(query, keys[:, :, :block_mask], values[:, :, :block_mask])


class _Longest(TorchFunctionMode):
    """Inside, one number that is drawn alone from a range is the largest of it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.randint and args[1:] == ((),):
            return torch.tensor(args[0] - 1)
        return func(*args, **kwargs)


def _backward(loss: Tensor) -> None:
    """`loss.backward()`, during which a mode for torch's functions would be off: blocks that are
    computed again would then be computed in another precision."""
    engine: Any = torch.autograd.Variable._execution_engine
    engine.run_backward(
        (loss,), (torch.ones_like(loss),), False, False, (),
        allow_unreachable=True, accumulate_grad=True,
    )  # fmt: skip


def _episodes(spec: WorldSpec) -> LatentEpisodes:
    rng, rows = np.random.default_rng(0), EPISODES * FRAMES
    return LatentEpisodes(
        latents=np.zeros((rows, len(spec.views), *spec.latent), np.float16),
        actions=rng.standard_normal((rows, spec.action_dim)).astype(np.float32),
        pose=rng.standard_normal((rows, spec.pose_dim)).astype(np.float32),
        task=np.arange(EPISODES) % len(spec.tasks),
        begin=np.arange(EPISODES) * FRAMES,
        length=np.full(EPISODES, FRAMES),
        flags=np.zeros(rows, np.uint8),
    )


def _with_buffers(world: World) -> None:
    """Bring the buffers of a world to the CPU: trainings begin by reading statistics."""
    for module in world.modules():
        for name, value in module.named_buffers(recurse=False):
            here = torch.ones(value.shape, dtype=value.dtype) if value.is_meta else value.cpu()
            setattr(module, name, here)


def _without_files(recipe: WorldRecipe) -> WorldRecipe:
    """The recipe without paths of weights and statistics: only shapes matter."""
    names = ("svd", "checkpoint", "text", "pose_stats")
    given = {name: "" for name in names if isinstance(getattr(recipe, name, None), str)}
    return replace(recipe, **given) if given else recipe
