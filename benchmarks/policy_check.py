"""Whether `worldeval policy check` names faults of an interface, and is silent where it is sound.

    PYTHONPATH=. python benchmarks/policy_check.py --keep FOLDER [--metaworld DATA] [--development]

Policies of several kinds are made for a toy arm in six variants (tests/support/arm.py). Every fault
is injected into good policies and must be named; sound policies, good and weak, must raise no
alarm. With --metaworld, the shipped Meta-World policies are checked too, on episodes that were
collected by

    worldeval data collect metaworld --set episodes=12 --set shard=12 --set first_seed=600000 \\
        --set 'drivers=[{name: expert, share: 0.7},{name: expert-noise, share: 0.3, noise: [0.2]}]'

The thresholds of worldeval/stats/misreading.py were chosen with --development: other episodes,
other trainings, and no Meta-World. Results go to benchmarks/results/policy_check.json; those of
single checks to FOLDER, from which an interrupted run continues.
"""

import argparse
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from policy_faults import faults_of, metaworld_faults
from scipy.stats import beta

from tests.support.arm import REACH, Arm, ArmData, Expert, seen
from worldeval.data.columns import ColumnGroup, names
from worldeval.data.data_map import DataMap, NumbersMap
from worldeval.data.source import Source, open_source
from worldeval.evaluate.policy_check import PolicyCheck, check_policy
from worldeval.files import read_json, write_json
from worldeval.policy.batches import Batch, to_images
from worldeval.policy.builtin import Random, Zero
from worldeval.policy.checkpoint import LearnedPolicy, PolicyCard
from worldeval.policy.load import load_policy
from worldeval.policy.network import PolicyNetwork
from worldeval.policy.protocol import Policy, PolicySpec
from worldeval.policy.recipe import PolicyRecipe, PolicyTrainerRecipe
from worldeval.policy.sizes import Sizes
from worldeval.policy.train import imitate
from worldeval.record import Observation

