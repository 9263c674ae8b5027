"""LeRobot checkpoints as policies, executed as LeRobot does: `lerobot:<folder or hub id>`.

Every answer is what a loop of `select_action` would execute until its network is evaluated again,
with the checkpoint's own processors, frame history, temporal ensembling and `n_action_steps`.
LeRobot pins other versions of worldeval's dependencies, so it usually runs in an environment of its
own (`worldeval env lerobot`).
"""

import copy
import random
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from importlib import import_module
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from worldeval.axes import Array, Float32
from worldeval.errors import UserError
from worldeval.policy.lerobot_checkpoints import BEFORE, located
from worldeval.policy.lerobot_inputs import LeRobotInputs, resizes, training_ranges
from worldeval.policy.pictures import picture_form
from worldeval.policy.protocol import PolicySpec
from worldeval.record import Observation

ACTION = "action"
TOGETHER = ("act",)  # deterministic, so a batch can be answered at once


class LeRobotPolicy:
    """A `PreTrainedPolicy` as a worldeval policy. Its cameras keep the names after
    `observation.images.`; `views` (camera=world view;...) maps those that differ."""

    def __init__(
        self,
        *,
        source: str,
        views: Mapping[str, str] | str = "",
        device: str = "cpu",
        batched: bool | None = None,
        space: str = "",
        size: str | int = "",
        pad: bool = True,
        bgr: bool = False,
        n_action_steps: int | None = None,
        check_ranges: bool = True,
    ) -> None:
        """Load a checkpoint.

        Args:
            batched: answer all episodes together; default: only for deterministic policies.
                Others answer one episode after another, each with its own random numbers.
            size: resize images first: 224, or 240x320 (height x width).
            pad: when resizing, keep the aspect ratio and pad.
            bgr: provide images with blue first.
            n_action_steps: execute this many actions of a chunk, instead of the checkpoint's.
            check_ranges: refuse proprioception far outside the range of the training data.

        Raises:
            UserError: LeRobot is not installed, or `source` is not a checkpoint that it can read,
                or the checkpoint needs inputs that a world does not have.
        """
        place = located(source)
        self._config, self._policy, self._before, self._after = _read(
            place.folder, device, n_action_steps
        )
        self._inputs = LeRobotInputs(
            self._config,
            name=place.name,
            renamed=_pairs(views) if isinstance(views, str) else dict(views),
            form=picture_form(size, pad=pad, bgr=bgr),
            ranges=training_ranges(self._before) if check_ranges else {},
            resizes=resizes(self._before),
        )
        self._policy.reset()
        queue = self._actions()
        carried = 1 if queue is None else int(queue.maxlen or 1)
        self._spec = PolicySpec(
            name=place.name,
            lineage=place.lineage,
            step=place.step,
            views=tuple(self._inputs.cameras.values()),
            action_dim=int(self._config.output_features[ACTION].shape[0]),
            chunk=carried,
            space=space,
            history=int(getattr(self._config, "n_obs_steps", 1) or 1),
            replan=carried,
            replan_said_by=self._said_by(n_action_steps),
        )
        self._whole = self._config.type in TOGETHER if batched is None else batched
        self._groups: list[_Group] = []
        self._episodes, self._begun = 0, False

    @property
    def spec(self) -> PolicySpec:
        return self._spec

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Begin a batch: queues are emptied, and every episode draws from its own seed."""
        self._policy.reset()
        groups = seeds[:1] if self._whole else seeds
        self._groups = [_Group(self._policy, int(seed)) for seed in groups]
        self._episodes, self._begun = len(tasks), False

    def act(self, observation: Observation) -> Float32[Array, "b k a"]:
        """Return the actions up to the next network call, in the units of its dataset."""
        if len(observation) != self._episodes:
            raise ValueError(
                f"{len(observation)} episodes observed, but reset started {self._episodes}"
            )
        if len(observation.past) != self._spec.history - 1:
            raise UserError(
                f"Policy {self._spec.name} needs {self._spec.history} frames of history; got "
                f"{len(observation.window)}."
            )
        if not self._begun:
            self._inputs.check_start(observation)
            self._begun = True
        rows = [slice(None)] if self._whole else [slice(i, i + 1) for i in range(self._episodes)]
        answers = []
        for group, part in zip(self._groups, rows, strict=True):
            with group.acting(self._policy):
                answers.append(self._answer([_rows(moment, part) for moment in observation.window]))
        return np.concatenate(answers)

    def _answer(self, window: Sequence[Observation]) -> Float32[Array, "b k a"]:
        """Call `select_action` once, and return its action with those it leaves in the queue."""
        torch, policy = import_module("torch"), self._policy
        *past, now = window
        with torch.no_grad():
            for moment in past:
                queue = self._actions()
                if queue is None:
                    break
                # With an action in its queue, it records the frame without calling its network.
                queue.append(torch.zeros(len(moment), self._spec.action_dim))
                policy.select_action(self._before(self._inputs.batch(moment)))
            chosen = [policy.select_action(self._before(self._inputs.batch(now)))]
            queue = self._actions()
            if queue is not None:
                chosen += list(queue)
                queue.clear()
            done = [self._after(action).to("cpu", torch.float32).numpy() for action in chosen]
        return np.stack(done, axis=1)

    def _actions(self) -> deque | None:
        """The queue of actions not yet executed; None if every step calls the network."""
        queues = getattr(self._policy, "_queues", None) or {}
        if getattr(self._config, "temporal_ensemble_coeff", None) is not None:
            return None
        found = getattr(self._policy, "_action_queue", None)
        return found if isinstance(found, deque) else queues.get(ACTION)

    def _said_by(self, n_action_steps: int | None) -> str:
        if getattr(self._config, "temporal_ensemble_coeff", None) is not None:
            return "temporal ensembling of its checkpoint"
        if n_action_steps is not None:
            return "n_action_steps= of its address"
        chunked = not hasattr(self._config, "n_action_steps")  # VQ-BeT's name for it
        return f"{'action_chunk_size' if chunked else 'n_action_steps'} of its checkpoint"


class _Group:
    """State that jointly answered episodes keep between calls: queues and noise."""

    def __init__(self, policy: Any, seed: int) -> None:
        torch = import_module("torch")
        # Weights are shared; all other state of the policy belongs to this group.
        shared = {id(part): part for part in (policy.config, *policy.modules())}
        self._kept = {name: copy.deepcopy(value, shared) for name, value in _plain(policy).items()}
        self._torch = torch.Generator().manual_seed(seed).get_state()
        self._cuda = None
        if torch.cuda.is_available():
            self._cuda = torch.Generator("cuda").manual_seed(seed).get_state()
        self._numpy = np.random.RandomState(seed % 2**32).get_state()
        self._python = random.Random(seed).getstate()

    @contextmanager
    def acting(self, policy: Any) -> Iterator[None]:
        """Restore the policy's state of this group for the duration of the block."""
        torch = import_module("torch")
        outside = np.random.get_state(), random.getstate()
        for name, value in self._kept.items():
            setattr(policy, name, value)
        with torch.random.fork_rng():
            torch.set_rng_state(self._torch)
            if self._cuda is not None:
                torch.cuda.set_rng_state(self._cuda)
            np.random.set_state(self._numpy)
            random.setstate(self._python)
            try:
                yield
            finally:
                self._kept = _plain(policy)
                self._torch = torch.get_rng_state()
                if self._cuda is not None:
                    self._cuda = torch.cuda.get_rng_state()
                self._numpy, self._python = np.random.get_state(), random.getstate()
                np.random.set_state(outside[0])
                random.setstate(outside[1])


