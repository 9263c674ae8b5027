"""What the shipped world model and judge say of the shipped policies stays as it is."""

from tests.golden import hooks, stored


def test_the_shipped_weights_imagine_and_judge_the_same() -> None:
    assert stored.differences(stored.read("demo"), hooks.demo(), rtol=0.0, atol=2e-3) == []
