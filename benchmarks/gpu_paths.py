"""Every path that computes on a device, once, with small networks. gpu.py calls it.

A training step's loss is compared with the CPU's, which draws the same numbers; only its precision
differs.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from gpu_speed import in_autocast, new_world_on
from torch import nn

from worldeval.judge.calibrate import Calibration
from worldeval.judge.examples import Examples
from worldeval.judge.fit import fit_member
from worldeval.judge.learned import LearnedJudge
from worldeval.judge.network import JudgeNet
from worldeval.judge.recipe import JudgeRecipe
from worldeval.policy.batches import Batch
from worldeval.policy.checkpoint import LearnedPolicy, PolicyCard
from worldeval.policy.network import PolicyNetwork, Sizes
from worldeval.policy.recipe import Head, PolicyRecipe, PolicyTrainerRecipe
from worldeval.policy.train import imitate
from worldeval.recipe import load
from worldeval.record import Observation, Rollout
from worldeval.training.optimise import LossOf, Rehearse, adamw, rehearsed
from worldeval.training.recipe import TrainerRecipe
from worldeval.world.cost.train import rehearse

WORLDS = ("latent-droid", "dit-droid", "uwm-droid", "rssm-droid", "ctrl-world-tiny-droid")
HEADS: tuple[Head, ...] = ("bc", "flow", "diffusion")
NEAR = 0.05  # relative difference of a loss in bfloat16
TASKS = ("left", "right")


def paths(device: torch.device) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Name and check of every path."""
    for name in WORLDS:
        yield f"{name} trains", lambda name=name: _trains(device, _world(name))
        yield f"{name} imagines", lambda name=name: _imagines(name, device)
    for head in HEADS:
        yield f"{head} policy trains", lambda head=head: _trains(device, _policy(head))
        yield f"{head} policy acts", lambda head=head: _acts(head, device)
    yield "judge trains", lambda: _trains(device, _judge)
    yield "judge reads", lambda: _reads(device)


def _trains(device: torch.device, course: Callable[[Rehearse], None]) -> dict[str, Any]:
    """Losses of a first and second step, on the device and on the CPU."""
    losses: dict[str, list[float]] = {}
    for where in (torch.device("cpu"), device):

        def by(
            model: nn.Module, loss_of: LossOf, trainer: TrainerRecipe, where: torch.device = where
        ) -> None:
            losses["device" if where is device else "cpu"] = _two_steps(
                model, loss_of, trainer, where
            )

        torch.manual_seed(0)
        course(by)
    here, there = losses["cpu"], losses["device"]
    near = all(abs(a - b) <= NEAR * abs(a) + 1e-3 for a, b in zip(here, there, strict=True))
    return {"ok": near and bool(np.isfinite(there).all()), "losses": there, "losses_of_cpu": here}


def _two_steps(
    model: nn.Module, loss_of: LossOf, trainer: TrainerRecipe, device: torch.device
) -> list[float]:
    net = deepcopy(model).to(device).train()
    optimiser, found = adamw(net, trainer, device), []
    for step in range(2):
        with in_autocast(device):
            loss = loss_of(net, step)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        found.append(float(loss.detach()))
    return found


def _world(name: str) -> Callable[[Rehearse], None]:
    recipe = load(name, "model")
    return lambda by: rehearse(recipe.kind, recipe.config, 2, by, device="cpu")


def _policy(head: Head) -> Callable[[Rehearse], None]:
    def course(by: Rehearse) -> None:
        generator = torch.Generator().manual_seed(0)
        batch = Batch(
            images=torch.rand(4, 2, 3, 16, 16, generator=generator),
            pose=torch.rand(4, 4, generator=generator),
            task=torch.tensor([0, 1, 0, 1]),
            actions=torch.rand(4, 2, 8, generator=generator),
        )
        trainer = PolicyTrainerRecipe(steps=2, batch=4, warmup=1)
        with rehearsed(by):
            imitate(_new_policy(head).network, iter([batch] * 2), trainer, generator)

    return course


