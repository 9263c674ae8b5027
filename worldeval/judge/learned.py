"""The learned judge: saved as a folder, called on roll-outs; gives probabilities and votes."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from worldeval.axes import Array, Float, Int
from worldeval.checked_weights import described, fill
from worldeval.config import build_known
from worldeval.device import pick_device
from worldeval.errors import UserError
from worldeval.files import read_object, whole_file, write_json
from worldeval.judge.abstain import disagreement
from worldeval.judge.calibrate import Calibration
from worldeval.judge.fit import FittedJudge
from worldeval.judge.instructions import Instructions
from worldeval.judge.made_for import MadeFor
from worldeval.judge.network import JudgeNet, Reading, episode_logit
from worldeval.judge.progress import best_so_far
from worldeval.judge.protocol import Judged
from worldeval.judge.recipe import JudgeRecipe
from worldeval.judge.sequence import new_network
from worldeval.judge.tasks import JudgedTasks
from worldeval.record import Rollout, Verdict
from worldeval.world.load import load_weights, save_weights
from worldeval.world.protocol import ANY_TASK, WorldSpec

CARD, WEIGHTS = "judge.json", "judge.safetensors"
WORDS = "words"  # key of the instructions' embeddings among the weights


class _MembersReading(NamedTuple):
    """What the networks of a judge read from a batch of episodes."""

    logits: Float[torch.Tensor, "m b t"]
    progress: Float[torch.Tensor, "b t"] | None


class LearnedJudge:
    """Judge imagined roll-outs. It is fixed after training: judging never changes it."""

    def __init__(
        self,
        members: list[JudgeNet],
        calibration: Calibration,
        *,
        tasks: tuple[str, ...],
        instructions: Instructions | None = None,
        made_for: MadeFor | None = None,
        abstain_above: float | None = None,
    ) -> None:
        """Join networks to one judge.

        Args:
            tasks: that it knows by name.
            instructions: that it reads, if it does.
            made_for: the world model that it was trained in; None: not known.
            abstain_above: difference of two votes above which there is no verdict; None: never.
        """
        self._members = [member.eval() for member in members]
        self._calibration, self._tasks = calibration, tasks
        self._instructions, self.made_for = instructions, made_for
        self._abstain_above = abstain_above
        self.name = f"learned judge of {len(members)}"

    def __call__(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        """Return a verdict for each roll-out; all must have the same length."""
        return self.judged(rollouts).verdicts

    @torch.inference_mode()
    def judged(self, rollouts: Sequence[Rollout]) -> Judged:
        """Return verdicts and frame-by-frame evidence for roll-outs of equal length.

        Raises:
            UserError: a task is unknown, or the roll-outs have no frames after their start.
        """
        task, told = self._numbers(rollouts), self._told(rollouts)
        if rollouts and len(rollouts[0].pose) < 2:
            raise UserError(
                f"The roll-out of {rollouts[0].policy} from {rollouts[0].start} has no frames "
                "after its start, so there is nothing to judge. Set a longer horizon."
            )
        read = self._read(rollouts, told)
        each = torch.stack([episode_logit(member) for member in read.logits]).numpy()
        votes = np.stack([self._calibration(member, task) for member in each])
        by_frame = read.logits.mean(0).numpy()
        step = by_frame[:, 1:].argmax(1) + 1
        reasons = self._reasons(votes)
        probability = self._calibration(each.mean(0), task)
        probability[[bool(reason) for reason in reasons]] = np.nan
        progress = None if read.progress is None else best_so_far(read.progress.numpy())
        return Judged(
            verdicts=[
                Verdict(
                    probability=float(probability[i]),
                    step=int(step[i]),
                    judge=self.name,
                    votes=tuple(float(vote) for vote in votes[:, i]),
                    progress=None if progress is None else float(progress[i, -1]),
                )
                for i in range(len(rollouts))
            ],
            evidence=self._evidence(by_frame, task),
            abstained=reasons,
            progress=progress,
        )

    @torch.inference_mode()
    def over_time(self, rollouts: Sequence[Rollout]) -> Float[Array, "b t"]:
        """Return the calibrated success probability at each frame, including the first."""
        task, told = self._numbers(rollouts), self._told(rollouts)
        return self._evidence(self._read(rollouts, told).logits.mean(0).numpy(), task)

    def parts(self) -> list["LearnedJudge"]:
        """Return every member of the ensemble as a judge of its own, with the same calibration."""
        return [
            LearnedJudge(
                [member],
                self._calibration,
                tasks=self._tasks,
                instructions=self._instructions,
                made_for=self.made_for,
            )
            for member in self._members
        ]

    def knows(self, task: str) -> bool:
        """Whether the judge can judge this task or instruction."""
        named = self._tasks == (ANY_TASK,) or task in self._tasks
        return named and (self._instructions is None or self._instructions.knows(task))

    def _numbers(self, rollouts: Sequence[Rollout]) -> Int[Array, " b"]:
        """Return the number of each roll-out's task in the calibration."""
        if self._tasks == (ANY_TASK,):
            return np.zeros(len(rollouts), np.int64)
        unknown = {rollout.task for rollout in rollouts} - set(self._tasks)
        if unknown:
            raise UserError(
                f"The judge was not trained on the task '{unknown.pop()}'. It knows: "
                f"{', '.join(self._tasks)}."
            )
        return np.array([self._tasks.index(rollout.task) for rollout in rollouts])

    def _told(self, rollouts: Sequence[Rollout]) -> torch.Tensor:
        """Return what the networks are told of the tasks: numbers, or embeddings."""
        if self._instructions is None:
            return torch.from_numpy(self._numbers(rollouts))
        return self._instructions.embedded([rollout.task for rollout in rollouts])

    def _reasons(self, votes: Float[Array, "m b"]) -> tuple[str, ...]:
        """Say why there is no verdict on an episode; "" where there is one."""
        bound = self._abstain_above
        if bound is None:
            return ("",) * votes.shape[1]
        apart = disagreement(votes)
        return tuple(
            f"its networks differ by {each:.2f} (it judges up to {bound:.2f})"
            if each > bound
            else ""
            for each in apart
        )

    def _read(self, rollouts: Sequence[Rollout], told: torch.Tensor) -> "_MembersReading":
        """Return every member's logit at every frame, and their mean progress."""
        for rollout in rollouts:
            if not (
                np.isfinite(rollout.pose).all() and np.isfinite(np.asarray(rollout.latents)).all()
            ):
                raise UserError(
                    f"The roll-out of {rollout.policy} from {rollout.start} contains non-finite "
                    "values, so it cannot be judged: the world model diverged. Train the world "
                    "model again, or exclude that start."
                )
        latents = np.stack([np.asarray(rollout.latents) for rollout in rollouts])
        poses = torch.from_numpy(np.stack([rollout.pose for rollout in rollouts]))
        home = self._members[0].pose_mean.device
        given = (torch.from_numpy(latents).to(home).float(), poses.to(home).float(), told.to(home))
        read: list[Reading] = [member(*given) for member in self._members]
        logits = torch.stack([each.logits for each in read]).cpu()
        progress = [each.progress.cpu() for each in read if each.progress is not None]
        if not all(each.isfinite().all() for each in (logits, *progress)):
            raise UserError(
                "The judge returned non-finite values: its weights are damaged, or do not belong "
                "to this world model. Train it again: worldeval judge train."
            )
        return _MembersReading(logits, torch.stack(progress).mean(0) if progress else None)

    def _evidence(
        self, by_frame: Float[Array, "b t"], task: Int[Array, " b"]
    ) -> Float[Array, "b t"]:
        """Convert frame logits to calibrated probabilities."""
        each = np.repeat(task, by_frame.shape[1])
        return self._calibration(by_frame.ravel(), each).reshape(by_frame.shape)


