"""Draw film strips: imagined rows above measured ones, one column per frame shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from worldeval.axes import Array, Int, UInt8
from worldeval.files import whole_file
from worldeval.report.compared import SOMEHOW
from worldeval.runs.films import Filmstrip, Frames, read_frames

GAP = 2  # pixels between frames
INK, FAINT, PAPER = (31, 35, 40), (101, 109, 118), (255, 255, 255)
# Okabe and Ito's blue and vermilion, which differ for every kind of colour vision.
COLOURS = {"imagined": (0, 114, 178), "real": (213, 94, 0)}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A film strip with its frames in memory."""

    entry: Filmstrip
    imagined: Frames
    truth: Frames | None = None

    @property
    def length(self) -> int:
        """Number of world frames of the longer side."""
        sides = (self.imagined, self.truth or {})
        return max(len(frames) for side in sides for frames in side.values())


@dataclass(frozen=True, kw_only=True)
class StripRow:
    """One row of the picture: a view of one side."""

    side: str  # 'imagined' or 'real'
    view: str
    frames: UInt8[Array, "t h w 3"]

    def height(self, width: int) -> int:
        """Pixels of a frame scaled to `width`, its shape kept."""
        return round(width * self.frames.shape[1] / self.frames.shape[2])


def open_strip(folder: Path, entry: Filmstrip) -> Shown:
    """A film strip of a folder with its frames."""
    return Shown(
        entry=entry,
        imagined=read_frames(folder, entry.imagined),
        truth=read_frames(folder, entry.truth) if entry.truth else None,
    )


def rows_of(strip: Shown, views: Sequence[str] | None = None) -> list[StripRow]:
    """Return the rows of a strip, view by view, the imagined row above the measured one.

    `views` selects and orders the views; views that the strip lacks are skipped.
    """
    sides: dict[str, Frames] = {"imagined": strip.imagined}
    if strip.truth is not None:
        sides["real"] = strip.truth
    known = list(dict.fromkeys(view for frames in sides.values() for view in frames))
    wanted = known if views is None else [view for view in views if view in known] or known[:1]
    return [
        StripRow(side=side, view=view, frames=frames[view])
        for view in wanted
        for side, frames in sides.items()
        if view in frames
    ]


def moments(length: int, columns: int) -> Int[Array, " n"]:
    """Choose evenly spaced frames out of `length`, the first and last included."""
    return np.unique(np.linspace(0, length - 1, max(1, min(columns, length))).round().astype(int))


def strip_image(rows: Sequence[StripRow], at: Int[Array, " n"], *, side: int = 128) -> Image.Image:
    """Draw the rows at the frames `at`, without text; past the end of a row it is transparent.

    Frames keep their aspect ratio and are `side` pixels wide.
    """
    heights = [row.height(side) for row in rows]
    size = (len(at) * (side + GAP) - GAP, sum(heights) + GAP * (len(rows) - 1))
    sheet = Image.new("RGBA", size, (0, 0, 0, 0))
    top = 0
    for row, height in zip(rows, heights, strict=True):
        for place, moment in enumerate(at):
            if moment < len(row.frames):
                frame = Image.fromarray(row.frames[moment])
                frame = frame.resize((side, height), Image.Resampling.LANCZOS)
                sheet.paste(frame, (place * (side + GAP), top))
        top += height + GAP
    return sheet


def write_strip_png(
    path: Path,
    strips: Sequence[Shown],
    *,
    columns: int = 7,
    side: int = 96,
    views: Sequence[str] | None = None,
    beside: Image.Image | None = None,
    description: str = "",
    label: str = SOMEHOW.label,
) -> Path:
    """Write a labelled picture of several film strips, one below the other, for a README.

    Args:
        columns: number of frames shown per strip, evenly spaced.
        side: width of a frame in pixels.
        views: views to show; all by default.
        beside: another picture to place on the right, scaled to the same height.
        description: text that is kept in the file, such as the numbers that are shown.
        label: name of the measured rows.

    Raises:
        ValueError: there is no strip.
    """
    if not strips:
        raise ValueError("There is no film strip to draw.")
    how: dict[str, Any] = {"columns": columns, "side": side, "views": views, "label": label}
    blocks = [_block(strip, **how) for strip in strips]
    pad = 14
    width = max(block.width for block in blocks)
    height = sum(block.height for block in blocks) + pad * (len(blocks) - 1)
    right = None
    if beside is not None:
        scale = height / beside.height
        right = beside.convert("RGB").resize(
            (round(beside.width * scale), height), Image.Resampling.LANCZOS
        )
    extra = right.width + pad if right else 0
    sheet = Image.new("RGB", (width + extra + 2 * pad, height + 2 * pad), PAPER)
    top = pad
    for block in blocks:
        sheet.paste(block, (pad, top))
        top += block.height + pad
    if right:
        sheet.paste(right, (pad + width + pad, pad))
    kept = PngInfo()
    if description:
        kept.add_text("Description", description)
    with whole_file(path) as draft:
        sheet.save(draft, format="PNG", optimize=True, pnginfo=kept)
    return path


def caption(entry: Filmstrip, label: str = SOMEHOW.label) -> str:
    """Describe the judge's verdict and the measured outcome in one line."""
    judged = "not judged" if entry.probability is None else f"judged {entry.probability:.2f}"
    if entry.progress is not None:
        judged += f" (progress {entry.progress:.2f})"
    if entry.success is None:
        return f"{judged}, not measured"
    return f"{judged}, {label}: {'success' if entry.success else 'failure'}"


def _block(
    strip: Shown, *, columns: int, side: int, views: Sequence[str] | None, label: str
) -> Image.Image:
    """Draw a strip with its title, row labels on the left and frame numbers below."""
    rows = rows_of(strip, views)
    at = moments(strip.length, columns)
    frames = strip_image(rows, at, side=side)
    title, small = _font(15), _font(12)
    several = len({row.view for row in rows}) > 1
    sides = [label if row.side == "real" else row.side for row in rows]
    labels = [f"{s}, {r.view}" if several else s for s, r in zip(sides, rows, strict=True)]
    gutter = max(round(small.getlength(name)) for name in labels) + 16
    head, foot = 24, 18
    entry = strip.entry
    heading = f"{entry.policy}  ·  {entry.task}  ·  {caption(entry, label)}"
    width = max(gutter + frames.width, round(title.getlength(heading)) + 1)
    block = Image.new("RGB", (width, head + frames.height + foot), PAPER)
    draw = ImageDraw.Draw(block)
    draw.text((0, 1), heading, font=title, fill=INK)
    block.paste(frames, (gutter, head), frames)
    top = head
    for row, name in zip(rows, labels, strict=True):
        tall = row.height(side)
        draw.rectangle((0, top, 3, top + tall - 1), fill=COLOURS[row.side])
        draw.text((9, top + tall / 2), name, font=small, fill=INK, anchor="lm")
        top += tall + GAP
    for place, moment in enumerate(at):
        middle = gutter + place * (side + GAP) + side / 2
        text = f"frame {moment}" if place == 0 else str(moment)
        draw.text((middle, head + frames.height + 3), text, font=small, fill=FAINT, anchor="ma")
    return block


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
