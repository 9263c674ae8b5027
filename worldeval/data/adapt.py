"""Views of a dataset with resized images or another form of rotation.

Angles jump by a full turn when they pass +-pi, and a model trained on them learns the jump.
`rotation="6d"` is an equivalent form without jumps.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from worldeval.axes import Array, Float, Float32, Int, UInt8
from worldeval.data.columns import ColumnMeanings, Groups, spans
from worldeval.data.finding import DataFinding
from worldeval.data.rotation import NAMES, RotationForm, read_rotation, write_rotation
from worldeval.data.source import Rows, Source
from worldeval.data.space_of import declared_space
from worldeval.data.space_text import read_space, write_space
from worldeval.data.stacked_steps import StackedSteps
from worldeval.errors import UserError


class AdaptedSource(Source):
    """A source whose frames and rows are converted when they are read."""

    def __init__(
        self,
        source: Source,
        *,
        size: tuple[int, int] | None = None,
        rotation: RotationForm | None = None,
    ) -> None:
        """`size` is (height, width) of every view; `rotation` replaces roll, pitch and yaw.

        Raises:
            UserError: rotations are to be changed, and neither pose nor action has such columns.
        """
        self.source, self.size = source, size
        self.rotation: RotationForm | None = rotation
        self.heads, self.findings = source.heads, source.findings
        self.mapped = source.mapped and size is None
        spec = source.spec
        if size is not None:
            spec = replace(spec, views=dict.fromkeys(spec.views, size))
        if rotation is not None:
            if not any(_angles(names) for names in (spec.action_names, spec.pose_names)):
                raise UserError(
                    f"{spec.path} has no columns roll, pitch, yaw to change (action: "
                    f"{', '.join(spec.action_names)}; pose: {', '.join(spec.pose_names)})."
                )
            meaning = ColumnMeanings(
                action=_groups_in(spec.meaning.action, rotation),
                pose=_groups_in(spec.meaning.pose, rotation),
            )
            said = spec.space == declared_space(spec.meaning.action)
            spec = replace(
                spec,
                action_names=_renamed(spec.action_names, rotation),
                pose_names=_renamed(spec.pose_names, rotation),
                space=declared_space(meaning.action) if said else _said_in(spec.space, rotation),
                pose_space=declared_space(meaning.pose),
                meaning=meaning,
            )
        self.spec = spec

    def rows(self, index: int) -> Rows:
        rows = self.source.rows(index)
        if self.rotation is None:
            return rows
        spec = self.source.spec
        return replace(
            rows,
            actions=_turned(rows.actions, spec.action_names, spec.meaning.action, self.rotation),
            pose=_turned(rows.pose, spec.pose_names, spec.meaning.pose, self.rotation),
        )

    def frames(
        self, index: int, view: str, rows: Int[Array, " n"] | None = None
    ) -> UInt8[Array, "n h w 3"]:
        frames = self.source.frames(index, view, rows)
        return frames if self.size is None else resized(frames, self.size)

    def column(self, index: int, key: str) -> Float[Array, " t"]:
        return self.source.column(index, key)

    def examine(self) -> list[DataFinding]:
        return self.source.examine()

    def has_latents(self, index: int) -> bool:
        return self.size is None and self.source.has_latents(index)

    def latents(self, index: int) -> dict[str, Float32[Array, "t d h w"]]:
        if self.size is not None:  # they are those of the frames as they were
            return super().latents(index)
        return self.source.latents(index)


class ChosenEpisodes(Source):
    """A subset of the episodes of `source`."""

    def __init__(self, source: Source, episodes: Sequence[int]) -> None:
        self.source, self._episodes = source, tuple(episodes)
        self.spec, self.findings, self.mapped = source.spec, source.findings, source.mapped
        self.heads = [source.heads[index] for index in self._episodes]

    def rows(self, index: int) -> Rows:
        return self.source.rows(self._episodes[index])

    def frames(
        self, index: int, view: str, rows: Int[Array, " n"] | None = None
    ) -> UInt8[Array, "n h w 3"]:
        return self.source.frames(self._episodes[index], view, rows)

    def column(self, index: int, key: str) -> Float[Array, " t"]:
        return self.source.column(self._episodes[index], key)

    def has_latents(self, index: int) -> bool:
        return self.source.has_latents(self._episodes[index])

    def latents(self, index: int) -> dict[str, Float32[Array, "t d h w"]]:
        return self.source.latents(self._episodes[index])


def resized(frames: UInt8[Array, "n h w 3"], size: tuple[int, int]) -> UInt8[Array, "n y x 3"]:
    """Resize images to `size` (height, width); they are returned as they are if they have it."""
    if frames.shape[1:3] == size:
        return frames
    height, width = size
    # Pillow's filter widens with the reduction, so that fine detail does not flicker.
    small = [
        np.asarray(Image.fromarray(one).resize((width, height), Image.Resampling.BILINEAR))
        for one in frames
    ]
    return np.stack(small) if small else np.empty((0, height, width, 3), np.uint8)


def without_jumps(source: Source) -> Source:
    """Prepare a source for training by converting roll, pitch and yaw, if any, to 6-D rotations."""
    if isinstance(source, StackedSteps):  # the angles of every step
        return StackedSteps(without_jumps(source.source), source.steps)
    if not any(_angles(names) for names in (source.spec.action_names, source.spec.pose_names)):
        return source
    return AdaptedSource(source, rotation="6d")


def _angles(names: Sequence[str]) -> list[int]:
    """First columns of every roll, pitch, yaw in a row."""
    euler = NAMES["euler"]
    return [i for i in range(len(names) - 2) if tuple(names[i : i + 3]) == euler]


def _said_in(text: str, rotation: RotationForm) -> str:
    """The action space with its rotation in another form."""
    return write_space(read_space(text).turned("euler", rotation)) if text else ""


def _groups_in(groups: Groups, rotation: RotationForm) -> Groups:
    """The groups with every rotation in euler angles in another form."""
    return tuple(
        replace(group, names=NAMES[rotation], form=rotation, unit="")
        if group.form == "euler" and group.names == NAMES["euler"]
        else group
        for group in groups
    )


def _renamed(names: Sequence[str], rotation: RotationForm) -> tuple[str, ...]:
    out = list(names)
    for place in reversed(_angles(names)):
        out[place : place + 3] = NAMES[rotation]
    return tuple(out)


def _turned(
    values: Float32[Array, "t a"],
    names: Sequence[str],
    groups: Groups,
    rotation: RotationForm,
) -> Float32[Array, "t b"]:
    """Turn roll, pitch and yaw, in radians unless their group has another unit."""
    out = values
    known = {span.start: group for group, span in spans(groups) if group.means == "rotation"}
    for place in reversed(_angles(names)):
        factor = known[place].factor if place in known else None
        angles = values[:, place : place + 3] * (factor or 1.0)
        turned = write_rotation(read_rotation(angles, "euler"), rotation)
        out = np.concatenate([out[:, :place], turned, out[:, place + 3 :]], axis=1)
    return out.astype(np.float32)
