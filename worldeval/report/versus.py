"""A film of two policies from one start: the first above the second, their probabilities below.

The curves are the judge's probability of success by frame, drawn up to the frame that is shown. The
decisive chunk is a band in the chart and a frame around the pictures of the policy that loses.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from worldeval.axes import Array, UInt8
from worldeval.report.film import GAP, RATE, mosaic
from worldeval.report.strip import COLOURS, FAINT, INK, PAPER, Shown
from worldeval.runs.explanation import PartedStart
from worldeval.runs.films import Filmstrip, Frames

SIDES = (COLOURS["imagined"], COLOURS["real"])  # of the first and the second policy
BAND, GRID = (255, 226, 150), (227, 230, 234)
HEAD, CHART, EDGE, BORDER = 23, 110, 26, 4  # pixels
PICTURE = 190  # pixels of a view's height, about


def versus(
    start: PartedStart, names: Sequence[str], frames: Mapping[str, Frames]
) -> UInt8[Array, "t h w 3"]:
    """Draw every frame of the film; sides are even, as video needs.

    Args:
        names: the two policies, from above to below.
        frames: of each policy's own episode, view by view.
    """
    empty = Filmstrip(policy="", task="", start="")
    both = [mosaic(Shown(entry=empty, imagined=frames[name])) for name in names]
    times = max(1, round(PICTURE / both[0].shape[1]))
    both = [side.repeat(times, 1).repeat(times, 2) for side in both]
    length = min(len(side) for side in both)
    small = ImageFont.load_default(13)
    titles = [_title(start, name) for name in names]
    wide = max(
        *(side.shape[2] for side in both), *(round(small.getlength(title)) for title in titles)
    )
    width = wide + 2 * EDGE - wide % 2
    tall = [HEAD + side.shape[1] + GAP for side in both]
    height = sum(tall) + CHART + 2 * GAP
    height += height % 2
    out = np.empty((length, height, width, 3), np.uint8)
    for moment in range(length):
        sheet = Image.new("RGB", (width, height), PAPER)
        draw = ImageDraw.Draw(sheet)
        top = 0
        for place, (name, side) in enumerate(zip(names, both, strict=True)):
            draw.text((EDGE, top + 3), titles[place], font=small, fill=SIDES[place])
            sheet.paste(Image.fromarray(side[moment]), (EDGE, top + HEAD))
            if name == start.loser and start.begin <= moment <= start.end:
                corner = (EDGE - BORDER, top + HEAD - BORDER)
                far = (EDGE + side.shape[2] + BORDER - 1, top + HEAD + side.shape[1] + BORDER - 1)
                draw.rectangle((*corner, *far), outline=(230, 159, 0), width=BORDER)
            top += tall[place]
        _chart(draw, start, names, moment, (EDGE, top + GAP, width - EDGE, height - HEAD))
        out[moment] = np.asarray(sheet)
    return out


def versus_mp4(film: UInt8[Array, "t h w 3"], *, fps: float = RATE) -> bytes:
    """Encode a film as H.264 mp4, for browsers."""
    from worldeval.data.video import VideoWriter  # not needed to read explanations

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        with VideoWriter(path, fps=fps, size=film.shape[1:3]) as writer:
            writer.append(film)
            writer.append(film[-1:].repeat(round(fps), 0))  # the end can be looked at
        return path.read_bytes()


def _title(start: PartedStart, name: str) -> str:
    verdict = "success" if name == start.winner else "failure"
    return f"{name}: {verdict} ({start.probability[name]:.2f})"


def _chart(
    draw: ImageDraw.ImageDraw,
    start: PartedStart,
    names: Sequence[str],
    moment: int,
    box: tuple[int, int, int, int],
) -> None:
    """Draw the curves up to the frame `moment`, and the decisive chunk behind them."""
    left, top, right, bottom = box
    small = ImageFont.load_default(11)
    last = max(len(start.evidence[name]) for name in names) - 1

    def at(frame: float, probability: float) -> tuple[float, float]:
        across = left + (right - left) * frame / max(last, 1)
        return across, bottom - (bottom - top) * probability

    draw.rectangle((*at(start.begin, 1), *at(start.end, 0)), fill=BAND)
    for level in (0.0, 0.5, 1.0):
        draw.line((*at(0, level), *at(last, level)), fill=GRID)
        draw.text((left - 4, at(0, level)[1]), f"{level:g}", font=small, fill=FAINT, anchor="rm")
    for name, colour in zip(names, SIDES, strict=True):
        shown = start.evidence[name][: moment + 1]
        points = [at(frame, probability) for frame, probability in enumerate(shown)]
        if len(points) > 1:
            draw.line(points, fill=colour, width=2)
        across, down = points[-1]
        draw.ellipse((across - 3, down - 3, across + 3, down + 3), fill=colour)
    draw.text((left, bottom + 3), f"frame {moment}", font=small, fill=INK)
    where = f"decisive: {start.begin} to {start.end}, {start.phase}"
    draw.text((right, bottom + 3), where, font=small, fill=INK, anchor="ra")
