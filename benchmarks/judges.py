"""Judges compared on the same episodes, and what each does to a ranking.

    python benchmarks/judges.py WORLD DATA WEAK DEVELOPMENT_RUN --home runs/judges

WORLD is the world model in which DEVELOPMENT_RUN (`rank ... --truth`) imagined, DATA its
recordings, WEAK labelled roll-outs of policies. For a lab of `worldeval learn`: LAB/world and what
it learned from. Judges:

- `learned, frames` and `learned, sequence`: trained here on the same episodes, families left out.
- `rule`: for each task one threshold on how far one column of the pose moved, chosen on the other
  families by Youden's J. It never sees the objects.
- `protocol server`: `vlm:` asking the server of `tests/support/chat_server.py`, which answers by
  comparing the red and green of the last picture. It is not a vision model and knows nothing of the
  tasks: it measures what the protocol costs, and what an uninformed judge looks like.
- `panel`: the mean of a learned judge and `rule`.

With `--judge NAME=FOLDER`, nothing is trained: judges that exist, the rule, the server and panels
of each of these judges and the rule are compared on the development episodes alone.

Finished parts are kept in `--home` and not repeated.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from judges_data import (  # noqa: E402
    Developed,
    Labelled,
    developed,
    labelled_episodes,
    recorded,
)
from judges_labels import labels_needed  # noqa: E402
from judges_measures import quality, ranking  # noqa: E402
from judges_rule import TaskRules, chosen_rules  # noqa: E402

from tests.support.chat_server import chat_server  # noqa: E402
from worldeval import recipe as recipes  # noqa: E402
from worldeval.evaluate.judging import imagined_frames  # noqa: E402
from worldeval.files import write_json  # noqa: E402
from worldeval.judge.fit import FittedJudge, crossfitted, fit_judge, read_episodes  # noqa: E402
from worldeval.judge.learned import save_judge  # noqa: E402
from worldeval.judge.load import load_judge  # noqa: E402
from worldeval.judge.recipe import JudgeRecipe  # noqa: E402
from worldeval.judge.rollout_judge import RolloutJudge  # noqa: E402
from worldeval.judge.sequence import new_network  # noqa: E402
from worldeval.judge.vlm.judge import VlmJudge  # noqa: E402
from worldeval.record import Rollout  # noqa: E402
from worldeval.world.load import load_world, world_hash  # noqa: E402
from worldeval.world.world import World  # noqa: E402

LEARNED = {"learned, frames": "judge", "learned, sequence": "judge-sequence"}
RULE, SERVER = "rule", "protocol server"
Judge = Callable[[Sequence[Rollout]], Any]


def say(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", flush=True)


def quiet(stage: str, steps: int) -> Callable[[int, float], None]:
    say(f"{stage}, {steps} steps")
    return lambda step, loss: None


def trained(
    name: str, given: Labelled, world: Path, home: Path, settings: Mapping[str, Any]
) -> tuple[dict[str, Any], Path]:
    """Train a judge; probabilities of families that neither network nor calibration saw."""
    folder = home / LEARNED[name]
    if (folder / "held-out.npz").is_file():
        kept = np.load(folder / "held-out.npz")
        return {key: kept[key] for key in kept.files}, folder
    recipe: JudgeRecipe = replace(
        recipes.load(LEARNED[name], "judge", settings).config,
        horizon=given.examples.achieved.shape[1] - 1,
    )
    spec, clock = load_world(world).spec, process_time()
    fitted = fit_judge(
        recipe, given.examples, tasks=len(given.tasks), seed=0, report=quiet, place=spec.place,
        angles=spec.turned_pose.first, metres=spec.metres,
    )  # fmt: skip
    seconds = process_time() - clock
    save_judge(folder, fitted, recipe, spec, world=world_hash(world))
    found = {f"{side}_{key}": each for side in ("imagined", "real") for key, each in
             held_out(fitted, given, real=side == "real").items()}  # fmt: skip
    found["cpu_seconds_of_training"] = np.array(seconds)
    found["bound"] = np.array(
        np.nan if fitted.abstain_above is None else fitted.abstain_above, float
    )
    np.savez(folder / "held-out.npz", allow_pickle=False, **found)
    write_json(folder / "left-out.json", fitted.left_out)
    return found, folder


def held_out(fitted: FittedJudge, given: Labelled, *, real: bool) -> dict[str, np.ndarray]:
    """Judge every episode by the networks trained without its family."""
    own, group = given.examples, fitted.group
    assert group is not None
    if real:
        own = replace(own, imagined=own.recorded, imagined_pose=own.recorded_pose)
    logits = np.zeros((len(fitted.without[0]), len(own)))
    progress, clock = np.full(len(own), np.nan), process_time()
    for number, members in enumerate(fitted.without):
        out = group == number
        logits[:, out], gained = read_episodes(members, own.take(out))
        if gained is not None:
            progress[out] = gained
    seconds = (process_time() - clock) / len(own)
    probability, votes = crossfitted(logits, group, own, tasks=len(given.tasks))
    return {
        "probability": probability,
        "apart": votes.max(0) - votes.min(0),
        "progress": progress,
        "seconds": np.array(seconds),
    }


def asked(world: World, rollouts: Sequence[Rollout], url: str) -> RolloutJudge:
    """A judge behind the chat API, which sees four decoded frames of each view."""
    judge = VlmJudge(url, {"model": "toy", "frames": 4, "retries": 0})
    return RolloutJudge(judge, partial(imagined_frames, world=world), fps=world.spec.fps)


def by_server(world: World, rollouts: Sequence[Rollout]) -> tuple[np.ndarray, float, float]:
    """Return probabilities, CPU seconds and tokens an episode; the server's own time included."""
    with chat_server() as server:
        judge, clock = asked(world, rollouts, server.url), process_time()
        probability = np.array([each.probability for each in judge(rollouts)])
        tokens = 100.0 * len(server.asked) / len(rollouts)  # what its answers say they took
    return probability, (process_time() - clock) / len(rollouts), tokens


