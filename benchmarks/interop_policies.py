# pandas types a cell as anything that a table may hold.
# pyright: reportArgumentType=false
"""LeRobot's policies here and there: the same actions, and one ranking over one glob.

    python benchmarks/interop_policies.py ENVIRONMENT DATASET OUT.json [--starts N]

ENVIRONMENT is LeRobot's (`worldeval env lerobot --out ENVIRONMENT`), DATASET what
`worldeval export` wrote. Trains four policies there for a few steps, shows each of them 50
observations in a row three times over, compares our actions with those of LeRobot's own
`select_action`, alone and in a batch, and ranks all of their checkpoints.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from worldeval.data.source import open_source
from worldeval.files import write_json
from worldeval.policy.load import expand, load_policy
from worldeval.policy.protocol import Policy
from worldeval.policy.remote.beside import PLACE
from worldeval.record import Observation
from worldeval.rollout.chunks import ChunkQueue
from worldeval.runs.paths import RunPaths
from worldeval.runs.tables import read_table

STEPS, EPISODES = 50, 3
SEEDS = (5, 6, 7)
CLOSE = 1e-5
HERE = Path(__file__).parent


def observations(dataset: Path) -> dict[str, Any]:
    """Fifty frames in a row, three times over, of the dataset's episodes one after another."""
    source = open_source(dataset)
    episodes = [source.episode(index) for index in range(len(source.heads))]
    count = EPISODES * STEPS
    out: dict[str, Any] = {
        view: np.concatenate([e.frames[view] for e in episodes])[:count]
        for view in episodes[0].frames
    }
    out["state"] = np.concatenate([e.pose for e in episodes])[:count].astype(np.float32)
    shaped = {key: value.reshape(EPISODES, STEPS, *value.shape[1:]) for key, value in out.items()}
    return {**shaped, "seeds": np.array(SEEDS), "task": np.array(episodes[0].task)}


def driven(policy: Policy, shown: dict[str, Any], rows: list[int]) -> np.ndarray:
    """The actions of every step, as the harness takes them from a policy: (episode, step, a)."""
    views = [key for key, value in shown.items() if value.ndim == 5]
    task = str(shown["task"])

    def moment(step: int) -> Observation:
        return Observation(
            frames={view: shown[view][rows, step] for view in views},
            pose=shown["state"][rows, step],
            tasks=(task,) * len(rows),
        )

    policy.reset((task,) * len(rows), [int(shown["seeds"][row]) for row in rows])
    queue = ChunkQueue(policy, replan_every=1, low=-np.inf, high=np.inf)
    taken = []
    for step in range(STEPS):
        past = tuple(moment(max(step - back, 0)) for back in range(policy.spec.history - 1, 0, -1))
        now = moment(step)
        seen = Observation(frames=now.frames, pose=now.pose, tasks=now.tasks, past=past)
        taken.append(queue.next(lambda seen=seen: seen, policy.spec.action_dim))
    return np.stack(taken, 1)


def compare(refs: list[str], shown: dict[str, Any], theirs: dict[str, np.ndarray]) -> list[dict]:
    """The largest difference of any number of any action, policy by policy."""
    rows = []
    for number, ref in enumerate(refs):
        policy, expected = load_policy(ref), theirs[str(number)]
        begin = time.perf_counter()
        batch = driven(policy, shown, list(range(EPISODES)))
        seconds = time.perf_counter() - begin
        alone = np.concatenate([driven(policy, shown, [row]) for row in range(EPISODES)])
        rows.append(
            {
                "policy": policy.spec.name,
                "history": policy.spec.history,
                "carried_out": policy.spec.replan,
                "said_by": policy.spec.replan_said_by,
                "largest_action": float(np.abs(expected).max()),
                "changes_by": float(np.abs(np.diff(expected, axis=1)).max()),
                "difference_alone": float(np.abs(alone - expected).max()),
                "difference_in_a_batch": float(np.abs(batch - expected).max()),
                "seconds_for_a_batch": round(seconds, 2),
            }
        )
        print(rows[-1], flush=True)
    return rows


def ranked(pattern: str, out: Path, protocol: str, starts: int) -> dict[str, Any]:
    """One `rank` over one glob; its rates, by name, lineage and step."""
    command = ["rank", protocol, "--policies", pattern, "--starts", str(starts), "--films", "0"]
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "worldeval", *command, "--jobs", "1", "--out", str(out), "--json"],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"rank ended with {done.returncode}\n{done.stderr[-3000:]}")
    table = read_table(
        RunPaths(out).outcomes("imagined"), needed=("policy", "lineage", "step", "score")
    )
    policies = [
        {
            "policy": str(name),
            "lineage": str(rows["lineage"].iloc[0]),
            "step": int(rows["step"].iloc[0]),
            "episodes": len(rows),
            "predicted": round(float(rows["score"].mean()), 4),
        }
        for name, rows in table.groupby("policy", sort=False)
    ]
    return {
        "command": f"worldeval rank {protocol} --policies '{_told(pattern)}' --starts {starts}",
        "seconds": round(time.perf_counter() - begin, 1),
        "policies": policies,
    }


def _told(pattern: str) -> str:
    """The glob without where this machine keeps it."""
    return "lerobot:" + pattern[pattern.index("trained/") :]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("environment", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rank", default="metaworld")
    parser.add_argument("--starts", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("data-cache/interop-policies"))
    asked = parser.parse_args()
    os.environ[PLACE] = str(asked.environment.resolve())
    os.environ["HF_HUB_OFFLINE"] = "1"
    python, work = asked.environment / "bin" / "python", asked.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    train = [str(HERE / "interop_train.py"), str(asked.dataset), str(work / "trained")]
    subprocess.run([str(python), *train], check=True)
    pattern = f"lerobot:{work}/trained/*/checkpoints/*"
    refs = expand([pattern])
    shown = observations(asked.dataset)
    np.savez(work / "shown.npz", **shown)
    folders = [ref.removeprefix("lerobot:").partition("?")[0] for ref in refs]
    select = [str(HERE / "interop_select.py"), str(work / "shown.npz"), str(work / "theirs.npz")]
    said = subprocess.run(
        [str(python), *select, *folders], check=True, stdout=subprocess.PIPE, text=True
    )
    there = json.loads(said.stdout.strip().splitlines()[-1])
    rows = compare(refs, shown, dict(np.load(work / "theirs.npz")))
    worst = max(max(row["difference_alone"], row["difference_in_a_batch"]) for row in rows)
    result = {
        "made_by": "benchmarks/interop_policies.py",
        "dataset": {"frames": EPISODES * STEPS, "views": sorted(shown.keys() - {"seeds", "task"})},
        "there": there,
        "here": {"torch": version("torch"), "numpy": np.__version__},
        "observations_in_a_row": STEPS,
        "episodes": EPISODES,
        "bound": CLOSE,
        "largest_difference": worst,
        "policies": rows,
        "rank": ranked(pattern, work / "rank", asked.rank, asked.starts),
    }
    kept = json.loads(asked.out.read_text()) if asked.out.is_file() else {}
    write_json(asked.out, {**kept, f"lerobot {there['lerobot']}": result})
    assert worst <= CLOSE, f"{worst} is more than {CLOSE}"


if __name__ == "__main__":
    main()
