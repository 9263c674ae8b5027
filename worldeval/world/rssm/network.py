"""The recurrent state-space model: deterministic state h, stochastic state z, and decoder.

    h' = f(h, z, control)        z' ~ p(z' | h')  prior        z' ~ q(z' | h', frame)  posterior

DreamerV3 (arXiv 2301.04104), equation 1, with four differences. Frames are a tokenizer's latents;
the recurrent cell is dense, as in the first version of the paper, not in eight blocks; the decoder
predicts the change since the episode's first frame, which every roll-out has observed, so that z
need not encode an unseen scene (`anchored`); and the control includes the commanded position beside
the action, because a gripper lags behind its command and integrating the actions is exact.
"""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worldeval.axes import Float, Int
from worldeval.world.features import FREQUENCIES, Features
from worldeval.world.rssm.categorical import mixed
from worldeval.world.rssm.recipe import BINS, UNIMIX, RssmRecipe
from worldeval.world.rssm.symlog import TwoHot, symexp, symlog


@dataclass(frozen=True, kw_only=True)
class Belief:
    """The model's state: h and z."""

    deter: Float[Tensor, "*n d"]
    stoch: Float[Tensor, "*n g c"]  # one-hot

    @property
    def features(self) -> Float[Tensor, "*n f"]:
        """Both as one vector, the input of heads and policies."""
        return torch.cat([self.deter, self.stoch.flatten(-2)], -1)


class Rssm(nn.Module):
    """The network. Latents are standardised, poses and actions in the robot's units."""

    judged: Tensor  # whether its training data had success labels

    def __init__(
        self, recipe: RssmRecipe, features: Features, *, latent: tuple[int, int, int, int]
    ) -> None:
        super().__init__()
        self.recipe, self.features, self.latent = recipe, features, latent
        self.two_hot = TwoHot(BINS)
        self.register_buffer("judged", torch.tensor(False))
        width, deter = recipe.width, recipe.deter
        stoch = recipe.groups * recipe.classes
        pose_dim, action_dim = len(features.pose_mean), len(features.action_mean)
        known = features.tasks + pose_dim + features.wave_size
        self.look = _GridEncoder(latent, recipe.channels, width)
        self.embed = _mlp(width + known, width, width)
        told = len(features.commanded)
        waves = 2 * len(FREQUENCIES) * told
        self.control = nn.Linear(action_dim + told + waves + features.tasks, width)
        self.enter = _mlp(stoch + width, width, width)
        self.cell = _Cell(width, deter)
        self.prior_head = _mlp(deter, width, stoch)
        self.posterior_head = _mlp(deter + width, width, stoch)
        self.draw = _Draw(latent, recipe.channels, deter + stoch)
        self.hand = _mlp(deter + stoch + pose_dim + told, width, pose_dim)
        self.reach = nn.Parameter(torch.full((told,), 0.5))  # share of the way to its command
        self.reward = _mlp(deter + stoch, width, BINS)
        self.success = _mlp(deter + stoch, width, 1)
        self.goes_on = _mlp(deter + stoch, width, 1)
        for head in (self.reward, self.hand):  # a new model predicts no reward
            _silence(head)

    @property
    def feature_size(self) -> int:
        """Size of `Belief.features`."""
        return self.recipe.deter + self.recipe.groups * self.recipe.classes

    def nothing(self, count: int) -> Float[Tensor, "b d"]:
        """The recurrent state before any observation."""
        return torch.zeros(count, self.recipe.deter, device=self.features.pose_mean.device)

    def read(
        self,
        latents: Float[Tensor, "*n v d h w"],
        first: Float[Tensor, "*n v d h w"],
        pose: Float[Tensor, "*n p"],
        task: Int[Tensor, " *n"],
    ) -> Float[Tensor, "*n e"]:
        """Encode a frame for the posterior: latents, their change since the start, the pose."""
        shape = pose.shape[:-1]
        flat = pose.flatten(0, -2)
        seen = torch.cat([latents, latents - first], -3).flatten(0, -5)
        known = [self._task(task.flatten()), symlog(self.features.unit(flat))]
        parts = [self.look(seen), *known, self.features.waves(flat)]
        return self.embed(torch.cat(parts, -1)).unflatten(0, shape)

    def steer(
        self,
        action: Float[Tensor, "b a"],
        next_command: Float[Tensor, "b c"],
        task: Int[Tensor, " b"],
    ) -> Float[Tensor, "b e"]:
        """Encode the control: the frame's action and the position it commands."""
        features = self.features
        unit = (action - features.action_mean) / features.action_std
        told = features.commanded
        place = (next_command - features.pose_mean[told]) / features.pose_std[told]
        angle = (place[:, :, None] * torch.tensor(FREQUENCIES, device=place.device)).flatten(1)
        given = [unit, place, angle.sin(), angle.cos(), self._task(task)]
        return self.control(torch.cat(given, 1))

    def advance(self, belief: Belief, control: Float[Tensor, "b e"]) -> Float[Tensor, "b d"]:
        """Advance the recurrent state by one frame."""
        entering = self.enter(torch.cat([belief.stoch.flatten(1), F.silu(control)], 1))
        return self.cell(entering, belief.deter)

    def prior(self, deter: Float[Tensor, "b d"]) -> Float[Tensor, "b g c"]:
        """Log-probabilities of z before the frame is observed."""
        return self._categories(self.prior_head(deter))

    def posterior(
        self, deter: Float[Tensor, "b d"], read: Float[Tensor, "b e"]
    ) -> Float[Tensor, "b g c"]:
        """Log-probabilities of z after the frame is observed."""
        return self._categories(self.posterior_head(torch.cat([deter, read], 1)))

    def decode(
        self, features: Float[Tensor, "*n f"], first: Float[Tensor, "*n v d h w"]
    ) -> Float[Tensor, "*n v d h w"]:
        """Decode the latents of a state in an episode that began at `first`."""
        shape = features.shape[:-1]
        flat = first.flatten(0, -5)
        return self.draw(features.flatten(0, -2), flat).unflatten(0, shape)

    def move(
        self,
        features: Float[Tensor, "*n f"],
        pose: Float[Tensor, "*n p"],
        command: Float[Tensor, "*n c"],
    ) -> Float[Tensor, "*n p"]:
        """Predict the pose of a state from the previous pose and the command that led to it."""
        scale, told = self.features.step_std, self.features.commanded
        way = command - pose[..., told]
        unit = self.features.unit(pose.flatten(0, -2)).unflatten(0, pose.shape[:-1])
        given = [features, unit, symlog(way / scale[told])]
        moved = symexp(self.hand(torch.cat(given, -1)).float()) * scale
        drawn = torch.zeros_like(pose)
        drawn[..., told] = (self.reach * way).to(drawn)
        return pose + drawn + moved

    def _categories(self, logits: Float[Tensor, "b k"]) -> Float[Tensor, "b g c"]:
        recipe = self.recipe
        return mixed(logits.unflatten(1, (recipe.groups, recipe.classes)), UNIMIX)

    def _task(self, task: Int[Tensor, " b"]) -> Float[Tensor, "b k"]:
        return F.one_hot(task, self.features.tasks).float()


