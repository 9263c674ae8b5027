"""Where pairs of the demo's policies part, and what the simulator says to it.

    worldeval rank metaworld --out runs/demo --truth
    python benchmarks/explain.py runs/demo A B [A B ...] [--out FOLDER]   # explains pairs
    python benchmarks/explain.py --phases                                 # needs the simulator

Both write to `results/explain.json`, each its own part. `--phases` rolls policies out in the
simulator and compares the first frame of contact, as told from encoded frames and poses, with the
first frame at which the task's object has moved by 5 mm.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

import numpy as np

import worldeval as we
from worldeval.files import read_json, write_json
from worldeval.policy.load import load_policy
from worldeval.record import Observation, Rollout
from worldeval.rollout.chunks import ChunkQueue
from worldeval.rollout.phases import contact_of
from worldeval.runs.explanation import Explanation

RESULT = Path(__file__).parent / "results" / "explain.json"
CHOSEN = ("drawer-open-v3", "button-press-topdown-v3", "faucet-open-v3")  # for phases.EXCESS
HELD_OUT = ("door-open-v3", "window-open-v3")
POLICIES = (
    "bc-10/step-1300", "bc-all/step-250", "bc-1/step-1000", "bc-displaced/step-900",
    "bc-blind/step-700", "bc-slow/step-1100",
)  # fmt: skip
SEEDS, FRAMES, MOVED = range(700_000, 700_003), 30, 0.005  # moved: metres


def pair(found: Explanation) -> dict[str, object]:
    """What is kept of an explanation: everything but the starts."""
    kept = asdict(found)
    del kept["parted"], kept["phases"]
    return kept


def contact_errors(task: str) -> list[tuple[int, int]]:
    """Frames of the first contact of every episode: simulator's and told; -1 for none."""
    from worldeval.envs.metaworld.env import MetaWorld

    env, world, errors = MetaWorld(task), we.load_world("models/latent"), []
    for ref in POLICIES:
        policy = load_policy(f"models/policies-test/{ref}")
        for seed in SEEDS:
            policy.reset([task], [seed])
            queue, seen = ChunkQueue(policy, replan_every=2), [env.reset(seed)]
            places = [env.raw[4:7].copy()]
            for _ in range(FRAMES):
                now = seen[-1]
                looked = Observation(
                    frames={view: image[None] for view, image in now.frames.items()},
                    pose=now.pose[None],
                    tasks=(task,),
                )
                action = queue.next(lambda looked=looked: looked, env.action_dim)[0]
                seen.append(env.step(action))
                places.append(env.raw[4:7].copy())
            frames = {view: np.stack([each.frames[view] for each in seen]) for view in env.views}
            told = contact_of(
                Rollout(
                    start="", task=task, policy=ref, seed=seed,
                    actions=np.zeros((FRAMES, env.action_dim), np.float32),
                    pose=np.stack([each.pose for each in seen]),
                    latents=world.encode(frames, [task] * len(seen)).numpy().astype(np.float16),
                ),
                world.spec.place,
            )  # fmt: skip
            # The first step settles the scene.
            moved = np.linalg.norm(np.array(places) - places[1], axis=1) > MOVED
            moved[0] = False
            true = int(moved.argmax()) if moved.any() else -1
            errors.append((true, -1 if told is None else told.first))
    return errors


def summarised(frames: list[tuple[int, int]]) -> dict[str, float]:
    """Errors in frames where both have a contact, and how often only one has."""
    true, told = np.array(frames).T
    both = (true >= 0) & (told >= 0)
    error = np.abs(told - true)[both]
    return {
        "episodes": len(frames),
        "median_error": float(np.median(error)),
        "within_2": float((error <= 2).mean()),
        "within_4": float((error <= 4).mean()),
        "missed": int(((true >= 0) & (told < 0)).sum()),
        "moved": int((true >= 0).sum()),
        "false": int(((true < 0) & (told >= 0)).sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", nargs="?")
    parser.add_argument("policies", nargs="*")
    parser.add_argument("--out", type=Path, default=Path("runs/explain"))
    parser.add_argument("--phases", action="store_true")
    given = parser.parse_args()
    kept = read_json(RESULT) if RESULT.is_file() else {}
    if given.phases:
        found = {task: contact_errors(task) for task in (*CHOSEN, *HELD_OUT)}
        groups = {"all": (*CHOSEN, *HELD_OUT), "held_out_tasks": HELD_OUT}
        kept["phases"] = {
            name: summarised([each for task in tasks for each in found[task]])
            for name, tasks in groups.items()
        }
        write_json(RESULT, kept)
    for first, second in zip(given.policies[::2], given.policies[1::2], strict=True):
        folder = given.out / f"{first}-{second}".replace("/", "-")
        made = we.explain(given.run, first, second, out=folder)
        kept.setdefault("pairs", {})[f"{first} {second}"] = pair(made.explanation)
        write_json(RESULT, kept)


if __name__ == "__main__":
    main()
