"""Ctrl-World's diffusion: the network's inputs for a clip, its loss, and sampling.

A sequence is m past frames, then the newest frame and the future ones. Past frames are inputs,
clean (in training: noisy), on the time axis. The newest and the future frames are denoised, since
the newest is imagined again with them; its known latents are concatenated to every frame's
channels.

With `change` (not in the paper) frames are differences from the newest one, in units of their
training standard deviation, and the newest frame itself is an input as it is, so that an untrained
network repeats it.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from worldeval.axes import Bool, Float
from worldeval.errors import UserError
from worldeval.world.ctrl_world.draw import Draw
from worldeval.world.ctrl_world.edm import Scales, consistent, sample
from worldeval.world.ctrl_world.network import CtrlWorldNetwork
from worldeval.world.ctrl_world.recipe import AUGMENTATION, FPS, MOTION, CtrlWorldRecipe
from worldeval.world.ctrl_world.tokens import PoseScale
from worldeval.world.flow import own_noise
from worldeval.world.training.windows import Window


@dataclass(frozen=True, kw_only=True)
class ShownFrames:
    """Inputs of a training clip, noisy, and the frames to predict."""

    past: Float[Tensor, "b m e g x"]
    newest: Float[Tensor, "b 1 e g x"]
    target: Float[Tensor, "b n e g x"]


class VideoDenoiser(nn.Module):
    """The network with its pose statistics. `forward` is EDM's D: the predicted clean frames."""

    # For FSDP's `TRANSFORMER_BASED_WRAP`, which reads this attribute of the trained module: the
    # blocks to gather one at a time.
    _no_split_modules = (
        "BasicTransformerBlock",
        "TemporalBasicTransformerBlock",
        "SpatioTemporalResBlock",
    )
    change_std: Tensor
    text: Tensor

    def __init__(
        self,
        recipe: CtrlWorldRecipe,
        *,
        latent: tuple[int, int, int, int],
        pose_dim: int,
        tasks: int,
    ) -> None:
        super().__init__()
        views, channels = latent[:2]
        self.recipe, self.views = recipe, views
        self.frame = frame_of(latent, recipe.patch)
        self.past = len(recipe.memory.recall)
        self.network = CtrlWorldNetwork(recipe.unet, channels=self.frame[0], pose_dim=pose_dim)
        self.scale = PoseScale(pose_dim, recipe.angles)
        self.register_buffer("change_std", torch.ones(views, channels, 1, 1))
        # Instructions are embedded once, so known ones need no text encoder in imagination.
        self.register_buffer("text", torch.zeros(tasks, recipe.unet.token))
        if recipe.change:  # before training, every frame is predicted to equal the newest
            nn.init.zeros_(self.network.unet.conv_out.weight)
            nn.init.zeros_(self.network.unet.conv_out.bias)
        if recipe.checkpointing:
            self.network.unet.enable_gradient_checkpointing()

    def forward(
        self,
        x: Float[Tensor, "b n e g x"],
        sigma: Float[Tensor, " b"],
        past: Float[Tensor, "b m e g x"],
        newest: Float[Tensor, "b 1 e g x"],
        poses: Float[Tensor, "b f p"],
        words: Float[Tensor, "b c"],
        kept: Bool[Tensor, " b"],
        augmentation: float = 0.0,
    ) -> Float[Tensor, "b n e g x"]:
        """Predict the clean newest and future frames from noisy `x` at `sigma`.

        Every frame's token is that of its pose plus the instruction's; zero where not `kept`.
        `augmentation` is SVD's conditioning on the noise level of the newest frame.
        """
        tokens = self.network.action_encoder(self.scale(poses)) + words[:, None]
        tokens = tokens.masked_fill(~kept[:, None, None], 0.0)
        scales = Scales.at(sigma)
        frames = torch.cat([past, scales.into * x], 1)
        shown = (newest / self.recipe.condition_scale).expand(-1, frames.shape[1], -1, -1, -1)
        times = x.new_tensor([FPS, MOTION, augmentation]).expand(len(x), 3)
        found = self.network(torch.cat([frames, shown], 2), scales.noise, tokens, times)
        return scales.out * found[:, self.past :].float() + scales.skip * x

    def loss(self, net: nn.Module, clip: Window, draw: Draw) -> Float[Tensor, ""]:
        """EDM's loss on the newest and future frames; `net` is this module, possibly wrapped."""
        shown = self.shown(clip, draw)
        x = shown.target + draw.noise * draw.sigma.view(-1, 1, 1, 1, 1)
        found = net(
            x,
            draw.sigma,
            shown.past,
            shown.newest,
            clip.pose,
            self.text[clip.task],
            draw.kept,
        )
        return (Scales.at(draw.sigma).weight * (found - shown.target).square()).mean()

    def shown(self, clip: Window, draw: Draw) -> "ShownFrames":
        """What the network is shown of a training clip, with noise, and the frames it predicts."""
        newest = clip.latents[:, self.past : self.past + 1]
        clean = self._stacked(self._relative(clip.latents, newest))
        return ShownFrames(
            past=_unit(clean[:, : self.past], draw.past_noise, draw.past_sigma),
            newest=_unit(self._stacked(newest), draw.newest_noise, draw.newest_sigma),
            target=clean[:, self.past :],
        )

    def guided(
        self,
        x: Float[Tensor, "b n e g x"],
        sigma: Float[Tensor, " b"],
        past: Float[Tensor, "b m e g x"],
        newest: Float[Tensor, "b 1 e g x"],
        poses: Float[Tensor, "b f p"],
        words: Float[Tensor, "b c"],
    ) -> Float[Tensor, "b n e g x"]:
        """Predict the clean frames in sampling, with guidance where the recipe has it."""
        edm = self.recipe.edm
        kept = torch.ones(len(x), dtype=torch.bool, device=x.device)
        given = self(x, sigma, past, newest, poses, words, kept, AUGMENTATION)
        if edm.guidance == (1.0, 1.0):
            return given
        weights = torch.linspace(*edm.guidance, x.shape[1], device=x.device).view(1, -1, 1, 1, 1)
        free = self(x, sigma, past, newest, poses, words, ~kept, AUGMENTATION)
        return free + weights * (given - free)

    @torch.no_grad()
    def imagine(
        self,
        known: Float[Tensor, "b u v d h w"],
        poses: Float[Tensor, "b f p"],
        words: Float[Tensor, "b c"],
        *,
        generators: list[torch.Generator] | None,
        steps: int | None = None,
    ) -> Float[Tensor, "b k v d h w"]:
        """Sample the frames that follow the past and newest ones (u = m + 1), one for each pose.

        Row i draws from generator i. With guidance above 1, the network is evaluated with and
        without tokens, and the weight of the difference grows from the first to the last frame. A
        distilled network (`distil`) has guidance in its weights and is evaluated once per step.
        """
        edm, levels = self.recipe.edm, self.recipe.distil.levels
        newest = known[:, self.past :]
        past, shown = (
            self._stacked(self._relative(known, newest))[:, : self.past],
            self._stacked(newest),
        )
        count = poses.shape[1] - self.past
        kept = torch.ones(len(known), dtype=torch.bool, device=known.device)

        def noise() -> Tensor:
            return own_noise(shown.expand(-1, count, -1, -1, -1), generators)

        steps = steps or edm.steps
        if levels:
            found = consistent(
                lambda x, sigma: self(x, sigma, past, shown, poses, words, kept, AUGMENTATION),
                noise,
                edm,
                steps=steps,
                levels=levels,
            )
        else:
            found = sample(
                lambda x, sigma: self.guided(x, sigma, past, shown, poses, words),
                noise(),
                edm,
                steps=steps,
            )
        return self._absolute(unstacked(found, views=self.views, patch=self.recipe.patch), newest)[
            :, 1:
        ]

    def fit_change(self, change: Float[Tensor, "n v d h w"]) -> None:
        """Set the standard deviation of training changes, per view and channel."""
        self.change_std.copy_(
            change.square().mean((0, 3, 4)).sqrt().clamp_min(1e-3)[..., None, None]
        )

    def _stacked(self, latents: Float[Tensor, "b f v d h w"]) -> Float[Tensor, "b f e g x"]:
        return stacked(latents, self.recipe.patch)

    def _relative(
        self, latents: Float[Tensor, "b f v d h w"], newest: Float[Tensor, "b 1 v d h w"]
    ) -> Float[Tensor, "b f v d h w"]:
        return (latents - newest) / self.change_std if self.recipe.change else latents

    def _absolute(
        self, frames: Float[Tensor, "b f v d h w"], newest: Float[Tensor, "b 1 v d h w"]
    ) -> Float[Tensor, "b f v d h w"]:
        return newest + frames * self.change_std if self.recipe.change else frames