RESULT = Path(__file__).parent / "results" / "policy_check.json"
ROOT = Path(__file__).parents[1]
ARMS: Mapping[str, Arm] = {
    "euler": Arm(form="euler"),
    "quaternion": Arm(form="quaternion", gripper=(-1.0, 1.0)),
    "6d": Arm(form="6d", size=(24, 32)),
    "delta": Arm(form="quaternion", motion="delta", gripper=(-1.0, 1.0)),
    "joint": Arm(form="joint"),
    "joint-delta": Arm(form="joint", motion="delta", size=(24, 32)),
}
TRAINED = {"bc": ("bc", 1, 700), "flow": ("flow", 1, 900), "act": ("bc", 8, 700)}
SOUND = ("scripted", "nearest", *TRAINED)
FAULTY = ("scripted", "bc", "act")  # kinds into which faults are injected
WEAK = ("untrained", "begun", "blind", "zero", "random", "noisy")
LEARNED = (*TRAINED, "untrained", "begun", "blind")
LEARNED_ON = ("euler", "delta", "joint")
# Robots on which faults that any robot can have are injected; the others have their own only.
GENERAL = {"scripted": ("euler", "joint-delta"), "bc": ("euler", "delta"), "act": ()}
DEMONSTRATIONS, HELD = 200, 60  # episodes


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Which episodes and trainings are used, by their seeds."""

    name: str
    trainings: tuple[int, ...]
    episodes: tuple[int, ...]


DEVELOPMENT = Setting(name="development", trainings=(1,), episodes=(10, 11))
FINAL = Setting(name="final", trainings=(101,), episodes=tuple(range(110, 118)))


class Nearest:
    """Does what the nearest demonstrated moment did, by the goal that it sees and its pose."""

    def __init__(self, data: ArmData, *, count: int = 3) -> None:
        rows = [data.rows(index) for index in range(len(data))]
        self.spec = PolicySpec(
            name="nearest", lineage="nearest", step=0, views=("front", "top"),
            action_dim=rows[0].actions.shape[1], chunk=1,
        )  # fmt: skip
        frames = {v: np.concatenate([data.frames(i, v) for i in range(len(data))])
                  for v in self.spec.views}  # fmt: skip
        self._pose = np.concatenate([each.pose for each in rows])
        self._scale = self._pose.std(0) + 1e-6
        self._known = self._features(frames, self._pose)
        self._actions, self._count = np.concatenate([each.actions for each in rows]), count

    def reset(self, tasks: Any, seeds: Any) -> None:
        """Nothing to reset."""

    def act(self, observation: Observation) -> np.ndarray:
        found = self._features(observation.frames, observation.pose)
        distance = ((found[:, None] - self._known[None]) ** 2).sum(2)
        nearest = np.argsort(distance, 1)[:, : self._count]
        return self._actions[nearest].mean(1)[:, None].astype(np.float32)

    def _features(self, frames: Mapping[str, np.ndarray], pose: np.ndarray) -> np.ndarray:
        goal = [seen(frames[view]) / REACH for view in self.spec.views]
        return np.concatenate([*goal, pose / self._scale], 1)


def trained(arm: Arm, kind: str, seed: int, keep: Path, *, steps: int | None = None,
            blind: bool = False) -> Policy:  # fmt: skip
    """Train a policy on demonstrations of its own, or read it."""
    head, chunk, usual = TRAINED[kind]
    steps = usual if steps is None else steps
    recipe = PolicyRecipe(
        head=head, views=("front", "top"), chunk=chunk, blind=blind,  # type: ignore[arg-type]
        trainer=PolicyTrainerRecipe(steps=max(steps, 1), batch=64, learning_rate=2e-3),
    )  # fmt: skip
    data = ArmData(arm, episodes=DEMONSTRATIONS, seed=1000 + seed)
    rows = [data.rows(index) for index in range(len(data))]
    pose = np.concatenate([each.pose[:-1] for each in rows])
    last = [len(each.actions) - 2 for each in rows]
    ahead = [each.actions[np.minimum(np.arange(n + 1)[:, None] + np.arange(chunk), n)]
             for each, n in zip(rows, last, strict=True)]  # fmt: skip
    actions = np.concatenate(ahead)
    sizes = Sizes(image=arm.size, pose_dim=pose.shape[1], action_dim=actions.shape[2],
                  tasks=("reach",))  # fmt: skip
    torch.manual_seed(seed)
    network = PolicyNetwork(recipe, sizes)
    network.fit_normalisers(torch.from_numpy(pose), torch.from_numpy(actions))
    network.action_scale.copy_(torch.from_numpy(actions.reshape(-1, actions.shape[2]).std(0)))
    path = keep / f"{kind}-{arm.form}-{arm.motion}-{seed}-{steps}{'-blind' * blind}.pt"
    if path.is_file():
        network.load_state_dict(torch.load(path, weights_only=True))
    elif steps:
        frames = np.stack([np.concatenate([data.frames(i, v)[:-1] for i in range(len(data))])
                           for v in recipe.views], 1)  # fmt: skip
        stream = _batches(frames, pose, actions, np.random.default_rng(seed))
        generator = torch.Generator().manual_seed(seed)
        network = imitate(network, stream, recipe.trainer, generator).model
        torch.save(network.state_dict(), path)
    card = PolicyCard(
        kind=head, lineage=kind, step=steps, seed=seed, tasks=("reach",), note="", misleads=False,
        demos={}, train_loss=0.0, validation_mse=0.0, validation_mse_tasks={}, seconds=0.0,
    )  # fmt: skip
    return LearnedPolicy(network, recipe, sizes, card)


def _batches(
    frames: np.ndarray, pose: np.ndarray, actions: np.ndarray, rng: np.random.Generator
) -> Iterator[Batch]:
    """Samples as they are: blobs of four pixels are not to be moved or blurred."""
    while True:
        pick = rng.integers(len(pose), size=64)
        yield Batch(
            images=to_images(torch.from_numpy(frames[pick])),
            pose=torch.from_numpy(pose[pick]),
            task=torch.zeros(len(pick), dtype=torch.int64),
            actions=torch.from_numpy(actions[pick]),
        )


def make(arm: Arm, kind: str, seed: int, keep: Path) -> Policy:
    """Return a policy of a kind."""
    width = len(names(arm.meaning.action))
    views = ("front", "top")
    if kind in TRAINED:
        return trained(arm, kind, seed, keep)
    if kind == "untrained":
        return trained(arm, "bc", seed, keep, steps=0)
    if kind == "begun":
        return trained(arm, "bc", seed, keep, steps=40)
    if kind == "blind":
        return trained(arm, "bc", seed, keep, steps=300, blind=True)
    if kind == "nearest":
        return Nearest(ArmData(arm, episodes=DEMONSTRATIONS, seed=1000 + seed))
    if kind == "zero":
        return Zero(action_dim=width, views=views)
    if kind == "random":
        return Random(action_dim=width, views=views, step_dim=width)
    return Expert(arm, noise={"scripted": 0.005, "noisy": 0.3}[kind], chunk=2)


def metaworld(path: Path) -> Source:
    """Open collected episodes, with the meaning of their columns."""
    steps = range(5)
    groups = []
    for step in steps:
        place = tuple(f"{name}{step}" for name in ("dx", "dy", "dz"))
        groups.append(ColumnGroup(names=place, means="position", motion="delta"))
        groups.append(
            ColumnGroup(names=(f"gripper{step}",), means="gripper", open=-1.0, closed=1.0)
        )
    pose = (
        ColumnGroup(names=("x", "y", "z"), means="position", unit="m"),
        ColumnGroup(names=("opening",), means="gripper"),
    )
    given = DataMap(action=NumbersMap(columns=tuple(groups)), pose=NumbersMap(columns=pose))
    return open_source(path, given=given)


def checks(
    setting: Setting, keep: Path, data: Path | None
) -> Iterator[tuple[dict[str, Any], Callable[[], PolicyCheck]]]:
    """Every check: what it is, and how it is made."""
    cache: dict[tuple[str, str, int], Policy] = {}

    def policy(name: str, kind: str, training: int) -> Policy:
        key = (name, kind, training)
        if key not in cache:
            cache.clear()  # they come in order
            cache[key] = make(ARMS[name], kind, training, keep)
        return cache[key]

    if data is not None:
        yield from _metaworld_checks(metaworld(data))
    for name, kind, training in product(ARMS, (*SOUND, *WEAK), setting.trainings):
        if kind in LEARNED and name not in LEARNED_ON:
            continue
        for episodes in setting.episodes if kind in SOUND else setting.episodes[:2]:
            what = {"robot": name, "policy": kind, "training": training, "episodes": episodes}

            def sound(name=name, kind=kind, training=training, episodes=episodes):
                held = ArmData(ARMS[name], episodes=HELD, seed=episodes)
                return _checked(policy(name, kind, training), held)

            yield {**what, "fault": ""}, sound
        if kind not in FAULTY:
            continue
        episodes = setting.episodes[0]
        what = {"robot": name, "policy": kind, "training": training, "episodes": episodes}
        for fault in faults_of(ARMS[name], kind, general=name in GENERAL[kind]):

            def faulty(name=name, kind=kind, training=training, episodes=episodes, fault=fault):
                held = ArmData(ARMS[name], episodes=HELD, seed=episodes)
                return _checked(fault(policy(name, kind, training), held), held)

            yield {**what, "fault": fault.name, "expected": fault.expected}, faulty


def _metaworld_checks(
    source: Source,
) -> Iterator[tuple[dict[str, Any], Callable[[], PolicyCheck]]]:
    folders = sorted((ROOT / "models/policies-test").glob("*/step-*"))
    for folder in folders:
        name = f"{folder.parent.name}/{folder.name}"
        for seed in range(2):
            what = {"robot": "metaworld", "policy": name, "training": 0, "episodes": seed}
            yield (
                {**what, "fault": ""},
                lambda folder=folder, seed=seed: _checked(load_policy(str(folder)), source, seed),
            )
    for name in ("bc-all/step-2400", "flow-all/step-2000"):
        folder = ROOT / "models/policies-test" / name
        for fault in metaworld_faults():
            what = {"robot": "metaworld", "policy": name, "training": 0, "episodes": 0}
            yield (
                {**what, "fault": fault.name, "expected": fault.expected},
                lambda folder=folder, fault=fault: _checked(
                    fault(load_policy(str(folder)), source), source
                ),
            )


def _checked(policy: Policy, source: Source, seed: int = 0) -> PolicyCheck:
    # Time is no part of what is measured here, on machines that have much else to do.
    return check_policy(policy, source, seconds=1e9, seed=seed)


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Count alarms and names."""
    sound = [each for each in found if not each["fault"]]
    faulty = [each for each in found if each["fault"]]
    by_kind, by_fault = defaultdict(list), defaultdict(list)
    for each in sound:
        kind = "metaworld" if each["robot"] == "metaworld" else each["policy"]
        by_kind[kind].append(bool(each["changes"]))
    for each in faulty:
        by_fault[each["fault"]].append(each)
    alarms, tries = sum(map(sum, by_kind.values())), len(sound)
    return {
        "sound": {
            "alarms": alarms,
            "tries": tries,
            "high_95": float(beta.ppf(0.975, alarms + 1, max(tries - alarms, 1))),
            "by_kind": {kind: [sum(each), len(each)] for kind, each in by_kind.items()},
        },
        "faults": {
            "named": sum(map(_named, faulty)),
            "tries": len(faulty),
            "by_fault": {
                fault: {
                    "named": sum(map(_named, each)),
                    "tries": len(each),
                    "otherwise": dict(
                        Counter(
                            " + ".join(one["changes"]) or "none" for one in each if not _named(one)
                        )
                    ),
                }
                for fault, each in sorted(by_fault.items())
            },
        },
        "cpu_seconds": {
            "median": float(np.median([each["cpu"] for each in found])),
            "largest": max(each["cpu"] for each in found),
        },
    }


