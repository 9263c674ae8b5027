"""Denoising chains against hand computation, and against the library that others use."""

import math

import pytest
import torch
from torch import Tensor

from worldeval.policy.heads.denoise import Path, advance
from worldeval.policy.heads.diffusion import DiffusionHead, kept_signal, spaced
from worldeval.policy.heads.flow import FlowHead, straight

WIDTH, TARGET, ROWS = 3, 4, 5


def rows(step: int) -> Tensor:
    return torch.full((ROWS,), step)


@pytest.fixture
def diffusion() -> DiffusionHead:
    torch.manual_seed(0)
    return DiffusionHead(WIDTH, 16, TARGET, levels=100, steps=10)


@pytest.fixture
def flow() -> FlowHead:
    torch.manual_seed(0)
    return FlowHead(WIDTH, 16, TARGET, steps=6)


def test_a_step_of_two_levels_by_hand() -> None:
    # Signal .6 and noise .8, then .8 and .6; the clean chunk is 1, so the noise is (1 - .6) / .8.
    path = Path(
        time=torch.zeros(1), signal=torch.tensor([0.6, 0.8]), noise=torch.tensor([0.8, 0.6])
    )
    x, clean = torch.ones(ROWS, 1), torch.ones(ROWS, 1)
    still = advance(x, rows(0), clean, path)
    assert still.mean[0, 0] == pytest.approx(0.8 + 0.6 * 0.5)
    assert still.std[0, 0] == 0
    # DDPM's variance: (.6 / .8)^2 (1 - (.6 / .8)^2).
    variance = 0.5625 * (1 - 0.5625)
    noisy = advance(x, rows(0), clean, path, eta=1.0)
    assert noisy.std[0, 0] == pytest.approx(math.sqrt(variance))
    assert noisy.mean[0, 0] == pytest.approx(0.8 + math.sqrt(0.36 - variance) * 0.5)
    floored = advance(x, rows(0), clean, path, eta=0.0, floor=0.1)
    assert floored.std[0, 0] == pytest.approx(0.1)
    assert torch.equal(floored.mean, still.mean)


def test_the_log_probability_by_hand() -> None:
    path = Path(
        time=torch.zeros(1), signal=torch.tensor([0.6, 0.8]), noise=torch.tensor([0.8, 0.6])
    )
    step = advance(torch.ones(ROWS, 2), rows(0), torch.ones(ROWS, 2), path, floor=0.5)
    at = step.mean + torch.tensor([0.5, -1.0])
    # Two dimensions, 1 and 2 deviations off.
    expected = -0.5 * (1 + 4) - 2 * math.log(0.5) - math.log(2 * math.pi)
    assert step.log_prob(at)[0] == pytest.approx(expected, abs=1e-5)


def test_ddim_is_the_librarys(diffusion: DiffusionHead) -> None:
    schedulers = pytest.importorskip("diffusers.schedulers")
    theirs = schedulers.DDIMScheduler(
        num_train_timesteps=100,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
    )
    theirs.set_timesteps(10)
    torch.testing.assert_close(kept_signal(100), theirs.alphas_cumprod)
    assert spaced(100, 10).tolist() == theirs.timesteps.tolist()
    feature, x = torch.randn(ROWS, WIDTH), torch.randn(ROWS, TARGET)
    for step, level in enumerate(theirs.timesteps):
        time = torch.full((ROWS, 1), (int(level) + 1) / 100)
        v = diffusion.predict(x, time, feature)
        expected = theirs.step(v, level, x).prev_sample
        torch.testing.assert_close(diffusion.move(x, step, feature), expected)
        x = expected


def test_ddim_on_the_straight_path_is_euler(flow: FlowHead) -> None:
    feature, x = torch.randn(ROWS, WIDTH), torch.randn(ROWS, TARGET)
    for step in range(6):
        euler = flow.move(x, step, feature)
        torch.testing.assert_close(flow.transition(x, rows(step), feature).mean, euler)
        x = euler


def test_ancestral_noise_keeps_the_spread_of_the_path() -> None:
    """With the right clean chunk, a step of either kind leads to the next level's distribution."""
    generator = torch.Generator().manual_seed(0)
    count, clean = 20_000, torch.full((20_000, 1), 0.7)
    for path in (straight(torch.tensor([0.2, 0.5, 1.0])),):
        noise = torch.randn(count, 1, generator=generator)
        x = path.signal[0] * clean + path.noise[0] * noise
        for eta in (0.0, 0.5, 1.0):
            step = advance(x, torch.zeros(count, dtype=torch.long), clean, path, eta=eta)
            drawn = step.mean + step.std * torch.randn(count, 1, generator=generator)
            assert drawn.mean() == pytest.approx(0.35, abs=0.02)
            assert drawn.std() == pytest.approx(0.5, abs=0.02)


def test_each_head_follows_the_others_path(diffusion: DiffusionHead, flow: FlowHead) -> None:
    along = flow.path_like(diffusion.path)
    ratio = diffusion.path.signal[:-1] / diffusion.path.noise[:-1]
    torch.testing.assert_close(along.signal[:-1] / along.noise[:-1], ratio)
    assert along.signal[-1] == 1
    torch.testing.assert_close(diffusion.path_like(diffusion.path).signal, diffusion.path.signal)
    torch.testing.assert_close(flow.path_like(flow.path).time, flow.path.time)


@pytest.mark.parametrize("kind", ["diffusion", "flow"])
def test_a_head_learns_where_its_chunks_are(kind: str) -> None:
    """One-dimensional chunks at -1 and +1, distinguished by the feature."""
    torch.manual_seed(1)
    head = (
        DiffusionHead(1, 32, 1, levels=100, steps=10)
        if kind == "diffusion"
        else FlowHead(1, 32, 1, steps=10)
    )
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(head.parameters(), lr=5e-3)
    side = torch.where(torch.arange(256) % 2 == 0, -1.0, 1.0)[:, None]
    for _ in range(150):
        loss = head.loss(side, side, generator)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        drawn = head.act(side[:64], [torch.Generator().manual_seed(i) for i in range(64)])
    assert (drawn - side[:64]).abs().mean() < 0.15
