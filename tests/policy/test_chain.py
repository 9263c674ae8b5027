import pytest
import torch

from worldeval.policy.heads.bc import BcHead
from worldeval.policy.heads.beso import BesoHead
from worldeval.policy.heads.chain import DenoisingActor, GaussianActor, draw, log_probs
from worldeval.policy.heads.diffusion import DiffusionHead
from worldeval.policy.heads.flow import FlowHead
from worldeval.policy.heads.parts import Parts
from worldeval.policy.heads.settings import BesoSettings

ROWS, WIDTH, TARGET = 6, 3, 4
PARTS = Parts(seen=1, task=0, pose=0, goal=2)  # as wide


def generators(count: int = ROWS) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in range(count)]


@pytest.fixture(params=["diffusion", "flow", "beso", "bc"])
def actor(request: pytest.FixtureRequest) -> DenoisingActor | GaussianActor:
    torch.manual_seed(0)
    if request.param == "bc":
        return GaussianActor(BcHead(WIDTH, 16, TARGET, "mse"), std=0.2)
    heads = {
        "diffusion": lambda: DiffusionHead(WIDTH, 16, TARGET, levels=100, steps=8),
        "flow": lambda: FlowHead(WIDTH, 16, TARGET, 8),
        "beso": lambda: BesoHead(PARTS, 16, TARGET, BesoSettings(steps=8)),
    }
    return DenoisingActor(heads[request.param](), last_steps=3, eta=1.0, floor=0.1)


@torch.no_grad()
def test_what_was_drawn_is_as_likely_as_it_was(actor) -> None:
    feature = torch.randn(ROWS, WIDTH)
    links, logs = draw(actor, feature, generators())
    assert links.shape == (ROWS, actor.decisions + 1, TARGET)
    assert logs.shape == (ROWS, actor.decisions)
    torch.testing.assert_close(log_probs(actor, links, feature), logs)


@torch.no_grad()
def test_a_draw_depends_on_its_own_generator(actor) -> None:
    feature = torch.randn(ROWS, WIDTH)
    together, _ = draw(actor, feature, generators())
    alone, _ = draw(actor, feature[4:5], generators()[4:5])
    torch.testing.assert_close(alone[0], together[4])


@torch.no_grad()
def test_without_noise_a_chain_is_what_the_policy_does() -> None:
    torch.manual_seed(0)
    head = FlowHead(WIDTH, 16, TARGET, 8)
    silent = DenoisingActor(head, last_steps=3, eta=0.0, floor=1e-9)
    feature = torch.randn(ROWS, WIDTH)
    links, _ = draw(silent, feature, generators())
    torch.testing.assert_close(links[:, -1], head.act(feature, generators()), atol=1e-5, rtol=1e-5)


def test_only_the_last_steps_are_decisions() -> None:
    head = DiffusionHead(WIDTH, 16, TARGET, levels=100, steps=8)
    assert DenoisingActor(head, last_steps=3, eta=1, floor=0.1).decisions == 3
    assert DenoisingActor(head, last_steps=99, eta=1, floor=0.1).decisions == 8
