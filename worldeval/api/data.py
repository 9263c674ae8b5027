"""Open, inspect, check and convert datasets of recorded trajectories."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from worldeval.data.adapt import AdaptedSource
from worldeval.data.backwards import Backwards
from worldeval.data.check.check import check, harmful
from worldeval.data.contact_sheet import contact_sheet
from worldeval.data.convert import Converted, convert
from worldeval.data.data_map import read_map
from worldeval.data.finding import DataFinding
from worldeval.data.formats.lerobot.layout import FileLimits
from worldeval.data.map_text import write_map
from worldeval.data.rotation import FORMS
from worldeval.data.source import Source, open_source
from worldeval.data.stacked_steps import StackedSteps, steps_for
from worldeval.data.summary import DatasetSummary, summarise
from worldeval.data.summary import Range as Range
from worldeval.data.weighted import read_mixture as read_mixture
from worldeval.data.weighted import read_rollouts as read_rollouts
from worldeval.errors import UserError, did_you_mean
from worldeval.files import whole_file

Address = str | Path
Counted = Callable[[int, int], None]  # progress: how many are done, and how many there are


def open_dataset(path: Address, format: str | None = None, *, map: Address | None = None) -> Source:
    """Open recorded trajectories in any supported format.

    Only the index is read at first; rows and frames are read on access.

    Args:
        path: folder (or file) of a dataset: LeRobot, robomimic, Ctrl-World, Diffusion Policy,
            ALOHA, mp4 with npz, or worldeval's own shards.
        format: dataset format, if it is not detected, or a reader of your own: `mine.py:Reader`.
        map: YAML file that describes the columns and images (see `docs/data.md`).

    Returns:
        A sequence of episodes; `.spec` describes the views, frame rate and names of the numbers.

    Raises:
        UserError: the path does not exist, or its format is unknown.

    >>> import worldeval as we
    >>> data = we.open_dataset("toy/data")
    >>> len(data), data.spec.fps, sorted(data.spec.views)
    (8, 16.0, ['side', 'top'])
    """
    return open_source(Path(path), format, given=None if map is None else read_map(Path(map)))


@dataclass(frozen=True, kw_only=True)
class InspectedDataset:
    """The summary of a dataset, and how it was read."""

    summary: DatasetSummary
    map: str  # YAML: the meaning of every column and image, with guesses marked
    sheet: Path | None  # the contact sheet, if one was drawn

    @property
    def harmful(self) -> bool:
        """Whether data are missing, so that training would be harmed."""
        return harmful(self.summary.findings)


def inspect_dataset(
    data: Address | Source,
    *,
    format: str | None = None,
    map: Address | None = None,
    sheet: Address | None = None,
    map_file: Address | None = None,
) -> InspectedDataset:
    """Summarise a dataset and how it was read.

    Args:
        data: folder (or file) of a dataset, or one from `open_dataset`.
        format, map: as in `open_dataset`.
        sheet: PNG file for a contact sheet, drawn if the dataset has images.
        map_file: file to which the map is written, for editing.

    Returns:
        Episodes, frames, views, tasks, success, and the range of every number in the dataset's own
        units; and the map, with which it was read.

    Raises:
        UserError: as `open_dataset`.

    >>> import worldeval as we
    >>> found = we.inspect_dataset("toy/data").summary
    >>> found.episodes, found.fps, [each.name for each in found.pose]
    (8, 16.0, ['pose_0', 'pose_1', 'pose_2', 'pose_3'])
    """
    source = as_source(data, format, map)
    summary, text = summarise(source), write_map(source)
    if map_file is not None:
        with whole_file(Path(map_file)) as draft:
            draft.write_text(text, encoding="utf-8")
    picture = None
    if sheet is not None and source.spec.views and source.heads:
        picture = contact_sheet(source, Path(sheet))
    return InspectedDataset(summary=summary, map=text, sheet=picture)


@dataclass(frozen=True, kw_only=True)
class CheckedDataset:
    """The findings about a dataset, harmful ones first."""

    episodes: int
    findings: list[DataFinding]

    @property
    def harmful(self) -> bool:
        """Whether training on the dataset would be harmed."""
        return harmful(self.findings)


def check_dataset(
    data: Address | Source,
    *,
    format: str | None = None,
    map: Address | None = None,
    pictures: bool = True,
    progress: Counted | None = None,
) -> CheckedDataset:
    """Find problems of a dataset that would harm training.

    Args:
        data, format, map: as in `inspect_dataset`.
        pictures: also decode and check every frame.
        progress: function that is called with the number of checked episodes and their total.

    Returns:
        The findings, each with a code, a severity (error, warning or note) and a text.

    Raises:
        UserError: as `open_dataset`.

    >>> import worldeval as we
    >>> we.check_dataset("toy/data", pictures=False).harmful
    False
    """
    source = as_source(data, format, map)
    findings = check(source, pictures=pictures, progress=progress)
    return CheckedDataset(episodes=len(source), findings=findings)


def convert_dataset(
    data: Address | Source,
    out: Address,
    *,
    to: str = "lerobot",
    format: str | None = None,
    map: Address | None = None,
    views: Sequence[str] | None = None,
    fps: float | None = None,
    every: int = 1,
    size: tuple[int, int] | None = None,
    rotation: str | None = None,
    split: str | None = None,
    backwards: bool = False,
    skip_damaged: bool = False,
    data_mb: float = 100,
    video_mb: float = 200,
    progress: Counted | None = None,
) -> Converted:
    """Convert a dataset to another format; the same call continues an interrupted conversion.

    Args:
        data, format, map: as in `inspect_dataset`.
        out: a folder, or a `.hdf5` file for robomimic.
        to: `lerobot` (v3), `robomimic` or `shards`.
        views: camera views to keep. Default: all.
        fps: frames per second to write, the recorded rate divided by a whole number; the steps in
            between are stacked as with `every`. Default: the dataset's.
        every: recorded steps in a frame; their actions are stacked into the frame's action.
        size: height and width in pixels to resize every view to.
        rotation: format to convert roll, pitch, yaw to: `6d`, which has no discontinuities.
        split: split of the dataset to convert. Default: all.
        backwards: write every episode from its last frame to its first, for world models that
            imagine what comes before a goal.
        skip_damaged: skip and report episodes that cannot be read, instead of stopping.
        data_mb, video_mb: maximum size of a LeRobot data or video file, in MB.
        progress: function that is called with the number of finished episodes and their total.

    Returns:
        The numbers of written episodes and frames, and the skipped episodes.

    Raises:
        UserError: an argument is invalid, or an episode cannot be read; what was written is kept
            for the next call.

    >>> import worldeval as we
    >>> we.convert_dataset("toy/data", "toy/small", to="shards", size=(8, 8)).episodes
    8
    """
    source = as_source(data, format, map)
    if fps is not None:
        if every != 1:
            raise UserError("fps and every say the same thing; give only one of them.")
        every = steps_for(source, fps)
    if every < 1:
        raise UserError(f"every is {every}; a frame has at least one recorded step.")
    if rotation is not None and rotation not in FORMS:
        raise UserError(f"There is no rotation format '{rotation}'.{did_you_mean(rotation, FORMS)}")
    if backwards:
        source = Backwards(source)
    if size is not None or rotation is not None:
        form = FORMS[rotation] if rotation else None
        source = AdaptedSource(source, size=size, rotation=form)
    if every > 1:
        source = StackedSteps(source, every)
    return convert(
        source,
        Path(out),
        to=to,
        views=tuple(views) if views else None,
        split=split,
        skip_damaged=skip_damaged,
        limits=FileLimits(data_mb=data_mb, video_mb=video_mb),
        progress=progress,
    )


def as_source(
    data: Address | Source, format: str | None = None, map: Address | None = None
) -> Source:
    """Open a dataset that is given by its path; one that is already open is returned."""
    return open_dataset(data, format, map=map) if isinstance(data, str | Path) else data
