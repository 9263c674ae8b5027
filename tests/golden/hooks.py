"""What the golden files are made of, and all that they import of the project: a module that moves
is renamed here and nowhere else in this folder."""

import inspect
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_type_hints

import numpy as np
import pandas as pd
import torch
import typer
import typer.main
from toy_run import make_run
from typer.testing import CliRunner

from tests.golden.recording import recording
from tests.support.synthetic_run import synthetic_run
from tests.support.toy import toy_recipe, toy_shards
from worldeval.cli import app
from worldeval.data.latents import LatentEpisodes
from worldeval.data.table import read_table
from worldeval.data.weighted import Weighted
from worldeval.judge.examples import Examples
from worldeval.judge.fit import fit_judge
from worldeval.judge.load import load_judge
from worldeval.judge.recipe import JudgeRecipe
from worldeval.policy.load import load_policy
from worldeval.policy.recipe import DemoGroup, Lineage, PolicyRecipe, PolicyTrainerRecipe
from worldeval.policy.train import train as train_policy
from worldeval.rollout.loop import imagine
from worldeval.rollout.starts import read_starts
from worldeval.training.recipe import TrainerRecipe
from worldeval.world.ctrl_world.recipe import (
    CtrlWorldRecipe,
    EdmRecipe,
    LongTrainerRecipe,
    MemoryRecipe,
    UnetRecipe,
)
from worldeval.world.dit.recipe import DitRecipe
from worldeval.world.load import load_world
from worldeval.world.recipe import WorldRecipe
from worldeval.world.rssm.recipe import RssmRecipe
from worldeval.world.training.pipeline import train_world
from worldeval.world.training.prepare import Prepared, prepare
from worldeval.world.uwm.recipe import UwmRecipe

ROOT = Path(__file__).parents[2]
READER = (LatentEpisodes, "gather")  # what reads frames of encoded episodes
STEPS = 10  # of every training
TRAINER = TrainerRecipe(steps=STEPS, batch=8, ema=0.9)

# What a run's summary says that is no number of the evaluation: where and when it ran, and prose,
# which may be rewritten.
VOLATILE = frozenset({"seconds", "imagined_seconds_per_episode", "hash", "folder"})
PROSE = frozenset({"text", "method", "headline"})
# Starts that would be needed to tell policies apart: those of the toy are so alike that the last
# bit of a machine's arithmetic decides.
FRAGILE = frozenset({"needed"})


# --- runs


def runs() -> dict[str, Any]:
    """Summaries and outcome tables: of drawn outcomes, and of a toy that is truly imagined."""
    with TemporaryDirectory() as name:
        home = Path(name)
        drawn = synthetic_run(home / "drawn", films=False)
        untold = synthetic_run(home / "untold", truth=False, films=False)
        protocol = make_run(home / "toy", starts=4, horizon=4)
        (home / "real.csv").write_text(_real_trials())
        words = ["rank", str(protocol), "--out", str(home / "run"), "--films", "0", "--jobs", "1"]
        done = CliRunner().invoke(app, [*words, "--real", str(home / "real.csv")])
        assert done.exit_code == 0, (done.output, done.exception)
        return {
            "drawn": _run(drawn, without=VOLATILE | PROSE),
            "drawn_without_truth": _run(untold, without=VOLATILE | PROSE),
            "toy": _run(home / "run", without=VOLATILE | PROSE | FRAGILE),
        }


def _run(folder: Path, *, without: frozenset[str]) -> dict[str, Any]:
    tables = sorted((folder / "outcomes").glob("*.csv"))
    return {
        "summary": _lasting(json.loads((folder / "summary.json").read_text()), without),
        "outcomes": {table.name: _table(table) for table in tables},
    }


def _lasting(value: Any, without: frozenset[str]) -> Any:
    if isinstance(value, dict):
        kept = {key: each for key, each in value.items() if key not in without}
        return {key: _lasting(each, without) for key, each in kept.items()}
    return [_lasting(each, without) for each in value] if isinstance(value, list) else value


def _table(path: Path) -> dict[str, list[Any]]:
    table = pd.read_csv(path).drop(columns=list(VOLATILE), errors="ignore")
    return {str(name): json.loads(str(table[name].to_json(orient="values"))) for name in table}


def _real_trials() -> str:
    """Trials of every policy of the toy from all of its starts, by a rule."""
    lines = ["policy,task,start,success"]
    for index, policy in enumerate(("a/step-1", "a/step-2", "b/step-1")):
        for task in ("left", "right"):
            for start in range(4):
                lines.append(f"{policy},{task},{task}-{start},{int((start + index) % 3 > 0)}")
    return "\n".join(lines) + "\n"


