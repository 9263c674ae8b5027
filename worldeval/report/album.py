"""The pictures of a page: film strips and clips, embedded in it or stored as files beside it."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from PIL import Image

from worldeval.files import whole_file
from worldeval.report.clip import make_clip
from worldeval.report.compared import Compared
from worldeval.report.strip import caption, moments, open_strip, rows_of, strip_image
from worldeval.runs.films import Filmstrip
from worldeval.runs.paths import RunPaths

COLUMNS = 8  # frames shown of a film strip
MIME = {".png": "image/png", ".webp": "image/webp"}


@dataclass(frozen=True, kw_only=True)
class ShownFilm:
    """A filmed episode prepared for the templates: a film strip, or a clip that moves."""

    entry: Filmstrip
    src: str
    still: str  # the last frame of a clip; "" for a film strip
    width: int
    height: int
    rows: tuple[Any, ...]  # side and view, from above to below
    views: tuple[str, ...]  # of a clip, from left to right
    words: str
    judged: str  # 'success', 'failure' or ''
    curve: str  # points of the judge's probability over time, in a box of 100 x 20; "" if unknown
    alt: str


@dataclass(frozen=True, kw_only=True)
class _Label:
    side: str
    view: str


class Album:
    """Stores the pictures of a page and prepares its films."""

    def __init__(self, paths: RunPaths, folder: Path, *, embed: bool, compared: Compared) -> None:
        self._films, self._folder, self._embed = paths.films, folder, embed
        self._compared, self._number = compared, count(1)

    def add(self, name: str, content: bytes) -> str:
        """Store a picture and return its `src`."""
        if self._embed:
            text = base64.b64encode(content).decode("ascii")
            return f"data:{MIME[Path(name).suffix]};base64,{text}"
        with whole_file(self._folder / name) as draft:
            draft.write_bytes(content)
        return name

    def clip(self, entry: Filmstrip) -> ShownFilm:
        """Add a film strip as a clip.

        Raises:
            UserError: its file is missing or damaged.
        """
        made, name = make_clip(open_strip(self._films, entry)), f"clip-{next(self._number):02d}"
        return self._shown(
            entry,
            src=self.add(f"{name}.webp", made.moving),
            still=self.add(f"{name}-last.webp", made.still),
            width=made.width,
            height=made.height,
            rows=tuple(_Label(side=side, view="") for side in made.sides),
            views=made.views,
            alt=f"clip of {entry.policy} on {entry.task}",
        )

    def strip(self, entry: Filmstrip) -> ShownFilm:
        """Add a film strip as a picture of a few frames.

        Raises:
            UserError: its file is missing or damaged.
        """
        shown = open_strip(self._films, entry)
        rows, at = rows_of(shown), moments(shown.length, COLUMNS)
        picture = strip_image(rows, at)
        return self._shown(
            entry,
            src=self.add(f"strip-{next(self._number):02d}.webp", _webp(picture)),
            still="",
            width=picture.width,
            height=picture.height,
            rows=tuple(_Label(side=row.side, view=row.view) for row in rows),
            views=(),
            alt=f"{entry.policy} on {entry.task}: frames {at[0]} to {at[-1]}",
        )

    def _shown(self, entry: Filmstrip, *, alt: str, **facts: Any) -> ShownFilm:
        words = caption(entry, self._compared.label)
        return ShownFilm(
            entry=entry,
            words=words,
            judged="" if entry.probability is None else verdict(entry.probability >= 0.5),
            curve=_curve(entry.evidence),
            alt=f"{alt}, {words}",
            **facts,
        )


def verdict(success: bool) -> str:
    """Return the word for an outcome."""
    return "success" if success else "failure"


def _curve(evidence: Sequence[float]) -> str:
    """Return the points of probabilities over time, for an SVG polyline."""
    last = len(evidence) - 1
    points = (f"{100 * k / last:.1f},{20 * (1 - p):.1f}" for k, p in enumerate(evidence) if last)
    return " ".join(points)


def _webp(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", quality=88, method=4)
    return buffer.getvalue()
