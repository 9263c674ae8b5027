"""Judge the episodes of a finished run again with another judge, without imagining anything."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np

from worldeval.errors import UserError
from worldeval.evaluate.develop import protocol
from worldeval.evaluate.judging import run_judge
from worldeval.evaluate.kept_starts import keep_starts, read_kept_starts
from worldeval.evaluate.pair import check_pair
from worldeval.evaluate.people import PeopleJudge
from worldeval.judge.address import read_judge_address
from worldeval.judge.load import judge_hash
from worldeval.judge.protocol import Judge
from worldeval.record import Rollout
from worldeval.rollout.sampling import sampled_world
from worldeval.runs.manifest import read_manifest, write_manifest
from worldeval.runs.origin import open_run, read_recipe
from worldeval.runs.paths import TRUTH, RunPaths
from worldeval.runs.store import RolloutStore, pack

BATCH = 16  # roll-outs that are decoded and judged together


def judge_again(
    run: Path, ref: str, out: Path, *, progress: Callable[[int, int], None] | None = None
) -> dict[str, int]:
    """Write the run folder `out`: the episodes and outcomes of `run`, judged by the judge `ref`.

    A batch that is already in `out` is not judged again.

    Returns:
        Policy -> episodes without a verdict.

    Raises:
        UserError: `run` is no ranking, the judge does not fit, or `out` holds another run.
    """
    recipe, manifest = protocol(run), read_manifest(run)
    if manifest is None:
        raise UserError(f"{run} is not a ranking run: it has no manifest.json.")
    if out.resolve() == run.resolve():
        raise UserError(f"{out} is the run itself. Give another --out, so that both can be kept.")
    people = read_judge_address(ref).kind == "human"
    recipe = replace(recipe, judge=ref)
    world = sampled_world(recipe, Path(recipe.world))
    if not people:
        check_pair(recipe, world.spec)
    judge: Judge
    judge = PeopleJudge(run) if people else run_judge(ref, world, cache=RunPaths(out).answers)
    open_run(
        out,
        recipe={**read_recipe(run), "judge": ref},
        seed=manifest.seed,
        command="judge again",
        resume=True,
    )
    write_manifest(out, replace(manifest, judge=judge_hash(ref)))
    keep_starts(out, read_kept_starts(run))
    _copy_outcomes(run, out)
    source, target = RolloutStore(RunPaths(run).imagined), RolloutStore(RunPaths(out).imagined)
    without: dict[str, int] = {}
    done, total = 0, len(source.done())
    # Roll-outs of one file have the same length.
    for number, (_, batch) in enumerate(
        groupby(enumerate(source.rollouts()), lambda row: row[0] // BATCH)
    ):
        rollouts = [rollout for _, (rollout, _) in batch]
        if not target.has(name := f"again-{number:05d}"):
            _judge(judge, rollouts, target, name, without)
        done += len(rollouts)
        if progress is not None:
            progress(done, total)
    if not target.files():
        raise UserError(f"The judge {ref} gave no verdict on any of the {total} episodes of {run}.")
    return without


def _judge(
    judge: Judge, rollouts: list[Rollout], target: RolloutStore, name: str, without: dict[str, int]
) -> None:
    """Judge roll-outs, of any lengths, and store those with a verdict."""
    kept, verdicts, evidence = [], [], []
    for length in sorted({len(rollout.pose) for rollout in rollouts}):
        same = [rollout for rollout in rollouts if len(rollout.pose) == length]
        judged = judge.judged(same)
        for row, reason in enumerate(judged.abstained or ("",) * len(same)):
            if reason:
                without[same[row].policy] = without.get(same[row].policy, 0) + 1
                continue
            kept.append(same[row])
            verdicts.append(judged.verdicts[row])
            evidence.append(judged.evidence[row])
        if kept:
            part = name if length == len(rollouts[0].pose) else f"{name}-{length}"
            target.add(part, pack(kept, verdicts, evidence=np.stack(evidence)))
        kept, verdicts, evidence = [], [], []


def _copy_outcomes(run: Path, out: Path) -> None:
    """Copy what was measured: outcomes in the simulator, or of real trials."""
    here, there = RunPaths(run), RunPaths(out)
    if here.truth.is_dir():
        shutil.copytree(here.truth, there.truth, dirs_exist_ok=True)
    if here.outcomes(TRUTH).is_file():
        there.outcomes(TRUTH).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(here.outcomes(TRUTH), there.outcomes(TRUTH))
