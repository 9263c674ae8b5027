# pandas types a cell as anything that a table can hold.
# pyright: reportArgumentType=false
"""Make the passport of a world model and a judge from a finished, validated run."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from worldeval import __version__
from worldeval.errors import UserError
from worldeval.evaluate.analysis import paired_starts
from worldeval.evaluate.kept_starts import read_kept_starts
from worldeval.evaluate.known import cells_of, rates_of, read_old_rates
from worldeval.evaluate.start_scope import halves, start_scope
from worldeval.evaluate.validated import FAILED, read_compared
from worldeval.files import read_object
from worldeval.judge.learned import CARD as JUDGE_CARD
from worldeval.judge.learned import WEIGHTS
from worldeval.judge.load import judge_hash
from worldeval.recipe import shipped
from worldeval.report.passport import write_passport_page
from worldeval.rollout.starts import read_starts
from worldeval.runs.origin import read_recipe
from worldeval.runs.passport import (
    FRAMES,
    PAGE,
    ActionScope,
    CameraScope,
    HashedFile,
    Passport,
    PassportModel,
    PassportScope,
    PassportValidation,
    StartScope,
    find_passport,
    write_passport,
)
from worldeval.runs.passport_files import hashed_file
from worldeval.runs.paths import IMAGINED, TRUTH, RunPaths
from worldeval.runs.store import RolloutStore
from worldeval.runs.summary import Summary
from worldeval.runs.tables import read_side
from worldeval.stats import Estimate, ValidatedRates
from worldeval.world.load import CARD as WORLD_CARD
from worldeval.world.load import DYNAMICS, load_world, read_card, world_hash
from worldeval.world.protocol import WorldSpec
from worldeval.world.training.prepare import TOKENIZER

MEASURES = ("pearson", "spearman", "kendall", "mmrv", "pairwise_accuracy", "top1_regret")


@dataclass(frozen=True, kw_only=True)
class PassportRequest:
    """What a passport is made from, besides the run."""

    world: Path | None = None  # folders; None: those of the run
    judge: Path | None = None
    starts: Path | None = None  # a file of further held-out starts
    card: Path | None = None  # a description of the data
    keep_rates: bool = False  # phi stays as it is: this run's policies add nothing to it
    made: datetime = field(default_factory=lambda: datetime.now(UTC))
    seed: int = 0


def make_passport(run: Path, request: PassportRequest) -> tuple[Path, Passport]:
    """Write the passport of a run's world model and judge to the judge's folder.

    What an earlier passport of the same pair holds is kept where this run adds nothing to it: the
    rates of other lineages, and the start frames unless `request.starts` is given.

    Returns:
        The judge's folder and the passport.

    Raises:
        UserError: the run was not compared with truth, its models changed or are missing, or
            `keep_rates` is given and there are none.
    """
    summary = read_compared(run)
    world = request.world or _folder(summary.world.folder if summary.world else "", run, "--world")
    judge = request.judge or _folder(summary.judge.folder if summary.judge else "", run, "--judge")
    hashes = {"world": world_hash(world), "judge": judge_hash(judge)}
    summary = read_compared(run, **hashes)
    if summary.agreement is None:
        raise UserError(f"{run} was compared with truth for too few policies (at least 3).")
    spec: WorldSpec = read_card(world)["spec"]
    recipe, before = read_recipe(run), _earlier(judge, hashes)
    steps = summary.world.sampler_steps if summary.world else None
    alike = before is None or _same_settings(before.scope, recipe, steps)
    known = _rates(run, judge, before, summary.tasks, alike=alike, keep=request.keep_rates)
    truth = read_side(run, TRUTH, needed=("policy", "task", "lineage"))
    measured = {str(name) for name in truth["lineage"]} - {""}
    fitted = {rate.lineage for rate in known.rates.rates} if known.rates else set()
    given = read_starts(request.starts) if request.starts else []
    scope = PassportScope(
        tasks=tuple(sorted(summary.tasks)),
        lineages=tuple(sorted(measured | fitted)),
        cameras=CameraScope(views=spec.views, height=spec.size[0], width=spec.size[1]),
        fps=spec.fps,
        horizon=recipe.get("horizon"),
        replan_every=recipe.get("replan_every"),
        sampler_steps=steps,
        actions=_actions(run, spec),
        starts=_starts(run, world, judge, given, before, seed=request.seed),
    )
    pairs = _pairs(run)
    passport = Passport(
        made=request.made.isoformat(timespec="seconds"),
        worldeval=__version__,
        world=PassportModel(
            folder=os.path.relpath(world.resolve(), judge.resolve()),
            hash=hashes["world"],
            kind=str(read_object(world / WORLD_CARD).get("kind", "")),
        ),
        judge=PassportModel(folder=".", hash=hashes["judge"]),
        scope=scope,
        validation=_validation(run, summary, starts=len(pairs)),
        phi=phi_of(known.rates),
        rates=known.rates,
        cells=known.cells,
        gates=summary.gates,
        **judge_facts(judge),
        files=files_of(world, judge, evidence=_evidence(run, recipe, request)),
    )
    return judge, keep(judge, passport)


def keep(judge: Path, passport: Passport) -> Passport:
    """Write a passport and its page to a judge's folder."""
    passport = write_passport(judge, passport)
    write_passport_page(passport, judge / PAGE)
    return passport


