# The library's type stubs are narrower than what it accepts and returns.
# pyright: reportAttributeAccessIssue=false
"""Meta-World (Farama, MuJoCo) as the ground truth that imagination is compared with."""

import importlib.util
import os
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from worldeval.axes import Array, Float32, UInt8
from worldeval.data.columns import ColumnGroup, Groups
from worldeval.envs.metaworld.scene import Camera, cameras
from worldeval.envs.protocol import EnvFrame
from worldeval.errors import UserError, did_you_mean

# OSMesa was faster than EGL for small frames on a CPU; an existing setting takes precedence.
os.environ.setdefault("MUJOCO_GL", "osmesa")

# Experts command more than the arm can do and are clipped, as intended; the warning is not useful.
warnings.filterwarnings("ignore", message=r"Constant\(s\) may be too high")

POSE_DIM = 4  # hand x y z (m), gripper opening (0-1)
RAW_ACTION_DIM = 4  # hand dx dy dz, gripper; each in [-1, 1]
OBJECT = slice(4, 7)  # the object's x y z (m) in Meta-World's observation
_NOW, _PAST = slice(0, 18), slice(18, 36)  # an observation holds the one before it, too
SIMULATOR_FPS = 80.0  # 1 / (5 physics steps of 2.5 ms)


def available() -> str | None:
    """Return None if the simulator can run, else what to do."""
    if importlib.util.find_spec("metaworld") is None:
        return "Meta-World is not installed: pip install 'worldeval[sim]'."
    return None


def make(task: str, *, size: int = 64, steps_per_frame: int = 5) -> "MetaWorld":
    """Open a task, for the address `metaworld`."""
    return MetaWorld(task, size=size, k=steps_per_frame)


class MetaWorld:
    """One Meta-World task with k simulator steps per world frame. See `Environment`.

    MuJoCo under OSMesa renders garbage from a second renderer in the same process, so use one
    environment per process.
    """

    def __init__(self, task: str, *, size: int = 64, k: int = 5) -> None:
        problem = available()
        if problem:
            raise UserError(problem)
        import mujoco

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # gymnasium's warnings about its own spaces
            from metaworld.env_dict import ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE as KNOWN

            name = f"{task}-goal-observable"
            if name not in KNOWN:
                known = [other.removesuffix("-goal-observable") for other in KNOWN]
                raise UserError(f"Meta-World has no task '{task}'.{did_you_mean(task, known)}")
            self.env: Any = KNOWN[name]()
        self.env._freeze_rand_vec = False
        self.task, self.k, self._cameras = task, k, cameras(task)
        model = self.env.model
        self._forward = mujoco.mj_forward
        model.vis.quality.shadowsize = 0  # shadows and multisampling make rendering 10x slower
        model.vis.quality.offsamples = 0
        self._renderer = mujoco.Renderer(model, size, size)
        flags = self._renderer.scene.flags
        flags[mujoco.mjtRndFlag.mjRND_SHADOW] = flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._options = mujoco.MjvOption()
        self._options.sitegroup[:] = 0  # hide goal markers, which would reveal the goal
        self._free = {camera.name: _free_camera(mujoco, camera) for camera in self._cameras}
        self.raw: Float32[Array, " o"] = np.zeros(39, np.float32)

    @property
    def views(self) -> tuple[str, ...]:
        return tuple(camera.name for camera in self._cameras)

    @property
    def object_columns(self) -> Groups:
        """The position of the object that the task is about: a handle, a button, a puck."""
        return (
            ColumnGroup(names=("object x", "object y", "object z"), means="position", unit="m"),
        )

    @property
    def action_dim(self) -> int:
        return self.k * RAW_ACTION_DIM

    @property
    def steps_per_frame(self) -> int:
        return self.k

    @property
    def fps(self) -> float:
        return SIMULATOR_FPS / self.k

    def reset(self, seed: int) -> EnvFrame:
        # Meta-World draws the object's position from its own generator and NumPy's global one.
        np.random.seed(seed % 2**32)
        self.env.seed(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.env.reset(seed=seed)
        # Meta-World moves the object after its last physics step: until positions are computed
        # anew, pictures and observations show where the object was before.
        self._forward(self.env.model, self.env.data)
        raw = self.env._get_obs()
        raw[_PAST] = raw[_NOW]
        self.raw = np.asarray(raw, np.float32)
        return self.frame(success=False)

    def step(self, action: Float32[Array, " a"], *, look: bool = True) -> EnvFrame:
        success = False
        for raw_action in action.reshape(self.k, RAW_ACTION_DIM):
            success |= self.advance(raw_action)
        if not look:
            return self._told({}, success=success)
        return self.frame(success=success)

    def advance(self, raw_action: Float32[Array, " 4"]) -> bool:
        """Advance one simulator step without rendering, for controllers that act between frames."""
        raw, _, _, _, info = self.env.step(np.clip(raw_action, -1, 1))
        self.raw = np.asarray(raw, np.float32)
        return bool(info["success"])

    def close(self) -> None:
        self._renderer.close()

    def frame(self, *, success: bool) -> EnvFrame:
        """Render the current state."""
        frames = {}
        for name, camera in self._free.items():
            self._renderer.update_scene(self.env.data, camera, self._options)
            frames[name] = self._renderer.render().copy()
        return self._told(frames, success=success)

    def _told(self, frames: Mapping[str, UInt8[Array, "h w 3"]], *, success: bool) -> EnvFrame:
        pose, objects = self.raw[:POSE_DIM].copy(), self.raw[OBJECT].copy()
        return EnvFrame(frames=frames, pose=pose, success=success, objects=objects)


def _free_camera(mujoco: Any, camera: Camera) -> Any:
    free = mujoco.MjvCamera()
    free.type = mujoco.mjtCamera.mjCAMERA_FREE
    free.lookat[:] = camera.lookat
    free.distance, free.azimuth, free.elevation = camera.distance, camera.azimuth, camera.elevation
    return free