def judged(
    judge: Callable[[Sequence[Rollout]], Any], rollouts: Sequence[Rollout]
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return probabilities (NaN: abstained), progress and CPU seconds an episode."""
    clock, said = process_time(), []
    for begin in range(0, len(rollouts), 100):
        said += judge(rollouts[begin : begin + 100])
    seconds = (process_time() - clock) / len(rollouts)
    progress = [np.nan if each.progress is None else each.progress for each in said]
    return np.array([each.probability for each in said]), np.array(progress), seconds


def of_labelled(
    given: Labelled, learned: Mapping[str, dict[str, Any]], world: World, *, served: int
) -> dict[str, Any]:
    """Every judge on the labelled episodes, as recorded and as imagined."""
    own, out = given.examples, {}
    names = np.array(given.tasks)[own.task]
    some = np.sort(np.random.default_rng(0).permutation(len(own))[:served])
    for side in ("real", "imagined"):
        rollouts, rows = given.rollouts(real=side == "real"), {}
        for name, found in learned.items():
            apart, bound = found[f"{side}_apart"], float(found["bound"])
            given_up = apart > bound if np.isfinite(bound) else np.zeros(len(own), bool)
            probability = np.where(given_up, np.nan, found[f"{side}_probability"])
            rows[name] = {
                **quality(probability, own.success, near=given.near, task=names),
                **progress_of(found[f"{side}_progress"], given),
                "cpu_seconds_an_episode": float(found[f"{side}_seconds"]),
            }
        rule, clock = np.zeros(len(own)), process_time()
        for family in np.unique(own.family.astype(str)):
            left = own.family.astype(str) == family
            rules = chosen_rules(rollouts, own.success, names, use=~left)
            rule[left] = rules([rollouts[row] for row in np.flatnonzero(left)])
        rows[RULE] = {
            **quality(rule, own.success, near=given.near, task=names),
            "cpu_seconds_an_episode": (process_time() - clock) / len(own),
        }
        for name, found in learned.items():
            both = (found[f"{side}_probability"] + rule) / 2
            rows[f"panel of {name} and rule"] = quality(
                both, own.success, near=given.near, task=names
            )
        said, seconds, tokens = by_server(world, [rollouts[row] for row in some])
        rows[SERVER] = {
            **quality(said, own.success[some], near=given.near[some], task=names[some]),
            "cpu_seconds_an_episode": seconds,
            "tokens_an_episode": tokens,
        }
        out[side] = rows
        say(f"{side} frames done")
    return out


def progress_of(progress: np.ndarray, given: Labelled) -> dict[str, float]:
    """Mean best progress of successes, near misses and other failures."""
    success, near = given.examples.success, given.near
    if not np.isfinite(progress).all():
        return {}
    kinds = {"successes": success, "near_misses": near, "other_failures": ~success & ~near}
    return {
        f"progress_of_{name}": float(progress[own].mean())
        for name, own in kinds.items()
        if own.any()
    }


def of_development(
    dev: Developed, rules: TaskRules, folders: Mapping[str, Path], world: World, *, served: int
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Every judge on the development policies' imagined episodes, and its ranking."""
    rows: dict[str, Any] = {}
    scores: dict[str, np.ndarray] = {}
    for name, folder in folders.items():
        scores[name], progress, seconds = judged(load_judge(folder), dev.rollouts)
        rows[name] = {"cpu_seconds_an_episode": seconds}
        if np.isfinite(progress).all():
            rows[name]["progress_of_successes"] = float(progress[dev.success].mean())
            rows[name]["progress_of_failures"] = float(progress[~dev.success].mean())
    clock = process_time()
    scores[RULE] = rules(dev.rollouts)
    rows[RULE] = {"cpu_seconds_an_episode": (process_time() - clock) / len(dev.rollouts)}
    for name in folders:
        scores[f"panel of {name} and rule"] = (scores[name] + scores[RULE]) / 2
    some = np.sort(np.random.default_rng(1).permutation(len(dev.rollouts))[:served])
    said, seconds, tokens = by_server(world, [dev.rollouts[row] for row in some])
    # Of so few episodes no ranking is made.
    rows[SERVER] = {
        **quality(said, dev.success[some], near=np.zeros(len(some), bool), task=dev.task[some]),
        "cpu_seconds_an_episode": seconds,
        "tokens_an_episode": tokens,
    }
    for name, score in scores.items():
        rows[name] = {
            **quality(score, dev.success, near=np.zeros(len(score), bool), task=dev.task),
            **ranking(score, dev),
            **rows.get(name, {}),
        }
    return rows, scores


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("world", "data", "weak", "development"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--home", type=Path, default=Path("runs/judges"), help="what is kept")
    parser.add_argument("--judge", action="append", default=[], help="NAME=FOLDER; no training")
    parser.add_argument("--name", default="metaworld", help="of the robot, in the results")
    parser.add_argument("--out", type=Path, default=HERE / "results/judges.json")
    parser.add_argument("--every", type=int, default=1, help="take every so manieth roll-out")
    parser.add_argument("--set", action="append", default=[], help="key=value of both recipes")
    parser.add_argument("--served", type=int, default=200, help="episodes that the server judges")
    parser.add_argument("--repeats", type=int, default=2, help="draws of labels")
    asked_for = parser.parse_args()
    pairs = [each.partition("=") for each in asked_for.set]
    settings = {key: json.loads(value) for key, _, value in pairs}
    if asked_for.judge:
        without_training(asked_for)
        return
    home: Path = asked_for.home
    home.mkdir(parents=True, exist_ok=True)
    given = labelled_episodes(
        asked_for.world, asked_for.data, asked_for.weak, home, step=asked_for.every
    )
    own = given.examples
    say(f"{len(own)} labelled episodes, {own.success.mean():.3f} succeeded")
    learned, folders = {}, {}
    for name in LEARNED:
        learned[name], folders[name] = trained(name, given, asked_for.world, home, settings)
    world = load_world(asked_for.world)
    assert isinstance(world, World)
    found: dict[str, Any] = {
        "command": " ".join(["python", *sys.argv]),
        "when": datetime.now(UTC).isoformat(timespec="minutes"),
        "labelled_episodes": len(own),
        "success_rate": float(own.success.mean()),
        "near_misses": int(given.near.sum()),
        "world_model_had_seen_the_roll_outs": given.seen,
        "settings": settings,
        "cpu_seconds_of_training": {
            name: float(each["cpu_seconds_of_training"]) for name, each in learned.items()
        },
        **of_labelled(given, learned, world, served=asked_for.served),
    }
    write(asked_for, found)
    dev = developed(asked_for.development)
    rollouts, names = given.rollouts(real=False), np.array(given.tasks)[own.task]
    rules = chosen_rules(rollouts, own.success, names, use=np.ones(len(own), bool))
    found["development"], scores = of_development(
        dev, rules, folders, world, served=asked_for.served
    )
    found["rules"] = dict(rules.texts)
    write(asked_for, found)
    found["labels_needed"] = labels_needed(
        given, dev, scores, repeats=asked_for.repeats, spec=world.spec, say=say
    )
    write(asked_for, found)


def without_training(asked_for: argparse.Namespace) -> None:
    """Compare judges that exist on the development episodes."""
    pairs = [each.partition("=") for each in asked_for.judge]
    folders = {name: Path(folder) for name, _, folder in pairs}
    given, dev = recorded(asked_for.world, asked_for.weak), developed(asked_for.development)
    world = load_world(asked_for.world)
    assert isinstance(world, World)
    every = np.ones(len(given.success), bool)
    rules = chosen_rules(given.rollouts, given.success, given.task, use=every)
    say(f"{len(every)} roll-outs for the rules, {len(dev.rollouts)} development episodes")
    found: dict[str, Any] = {
        "command": " ".join(["python", *sys.argv]),
        "when": datetime.now(UTC).isoformat(timespec="minutes"),
        "trained": "nothing: judges that exist, on the development episodes",
        "rules": dict(rules.texts),
        "cpu_seconds_an_episode_by_network": network_seconds(dev, world),
    }
    found["development"], scores = of_development(
        dev, rules, folders, world, served=asked_for.served
    )
    write(asked_for, found)
    found["labels_needed"] = labels_needed(
        None, dev, scores, repeats=asked_for.repeats, spec=world.spec, say=say
    )
    write(asked_for, found)


def network_seconds(dev: Developed, world: World) -> dict[str, float]:
    """CPU seconds to judge an episode with three networks of each kind, untrained."""
    spec, out, some = world.spec, {}, dev.rollouts[:100]
    latents = torch.from_numpy(np.stack([np.asarray(each.latents) for each in some])).float()
    pose = torch.from_numpy(np.stack([each.pose for each in some])).float()
    for name, recipe in LEARNED.items():
        net = new_network(
            recipes.load(recipe, "judge").config, latent=(len(spec.views), *spec.latent),
            pose_dim=spec.pose_dim, tasks=len(spec.tasks),
        ).eval()  # fmt: skip
        with torch.inference_mode():
            net(latents[:2], pose[:2], torch.zeros(2, dtype=torch.int64))
            clock = process_time()
            net(latents, pose, torch.zeros(len(some), dtype=torch.int64))
        out[name] = 3 * (process_time() - clock) / len(some)
    return out


def write(asked_for: argparse.Namespace, found: Mapping[str, Any]) -> None:
    """Write the results of this robot beside those of others."""
    path: Path = asked_for.out
    kept = json.loads(path.read_text()) if path.is_file() else {}
    write_json(path, {**kept, asked_for.name: found})
    say(f"wrote {path}")


if __name__ == "__main__":
    main()
