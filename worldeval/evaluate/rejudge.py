"""Judge the episodes of a finished run again with another judge, without imagining anything."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import groupby
from pathlib import Path

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
from worldeval.runs.errors import note_error
from worldeval.runs.manifest import read_manifest, write_manifest
from worldeval.runs.origin import open_run, read_recipe
from worldeval.runs.paths import TRUTH, RunPaths
from worldeval.runs.store import RolloutStore, pack

BATCH = 16  # roll-outs that are decoded and judged together


def judge_again(
    run: Path, ref: str, out: Path, *, progress: Callable[[int, int], None] | None = None
) -> dict[str, int]:
    """Write the run folder `out`: the episodes and outcomes of `run`, judged by the judge `ref`.

    Episodes that already have a verdict in `out` are not judged again; the others are.

    Returns:
        Policy -> episodes without a verdict.

    Raises:
        UserError: `run` is no ranking, the judge does not fit, or `out` has another judge's
            verdicts.
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
    earlier, own = read_manifest(out), replace(manifest, judge=judge_hash(ref))
    if earlier is not None:
        own = own.with_earlier(earlier, out, redo=False)  # refuses another judge's verdicts
    open_run(
        out,
        recipe={**read_recipe(run), "judge": ref},
        seed=manifest.seed,
        command="judge again",
        resume=True,
    )
    write_manifest(out, own)
    keep_starts(out, read_kept_starts(run))
    _copy_outcomes(run, out)
    source, target = RolloutStore(RunPaths(run).imagined), RolloutStore(RunPaths(out).imagined)
    without: dict[str, int] = {}
    kept, total, done = target.done(), len(source.done()), 0
    places = enumerate(rollout for rollout, _ in source.rollouts())
    for _, rows in groupby(places, lambda row: row[0] // BATCH):
        batch = [rollout for _, rollout in rows]
        done += len(batch)
        left = [each for each in batch if (each.policy, each.start, each.seed) not in kept]
        for length in sorted({len(each.pose) for each in left}):
            same = [each for each in left if len(each.pose) == length]
            for rollout, reason in _judge(judge, same, target):
                without[rollout.policy] = without.get(rollout.policy, 0) + 1
                note_error(out, rollout.policy, [rollout.start], f"the judge abstains: {reason}")
        if progress is not None:
            progress(done, total)
    if not target.files():
        raise UserError(f"The judge {ref} gave no verdict on any of the {total} episodes of {run}.")
    return without


def _judge(
    judge: Judge, rollouts: list[Rollout], target: RolloutStore
) -> list[tuple[Rollout, str]]:
    """Judge roll-outs of one length, and store those with a verdict.

    Returns:
        Those without one, and why.
    """
    judged = judge.judged(rollouts)
    reasons = judged.abstained or ("",) * len(rollouts)
    rows = [row for row, reason in enumerate(reasons) if not reason]
    if rows:
        kept = [rollouts[row] for row in rows]
        names = json.dumps([[each.policy, each.start, each.seed] for each in kept])
        packed = pack(
            kept,
            [judged.verdicts[row] for row in rows],
            evidence=judged.evidence[rows],
            progress=None if judged.progress is None else judged.progress[rows],
        )
        target.add(f"again-{hashlib.sha256(names.encode()).hexdigest()[:16]}", packed)
    return [(rollout, reason) for rollout, reason in zip(rollouts, reasons, strict=True) if reason]


def _copy_outcomes(run: Path, out: Path) -> None:
    """Copy what was measured: outcomes in the simulator, or of real trials."""
    here, there = RunPaths(run), RunPaths(out)
    if here.truth.is_dir():
        shutil.copytree(here.truth, there.truth, dirs_exist_ok=True)
    if here.outcomes(TRUTH).is_file():
        there.outcomes(TRUTH).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(here.outcomes(TRUTH), there.outcomes(TRUTH))
