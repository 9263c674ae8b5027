"""What the network is shown, what the loss asks of it, and the frames that come of it."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from tests.world.ctrl_world.tiny import LATENT, TINY, a_denoiser, some_episodes
from worldeval.errors import UserError
from worldeval.world.ctrl_world.denoiser import VideoDenoiser, stacked, unstacked
from worldeval.world.ctrl_world.draw import Draw, draw
from worldeval.world.ctrl_world.edm import Scales
from worldeval.world.ctrl_world.recipe import EdmRecipe
from worldeval.world.training.windows import Window, Windows, steps

NO_WORDS = torch.zeros(2, TINY.unet.token)


def test_the_network_is_shown_what_the_paper_says() -> None:
    """Past frames scaled by their own noise, noisy frames by c_in, the newest on every frame."""
    denoiser = a_denoiser(replace(TINY, condition_scale=0.5))
    spy = Spy(denoiser)
    clip, drawn = a_clip(), a_draw(denoiser)
    denoiser.loss(denoiser, clip, drawn)
    frames, noise, _, times = spy.given
    z = clip.latents.flatten(2, 3).unflatten(2, (2, 3)).transpose(2, 3).flatten(3, 4)  # b f d vh w
    sigma = drawn.past_sigma
    past = (z[:, :2] + sigma * drawn.past_noise) / (1 + sigma**2).sqrt()
    s = drawn.sigma.view(-1, 1, 1, 1, 1)
    future = (z[:, 2:] + s * drawn.noise) / (1 + s**2).sqrt()
    newest = (z[:, 2:3] + drawn.newest_sigma * drawn.newest_noise) / (
        1 + drawn.newest_sigma**2
    ).sqrt()
    torch.testing.assert_close(frames[:, :, :3], torch.cat([past, future], 1))
    torch.testing.assert_close(frames[:, :, 3:], (newest / 0.5).expand(-1, 5, -1, -1, -1))
    torch.testing.assert_close(noise, drawn.sigma.log() / 4)
    assert times.tolist() == [[7, 127, 0]] * 2


def test_the_loss_is_edms_on_the_newest_and_the_future_frames() -> None:
    denoiser, clip = a_denoiser(), a_clip()
    drawn = a_draw(denoiser)

    class Expects(nn.Module):
        """A network that expects every clean frame to be zero."""

        def forward(self, x, *others):
            return torch.zeros_like(x)

    found = denoiser.loss(Expects(), clip, drawn)
    weight = Scales.at(drawn.sigma).weight.flatten()
    mean_square = clip.latents[:, 2:].square().mean((1, 2, 3, 4, 5))
    torch.testing.assert_close(found, (weight * mean_square).mean())


def test_past_frames_are_no_target() -> None:
    denoiser, clip = a_denoiser(), a_clip()
    other = clip.latents.clone()
    other[:, :2] += 1
    drawn = a_draw(denoiser)
    drawn = replace(drawn, past_sigma=torch.full_like(drawn.past_sigma, 1e6))  # nothing is seen
    before = denoiser.loss(denoiser, clip, drawn)
    after = denoiser.loss(denoiser, replace(clip, latents=other), drawn)
    torch.testing.assert_close(before, after, rtol=1e-4, atol=0)


def test_another_episode_of_the_batch_changes_nothing() -> None:
    denoiser, clip = a_denoiser(), a_clip()
    given = a_draw(denoiser)
    before = parts_of_loss(denoiser, clip, given)
    other = replace(clip, latents=clip.latents.clone(), pose=clip.pose.clone())
    other.latents[1] += 1
    other.pose[1] += 0.5
    after = parts_of_loss(denoiser, other, given)
    assert torch.equal(before[0], after[0])
    assert not torch.allclose(before[1], after[1])


def test_a_dropped_token_says_nothing_of_the_pose() -> None:
    denoiser, clip = a_denoiser(), a_clip()
    given = replace(a_draw(denoiser), kept=torch.tensor([True, False]))
    other = replace(clip, pose=clip.pose - 0.7)
    before, after = (parts_of_loss(denoiser, each, given) for each in (clip, other))
    assert not torch.allclose(before[0], after[0])
    assert torch.equal(before[1], after[1])


def test_a_task_is_read_where_it_is_known() -> None:
    denoiser, clip = a_denoiser(), a_clip()
    with torch.no_grad():
        denoiser.text[1] = 1.0
    given = replace(a_draw(denoiser), kept=torch.tensor([True, True]))
    before = parts_of_loss(denoiser, clip, given)
    swapped = parts_of_loss(denoiser, replace(clip, task=1 - clip.task), given)
    assert not torch.allclose(before, swapped)


def test_an_episode_is_imagined_alike_alone_and_in_a_batch() -> None:
    denoiser, clip = a_denoiser(), a_clip()
    together = denoiser.imagine(clip.latents[:, :3], clip.pose, NO_WORDS, generators=seeded(4, 5))
    assert together.shape == (2, 2, *LATENT)
    alone = denoiser.imagine(
        clip.latents[1:, :3], clip.pose[1:], NO_WORDS[1:], generators=seeded(5)
    )
    torch.testing.assert_close(together[1:], alone, atol=1e-4, rtol=1e-4)


def test_guidance_grows_over_the_frames() -> None:
    """From 0 at the newest frame to 2 at the last: plain in the middle, beyond it at the end."""
    clip = a_clip()

    def imagined(guidance: tuple[float, float], kept: bool = True) -> torch.Tensor:
        denoiser = a_denoiser(replace(TINY, edm=EdmRecipe(sigma_max=3.0, guidance=guidance)))
        if not kept:
            for weight in denoiser.network.action_encoder.action_encode[4].parameters():
                nn.init.zeros_(weight)
        return denoiser.imagine(
            clip.latents[:, :3], clip.pose, NO_WORDS, generators=seeded(1, 2), steps=1
        )

    plain, free = imagined((1.0, 1.0)), imagined((1.0, 1.0), kept=False)
    guided = imagined((0.0, 2.0))  # newest 0, then 1 and 2
    torch.testing.assert_close(guided[:, 0], plain[:, 0], atol=1e-5, rtol=1e-4)
    beyond = free[:, 1] + 2 * (plain[:, 1] - free[:, 1])
    torch.testing.assert_close(guided[:, 1], beyond, atol=1e-5, rtol=1e-4)


def test_changes_are_imagined_from_the_newest_frame() -> None:
    torch.manual_seed(0)
    recipe = replace(TINY, change=True, edm=EdmRecipe(sigma_max=1000.0, guidance=(1.0, 1.0)))
    denoiser = VideoDenoiser(recipe, latent=LATENT, pose_dim=4, tasks=2)
    denoiser.fit_change(2 * torch.randn(400, *LATENT))
    assert denoiser.change_std.flatten().tolist() == pytest.approx([2.0] * 6, rel=0.1)
    clip = a_clip()
    found = denoiser.imagine(
        clip.latents[:, :3], clip.pose, NO_WORDS, generators=seeded(0, 1), steps=1
    )
    # Fresh, it expects no change at all.
    torch.testing.assert_close(found, clip.latents[:, 2:3].expand_as(found), atol=0.02, rtol=0)


def test_checkpointing_leaves_the_gradient_as_it_is() -> None:
    clip, gradients = a_clip(), []
    for checkpointing in (False, True):
        denoiser = a_denoiser(replace(TINY, checkpointing=checkpointing)).train()
        denoiser.loss(denoiser, clip, a_draw(denoiser)).backward()
        gradients.append([each.grad for each in denoiser.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed)


def test_a_patch_that_does_not_fit_says_so() -> None:
    with pytest.raises(UserError, match="patch: 3 does not divide"):
        VideoDenoiser(replace(TINY, patch=3), latent=LATENT, pose_dim=4, tasks=1)


class Spy:
    """What the network of a denoiser was last given."""

    given: tuple[torch.Tensor, ...]

    def __init__(self, denoiser: VideoDenoiser) -> None:
        denoiser.network.register_forward_pre_hook(self._look)

    def _look(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        self.given = args


def test_sampling_tells_svd_of_a_little_noise_as_the_official_code_does() -> None:
    denoiser, clip = a_denoiser(), a_clip()
    spy = Spy(denoiser)
    denoiser.imagine(clip.latents[:, :3], clip.pose, NO_WORDS, generators=None)
    torch.testing.assert_close(spy.given[3], torch.tensor([[7, 127, 0.02]] * 2))


def test_views_stand_above_one_another() -> None:
    latents = torch.randn(2, 3, *LATENT)
    frames = stacked(latents, 1)
    assert frames.shape == (2, 3, 3, 8, 4)
    assert torch.equal(frames[:, :, :, :4], latents[:, :, 0])
    assert torch.equal(frames[:, :, :, 4:], latents[:, :, 1])
    for patch in (1, 2):
        assert torch.equal(unstacked(stacked(latents, patch), views=2, patch=patch), latents)


def parts_of_loss(denoiser: VideoDenoiser, clip: Window, given: Draw) -> torch.Tensor:
    """The clean frames that are expected, episode by episode."""
    kept: list[torch.Tensor] = []

    class Keeping(nn.Module):
        def forward(self, *args):
            kept.append(denoiser(*args))
            return kept[0]

    denoiser.loss(Keeping(), clip, given)
    return kept[0].detach()


def a_clip() -> Window:
    """Two clips of two episodes: two past frames, the newest and two to come; poses in [-1, 1]."""
    clip = Windows(some_episodes((6, 5))).cut(torch.tensor([2, 8]), steps(2, 2))
    return replace(clip, pose=clip.pose / 8)


def a_draw(denoiser: VideoDenoiser) -> Draw:
    return draw(
        2,
        denoiser.recipe,
        frame=denoiser.frame,
        future=2,
        generator=torch.Generator().manual_seed(3),
    )


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]
