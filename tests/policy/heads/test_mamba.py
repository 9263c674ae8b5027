"""The selective scan against the recurrence and against the library, and noisy labels."""

import pytest
import torch
from torch import Tensor

from tests.policy.heads.toy import TARGET
from worldeval.policy.heads.mamba import MambaHead
from worldeval.policy.heads.parts import Parts
from worldeval.policy.heads.selective import SelectiveLayer, scan
from worldeval.policy.heads.settings import MambaSettings
from worldeval.world.torchvision_ops import need_torchvision

PARTS = Parts(seen=4, task=2, pose=2, moments=5)


@pytest.mark.parametrize("length", [1, 2, 5, 8, 13])
def test_the_scan_is_the_recurrence(length: int) -> None:
    generator = torch.Generator().manual_seed(0)
    keep = torch.rand(3, length, 4, 2, generator=generator)
    add = torch.randn(3, length, 4, 2, generator=generator)
    state, states = torch.zeros(3, 4, 2), []
    for step in range(length):
        state = keep[:, step] * state + add[:, step]
        states.append(state)
    torch.testing.assert_close(scan(keep, add), torch.stack(states, 1))


@pytest.mark.filterwarnings("ignore")  # of the library's imports
def test_the_layer_is_the_librarys() -> None:
    pytest.importorskip("transformers")
    need_torchvision()
    from transformers import MambaConfig
    from transformers.models.mamba.modeling_mamba import MambaMixer

    torch.manual_seed(0)
    config = MambaConfig(hidden_size=32, state_size=4, expand=2, conv_kernel=4, time_step_rank=2)
    theirs, ours = MambaMixer(config, layer_idx=0), SelectiveLayer(32, state=4)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 7, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-4)


def test_a_step_reads_those_before_it_alone() -> None:
    torch.manual_seed(0)
    layer = SelectiveLayer(16, state=4)
    x = torch.randn(2, 6, 16)
    later = x.clone()
    later[:, 4] += 1
    same = (layer(later) - layer(x)).abs().amax((0, 2)) < 1e-6
    assert same.tolist() == [True] * 4 + [False] * 2


def remembered(rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The chunk repeats the sum of the earliest pose and half of the newest."""
    feature = torch.randn(rows, PARTS.width, generator=generator)
    history = PARTS.split(feature).history
    wanted = history[:, 0, -2:] + 0.5 * history[:, -1, -2:]
    return feature, wanted.repeat(1, TARGET // 2)


def trained(evolve: float, noise: float) -> float:
    """The error on clean held-out samples, after many steps on 96 samples with noisy labels."""
    generator = torch.Generator().manual_seed(1)
    feature, target = remembered(96, generator)
    target = target + noise * torch.randn(target.shape, generator=generator)
    torch.manual_seed(0)
    settings = MambaSettings(width=16, depth=1, state=4, evolve=evolve, ramp=60)
    head = MambaHead(PARTS, 32, TARGET, settings)
    optimiser = torch.optim.Adam(head.answer.parameters(), lr=5e-3)
    for _ in range(300):
        loss = head.loss(feature, target, generator)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    other, clean = remembered(400, torch.Generator().manual_seed(2))
    with torch.no_grad():
        return float((head.act(other, []) - clean).square().mean())


def test_self_evolution_copes_with_noisy_labels() -> None:
    plain, evolved = trained(0.0, noise=1.0), trained(0.9, noise=1.0)
    assert evolved < 0.95 * plain


def test_the_target_evolves_by_hand() -> None:
    """With a weight of .25, the target is a quarter of the earlier answer."""
    torch.manual_seed(0)
    head = MambaHead(PARTS, 16, TARGET, MambaSettings(width=16, depth=1, evolve=0.5, ramp=10))
    assert head.earlier is not None
    feature, target = remembered(6, torch.Generator().manual_seed(0))
    head.earlier.count.fill_(5)
    with torch.no_grad():
        head.earlier.network.leave[-1].bias += 1  # pyright: ignore
        wanted = 0.75 * target + 0.25 * head.earlier.network(feature)
        expected = (head.answer(feature) - wanted).square().mean()
    torch.testing.assert_close(head.loss(feature, target, torch.Generator()), expected)


def test_only_the_answer_is_trained_and_the_memory_follows() -> None:
    head = MambaHead(PARTS, 16, TARGET, MambaSettings(width=16, depth=1))
    assert head.earlier is not None
    assert not any(each.requires_grad for each in head.earlier.parameters())
    feature, target = remembered(6, torch.Generator().manual_seed(0))
    with torch.no_grad():
        head.answer.look.weight += 1
    head.loss(feature, target, torch.Generator())
    # The first update keeps a tenth of what it remembered.
    apart = head.answer.look.weight - head.earlier.network.look.weight  # pyright: ignore
    torch.testing.assert_close(apart, torch.full_like(apart, 0.1))
