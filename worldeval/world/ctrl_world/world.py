"""Ctrl-World as a world: several frames per call if several actions are known."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from worldeval.axes import Array, Float, Float32, Int
from worldeval.device import autocast, generators_of, on_host
from worldeval.errors import UserError
from worldeval.world.ctrl_world.denoiser import VideoDenoiser
from worldeval.world.ctrl_world.text import embed_tasks
from worldeval.world.hand.commands import Actuation
from worldeval.world.hand.kinematics import Kinematics
from worldeval.world.hand.state import FrameState, back
from worldeval.world.hand.world import HandWorld
from worldeval.world.history import History
from worldeval.world.protocol import WorldSpec
from worldeval.world.tokenizer.frame_tokenizer import FrameTokenizer
from worldeval.world.walk import Walk


@dataclass(frozen=True, kw_only=True)
class CtrlWorldState(FrameState):
    """Every frame imagined so far, and what each episode was told to do."""

    words: Float[Tensor, "b c"]  # embeddings of the instructions


def said(spec: WorldSpec) -> tuple[str, ...]:
    """The instructions whose embeddings a denoiser stores, in row order: its training data's."""
    return spec.instructions or spec.tasks


class CtrlWorld(HandWorld):
    """A world whose kinematics predict the pose and whose denoiser imagines the frames."""

    def __init__(
        self,
        spec: WorldSpec,
        *,
        tokenizer: FrameTokenizer | None,
        kinematics: Kinematics,
        denoiser: VideoDenoiser,
        actuation: Actuation,
    ) -> None:
        super().__init__(spec, tokenizer=tokenizer, kinematics=kinematics, actuation=actuation)
        self.denoiser = denoiser
        self.sampler, self.steps = denoiser.recipe.sampler, denoiser.recipe.edm.steps

    def hot(self) -> list[tuple[nn.Module, str]]:
        return [(self.denoiser, "forward")]

    @torch.inference_mode()
    def begin_latents(
        self,
        latents: Float[Tensor, "b v d h w"],
        pose: Float32[Array, "b p"],
        tasks: Sequence[str],
        seeds: Sequence[int],
    ) -> CtrlWorldState:
        return CtrlWorldState(
            video=History.of(latents.float().to(self.device)[:, None]),
            hand=self.hand.begin(self.tensor(pose), self.task_index(tasks)),
            words=self.words(tasks),
            generators=generators_of(seeds, self.device),
        )

    def words(self, tasks: Sequence[str]) -> Float[Tensor, "b c"]:
        """Embed tasks for the denoiser; those of the training data were embedded at training time.

        Others are embedded now. Embeddings are zero if the recipe names no text encoder.

        Raises:
            UserError: a task is not in the training data, and there is no text encoder to read it.
        """
        text, recipe = self.denoiser.text, self.denoiser.recipe
        if not recipe.reads_tasks:
            return text.new_zeros(len(tasks), text.shape[1])
        known = dict(zip(said(self.spec), text, strict=True))
        new = sorted(set(tasks) - set(known))
        if new and not Path(recipe.text).is_dir():
            raise UserError(
                f"The world model was not trained on the task '{new[0]}', and the text encoder "
                f"that could read it is no longer in {recipe.text}. Restore it, or use one of the "
                f"{len(known)} tasks of the training data."
            )
        if new:
            read = embed_tasks(Path(recipe.text), new, width=text.shape[1]).to(text)
            known |= dict(zip(new, read, strict=True))
        return torch.stack([known[task] for task in tasks])

    @torch.inference_mode()
    def step(
        self, state: CtrlWorldState, actions: Float32[Array | Tensor, "b a"]
    ) -> CtrlWorldState:
        """Advance by one frame. For several known actions, `walk` costs a fraction of it."""
        return self.advance(state, actions[:, None])

    @torch.inference_mode()
    def walk(self, state: CtrlWorldState, actions: Float32[Array, "b t a"]) -> Walk:
        """Advance any number of frames, as many per call as this world was trained to imagine."""
        begin, most = state.latents.shape[1], self.denoiser.recipe.future
        for first in range(0, actions.shape[1], most):  # a copy out waits for all of them
            state = self.advance(state, actions[:, first : first + most])
        latents, pose = on_host(state.latents[:, begin:], state.poses[:, begin:])
        return Walk(state=state, latents=latents, pose=pose)

    @torch.inference_mode()
    def advance(
        self, state: CtrlWorldState, actions: Float32[Array | Tensor, "b k a"]
    ) -> CtrlWorldState:
        """Advance k frames, imagined in one call; k is at most the recipe's `future`.

        The poses are predicted before the frames; meanwhile contact is read from the newest frame
        there is. A world trained only on whole chunks imagines a whole one, at whose end the robot
        rests at its last position, and returns the requested frames.
        """
        most = self.denoiser.recipe.future
        if not 1 <= actions.shape[1] <= most:
            raise UserError(
                f"{actions.shape[1]} frames cannot be imagined at once; this world was trained to "
                f"imagine up to {most} (`future` in its recipe)."
            )
        newest, first, hand = back(state.latents, 0), state.latents[:, 0], state.hand
        for action in self.tensor(actions).unbind(1):
            hand = self.hand.step(hand, action, newest=newest, first=first).hand
        now = state.latents.shape[1] - 1
        seen = self._recalled(now)
        length = actions.shape[1] if self.denoiser.recipe.any_future else most
        last = hand.poses.shape[1] - 1
        ahead = torch.arange(now + 1, now + 1 + length, device=self.device).clamp_max(last)
        with autocast(self.device):
            imagined = self.denoiser.imagine(
                state.latents[:, seen],
                hand.poses[:, torch.cat([seen, ahead])],
                state.words,
                generators=state.generators,
                steps=self.steps,
            )[:, : actions.shape[1]]
        return replace(state, video=state.video.followed_by(imagined.float()), hand=hand)

    def _recalled(self, now: int) -> Int[Tensor, " u"]:
        """Indices of the past frames and the newest; before the start, the first frame repeats."""
        past = [max(now - lag, 0) for lag in self.denoiser.recipe.memory.recall]
        return torch.tensor([*past, now], device=self.device)
