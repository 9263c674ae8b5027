"""What a LeRobot checkpoint reads, compared with what a world shows: views, sizes, ranges.

A checkpoint takes other sizes and units without a word, and is then another policy.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from worldeval.axes import Array, Float32, UInt8
from worldeval.errors import UserError
from worldeval.policy.pictures import PictureForm
from worldeval.policy.views import find_view
from worldeval.record import Observation

IMAGES, IMAGE, STATE = "observation.images.", "observation.image", "observation.state"
# By these a policy brings pictures of any size to its own.
RESIZES = ("resize_imgs_with_padding", "image_resolution", "resize_shape", "resize_size")
FAR = 10.0  # widths of the training data's range beyond which a number is in other units


class LeRobotInputs:
    """Turns observations into a checkpoint's batches, and refuses what it was not trained on."""

    def __init__(
        self,
        config: Any,
        *,
        name: str,
        renamed: Mapping[str, str],
        form: PictureForm,
        ranges: Mapping[str, Mapping[str, Any]],
        resizes: bool,
    ) -> None:
        """`ranges` has the least and greatest of every input in the training data, where known.

        Raises:
            UserError: the checkpoint reads what no world model has, or has no such camera.
        """
        self._name, self._form = name, form
        self._shapes: dict[str, tuple[int, ...]] = {
            key: tuple(feature.shape) for key, feature in config.image_features.items()
        }
        reads = {key: tuple(feature.shape) for key, feature in config.input_features.items()}
        for key in reads:
            if key not in self._shapes and key != STATE:
                raise UserError(
                    f"lerobot policy {name} reads '{key}', which a world model does not have: it "
                    "shows cameras and proprioception."
                )
        self.state: int | None = reads[STATE][0] if STATE in reads else None
        self.cameras: dict[str, str] = {}
        for key in self._shapes:
            camera = key.removeprefix(IMAGES) if key != IMAGE else "image"
            self.cameras[key] = renamed.get(camera, camera)
        own = {key.removeprefix(IMAGES) for key in self._shapes} | {"image"}
        for camera in renamed:
            if camera not in own:
                has = ", ".join(sorted(own & {k.removeprefix(IMAGES) for k in self._shapes}))
                raise UserError(f"lerobot policy {name} has no camera '{camera}' (it has: {has}).")
        self._resizes = resizes or any(getattr(config, key, None) for key in RESIZES)
        self._ranges = ranges

    def batch(self, seen: Observation) -> dict[str, Any]:
        """One moment as the checkpoint's preprocessor takes it."""
        torch, batch = import_module("torch"), {}
        for key, camera in self.cameras.items():
            frames = self._picture(key, camera, seen)
            batch[key] = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
        if self.state is not None:
            batch[STATE] = torch.from_numpy(np.array(seen.pose, np.float32))
        batch["task"] = list(seen.tasks)
        return batch

    def check_start(self, seen: Observation) -> None:
        """Refuse proprioception of another size, or far outside of what the checkpoint learned.

        Raises:
            UserError: says which number, and what the data held.
        """
        if self.state is None:
            return
        if seen.pose.shape[1] != self.state:
            raise UserError(
                f"Policy {self._name} reads {self.state} numbers of proprioception; the world "
                f"gives {seen.pose.shape[1]}."
            )
        known = self._ranges.get(STATE, {})
        if "min" not in known or "max" not in known:
            return
        low, high = (np.asarray(known[end], np.float64).reshape(-1) for end in ("min", "max"))
        if len(low) != self.state or len(high) != self.state:
            return
        width = high - low
        beyond = np.maximum(low - seen.pose, seen.pose - high)
        # A number that never changed in the data says nothing of its units.
        wrong = ((beyond > FAR * width) & (width > 1e-3)).any(0)
        if wrong.any():
            place = int(np.flatnonzero(wrong)[0])
            raise UserError(
                f"Policy {self._name} learned with number {place} of its proprioception between "
                f"{low[place]:.3g} and {high[place]:.3g}; the world gives "
                f"{seen.pose[0, place]:.3g}. Other units or another order? Convert it, or give "
                "check_ranges=false with the address."
            )

    def _picture(self, key: str, camera: str, seen: Observation) -> UInt8[Array, "b h w 3"]:
        view = find_view(
            camera,
            tuple(seen.frames),
            policy=self._name,
            remedy="Give views=<its camera>=<the world's view> with its address.",
        )
        frames, shape = self._form(np.ascontiguousarray(seen.frames[view])), self._shapes[key]
        if len(shape) != 3 or shape[0] != 3:
            raise UserError(
                f"Policy {self._name} reads '{key}' as {shape}; a world shows 3 x height x width."
            )
        if frames.shape[1:3] != shape[1:] and not self._resizes:
            raise UserError(
                f"Policy {self._name} was trained on pictures of {_by(shape[1:])} from '{camera}' "
                f"and does not resize; it would be shown {_by(frames.shape[1:3])}. Give "
                f"size={_address(shape[1:])} with its address (and pad=false to stretch)."
            )
        return frames


def training_ranges(pipeline: Any) -> dict[str, dict[str, Float32[Array, " n"]]]:
    """Least and greatest of every input in the training data, as the normaliser keeps them."""
    found: dict[str, dict[str, Any]] = {}
    for step in getattr(pipeline, "steps", ()):
        for key, known in (getattr(step, "_tensor_stats", None) or {}).items():
            ends = {end: np.asarray(known[end]) for end in ("min", "max") if end in known}
            found.setdefault(str(key), {}).update(ends)
    return found


def resizes(pipeline: Any) -> bool:
    """Whether a checkpoint's own processors bring pictures to their size."""
    names = [type(step).__name__ for step in getattr(pipeline, "steps", ())]
    return any("Resize" in name or "ImageCrop" in name for name in names)


def _by(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} x {shape[1]}"


def _address(shape: tuple[int, ...]) -> str:
    return str(shape[0]) if shape[0] == shape[1] else f"{shape[0]}x{shape[1]}"
