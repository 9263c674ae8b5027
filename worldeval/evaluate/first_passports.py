# pandas types a cell as anything that a table can hold.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
"""Passports of new judges: of one that was just trained, and of one that was just corrected."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from worldeval import __version__
from worldeval.evaluate.known import cells_of, rates_of
from worldeval.evaluate.passport import MEASURES, files_of, judge_facts, keep, phi_of
from worldeval.evaluate.recalibrate import Recalibrated
from worldeval.evaluate.start_scope import start_scope
from worldeval.evaluate.validated import FAILED
from worldeval.judge.load import judge_hash
from worldeval.recipe import shipped
from worldeval.record import Start
from worldeval.runs.origin import read_recipe
from worldeval.runs.passport import (
    FRAMES,
    ActionScope,
    CameraScope,
    Passport,
    PassportModel,
    PassportScope,
    PassportValidation,
    find_passport,
)
from worldeval.runs.paths import RunPaths
from worldeval.runs.summary import find_summary
from worldeval.stats import Estimate, ValidatedRates, agreement, from_frame
from worldeval.world.load import load_world, read_card, world_hash
from worldeval.world.protocol import WorldSpec


def lab_passport(
    world: Path,
    judge: Path,
    *,
    fitting: Sequence[Start],
    held_out: Sequence[Start],
    horizon: int,
    gates: Mapping[str, Estimate],
    evidence: Sequence[tuple[str, Path]] = (),
    seed: int = 0,
) -> Passport:
    """Write the passport of a world model and a judge that nothing was compared with yet.

    Args:
        world, judge: their folders.
        fitting: starts of training episodes, to which start frames are fitted.
        held_out: starts of held-out episodes, which fix the false-alarm rate.
        horizon: world frames of an episode.
        gates: results of replayed recordings.
        evidence: further files to hash, by role.
    """
    card = read_card(world)
    spec: WorldSpec = card["spec"]
    starts = start_scope(
        load_world(world),
        fitting,
        held_out,
        judge,
        source="first frames of training episodes",
        rng=np.random.default_rng(seed),
    )
    passport = Passport(
        made=_now(),
        worldeval=__version__,
        world=PassportModel(
            folder=_relative(world, judge), hash=world_hash(world), kind=str(card["kind"])
        ),
        judge=PassportModel(folder=".", hash=judge_hash(judge)),
        scope=PassportScope(
            tasks=tuple(sorted({start.task for start in held_out})),
            cameras=CameraScope(views=spec.views, height=spec.size[0], width=spec.size[1]),
            fps=spec.fps,
            horizon=horizon,
            actions=ActionScope(size=spec.action_dim, meaning=spec.space),
            starts=starts,
        ),
        gates=gates,
        **judge_facts(judge),
        files=files_of(world, judge, evidence=evidence),
    )
    return keep(judge, passport)


def calibrated_passport(
    found: Recalibrated, runs: Sequence[Path], source: Path, judge: Path
) -> Passport:
    """Write the passport of a corrected judge: rates of lineages that its correction left out.

    What the passport of the judge before its correction says of cameras and start frames is kept.

    Args:
        found: the correction, already saved in `judge`.
        runs: the runs that it was fitted to.
        source: the folder of the judge before its correction.
        judge: the folder of the corrected judge.
    """
    pairs = found.pairs
    rates = ValidatedRates(rates=rates_of(pairs, "left_out"), corrected=True)
    tasks = tuple(sorted({str(task) for task in pairs["task"]}))
    lineages = tuple(found.learned_from["lineages"])
    before = find_passport(source)
    scope = before.scope if before is not None else PassportScope(tasks=tasks)
    if before is not None and (source / FRAMES).is_file():
        shutil.copyfile(source / FRAMES, judge / FRAMES)
    world = _world_of(runs)
    passport = Passport(
        made=_now(),
        worldeval=__version__,
        world=replace(world, folder=_relative(Path(world.folder), judge) if world.folder else ""),
        judge=PassportModel(folder=".", hash=judge_hash(judge)),
        scope=replace(scope, tasks=tasks, lineages=lineages, **_settings_of(runs)),
        validation=_validation(found, runs),
        phi=phi_of(rates),
        rates=rates,
        cells=ValidatedRates(rates=cells_of(pairs, "left_out"), corrected=True),
        gates=before.gates if before is not None else {},
        **judge_facts(judge),
        files=files_of(Path(world.folder) if world.folder else judge, judge),
    )
    return keep(judge, passport)


def _validation(found: Recalibrated, runs: Sequence[Path]) -> PassportValidation:
    """Measure the agreement of rates whose lineage the correction left out."""
    key = ["policy", "task", "start", "lineage"]
    predicted = found.pairs[key].assign(score=found.pairs["left_out"])
    agreed = agreement(
        from_frame(predicted, source="corrected outcomes", without_text=True),
        from_frame(found.pairs[[*key, "success"]], source="true outcomes", without_text=True),
        rng=np.random.default_rng(0),
    )
    return PassportValidation(
        run=", ".join(run.resolve().name for run in runs),
        date=_now(),
        policies=len(set(found.pairs["policy"])),
        starts=len(found.pairs),
        agreement={name: getattr(agreed, name) for name in MEASURES},
        refusals=tuple(one for one in agreed.findings if one.code in FAILED),
    )


def _world_of(runs: Sequence[Path]) -> PassportModel:
    """Return the world model of the runs; without a folder if it is not there any more."""
    summaries = [find_summary(run) for run in runs]
    used = [one.world for one in summaries if one is not None and one.world is not None]
    hashes = {one.hash or "" for one in used}
    if len(hashes) != 1:  # unknown, or several: no single one was validated
        return PassportModel(folder="", hash="")
    folder = Path(shipped(used[0].folder)) if used[0].folder else None
    there = folder is not None and folder.is_dir() and world_hash(folder) in hashes
    return PassportModel(folder=str(folder) if there else "", hash=hashes.pop())


def _settings_of(runs: Sequence[Path]) -> dict[str, Any]:
    """Return the settings with which all runs were imagined; None for those that differ."""
    recipes = [read_recipe(run) for run in runs if RunPaths(run).recipe.is_file()]
    if not recipes:
        return {}
    out = {}
    for key in ("horizon", "replan_every", "sampler_steps"):
        values = {recipe.get(key) for recipe in recipes}
        out[key] = values.pop() if len(values) == 1 else None
    return out


def _relative(folder: Path, to: Path) -> str:
    return os.path.relpath(folder.resolve(), to.resolve())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
