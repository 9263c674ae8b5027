"""Compare policies with their demonstrators under every plausible misreading of their interface."""

from collections.abc import Callable
from pathlib import Path

from worldeval.api.load import Address, PolicyArgument, live_policies
from worldeval.data.source import Source
from worldeval.evaluate.policy_check import SECONDS, PolicyCheck, check_policy
from worldeval.evaluate.recordings import open_recordings
from worldeval.recipe import shipped
from worldeval.world.load import read_card
from worldeval.world.sources import as_trained


def check_policies(
    policies: PolicyArgument,
    data: Address | Source,
    *,
    world: Address | None = None,
    format: str | None = None,
    map: Address | None = None,
    seconds: float = SECONDS,
    seed: int = 0,
    trust_pickle: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[PolicyCheck]:
    """Find misread interfaces of policies: swapped channels, cameras, units, rotations, grippers.

    Recorded observations are fed to every policy, and its actions are compared with those of the
    demonstrators, as they are and after every plausible change of what the policy is given or
    returns. Policies are loaded and run in this process.

    Args:
        policies: addresses, globs, folders of checkpoints, live policies, or a list of any of them.
        data: recorded episodes of demonstrators, best of the task and robot of the policies.
        world: a world model; observations are shown in its size and its form of rotations.
        format: dataset format, if it is not detected.
        map: description of the dataset's columns. Default: `map.yaml` in its folder, if any.
        seconds: time for the calls of one policy.
        seed: seed of the moments drawn.
        trust_pickle: load pickled policies; loading a pickle executes code.
        progress: called with (changes tried, all changes) of the current policy.

    Returns:
        For every policy, the changes that make it agree with its demonstrators (`changes`, empty if
        none does), their gain, and what could not be tried.

    Raises:
        UserError: there are too few episodes, or a policy cannot act on them.

    >>> import worldeval as we
    >>> (check,) = we.check_policies("toy/policies/a/step-1", "toy/data")
    >>> check.changes
    ()
    """
    source = data if isinstance(data, Source) else open_recordings(Path(data), map, kind=format)
    if world is not None:
        source = as_trained(source, read_card(Path(shipped(str(world))))["spec"])
    return [
        check_policy(policy, source, seconds=seconds, seed=seed, progress=progress)
        for policy in live_policies(policies, trust_pickle=trust_pickle).values()
    ]
