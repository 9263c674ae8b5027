# mujoco types its native names as missing.
# pyright: reportAttributeAccessIssue=false
"""robosuite's Lift as a simulator: a Panda arm lifts a cube from a table.

    worldeval rank lab --policies ... --truth ./benchmarks/robosuite_env.py:make

Actions are robosuite's own at 20 Hz (operational space control): changes of position and
rotation and the gripper, each in [-1, 1]. The cube lies within `spread` metres of the table's
centre, further away than by robosuite's default. Views are a camera in front (96x128, narrower than
robosuite's `agentview`) and one at the wrist (64x64), drawn without shadows and without the robot's
base, which takes a tenth of the time. Needs `pip install robosuite` and MUJOCO_GL=osmesa or egl.
"""

import contextlib
import io
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from worldeval.envs.protocol import EnvFrame

TASK = "Lift"
RATE = 20.0  # control steps per second
VIEWS = {"agentview": (96, 128), "robot0_eye_in_hand": (64, 64)}  # robosuite's names; height, width
FIELD = 32.0  # degrees of the front camera's vertical field of view; robosuite's is 45
UNSEEN = ("fixed_mount0", "robot0_link0", "robot0_link1", "robot0_link2")  # 97,000 triangles
POSE = ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos")
SPREAD = 0.08  # metres
TABLE = 0.8  # height in metres

Vector = np.ndarray


class Lift:
    """robosuite's Lift, with `steps_per_frame` control steps per world frame. See `Environment`.

    Args:
        spread: the cube's largest distance from the table's centre along x and y, in metres.
    """

    views = tuple(VIEWS)

    def __init__(self, steps_per_frame: int = 1, *, spread: float = SPREAD) -> None:
        self.steps_per_frame = steps_per_frame
        self.sim = _lift(spread)
        model = self.sim.sim.model._model
        model.vis.quality.shadowsize = model.vis.quality.offsamples = 0
        model.cam_fovy[model.camera("agentview").id] = FIELD
        for geom in range(model.ngeom):
            if model.body(model.geom_bodyid[geom]).name.startswith(UNSEEN):
                model.geom_rgba[geom, 3] = 0
        self._model, self._renderers = model, {}
        self.seen: Mapping[str, Vector] = {}

    @property
    def action_dim(self) -> int:
        return self.steps_per_frame * len(self.sim.action_spec[0])

    @property
    def fps(self) -> float:
        return RATE / self.steps_per_frame

    def reset(self, seed: int) -> EnvFrame:
        rng = np.random.default_rng(seed)
        self.sim.rng = self.sim.placement_initializer.rng = rng
        self.seen = self.sim.reset()
        return self._frame(False, look=True)

    def step(self, action: Vector, *, look: bool = True) -> EnvFrame:
        low, high = self.sim.action_spec
        success = False
        for part in np.asarray(action, np.float64).reshape(self.steps_per_frame, -1):
            self.seen, *_ = self.sim.step(np.clip(part, low, high))
            success |= bool(self.sim._check_success())
        return self._frame(success, look=look)

    def close(self) -> None:
        for renderer in self._renderers.values():
            renderer.close()
        self.sim.close()

    def _frame(self, success: bool, *, look: bool) -> EnvFrame:
        pose = np.concatenate([self.seen[key] for key in POSE]).astype(np.float32)
        frames = {view: self._drawn(view) for view in VIEWS} if look else {}
        return EnvFrame(frames=frames, pose=pose, success=success)

    def _drawn(self, view: str) -> np.ndarray:
        import mujoco

        size = VIEWS[view]
        if size not in self._renderers:
            renderer = self._renderers[size] = mujoco.Renderer(self._model, *size)
            for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
                renderer.scene.flags[flag] = 0
        renderer, shown = self._renderers[size], mujoco.MjvOption()
        shown.geomgroup[0] = 0  # shapes for collisions
        renderer.update_scene(self.sim.sim.data._data, camera=view, scene_option=shown)
        return renderer.render().copy()


def make(steps_per_frame: int = 1, spread: float = SPREAD) -> Lift:
    """Return the simulator."""
    return Lift(steps_per_frame, spread=spread)


def arguments() -> dict[str, Any]:
    """What robosuite is made with; a file of demonstrations states it."""
    with contextlib.redirect_stdout(io.StringIO()):
        from robosuite.controllers import (  # pyright: ignore[reportMissingImports]
            load_composite_controller_config,
        )

        config = load_composite_controller_config(controller="BASIC", robot="Panda")
    # robosuite's file also describes arms and a base that this robot does not have.
    config["body_parts"] = {"right": config["body_parts"]["right"]}
    return {
        "robots": "Panda", "control_freq": int(RATE), "controller_configs": config,
        "has_renderer": False, "has_offscreen_renderer": False, "use_camera_obs": False,
        "ignore_done": True, "hard_reset": False,
    }  # fmt: skip


def _lift(spread: float) -> Any:
    logging.disable(logging.WARNING)  # robosuite reports what is optional
    import robosuite  # pyright: ignore[reportMissingImports]
    from robosuite.utils.placement_samplers import (  # pyright: ignore[reportMissingImports]
        UniformRandomSampler,
    )

    placed = UniformRandomSampler(
        name="ObjectSampler", x_range=[-spread, spread], y_range=[-spread, spread], rotation=None,
        ensure_object_boundary_in_range=False, ensure_valid_placement=True,
        reference_pos=np.array([0, 0, TABLE]), z_offset=0.01,
    )  # fmt: skip
    # The cube's size is drawn once, by this seed; everything else by that of the reset.
    made = robosuite.make(TASK, **arguments(), placement_initializer=placed, seed=0)
    logging.disable(logging.NOTSET)
    return made
