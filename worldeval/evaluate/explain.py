# pandas types a cell as anything that a table may hold.
# pyright: reportArgumentType=false, reportCallIssue=false, reportReturnType=false, reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
"""Explain the difference of two policies of a run: where they part, in which phase, with films."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from worldeval.envs.address import is_code, unavailable
from worldeval.errors import UserError, did_you_mean
from worldeval.evaluate.develop import protocol
from worldeval.evaluate.judging import run_judge
from worldeval.evaluate.kept_starts import read_kept_starts
from worldeval.evaluate.manifest import fingerprint
from worldeval.evaluate.parting import HandedOver, handed_over, parted
from worldeval.evaluate.parting_check import (
    LoadActing,
    from_simulator,
    measured,
    simulated_handovers,
)
from worldeval.evaluate.parting_words import Differing, clusters_of, refusal, sentences_of
from worldeval.evaluate.run import located
from worldeval.judge.address import refuse_judge_code
from worldeval.judge.load import judge_hash
from worldeval.policy.address import refuse_code
from worldeval.policy.load import load_policy
from worldeval.record import Rollout
from worldeval.rollout.phases import RULE, RULE_OF_THIRDS, third_of
from worldeval.rollout.recipe import ProtocolRecipe
from worldeval.rollout.sampling import sampled_world
from worldeval.runs.explanation import Explanation, PartedStart, SimulatorCheck
from worldeval.runs.manifest import Manifest, read_manifest
from worldeval.runs.paths import IMAGINED, TRUTH, RunPaths
from worldeval.runs.tables import read_table
from worldeval.stats import clustered_rate, mcnemar, rate
from worldeval.stats.decisive import CUT, LEAST
from worldeval.world.load import world_hash
from worldeval.world.protocol import WorldModel, WorldSpec

CONTROLS = 10  # most starts at which both agree that are handed over, too

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Explained:
    """An explanation, and the two policies' own episodes of the starts that it is about."""

    explanation: Explanation
    own: Mapping[str, Mapping[str, Rollout]]  # start -> policy -> its episode
    world: WorldModel


def explain(
    run: Path,
    first: str,
    second: str,
    *,
    task: str | None = None,
    starts: int = 40,
    simulator: bool = True,
    seed: int = 0,
    processes: int | None = None,
    trust_pickle: bool = False,
    trust_code: bool = False,
    policy_timeout: float | None = None,
    say: Say = lambda _: None,
) -> Explained:
    """Find where two policies of a run part, from the starts at which their verdicts differ.

    Args:
        task: look at one task alone.
        starts: most starts with different verdicts to look at, drawn by `seed` if there are more.
        simulator: repeat the hand-overs in the run's simulator, if it has one.

    Raises:
        UserError: a policy is unknown or has changed since the run, or the verdicts differ at too
            few starts (`stats.decisive.LEAST`).
    """
    recipe = located(protocol(run))
    manifest = _manifest(run)
    refs = {name: manifest.policies[name].ref for name in _known((first, second), manifest)}
    if not trust_code:
        refuse_code(refs.values(), RunPaths(run).manifest, remedy="give --trust-code")
        refuse_judge_code(recipe.judge, RunPaths(run).recipe, remedy="give --trust-code")
    difference = differing(read_table(RunPaths(run).outcomes(IMAGINED)), first, second, task)
    if len(difference.discordant) < LEAST:
        raise UserError(refusal(difference, run))
    _unchanged(run, recipe, manifest, refs)
    rng = np.random.default_rng([seed, 19])
    looked = drawn(difference, rng, starts=starts)
    kept = {start.id: start for start in read_kept_starts(run)}
    say(f"imagining hand-overs from {len(looked)} starts")
    world = sampled_world(recipe, Path(recipe.world))
    found = handed_over(
        world,
        run_judge(recipe.judge, world, cache=RunPaths(run).answers),
        {name: load_policy(ref, trust_pickle=trust_pickle) for name, ref in refs.items()},
        [kept[name] for name in looked],
        recipe,
        seed=manifest.seed,
        progress=lambda done, total: say(f"imagined {done} of {total} starts"),
    )
    explanation = concluded(difference, found, place=world.spec.place, horizon=recipe.horizon)
    if len(explanation.parted) < LEAST:
        raise UserError(
            f"Imagining anew, {first} and {second} differ at {len(explanation.parted)} of the "
            f"{len(explanation.parted) + explanation.changed} starts at which the run says they "
            "do. A policy or a server answers differently each time, so there is no one moment to "
            "be found. Give it a fixed seed, and rank it again."
        )
    why = "" if simulator else "not asked for"
    why = why or _unchecked(recipe, explanation.parted, trust_code=trust_code)
    if why:
        explanation = replace(explanation, unchecked=why)
    else:
        say("repeating the hand-overs in the simulator")
        explanation = checked(
            explanation,
            recipe,
            partial(_loader, refs, recipe.replan_every, world.spec, trust_pickle=trust_pickle),
            truth=_table(RunPaths(run).outcomes(TRUTH)),
            processes=processes or os.cpu_count() or 1,
            policy_timeout=policy_timeout,
            say=say,
        )
    explanation = replace(explanation, sentences=tuple(sentences_of(explanation)))
    own = {each.start.id: each.own for each in found}
    return Explained(explanation=explanation, own=own, world=world)


