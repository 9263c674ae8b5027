# h5py types every item as a group, a dataset or a datatype.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportIndexIssue=false
"""Thumbnails of episodes for lists: the last imagined frame, otherwise the start."""

import base64
import io
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from worldeval.axes import Array, UInt8
from worldeval.data.formats import hdf5
from worldeval.errors import UserError
from worldeval.runs.films import Filmstrip, read_frames

SIDE = 96  # pixels
LARGEST = 64 * 2**20  # bytes of start frames that are held


def thumbnail(frame: UInt8[Array, "h w 3"]) -> str:
    """Encode a frame as a data URI for a table, at most `SIDE` pixels wide and tall."""
    return f"data:image/webp;base64,{base64.b64encode(webp(frame)).decode('ascii')}"


def webp(frame: UInt8[Array, "h w 3"], *, side: int = SIDE) -> bytes:
    """Encode a frame as WebP, at most `side` pixels wide and tall."""
    picture = Image.fromarray(np.ascontiguousarray(frame))
    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    buffer = io.BytesIO()
    picture.resize(size, Image.Resampling.BILINEAR).save(buffer, format="WEBP", quality=80)
    return buffer.getvalue()


@lru_cache(maxsize=512)
def film_thumbnail(folder: Path, strip: Filmstrip) -> str:
    """Return the last imagined frame of a film strip, in its first view.

    Raises:
        UserError: the file is missing, damaged, or outside of the folder.
    """
    return thumbnail(next(iter(read_frames(folder, strip.imagined).values()))[-1])


@lru_cache(maxsize=2)
def start_thumbnails(path: Path, changed: int) -> dict[str, str]:
    """Return a picture of every start in a run's file of starts, by the start's id.

    `changed` is the file's modification time. Empty if the file is missing, damaged, or too large
    to be read for thumbnails only.
    """
    if not path.is_file():
        return {}
    try:
        with hdf5.opened(path) as file:
            views = hdf5.group(file, "frames", path)
            found = hdf5.dataset(views, next(iter(views), ""), path)
            if not hdf5.is_images(found) or found.nbytes > LARGEST:
                return {}
            frames, names = hdf5.whole(found, path), hdf5.texts(file, "id", path)
    except UserError:
        return {}
    if len(frames) != len(names):
        return {}
    return {name: thumbnail(frame) for name, frame in zip(names, frames, strict=True)}
