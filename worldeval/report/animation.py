"""A looping picture of a run for a README: two policies from one start, and the judge's verdict.

Each policy has a column: its imagined episode above the simulated one, and below them the judge's
probability of success by each frame.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, ImageDraw, ImageFont

from worldeval.errors import UserError
from worldeval.files import whole_file
from worldeval.report.contents import ReportContents
from worldeval.report.strip import Shown, open_strip
from worldeval.report.theme import LIGHT
from worldeval.runs.films import Filmstrip, Frames
from worldeval.runs.paths import RunPaths

SUFFIXES = (".webp", ".gif")
SIDE = 184  # pixels of the longer side of a view
GAP, MARGIN, GUTTER, BETWEEN = 4, 14, 84, 26
HEAD, FOOT, CHART = 34, 30, 78  # pixels above the pictures, below the chart, and of the chart
FRAME, HOLD = 140, 2200  # milliseconds of a frame, and of the last one
QUALITY = 84


@dataclass(frozen=True, kw_only=True)
class _Column:
    """What one policy's column shows."""

    strip: Shown
    views: Sequence[str]
    size: tuple[int, int]  # width and height of a view

    @property
    def width(self) -> int:
        return len(self.views) * (self.size[0] + GAP) - GAP


def write_animation(contents: ReportContents, path: Path) -> tuple[Filmstrip, Filmstrip]:
    """Write the picture as WebP or GIF; returns the two film strips that it shows.

    Raises:
        UserError: the suffix is neither, or the run has no two film strips of one start.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path} must end in .webp or .gif.")
    pair = telling_pair(contents.strips)
    if pair is None:
        raise UserError(
            f"{RunPaths(contents.folder).films} contains no film strips of two policies from the "
            "same start. Render two episodes: worldeval film RUN POLICY/START/SEED ..."
        )
    folder = RunPaths(contents.folder).films
    frames = drawn([open_strip(folder, entry) for entry in pair])
    kinds: dict[str, dict[str, Any]] = {
        ".webp": {"quality": QUALITY, "method": 6, "exif": _described(pair)},
        ".gif": {"optimize": True},
    }
    with whole_file(path) as draft:
        frames[0].save(
            draft,
            format=path.suffix[1:].upper(),
            save_all=True,
            append_images=frames[1:],
            duration=[FRAME] * (len(frames) - 1) + [HOLD],
            loop=0,
            **kinds[path.suffix],
        )
    return pair


def _described(pair: Sequence[Filmstrip]) -> bytes:
    """Keep the numbers that the picture shows in its file, so that they can be compared."""
    shown = [
        {
            "policy": each.policy,
            "start": each.start,
            "probability": each.probability,
            "success": each.success,
        }
        for each in pair
    ]
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = json.dumps(shown)
    return exif.tobytes()


def telling_pair(strips: Sequence[Filmstrip]) -> tuple[Filmstrip, Filmstrip] | None:
    """Choose two policies from the same start, the better one on the right.

    Measured pairs are preferred, then those whose verdicts are right and differ, then checkpoints
    of one training run, then those whose verdicts differ most. None if no two film strips share a
    start. So it is an example of what works; the report shows wrong verdicts first.
    """
    pairs = [
        (one, other) if (one.probability or 0) <= (other.probability or 0) else (other, one)
        for place, one in enumerate(strips)
        for other in strips[:place]
        if (one.task, one.start, one.seed) == (other.task, other.start, other.seed)
        and one.policy != other.policy
    ]

    def worth(pair: tuple[Filmstrip, Filmstrip]) -> tuple[bool, bool, bool, float]:
        low, high = pair
        right = all(each.agrees is not False for each in pair)
        return (
            all(each.truth is not None for each in pair),
            right and _judged(low) != _judged(high),
            low.policy.rpartition("/")[0] == high.policy.rpartition("/")[0],
            (high.probability or 0) - (low.probability or 0),
        )

    return max(pairs, key=worth, default=None)


def drawn(strips: Sequence[Shown]) -> list[Image.Image]:
    """Draw every frame of the animation."""
    columns = [_column(strip) for strip in strips]
    length = max(strip.length for strip in strips)
    sides = max(1 + (strip.truth is not None) for strip in strips)
    tall = max(column.size[1] for column in columns)
    width = 2 * MARGIN + GUTTER + sum(column.width for column in columns)
    width += BETWEEN * (len(columns) - 1)
    height = MARGIN + HEAD + sides * (tall + GAP) + CHART + FOOT
    out = []
    for moment in range(length):
        sheet = Image.new("RGB", (width, height), LIGHT.paper)
        draw = ImageDraw.Draw(sheet)
        for side, name in enumerate(("imagined", "simulator")[:sides]):
            top = MARGIN + HEAD + side * (tall + GAP)
            colour = LIGHT.real if side else LIGHT.imagined
            draw.rectangle((MARGIN, top, MARGIN + 3, top + tall - 1), fill=colour)
            place = (MARGIN + 10, top + tall / 2)
            draw.text(place, name, font=_font(14), fill=LIGHT.ink, anchor="lm")
        below = MARGIN + HEAD + sides * (tall + GAP)
        place = (MARGIN + 10, below + CHART / 2 + 4)
        draw.multiline_text(
            place, "judge's\nprobability\nof success", font=_font(12), fill=LIGHT.faint, anchor="lm"
        )
        left = MARGIN + GUTTER
        for column in columns:
            _draw(sheet, draw, column, moment, left=left, tall=tall, length=length)
            left += column.width + BETWEEN
        out.append(sheet)
    return out


def _column(strip: Shown) -> _Column:
    views: list[str] = list(dict.fromkeys([*strip.imagined, *(strip.truth or {})]))
    high, wide = next(iter(strip.imagined.values())).shape[1:3]
    scale = SIDE / max(high, wide)
    return _Column(strip=strip, views=views, size=(round(wide * scale), round(high * scale)))


def _draw(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    column: _Column,
    moment: int,
    *,
    left: int,
    tall: int,
    length: int,
) -> None:
    entry = column.strip.entry
    draw.text((left, MARGIN + 2), entry.policy, font=_font(17), fill=LIGHT.ink)
    right = (left + column.width, MARGIN + 6)
    draw.text(right, entry.task, font=_font(13), fill=LIGHT.faint, anchor="ra")
    for side, frames in enumerate((column.strip.imagined, column.strip.truth or {})):
        top = MARGIN + HEAD + side * (tall + GAP)
        _pictures(sheet, frames, column, moment, (left, top))
    top = MARGIN + HEAD + (1 + (column.strip.truth is not None)) * (tall + GAP) + 8
    box = (left, top, left + column.width, top + CHART - 12)
    _chart(draw, entry.evidence, moment, length, box)
    if moment == length - 1:
        draw.text((left, box[3] + 8), _outcome(entry), font=_font(14), fill=LIGHT.ink)


def _pictures(
    sheet: Image.Image, frames: Frames, column: _Column, moment: int, corner: tuple[int, int]
) -> None:
    left, top = corner
    for place, view in enumerate(column.views):
        if view in frames:
            shown = frames[view][min(moment, len(frames[view]) - 1)]
            picture = Image.fromarray(shown).resize(column.size, Image.Resampling.LANCZOS)
            sheet.paste(picture, (left + place * (column.size[0] + GAP), top))


def _chart(
    draw: ImageDraw.ImageDraw,
    evidence: Sequence[float],
    moment: int,
    length: int,
    box: tuple[int, int, int, int],
) -> None:
    """Draw the probability so far, from 0 at the bottom to 1 at the top."""
    left, top, right, bottom = box
    draw.rectangle(box, outline=LIGHT.grid)
    middle = (top + bottom) / 2
    draw.line((left, middle, right, middle), fill=LIGHT.grid)
    room = right - left - 44  # of the number beside the last point
    points = [
        (left + room * step / max(length - 1, 1), bottom - 3 - p * (bottom - top - 6))
        for step, p in enumerate(evidence[: moment + 1])
    ]
    if len(points) > 1:
        draw.line(points, fill=LIGHT.imagined, width=3, joint="curve")
    if points:
        x, y = points[-1]
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=LIGHT.imagined)
        number = f"{evidence[len(points) - 1]:.2f}"
        y = min(max(y, top + 9), bottom - 9)
        draw.text((x + 9, y), number, font=_font(14), fill=LIGHT.imagined, anchor="lm")


def _outcome(entry: Filmstrip) -> str:
    words = {True: "success", False: "failure", None: "unknown"}
    said = f"imagined: {words[_judged(entry)]}"
    return said if entry.success is None else f"{said}  ·  simulator: {words[entry.success]}"


def _judged(entry: Filmstrip) -> bool | None:
    return None if entry.probability is None else entry.probability >= 0.5


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
