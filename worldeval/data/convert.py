"""Conversion between dataset formats, one episode at a time and resumable."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from worldeval.data.finding import DataError, DataFinding, skipped
from worldeval.data.formats.lerobot.layout import FileLimits, Layout
from worldeval.data.formats.lerobot.write import LeRobotWriter
from worldeval.data.formats.robomimic.write import RobomimicWriter
from worldeval.data.formats.shards.write import ShardsWriter
from worldeval.data.frame_times import row_rate, same_rate, wrong_rate
from worldeval.data.kept_meaning import fitting
from worldeval.data.source import Head, Rows, Source, SourceSpec
from worldeval.data.stacked_steps import StackedSteps
from worldeval.data.writer import Shape, Writer
from worldeval.errors import UserError, did_you_mean

FORMATS = ("lerobot", "robomimic", "shards")


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What was written, and which episodes were excluded."""

    out: Path
    format: str
    episodes: int
    frames: int
    skipped: list[DataFinding]


def convert(
    source: Source,
    out: Path,
    *,
    to: str,
    views: tuple[str, ...] | None = None,
    split: str | None = None,
    skip_damaged: bool = False,
    limits: FileLimits | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Converted:
    """Write every episode of `source` to `out`, with what its columns mean.

    Args:
        split: write only the episodes of this split of the dataset.
        skip_damaged: exclude and report unreadable episodes instead of stopping.
        limits: sizes at which new files begin (LeRobot only).
        progress: called with (episodes done, all episodes).

    Raises:
        DataError: an episode cannot be read; episodes already written are kept for the next run.
        UserError: the actions of several steps are stacked and the meaning of their columns is
            known, which would be lost.
    """
    spec = source.spec
    _check_meaning(source)
    chosen = source.choose(views)
    shape = Shape(
        fps=spec.fps,
        views={view: spec.views[view] for view in chosen},
        action_names=spec.action_names,
        pose_names=spec.pose_names,
        meaning=fitting(spec.meaning, action=spec.action_names, pose=spec.pose_names),
    )
    left_out = [finding for finding in source.findings if finding.code == "episode-skipped"]
    if left_out and not skip_damaged:
        raise UserError(
            f"{len(left_out)} of {len(left_out) + len(source)} episodes cannot be read; the first: "
            f"{left_out[0].text} Repair them, or exclude them with --skip-damaged."
        )
    chosen_episodes = _of_split(source, split)
    origin = _origin(source) + (f" split {split}" if split else "")
    writer = open_writer(out, shape, to=to, origin=origin, limits=limits)
    episodes = frames = 0
    for done, index in enumerate(chosen_episodes):
        head = source.heads[index]
        try:
            if not writer.has(index):
                rows = source.rows(index)
                _check_rate(rows, head, spec)
                writer.add_parts(
                    head,
                    rows,
                    {view: source.blocks(index, view) for view in chosen},
                    place=index,
                )
            episodes, frames = episodes + 1, frames + head.length
        except DataError as error:
            if not skip_damaged:
                raise
            left_out.append(skipped(head.id, error))
        if progress is not None:
            progress(done + 1, len(chosen_episodes))
    writer.finish()
    return Converted(out=out, format=to, episodes=episodes, frames=frames, skipped=left_out)


def open_writer(
    out: Path,
    shape: Shape,
    *,
    to: str,
    origin: str = "",
    robot: str = "unknown",
    limits: FileLimits | None = None,
    fresh: bool = False,
) -> Writer:
    """Open the writer of a format; with `fresh`, an interrupted conversion is not continued."""
    if not shape.pose_names:
        raise UserError(
            "The episodes have no pose, but every output format needs one. Name the array that "
            "holds it in a map (--map, key pose: keys:)."
        )
    if to == "lerobot":
        layout = Layout(**vars(shape), robot=robot, limits=limits or FileLimits())
        return LeRobotWriter(out, layout, origin=origin, fresh=fresh)
    if to == "robomimic":
        return RobomimicWriter(out, shape, origin=origin, fresh=fresh)
    if to == "shards":
        return ShardsWriter(out, shape, origin=origin, fresh=fresh)
    raise UserError(f"Unknown output format '{to}'.{did_you_mean(to, FORMATS)}")


def _check_meaning(source: Source) -> None:
    """A stacked action says what one step's columns mean only together with the number of steps,
    which no format stores; read back, its columns would be numbers without a meaning."""
    if not isinstance(source, StackedSteps):
        return
    said = [group for group in source.spec.meaning.action if not group.guessed]
    known = [name for group in said if group.means != "other" for name in group.names]
    if known:
        raise UserError(
            f"Writing frames of {source.steps} steps would lose the meaning of the action's "
            f"columns ({', '.join(known)}), because no format holds it for stacked actions. "
            "Convert every step (without --every, --fps or every: in the map), and stack them when "
            f"the dataset is read: every: {source.steps} in a map, or --every {source.steps} of "
            "learn, train, judge train and starts."
        )


def _check_rate(rows: Rows, head: Head, spec: SourceSpec) -> None:
    rate = None if rows.times is None else row_rate(rows.times)
    if rate is not None and not same_rate(rate, spec.fps):
        raise DataError(spec.path, f"timestamp of episode {head.id}", wrong_rate(rate, spec.fps))


def _of_split(source: Source, split: str | None) -> list[int]:
    splits = {head.split for head in source.heads}
    if split is not None and split not in splits:
        raise UserError(
            f"{source.spec.path} has no episode in the split '{split}'."
            f"{did_you_mean(split, splits)}"
        )
    return [i for i, head in enumerate(source.heads) if split in (None, head.split)]


def _origin(source: Source) -> str:
    return f"{source.spec.format} {source.spec.path.resolve()} {len(source)} episodes"
