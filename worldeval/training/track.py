"""Send training curves to a tracker: TensorBoard, Weights & Biases, trackio, or any in accelerate.

A command has one run, and each stage of its training (tokenizer, kinematics, dynamics of a fold)
has one curve in it. Stages follow each other on the step axis, because trackers expect increasing
steps.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import tracking

from worldeval.errors import UserError, did_you_mean
from worldeval.training.optimise import Progress, Report
from worldeval.training.processes import this_process

FOLDER = "tracking"  # within the run folder, for trackers that write files
PROJECT = "worldeval"


@contextmanager
def tracked(
    report: Report, trackers: Sequence[str], folder: Path, *, recipe: Mapping[str, Any]
) -> Iterator[Report]:
    """Wrap `report` to send losses to the `trackers` as well; they are closed at the end.

    Args:
        folder: the run folder, whose name becomes the run's.
        recipe: the training recipe as plain data, stored with the curves.

    Raises:
        UserError: a tracker is unknown, or its package is not installed.
    """
    with opened_trackers(trackers, folder, facts=recipe) as opened:
        begin = 0

        def tracking_too(stage: str, steps: int) -> Progress:
            nonlocal begin
            first, shown = begin, report(stage, steps)
            begin += steps

            def progress(step: int, loss: float) -> None:
                shown(step, loss)
                for each in opened:
                    each.log({f"{stage}/loss": loss}, step=first + step)

            return progress

        yield tracking_too if opened else report


@contextmanager
def opened_trackers(
    trackers: Sequence[str], folder: Path, *, facts: Mapping[str, Any]
) -> Iterator[list[Any]]:
    """Open accelerate's `trackers`, which have `log(values, step=...)`; they are closed at the end.

    Args:
        folder: the run folder, whose name becomes the run's.
        facts: plain data that is stored with the run.

    Raises:
        UserError: a tracker is unknown, or its package is not installed.
    """
    opened = [_opened(name, folder) for name in dict.fromkeys(trackers)]
    for each in opened:
        each.store_init_configuration(_flat(facts))
    try:
        yield opened
    finally:
        for each in opened:
            each.finish()


def _opened(name: str, folder: Path) -> Any:
    known = {str(key): kind for key, kind in tracking.LOGGER_TYPE_TO_CLASS.items()}
    if name not in known:
        raise UserError(
            f"There is no tracker '{name}' (there are: {', '.join(sorted(known))})."
            f"{did_you_mean(name, known)}"
        )
    if name not in {str(each) for each in tracking.get_available_trackers()}:
        raise UserError(f"--track {name} needs its package: pip install {name.replace('_', '-')}")
    this_process()  # trackers ask accelerate which process they are in
    kind = known[name]
    where = {"logging_dir": folder / FOLDER} if kind.requires_logging_directory else {}
    tracker = kind(folder.name if where else PROJECT, **where)
    tracker.start()
    return tracker


def _flat(recipe: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Flatten numbers, booleans and texts to dotted keys, which every tracker can store."""
    out: dict[str, Any] = {}
    for key, value in recipe.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping):
            out |= _flat(value, f"{name}.")
        else:
            out[name] = value if isinstance(value, bool | int | float | str) else str(value)
    return out
