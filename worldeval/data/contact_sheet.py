"""A contact sheet: the first, middle and last frame of some episodes, in every view."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from worldeval.axes import Array, UInt8
from worldeval.data.finding import DataError
from worldeval.data.source import Head, Source
from worldeval.files import whole_file

EPISODES, MOMENTS = 8, 3
WIDTH, GAP, TITLE = 160, 4, 16  # pixels
MARK = {True: "success", False: "failure", None: "success unknown"}
INK, PAPER, BROKEN = (30, 30, 30), (250, 250, 250), (200, 60, 60)


def contact_sheet(source: Source, path: Path) -> Path:
    """Write a PNG with one row for each of up to eight episodes, spread evenly over the dataset.

    The names of the views are above their columns.
    """
    chosen = np.unique(np.linspace(0, len(source.heads) - 1, EPISODES).round().astype(int))
    rows = [_header(source), *(_row(source, int(index)) for index in chosen)]
    width = max(row.width for row in rows)
    sheet = Image.new("RGB", (width, sum(row.height for row in rows)), PAPER)
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    with whole_file(path) as draft:
        sheet.save(draft, format="PNG")
    return path


def _header(source: Source) -> Image.Image:
    step = MOMENTS * (WIDTH + GAP)
    header = Image.new("RGB", (len(source.spec.views) * step, TITLE), PAPER)
    for place, view in enumerate(source.spec.views):
        ImageDraw.Draw(header).text((place * step + GAP, 2), _latin(view), fill=INK)
    return header


def _row(source: Source, index: int) -> Image.Image:
    head = source.heads[index]
    moments = np.linspace(0, head.length - 1, MOMENTS).round().astype(int)
    cells: list[Image.Image] = []
    for view, (height, width) in source.spec.views.items():
        size = (WIDTH, max(1, round(height * WIDTH / width)))
        try:
            cells += [_cell(frame, size) for frame in source.frames(index, view, moments)]
        except DataError:  # inspecting goes on; `data check` names the file
            cells += [Image.new("RGB", size, BROKEN)] * MOMENTS
    tall = max(cell.height for cell in cells)
    row = Image.new("RGB", (len(cells) * (WIDTH + GAP), TITLE + tall + GAP), PAPER)
    ImageDraw.Draw(row).text((GAP, 2), _title(head), fill=INK)
    for place, cell in enumerate(cells):
        row.paste(cell, (place * (WIDTH + GAP), TITLE))
    return row


def _cell(frame: UInt8[Array, "h w 3"], size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR)


def _title(head: Head) -> str:
    task = head.task or "(no task)"
    return _latin(f"{head.id}   {MARK[head.success]}   {head.length} frames   {task}")


def _latin(text: str) -> str:
    """The built-in font knows Latin letters only."""
    return text.encode("latin-1", "replace").decode("latin-1")
