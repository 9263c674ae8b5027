"""The network of `dit`: its tokens and their attention pattern.

A token is a patch of latent cells of one view of one frame. It carries the change that leads to its
frame, the previous and the first frame at the same place, and the grippers as this view sees them.
The frame's motion modulates every block. While a frame is being imagined, its tokens hold a noisy
change at some flow time. Once the frame is settled, they hold the change itself at flow time 1 and
are cached. So the history is processed by the same network at its last flow time, and a roll-out
computes each frame's keys and values once.

A frame attends to its own tokens, to those of the `window` settled frames before it and, while it
is imagined, to read-only tokens of `memory` older frames, the nearest in pose, which carry their
pose and age. Nothing attends to a later frame.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from worldeval.axes import Bool, Float, Int
from worldeval.errors import UserError
from worldeval.world.dit.attended import FLEXIBLE, AttendedFrames, Bands, Seen, Slots, both
from worldeval.world.dit.attention import Block, turns
from worldeval.world.dit.cache import FrameCache
from worldeval.world.dit.recipe import DitRecipe
from worldeval.world.features import Features, Motion
from worldeval.world.hand.maps import ONE_HAND, DrawnHand, HandMaps
from worldeval.world.layers import modulated

PAINT = 16  # motion features added to each token
FREQUENCIES = 8  # of the embeddings of flow time and age
LONGEST = 256.0  # frames; ages are embedded relative to this


@dataclass(frozen=True, kw_only=True)
class Given:
    """Inputs of `m` frames that are known before the frames are imagined."""

    previous: Float[Tensor, "m v d h w"]  # the frame before; for a first frame, itself
    first: Float[Tensor, "m v d h w"]  # observed, never imagined
    motion: Motion
    next_pose: Float[Tensor, "m p"]  # pose at the time of the frame


@dataclass(frozen=True, kw_only=True)
class MemoryFrames:
    """Older frames that `m` frames may read, all of them outside the frames' windows."""

    latents: Float[Tensor, "m k v d h w"]
    pose: Float[Tensor, "m k p"]
    age: Int[Tensor, "m k"]  # frames ago
    there: Bool[Tensor, "m k"] | None  # None: all of them are


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """Consecutive frames of `b` episodes with all training inputs (m = b t)."""

    latents: Float[Tensor, "b t v d h w"]  # the history that later frames see
    before: Float[Tensor, "b v d h w"]  # the frame before the first
    given: Given  # its `previous` follows from the two above
    memory: MemoryFrames | None

    def change(self) -> Float[Tensor, "b t v d h w"]:
        """Change of latents from each frame's previous frame to it."""
        return self.latents - self.previous()

    def previous(self) -> Float[Tensor, "b t v d h w"]:
        """The frame before each frame."""
        return torch.cat([self.before[:, None], self.latents[:, :-1]], 1)

    def seeing(self, latents: Float[Tensor, "b t v d h w"]) -> "Sequence":
        """Replace the history of the same episodes."""
        changed = replace(self, latents=latents)
        previous = changed.previous().flatten(0, 1)
        return replace(changed, given=replace(self.given, previous=previous))


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Noise-independent features of `m` frames, computed once per frame."""

    tokens: Float[Tensor, "m n u"]
    known: Float[Tensor, "m c"]


class DitNetwork(nn.Module):
    """Predict the change to a frame, in units of its training standard deviation (`fit_change`).

    A new network predicts no change. No output depends on the other episodes of a batch.
    """

    change_std: Tensor

    def __init__(
        self,
        recipe: DitRecipe,
        features: Features,
        *,
        latent: tuple[int, int, int, int],
        cameras: Float[Tensor, "k v 3 4"],
        hands: tuple[DrawnHand, ...] = ONE_HAND,
    ) -> None:
        super().__init__()
        views, depth, height, breadth = latent
        width, patch = recipe.width, recipe.patch
        if height % patch or breadth % patch:
            raise UserError(
                f"patch: {patch} does not divide latents of {height} x {breadth} cells. "
                "Set a patch that divides both; 1 always fits."
            )
        self.recipe, self.features, self.latent = recipe, features, latent
        grid = (height // patch, breadth // patch)
        cells, size = views * grid[0] * grid[1], depth * patch * patch
        pose_dim, condition = len(features.pose_mean), min(width, 512)
        self.register_buffer("change_std", torch.ones(views, depth, 1, 1))

        self.embed = nn.Linear(size, width)
        self.near = nn.Linear(2 * size, width)
        self.place = nn.Parameter(0.02 * torch.randn(cells, width))
        self.maps = HandMaps(cameras, grid=grid, hands=hands)
        self.hand = nn.Linear(self.maps.channels, width)
        known = features.size + features.wave_size + 2 * pose_dim
        self.motion = _mlp(known, condition)
        self.clock = _mlp(2 * FREQUENCIES, condition)
        self.palette = nn.Sequential(nn.SiLU(), nn.Linear(condition, cells * PAINT))
        self.paint = nn.Linear(PAINT, width)
        if recipe.memory:
            self.glimpse = nn.Linear(size, width)
            self.read_place = nn.Parameter(0.02 * torch.randn(cells, width))
            self.read_pose = nn.Linear(features.wave_size + pose_dim + 2 * FREQUENCIES, width)
            self.read_norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(
            Block(
                width,
                recipe.heads,
                condition=condition,
                window=recipe.window,
                remembers=recipe.memory > 0,
                rotary=recipe.age == "rotary",
            )
            for _ in range(recipe.depth)
        )
        self.last = nn.Linear(condition, 2 * width)
        self.head = nn.Linear(width, size)
        for layer in (self.last, self.head):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    @property
    def change_fitted(self) -> bool:
        """Whether the standard deviations were fitted to data, unlike those of a new network."""
        return not bool((self.change_std == 1).all())

    def fit_change(self, change: Float[Tensor, "n v d h w"]) -> None:
        """Set the standard deviation of training changes, per view and channel."""
        self.change_std.copy_(
            change.square().mean((0, 3, 4)).sqrt().clamp_min(1e-3)[..., None, None]
        )

    def forward(
        self, x: Float[Tensor, "b t v d h w"], time: Float[Tensor, "b t"], sequence: Sequence
    ) -> Float[Tensor, "b t v d h w"]:
        """Predict the change to every frame from `x` at flow times `time`. Each frame sees the
        sequence's history before it: a cached roll-out's result, for all frames at once."""
        scene, seen = self.settle_sequence(sequence)
        found = self.denoise(x.flatten(0, 1), time.flatten(), scene, seen)
        return found.unflatten(0, x.shape[:2])

    def settle_sequence(self, sequence: Sequence) -> tuple[Scene, list[Seen]]:
        """Compute what every frame of a sequence attends to, before it and in memory, per block."""
        frames = sequence.latents.shape[1]
        scene = self.look(sequence.given)
        change = (sequence.change() / self.change_std).flatten(0, 1)
        tokens, condition = self._noised(change, torch.ones_like(scene.known[:, 0]), scene)
        turn = self.turn(torch.arange(frames, device=tokens.device))
        memory = self.read(sequence.memory, sequence.given.next_pose, turn)
        out: list[Seen] = []
        for block, read in zip(self.blocks, memory, strict=True):
            assert isinstance(block, Block)
            tokens, kept = self._spare(
                block.settle_sequence, tokens, condition, frames=frames, turn=turn
            )
            if turn is not None and tokens.device.type in FLEXIBLE:
                out.append(Bands(settled=kept, memory=read, window=block.window, turn=turn))
                continue
            before = block.before_each(kept, turn)
            out.append(before if read is None else both(before, read))
        return scene, out

    def turn(self, frame: Int[Tensor, " t"]) -> Float[Tensor, "t 2 r"] | None:
        """By which the keys and queries of these frames are turned; None with `age: learned`."""
        if self.recipe.age == "learned":
            return None
        return turns(frame.float(), self.recipe.width // self.recipe.heads)

    def look(self, given: Given) -> Scene:
        """Compute the features of frames once for all sampler steps."""
        known = self.motion(self._known(given))
        palette = rearrange(self.palette(known), "m (n e) -> m n e", e=PAINT)
        near = [self._patches(frame) for frame in (given.previous, given.first)]
        maps = self.maps(given.motion.task, given.motion.pose, given.next_pose)
        tokens = self.near(torch.cat(near, 2)) + self.place
        return Scene(tokens=tokens + self.paint(palette) + self.hand(maps), known=known)

    def read(
        self,
        memory: MemoryFrames | None,
        next_pose: Float[Tensor, "m p"],
        turn: Float[Tensor, "t 2 r"] | None,
    ) -> list[AttendedFrames] | list[None]:
        """Compute each block's memory tokens; Nones without memory."""
        if memory is None or not self.recipe.memory:
            return [None] * len(self.blocks)
        frames, features = memory.pose.shape[1], self.features
        away = (memory.pose - next_pose[:, None]) / features.pose_std
        waves = features.waves(memory.pose.flatten(0, 1)).unflatten(0, memory.pose.shape[:2])
        age = _waves(memory.age.flatten().float() / LONGEST).unflatten(0, memory.age.shape)
        told = self.read_pose(torch.cat([waves, away, age], 2))
        tokens = self.glimpse(self._patches(memory.latents.flatten(0, 1)))
        tokens = tokens.unflatten(0, (-1, frames)) + self.read_place + told[:, :, None]
        mask = memory.there
        if mask is not None:
            mask = mask.repeat_interleave(tokens.shape[2], 1)
        tokens = self.read_norm(tokens.flatten(1, 2))
        return [block.read(tokens, mask, turn) for block in self.blocks]  # type: ignore[operator]

    def denoise(
        self,
        x: Float[Tensor, "m v d h w"],
        time: Float[Tensor, " m"],
        scene: Scene,
        seen: Iterable[Seen],
    ) -> Float[Tensor, "m v d h w"]:
        """Predict the change from `x` at flow time `time`, for frames that attend to `seen`."""
        tokens, condition = self._noised(x, time, scene)
        for block, there in zip(self.blocks, seen, strict=True):
            tokens = self._spare(block, tokens, condition, there)
        gain, shift = self.last(condition)[:, None].chunk(2, 2)
        return self._cells(self.head(modulated(tokens, gain, shift)).float())

    def settle(
        self,
        change: Float[Tensor, "m v d h w"],
        scene: Scene,
        cache: FrameCache,
        seen: list[Slots],
    ) -> FrameCache:
        """Append a frame whose change is known to the cache whose `slots` are seen.

        It reads no memory, which later frames may not see.
        """
        time = torch.ones(len(change), device=change.device)
        tokens, condition = self._noised(change, time, scene)
        places = (cache.frames + 1) * cache.cells
        free = cache.slots(cache.end, cache.end + 1)
        for index, (block, there) in enumerate(zip(self.blocks, seen, strict=True)):
            assert isinstance(block, Block)
            tokens, kept = block.settle(tokens, condition, there.first(places))
            if block.lag is not None:  # else its place in the cache is where it attended from
                free[:, index, 0] = kept.keys[:, 0]
        return cache.settled()

    def slots(self, cache: FrameCache, memory: list[AttendedFrames] | list[None]) -> list[Slots]:
        """Return what the frame after the cached ones attends to, per block.

        The cache must have room for the frame and its memory, which is written behind the window.
        """
        out = []
        turn = self.turn(torch.full((1,), cache.age, device=cache.buffer.device))
        window = cache.frames * cache.cells
        for index, (block, read) in enumerate(zip(self.blocks, memory, strict=True)):
            assert isinstance(block, Block)
            count = 0 if read is None else read.keys.shape[2]
            places = window + count + cache.cells
            own = cache.buffer[:, index, :, :, cache.begin * cache.cells :][..., :places, :]
            keys, values = own.unbind(1)
            if block.lag is not None:
                lagging = block.lagging(keys[:, :, :window], cache.frames) if window else keys
                keys = torch.cat([lagging[:, :, :window], keys[:, :, window:]], 2)
            if read is not None:
                keys[:, :, window : window + count] = read.keys
                values[:, :, window : window + count] = read.values
            out.append(Slots(keys=keys, values=values, turn=turn))
        return out

    def nothing(self, like: Float[Tensor, "m v d h w"]) -> FrameCache:
        """An empty cache, before any frame."""
        recipe = self.recipe
        return FrameCache.empty(
            len(like),
            blocks=len(self.blocks),
            heads=recipe.heads,
            cells=len(self.place),
            width=recipe.width // recipe.heads,
            window=recipe.window,
            like=like,
        )

    def _noised(
        self, x: Float[Tensor, "m v d h w"], time: Float[Tensor, " m"], scene: Scene
    ) -> tuple[Float[Tensor, "m n u"], Float[Tensor, "m c"]]:
        condition = F.silu(scene.known + self.clock(_waves(time)))
        return scene.tokens + self.embed(self._patches(x)), condition

    def _spare(self, block: Any, *args: Any, **kwargs: Any) -> Any:
        if self.recipe.checkpoint and torch.is_grad_enabled():
            return checkpoint(block, *args, use_reentrant=False, **kwargs)
        return block(*args, **kwargs)

    def _known(self, given: Given) -> Float[Tensor, "m f"]:
        features, motion = self.features, given.motion
        return torch.cat(
            [
                features(motion),
                features.unit(given.next_pose),
                features.waves(given.next_pose),
                (given.next_pose - motion.pose) / features.step_std,
            ],
            1,
        )

    def _patches(self, latent: Float[Tensor, "m v d h w"]) -> Float[Tensor, "m n e"]:
        side = self.recipe.patch
        return rearrange(latent, "m v d (h i) (w j) -> m (v h w) (d i j)", i=side, j=side)

    def _cells(self, tokens: Float[Tensor, "m n e"]) -> Float[Tensor, "m v d h w"]:
        side, (views, depth, height, _) = self.recipe.patch, self.latent
        return rearrange(
            tokens,
            "m (v h w) (d i j) -> m v d (h i) (w j)",
            v=views,
            d=depth,
            h=height // side,
            i=side,
            j=side,
        )


def _mlp(size: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, width), nn.SiLU(), nn.Linear(width, width))


def _waves(share: Float[Tensor, " m"]) -> Float[Tensor, "m e"]:
    """Sine and cosine features of numbers in [0, 1]."""
    angle = share[:, None] * math.pi * 2.0 ** torch.arange(-1, FREQUENCIES - 1, device=share.device)
    return torch.cat([angle.sin(), angle.cos()], 1)
