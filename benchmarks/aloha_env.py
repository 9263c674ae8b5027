"""ALOHA's simulated cube transfer (`gym-aloha`) as a simulator of worldeval.

    worldeval rank lab --policies ... --truth ./benchmarks/aloha_env.py:make

The right arm lifts a cube and hands it to the left arm. Starts, joints, actions and rewards are
those of gym-aloha's `AlohaTransferCube-v0`; success is its reward 4: the left gripper touches the
lifted cube. Three things differ, so that small policies learn the task on 2 cores: the cube starts
within 5 cm of the middle of gym-aloha's region, which reaches twice as far; pictures are small,
without shadows, from two cameras closer than the original one; and they are drawn when somebody
looks, not at every step (11 ms instead of 170 ms). Needs `pip install gym-aloha`.

Actions are 14 absolute joint targets at 50 Hz, with the grippers from 0 (closed) to 1 (open).
"""

import os
from typing import Any

import numpy as np

from worldeval.axes import Array, Float32, UInt8
from worldeval.envs.protocol import EnvFrame

RATE = 50.0  # controller steps per second
TRANSFERRED = 4  # gym-aloha's reward when the left gripper holds the lifted cube
VIEWS = {  # looked-at point in metres, distance, azimuth and elevation in degrees
    "above": ((0.04, 0.5, 0.1), 0.62, 90.0, -89.0),
    "front": ((0.04, 0.5, 0.14), 0.62, 90.0, -12.0),
}
MIDDLE, NEARER = (0.1, 0.5), 0.5  # of the cube's starts in metres; their distance from it, scaled
FINER = 3  # pictures are drawn this many times larger, and averaged


def make(*, size: int = 64, steps_per_frame: int = 10) -> "Aloha":
    """Return the simulator, with pictures of 3/4 `size` x `size` pixels."""
    return Aloha(size=(size * 3 // 4, size), steps_per_frame=steps_per_frame)


class Aloha:
    """gym-aloha's cube transfer as a worldeval `Environment`."""

    def __init__(self, *, size: tuple[int, int] = (48, 64), steps_per_frame: int = 10) -> None:
        os.environ.setdefault("MUJOCO_GL", "egl")
        import mujoco
        from dm_control.mujoco import Physics  # pyright: ignore[reportMissingImports]
        from gym_aloha.constants import ASSETS_DIR  # pyright: ignore[reportMissingImports]
        from gym_aloha.tasks.sim import TransferCubeTask  # pyright: ignore[reportMissingImports]

        self.size, self.steps_per_frame = size, steps_per_frame
        self.physics = Physics.from_xml_path(str(ASSETS_DIR / "bimanual_viperx_transfer_cube.xml"))
        self.task = TransferCubeTask()
        self.model, self.data = self.physics.model.ptr, self.physics.data.ptr
        self.model.vis.quality.offsamples = 0
        self.mujoco, self._renderer = mujoco, None
        self._cameras = {}
        for name, (point, distance, azimuth, elevation) in VIEWS.items():
            camera = mujoco.MjvCamera()  # pyright: ignore[reportAttributeAccessIssue]
            camera.lookat[:], camera.distance = point, distance
            camera.azimuth, camera.elevation = azimuth, elevation
            self._cameras[name] = camera
        self._substeps = round(1 / RATE / self.model.opt.timestep)

    @property
    def views(self) -> tuple[str, ...]:
        return tuple(self._cameras)

    @property
    def action_dim(self) -> int:
        return 14 * self.steps_per_frame

    @property
    def fps(self) -> float:
        return RATE / self.steps_per_frame

    @property
    def cube(self) -> np.ndarray:
        """The cube's place: x, y, z in metres."""
        return np.array(self.data.qpos[16:19])

    def reset(self, seed: int) -> EnvFrame:
        from gym_aloha.tasks.sim import BOX_POSE  # pyright: ignore[reportMissingImports]
        from gym_aloha.utils import sample_box_pose  # pyright: ignore[reportMissingImports]

        pose = sample_box_pose(seed)
        pose[:2] = MIDDLE + NEARER * (pose[:2] - MIDDLE)
        BOX_POSE[0] = pose
        self.task.initialize_episode(self.physics)
        self.mujoco.mj_forward(self.model, self.data)
        return self.frame(look=True)

    def step(self, action: Float32[Array, " a"], *, look: bool = True) -> EnvFrame:
        rewards = [self.control(part) for part in np.reshape(action, (-1, 14))]
        return self.frame(look=look, success=max(rewards) >= TRANSFERRED)

    def control(self, action: Float32[Array, " 14"]) -> int:
        """Apply one controller step, and return gym-aloha's reward of 0 to 4."""
        self.task.before_step(np.asarray(action, np.float64), self.physics)
        self.physics.step(self._substeps)
        return self.task.get_reward(self.physics)

    def frame(self, *, look: bool, success: bool = False) -> EnvFrame:
        """What is to be seen now."""
        frames: dict[str, UInt8[Array, "h w 3"]] = {}
        if look:
            frames = {name: self._drawn(camera) for name, camera in self._cameras.items()}
        pose = np.asarray(self.task.get_qpos(self.physics), np.float32)
        return EnvFrame(frames=frames, pose=pose, success=success)

    def close(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _drawn(self, camera: Any) -> UInt8[Array, "h w 3"]:
        height, width = self.size
        if self._renderer is None:
            self._renderer = self.mujoco.Renderer(self.model, FINER * height, FINER * width)
        self._renderer.update_scene(self.data, camera)
        for flag in ("SHADOW", "REFLECTION"):
            self._renderer.scene.flags[getattr(self.mujoco.mjtRndFlag, f"mjRND_{flag}")] = False
        fine = self._renderer.render().reshape(height, FINER, width, FINER, 3)
        return fine.mean((1, 3)).round().astype(np.uint8)