def _plain(policy: Any) -> dict[str, Any]:
    """A policy's state besides weights and settings: queues, ensemblers, last plans."""
    own = vars(import_module("torch").nn.Module())
    return {
        name: value for name, value in vars(policy).items() if name not in own and name != "config"
    }


def _rows(moment: Observation, rows: slice) -> Observation:
    frames = {view: image[rows] for view, image in moment.frames.items()}
    return replace(moment, frames=frames, pose=moment.pose[rows], tasks=moment.tasks[rows])


def _read(folder: str, device: str, n_action_steps: int | None) -> tuple[Any, Any, Any, Any]:
    """Load settings, policy and both processors of a checkpoint, or fail with one line."""
    factory = _lerobot("policies.factory")
    _lerobot("policies")  # registers every kind of policy
    config_class = _lerobot("configs.policies").PreTrainedConfig
    local = Path(folder)
    if local.is_dir() and not (local / BEFORE).is_file():
        raise UserError(
            f"lerobot:{folder} has no processors ({BEFORE}): it was written by a LeRobot version "
            "before 0.4. Convert it: python -m lerobot.processor.migrate_policy_normalization "
            f"--pretrained-path {folder}"
        )
    with _in_one_line(folder):
        config = config_class.from_pretrained(folder)
        config.device = device
        if n_action_steps is not None:
            _set_steps(config, n_action_steps, folder)
        policy = factory.get_policy_class(config.type).from_pretrained(folder, config=config)
        policy.eval().to(device)
        on = {"device_processor": {"device": device}}
        before, after = factory.make_pre_post_processors(
            policy_cfg=config, pretrained_path=folder, preprocessor_overrides=on
        )
    return config, policy, before, after


def _set_steps(config: Any, steps: int, folder: str) -> None:
    most = getattr(config, "chunk_size", None) or getattr(config, "horizon", None)
    if not hasattr(config, "n_action_steps") or most is None or not 1 <= steps <= most:
        raise UserError(
            f"lerobot:{folder} cannot execute {steps} actions of a chunk"
            + (f" of {most}." if most else ": this number cannot be set for its kind of policy.")
        )
    config.n_action_steps = steps


@contextmanager
def _in_one_line(folder: str) -> Iterator[None]:
    """Silence LeRobot's output, and turn its exceptions into one line."""
    try:
        with redirect_stdout(StringIO()):
            yield
    except UserError:
        raise
    except Exception as error:  # of any library that LeRobot uses
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = (lines[0] if lines else "no reason given")[:300]
        raise UserError(
            f"lerobot:{folder} cannot be read by LeRobot {_version()}: "
            f"{type(error).__name__}: {said}"
        ) from error


def _version() -> str:
    return str(getattr(_lerobot("__version__"), "__version__", ""))


def _lerobot(name: str) -> ModuleType:
    try:
        return import_module(f"lerobot.{name}")
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] == "lerobot":
            raise UserError(
                "LeRobot is not installed here. Make an environment for it, which is then used "
                "automatically: worldeval env lerobot"
            ) from error
        raise UserError(
            f"LeRobot {name} needs the package '{error.name}'. Install it in LeRobot's environment."
        ) from error


def _pairs(text: str) -> dict[str, str]:
    """Parse `top=side;wrist=hand` into a mapping."""
    pairs = [entry.partition("=") for entry in text.split(";") if entry]
    if not all(name and view for name, _, view in pairs):
        raise UserError(f"views '{text}' must look like camera=view;camera=view.")
    return {name.strip(): view.strip() for name, _, view in pairs}
