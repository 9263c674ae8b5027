"""Train world models, judges and policies from Python; finished work is not repeated."""

import multiprocessing as mp
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from worldeval import recipe as recipes
from worldeval.api.load import Address
from worldeval.api.progress import Report, training_stages
from worldeval.api.run_folder import run_folder
from worldeval.data.table import read_table
from worldeval.data.weighted import Weighted, read_weighted, refuse_video
from worldeval.device import compiling, threads_each
from worldeval.errors import UserError
from worldeval.evaluate.first_passports import calibrated_passport
from worldeval.evaluate.recalibrate import Recalibrated, recalibrated
from worldeval.files import read_json
from worldeval.judge.fit import FittedJudge
from worldeval.judge.learn import learn_judge
from worldeval.judge.learned import save_calibration
from worldeval.policy.sets import as_set, train_set
from worldeval.policy.train import KeptCheckpoint
from worldeval.recipe import shipped
from worldeval.training.track import tracked
from worldeval.world.load import CARD, read_card
from worldeval.world.training.pipeline import train_base, train_fold
from worldeval.world.training.pipeline import train_world as train_final
from worldeval.world.training.prepare import FRAMES, TOKENIZER, prepare

DataArgument = Address | Weighted | Sequence[Address | Weighted | tuple[Address, float]]


@dataclass(frozen=True, kw_only=True)
class TrainedWorld:
    """A trained world model, and how well it replays held-out episodes."""

    folder: Path
    held_out_episodes: int
    tokenizer_psnr: float | None  # dB
    fidelity: Mapping[str, Any]  # horizon -> errors, replayed open loop


def train_world(
    data: DataArgument,
    out: Address,
    *,
    model: str = "latent",
    weak: Sequence[Address | Weighted] = (),
    latents: Sequence[Address] = (),
    settings: Mapping[str, Any] | None = None,
    track: Sequence[str] = (),
    jobs: int = 2,
    compile: bool = False,
    seed: int = 0,
    progress: bool = True,
) -> TrainedWorld:
    """Train a world model, and measure how well it replays held-out episodes.

    Repeating the call does only the missing work. `load_world(out)` loads the result.

    Args:
        data: folder of a dataset, or a list of folders for a mixture, optionally with weights:
            `["mine", ("others", 0.3)]`.
        out: folder for the world model.
        model: name or path of a model recipe.
        weak: datasets of policy roll-outs to add; a judge is later trained on them.
        latents: folders written by `worldeval data encode`, one for every dataset.
        settings: overrides of recipe keys, such as `{"trainer.steps": 100}`.
        track: trackers that training curves are sent to, such as `["tensorboard"]`.
        jobs: number of folds trained at the same time.
        compile: compile the networks; the course of training changes by rounding alone.
        seed: random seed.
        progress: whether to show progress.

    Returns:
        The folder of the world model, and its fidelity.

    Raises:
        UserError: the data or the recipe are invalid; nothing is written then.

    >>> import worldeval as we
    >>> trained = we.train_world(
    ...     "toy/data", "toy/trained", model="toy/model.yaml", settings={"trainer.steps": 2},
    ...     progress=False,
    ... )
    >>> sorted(trained.fidelity)
    ['h1', 'h5']
    """
    found = recipes.load(model, "model", settings)
    parts, folder = _parts(data), Path(out)
    weak, latents = _whole(weak), [Path(each) for each in latents]
    for path in (*(part.path for part in (*parts, *weak)), *latents):
        _must_exist(path)
    given = {"seed": seed, "latents": latents}
    # A tokenizer that came with latents was not trained here, so it is not a result.
    worthless = frozenset({TOKENIZER, FRAMES} if latents else {FRAMES})
    recipe = found.resolved()
    kept = {"recipe": recipe, "reread": found.reread, "worthless": worthless}
    with (
        compiling(compile),
        run_folder(folder, **kept, seed=seed, command="train"),
        _stages(progress) as shown,
        tracked(shown, track, folder, recipe=recipe) as report,
    ):
        say = _said if progress else (lambda text: None)
        prepared = prepare(found.config, parts, weak, folder, report=report, say=say, **given)
        shared = {"kind": found.kind, "seed": seed, "report": report}
        if len(prepared.weak):
            train_base(found.config, prepared, folder, **shared)
        if len(prepared.weak) and jobs > 1:  # otherwise the folds are trained here, in turn
            _in_parallel(
                found, parts, tuple(weak), folder, given, jobs=jobs, progress=progress, track=track
            )
        train_final(found.config, prepared, folder, **shared)
    card = read_json(folder / CARD)
    return TrainedWorld(
        folder=folder,
        held_out_episodes=len(prepared.held),
        tokenizer_psnr=card["tokenizer_psnr"],
        fidelity=card["fidelity"],
    )


