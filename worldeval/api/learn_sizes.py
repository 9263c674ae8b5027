"""How long each stage of `learn` trains, from a few timed steps on this machine."""

from collections.abc import Callable, Collection
from pathlib import Path
from time import monotonic, process_time
from typing import Any

from worldeval import recipe as recipes
from worldeval.data.source import Source
from worldeval.device import pick_device
from worldeval.files import read_json, write_json
from worldeval.judge.recipe import JudgeRecipe
from worldeval.world.protocol import WorldSpec

SIZES = "sizes.json"  # in the folder of a lab
# Shares of the training time. A judge needs its share most: with a tenth of 20 minutes on a busy
# machine it made 124 of 600 steps and told nothing of another robot (benchmarks/RESULTS.md).
SHARES = {"tokenizer": 0.25, "kinematics": 0.1, "dynamics": 0.45, "judge": 0.2}
TOLD_EVERY = 20  # steps between two reports of training progress
TIMED = 2 * TOLD_EVERY  # steps; only the second half is timed
LEAST_STEPS = 50
QUIET = 0.6  # share of a core below which a machine is called busy


def sized_stages(
    source: Source,
    model: str,
    given: dict[str, Any],
    minutes: float,
    lab: Path,
    *,
    jobs: int,
    seed: int,
    say: Callable[[str], None],
    fixed: Collection[str] = (),
) -> dict[str, Any]:
    """Steps per stage that take `minutes` in total; saved, so that a repeated call agrees.

    Keys in `fixed`, which the caller set, keep their value.
    """
    path = lab / SIZES
    if path.is_file():
        kept = read_json(path)
        if kept["minutes"] == minutes:
            return kept["steps"]
    say("timing a few steps of every stage on this machine")
    seconds, core = _timed(source, model, given, seed=seed, fixed=fixed)
    if words := crowded(core):
        say(words)
    config = recipes.load(model, "model", given).config
    # Each fold trains for a share of the steps, `jobs` folds at a time.
    folds = 1 + config.adapt_share * max(1, -(-config.folds // jobs))
    steps = {}
    for stage, key, times in (
        ("tokenizer", "tokenizer.trainer.steps", 1.0),
        ("kinematics", "kinematics.trainer.steps", folds),
        ("dynamics", "trainer.steps", folds),
    ):
        if stage in seconds and key not in fixed:
            budget = SHARES[stage] * minutes * 60 / times
            steps[key] = max(LEAST_STEPS, int(budget / seconds[stage]))
    lab.mkdir(parents=True, exist_ok=True)
    sizes = {"minutes": minutes, "steps": steps, "seconds_per_step": seconds}
    write_json(path, {**sizes, "share_of_a_core": round(core, 2)})
    return steps


def sized_judge(
    world: WorldSpec, recipe: JudgeRecipe, frames: int, minutes: float, lab: Path
) -> int:
    """Steps of each network of a judge that take its share of `minutes`; saved with the others.

    Never more than the recipe's, because a judge that trains longer only learns its roll-outs by
    heart.

    Args:
        world: description of the world model, whose latents it reads.
        frames: of the longest episode that it learns from.
    """
    path = lab / SIZES
    kept = read_json(path) if path.is_file() else {}
    if kept.get("judge", {}).get("minutes") == minutes:
        return int(kept["judge"]["steps"])
    seconds = _judge_seconds(world, recipe, frames)
    held_out = recipe.groups * (recipe.members if recipe.abstain else 1)
    budget = SHARES["judge"] * minutes * 60 / (held_out + recipe.members)
    steps = min(recipe.trainer.steps, max(LEAST_STEPS, int(budget / seconds)))
    told = {"minutes": minutes, "steps": steps, "seconds_per_step": seconds}
    write_json(path, {**kept, "judge": told})
    return steps


def _judge_seconds(world: WorldSpec, recipe: JudgeRecipe, frames: int) -> float:
    """Measure a training step of one network on random episodes; the first step is not timed."""
    import torch

    from worldeval.judge.network import episode_logit
    from worldeval.judge.sequence import new_network

    net = new_network(
        recipe, latent=(len(world.views), *world.latent), pose_dim=world.pose_dim, tasks=1, words=0
    )
    batch, clocks = recipe.trainer.batch, []
    latents = torch.randn(batch, frames, len(world.views), *world.latent)
    pose = torch.randn(batch, frames, world.pose_dim)
    for _ in range(3):
        clocks.append(monotonic())
        logits = net(latents, pose, torch.zeros(batch, dtype=torch.int64)).logits
        (logits.mean() + episode_logit(logits).mean()).backward()
    return (monotonic() - clocks[1]) / (len(clocks) - 1)


def crowded(core: float) -> str | None:
    """Say what it means that training gets only this share of a core; None if it gets its own."""
    if core >= QUIET:
        return None
    return (
        f"Other programs leave this one {core:.0%} of a core. --minutes is the time on the clock, "
        f"so the models are trained about {1 / max(core, 0.01):.0f} times less than on an idle "
        "machine. Wait until it is idle, or give more --minutes."
    )


def _timed(
    source: Source, model: str, given: dict[str, Any], *, seed: int, fixed: Collection[str] = ()
) -> tuple[dict[str, float], float]:
    """Measure each stage on a few episodes: seconds per step, and the share of a core it got."""
    from tempfile import TemporaryDirectory

    from worldeval.data.adapt import ChosenEpisodes
    from worldeval.data.weighted import Weighted
    from worldeval.world.training.pipeline import train_world as train_final
    from worldeval.world.training.prepare import prepare

    unused = tuple(recipes.load(model, "model", given).config.unused)
    trainers = ("tokenizer.trainer", "kinematics.trainer", "trainer")
    tiny = {f"{key}.steps": 1 + TIMED for key in trainers if not key.startswith(unused)}
    tiny |= {key: min(int(given[key]), steps) for key, steps in tiny.items() if key in fixed}
    tiny |= {"own_rollouts": 0.0, "kept_rollouts": 0.0}
    found = recipes.load(model, "model", {**given, **tiny})
    clocks: dict[str, list[float]] = {}
    spent: list[tuple[float, float]] = []  # on the clock, and by this process's threads

    def report(stage: str, steps: int | None = None) -> Callable[[int, float], None]:
        times = clocks.setdefault(stage, [])

        def told(step: int, loss: float) -> None:
            times.append(monotonic())
            spent.append((times[-1], process_time()))

        return told

    class Few(Weighted):
        """A few episodes of the data, already opened."""

        def open(self) -> Source:
            return ChosenEpisodes(source, list(range(min(len(source), 12))))

    with TemporaryDirectory() as folder:
        part, home = Few(path=source.spec.path), Path(folder)
        prepared = prepare(found.config, [part], (), home, seed=seed, report=report)
        train_final(found.config, prepared, home, kind=found.kind, seed=seed, report=report)
    out = {}
    for stage, times in clocks.items():
        if len(times) > 2:
            name = "kinematics" if "kinematics" in stage else "dynamics"
            name = "tokenizer" if stage == "tokenizer" else name
            out[name] = (times[-1] - times[1]) / (TOLD_EVERY * (len(times) - 2))
    if len(spent) < 2 or pick_device().type != "cpu":
        return out, 1.0  # an accelerator's work is not this process's
    clock, core = (last - first for first, last in zip(spent[0], spent[-1], strict=True))
    return out, core / max(clock, 1e-9)
