"""A large run made of nothing, for what must stay quick: thousands of episodes, small arrays."""

from pathlib import Path

import numpy as np
import pandas as pd

from worldeval.files import write_json
from worldeval.record import Rollout, Verdict
from worldeval.runs.origin import open_run
from worldeval.runs.store import RolloutStore
from worldeval.stats import from_frame, rank

BATCH = 100
FRAMES = 5
TASKS = ("drawer-open-v3", "door-open-v3")


def many_episodes(folder: Path, *, policies: int, starts: int, seed: int = 0) -> Path:
    """A run of so many policies and starts, imagined and real."""
    rng = np.random.default_rng(seed)
    recipe = {"kind": "closed-loop", "tasks": list(TASKS), "truth": {"env": "metaworld", "k": 2}}
    open_run(folder, recipe=recipe, seed=seed, command="rank")
    store, rows = RolloutStore(folder / "imagined"), []
    for number in range(policies):
        for begin in range(0, starts, BATCH):
            rollouts, verdicts = [], []
            for start in range(begin, min(begin + BATCH, starts)):
                task = TASKS[start % len(TASKS)]
                score = float(rng.beta(1 + number, 5))
                rollouts.append(
                    Rollout(
                        start=f"{task}-{start}",
                        task=task,
                        policy=f"policy-{number}",
                        seed=start,
                        actions=rng.uniform(-1, 1, (FRAMES - 1, 8)).astype(np.float32),
                        pose=rng.normal(size=(FRAMES, 4)).astype(np.float32),
                        latents=rng.normal(size=(FRAMES, 2, 4, 4, 4)).astype(np.float16),
                        trust={"mended_actions": 0.0},
                    )
                )
                verdicts.append(
                    Verdict(probability=score, step=4, judge="j", votes=(score, score / 2))
                )
                rows.append(
                    {
                        "policy": f"policy-{number}",
                        "task": task,
                        "start": f"{task}-{start}",
                        "seed": start,
                        "score": score,
                        "success": int(rng.random() < score),
                    }
                )
            store.save(f"{number:03d}-{begin:05d}", rollouts, verdicts)
    table = pd.DataFrame(rows)
    (folder / "outcomes").mkdir()
    table.drop(columns="success").to_csv(folder / "outcomes/imagined.csv", index=False)
    table.drop(columns="score").to_csv(folder / "outcomes/truth.csv", index=False)
    ranking = rank(from_frame(table.drop(columns="success")), rng=rng)
    write_json(folder / "summary.json", {"ranking": ranking.to_json(), "episodes": len(table)})
    return folder