def frame_of(latent: tuple[int, int, int, int], patch: int) -> tuple[int, int, int]:
    """Channels, height and width of the network's frame, with views stacked vertically."""
    views, channels, height, breadth = latent
    if height % patch or breadth % patch:
        raise UserError(
            f"patch: {patch} does not divide latents of {height} x {breadth} cells. "
            "Set a patch that divides both; 1 always fits."
        )
    return channels * patch**2, views * height // patch, breadth // patch


def stacked(latents: Float[Tensor, "b f v d h w"], patch: int) -> Float[Tensor, "b f e g x"]:
    """Stack the views of a frame vertically into one image.

    Each block of `patch` x `patch` cells becomes one cell with more channels; 1 changes nothing.
    """
    return rearrange(
        latents, "b f v d (h i) (w j) -> b f (d i j) (v h) w", i=patch, j=patch
    ).contiguous()


def unstacked(
    frames: Float[Tensor, "b f e g x"], *, views: int, patch: int
) -> Float[Tensor, "b f v d h w"]:
    """Separate the views again."""
    return rearrange(
        frames, "b f (d i j) (v h) w -> b f v d (h i) (w j)", v=views, i=patch, j=patch
    )


def _unit(clean: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """Add noise and rescale to unit variance."""
    return (clean + sigma * noise) / (sigma.square() + 1).sqrt()
