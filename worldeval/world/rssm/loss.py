"""The loss of the recurrent state-space model: reconstruction, divergence, heads, overshooting.

DreamerV3 (arXiv 2301.04104), equations 2 and 3, over sequences that begin with an empty state. The
same reconstruction and head losses also apply to states imagined from the first frame alone
(`overshoot`, after the latent overshooting of PlaNet, arXiv 1811.04551, on observations instead of
divergences): evaluation replays whole episodes from one frame, for which single-step divergences
are a weak training signal.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worldeval.axes import Bool, Float
from worldeval.world.rssm.categorical import balanced, draw
from worldeval.world.rssm.network import Belief, Rssm
from worldeval.world.rssm.recipe import DYNAMICS_SCALE, FREE_NATS, REPRESENTATION_SCALE
from worldeval.world.rssm.symlog import symlog
from worldeval.world.training.windows import Window


@dataclass(frozen=True, kw_only=True)
class Told:
    """How well a run of states predicts the recording; each a mean over frames."""

    latents: Float[
        Tensor, ""
    ]  # half the squared error, summed over a frame: nats, up to a constant
    pose: Float[Tensor, ""]  # the same for symlog errors, in units of a frame's motion
    heads: Float[Tensor, ""]  # cross-entropies of reward, success and continue, in nats


class RssmLoss(nn.Module):
    """The loss as a module, so that wrappers for several devices can wrap it."""

    def __init__(self, model: Rssm) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        batch: Window,
        uniform: Float[Tensor, "2 t b g c"],
        noise: Float[Tensor, "b t v d h w"],
    ) -> Float[Tensor, ""]:
        return sequence_loss(self.model, batch, uniform, noise=noise)


def sequence_loss(
    model: Rssm,
    batch: Window,
    uniform: Float[Tensor, "2 t b g c"],
    *,
    noise: Float[Tensor, "b t v d h w"] | None = None,
) -> Float[Tensor, ""]:
    """The total loss of sequences, in nats per number of a frame's latents.

    `uniform` determines the samples of z in observed and imagined states. `noise` is added to the
    posterior's inputs, never to the reconstruction target.
    """
    recipe, first = model.recipe, batch.latents[:, 0]
    seen = batch.latents if noise is None else batch.latents + noise
    steps = seen.shape[1]
    read = model.read(seen, _along(first, steps), batch.pose, batch.task[:, None].expand(-1, steps))
    controls = [
        model.steer(batch.actions[:, i], batch.command[:, i + 1], batch.task)
        for i in range(steps - 1)
    ]

    beliefs, priors, posteriors = [], [], []
    deter = model.nothing(len(first)).to(read)
    for i in range(steps):
        if i:
            deter = model.advance(beliefs[-1], controls[i - 1])
        priors.append(model.prior(deter))
        posteriors.append(model.posterior(deter, read[:, i]))
        beliefs.append(Belief(deter=deter, stoch=draw(posteriors[-1], uniform[0, i])))
    split = balanced(
        torch.stack(posteriors[1:], 1), torch.stack(priors[1:], 1), free_nats=FREE_NATS
    )
    total = (
        DYNAMICS_SCALE * split.dynamics.mean()
        + REPRESENTATION_SCALE * split.representation.mean()
        + _nats(model, told(model, beliefs, batch, own_poses=False))
    )

    if recipe.overshoot:
        imagined = beliefs[:1]
        for i in range(1, steps):
            deter = model.advance(imagined[-1], controls[i - 1])
            imagined.append(Belief(deter=deter, stoch=draw(model.prior(deter), uniform[1, i])))
        total = total + recipe.overshoot * _nats(
            model, told(model, imagined, batch, own_poses=True)
        )
    return total / first[0].numel()


def told(model: Rssm, beliefs: list[Belief], batch: Window, *, own_poses: bool) -> Told:
    """Decode the states of all frames of `batch` and compare; each pose is predicted from the
    previous one, the model's own or the true one."""
    features = torch.stack([belief.features for belief in beliefs], 1)
    steps = features.shape[1]
    drawn = model.decode(features, _along(batch.latents[:, 0], steps))
    error = (drawn - batch.latents).square().flatten(2).sum(2)
    return Told(
        latents=0.5 * error.mean(),
        pose=_pose_error(model, features, batch, own_poses=own_poses),
        heads=_heads(model, features, batch),
    )


def _pose_error(
    model: Rssm, features: Float[Tensor, "b t f"], batch: Window, *, own_poses: bool
) -> Float[Tensor, ""]:
    if own_poses:
        pose, moved = batch.pose[:, 0], []
        for i in range(1, features.shape[1]):
            pose = model.move(features[:, i], pose, batch.command[:, i])
            moved.append(pose)
        predicted = torch.stack(moved, 1)
    else:
        predicted = model.move(features[:, 1:], batch.pose[:, :-1], batch.command[:, 1:])
    scale = model.features.step_std
    # symlog of the remaining distance, so that one large error does not outweigh all others.
    return symlog((predicted - batch.pose[:, 1:]) / scale).square().sum(2).mean()


def _heads(model: Rssm, features: Float[Tensor, "b t f"], batch: Window) -> Float[Tensor, ""]:
    # The reward is paid at the first successful frame of an episode.
    reward = batch.achieved.float().diff(dim=1)
    paid = model.two_hot.loss(model.reward(features[:, 1:]), reward)
    success = _bernoulli(model.success(features)[..., 0], batch.success)
    goes_on = _bernoulli(model.goes_on(features)[..., 0], ~batch.achieved)
    each = paid.mean(1) + success.mean(1) + goes_on.mean(1)
    return (each * batch.judged).mean()


def _nats(model: Rssm, told: Told) -> Float[Tensor, ""]:
    return told.latents + told.pose + model.recipe.heads_scale * told.heads


def _bernoulli(logit: Float[Tensor, "b t"], truth: Bool[Tensor, "b t"]) -> Float[Tensor, "b t"]:
    return F.binary_cross_entropy_with_logits(logit.float(), truth.float(), reduction="none")


def _along(first: Float[Tensor, "b v d h w"], steps: int) -> Float[Tensor, "b t v d h w"]:
    return first[:, None].expand(-1, steps, -1, -1, -1, -1)
