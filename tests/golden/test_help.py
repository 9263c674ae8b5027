"""No command loses an option, and none changes its type or default unnoticed."""

from tests.golden import hooks, stored


def test_every_option_is_still_there() -> None:
    lost = stored.differences(stored.read("help"), hooks.options(), rtol=0.0, atol=0.0)
    assert lost == []
