"""The network of worldeval policies: a small convolutional encoder and one of three heads."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from worldeval.errors import UserError
from worldeval.policy.heads.bc import BcHead
from worldeval.policy.heads.denoise import Warm
from worldeval.policy.heads.diffusion import DiffusionHead
from worldeval.policy.heads.flow import FlowHead
from worldeval.policy.recipe import NOISE_LEVELS, PolicyRecipe

LARGE = 1_000_000  # parameters from which a GPU pays
STILL = 0.2  # half ranges of its actions: a dimension that deviates less is scaled by this


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Dimensions and bounds of the data that a policy was trained on."""

    image: tuple[int, int]  # height, width
    pose_dim: int
    action_dim: int  # of a world frame
    tasks: tuple[str, ...]
    # Bounds of its actions, one per dimension; (): -1 and 1, for actions normalised to them.
    action_low: tuple[float, ...] = ()
    action_high: tuple[float, ...] = ()


class Encoder(nn.Module):
    """Encode images of every view, pose and task as one feature vector.

    The convolutions are shared over views. Their 8x8 maps are flattened, not pooled, because the
    positions of gripper and object matter.
    """

    pose_mean: Tensor
    pose_scale: Tensor

    def __init__(self, recipe: PolicyRecipe, sizes: Sizes) -> None:
        super().__init__()
        height, width = sizes.image
        if height % 8 or width % 8:
            raise UserError(
                f"Policies need views whose sides are multiples of 8 pixels, not {height}x{width}."
            )
        first, second, third = recipe.network.widths
        squeeze = recipe.network.squeeze
        self.blind = recipe.blind
        self.convolutions = nn.Sequential(
            nn.Conv2d(3, first, 4, stride=4),
            nn.SiLU(),
            nn.Conv2d(first, second, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(second, third, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(third, squeeze, 1),
        )
        flat = len(recipe.views) * squeeze * (height // 8) * (width // 8)
        self.embed = nn.Sequential(nn.Linear(flat, recipe.network.embed), nn.SiLU())
        self.task = nn.Embedding(len(sizes.tasks), 8)
        self.width = recipe.network.embed + 8 + sizes.pose_dim
        self.register_buffer("pose_mean", torch.zeros(sizes.pose_dim))
        self.register_buffer("pose_scale", torch.ones(sizes.pose_dim))

    def forward(
        self,
        images: Float[Tensor, "b v 3 h w"],
        pose: Float[Tensor, "b p"],
        task: Int[Tensor, " b"],
    ) -> Float[Tensor, "b d"]:
        if self.blind:
            images = torch.zeros_like(images)
        # Frames have their channels last in memory, the fastest layout for convolutions.
        maps = self.convolutions(images.flatten(0, 1))
        seen = self.embed(maps.reshape(len(images), -1))
        normal = (pose - self.pose_mean) / self.pose_scale
        return torch.cat([seen, self.task(task), normal], dim=-1)


class PolicyNetwork(nn.Module):
    """Encoder, normalisers and head. Input and output actions are in the robot's units."""

    action_mean: Tensor
    action_scale: Tensor
    action_low: Tensor
    action_high: Tensor

    def __init__(self, recipe: PolicyRecipe, sizes: Sizes) -> None:
        super().__init__()
        self.chunk = recipe.chunk
        self.action_dim = sizes.action_dim
        self.encoder = Encoder(recipe, sizes)
        self.head = _head(recipe, self.encoder.width, recipe.chunk * sizes.action_dim)
        self.register_buffer("action_mean", torch.zeros(sizes.action_dim))
        self.register_buffer("action_scale", torch.ones(sizes.action_dim))
        for name, bound, default in (
            ("action_low", sizes.action_low, -1.0),
            ("action_high", sizes.action_high, 1.0),
        ):
            told = torch.tensor(bound or [default] * sizes.action_dim)
            self.register_buffer(name, told, persistent=False)

    @property
    def large(self) -> bool:
        """Whether it gains from a GPU."""
        return sum(each.numel() for each in self.parameters()) >= LARGE

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.action_mean.device

    def fit_normalisers(self, pose: Float[Tensor, "n p"], actions: Float[Tensor, "n k a"]) -> None:
        """Compute means and scales from the training samples."""
        self.encoder.pose_mean.copy_(pose.mean(0))
        self.encoder.pose_scale.copy_(pose.std(0).clamp_min(1e-3))
        flat = actions.flatten(0, 1)
        self.action_mean.copy_(flat.mean(0))
        # A dimension that hardly moves, such as an idle gripper, must not dominate the loss.
        least = STILL * (self.action_high - self.action_low) / 2
        self.action_scale.copy_(torch.maximum(flat.std(0), least))

    def loss(
        self,
        images: Float[Tensor, "b v 3 h w"],
        pose: Float[Tensor, "b p"],
        task: Int[Tensor, " b"],
        actions: Float[Tensor, "b k a"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Return the mean training loss of a batch."""
        feature = self.encoder(images, pose, task)
        return self.head.loss(feature, self.to_target(actions), generator)

    def to_target(self, actions: Float[Tensor, "b k a"]) -> Float[Tensor, "b ka"]:
        """Convert chunks from the robot's units to the head's targets."""
        return ((actions - self.action_mean) / self.action_scale).flatten(1)

    def to_actions(self, target: Float[Tensor, "b ka"]) -> Float[Tensor, "b k a"]:
        """Convert the head's output to the robot's units, within the bounds of its actions."""
        out = target.unflatten(1, (self.chunk, self.action_dim))
        return self.bounded(out * self.action_scale + self.action_mean)

    def bounded(self, actions: Float[Tensor, "b k a"]) -> Float[Tensor, "b k a"]:
        """Clip actions to the bounds of those that were demonstrated."""
        return actions.clamp(self.action_low, self.action_high)

    @torch.no_grad()
    def act(
        self,
        images: Float[Tensor, "b v 3 h w"],
        pose: Float[Tensor, "b p"],
        task: Int[Tensor, " b"],
        generators: list[torch.Generator],
        warm: Warm | None = None,
    ) -> Float[Tensor, "b k a"]:
        """Return action chunks within bounds; episode i only draws from generator i."""
        return self.to_actions(self.head.act(self.encoder(images, pose, task), generators, warm))


def _head(recipe: PolicyRecipe, width: int, target: int) -> BcHead | FlowHead | DiffusionHead:
    hidden = recipe.network.hidden
    if recipe.head == "bc":
        return BcHead(width, hidden, target, recipe.loss)
    if recipe.head == "flow":
        return FlowHead(width, hidden, target, recipe.flow_steps)
    return DiffusionHead(width, hidden, target, levels=NOISE_LEVELS, steps=recipe.ddim_steps)
