"""Export the imagined episodes of a run as a training dataset."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from worldeval import __version__
from worldeval.api.load import Address
from worldeval.api.push import push as push_folder
from worldeval.api.result import Result
from worldeval.data.source import Source, open_source
from worldeval.errors import UserError, did_you_mean
from worldeval.export.dataset import FORMAT_NAMES, export_episodes
from worldeval.export.imagined import CALLED, open_imagined
from worldeval.export.mix import of_training, recorded_count, recorded_episodes
from worldeval.export.refusals import card_section, refusals_of
from worldeval.recipe import shipped
from worldeval.world.load import load_world, read_card

RunArgument = Address | Result
Shown = Callable[[Iterable[Any], int], Iterable[Any]]  # episodes and how many: with progress


@dataclass(frozen=True, kw_only=True)
class ExportedRun:
    """A summary of the written dataset."""

    out: Path
    episodes: int
    frames: int
    successes: int
    imagined: int  # imagined episodes among them
    of: int  # imagined episodes that the run holds
    recorded: int  # recorded episodes among them
    pushed: str | None = None  # its address on the hub, if it was uploaded


def export(
    run: RunArgument,
    out: Address | None = None,
    *,
    select: str | None = None,
    to: str = "lerobot",
    world: Address | None = None,
    mix: Address | Source | None = None,
    ratio: float = 0.5,
    license: str | None = None,
    despite_refusals: bool = False,
    push: str | None = None,
    private: bool = False,
    seed: int = 0,
    shown: Shown | None = None,
) -> ExportedRun:
    """Write imagined episodes as a dataset, each with the judge's verdict and its provenance.

    Args:
        run: a run folder, or a result.
        out: a folder, or a `.hdf5` file for robomimic. Default: `RUN/dataset`.
        select: episodes to keep, such as `"success and probability > 0.8"`: an expression over
            success, probability, trust, disagreement, mended_actions (the share of clipped
            actions), reached, policy, lineage, step, task, start and seed, with and, or, not.
            Default: all.
        to: `lerobot` (v3) or `robomimic`.
        world: folder of the world model, if it has moved since the run.
        mix: recorded data to mix in: the path of a dataset, or a dataset from `open_dataset`.
        ratio: share of recorded episodes, with `mix`.
        license: licence for the dataset card.
        despite_refusals: write the dataset although checks of the run refused its episodes or their
            labels. The card names every refusal either way.
        push: repository on the Hugging Face Hub, `user/name`, to which the dataset is uploaded.
        private: make a new repository private.
        seed: random seed for the choice of recorded episodes.
        shown: function that wraps the episodes to show progress.

    Returns:
        A summary of the written dataset.

    Raises:
        UserError: nothing is selected, the run is unfinished, its checks refused the episodes or
            their labels, or the format is unknown. Nothing is written then.

    >>> import worldeval as we
    >>> done = we.export("toy/run", "toy/exported", select="policy == 'a/step-1'")
    >>> done.episodes, done.of
    (6, 12)
    """
    if to not in FORMAT_NAMES:
        raise UserError(f"There is no export format '{to}'.{did_you_mean(to, FORMAT_NAMES)}")
    folder = run.folder if isinstance(run, Result) else Path(run)
    default = folder / ("dataset.hdf5" if to == "robomimic" else "dataset")
    target = default if out is None else Path(out)
    imagined = open_imagined(folder, None if world is None else Path(shipped(str(world))))
    read_card(imagined.world)
    refusals = refusals_of(folder, despite=despite_refusals)
    records = imagined.select(select)
    every = len(imagined.records())
    if not records:
        raise UserError(
            f"--select {select!r} keeps none of {every} roll-outs. Use a less strict --select."
        )
    source = open_source(Path(mix)) if isinstance(mix, str | Path) else mix
    model = load_world(imagined.world)
    episodes, total = imagined.episodes(records, model), len(records)
    if source is not None:
        count = recorded_count(len(records), ratio, len(of_training(source)))
        rng = np.random.default_rng(seed)
        episodes = chain(episodes, recorded_episodes(source, model.spec, count, rng))
        total += count
    done = export_episodes(
        episodes if shown is None else shown(episodes, total),
        target,
        to=to,
        signals=[name for name in records[0] if name not in ("success", "task")],
        facts={
            "made_by": f"worldeval {__version__}",
            "run": folder.resolve().name,
            "world_model": f"{imagined.world.name} ({records[0]['world_model']})",
            "judge": records[0]["judge"],
            "success_from_probability": CALLED,
            "select": select or "all",
            "kept": f"{len(records)} of {every}",
            "refused_by_checks": "not checked"
            if refusals is None
            else ", ".join(found.code for found in refusals) or "nothing",
            "mixed_in": f"{total - len(records)} episodes of {source.spec.path.resolve().name}"
            if source is not None
            else "none",
        },
        checks=card_section(refusals),
        license=license,
    )
    pushed = None
    if push is not None:
        pushed = push_folder(done.out, push, private=private).address
    return ExportedRun(
        out=done.out,
        episodes=done.episodes,
        frames=done.frames,
        successes=done.successes,
        imagined=len(records),
        of=every,
        recorded=total - len(records),
        pushed=pushed,
    )
