"""Images stored as the bytes of a JPEG or PNG file in an array."""

import io
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from worldeval.axes import Array, UInt8
from worldeval.data.finding import DataError

PACKED = "OSV"  # array kinds whose cells are bytes: variable length, fixed text, opaque
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I", "F")  # Pillow's modes with over a byte a pixel


def unpacked(
    cell: Any, file: Path, field: str, channels: Literal["rgb", "bgr"] | None = None
) -> UInt8[Array, "h w 3"]:
    """Decode the image in a cell: bytes, an array of bytes (padded or not), or an opaque value.

    Args:
        channels: `bgr` if the image was stored with red and blue swapped.

    Raises:
        DataError: it is not an image, or has more than 8 bits and so does not hold colours.
    """
    with _opened(cell, file, field) as image:
        if image.mode in SIXTEEN_BITS:
            raise DataError(
                file,
                field,
                f"the image has more than 8 bits per channel (mode {image.mode}); it may be depth.",
                "Give a map with depth: {KEY: [NEAR, FAR]}, or exclude the view (views:).",
            )
        try:
            frame = np.asarray(image.convert("RGB"))
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(file, field, f"it is not a readable image ({error}).") from error
    return np.ascontiguousarray(frame[..., ::-1] if channels == "bgr" else frame)


def unpacked_depth(cell: Any, file: Path, field: str) -> Array:
    """Decode a single-channel image of any bit depth to its stored numbers, (h, w)."""
    with _opened(cell, file, field) as image:
        try:
            values = np.asarray(image)
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(file, field, f"it is not a readable image ({error}).") from error
    if values.ndim != 2:
        raise DataError(file, field, f"it has {values.shape[2]} channels; depth must have one.")
    return values


def is_deep(cell: Any, file: Path, field: str) -> bool:
    """Whether a packed image has more than 8 bits a pixel."""
    with _opened(cell, file, field) as image:
        return image.mode in SIXTEEN_BITS


def _opened(cell: Any, file: Path, field: str) -> Image.Image:
    if isinstance(cell, np.ndarray | np.void):
        content = cell.tobytes()
    elif isinstance(cell, bytes):
        content = cell
    else:
        raise DataError(
            file, field, f"it contains {type(cell).__name__}, not the bytes of an image."
        )
    try:
        return Image.open(io.BytesIO(content))
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError, TypeError) as error:
        raise DataError(file, field, f"it is not a readable image ({error}).") from error