def save_judge(
    folder: Path,
    fitted: FittedJudge,
    recipe: JudgeRecipe,
    spec: WorldSpec,
    *,
    world: str,
    uncalibrated: bool = False,
    tasks: JudgedTasks | None = None,
    tokenizer: str = "",
) -> None:
    """Write a judge that `load_judge` reads.

    Args:
        world: fingerprint of the world model it learned in.
        uncalibrated: its failures were synthesised, so its rates must not be reported.
        tasks: how it is told the task. None: by the names of the world model's tasks.
        tokenizer: fingerprint of the world model's tokenizer; "" if it has none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        f"{number}.{key}": value
        for number, member in enumerate(fitted.members)
        for key, value in member.state_dict().items()
    }
    told = {}
    if tasks is not None and tasks.words is not None:
        state[WORDS] = tasks.words
        told = {"instructions": list(tasks.texts)}
    save_weights(folder / WEIGHTS, state, compress=True)
    card = {
        "recipe": asdict(recipe),
        "calibration": asdict(fitted.calibration),
        "tasks": list(spec.tasks if tasks is None else tasks.names),
        **told,
        "latent": [len(spec.views), *spec.latent],
        "pose_dim": spec.pose_dim,
        **({"angles": list(spec.turned_pose.first)} if spec.turned_pose.first else {}),
        "views": list(spec.views),
        "fps": spec.fps,
        "tokenizer": tokenizer,
        "world": world,
        "left_out_families": fitted.left_out,
        **({} if fitted.abstain_above is None else {"abstain_above": fitted.abstain_above}),
        **({"uncalibrated": True} if uncalibrated else {}),
    }
    write_json(folder / CARD, card)


def save_calibration(
    folder: Path, source: Path, calibration: Calibration, *, learned_from: dict[str, Any]
) -> None:
    """Write the judge of `source` to `folder` with a new calibration and where it comes from."""
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / WEIGHTS) as draft:
        shutil.copyfile(source / WEIGHTS, draft)
    card = {**read_object(source / CARD), "calibration": asdict(calibration)}
    write_json(folder / CARD, {**card, "calibrated_on": learned_from})


def learned_hash(folder: Path) -> str:
    """Return a short fingerprint of a saved judge, for provenance."""
    digest = hashlib.sha256()
    for name in (CARD, WEIGHTS):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:12]


def read_calibration(folder: Path) -> tuple[Calibration, tuple[str, ...]]:
    """Read the calibration of a saved judge, and its tasks."""
    card = _card(folder)
    return card.calibration, card.tasks


def is_uncalibrated(folder: Path) -> bool:
    """Whether the failures that a saved judge learned from were invented (`save_judge`)."""
    card = folder / CARD  # a judge in memory has none
    return card.is_file() and bool(read_object(card).get("uncalibrated", False))


def load_learned(folder: Path, *, device: str = "auto") -> LearnedJudge:
    """Load the judge in `folder`; on a GPU if there is one."""
    card = _card(folder)
    recipe, tasks, members = card.recipe, card.tasks, []
    state = load_weights(folder / WEIGHTS)
    words = state.pop(WORDS, None)
    if (words is None) == bool(card.instructions) or (
        words is not None and len(words) != len(card.instructions)
    ):
        raise UserError(
            f"{folder / CARD} names {len(card.instructions)} instructions, and {WEIGHTS} holds "
            f"{0 if words is None else len(words)} embeddings. Train the judge again."
        )
    for number in range(recipe.members):
        with described(folder / CARD):
            member = new_network(
                recipe,
                latent=card.latent,
                pose_dim=card.pose_dim,
                tasks=len(tasks),
                words=0 if words is None else words.shape[1],
                angles=card.angles,
            )
        own = {
            key.removeprefix(f"{number}."): value
            for key, value in state.items()
            if key.startswith(f"{number}.")
        }
        fill(member, own, folder / WEIGHTS)
        members.append(member)
    instructions = None
    if words is not None:
        instructions = Instructions(card.instructions, words.float(), encoder=Path(recipe.text))
    home = pick_device(device)
    return LearnedJudge(
        [member.to(home) for member in members],
        card.calibration,
        tasks=tasks,
        instructions=instructions,
        made_for=MadeFor(
            latent=card.latent,
            pose_dim=card.pose_dim,
            views=card.views,
            fps=card.fps,
            tokenizer=card.tokenizer,
        ),
        abstain_above=card.abstain_above,
    )


@dataclass(frozen=True, kw_only=True)
class JudgeCard:
    """The card of a saved judge, without its notes."""

    recipe: JudgeRecipe
    calibration: Calibration
    tasks: tuple[str, ...]
    latent: tuple[int, int, int, int]  # v d h w
    pose_dim: int
    angles: tuple[int, ...] = ()  # pose columns where a roll, pitch, yaw begins
    instructions: tuple[str, ...] = ()  # whose embeddings are stored with the weights
    # Of the world model it was trained in; empty or None in judges saved before they were stored.
    views: tuple[str, ...] = ()
    fps: float | None = None
    tokenizer: str = ""
    abstain_above: float | None = None  # difference of votes above which it abstains; None: never

    def __post_init__(self) -> None:
        if self.recipe.members < 1 or min(self.latent) < 1 or self.pose_dim < 0:
            raise ValueError(
                f"the number of members and all sizes of a judge must be above 0, but are "
                f"members {self.recipe.members}, latent {self.latent}, pose_dim {self.pose_dim}"
            )
        if len(self.calibration.offsets) != len(self.tasks):
            raise ValueError(
                f"its calibration has {len(self.calibration.offsets)} offsets for "
                f"{len(self.tasks)} tasks"
            )


def _card(folder: Path) -> JudgeCard:
    if not (folder / CARD).is_file():
        raise UserError(
            f"{folder} contains no judge (no {CARD}). Train one with `worldeval judge train`."
        )
    return build_known(JudgeCard, read_object(folder / CARD), where=str(folder / CARD))