def differing(table: pd.DataFrame, first: str, second: str, task: str | None = None) -> Differing:
    """Compare the verdicts of two policies at the starts that both were run from.

    Raises:
        UserError: the task is unknown, or they share no start.
    """
    if task is not None and task not in set(table["task"]):
        hint = did_you_mean(task, sorted(set(table["task"])))
        raise UserError(f"The run has no task '{task}'.{hint}")
    key = ["task", "start"]
    sides = [
        table[(table["policy"] == name) & ((table["task"] == task) | (task is None))]
        .drop_duplicates(key)
        .set_index(key)["score"]
        for name in (first, second)
    ]
    both = pd.concat(sides, axis=1, join="inner", keys=["first", "second"])
    if both.empty:
        raise UserError(f"{first} and {second} were not run from any common start.")
    won = both >= CUT
    return Differing(
        first=first,
        second=second,
        tasks=tuple(dict.fromkeys(both.index.get_level_values("task"))),
        first_only=_names(won["first"] & ~won["second"]),
        second_only=_names(won["second"] & ~won["first"]),
        both=_names(won["first"] & won["second"]),
        neither=_names(~won["first"] & ~won["second"]),
        task_of={start: name for name, start in both.index},
    )


def drawn(difference: Differing, rng: np.random.Generator, *, starts: int) -> list[str]:
    """Draw the starts to look at: those that differ, then controls at which both agree."""
    differ, agree = difference.discordant, [*difference.both, *difference.neither]
    taken = rng.permutation(len(differ))[:starts]
    controls = rng.permutation(len(agree))[: min(CONTROLS, len(taken))]
    return [differ[place] for place in sorted(taken)] + [agree[place] for place in sorted(controls)]


def concluded(
    difference: Differing, found: Sequence[HandedOver], *, place: tuple[int, ...], horizon: int
) -> Explanation:
    """Name the decisive chunk of every start, and count them by phase."""
    differ = set(difference.discordant)
    starts = [one for each in found if (one := parted(each, place=place)) and one.start in differ]
    thirds = not any(frame is not None for one in starts for frame in one.onset.values())
    if thirds:
        starts = [replace(one, phase=third_of(one.begin, horizon)) for one in starts]
    looked = [each for each in found if each.start.id in differ]
    controls = [each for each in found if each.start.id not in differ]
    return Explanation(
        first=difference.first,
        second=difference.second,
        tasks=difference.tasks,
        starts=difference.starts,
        both=len(difference.both),
        neither=len(difference.neither),
        first_only=len(difference.first_only),
        second_only=len(difference.second_only),
        p=mcnemar(len(difference.first_only), len(difference.second_only)),
        sentences=(),
        clusters=clusters_of(starts),
        parted=tuple(starts),
        phases=RULE_OF_THIRDS if thirds else RULE,
        changed=len(looked) - len(starts),
        left_out=len(differ) - len(looked),
        controls=len(controls),
        control_changes=_changes(controls),
    )


