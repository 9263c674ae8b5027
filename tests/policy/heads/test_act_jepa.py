"""What an encoder learns from predicting later frames, against action chunks alone."""

import torch
from torch import Tensor, nn

from tests.policy.heads.toy import CHUNK, TARGET
from worldeval.policy.heads.act_jepa import ActJepaHead, apart
from worldeval.policy.heads.follower import Follower
from worldeval.policy.heads.parts import Parts
from worldeval.policy.heads.settings import ActJepaSettings

PARTS = Parts(seen=8, task=0, pose=2, tokens=1, token=2)
PIXELS = 12


def scenes(rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Frames of two moving points, of which actions follow the first alone.

    Returns the newest pixels, those of the chunk's frames, the chunk and where the other is.
    """
    begin = torch.randn(rows, 2, generator=generator)
    speed = torch.randn(rows, 2, generator=generator)
    time = torch.arange(CHUNK + 1) / CHUNK
    place = begin[:, None] + speed[:, None] * time[:, None]
    mixing = torch.randn(4, PIXELS, generator=torch.Generator().manual_seed(0))
    state = torch.cat([place, speed[:, None].expand(-1, CHUNK + 1, -1)], -1)
    pixels = state @ mixing
    return pixels[:, 0], pixels[:, 1:], place[:, 1:, :1].expand(-1, -1, 2).flatten(1), place[:, -1]


def probe(weight: float) -> tuple[float, float]:
    """Train encoder and head; the errors of a linear probe for the other point, and of actions."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(PIXELS, 32), nn.SiLU(), nn.Linear(32, PARTS.seen))
    settings = ActJepaSettings(width=32, depth=1, predict=weight, decay=0.98)
    head, target = ActJepaHead(PARTS, TARGET, settings, chunk=CHUNK), Follower(encoder, 0.98)
    generator = torch.Generator().manual_seed(1)
    weights = [*encoder.parameters(), *head.parameters()]
    optimiser = torch.optim.Adam(weights, lr=3e-3)
    pose = torch.zeros(128, PARTS.pose)
    for _ in range(250):
        newest, later, chunk, _ = scenes(128, generator)
        feature = torch.cat([encoder(newest), pose, pose], -1)
        loss = head.loss(feature, chunk, generator, target(later) if weight else None)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        target.follow(encoder)
    with torch.no_grad():
        newest, _, _, other = scenes(512, generator)
        known = torch.cat([encoder(newest), torch.ones(512, 1)], -1)
        found = torch.linalg.lstsq(known[:256], other[:256, 1:]).solution
        missed = (known[256:] @ found - other[256:, 1:]).square().mean()
        newest, _, chunk, _ = scenes(128, generator)
        acted = head.act(torch.cat([encoder(newest), pose, pose], -1), [])
        return float(missed), float((acted - chunk).abs().mean())


def test_predicting_observations_teaches_what_actions_do_not_show() -> None:
    """The linear probe gains much; the actions, which share the small network, still fit."""
    (alone, alone_acts), (jepa, jepa_acts) = probe(0.0), probe(1.0)
    assert jepa < 0.5 * alone
    assert max(alone_acts, jepa_acts) < 0.15  # of a spread of about 1


def test_queries_do_not_change_the_context() -> None:
    mask = apart(3, 2)
    assert mask[:, :3].all()  # everything reads the context
    assert not mask[:3, 3:].any()
    assert mask[3:5, 3:5].all() and not mask[3:5, 5:].any()  # actions and observations apart
    assert mask[5:, 5:].all() and not mask[5:, 3:5].any()


def test_actions_do_not_depend_on_what_is_predicted() -> None:
    torch.manual_seed(0)
    parts = Parts(seen=8, task=2, pose=2, tokens=3, token=4)
    head = ActJepaHead(parts, TARGET, ActJepaSettings(width=16, depth=2), chunk=CHUNK)
    feature = torch.randn(3, parts.width)
    before = head.act(feature, [])
    with torch.no_grad():
        head.queries[CHUNK:] += 1
    torch.testing.assert_close(head.act(feature, []), before)
    loss = [head.loss(feature, torch.zeros(3, TARGET), torch.Generator(), ahead)
            for ahead in (None, torch.randn(3, CHUNK, 8))]  # fmt: skip
    assert loss[1] > loss[0]
