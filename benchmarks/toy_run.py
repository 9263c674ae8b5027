"""A whole evaluation in miniature, with random weights: made in a second, imagined in another.

Nothing in it is any good; that its numbers stay the same, whatever happens to the processes that
work them out, is what it is for.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import nn

from worldeval.judge.calibrate import Calibration
from worldeval.judge.fit import FittedJudge
from worldeval.judge.learned import save_judge
from worldeval.judge.network import JudgeNet
from worldeval.judge.recipe import JudgeRecipe
from worldeval.policy.checkpoint import PolicyCard
from worldeval.policy.checkpoint import save as save_policy
from worldeval.policy.network import PolicyNetwork
from worldeval.policy.recipe import PolicyRecipe
from worldeval.policy.sizes import Sizes
from worldeval.record import Start
from worldeval.rollout.starts import write_starts
from worldeval.training.recipe import TrainerRecipe
from worldeval.world.latent.recipe import LatentRecipe
from worldeval.world.load import new_world, save_world, world_hash
from worldeval.world.protocol import WorldSpec
from worldeval.world.recipe import (
    ActuationRecipe,
    KinematicsRecipe,
    TokenizerRecipe,
)

TASKS, VIEWS, SIZE = ("left", "right"), ("side", "top"), 16
ACTION, POSE = 8, 4  # numbers of a world frame's action and of a pose
SPEC = WorldSpec(
    views=VIEWS,
    size=(SIZE, SIZE),
    latent=(4, 4, 4),
    action_dim=ACTION,
    pose_dim=POSE,
    tasks=TASKS,
    fps=16.0,
)


def make_run(
    folder: Path,
    *,
    policies: Sequence[str] = ("a/step-1", "a/step-2", "b/step-1"),
    starts: int = 12,
    batch: int = 4,
    horizon: int = 6,
    seed: int = 0,
) -> Path:
    """Write world model, judge, policies, starts and protocol; returns the protocol's file."""
    torch.manual_seed(seed)
    make_world(folder / "world")
    make_judge(folder / "judge", folder / "world")
    for name in policies:
        make_policy(folder / "policies" / name, name)
    write_starts(folder / "starts.h5", toy_starts(starts, np.random.default_rng(seed)))
    protocol = folder / "toy.yaml"
    content = {
        "kind": "closed-loop",
        "tasks": list(TASKS),
        "policies": [str(folder / "policies" / name) for name in policies],
        "world": str(folder / "world"),
        "judge": str(folder / "judge"),
        "starts": starts,
        "starts_file": str(folder / "starts.h5"),
        "horizon": horizon,
        "batch": batch,
    }
    protocol.write_text(yaml.safe_dump(content))
    return protocol


def make_world(folder: Path) -> None:
    """A world model that moves pictures about at random."""
    trainer = TrainerRecipe(steps=1, batch=1)
    recipe = LatentRecipe(
        width=32,
        depth=1,
        tokenizer=TokenizerRecipe(widths=(8, 16), channels=4, trainer=trainer),
        actuation=ActuationRecipe(scale=0.05, low=(-1, -1, -1), high=(1, 1, 1)),
        kinematics=KinematicsRecipe(width=32, depth=1, sight=4, unroll=2, trainer=trainer),
        trainer=trainer,
    )
    world = new_world("latent", SPEC, recipe)
    for name, part in world.named_children():
        if name != "tokenizer":
            _shake(part)
    save_world(folder, world, recipe, kind="latent", notes={})


def make_judge(folder: Path, world: Path) -> None:
    """A judge that says what it likes, the same each time."""
    recipe = JudgeRecipe(channels=8, hidden=16, recurrent=8, members=2)
    members = []
    for _ in range(recipe.members):
        member = JudgeNet(
            recipe, latent=(len(VIEWS), *SPEC.latent), pose_dim=POSE, tasks=len(TASKS)
        )
        _shake(member, size=0.5)
        members.append(member)
    fitted = FittedJudge(
        members=members, calibration=Calibration(slope=0.2, offsets=(-1.5, -1.5)), left_out={}
    )
    save_judge(folder, fitted, recipe, SPEC, world=world_hash(world))


def make_policy(folder: Path, name: str, *, noise: float = 1.0) -> None:
    """A checkpoint that answers every picture in its own way."""
    lineage, _, step = name.partition("/step-")
    recipe = PolicyRecipe(views=VIEWS)
    sizes = Sizes(image=(SIZE, SIZE), pose_dim=POSE, action_dim=ACTION, tasks=TASKS)
    network = PolicyNetwork(recipe, sizes)
    _shake(network.head, size=0.1 * noise)
    card = PolicyCard(
        kind="bc",
        lineage=lineage,
        step=int(step),
        seed=0,
        tasks=TASKS,
        note="",
        misleads=False,
        demos=dict.fromkeys(TASKS, 1),
        train_loss=0.1,
        validation_mse=0.1,
        validation_mse_tasks=dict.fromkeys(TASKS, 0.1),
        seconds=1.0,
    )
    save_policy(folder, network, recipe, sizes, card)


def toy_starts(count: int, rng: np.random.Generator) -> list[Start]:
    """So many starts of every task."""
    return [
        Start(
            id=f"{task}-{number}",
            task=task,
            seed=number,
            frames={view: rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8) for view in VIEWS},
            pose=rng.uniform(-0.5, 0.5, POSE).astype(np.float32),
        )
        for task in TASKS
        for number in range(count)
    ]


def _shake(part: nn.Module, *, size: float = 0.1) -> None:
    """Random weights everywhere, also where a new network has zeros."""
    with torch.no_grad():
        for weight in part.parameters():
            weight.copy_(size * torch.randn(weight.shape))
