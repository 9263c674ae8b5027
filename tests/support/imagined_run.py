"""A run with a real, though untrained, world model and judge: what needs networks can be tried.

The toy robot's world with fresh weights is made in a second; its pictures show nothing in
particular.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from tests.support.toy import FRAMES, SIZE, STEPS, TASKS, picture, toy_recipe
from worldeval.judge.calibrate import Calibration
from worldeval.judge.fit import FittedJudge
from worldeval.judge.learned import save_judge
from worldeval.judge.load import load_judge
from worldeval.judge.network import JudgeNet
from worldeval.judge.recipe import JudgeRecipe
from worldeval.policy.builtin import Random, Zero
from worldeval.record import Start
from worldeval.rollout.loop import imagine
from worldeval.rollout.starts import write_starts
from worldeval.runs.origin import open_run
from worldeval.runs.store import RolloutStore
from worldeval.world.load import load_world, new_world, save_world, world_hash
from worldeval.world.protocol import WorldSpec

VIEWS = ("side", "top")
ACTION = 4 * STEPS


def imagined_run(root: Path, *, name: str = "toy", starts: int = 3) -> Path:
    """Write `root/world`, `root/judge` and a run of two policies in them; returns the run."""
    world, judge = fresh_world(root / "world"), fresh_judge(root / "judge")
    run = root / name
    recipe = {
        "kind": "closed-loop",
        "tasks": list(TASKS),
        "policies": ["zero", "random"],
        "world": str(world),
        "judge": str(judge),
        "starts": starts,
        "horizon": FRAMES - 1,
        "batch": starts * len(TASKS),
    }
    open_run(run, recipe=recipe, seed=0, command="rank")
    begins = toy_starts(starts)
    write_starts(run / "starts.h5", begins)
    model, judging, rows = load_world(world), load_judge(judge), []
    for number, policy in enumerate((Zero(action_dim=ACTION), Random(action_dim=ACTION))):
        seeds = [start.seed for start in begins]
        rollouts = imagine(model, policy, begins, horizon=FRAMES - 1, replan_every=1, seeds=seeds)
        verdicts = judging(rollouts)
        RolloutStore(run / "imagined").save(f"{number:03d}-00000", rollouts, verdicts)
        rows += [
            {
                "policy": rollout.policy,
                "lineage": rollout.policy,
                "step": 0,
                "task": rollout.task,
                "start": rollout.start,
                "seed": rollout.seed,
                "score": round(verdict.probability, 6),
            }
            for rollout, verdict in zip(rollouts, verdicts, strict=True)
        ]
    (run / "outcomes").mkdir()
    pd.DataFrame(rows).to_csv(run / "outcomes/imagined.csv", index=False)
    return run


def fresh_world(folder: Path) -> Path:
    """A saved world model of the toy robot that was never trained."""
    torch.manual_seed(0)
    spec = WorldSpec(
        views=VIEWS,
        size=(SIZE, SIZE),
        latent=(4, SIZE // 4, SIZE // 4),
        action_dim=ACTION,
        pose_dim=4,
        tasks=TASKS,
        fps=16.0,
    )
    recipe = toy_recipe()
    save_world(folder, new_world("latent", spec, recipe), recipe, kind="latent", notes={})
    return folder


def fresh_judge(folder: Path) -> Path:
    """A saved judge of that world that was never taught."""
    torch.manual_seed(1)
    spec = load_world(folder.parent / "world").spec
    recipe = JudgeRecipe(channels=4, hidden=8, recurrent=4, members=2)
    latent = (len(spec.views), *spec.latent)
    members = [
        JudgeNet(recipe, latent=latent, pose_dim=spec.pose_dim, tasks=len(spec.tasks))
        for _ in range(recipe.members)
    ]
    calibration = Calibration(slope=1.0, offsets=(0.0,) * len(spec.tasks))
    fitted = FittedJudge(members=members, calibration=calibration, left_out={})
    made = world_hash(folder.parent / "world")
    save_judge(folder, fitted, recipe, spec, world=made)
    return folder


def toy_starts(count: int) -> list[Start]:
    """So many starts of each task."""
    rng, found = np.random.default_rng(0), []
    for task in TASKS:
        for seed in range(count):
            position = rng.uniform(-0.3, 0.3, 3)
            frames = {"side": picture(position), "top": picture(position[[1, 0, 2]])}
            pose = np.append(position, 0.5).astype(np.float32)
            found.append(Start(id=f"{task}-{seed}", task=task, seed=seed, frames=frames, pose=pose))
    return found
