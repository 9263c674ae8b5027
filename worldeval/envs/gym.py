"""Any gymnasium environment as a simulator: images, proprioception, and success by name.

`gym:ID?param=value` passes its parameters to `gymnasium.make`, except these:

- `views`: comma-separated observation keys of images, or `render`; `front:pixels/cam0` calls a view
  `front`. Default: every image in the observation, or else what the environment renders.
- `pose`: observation keys of the robot's state. Default: agent_pos, state, or the only numbers.
- `objects`: observation keys of the objects' state, which `worldeval fidelity --probe` reads.
- `success`: a key of `info`, `reward>=0.95`, or `terminated`. Default: is_success or success.
- `fps`: simulator steps per second. Default: the environment's render_fps.
- `clip`: whether actions are clipped to the declared action space. Default: true. Some environments
  declare less than they accept: gym_aloha declares [-1, 1] for joint targets beyond it.
- `env.NAME`: a parameter of the environment that has one of these names.

Nested observations are named with slashes: `pixels/top`. A view without a name of its own is called
by the last part of its key.
"""

import importlib
import importlib.util
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from worldeval.axes import Array, Float32, UInt8
from worldeval.data.columns import ColumnGroup
from worldeval.envs.protocol import EnvFrame
from worldeval.errors import UserError, did_you_mean

OURS = ("views", "pose", "objects", "success", "fps", "clip")
POSES = ("agent_pos", "observation.state", "state", "robot_state", "proprio")
SUCCESSES = ("is_success", "success")
RENDER = "render"
RULE = re.compile(r"reward\s*(>=|>)\s*(-?[0-9.]+(?:e-?[0-9]+)?)")


class GymEnvironment:
    """A gymnasium environment with `steps_per_frame` steps per world frame. See `Environment`.

    Raises:
        UserError: there is no such environment, its observation has no images or no robot state,
            its rate is unknown, or its actions are not a box of numbers.
    """

    def __init__(
        self, name: str, params: Mapping[str, Any], *, size: int, steps_per_frame: int
    ) -> None:
        # `size` is for simulators with a choice of image size; here the address sets it.
        self.name, self.steps_per_frame = name, steps_per_frame
        own = {key: value for key, value in params.items() if key in OURS}
        given = {key.removeprefix("env."): v for key, v in params.items() if key not in OURS}
        self.env = _make(name, given)
        box = self.env.action_space
        if not hasattr(box, "low") or not np.issubdtype(box.dtype, np.floating):
            raise UserError(f"{name}: the action space is {box}, but a box of floats is needed.")
        self._low, self._high, self._shape = box.low.ravel(), box.high.ravel(), box.shape
        spaces = _flat_spaces(self.env.observation_space)
        pictures = [key for key, space in spaces.items() if _is_picture(space)]
        self._views = self._chosen_views(own.get("views"), pictures, spaces)
        self._pose = self._chosen_pose(own.get("pose"), spaces)
        self._objects = self._named_numbers(_split(own.get("objects")), spaces)
        self.object_columns = tuple(
            ColumnGroup(names=tuple(f"{key} {i}" for i in range(max(spaces[key].shape, default=1))))
            for key in self._objects
        )
        self._success = str(own["success"]) if "success" in own else None
        self._clip = own.get("clip", True)
        if not isinstance(self._clip, bool):
            raise UserError(f"{name}: clip must be true or false, not {self._clip}.")
        rate = own.get("fps") or (self.env.metadata or {}).get("render_fps")
        if not isinstance(rate, int | float) or not rate > 0:
            raise UserError(
                f"{name} does not declare its steps per second. Add fps=, e.g. {name}?fps=10."
            )
        self._rate = float(rate)
        self._last: EnvFrame | None = None

    @property
    def views(self) -> tuple[str, ...]:
        return tuple(self._views)

    @property
    def action_dim(self) -> int:
        return self.steps_per_frame * len(self._low)

    @property
    def fps(self) -> float:
        return self._rate / self.steps_per_frame

    def reset(self, seed: int) -> EnvFrame:
        seen, info = self.env.reset(seed=seed)
        self._last = self._frame(seen, success=bool(self._flag(info) or False), look=True)
        return self._last

    def step(self, action: Float32[Array, " a"], *, look: bool = True) -> EnvFrame:
        if self._last is None:
            raise RuntimeError("reset before the first step")
        if self._last.over:
            return self._last
        success, over, seen = False, False, None
        for part in np.asarray(action, np.float32).reshape(self.steps_per_frame, -1):
            inside = np.clip(part, self._low, self._high) if self._clip else part
            told = inside.reshape(self._shape).copy()
            seen, reward, terminated, truncated, info = self.env.step(told)
            success |= self._succeeded(float(reward), bool(terminated), info)
            over = bool(terminated or truncated)
            if over:
                break
        # Render an episode's last frame even if not requested, because it is shown from then on.
        self._last = self._frame(seen, success=success, over=over, look=look or over)
        return self._last

    def close(self) -> None:
        self.env.close()

    def _frame(self, seen: Any, *, success: bool, look: bool, over: bool = False) -> EnvFrame:
        values = _flat(seen)
        pose = [np.asarray(values[key], np.float32).ravel() for key in self._pose]
        frames: dict[str, UInt8[Array, "h w 3"]] = {}
        if look:
            for view, key in self._views.items():
                picture = self.env.render() if key == RENDER else values[key]
                frames[view] = np.array(picture, np.uint8)  # a copy: simulators draw in place
        state = [np.asarray(values[key], np.float32).ravel() for key in self._objects]
        return EnvFrame(
            frames=frames,
            pose=np.concatenate(pose),
            success=success,
            over=over,
            objects=np.concatenate(state) if state else None,
        )

    def _succeeded(self, reward: float, terminated: bool, info: Mapping[str, Any]) -> bool:
        if self._success == "terminated":
            return terminated
        if self._success is not None and (rule := RULE.fullmatch(self._success)):
            limit = float(rule[2])
            return reward >= limit if rule[1] == ">=" else reward > limit
        flag = self._flag(info)
        if flag is None:
            wanted = self._success or " or ".join(SUCCESSES)
            raise UserError(
                f"{self.name} does not report success: its info has no {wanted} (it has: "
                f"{', '.join(map(str, info)) or 'nothing'}). Add success=KEY, "
                "success=terminated or success=reward>=0.95."
            )
        return flag

    def _flag(self, info: Mapping[str, Any]) -> bool | None:
        for key in (self._success,) if self._success else SUCCESSES:
            if key in info:
                return bool(np.asarray(info[key]).any())
        return None

    def _chosen_views(
        self, named: Any, pictures: list[str], spaces: Mapping[str, Any]
    ) -> dict[str, str]:
        named_keys = [_named(part) for part in _split(named)]
        chosen = named_keys or [_named(key) for key in pictures]
        if not chosen and self.env.render_mode == "rgb_array":
            chosen = [(RENDER, RENDER)]
        if not chosen:
            raise UserError(
                f"{self.name} gives no images: its observation has {_listed(spaces)}. Add the "
                "parameter that enables them (e.g. obs_type=pixels_agent_pos), or "
                "views=render&render_mode=rgb_array."
            )
        for _, key in chosen:
            if key == RENDER and self.env.render_mode == "rgb_array":
                continue
            if key not in pictures:
                hint = did_you_mean(key, pictures)
                raise UserError(f"{self.name}: '{key}' is not an image of its observation.{hint}")
        views = dict(chosen)
        if len(views) < len(chosen):
            keys = ", ".join(key for _, key in chosen)
            raise UserError(
                f"{self.name}: two views of {keys} have the same name. Name them: views=NAME:KEY."
            )
        return views

    def _chosen_pose(self, named: Any, spaces: Mapping[str, Any]) -> tuple[str, ...]:
        numbers = [key for key, space in spaces.items() if _is_numbers(space)]
        keys = _split(named)
        if not keys:
            keys = [key for key in POSES if key in numbers][:1]
        if not keys and len(numbers) == 1:
            keys = numbers
        if not keys:
            raise UserError(
                f"{self.name}: cannot tell which part of the observation is the robot's state. It "
                f"has {_listed(spaces)}. Add pose=KEY[,KEY]."
            )
        return self._named_numbers(keys, spaces)

    def _named_numbers(self, keys: list[str], spaces: Mapping[str, Any]) -> tuple[str, ...]:
        numbers = [key for key, space in spaces.items() if _is_numbers(space)]
        for key in keys:
            if key not in numbers:
                hint = did_you_mean(key, numbers)
                raise UserError(f"{self.name}: '{key}' is not numeric in its observation.{hint}")
        return tuple(keys)


