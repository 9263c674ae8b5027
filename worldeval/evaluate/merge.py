"""Merge the parts of a run that were made on machines without a shared disk."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from worldeval.errors import UserError
from worldeval.evaluate.kept_starts import keep_starts, read_kept_starts
from worldeval.evaluate.truth import KEY, read_block, read_truth
from worldeval.record import Start
from worldeval.runs.manifest import Manifest, read_manifest, write_manifest
from worldeval.runs.origin import open_run, read_recipe
from worldeval.runs.paths import RunPaths
from worldeval.runs.store import Key, RolloutStore, check
from worldeval.runs.tables import write_table

SAME = 1e-4  # largest difference between probabilities of one episode explained by rounding


@dataclass(frozen=True, kw_only=True)
class Merged:
    """The result of a merge."""

    run: Path
    imagined: int  # episodes now in the run
    simulated: int
    twice: int  # episodes in more than one part, which agree


def merge(parts: Sequence[Path], out: Path) -> Merged:
    """Copy the parts into the run folder `out`, which may contain some of them already.

    Raises:
        UserError: the parts belong to different runs (world model, judge, protocol, seed, policy
            or start), or disagree on an episode.
    """
    runs = [*([out] if read_manifest(out) else []), *parts]
    manifest, starts = _agreed(runs)
    _check_outcomes(runs)
    first = runs[0]
    recipe = read_recipe(first)
    recipe["policies"] = [tried.ref for tried in manifest.policies.values()]
    tasks = [start.task for start in starts]
    recipe["starts"] = max(tasks.count(task) for task in set(tasks))
    open_run(out, recipe=recipe, seed=manifest.seed, command="merge", resume=True, free=recipe)
    write_manifest(out, manifest)
    keep_starts(out, starts)
    twice = 0
    for part in parts:
        twice += _copy_imagined(part, out)
        _copy_truth(part, out)
    return Merged(
        run=out,
        imagined=len(RolloutStore(RunPaths(out).imagined).done()),
        simulated=len(read_truth(RunPaths(out).truth)),
        twice=twice,
    )


def _agreed(runs: Sequence[Path]) -> tuple[Manifest, list[Start]]:
    """Merge the manifests and the starts of all parts."""
    agreed: Manifest | None = None
    starts: dict[str, Start] = {}
    for run in runs:
        manifest = read_manifest(run)
        if manifest is None:
            raise UserError(
                f"{run} is not part of a run: it has no manifest.json. Give the folders of `rank "
                "--num-shards`."
            )
        agreed = manifest if agreed is None else agreed.with_earlier(manifest, run, redo=False)
        for start in read_kept_starts(run):
            if not _equal(starts.setdefault(start.id, start), start):
                raise UserError(
                    f"{run} has another image or pose for the start {start.id} than "
                    f"{runs[0]}. Use the same starts file for every part: starts_file in the "
                    "recipe."
                )
    assert agreed is not None
    return agreed, list(starts.values())


def _check_outcomes(runs: Sequence[Path]) -> None:
    """Refuse two different outcomes of one episode, and invalid outcomes."""
    said: dict[Key, float] = {}
    measured: dict[tuple[str, str, int], int] = {}
    for run in runs:
        for key, probability in RolloutStore(RunPaths(run).imagined).done().items():
            if not math.isfinite(probability):
                raise UserError(
                    f"{run} gives policy {key[0]} from {key[1]} the probability {probability}: "
                    "exclude this part, or repeat its episode."
                )
            if abs(said.setdefault(key, probability) - probability) > SAME:
                raise UserError(
                    f"{run} says {probability:.6f} of policy {key[0]} from {key[1]}, another part "
                    f"{said[key]:.6f}. The parts disagree on this episode; exclude one of them."
                )
        for path in sorted(RunPaths(run).truth.glob("*.csv")):
            rows = read_block(path)
            names = rows[[*KEY, "success"]].itertuples(index=False, name=None)
            for policy, task, seed, success in names:
                if measured.setdefault((policy, task, seed), success) != success:
                    raise UserError(
                        f"{path} says that policy {policy} {_word(success)} on {task} with seed "
                        f"{seed}, another part that it {_word(1 - success)}. The parts disagree on "
                        "this episode; exclude one of them."
                    )


def _copy_imagined(part: Path, out: Path) -> int:
    """Copy files of the store; returns the number of episodes that existed before."""
    store, into = RolloutStore(RunPaths(part).imagined), RolloutStore(RunPaths(out).imagined)
    before = into.done().keys()
    twice = len(before & store.done().keys())
    for path in store.files():
        check(path)
        if not into.has(path.stem):
            into.add(path.stem, path.read_bytes())
    return twice


def _copy_truth(part: Path, out: Path) -> None:
    for path in sorted(RunPaths(part).truth.glob("*.csv")):
        target, rows = RunPaths(out).truth / path.name, read_block(path)
        if target.is_file():
            rows = pd.concat([read_block(target), rows]).drop_duplicates(KEY)
        write_table(target, rows)


def _word(success: int) -> str:
    return "succeeds" if success == 1 else "fails"


def _equal(one: Start, other: Start) -> bool:
    return (
        (one.task, one.seed) == (other.task, other.seed)
        and np.array_equal(one.pose, other.pose)
        and one.frames.keys() == other.frames.keys()
        and all(np.array_equal(one.frames[view], other.frames[view]) for view in one.frames)
    )
