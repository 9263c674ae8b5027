"""An evaluation from recipe to summary: starts, imagination, truth, gates, statistics, films."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from worldeval.envs.metaworld import available
from worldeval.errors import UserError, did_you_mean
from worldeval.evaluate.films import choose, imagined_frames, simulated_frames
from worldeval.evaluate.gates import Gates, run_gates
from worldeval.evaluate.imagined import BatchDone, imagine_all, outcomes
from worldeval.evaluate.policies import policy_cards
from worldeval.evaluate.summary import Summary, summarise, to_json
from worldeval.evaluate.truth import measure_truth
from worldeval.imagine.recipe import ProtocolRecipe
from worldeval.imagine.starts import (
    read_recordings,
    read_starts,
    simulated_starts,
    write_starts,
)
from worldeval.imagine.store import RolloutStore
from worldeval.judge.judge import judge_hash, load_judge
from worldeval.recipe import shipped
from worldeval.record import Start
from worldeval.report.filmstrip import Filmstrip, write_filmstrip
from worldeval.run import read_json, whole_file, write_json
from worldeval.world.load import load_world, read_card, world_hash

IMAGINED, TRUTH = "outcomes/imagined.csv", "outcomes/truth.csv"


@runtime_checkable
class Watcher(Protocol):
    """What shows the progress."""

    def imagining(self, policies: Sequence[str], episodes: int) -> None: ...
    def imagined(self, batch: BatchDone) -> None: ...
    def simulating(self, done: int, total: int) -> None: ...
    def say(self, text: str) -> None: ...


@dataclass(kw_only=True)
class Evaluation:
    """One run folder. Every stage keeps its result there and is not repeated."""

    recipe: ProtocolRecipe
    out: Path
    seed: int
    processes: int
    watch: Watcher
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.recipe = located(self.recipe)
        self.cards = policy_cards(self.recipe.policies)
        self.starts = self._starts()
        kept = self.out / "seconds.json"
        self.seconds = read_json(kept) if kept.is_file() else {}

    def imagine(self) -> pd.DataFrame:
        """Outcomes of every policy in the world model."""
        self._check_models()
        refs = list(self.cards["ref"])
        self.watch.imagining(list(self.cards["policy"]), len(self.starts))
        with self._timed("imagine"):
            imagine_all(
                self.recipe,
                refs,
                self.starts,
                self.out / "imagined",
                seed=self.seed,
                processes=self.processes,
                progress=self._batch_done,
            )
        table = outcomes(self.out / "imagined", self.cards)
        return self._keep(IMAGINED, table)

    def truth(self) -> pd.DataFrame:
        """Outcomes of every policy in the simulator, from the same starts."""
        seeds = sorted({start.seed for start in self.starts})
        with self._timed("truth"):
            table = measure_truth(
                self.recipe,
                list(self.cards["ref"]),
                list(self.cards["policy"]),
                seeds,
                self.out / "truth",
                processes=self.processes,
                progress=self.watch.simulating,
            )
        table = table.merge(self.cards[["policy", "lineage", "step"]], on="policy")
        return self._keep(TRUTH, table)

    def gates(self) -> Gates | None:
        """What replayed recordings show, where the protocol brings some."""
        if not self.recipe.replays:
            return None
        self.watch.say("replaying recorded failures")
        recordings = read_recordings(Path(self.recipe.replays))
        world, judge = load_world(Path(self.recipe.world)), load_judge(Path(self.recipe.judge))
        return run_gates(world, judge, recordings, rng=np.random.default_rng(self.seed))

    def summary(
        self, imagined: pd.DataFrame, truth: pd.DataFrame | None, gates: Gates | None
    ) -> Summary:
        """Everything in numbers; writes summary.json."""
        summary = summarise(
            imagined, truth, self.cards, gates, margin=self.recipe.margin, seed=self.seed
        )
        content: dict[str, Any] = to_json(
            summary, self.cards, seconds=self.seconds, episodes=len(imagined)
        )
        content["world"] = {
            "folder": self.recipe.world,
            "hash": world_hash(Path(self.recipe.world)),
        }
        content["judge"] = {
            "folder": self.recipe.judge,
            "hash": judge_hash(Path(self.recipe.judge)),
        }
        write_json(self.out / "summary.json", content)
        return summary

    def films(self, imagined: pd.DataFrame, truth: pd.DataFrame | None, *, count: int) -> None:
        """Keep the frames of a few telling roll-outs."""
        self.watch.say("rendering roll-outs to look at")
        world, store = load_world(Path(self.recipe.world)), RolloutStore(self.out / "imagined")
        judge = load_judge(Path(self.recipe.judge))
        chosen = choose(imagined, truth, count=count)
        ref = dict(zip(self.cards["policy"], self.cards["ref"], strict=True))
        real: dict[tuple[str, int], Any] = {}
        if truth is not None:
            wanted = [
                (ref[row["policy"]], row["task"], self._reset_seed(row["start"]))
                for row in chosen.to_dict("records")
            ]
            real = simulated_frames(self.recipe, wanted, processes=self.processes)
        for row in chosen.to_dict("records"):
            rollout, verdict = store.find(policy=row["policy"], start=row["start"])
            entry = Filmstrip(
                policy=row["policy"],
                task=row["task"],
                start=row["start"],
                seed=int(row["seed"]),
                probability=verdict.probability,
                success=bool(row["success"]) if truth is not None else None,
                evidence=tuple(float(p) for p in judge.over_time(rollout)),
            )
            frames = imagined_frames(store, world, row["policy"], row["start"])
            truth_frames = real.get((ref[row["policy"]], self._reset_seed(row["start"])))
            write_filmstrip(self.out / "filmstrips", entry, frames, truth_frames)

    def _check_models(self) -> None:
        """Raise here what would otherwise break the processes that load the models."""
        spec = read_card(Path(self.recipe.world))["spec"]
        load_judge(Path(self.recipe.judge))
        for task in set(self.recipe.tasks) - set(spec.tasks):
            hint = did_you_mean(task, spec.tasks)
            raise UserError(f"The world model {self.recipe.world} never saw '{task}'.{hint}")

    def _reset_seed(self, start: str) -> int:
        return next(one.seed for one in self.starts if one.id == start)

    def _starts(self) -> list[Start]:
        kept = self.out / "starts.h5"
        if kept.is_file():
            return read_starts(kept)
        recipe = self.recipe
        if recipe.truth is not None and available() is None:
            seeds = range(recipe.first_seed, recipe.first_seed + recipe.starts)
            self.watch.say("asking the simulator for the starts")
            starts = simulated_starts(recipe.tasks, list(seeds), recipe.truth, jobs=self.processes)
        elif recipe.starts_file:
            starts = read_starts(Path(recipe.starts_file))
            starts = [
                start
                for task in recipe.tasks
                for start in [one for one in starts if one.task == task][: recipe.starts]
            ]
        else:
            raise UserError(
                f"No starts: the simulator cannot run here ({available()}) and the protocol names "
                "no starts_file."
            )
        write_starts(kept, starts)
        return starts

    def _batch_done(self, batch: BatchDone) -> None:
        self.seconds["imagine_cpu"] = self.seconds.get("imagine_cpu", 0.0) + batch.seconds
        self.watch.imagined(batch)

    def _keep(self, name: str, table: pd.DataFrame) -> pd.DataFrame:
        with whole_file(self.out / name) as draft:
            table.to_csv(draft, index=False)
        return table

    def _timed(self, name: str) -> "_Clock":
        return _Clock(lambda spent: self._spend(name, spent))

    def _spend(self, name: str, spent: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + spent
        self.seconds["total"] = self.seconds.get("total", 0.0) + spent
        write_json(self.out / "seconds.json", self.seconds)


def located(recipe: ProtocolRecipe) -> ProtocolRecipe:
    """The recipe with what came with the package under its real path."""
    return replace(
        recipe,
        policies=tuple(shipped(ref) for ref in recipe.policies),
        world=shipped(recipe.world),
        judge=shipped(recipe.judge),
        starts_file=shipped(recipe.starts_file) if recipe.starts_file else "",
        replays=shipped(recipe.replays) if recipe.replays else "",
    )


class _Clock:
    def __init__(self, spend: Callable[[float], None]) -> None:
        self._spend, self._begin = spend, 0.0

    def __enter__(self) -> None:
        self._begin = perf_counter()

    def __exit__(self, *_: object) -> None:
        self._spend(perf_counter() - self._begin)