def checked(
    explanation: Explanation,
    recipe: ProtocolRecipe,
    load: Callable[[Mapping[str, tuple[str, str, int]]], LoadActing],
    *,
    truth: pd.DataFrame | None,
    processes: int,
    policy_timeout: float | None,
    say: Say,
) -> Explanation:
    """Repeat the hand-overs around every decisive chunk in the simulator, and count the flips."""
    names = (explanation.first, explanation.second)
    clear = [one for one in explanation.parted if one.clear]
    records, broken = simulated_handovers(
        clear,
        recipe,
        load,
        known=measured(truth, names),
        processes=processes,
        policy_timeout=policy_timeout,
        progress=lambda done, total: say(f"simulated {done} of {total} episodes"),
    )
    for who, why in broken.items():
        say(f"{who} broke in the simulator: {why}")
    by_start = {one.start: record for one, record in zip(clear, records, strict=True)}
    done = [record for record in records if record is not None]
    differ = [record for record in done if record.differs]
    chunks = [len(one.rescue.moments) - 1 for one in clear]
    return replace(
        explanation,
        parted=tuple(replace(one, simulated=by_start.get(one.start)) for one in explanation.parted),
        simulator=SimulatorCheck(
            differs=rate(len(differ), len(done)),
            confirmed=rate(sum(record.confirmed for record in differ), len(differ)),
            chance=float(1 / np.mean(chunks)) if chunks else 1.0,
        ),
    )


def _changes(controls: Sequence[HandedOver]):
    """Share of hand-overs that change the verdict although both policies agree, by start."""
    shares, trials = [], 0
    for each in controls:
        sides = {each.probability(name) >= CUT for name in each.curves}
        if len(sides) == 1 and len(each.inner):
            shares.append(float(((each.inner >= CUT) != sides.pop()).mean()))
            trials += len(each.inner)
    return clustered_rate(np.array(shares), trials=trials) if shares else None


def _loader(
    refs: Mapping[str, str],
    replan_every: int,
    world: WorldSpec,
    handovers: Mapping[str, tuple[str, str, int]],
    *,
    trust_pickle: bool,
) -> LoadActing:
    return LoadActing(
        refs=refs,
        handovers=handovers,
        replan_every=replan_every,
        world=world,
        trust_pickle=trust_pickle,
    )


def _manifest(run: Path) -> Manifest:
    manifest = read_manifest(run)
    if manifest is None or not RunPaths(run).outcomes(IMAGINED).is_file():
        raise UserError(
            f"{run} holds no finished ranking whose policies can be run again. Give the folder of "
            "a `worldeval rank ... --out FOLDER`."
        )
    return manifest


def _known(names: Sequence[str], manifest: Manifest) -> Sequence[str]:
    if len(set(names)) == 1:
        raise UserError(f"'{names[0]}' is given twice. Name two policies of the run.")
    for name in names:
        if name not in manifest.policies:
            hint = did_you_mean(name, list(manifest.policies))
            raise UserError(
                f"The run has no policy '{name}'.{hint or ' It has: '}"
                + ("" if hint else f"{', '.join(manifest.policies)}.")
            )
    return names


def _unchanged(
    run: Path, recipe: ProtocolRecipe, manifest: Manifest, refs: Mapping[str, str]
) -> None:
    """Refuse models and policies that are no longer those of the run."""
    now = {
        "The world model": (manifest.world, world_hash(Path(recipe.world))),
        "The judge": (manifest.judge, judge_hash(recipe.judge)),
        **{
            f"Policy {name}": (manifest.policies[name].hash, fingerprint(ref))
            for name, ref in refs.items()
        },
    }
    for what, (then, is_now) in now.items():
        if then and is_now and then != is_now:
            raise UserError(
                f"{what} has changed since {run} was made (content {then}, now {is_now}), so its "
                "episodes cannot be repeated. Restore it, or rank again."
            )


def _unchecked(recipe: ProtocolRecipe, parted: Iterable[PartedStart], *, trust_code: bool) -> str:
    """Say why the simulator cannot be asked; empty if it can."""
    if recipe.truth is None:
        return "the run names no simulator"
    if is_code(recipe.truth.env) and not trust_code:
        return "the run's simulator is Python code; give --trust-code to run it"
    if problem := unavailable(recipe.truth.env):
        return problem
    if not all(from_simulator(one.start, one.task, one.seed) for one in parted):
        return "the starts were recorded, and the simulator cannot be reset to them"
    return ""


def _names(chosen: pd.Series) -> tuple[str, ...]:
    return tuple(str(start) for _, start in chosen.index[chosen.to_numpy()])


def _table(path: Path) -> pd.DataFrame | None:
    return read_table(path) if path.is_file() else None
