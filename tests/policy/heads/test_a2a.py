"""A2A against flow from noise, on chunks that go on as the past poses did."""

import torch
from torch import Tensor

from tests.policy.heads.toy import CHUNK, TARGET, learn
from worldeval.policy.heads.a2a import A2aHead
from worldeval.policy.heads.flow import FlowHead
from worldeval.policy.heads.parts import Parts
from worldeval.policy.heads.settings import A2aSettings

PARTS = Parts(seen=4, task=2, pose=2, moments=4)


def motion(generator: torch.Generator, rows: int = 128) -> tuple[Tensor, Tensor]:
    """Circles: poses of four moments, and the same motion's next four actions; images add noise."""
    phase = 6.28 * torch.rand(rows, 1, generator=generator)
    speed = 0.2 + 0.4 * torch.rand(rows, 1, generator=generator)
    angle = phase + speed * torch.arange(-3, 1 + CHUNK)
    path = torch.stack([angle.cos(), angle.sin()], -1)  # rows, time, 2
    noise = torch.randn(rows, 4, 4, generator=generator)
    history = torch.cat([noise, path[:, :4]], -1)
    now = torch.cat([noise[:, -1], torch.zeros(rows, 2), path[:, 3]], -1)
    return torch.cat([now, history[:, :-1].flatten(1)], -1), path[:, 4:].flatten(1)


def test_one_step_from_the_past_is_better_than_steps_from_noise() -> None:
    error = {}
    feature, target = motion(torch.Generator().manual_seed(9), rows=256)
    for name, steps in (("a2a", 1), ("flow", 1), ("flow", 2), ("flow", 8)):
        torch.manual_seed(0)
        head = (
            A2aHead(PARTS, 64, TARGET, A2aSettings(steps=steps))
            if name == "a2a"
            else FlowHead(PARTS.width, 64, TARGET, steps)
        )
        learn(head, motion, steps=300)
        noise = [torch.Generator().manual_seed(row) for row in range(len(feature))]
        with torch.no_grad():
            error[name, steps] = float((head.act(feature, noise) - target).square().mean())
    for steps in (1, 2, 8):
        assert error["a2a", 1] < error["flow", steps]
    assert error["a2a", 1] < 0.3 * error["flow", 1]


def test_the_flow_begins_at_the_past_alone() -> None:
    """Images change the field, but not where the flow begins; poses change where it begins."""
    torch.manual_seed(0)
    head = A2aHead(PARTS, 32, TARGET, A2aSettings())
    feature, _ = motion(torch.Generator().manual_seed(1), rows=5)
    other, pose = feature.clone(), feature.clone()
    other[:, : PARTS.seen] += 1  # the newest images
    pose[:, PARTS.now + PARTS.seen] += 1  # an earlier pose
    begun = head.begin(feature)
    assert torch.equal(head.begin(other), begun)
    assert not torch.allclose(head.begin(pose), begun)
    assert not torch.allclose(head.act(other, []), head.act(feature, []))