def _make(name: str, params: dict[str, Any]) -> Any:
    if importlib.util.find_spec("gymnasium") is None:
        raise UserError("gymnasium is not installed: pip install 'worldeval[serve]'.")
    import gymnasium
    from gymnasium.error import Error

    package = name.partition("/")[0]
    if "/" in name and ":" not in name and name not in gymnasium.registry:
        try:
            importlib.import_module(package)  # registers its environments
        except ModuleNotFoundError as error:
            if error.name != package:
                raise UserError(f"{package} needs {error.name}, which is not installed.") from error
    try:
        return gymnasium.make(name, disable_env_checker=True, **params)
    except (Error, ModuleNotFoundError) as error:
        raise UserError(
            f"There is no gymnasium environment '{name}' here: {error}. Install the package that "
            f"provides it{f' (pip install {package})' if '/' in name else ''}."
        ) from error
    except TypeError as error:
        raise UserError(f"{name} does not accept these parameters: {error}.") from error


def _flat_spaces(space: Any, at: str = "") -> dict[str, Any]:
    """Every leaf of a space by its path; a single leaf is called `observation`."""
    inner = getattr(space, "spaces", None)
    if isinstance(inner, Mapping):
        out = {}
        for key, value in inner.items():
            out |= _flat_spaces(value, f"{at}/{key}" if at else str(key))
        return out
    return {at or "observation": space}


def _flat(seen: Any, at: str = "") -> dict[str, Any]:
    if isinstance(seen, Mapping):
        out = {}
        for key, value in seen.items():
            out |= _flat(value, f"{at}/{key}" if at else str(key))
        return out
    return {at or "observation": seen}


def _is_picture(space: Any) -> bool:
    shape = getattr(space, "shape", None) or ()
    return len(shape) == 3 and shape[2] == 3 and space.dtype == np.uint8


def _is_numbers(space: Any) -> bool:
    shape = getattr(space, "shape", None)
    return shape is not None and len(shape) <= 1 and np.issubdtype(space.dtype, np.floating)


def _split(named: Any) -> list[str]:
    return [part.strip() for part in str(named).split(",")] if named else []


def _named(part: str) -> tuple[str, str]:
    """A view's name and key, from `name:key` or `key` alone."""
    name, colon, key = part.partition(":")
    return (name, key) if colon else (re.split(r"[./]", part)[-1], part)


def _listed(spaces: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {getattr(space, 'shape', '')}" for key, space in spaces.items())