def judge_facts(judge: Path) -> dict[str, Any]:
    """Return what a judge's card says about its quality, as fields of a passport."""
    card = read_object(judge / JUDGE_CARD)
    return {
        "judge_quality": card.get("left_out_families") or {},
        "uncalibrated": bool(card.get("uncalibrated", False)),
    }


def files_of(
    world: Path, judge: Path, *, evidence: Sequence[tuple[str, Path]] = ()
) -> tuple[HashedFile, ...]:
    """Hash the files of a world model and a judge, and the evidence about them."""
    named = [
        ("world card", world / WORLD_CARD),
        ("tokenizer", world / TOKENIZER),
        ("dynamics", world / DYNAMICS),
        ("judge card", judge / JUDGE_CARD),
        ("judge weights", judge / WEIGHTS),
        ("start frames", judge / FRAMES),
        *evidence,
    ]
    return tuple(hashed_file(role, path, judge) for role, path in named if path.is_file())


@dataclass(frozen=True, kw_only=True)
class _Known:
    rates: ValidatedRates | None
    cells: ValidatedRates | None


def _folder(named: str, run: Path, option: str) -> Path:
    path = Path(shipped(named)) if named else Path()
    if not named or not path.is_dir():
        raise UserError(f"{run} names no existing folder ('{named}'). Give {option} FOLDER.")
    return path


def _earlier(judge: Path, hashes: dict[str, str]) -> Passport | None:
    """Return the judge's earlier passport, if it speaks of the same world model and judge."""
    before = find_passport(judge)
    if before is None or before.world.hash != hashes["world"]:
        return None
    return before if before.judge.hash == hashes["judge"] else None


def _same_settings(scope: PassportScope, recipe: Mapping[str, Any], steps: int | None) -> bool:
    """Whether rates of an earlier passport were imagined with the settings of this run."""
    told = [(getattr(scope, key), recipe.get(key)) for key in ("horizon", "replan_every")]
    return scope.sampler_steps == steps and all(a is None or a == b for a, b in told)