def _judge(by: Rehearse) -> None:
    rng, shape = np.random.default_rng(0), (2, 8, 4, 2, 3, 4, 4)
    latents = rng.standard_normal(shape).astype(np.float16)
    poses = rng.standard_normal((2, 8, 4, 4)).astype(np.float32)
    examples = Examples(
        imagined=latents[0],
        recorded=latents[1],
        imagined_pose=poses[0],
        recorded_pose=poses[1],
        achieved=np.arange(8)[:, None] % 2 * np.ones(4) > 0,
        task=np.arange(8) // 2 % 2,
        family=np.array([f"family-{index % 4}" for index in range(8)], dtype=object),
    )
    with rehearsed(by):
        fit_member(
            JudgeRecipe(channels=8, hidden=16, recurrent=8),
            examples,
            tasks=2,
            seed=0,
            progress=lambda step, loss: None,
        )


def _imagines(name: str, device: torch.device) -> dict[str, Any]:
    world = new_world_on(name, device)
    spec, batch, frames = world.spec, 2, 5
    latents = torch.zeros(batch, len(spec.views), *spec.latent)
    pose = np.zeros((batch, spec.pose_dim), np.float32)
    state = world.begin_latents(latents, pose, [spec.tasks[0]] * batch, [0, 1])
    walked = world.walk(state, np.zeros((batch, frames, spec.action_dim), np.float32))
    shape = walked.latents.shape[:2] == (batch, frames)
    return {"ok": shape and bool(np.isfinite(walked.latents).all())}


def _acts(head: Head, device: torch.device) -> dict[str, Any]:
    policy, rng = _new_policy(head), np.random.default_rng(0)
    policy.network.to(device)
    policy.reset(TASKS, [3, 4])
    frames = {view: rng.integers(0, 256, (2, 16, 16, 3), np.uint8) for view in TASKS}
    chunk = policy.act(Observation(frames=frames, pose=np.zeros((2, 4), np.float32), tasks=TASKS))
    return {"ok": bool(np.isfinite(chunk).all()), "shape": list(chunk.shape)}


def _new_policy(head: Head) -> LearnedPolicy:
    torch.manual_seed(0)
    recipe = PolicyRecipe(head=head, views=TASKS, flow_steps=3, ddim_steps=3)
    sizes = Sizes(image=(16, 16), pose_dim=4, action_dim=8, tasks=TASKS)
    card = PolicyCard(
        kind=head, lineage=head, step=1, seed=0, tasks=TASKS, note="", misleads=False,
        demos={}, train_loss=0.0, validation_mse=0.0, validation_mse_tasks={}, seconds=0.0,
    )  # fmt: skip
    return LearnedPolicy(PolicyNetwork(recipe, sizes), recipe, sizes, card)


def _reads(device: torch.device) -> dict[str, Any]:
    recipe = JudgeRecipe(channels=8, hidden=16, recurrent=8, members=2)
    nets = [JudgeNet(recipe, latent=(2, 4, 4, 4), pose_dim=4, tasks=2) for _ in range(2)]
    calibration = Calibration(slope=1.0, offsets=(0.0, 0.0))
    judge = LearnedJudge([net.to(device) for net in nets], calibration, tasks=TASKS)
    rng = np.random.default_rng(0)
    rollouts = [
        Rollout(
            policy="policy",
            start=f"start-{number}",
            task=task,
            seed=number,
            latents=rng.standard_normal((5, 2, 4, 4, 4)).astype(np.float16),
            pose=rng.standard_normal((5, 4)).astype(np.float32),
            actions=np.zeros((4, 8), np.float32),
        )
        for number, task in enumerate(TASKS)
    ]
    return {"ok": all(np.isfinite(each.probability) for each in judge(rollouts))}