# --- losses


def _quiet(stage: str, steps: int) -> Callable[[int, float], None]:
    return lambda step, loss: None


def _toy() -> Any:
    """The toy's recipe with short trainings."""
    toy = toy_recipe(steps=STEPS)
    return replace(
        toy,
        trainer=TRAINER,
        tokenizer=replace(toy.tokenizer, trainer=TRAINER),
        kinematics=replace(toy.kinematics, trainer=TRAINER),
    )


def _shared() -> dict[str, Any]:
    toy = _toy()
    return {
        "tokenizer": toy.tokenizer,
        "actuation": toy.actuation,
        "held_out": toy.held_out,
        "trainer": TRAINER,
    }


def recipe_of(kind: str) -> WorldRecipe:
    """A model of each family that trains ten steps in a second, with all that draws at random."""
    given, hand = _shared(), {"kinematics": _toy().kinematics}
    if kind == "latent":
        return _toy()
    if kind == "dit":
        small = {"width": 16, "depth": 1, "heads": 2, "window": 2, "steps": 1, "length": 4}
        return DitRecipe(**small, imagined=((0.0, 0), (0.5, 1)), **given, **hand)
    if kind == "uwm":
        small = {"width": 16, "depth": 1, "heads": 2, "channels": 8, "chunk": 2}
        return UwmRecipe(**small, action_free=0.25, **given, **hand)
    if kind == "rssm":
        small = {"deter": 16, "groups": 2, "classes": 4, "width": 16, "channels": 8, "length": 3}
        return RssmRecipe(**small, **given)
    widths = {"widths": (32, 32), "heads": (1, 2), "attention": (True, False)}
    return CtrlWorldRecipe(
        unet=UnetRecipe(**widths, layers=1, token=16, time_width=8),
        edm=EdmRecipe(sigma_max=20.0, steps=2, guidance=(1.0, 1.0)),
        memory=MemoryRecipe(strides=(1, 2), recall=(2, 1)),
        future=2,
        any_future=True,
        condition_scale=1.0,
        **{**given, "trainer": LongTrainerRecipe(steps=STEPS, batch=8, ema=0.9, accumulate=1)},
        **hand,
    )


@cache
def prepared() -> Prepared:
    """The toy's episodes, encoded once for all families."""
    with TemporaryDirectory() as name:
        data = toy_shards(Path(name) / "data", episodes=8)
        return prepare(_toy(), data, [], Path(name) / "world", seed=0, report=_quiet)


def tokenizer_losses() -> dict[str, list[Any]]:
    """From shards to a tokenizer."""
    with TemporaryDirectory() as name, recording(READER) as recorded:
        data = toy_shards(Path(name) / "data", episodes=8)
        prepare(_toy(), data, [], Path(name) / "world", seed=0, report=_quiet)
    return recorded.record()


def family_losses(kind: str) -> dict[str, list[Any]]:
    """Kinematics where there is one, then the family's own network."""
    given = prepared()
    with TemporaryDirectory() as name, recording(READER) as recorded:
        out = Path(name)
        train_world(recipe_of(kind), given, out, kind=kind, seed=0, report=_quiet)
    return recorded.record()


def mixture_losses() -> dict[str, list[Any]]:
    """Two weighted datasets and weak roll-outs: tokenizer, base and folds of `latent`."""
    with TemporaryDirectory() as name, recording(READER) as recorded:
        home = Path(name)
        parts = [
            Weighted(path=toy_shards(home / "mine", episodes=6)),
            Weighted(path=toy_shards(home / "others", episodes=4, seed=2), weight=0.3),
        ]
        weak = toy_shards(home / "weak", episodes=4, seed=1, source="weak/step-1")
        recipe = replace(_toy(), adapt_share=0.5)
        given = prepare(recipe, parts, [weak], home / "world", seed=0, report=_quiet)
        train_world(recipe, given, home / "world", kind="latent", seed=0, report=_quiet)
    return recorded.record()


def policy_losses(head: Any) -> dict[str, list[Any]]:
    """A policy of a head, with varied images."""
    with TemporaryDirectory() as name, recording(READER) as recorded:
        shards = read_table(toy_shards(Path(name) / "data", episodes=8))
        recipe = PolicyRecipe(
            head=head,
            demos=(DemoGroup(sources=("expert*",)),),
            validation_per_task=2,
            trainer=PolicyTrainerRecipe(
                steps=STEPS, batch=8, warmup=3, ema=0.9 if head == "diffusion" else 0.0
            ),
        )
        list(train_policy(recipe, Lineage(name="plain", seed=1), shards, Path(name) / "out"))
    return recorded.record()