class _Cell(nn.Module):
    """A gated recurrent cell with a normalised input, initialised to forget slowly."""

    def __init__(self, width: int, deter: int) -> None:
        super().__init__()
        self.gates = nn.Linear(width + deter, 3 * deter, bias=False)
        self.norm = nn.LayerNorm(3 * deter)

    def forward(self, x: Float[Tensor, "b e"], h: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        gates = self.norm(self.gates(torch.cat([x, h], 1)).float())
        reset, candidate, update = gates.chunk(3, 1)
        candidate = torch.tanh(reset.sigmoid() * candidate)
        keep = 1 - (update - 1).sigmoid()
        return keep * h + (1 - keep) * candidate


class _GridEncoder(nn.Module):
    """Convolutions over the cells of all views together, to one vector."""

    def __init__(self, latent: tuple[int, int, int, int], channels: int, width: int) -> None:
        super().__init__()
        views, depth, height, breadth = latent
        levels = _levels(height, breadth)
        layers: list[nn.Module] = [nn.Conv2d(2 * views * depth, channels, 3, padding=1), nn.SiLU()]
        for _ in range(levels):
            layers += [nn.Conv2d(channels, channels, 4, stride=2, padding=1), nn.SiLU()]
        cells = (height >> levels) * (breadth >> levels)
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * cells, width))

    def forward(self, x: Float[Tensor, "n v e h w"]) -> Float[Tensor, "n d"]:
        return self.layers(x.flatten(1, 2))


class _Draw(nn.Module):
    """Decode a state to the latents of every view: the change since the observed first frame."""

    def __init__(self, latent: tuple[int, int, int, int], channels: int, features: int) -> None:
        super().__init__()
        views, depth, height, breadth = latent
        levels = _levels(height, breadth)
        self.grid = (channels, height >> levels, breadth >> levels)
        self.spread = nn.Linear(features, prod(self.grid))
        self.grow = nn.Sequential(
            *(
                nn.Sequential(
                    nn.SiLU(), nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1)
                )
                for _ in range(levels)
            )
        )
        self.beside = nn.Conv2d(views * depth, channels, 3, padding=1)
        self.last = nn.Sequential(
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(channels, views * depth, 3, padding=1),
        )
        _silence(self.last)

    def forward(
        self, features: Float[Tensor, "n f"], first: Float[Tensor, "n v d h w"]
    ) -> Float[Tensor, "n v d h w"]:
        x = self.grow(self.spread(features).unflatten(1, self.grid))
        x = x + self.beside(first.flatten(1, 2))
        return first + self.last(x).float().view_as(first)


def _levels(height: int, breadth: int) -> int:
    """Number of times a grid is halved, down to about four cells along its shorter side."""
    levels = 0
    while min(height, breadth) > 4 and not height % 2 and not breadth % 2:
        height, breadth, levels = height // 2, breadth // 2, levels + 1
    return levels


def _mlp(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width), nn.LayerNorm(width), nn.SiLU(), nn.Linear(width, outputs)
    )


def _silence(layers: nn.Sequential) -> None:
    """Initialise the last layer to output zero."""
    for parameter in layers[-1].parameters():
        nn.init.zeros_(parameter)
