"""The network of worldeval policies: a small convolutional encoder and one of the heads."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from worldeval.errors import UserError
from worldeval.policy.build import PolicyHead, build_head, parts_of, words_of
from worldeval.policy.goals import Goals
from worldeval.policy.heads.act_jepa import ActJepaHead
from worldeval.policy.heads.denoise import Warm
from worldeval.policy.heads.follower import Follower
from worldeval.policy.recipe import PolicyRecipe
from worldeval.policy.sizes import Sizes

LARGE = 1_000_000  # parameters from which a GPU pays
STILL = 0.2  # half ranges of its actions: a dimension that deviates less is scaled by this


class Encoder(nn.Module):
    """Encode images of every view, pose and task as one feature vector, in `parts`.

    The convolutions are shared over views. Their 8x8 maps are flattened, not pooled, because the
    positions of gripper and object matter. Earlier moments and goals are encoded like the newest.
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
        self.parts, self.views = parts_of(recipe, sizes), len(recipe.views)
        self.width = self.parts.width
        self.task = nn.Embedding(len(sizes.tasks), self.parts.task)
        self.words = Words(sizes.tasks, self.parts.word) if self.parts.words else None
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
        rows, moments = len(images), self.parts.moments
        maps = self.map(images)
        seen = self.embed(maps.reshape(rows * (images.shape[1] // self.views), -1))
        seen = seen.unflatten(0, (rows, -1))  # one for every moment, then one for the goal
        normal = (pose.unflatten(1, (moments, -1)) - self.pose_mean) / self.pose_scale
        parts = [seen[:, moments - 1], self.task(task), normal[:, -1]]
        if moments > 1:
            earlier = torch.cat([seen[:, : moments - 1], normal[:, :-1]], dim=-1)
            parts.append(earlier.flatten(1))
        if self.parts.goal:
            parts += [seen[:, -1], torch.ones_like(normal[:, 0, :1])]
        if self.parts.tokens:
            last = maps.unflatten(0, (rows, -1))[:, (moments - 1) * self.views :]
            parts.append(patches(last[:, : self.views], self.parts.token).flatten(1))
        if self.words is not None:
            parts.append(self.words(task).flatten(1))
        return torch.cat(parts, dim=-1)

    def map(self, images: Float[Tensor, "b v 3 h w"]) -> Float[Tensor, "bv c y x"]:
        """Apply the convolutions to every image."""
        # Frames have their channels last in memory, the fastest layout for convolutions.
        return self.convolutions(images.flatten(0, 1))

    def look(self, images: Float[Tensor, "b m v 3 h w"]) -> Float[Tensor, "b m seen"]:
        """Embed the images of several moments, without pose and task."""
        rows, moments = images.shape[:2]
        if self.blind:
            images = torch.zeros_like(images)
        maps = self.map(images.flatten(0, 1))
        return self.embed(maps.reshape(rows * moments, -1)).unflatten(0, (rows, moments))


class Looking(nn.Module):
    """An encoder as a function of images alone."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Float[Tensor, "b m v 3 h w"]) -> Float[Tensor, "b m seen"]:
        return self.encoder.look(images)


class Words(nn.Module):
    """The words of every task's text, each with a learned vector; 0 follows the last word."""

    places: Tensor

    def __init__(self, tasks: tuple[str, ...], size: int) -> None:
        super().__init__()
        texts = [words_of(task) for task in tasks]
        known = sorted({word for text in texts for word in text})
        places = torch.zeros(len(tasks), max(map(len, texts)), dtype=torch.long)
        for row, text in enumerate(texts):
            places[row, : len(text)] = torch.tensor([1 + known.index(word) for word in text])
        self.register_buffer("places", places, persistent=False)
        self.vectors = nn.Embedding(1 + len(known), size, padding_idx=0)

    def forward(self, task: Int[Tensor, " b"]) -> Float[Tensor, "b w e"]:
        """Return the vectors of each task's words."""
        return self.vectors(self.places[task])


def patches(maps: Float[Tensor, "b v c y x"], size: int) -> Float[Tensor, "b n e"]:
    """Cut the maps of all views into patches of `size` numbers: single cells, or squares of 2x2."""
    if size == maps.shape[2]:
        return maps.permute(0, 1, 3, 4, 2).flatten(1, 3)
    return F.pixel_unshuffle(maps, 2).permute(0, 1, 3, 4, 2).flatten(1, 3)


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
        self.head: PolicyHead = build_head(recipe, self.encoder.parts, sizes.action_dim)
        self.goals = Goals(recipe, sizes) if recipe.sight.goal else None
        # Its answers to later frames are targets of training (act-jepa).
        self.target: Follower | None = None
        if recipe.sight.ahead:
            self.target = Follower(Looking(self.encoder), recipe.act_jepa.decay)
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
        ahead: Float[Tensor, "b m v 3 h w"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the mean training loss of a batch; `ahead` are later frames, where they count."""
        feature, target = self.encoder(images, pose, task), self.to_target(actions)
        if ahead is None or self.target is None:
            return self.head.loss(feature, target, generator)
        self.target.follow(Looking(self.encoder))
        assert isinstance(self.head, ActJepaHead)
        return self.head.loss(feature, target, generator, self.target(ahead))

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