def _named(each: Mapping[str, Any]) -> bool:
    return sorted(each["changes"]) == sorted(each["expected"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, required=True, help="Folder for policies and checks.")
    parser.add_argument("--metaworld", type=Path, help="Episodes of Meta-World.")
    parser.add_argument("--development", action="store_true")
    parser.add_argument("--so-far", action="store_true", help="Sum up the checks that were made.")
    parser.add_argument("--only", default="", help="Robots to check, separated by commas.")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.keep.mkdir(parents=True, exist_ok=True)
    setting = DEVELOPMENT if args.development else FINAL
    path = args.keep / f"{setting.name}.json"
    known = {_key(each): each for each in read_json(path)["checks"]} if path.is_file() else {}
    found: list[dict[str, Any]] = []
    planned = list(checks(setting, args.keep, args.metaworld))
    for what, run in planned:
        if args.so_far and _key(what) not in known:
            continue
        if args.only and what["robot"] not in args.only.split(","):
            continue
        if _key(what) not in known:
            clock = process_time()
            made = run()
            best = max(made.tried, key=lambda each: each.share)
            known[_key(what)] = {
                **what,
                "changes": list(made.changes),
                "alike": list(made.alike),
                "error": made.error,
                "shuffled": made.shuffled,
                "largest_share": [best.code, round(best.share, 3), best.p_holm],
                "cpu": round(process_time() - clock, 2),
            }
            write_json(path, {"checks": list(known.values())})
        found.append(known[_key(what)])
    result = {
        "command": f"benchmarks/policy_check.py ({setting.name})",
        "machine": f"{os.cpu_count()} CPU cores",
        "checks": {"planned": len(planned), "made": len(found)},
        **summary(found),
    }
    if setting is FINAL and not args.only:
        write_json(RESULT, result)
    print(result)


def _key(what: Mapping[str, Any]) -> str:
    return "|".join(str(what[name]) for name in
                    ("robot", "policy", "training", "episodes", "fault"))  # fmt: skip


if __name__ == "__main__":
    main()
