"""A ranking run made of nothing: the files that `worldeval rank --truth` leaves, tiny and seeded.

The summary is written by the code that writes real ones, so that a change of its form is noticed.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from worldeval.evaluate.analysis import analyse, to_json
from worldeval.evaluate.gates import Gates
from worldeval.record import Rollout, Verdict
from worldeval.runs.films import Filmstrip, Moves, write_filmstrip
from worldeval.runs.origin import open_run
from worldeval.runs.store import RolloutStore
from worldeval.runs.summary import SIMULATOR, write_summary
from worldeval.stats import Estimate, rate

RATES = {
    "bc-all@2400": 0.95,
    "bc-all@250": 0.6,
    "flow-all@2000": 0.85,
    "bc-1@200": 0.2,
    "blind": 0.05,
}
FRAMES, BATCH = 13, 40
TASKS = ("drawer-open-v3", "door-open-v3")
STARTS = 12
VIEWS = ("side", "top")


def synthetic_run(folder: Path, *, truth: bool = True, films: bool = True, seed: int = 0) -> Path:
    """Write a run folder; the best policy is bc-all@2400 and the worst is blind."""
    rng = np.random.default_rng(seed)
    open_run(
        folder,
        recipe={"kind": "closed-loop", "tasks": list(TASKS), "starts": STARTS},
        seed=seed,
        command="rank",
    )
    imagined, real = _outcomes(rng)
    (folder / "outcomes").mkdir()
    imagined.to_csv(folder / "outcomes/imagined.csv", index=False)
    if truth:
        real.to_csv(folder / "outcomes/truth.csv", index=False)
    cards = pd.DataFrame(
        {
            "policy": list(RATES),
            "lineage": [name.split("@")[0] for name in RATES],
            "step": [int(name.partition("@")[2] or 0) for name in RATES],
            "validation_mse": [0.011, 0.019, 0.024, 0.04, 0.08],
            "misleads": ["flow" in name for name in RATES],
        }
    )
    analysis = analyse(imagined, real if truth else None, cards, gates(), margin=0.1, seed=seed)
    seconds = {"imagine": 9.6, "truth": 52.0, "total": 61.6, "imagine_cpu": 9.6}
    content = to_json(analysis, cards, seconds=seconds, episodes=len(imagined))
    content["world"] = {"folder": "models/latent", "hash": "0123abcd"}
    if truth:
        content["compared_with"] = SIMULATOR
    write_summary(folder, content)
    _store(folder / "imagined", imagined, rng)
    if films:
        _films(folder / "filmstrips", imagined, real, truth=truth)
    return folder


def gates() -> Gates:
    """All pass but that of near misses."""
    effect = Estimate(
        value=0.7, low=0.62, high=0.78, level=0.95, n=60, clusters=60, method="by hand"
    )
    return Gates(
        false_success=rate(4, 100),
        near_miss_false_success=rate(9, 30),
        true_success=rate(55, 60),
        action_effect=effect,
        informativeness=replace(effect, value=0.85, low=0.76, high=0.92, n=160),
    )


def moving_square(length: int, *, size: int = 32, tint: int = 0) -> np.ndarray:
    """Frames in which a square moves to the right: easy to see in order."""
    frames = np.full((length, size, size, 3), 40 + tint, np.uint8)
    for t in range(length):
        left = round(t * (size - 10) / max(length - 1, 1))
        frames[t, 10:20, left : left + 10] = (230, 180, 40 + tint)
    return frames


def _outcomes(rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows, truths = [], []
    for policy, mean in RATES.items():
        lineage, _, step = policy.partition("@")
        for task in TASKS:
            for start in range(STARTS):
                success = int(rng.random() < mean)
                belief = rng.beta(9, 2) if success else rng.beta(2, 9)
                row = {
                    "policy": policy,
                    "lineage": lineage,
                    "step": int(step or 0),
                    "task": task,
                    "start": f"{task}-{start}",
                    "seed": start,
                }
                rows.append({**row, "score": round(float(belief), 4), "mended": 0.0})
                truths.append({**row, "success": success})
    # Two disagreements, one of each kind, whatever the draws.
    rows[0]["score"], truths[0]["success"] = 0.08, 1
    rows[-1]["score"], truths[-1]["success"] = 0.93, 0
    return pd.DataFrame(rows), pd.DataFrame(truths)


def _store(folder: Path, imagined: pd.DataFrame, rng: np.random.Generator) -> None:
    """Batches of a run store, as `rank` leaves them."""
    store = RolloutStore(folder)
    for number, begin in enumerate(range(0, len(imagined), BATCH)):
        rollouts, verdicts = [], []
        for row in imagined.iloc[begin : begin + BATCH].to_dict("records"):
            rollouts.append(
                Rollout(
                    start=str(row["start"]),
                    task=str(row["task"]),
                    policy=str(row["policy"]),
                    seed=int(row["seed"]),
                    actions=rng.uniform(-1, 1, (FRAMES - 1, 8)).astype(np.float32),
                    pose=rng.normal(size=(FRAMES, 4)).astype(np.float32),
                    latents=rng.normal(size=(FRAMES, len(VIEWS), 4, 4, 4)).astype(np.float16),
                    trust={"mended_actions": 0.0},
                )
            )
            score = float(row["score"])
            votes = (score, max(score - 0.1, 0.0))
            verdicts.append(Verdict(probability=score, step=FRAMES - 1, judge="j", votes=votes))
        store.save(f"{number:03d}-00000", rollouts, verdicts)


def _films(folder: Path, imagined: pd.DataFrame, real: pd.DataFrame, *, truth: bool) -> None:
    for place in (0, 1, 30, len(imagined) - 2, len(imagined) - 1):
        row, length = imagined.iloc[place], FRAMES
        probability = float(row["score"])
        entry = Filmstrip(
            policy=row["policy"],
            task=row["task"],
            start=row["start"],
            seed=int(row["seed"]),
            probability=probability,
            success=bool(real.iloc[place]["success"]) if truth else None,
            evidence=tuple(np.linspace(0.02, probability, length)),
        )
        shown = {view: moving_square(length, tint=30 * i) for i, view in enumerate(VIEWS)}
        happened = {view: moving_square(length - 4, tint=30 * i) for i, view in enumerate(VIEWS)}
        numbers = np.linspace(0, 1, length)[:, None]
        moves = Moves(actions=np.tile(numbers[1:], 8), pose=np.tile(numbers, 4))
        if truth:
            write_filmstrip(folder, entry, shown, happened, moves)
        else:
            write_filmstrip(folder, entry, shown)