def judge_losses() -> dict[str, list[Any]]:
    """A judge on drawn episodes: one network without each group, then its member."""
    recipe = JudgeRecipe(
        channels=8, hidden=16, recurrent=8, members=1, groups=2, horizon=5, trainer=TRAINER
    )
    with recording(READER) as recorded:
        fit_judge(recipe, _examples(), tasks=2, seed=0, report=_quiet)
    return recorded.record()


def _examples() -> Examples:
    count, frames, latent, rng = 24, 6, (2, 3, 4, 4), np.random.default_rng(5)
    success = np.arange(count) % 3 == 0
    achieved = success[:, None] & (np.arange(frames) >= 4)
    shift = np.where(achieved, 1.0, 0.0)[:, :, None, None, None, None]
    latents = rng.standard_normal((2, count, frames, *latent)) + shift
    poses = rng.standard_normal((2, count, frames, 4)).astype(np.float32)
    return Examples(
        imagined=latents[0].astype(np.float16),
        recorded=latents[1].astype(np.float16),
        imagined_pose=poses[0],
        recorded_pose=poses[1],
        achieved=achieved,
        task=np.arange(count) // 2 % 2,
        family=np.array([f"family-{index % 5}" for index in range(count)], dtype=object),
    )


LOSSES: dict[str, Callable[[], dict[str, list[Any]]]] = {
    "tokenizer": tokenizer_losses,
    **{
        kind: lambda kind=kind: family_losses(kind)
        for kind in ("latent", "dit", "uwm", "rssm", "ctrl_world")
    },
    "mixture": mixture_losses,
    **{head: lambda head=head: policy_losses(head) for head in ("bc", "flow", "diffusion")},
    "judge": judge_losses,
}


# --- demo

DEMO = (
    "bc-all/step-2400",
    "bc-10/step-1300",
    "bc-oneview/step-900",
    "flow-all/step-2000",
    "bc-blind/step-700",
)
DEMO_STARTS = ROOT / "evaluation/metaworld/starts.h5"
HORIZON = 30


def demo() -> dict[str, Any]:
    """What the shipped weights imagine and judge: five policies from a start of every task."""
    torch.set_num_threads(1)
    world = load_world(ROOT / "models/latent", device="cpu")
    judge = load_judge(ROOT / "models/judge")
    first = {start.task: start for start in reversed(read_starts(DEMO_STARTS))}
    starts = [first[task] for task in sorted(first)]
    seeds = [start.seed for start in starts]
    out = {}
    for name in DEMO:
        policy = load_policy(str(ROOT / "models/policies-test" / name))
        done = imagine(world, policy, starts, horizon=HORIZON, replan_every=2, seeds=seeds)
        out[policy.spec.name] = {
            rollout.start: {
                "probability": round(verdict.probability, 4),
                "pose": [round(float(x), 3) for x in rollout.pose[-1]],
            }
            for rollout, verdict in zip(done, judge(done), strict=True)
        }
    return out


# --- help


def options() -> dict[str, Any]:
    """Every command with its options, one entry a spelling, and its arguments by their place."""
    return dict(sorted(_commands(typer.main.get_command(app), "worldeval")))


def _commands(command: Any, path: str) -> list[tuple[str, Any]]:
    hints = get_type_hints(inspect.unwrap(command.callback)) if command.callback else {}
    taken, place = {}, 0
    for each in command.params:
        names = [*each.opts, *each.secondary_opts]
        if not names[0].startswith("-"):
            place += 1
            names = [f"argument {place}"]
        fact = {
            "type": _type(hints.get(each.name)),
            "default": _default(each.default),
            "required": each.required,
            "several": bool(getattr(each, "multiple", False)) or each.nargs != 1,
        }
        taken |= dict.fromkeys(names, fact)
    inner = getattr(command, "commands", {})
    deeper = [pair for name in inner for pair in _commands(inner[name], f"{path} {name}")]
    return [(path, taken), *deeper]


def _type(hint: Any) -> str:
    text = hint.__name__ if isinstance(hint, type) and not hasattr(hint, "__args__") else str(hint)
    for noise in ("typing.", "pathlib.", " | None"):
        text = text.replace(noise, "")
    return text


def _default(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float) else str(value)


KINDS: dict[str, Callable[[], dict[str, Any]]] = {"runs": runs, "demo": demo, "help": options}