def train_judge(
    world: Address,
    data: DataArgument,
    weak: Sequence[Address | Weighted],
    out: Address,
    *,
    recipe: str = "judge",
    text_encoder: Address | None = None,
    settings: Mapping[str, Any] | None = None,
    track: Sequence[str] = (),
    seed: int = 0,
    world_seed: int = 0,
    progress: bool = True,
) -> FittedJudge:
    """Train a judge, and calibrate it on families of policies that it was not trained on.

    Args:
        world: folder of a world model that was trained with `weak`; it holds folds.
        data: the data that the world model was trained on.
        weak: the roll-outs of policies that it was trained on.
        out: folder for the judge; `load_judge(out)` loads it.
        recipe: name or path of a judge recipe.
        text_encoder: folder of a text encoder by which the judge reads instructions; `ignore`
            judges without them. Default: known tasks by name.
        settings, track: as in `train_world`.
        world_seed: the seed of the world model's training.

    Returns:
        The networks, their calibration, and their accuracy on held-out policies.

    Raises:
        UserError: the data, the world model or the recipe are invalid; nothing is written then.

    >>> import worldeval as we
    >>> fitted = we.train_judge("runs/world", "runs/data", ["runs/weak"], "runs/judge")
    ... # doctest: +SKIP
    """
    own = {} if text_encoder is None else {"text": str(text_encoder)}
    found = recipes.load(recipe, "judge", {**(settings or {}), **own})
    parts, place, weak = _parts(data), Path(shipped(str(world))), _whole(weak)
    trained = read_card(place)["recipe"]
    if not weak and not trained.own_rollouts:
        raise UserError(
            "A judge learns from roll-outs of policies; give --weak DATASET. If there are none, "
            "train the world model with --set own_rollouts=0.5, which sets labelled recordings "
            "aside in their place."
        )
    folds = trained.folds
    for fold in range(folds):
        if not (place / f"fold-{fold}" / CARD).is_file():
            raise UserError(
                f"{world} contains no fold-{fold}, because it was trained without roll-outs of "
                "policies. Train it with --weak FOLDER first."
            )
    for part in (*parts, *weak):
        _must_exist(part.path)
    folder = Path(out)
    with (
        run_folder(
            folder, recipe=found.resolved(), reread=found.reread, seed=seed, command="judge train"
        ),
        _stages(progress) as shown,
        tracked(shown, track, folder, recipe=found.resolved()) as report,
    ):
        return learn_judge(
            found.config, place, parts, weak, folder,
            seed=seed, world_seed=world_seed, report=report,
        )  # fmt: skip


def calibrate_judge(judge: Address, runs: Sequence[Address], out: Address) -> Recalibrated:
    """Correct a judge's predicted rates with policies whose success was also measured.

    Only a slope and an offset per task are fitted; the networks and the order of policies on each
    task do not change. Use the result to judge other policies.

    Args:
        judge: folder of the judge, which is not changed.
        runs: folders of `rank` runs with truth and this judge.
        out: folder for the corrected judge.

    Returns:
        The calibration, and the mean error of a policy's rate on a task before and after.

    Raises:
        UserError: a run has no truth, or used another judge.

    >>> import worldeval as we
    >>> we.calibrate_judge("models/judge", ["runs/dev"], "runs/judge")  # doctest: +SKIP
    """
    place = Path(shipped(str(judge)))
    found = recalibrated(place, [Path(each) for each in runs])
    save_calibration(Path(out), place, found.calibration, learned_from=found.learned_from)
    calibrated_passport(found, [Path(each) for each in runs], place, Path(out))
    return found


