"""LeRobot checkpoints as policies: `lerobot:<folder or hub id>`.

Always through the checkpoint's own pre- and post-processors. LeRobot pins older versions of what
worldeval needs, so it usually runs in an environment of its own, behind `worldeval serve-policy`.
"""

import copy
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from worldeval.axes import Array, Float32
from worldeval.errors import UserError, did_you_mean
from worldeval.policy.protocol import PolicySpec
from worldeval.record import Observation

IMAGES, STATE, ACTION = "observation.images.", "observation.state", "action"
REPEATABLE = ("act", "vqbet")  # nothing in their answers is drawn: a batch can be answered at once


class LeRobotPolicy:
    """A `PreTrainedPolicy` in our protocol. Its cameras keep the names that follow
    `observation.images.`; `views` (camera=our view, ...) says where ours are called otherwise."""

    def __init__(
        self,
        *,
        source: str,
        views: Mapping[str, str] | str = "",
        name: str = "",
        device: str = "cpu",
        batched: bool | None = None,
        space: str = "",
    ) -> None:
        """Load a checkpoint.

        Args:
            batched: answer all episodes together. Policies that draw noise then draw it for the
                batch, so that an episode's actions depend on its neighbours; default: only for
                policies that draw none.

        Raises:
            UserError: LeRobot is not installed, or `source` is no checkpoint that it reads.
        """
        configs, factory = _lerobot("configs.policies"), _lerobot("policies.factory")
        _lerobot("policies")  # registers every kind of policy
        try:
            config = configs.PreTrainedConfig.from_pretrained(source)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"lerobot:{source} is no LeRobot checkpoint: {error}") from error
        config.device = device
        self._policy = factory.get_policy_class(config.type).from_pretrained(source, config=config)
        self._policy.eval().to(device)
        on = {"device_processor": {"device": device}}
        self._before, self._after = factory.make_pre_post_processors(
            policy_cfg=config, pretrained_path=source, preprocessor_overrides=on
        )
        self._config: Any = config
        cameras = {str(key): str(key).removeprefix(IMAGES) for key in config.image_features}
        renamed = _pairs(views) if isinstance(views, str) else dict(views)
        _known(renamed, tuple(cameras.values()), source)
        self._cameras: dict[str, str] = {
            key: renamed.get(camera, camera) for key, camera in cameras.items()
        }
        chunk = getattr(config, "n_action_steps", None) or getattr(config, "chunk_size", 1)
        name = name or _named(source)
        self._spec = PolicySpec(
            name=name,
            lineage=name,
            step=0,
            views=tuple(self._cameras.values()),
            action_dim=int(config.output_features[ACTION].shape[0]),
            chunk=int(chunk),
            space=space,
        )
        self._whole = config.type in REPEATABLE if batched is None else batched
        self._seeds: list[int] = []
        self._queues: list[Any] = []
        self._calls = 0

    @property
    def spec(self) -> PolicySpec:
        return self._spec

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Begin a batch; histories are empty and noise begins by the episodes' seeds."""
        self._policy.reset()
        self._seeds, self._calls = [int(seed) for seed in seeds], 0
        # Policies that look back keep what they saw in queues: every group of episodes its own.
        groups = 1 if self._whole else len(tasks)
        self._queues = [
            copy.deepcopy(getattr(self._policy, "_queues", None)) for _ in range(groups)
        ]

    def act(self, observation: Observation) -> Float32[Array, "b k a"]:
        """Chunks in the units of the checkpoint's dataset."""
        if len(observation) != len(self._seeds):
            raise ValueError(f"{len(observation)} episodes observed, {len(self._seeds)} begun")
        self._calls += 1
        if self._whole:
            return self._group(observation, slice(None), 0)
        rows = [self._group(observation, slice(i, i + 1), i) for i in range(len(observation))]
        return np.concatenate(rows)

    def _group(self, observation: Observation, rows: slice, group: int) -> Float32[Array, "b k a"]:
        torch, policy = import_module("torch"), self._policy
        seeds = self._seeds[rows]
        with torch.random.fork_rng(), torch.no_grad():
            drawn = np.random.SeedSequence([*seeds, self._calls]).generate_state(1)[0]
            torch.manual_seed(int(drawn))
            batch = self._before(self._batch(observation, rows))
            if self._queues[group] is not None:
                policy._queues = self._queues[group]
                batch = self._remembered(batch)
                self._queues[group] = policy._queues
            chunk = policy.predict_action_chunk(batch)[:, : self._spec.chunk]
            return self._after(chunk).to("cpu", torch.float32).numpy()

    def _batch(self, observation: Observation, rows: slice) -> dict[str, Any]:
        torch, batch = import_module("torch"), {}
        for key, view in self._cameras.items():
            if view not in observation.frames:
                known = ", ".join(observation.frames)
                raise UserError(
                    f"Policy {self._spec.name} reads camera '{view}'; the world has {known}. Give "
                    "views=<its camera>=<the world's view> with its address."
                )
            frames = np.ascontiguousarray(observation.frames[view][rows])
            batch[key] = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
        if STATE in self._config.input_features:
            size = int(self._config.input_features[STATE].shape[0])
            if observation.pose.shape[1] != size:
                raise UserError(
                    f"Policy {self._spec.name} reads {size} numbers of proprioception; the world "
                    f"gives {observation.pose.shape[1]}."
                )
            batch[STATE] = torch.from_numpy(np.array(observation.pose[rows], np.float32))
        batch["task"] = list(observation.tasks[rows])
        return batch

    def _remembered(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Put an observation into the policy's queues, as its `select_action` does.

        The history is of the moments at which the policy was asked, not of every frame.
        """
        batch = {key: value for key, value in batch.items() if key != ACTION}
        if self._config.image_features:
            images = [batch[key] for key in self._config.image_features]
            batch = {**batch, "observation.images": import_module("torch").stack(images, dim=-4)}
        queues = {key: queue for key, queue in self._policy._queues.items() if key != ACTION}
        self._policy._queues |= _lerobot("policies.utils").populate_queues(queues, batch)
        return batch


def _named(source: str) -> str:
    """A folder's name, the one above `pretrained_model`; a hub id as it is."""
    path = Path(source.rstrip("/").removesuffix("/pretrained_model"))
    return path.name if path.is_absolute() or Path(source).is_dir() else str(path)


def _lerobot(name: str) -> ModuleType:
    try:
        return import_module(f"lerobot.{name}")
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] == "lerobot":
            raise UserError(
                "LeRobot is not installed here. In an environment that has it, run "
                "`worldeval serve-policy lerobot:...` and rank `ws://localhost:8000`."
            ) from error
        raise


def _pairs(text: str) -> dict[str, str]:
    """`top=side;wrist=hand` as a mapping."""
    pairs = [entry.partition("=") for entry in text.split(";") if entry]
    if not all(name and view for name, _, view in pairs):
        raise UserError(f"views '{text}' must look like camera=view;camera=view.")
    return {name.strip(): view.strip() for name, _, view in pairs}


def _known(renamed: Mapping[str, str], cameras: tuple[str, ...], source: str) -> None:
    for camera in renamed:
        if camera not in cameras:
            hint = did_you_mean(camera, cameras)
            raise UserError(f"lerobot:{source} has no camera '{camera}'.{hint}")
