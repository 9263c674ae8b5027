"""Reading of video files with decord, an optional alternative decoder."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from worldeval.axes import Array, Int, UInt8
from worldeval.data.pyav_video import OPEN_FILES, PyavFile, identity, open_video


def open_decord(path: Path) -> "DecordFile":
    """Open a file once per thread, and keep it open while it is among the most recently used."""
    return _opened(path, *identity(path))


class DecordFile:
    """A video file read with decord if its frames equal PyAV's, and with PyAV otherwise."""

    def __init__(self, path: Path) -> None:
        import decord

        self._path = path
        self._errors = (decord.DECORDError, RuntimeError, IndexError)
        try:
            reader = decord.VideoReader(str(path), num_threads=1)
            self._reader = reader if _same(reader, open_video(path)) else None
        except self._errors:
            self._reader = None

    def read(self, rows: Int[Array, " n"]) -> UInt8[Array, "n h w 3"]:
        if self._reader is not None and len(rows):
            try:
                return self._reader.get_batch(rows.tolist()).asnumpy()
            except self._errors:
                self._reader = None
        # PyAV reads files that decord cannot, or reports what is wrong with the file.
        return open_video(self._path).read(rows)


def _same(reader: Any, file: PyavFile) -> bool:
    """Whether decord finds the same frames at the same times, and the same first image.

    The ffmpeg in decord does not support AV1, rotates images differently and reads edit lists
    differently.
    """
    seconds, facts = file.seconds, file.facts
    if not (file.upright and facts.codec == "h264" and facts.pix_fmt == "yuv420p"):
        return False
    if len(reader) != len(seconds):
        return False
    theirs = reader.get_frame_timestamp(np.arange(len(seconds)))[:, 0]
    if np.abs((theirs - theirs[0]) - (seconds - seconds[0])).max() > 1e-3:
        return False
    first = np.zeros(1, np.int64)
    return np.array_equal(reader.get_batch([0]).asnumpy(), file.read(first))


@lru_cache(maxsize=OPEN_FILES)
def _opened(path: Path, *_identity: int) -> DecordFile:
    return DecordFile(path)
