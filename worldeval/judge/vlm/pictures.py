"""Show an episode to a model of pictures and words: a grid with times, or frames one by one."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from worldeval.axes import Array, UInt8
from worldeval.record import Episode

CELL = 224  # pixels of the longer side of a small frame, after enlarging
CAPTION = 14  # pixels above every frame
COLUMNS = 4  # of a grid


def moments(frames: int, count: int) -> list[int]:
    """Return `count` frames spread evenly, the start and the end always among them."""
    return sorted({round(each) for each in np.linspace(0, frames - 1, min(count, frames))})


def shown(episode: Episode, *, count: int, layout: str) -> list[dict[str, Any]]:
    """Return an episode as the parts of a chat message: pictures, each with its time.

    Args:
        count: frames to show.
        layout: `grid` (one picture per view) or `sequence` (one picture per view and frame).
    """
    chosen = moments(len(episode), count)
    told = [caption(frame, len(episode), episode.fps) for frame in chosen]
    parts: list[dict[str, Any]] = []
    if layout == "grid":
        for view, film in episode.frames.items():
            parts.append({"type": "text", "text": f"Camera {view}, from start to end:"})
            parts.append(_picture(grid([film[frame] for frame in chosen], told)))
        return parts
    for frame, text in zip(chosen, told, strict=True):
        for view, film in episode.frames.items():
            parts.append({"type": "text", "text": f"Camera {view}, {text}:"})
            parts.append(_picture(enlarged(film[frame])))
    return parts


def caption(frame: int, frames: int, fps: float) -> str:
    """Say when a frame is, and whether it is the first or the last."""
    time = f"{frame / fps:.1f} s"
    return f"{time} (start)" if frame == 0 else f"{time} (end)" if frame == frames - 1 else time


def enlarged(frame: UInt8[Array, "h w 3"]) -> Image.Image:
    """Enlarge a small frame; a large one stays as it is."""
    picture = Image.fromarray(np.ascontiguousarray(frame))
    factor = CELL / max(picture.size)
    if factor <= 1:
        return picture
    wide, high = (round(side * factor) for side in picture.size)
    return picture.resize((wide, high), Image.Resampling.BICUBIC)


def grid(frames: Sequence[UInt8[Array, "h w 3"]], captions: Sequence[str]) -> Image.Image:
    """Draw frames row by row, with a caption above each."""
    cells = [enlarged(frame) for frame in frames]
    wide, high = cells[0].width, cells[0].height + CAPTION
    columns = min(COLUMNS, len(cells))
    rows = -(-len(cells) // columns)
    sheet = Image.new("RGB", (columns * wide, rows * high), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (cell, text) in enumerate(zip(cells, captions, strict=True)):
        x, y = place % columns * wide, place // columns * high
        draw.text((x + 2, y + 1), text, fill="black")
        sheet.paste(cell, (x, y + CAPTION))
    return sheet


def _picture(image: Image.Image) -> dict[str, Any]:
    made = io.BytesIO()
    image.save(made, "PNG")
    data = base64.b64encode(made.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
