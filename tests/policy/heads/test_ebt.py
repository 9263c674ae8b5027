"""An energy that is lowest where the chunks are, and steps that stop where it is flat."""

import pytest
import torch

from tests.policy.heads.toy import CHUNK, PLAIN, TARGET, generators, learn, two_ways
from worldeval.policy.heads.ebt import EbtHead
from worldeval.policy.heads.settings import EbtSettings

ROWS = 64


@pytest.fixture(scope="module")
def head() -> EbtHead:
    torch.manual_seed(0)
    made = EbtHead(PLAIN, TARGET, EbtSettings(width=32, depth=1), chunk=CHUNK)
    learn(made, two_ways, steps=250)
    return made


def test_the_energy_is_lowest_at_the_modes(head: EbtHead) -> None:
    feature, _ = two_ways(torch.Generator().manual_seed(3), rows=ROWS)
    with torch.no_grad():
        line = torch.linspace(-2, 2, 21)
        energy = torch.stack([head.energy(torch.full((ROWS, TARGET), float(x)), feature)
                              for x in line]).mean(1)  # fmt: skip
        left, right = line[energy[:10].argmin()], line[10 + energy[10:].argmin()]
        assert abs(left + 1) <= 0.3 and abs(right - 1) <= 0.3
        assert energy[10] > energy[:10].min() and energy[10] > energy[11:].min()
        settled = head.settle(feature, generators(ROWS))
    assert (settled.chunk.abs() - 1).abs().mean() < 0.2
    sides = settled.chunk.sign().mean(1)
    assert (sides.abs() == 1).float().mean() > 0.9
    assert 0.2 < (sides > 0).float().mean() < 0.8


def test_more_steps_err_less_and_easy_cases_stop_early(
    head: EbtHead, monkeypatch: pytest.MonkeyPatch
) -> None:
    feature, _ = two_ways(torch.Generator().manual_seed(3), rows=ROWS)
    errors = []
    for most in (1, 3, 20):
        monkeypatch.setattr(head, "settings", EbtSettings(most=most))
        settled = head.settle(feature, generators(ROWS))
        errors.append(float((settled.chunk.abs() - 1).abs().mean()))
        assert int(settled.steps.max()) <= most
    assert errors[2] < errors[1] < errors[0]
    assert int(settled.steps.max()) < 20  # all settled, each when it was ready
    assert len(settled.steps.unique()) > 2


def test_wrong_chunks_have_more_energy_than_right_ones() -> None:
    """Every number of a chunk is the feature's first."""

    def known(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        feature = torch.randn(128, PLAIN.width, generator=generator).clamp(-1, 1)
        return feature, feature[:, :1].expand(-1, TARGET)

    torch.manual_seed(0)
    head = EbtHead(PLAIN, TARGET, EbtSettings(width=32, depth=1), chunk=CHUNK)
    learn(head, known, steps=200)
    feature, target = known(torch.Generator().manual_seed(4))
    settled = head.settle(feature, generators(128))
    assert (settled.chunk - target).abs().mean() < 0.2
    with torch.no_grad():
        off = head.energy(target + 0.7, feature)
        assert (off > head.energy(target, feature)).float().mean() > 0.95


def test_an_episode_stops_by_itself(head: EbtHead) -> None:
    feature, _ = two_ways(torch.Generator().manual_seed(3), rows=8)
    together = head.settle(feature, generators(8))
    for row in (0, 5):
        alone = head.settle(feature[row : row + 1], generators(8)[row : row + 1])
        torch.testing.assert_close(alone.chunk[0], together.chunk[row])
        assert alone.steps[0] == together.steps[row]
