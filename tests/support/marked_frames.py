"""Pictures that say which episode, frame and camera they are of, even after video compression.

A picture is a chessboard of 4 x 8 cells, each bright or dark: 8 bits of episode, 12 of frame, 4 of
camera, 8 of checksum. `read_mark` reads it off again and refuses a picture that was rotated, cut,
mixed with another or decoded wrongly. Bright cells are orange, so that red and blue swapped show as
well (`swapped`).
"""

import zlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

ROWS, COLUMNS = 4, 8
SIZE = (32, 64)  # height, width: cells of 8 x 8 pixels, the block of most codecs
BRIGHT, DARK = (235, 180, 60), (20, 40, 80)
MIDDLE = 110  # between the green of a bright and of a dark cell
BITS = {"episode": 8, "frame": 12, "camera": 4}


class Mark(NamedTuple):
    """What a picture is of."""

    episode: int
    frame: int
    camera: int


def marked(episode: int, frame: int, camera: int = 0, *, size: tuple[int, int] = SIZE):
    """The picture of one frame, uint8 (h, w, 3) RGB; sides from 16 x 32 pixels survive H.264."""
    bits = []
    for value, (name, width) in zip((episode, frame, camera), BITS.items(), strict=True):
        if not 0 <= value < 1 << width:
            raise ValueError(f"{name} {value} does not fit into {width} bits")
        bits += [value >> place & 1 for place in reversed(range(width))]
    cells = np.array(bits + _checksum(bits), bool).reshape(ROWS, COLUMNS)
    rows = np.arange(size[0]) * ROWS // size[0]
    columns = np.arange(size[1]) * COLUMNS // size[1]
    board = cells[rows][:, columns]
    return np.where(board[..., None], np.array(BRIGHT, np.uint8), np.array(DARK, np.uint8))


def clip(episode: int, frames: int | Iterable[int], camera: int = 0, *, size=SIZE):
    """The pictures of the first `frames`, or of those listed: uint8 (n, h, w, 3)."""
    listed = range(frames) if isinstance(frames, int) else frames
    return np.stack([marked(episode, frame, camera, size=size) for frame in listed])


def read_mark(picture) -> Mark:
    """What a picture is of.

    Raises:
        ValueError: the checksum is wrong: no such picture, or one rotated, cut or mixed.
    """
    height, width = picture.shape[:2]
    bits = []
    for row in range(ROWS):
        for column in range(COLUMNS):
            cell = picture[
                _middle(row, ROWS, height), _middle(column, COLUMNS, width)
            ]  # its edges are where codecs blur
            bits.append(int(np.median(cell[..., 1]) > MIDDLE))
    end = sum(BITS.values())
    if bits[end:] != _checksum(bits[:end]):
        raise ValueError(f"the picture bears no mark: {bits}")
    values, begin = [], 0
    for width in BITS.values():
        values.append(int("".join(map(str, bits[begin : begin + width])), 2))
        begin += width
    return Mark(*values)


def read_marks(pictures) -> list[Mark]:
    """What each of some pictures is of."""
    return [read_mark(picture) for picture in pictures]


def shown(pictures) -> list[int]:
    """The frame number of each picture, for clips of one episode and camera."""
    return [mark.frame for mark in read_marks(pictures)]


def swapped(picture) -> bool:
    """Whether red and blue have changed places."""
    bright = picture[picture[..., 1] > MIDDLE].astype(int)
    return bool(bright[:, 2].mean() > bright[:, 0].mean())


def _checksum(bits: list[int]) -> list[int]:
    value = zlib.crc32(bytes(bits)) & 0xFF
    return [value >> place & 1 for place in reversed(range(8))]


def _middle(cell: int, cells: int, pixels: int) -> slice:
    begin, end = cell * pixels // cells, (cell + 1) * pixels // cells
    edge = (end - begin) // 4
    return slice(begin + edge, end - edge)