def train_policies(
    recipe: str,
    data: DataArgument,
    out: Address,
    *,
    settings: Mapping[str, Any] | None = None,
    track: Sequence[str] = (),
    seed: int = 0,
    jobs: int = 1,
    done: Callable[[int, int], None] | None = None,
) -> list[KeptCheckpoint]:
    """Train the lineages of a policy recipe by imitation, and keep checkpoints during training.

    Args:
        recipe: name or path of a policy or policy-set recipe.
        data: datasets of demonstrations, in any format.
        out: folder for the checkpoints, `out/LINEAGE/step-N`. Finished lineages are kept.
        settings, track: as in `train_world`; every lineage is tracked as its own run.
        jobs: number of lineages trained at the same time.
        done: function that is called with the number of finished lineages and their total.

    Returns:
        Every checkpoint with its folder and card, in the recipe's order.

    Raises:
        UserError: the data or the recipe are invalid; nothing is written then.

    >>> import worldeval as we
    >>> made = we.train_policies("toy/policy.yaml", "toy/data", "toy/bc")
    >>> [(kept.card.lineage, kept.card.step) for kept in made]
    [('policy', 2)]
    """
    found = recipes.load(recipe, "policy", settings)
    lineages, folder = as_set(found.name, found.config), Path(out)
    parts = _parts(data)
    refuse_video(parts, "policy", learns_video=False)
    if weighed := [part for part in parts if part.weight != 1]:
        raise UserError(
            f"{weighed[0].path} has the weight {weighed[0].weight:g}, but policies learn from all "
            "demonstrations equally. Omit the weight."
        )
    read_table(*parts)  # report a wrong folder before the run folder is made
    order = [lineage.name for lineage in lineages.lineages]
    made: list[KeptCheckpoint] = []
    with run_folder(
        folder, recipe=found.resolved(), reread=found.reread, seed=seed, command="policy train"
    ):
        trained = train_set(lineages, parts, folder, seed=seed, jobs=jobs, track=track)
        for count, checkpoints in enumerate(trained, 1):
            made += checkpoints
            if done is not None:
                done(count, len(order))
    return sorted(made, key=lambda kept: (order.index(kept.card.lineage), kept.card.step))


def _parts(data: DataArgument) -> list[Weighted]:
    given = [data] if isinstance(data, str | Path | Weighted) else list(data)
    return [_part(each) for each in given]


def _part(one: Address | Weighted | tuple[Address, float]) -> Weighted:
    if isinstance(one, Weighted):
        return one
    if isinstance(one, tuple):
        return Weighted(path=Path(one[0]), weight=float(one[1]))
    return read_weighted(str(one))


def _whole(data: Sequence[Address | Weighted]) -> list[Weighted]:
    return [each if isinstance(each, Weighted) else Weighted(path=Path(each)) for each in data]


def _must_exist(path: Path) -> None:
    if not path.exists():
        raise UserError(f"There is no dataset at {path}: the path does not exist.")


def _said(text: str) -> None:
    Console(stderr=True, markup=False, highlight=False).print(text, soft_wrap=True)


@contextmanager
def _stages(progress: bool) -> Iterator[Report]:
    if not progress:
        yield lambda stage, steps=None: lambda step, loss: None
        return
    with training_stages(Console(stderr=True, markup=False)) as report:
        yield report


def _in_parallel(
    found: recipes.Recipe,
    parts: Sequence[Weighted],
    weak: tuple[Weighted, ...],
    folder: Path,
    given: dict[str, Any],
    *,
    jobs: int,
    progress: bool,
    track: Sequence[str],
) -> None:
    """Train the folds, each in its own process with its share of the threads."""
    jobs = min(jobs, found.config.folds, os.cpu_count() or 1)
    threads = threads_each(jobs)
    with ProcessPoolExecutor(jobs, mp_context=mp.get_context("spawn")) as pool:
        futures = [
            pool.submit(_fold, found, parts, weak, folder, given, fold, threads, progress, track)
            for fold in range(found.config.folds)
        ]
        for future in futures:
            future.result()


def _fold(
    found: recipes.Recipe,
    parts: Sequence[Weighted],
    weak: tuple[Weighted, ...],
    folder: Path,
    given: dict[str, Any],
    fold: int,
    threads: int,
    progress: bool,
    track: Sequence[str],
) -> None:
    import torch

    torch.set_num_threads(threads)
    console = Console(stderr=True, markup=False, quiet=not progress)
    own = {"folder": folder / f"fold-{fold}", "recipe": found.resolved()}
    with training_stages(console, lines=True) as shown, tracked(shown, track, **own) as report:
        prepared = prepare(found.config, parts, weak, folder, report=report, **given)
        shared = {"kind": found.kind, "seed": given["seed"], "report": report}
        train_fold(found.config, prepared, folder, fold=fold, **shared)
