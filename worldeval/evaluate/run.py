# pandas types a cell as anything that a table may hold.
# pyright: reportAssignmentType=false, reportReturnType=false, reportOptionalOperand=false
"""Run an evaluation from recipe to summary, through all its stages."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pandas as pd

from worldeval.errors import UserError, did_you_mean
from worldeval.evaluate.analysis import Analysis, analyse, to_json, with_noted
from worldeval.evaluate.anytime import anytime, spent_finding
from worldeval.evaluate.budget import Spending, SpendingReport
from worldeval.evaluate.chosen_test import check_test, check_trials
from worldeval.evaluate.films import (
    Shown,
    Simulated,
    choose,
    film,
    not_filmed,
    simulated_frames,
)
from worldeval.evaluate.first_starts import first_starts, refuse_recorded
from worldeval.evaluate.gates import Gates
from worldeval.evaluate.imagined import ImaginedPart, outcomes
from worldeval.evaluate.judge_findings import said_of_judge
from worldeval.evaluate.judging import judge_facts, run_judge
from worldeval.evaluate.kept_gates import REPLAYING, kept_gates
from worldeval.evaluate.kept_starts import keep_starts, read_kept_starts
from worldeval.evaluate.located import located
from worldeval.evaluate.manifest import manifest_of
from worldeval.evaluate.pair import check_pair
from worldeval.evaluate.passport_check import PassportCheck, check_passport
from worldeval.evaluate.policies import is_foreign, policy_cards
from worldeval.evaluate.stopwatch import Stopwatch
from worldeval.evaluate.truth import forget, measure_truth, mend, named_simulator
from worldeval.evaluate.unclear_objects import unclear_objects
from worldeval.evaluate.validated import Validated, read_validated, real_trials
from worldeval.evaluate.workers.jobs import BatchDone, Result, Shard, by_task
from worldeval.evaluate.workers.local import Processes
from worldeval.evaluate.workers.spread import Alone, Crew
from worldeval.evaluate.workers.worker import Setup, Worker, workers
from worldeval.files import write_json
from worldeval.judge.load import is_fixed, is_uncalibrated, judge_folder, judge_hash
from worldeval.judge.protocol import Judge
from worldeval.record import Start
from worldeval.rollout.inverse import load_checker
from worldeval.rollout.recipe import ProtocolRecipe
from worldeval.rollout.sampling import check_sampling, sampled_world
from worldeval.runs.files import read_record
from worldeval.runs.manifest import read_manifest, write_manifest
from worldeval.runs.paths import IMAGINED, TRUTH, RunPaths
from worldeval.runs.store import RolloutStore
from worldeval.runs.summary import REAL_TRIALS, SIMULATOR, write_summary
from worldeval.runs.tables import write_table
from worldeval.stats import Finding
from worldeval.world.load import read_card, world_hash
from worldeval.world.world import World

POLICY_TIMEOUT = 600.0  # seconds
LEAST_PATIENCE = 30.0  # seconds, however small the budget: loading a policy may take long
REMOVE = "Remove the file; it only records how long the work took."


@runtime_checkable
class Watcher(Protocol):
    """The interface of progress displays."""

    def imagining(self, done: Mapping[str, Sequence[float]], episodes: int) -> None: ...
    def imagined(self, batch: Result) -> None: ...
    def simulating(self, done: int, total: int) -> None: ...
    def counting(self, what: str, done: int, total: int) -> None: ...
    def say(self, text: str) -> None: ...


@dataclass(kw_only=True)
class Evaluation:
    """An evaluation in a run folder. Every stage stores its result and is not repeated."""

    recipe: ProtocolRecipe
    out: Path
    seed: int
    processes: int
    watch: Watcher
    # Builds the workers from their setup and the policies' addresses; None: local processes.
    crew: Callable[[Setup, list[str]], Crew] | None = None
    spending: Spending = field(default_factory=Spending)
    shard: Shard = field(default_factory=Shard)
    redo_changed: bool = False  # rerun policies whose content changed
    trust_pickle: bool = False
    policy_timeout: float | None = POLICY_TIMEOUT  # seconds for one call of a policy
    test: str = "betting"  # test of two policies, or 'mcnemar' (`chosen_test.py`)
    seconds: dict[str, float] = field(default_factory=dict)
    noted: list[Finding] = field(default_factory=list)  # what is known before anything is imagined

    def __post_init__(self) -> None:
        self.paths = RunPaths(self.out)
        self.recipe = located(self.recipe)
        self.cards = policy_cards(
            self.recipe.policies,
            trust_pickle=self.trust_pickle,
            policy_timeout=self.policy_timeout,
        )
        self._tell_replans()
        for path in mend(self.paths.truth):
            self.watch.say(
                f"{path} is damaged; it is set aside and its episodes are measured again"
            )
        self._know()
        self.starts = by_task(self._starts(), self.recipe.tasks)
        self.spent: SpendingReport | None = None
        self.compared_with: str | None = None  # where measured outcomes come from
        self.abstained: dict[str, int] = {}  # policy -> episodes without a verdict
        self.errors: dict[str, str] = {}  # policy -> why some of its episodes have no outcome
        kept = self.paths.seconds
        self.seconds = read_record(kept, dict[str, float], remedy=REMOVE) if kept.is_file() else {}

    def check_test(self) -> None:
        """Refuse a test that may not be applied here, before any work is done."""
        check_test(
            self.test,
            run=self.out,
            starts=len(self.starts),
            policies=len(self.cards),
            spending=self.spending,
        )

    def imagine(self) -> pd.DataFrame:
        """Imagine every policy in the world model, and return the outcomes."""
        self.check_models()
        work = ImaginedPart(
            folder=self.out,
            refs=dict(zip(self.cards["policy"], self.cards["ref"], strict=True)),
            starts=self.starts,
            seed=self.seed,
            batch=self.recipe.batch,
            spending=self.spending,
            shard=self.shard,
        )
        for path in work.damaged:
            self.watch.say(
                f"{path} is damaged; it is set aside and its episodes are imagined again"
            )
        scores = {policy: list[float]() for policy in work.refs}
        for (policy, _), probability in work.done.items():
            scores[policy].append(probability)
        self.watch.imagining(scores, len(self.starts))
        # Ray and users' policies may print; stdout is reserved for the result.
        with self._timed("imagine"), redirect_stdout(sys.stderr):
            self.spent = work.work(self._crew(), self._batch_done)
        self.errors, self.abstained = work.errors, work.abstained
        if self.shard.count > 1 and not work.done:  # more parts than batches
            return pd.DataFrame(columns=["policy", "task", "start", "seed", "score"])
        table = outcomes(self.paths.imagined, self.cards, self.starts)
        return self._keep(IMAGINED, table)

    def truth(self) -> pd.DataFrame:
        """Run every policy in the simulator from the same starts, and return the outcomes."""
        self.compared_with = SIMULATOR
        seeds = sorted({start.seed for start in self.starts})
        with self._timed("truth"):
            table = measure_truth(
                self.recipe,
                list(self.cards["ref"]),
                list(self.cards["policy"]),
                seeds,
                self.paths.truth,
                processes=self.processes,
                shard=self.shard,
                trust_pickle=self.trust_pickle,
                policy_timeout=self.policy_timeout,
                progress=self.watch.simulating,
                failed=self.errors.__setitem__,
            )
        table = table.merge(self.cards[["policy", "lineage", "step"]], on="policy")
        return self._keep(TRUTH, table)

    def real(self, path: Path) -> pd.DataFrame:
        """Read outcomes of real trials of some policies from a CSV, and store them in the run."""
        self.compared_with = REAL_TRIALS
        table = real_trials(path, self.cards, sorted(self._tasks()))
        check_trials(self.test, table)
        return self._keep(TRUTH, table)

    def validated(self, folder: Path) -> Validated:
        """Read how an earlier run validated this world model and judge."""
        return read_validated(
            folder,
            **self.hashes(),
            sampler_steps=self.recipe.sampler_steps,
            settings={key: getattr(self.recipe, key) for key in ("horizon", "replan_every")},
        )

    def models(self) -> tuple[World, Judge]:
        """Load the world model and the judge."""
        world = sampled_world(self.recipe, Path(self.recipe.world))
        return world, run_judge(self.recipe.judge, world, cache=self.paths.answers)

    def hashes(self) -> dict[str, str]:
        """Compute the fingerprints of the world model and the judge."""
        return {
            "world": world_hash(Path(self.recipe.world)),
            "judge": judge_hash(self.recipe.judge),
        }

    @cached_property
    def passport(self) -> PassportCheck:
        """What the passport of the world model and the judge says of this ranking."""
        return check_passport(
            judge_folder(self.recipe.judge),
            hashes=self.hashes(),
            recipe=self.recipe,
            starts=self.starts,
            world=lambda: self.models()[0],
        )

    def tell_outside(self) -> None:
        """Say what the passport does not cover, before hours of work."""
        for found in self.passport.outside:
            self.watch.say(found.text)

    def gates(self) -> Gates | None:
        """Replay recordings for the gates; None if the protocol names none."""
        if not self.recipe.replays:
            return None
        hashes = self.hashes()
        return kept_gates(
            self.out,
            Path(self.recipe.replays),
            self.models,
            world=hashes["world"],
            judge=hashes["judge"] if is_fixed(self.recipe.judge) else "",
            sampler_steps=self.recipe.sampler_steps,
            seed=self.seed,
            progress=partial(self.watch.counting, REPLAYING),
        )

    def summary(
        self,
        imagined: pd.DataFrame,
        truth: pd.DataFrame | None,
        gates: Gates | None,
        validated: Validated | None = None,
    ) -> Analysis:
        """Compute all results and write summary.json."""
        imagined = self._everywhere(imagined)
        if truth is not None:
            truth = truth[truth["policy"].isin(imagined["policy"])]
        passport = self.passport.with_actions(self.paths.imagined)
        analysis = analyse(
            imagined,
            truth,
            self.cards,
            gates,
            margin=self.recipe.margin,
            seed=self.seed,
            validated=validated,
            passport=passport,
            test=self.test,
            uncalibrated=is_uncalibrated(self.recipe.judge),
        )
        if self.spent is not None and self.spending.looks:
            analysis = replace(
                analysis,
                imagined=anytime(analysis.imagined, imagined, self.spent),
                findings=(*analysis.findings, spent_finding(self.spent)),
            )
        said = said_of_judge(self.recipe.judge, self.abstained, imagined)
        noted = [*self.noted, *said, *unclear_objects(self.recipe)]
        analysis = replace(analysis, findings=with_noted(analysis.findings, noted))
        content: dict[str, Any] = to_json(
            analysis, self.cards, seconds=self.seconds, episodes=len(imagined)
        )
        hashes = self.hashes()
        content["world"] = {
            "folder": self.recipe.world,
            "hash": hashes["world"],
            "sampler_steps": self.recipe.sampler_steps,
        }
        of_judge_files = {"folder": self.recipe.judge, "hash": hashes["judge"]}
        content["judge"] = of_judge_files | judge_facts(self.recipe.judge, self.paths.answers)
        if self.spent is not None and self.spending.by_turns:
            content["spent"] = self.spent.to_json()
        if truth is not None:
            content["compared_with"] = self.compared_with
        if self.errors:
            content["errors"] = self.errors
        if passport.passport is not None:
            content["passport"] = passport.to_json()
        write_summary(self.out, content)
        return analysis

    def films(
        self, imagined: pd.DataFrame, truth: pd.DataFrame | None, *, count: int | None = None
    ) -> None:
        """Render roll-outs as film strips; existing film strips are kept."""
        chosen = choose(imagined, truth, count=count)
        chosen = not_filmed(self.out, chosen, real=truth is not None)
        if not chosen:
            return
        self.watch.say(f"rendering {len(chosen)} roll-outs to look at")
        refs = dict(zip(self.cards["policy"], self.cards["ref"], strict=True))
        real: dict[Shown, Simulated] | None = None
        places = [
            (refs[row["policy"]], row["task"], self._reset_seed(row["start"])) for row in chosen
        ]
        if truth is not None:
            real = simulated_frames(
                self.recipe, places, processes=self.processes, trust_pickle=self.trust_pickle
            )
        sides = [real[place] if real else None for place in places]
        told = partial(self.watch.counting, "rendering roll-outs")
        film(self.out, self.recipe, chosen, sides, told)

    def _everywhere(self, imagined: pd.DataFrame) -> pd.DataFrame:
        """Select the outcomes of policies that were run on every task; others cannot be ranked."""
        tasks = imagined.groupby("policy")["task"].nunique()
        short = [name for name in self.cards["policy"] if tasks.get(name, 0) < len(self._tasks())]
        if not short:
            return imagined
        self.watch.say(f"not ranked, because some tasks have no outcome yet: {', '.join(short)}")
        kept = imagined[~imagined["policy"].isin(short)]
        if kept.empty:
            raise UserError(
                f"{self.out}: no policy has an outcome on every task yet, so there is nothing to "
                "rank. Run the same command again, or increase --budget-minutes."
            )
        return kept

    def _tasks(self) -> set[str]:
        return {start.task for start in self.starts}

    def _crew(self) -> Crew:
        setup = Setup(
            recipe=self.recipe,
            starts=self.starts,
            seed=self.seed,
            trust_pickle=self.trust_pickle,
            policy_timeout=self._patience(),
            answers=str(self.paths.answers),
        )
        if self.crew is not None:
            return self.crew(setup, list(self.cards["ref"]))
        size = workers(self.processes)
        # Third-party code may end or block the process that it runs in.
        if size == 1 and not any(map(is_foreign, self.cards["ref"])):
            return Alone(lambda: Worker(setup))
        return Processes(size, Worker, setup, policy_timeout=self._patience())

    def _patience(self) -> float | None:
        """Return the time limit in seconds for one call of a policy, at most the whole budget."""
        minutes = self.spending.minutes
        if self.policy_timeout is None or minutes is None:
            return self.policy_timeout
        return min(self.policy_timeout, max(60 * minutes, LEAST_PATIENCE))

    def _tell_replans(self) -> None:
        """Report policies that replan by their authors' rule instead of the protocol's."""
        protocol, by_rule = self.recipe.replan_every, dict[tuple[int, str], list[str]]()
        for row in self.cards.to_dict("records"):
            if row["replan_said_by"] and row["replan"] != protocol:
                rule = (int(row["replan"]), row["replan_said_by"])
                by_rule.setdefault(rule, []).append(row["policy"])
        for (frames, said_by), names in by_rule.items():
            every = "every frame" if frames == 1 else f"every {frames} frames"
            self.watch.say(
                f"{', '.join(names)}: asked {every} ({said_by}), not every {protocol} as the "
                "protocol says; replan_every= in an address changes that"
            )

    def _know(self) -> None:
        """Compare the current files with the run's manifest, and store the merged manifest."""
        refs = dict(zip(self.cards["policy"], self.cards["ref"], strict=True))
        manifest = manifest_of(self.recipe, refs, seed=self.seed)
        earlier = read_manifest(self.out)
        if earlier is not None:
            changed = manifest.changed(earlier)
            manifest = manifest.with_earlier(earlier, self.out, redo=self.redo_changed)
            for policy in changed:
                count = RolloutStore(self.paths.imagined).leave_out(policy, "replaced")
                forget(self.paths.truth, policy)
                self.watch.say(f"{policy} has changed; {count} of its episodes are repeated")
        if manifest != earlier:
            write_manifest(self.out, manifest)
        for policy in refs:
            if manifest.policies[policy].hash is None:
                self.watch.say(
                    f"{policy} ({refs[policy]}) has no fingerprint: this run cannot detect "
                    "whether it changes"
                )

    def check_models(self) -> None:
        """Raise errors here that would otherwise end the processes that load the models."""
        spec = read_card(Path(self.recipe.world))["spec"]
        check_sampling(self.recipe, Path(self.recipe.world))
        check_pair(self.recipe, spec)
        load_checker(self.recipe.checker)
        for task in (each for each in self.recipe.tasks if not spec.knows(each)):
            hint = did_you_mean(task, spec.tasks)
            raise UserError(
                f"The world model {self.recipe.world} was not trained on '{task}'.{hint}"
            )

    def check_truth(self) -> None:
        """Refuse a comparison with no simulator, or from starts that it cannot reproduce, before
        anything is imagined."""
        refuse_recorded(self.starts, named_simulator(self.recipe))

    def _reset_seed(self, start: str) -> int:
        return next(one.seed for one in self.starts if one.id == start)

    def _starts(self) -> list[Start]:
        """Read the run folder's starts, and add more if the recipe asks for more."""
        path, recipe = self.paths.starts, self.recipe
        kept = read_kept_starts(self.out) if path.is_file() else []
        have = {task: sum(start.task == task for start in kept) for task in recipe.tasks}
        if kept and min(have.values()) >= recipe.starts:
            return kept
        known = {start.id for start in kept}
        wanted = first_starts(
            recipe, beyond=min(have.values()), processes=self.processes, say=self.watch.say
        )
        more = [one for one in wanted if one.id not in known]
        if more:
            keep_starts(self.out, [*kept, *more])
        return [*kept, *more]

    def _batch_done(self, batch: Result) -> None:
        if isinstance(batch, BatchDone):
            self.seconds["imagine_cpu"] = self.seconds.get("imagine_cpu", 0.0) + batch.seconds
        self.watch.imagined(batch)

    def _keep(self, side: str, table: pd.DataFrame) -> pd.DataFrame:
        write_table(self.paths.outcomes(side), table)
        return table

    def _timed(self, name: str) -> Stopwatch:
        return Stopwatch(lambda spent: self._spend(name, spent))

    def _spend(self, name: str, spent: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + spent
        self.seconds["total"] = self.seconds.get("total", 0.0) + spent
        with suppress(OSError):  # on a full disk, that is the error to be read
            write_json(self.paths.seconds, self.seconds)