def _rates(
    run: Path,
    judge: Path,
    before: Passport | None,
    tasks: Sequence[str],
    *,
    alike: bool,
    keep: bool,
) -> _Known:
    """Collect validated rates: earlier ones of the same tasks, and this run's other lineages.

    Earlier rates count only if they were imagined with the same settings (`alike`).

    Rates of lineages that the judge was corrected on are not used unless they were left out of the
    correction, as those stored by `judge calibrate` were.
    """
    card = read_object(judge / JUDGE_CARD)
    learned = set((card.get("calibrated_on") or {}).get("lineages", ()))
    rates = cells = None
    if before is not None and alike and set(before.scope.tasks) == set(tasks):
        rates, cells = before.rates, before.cells
    elif before is None and set(card.get("tasks", ())) == set(tasks):
        rates = read_old_rates(judge)  # without tasks: those that the judge knows
    if keep:
        if rates is None:
            raise UserError(
                f"{judge} holds no validated rates of these tasks and settings to keep."
            )
        return _Known(rates=rates, cells=cells)
    earlier = {rate.lineage for rate in rates.rates} if rates else set()
    pairs = _pairs(run)
    fresh = pairs[~pairs["lineage"].isin(earlier | learned)]
    corrected = bool(learned) and (rates is None or rates.corrected)
    if fresh.empty:
        return _Known(rates=rates, cells=cells)
    new = ValidatedRates(rates=rates_of(fresh), corrected=corrected)
    if rates is None:
        each = ValidatedRates(rates=cells_of(fresh), corrected=corrected)
        return _Known(rates=new, cells=each)
    each = ValidatedRates(rates=cells_of(fresh), corrected=corrected)
    return _Known(rates=rates + new, cells=cells + each if cells else None)


def _pairs(run: Path) -> Any:
    """Return a row for each policy and start that was both imagined and tried."""
    key = ("policy", "task", "start")
    imagined = read_side(run, IMAGINED, needed=(*key, "lineage", "score"))
    truth = read_side(run, TRUTH, needed=(*key, "success"))
    return paired_starts(imagined, truth[[*key, "success"]])


def phi_of(rates: ValidatedRates | None) -> Estimate | None:
    """Estimate the trials that an imagined rate is worth; None with fewer than three lineages."""
    worth = rates.worth() if rates is not None else None
    return worth.trials if worth is not None else None


def _actions(run: Path, spec: WorldSpec) -> ActionScope:
    found = [actions for _, actions in RolloutStore(RunPaths(run).imagined).actions()]
    low = np.min([actions.min(0) for actions in found], axis=0) if found else np.array([])
    high = np.max([actions.max(0) for actions in found], axis=0) if found else np.array([])
    return ActionScope(
        size=spec.action_dim,
        meaning=spec.space,
        low=tuple(np.round(low.astype(float), 6).tolist()),
        high=tuple(np.round(high.astype(float), 6).tolist()),
    )


def _starts(
    run: Path, world: Path, judge: Path, given: Sequence[Any], before: Passport | None, *, seed: int
) -> StartScope | None:
    if before is not None and before.scope.starts is not None and not given:
        return before.scope.starts
    rng = np.random.default_rng(seed)
    own = read_kept_starts(run)
    fitting, held_out = halves([*own, *given], rng=rng)
    source = f"half of {len(own)} starts of the run and {len(given)} further ones"
    model = load_world(world)
    found = start_scope(model, fitting, held_out, judge, source=source, rng=rng)
    if found is None:
        (judge / FRAMES).unlink(missing_ok=True)
    return found


def _validation(run: Path, summary: Summary, *, starts: int) -> PassportValidation:
    table = read_side(run, TRUTH, needed=("policy",))
    written = datetime.fromtimestamp(RunPaths(run).summary.stat().st_mtime, UTC)
    named = {name: getattr(summary.agreement, name) for name in MEASURES}
    return PassportValidation(
        run=run.resolve().name,
        date=written.isoformat(timespec="seconds"),
        policies=len(set(table["policy"])),
        starts=starts,
        agreement={name: one for name, one in named.items() if one is not None},
        refusals=tuple(found for found in summary.refusals if found.code in FAILED),
    )


def _evidence(
    run: Path, recipe: dict[str, Any], request: PassportRequest
) -> list[tuple[str, Path]]:
    paths = RunPaths(run)
    found = [("starts", paths.starts), ("protocol", paths.recipe), ("summary", paths.summary)]
    if recipe.get("replays"):
        found.append(("replays", Path(shipped(recipe["replays"]))))
    if request.starts:
        found.append(("held-out starts", request.starts))
    if request.card:
        if not request.card.is_file():
            raise UserError(f"There is no data card {request.card}.")
        found.append(("data card", request.card))
    return found
