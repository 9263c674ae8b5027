"""Render requested episodes of a run, stored as latents, into film strips."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from worldeval import recipe as recipes
from worldeval.errors import UserError, did_you_mean
from worldeval.evaluate.films import Simulated, described, keep, simulated_frames
from worldeval.evaluate.judging import imagined_frames, run_judge
from worldeval.evaluate.kept_starts import read_kept_starts
from worldeval.evaluate.policies import policy_cards
from worldeval.judge.address import refuse_judge_code
from worldeval.policy.address import refuse_code
from worldeval.recipe import shipped
from worldeval.rollout.recipe import ProtocolRecipe
from worldeval.runs.episodes import EpisodeTable, read_episodes
from worldeval.runs.films import Filmstrip, read_filmstrips
from worldeval.runs.paths import RunPaths
from worldeval.runs.store import RolloutStore
from worldeval.world.load import load_world

Progress = Callable[[int, int], None]


def develop(
    run: Path,
    wanted: Sequence[str],
    *,
    drawn: bool = False,
    real: bool = False,
    processes: int = 1,
    trust_pickle: bool = False,
    trust_code: bool = False,
    progress: Progress | None = None,
) -> list[Filmstrip]:
    """Decode the imagined episodes with these ids into film strips of the run.

    Args:
        drawn: whether they are a random sample of the run, so that labels are representative.
        real: also run them in the simulator, if the protocol names one.
        trust_code: execute policies of the run that are Python code.

    Raises:
        UserError: an episode is missing, the world model cannot render, or `real` would execute
            code that is not trusted.
    """
    recipe = protocol(run)
    if not trust_code:
        refuse_judge_code(recipe.judge, RunPaths(run).recipe, remedy="give --trust-code")
        if real:
            refuse_code(recipe.policies, RunPaths(run).recipe, remedy="give --trust-code")
    rows = _rows(read_episodes(run), wanted)
    world = load_world(Path(shipped(recipe.world)))
    judge = run_judge(recipe.judge, world, cache=RunPaths(run).answers)
    store = RolloutStore(RunPaths(run).imagined)
    shown = _simulated(run, recipe, rows, processes, trust_pickle) if real else {}
    # An episode that was drawn at random stays so when it is rendered again.
    before = {strip.key for strip in read_filmstrips(RunPaths(run).films) if strip.drawn}
    made = []
    for done, row in enumerate(rows):
        rollout, verdict = store.find(policy=row["policy"], start=row["start"])
        success = None if np.isnan(row["real"]) else bool(row["real"])
        key = (row["policy"], row["task"], row["start"], int(row["seed"]))
        entry = described(
            row, rollout, verdict, judge, success=success, drawn=drawn or key in before
        )
        made.append(keep(run, entry, imagined_frames(rollout, world), shown.get(row["id"])))
        if progress is not None:
            progress(done + 1, len(rows))
    return made


def draw(run: Path, count: int, *, rng: np.random.Generator) -> list[str]:
    """Draw ids of episodes uniformly at random."""
    every = [row["id"] for row in read_episodes(run).table.to_dict("records") if row["file"]]
    if not every:
        raise UserError(f"{run} has no imagined roll-outs. Run `worldeval rank` first.")
    return [every[place] for place in rng.permutation(len(every))[:count]]


def protocol(run: Path) -> ProtocolRecipe:
    """Read the protocol of a run."""
    path = RunPaths(run).recipe
    if not path.is_file():
        raise UserError(
            f"{run} is not a ranking run: it has no {path.name}. Give the folder of a "
            "`worldeval rank`."
        )
    return recipes.load(str(path), "protocol").config


def _rows(episodes: EpisodeTable, wanted: Sequence[str]) -> list[dict]:
    rows = {row["id"]: row for row in episodes.table.to_dict("records") if row["file"]}
    for name in wanted:
        if name not in rows:
            if episodes.damaged:  # perhaps it is in there
                raise UserError(episodes.damaged[0])
            raise UserError(
                f"There is no imagined episode '{name}' in the run.{did_you_mean(name, rows)}"
                if len(rows) < 1000
                else f"There is no imagined episode '{name}' in the run."
            )
    return [rows[name] for name in wanted]


def _simulated(
    run: Path, recipe: ProtocolRecipe, rows: Sequence[dict], processes: int, trust_pickle: bool
) -> dict[str, Simulated]:
    if recipe.truth is None:
        raise UserError(
            f"{RunPaths(run).recipe} names no simulator (`truth:`), so the episode cannot be "
            "simulated."
        )
    cards = policy_cards([shipped(ref) for ref in recipe.policies], trust_pickle=trust_pickle)
    ref = dict(zip(cards["policy"], cards["ref"], strict=True))
    reset = {start.id: start.seed for start in read_kept_starts(run)}
    keys = {row["id"]: (ref[row["policy"]], row["task"], reset[row["start"]]) for row in rows}
    found = simulated_frames(
        recipe, list(keys.values()), processes=processes, trust_pickle=trust_pickle
    )
    return {name: found[key] for name, key in keys.items()}
