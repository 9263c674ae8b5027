"""Images in a policy's format: resized, padded, with blue or red first."""

from dataclasses import dataclass

import numpy as np

from worldeval.axes import Array, UInt8
from worldeval.errors import UserError


@dataclass(frozen=True, kw_only=True)
class PictureForm:
    """How an image is converted before a policy sees it."""

    size: tuple[int, int] | None = None  # height, width; None: unchanged
    pad: bool = True  # keep the aspect ratio and pad with black, as openpi's client does
    bgr: bool = False  # blue first, as OpenCV reads files

    def __call__(self, frames: UInt8[Array, "*n h w 3"]) -> UInt8[Array, "*n y x 3"]:
        """Convert images; returns a copy if anything changes."""
        if self.size is not None and frames.shape[-3:-1] != self.size:
            flat = frames.reshape(-1, *frames.shape[-3:])
            made = np.stack([_resized(one, self.size, pad=self.pad) for one in flat])
            frames = made.reshape(*frames.shape[:-3], *made.shape[-3:])
        return np.ascontiguousarray(frames[..., ::-1]) if self.bgr else frames


def picture_form(size: str | int, *, pad: bool = True, bgr: bool = False) -> PictureForm:
    """Build the conversion from an address's parameters: `size=224` or `size=240x320`."""
    return PictureForm(size=_read_size(size), pad=pad, bgr=bgr)


def _read_size(size: str | int) -> tuple[int, int] | None:
    if size == "":
        return None
    sides = [part.strip() for part in str(size).lower().split("x")]
    if not all(side.isdigit() and 1 <= int(side) <= 4096 for side in sides) or len(sides) > 2:
        raise UserError(f"size '{size}' must look like 224, or 240x320 (height x width).")
    return int(sides[0]), int(sides[-1])


def _resized(
    image: UInt8[Array, "h w 3"], size: tuple[int, int], *, pad: bool
) -> UInt8[Array, "y x 3"]:
    """Resize bilinearly; with `pad` the longer side fits, like openpi's `resize_with_pad`."""
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise UserError("Resizing images needs Pillow: pip install pillow.") from error
    height, width = size
    if not pad:
        return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    ratio = max(image.shape[1] / width, image.shape[0] / height)
    inner = (int(image.shape[1] / ratio), int(image.shape[0] / ratio))
    small = np.asarray(Image.fromarray(image).resize(inner, Image.Resampling.BILINEAR))
    out = np.zeros((height, width, 3), np.uint8)
    top, left = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
    out[top : top + small.shape[0], left : left + small.shape[1]] = small
    return out
