"""The recurrent state-space model as a world, and for learning without rendering frames.

    world.begin(frames, pose, tasks, seeds) -> RssmState  frames: view -> (b h w 3); pose (b p)
    world.step(state, actions) -> RssmState               actions (b a): one world frame
    world.latents(state), world.pose(state)               (b v d h w), (b p), newest, numpy
    world.features(state) -> (b f) tensor                 h and z: the actor's input
    world.feature_size -> f
    world.success(state) -> (b) tensor                    probability that the task is solved now
    world.imagine(actor, state, horizon) -> LatentTrajectory  actor: (b f) features -> (b a) actions

`step` decodes every frame, for judges and cameras; `imagine` decodes none and is several times
faster. Every episode draws from its own generator, so the rest of the batch never changes it.
States are immutable, except that their generators advance.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from worldeval.axes import Array, Float, Float32, Int
from worldeval.device import generators_of, gpu_autocast, on_host
from worldeval.errors import UserError
from worldeval.world.hand.commands import Actuation
from worldeval.world.history import History
from worldeval.world.protocol import WorldSpec
from worldeval.world.rssm.categorical import draw
from worldeval.world.rssm.network import Belief, Rssm
from worldeval.world.tokenizer.frame_tokenizer import FrameTokenizer
from worldeval.world.world import World

# Features of every episode -> its frame's actions, in the robot's units.
Actor = Callable[[Float[Tensor, "b f"]], Float[Tensor, "b a"]]


@dataclass(frozen=True, kw_only=True)
class RssmState:
    """The state of a batch of episodes, with every frame decoded so far."""

    video: History  # of latents
    track: History  # of poses; longer than `video` while frames are not decoded
    belief: Belief
    command: Float[Tensor, "b c"]
    task: Int[Tensor, " b"]
    generators: list[torch.Generator]

    @property
    def latents(self) -> Float[Tensor, "b t v d h w"]:
        """The latents of every frame."""
        return self.video.frames

    @property
    def poses(self) -> Float[Tensor, "b s p"]:
        """The pose of every frame."""
        return self.track.frames


@dataclass(frozen=True, kw_only=True)
class LatentTrajectory:
    """`k` imagined steps. Entry i of the last four follows action i."""

    features: Float[Tensor, "b t f"]  # t = k + 1: before each action, and at the end
    actions: Float[Tensor, "b k a"]
    reward: Float[Tensor, "b k"]  # expected reward; 1 when the task is first solved
    success: Float[Tensor, "b k"]  # probability that the task is solved at this frame
    goes_on: Float[Tensor, "b k"]  # probability that it has not been solved yet: the discount
    poses: Float[Tensor, "b k p"]


class RssmWorld(World):
    """A `World` of one network that predicts latents, poses and success itself."""

    def __init__(
        self,
        spec: WorldSpec,
        *,
        tokenizer: FrameTokenizer | None,
        model: Rssm,
        actuation: Actuation,
    ) -> None:
        super().__init__(spec, tokenizer=tokenizer)
        self.model, self.actuation = model, actuation

    @property
    def feature_size(self) -> int:
        """Size of a state's features."""
        return self.model.feature_size

    def hot(self) -> list[tuple[nn.Module, str]]:
        return [(self.model, "advance"), (self.model, "decode")]

    @torch.no_grad()
    def begin_latents(
        self,
        latents: Float[Tensor, "b v d h w"],
        pose: Float32[Array, "b p"],
        tasks: Sequence[str],
        seeds: Sequence[int],
    ) -> RssmState:
        first, poses = latents.float().to(self.device), self.tensor(pose)
        task, generators = self.task_index(tasks), generators_of(seeds, self.device)
        deter = self.model.nothing(len(poses))
        with gpu_autocast(self.device):
            posterior = self.model.posterior(deter, self.model.read(first, first, poses, task))
        return RssmState(
            video=History.of(first[:, None]),
            track=History.of(poses[:, None]),
            belief=Belief(deter=deter, stoch=self._drawn(posterior, generators)),
            command=self.actuation.begin(poses),
            task=task,
            generators=generators,
        )

    @torch.no_grad()
    def observe_latents(
        self, state: RssmState, latents: Float[Tensor, "b v d h w"], pose: Float32[Array, "b p"]
    ) -> RssmState:
        """Draw z again from the observation."""
        newest, poses = latents.float().to(self.device), self.tensor(pose)
        with gpu_autocast(self.device):
            read = self.model.read(newest, state.latents[:, 0], poses, state.task)
            posterior = self.model.posterior(state.belief.deter, read)
        stoch = self._drawn(posterior, state.generators)
        return replace(
            state,
            video=state.video.ending_in(newest),
            track=state.track.ending_in(poses),
            belief=replace(state.belief, stoch=stoch),
        )

    @torch.no_grad()
    def step(self, state: RssmState, actions: Float32[Array | Tensor, "b a"]) -> RssmState:
        after = self._advance(state, self.tensor(actions))
        with gpu_autocast(self.device):
            drawn = self.model.decode(after.belief.features, after.latents[:, 0])
        return replace(after, video=after.video.followed_by(drawn[:, None]))

    def latents(self, state: RssmState) -> Float32[Array, "b v d h w"]:
        return on_host(state.latents[:, -1])[0]

    def pose(self, state: RssmState) -> Float32[Array, "b p"]:
        return on_host(state.poses[:, -1])[0]

    def features(self, state: RssmState) -> Float[Tensor, "b f"]:
        """Return h and z of every episode."""
        return state.belief.features

    @torch.no_grad()
    def success(self, state: RssmState) -> Float[Tensor, " b"]:
        """Return the probability that each episode's task is solved at the newest frame."""
        self._need_judgement()
        return self.model.success(self.features(state))[:, 0].float().sigmoid()

    @torch.no_grad()
    def imagine(self, actor: Actor, state: RssmState, horizon: int) -> LatentTrajectory:
        """Let `actor` act for `horizon` frames from `state`, without decoding frames.

        Gradients are not tracked: policy gradients need the actor's own log-likelihoods, which it
        recomputes from the returned features.
        """
        self._need_judgement()
        features, actions, poses = [self.features(state)], [], []
        for _ in range(horizon):
            actions.append(actor(features[-1]))
            state = self._advance(state, actions[-1].to(self.device).float())
            features.append(self.features(state))
            poses.append(state.poses[:, -1])
        seen = torch.stack(features, 1)
        reached, model = seen[:, 1:], self.model
        return LatentTrajectory(
            features=seen,
            actions=torch.stack(actions, 1),
            reward=model.two_hot.decode(model.reward(reached)),
            success=model.success(reached)[..., 0].float().sigmoid(),
            goes_on=model.goes_on(reached)[..., 0].float().sigmoid(),
            poses=torch.stack(poses, 1),
        )

    def _advance(self, state: RssmState, action: Float[Tensor, "b a"]) -> RssmState:
        """Advance the state by one frame, before the frame is decoded."""
        model = self.model
        command = self.actuation.step(state.command, action)
        with gpu_autocast(self.device):
            deter = model.advance(state.belief, model.steer(action, command, state.task))
            prior = model.prior(deter)
        belief = Belief(deter=deter, stoch=self._drawn(prior, state.generators))
        pose = model.move(belief.features, state.poses[:, -1], command)
        track = state.track.followed_by(pose[:, None])
        return replace(state, belief=belief, command=command, track=track)

    def _drawn(
        self, log_chance: Float[Tensor, "b g c"], generators: list[torch.Generator]
    ) -> Float[Tensor, "b g c"]:
        """Sample z, each episode from its own generator; most likely classes if not sampling."""
        if not self.model.recipe.sampled:
            return draw(log_chance, None)
        shape = log_chance.shape[1:]
        rows = [torch.rand(shape, generator=each, device=each.device) for each in generators]
        return draw(log_chance, torch.stack(rows).to(self.device))

    def _need_judgement(self) -> None:
        if not bool(self.model.judged):
            raise UserError(
                "This world model was trained without success labels, so it cannot predict "
                "success. Train it on data with success labels."
            )
