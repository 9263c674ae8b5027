"""Check the interfaces of policies before they are ranked, each in a few seconds.

Third-party code runs in a process of its own. What was found is kept in the run folder, so that a
run that is continued does not check the same policy twice.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from worldeval.errors import UserError
from worldeval.evaluate.policies import is_foreign
from worldeval.evaluate.policy_check import PolicyCheck, check_policy
from worldeval.evaluate.recordings import RecordedBy
from worldeval.policy.load import load_policy
from worldeval.policy.protocol import Policy
from worldeval.policy.pulse import WatchedPolicy, waiting
from worldeval.rollout.apart import run_apart, told
from worldeval.stats import Finding
from worldeval.world.protocol import WorldSpec

SECONDS = 5.0  # of calls of one policy


@dataclass(frozen=True, kw_only=True)
class InterfaceResult:
    """What is kept of a policy's check."""

    misread: str = ""  # the text of the finding; "" if there is none
    unchecked: str = ""  # why it could not be checked


@dataclass(frozen=True, kw_only=True)
class ChecksWanted:
    """A policy to check, with what a separate process needs for it."""

    name: str
    ref: str
    recorded: RecordedBy
    world: WorldSpec
    tasks: tuple[str, ...]
    seed: int
    trust_pickle: bool = False


def check_all(
    wanted: Sequence[ChecksWanted], *, policy_timeout: float | None, say: Callable[[str], None]
) -> dict[str, InterfaceResult]:
    """Check policies by address; the result of each by its name."""
    found: dict[str, InterfaceResult] = {}

    def heard(job: ChecksWanted, result: InterfaceResult) -> None:
        found[job.name] = result

    def ended(job: ChecksWanted, error: str | None) -> None:
        found.setdefault(job.name, InterfaceResult(unchecked=error or "it gave no answer"))

    for place, each in enumerate(wanted, start=1):
        say(f"checking the interface of {each.name} ({place}/{len(wanted)})")
        if is_foreign(each.ref):
            run_apart(
                deque([each]),
                tell_check,
                processes=1,
                policy_timeout=policy_timeout,
                heard=heard,
                ended=ended,
            )
        else:
            found[each.name] = checked(each, lambda each=each: load_policy(each.ref))
    return found


def tell_check(wanted: ChecksWanted, say: Callable[[InterfaceResult], None]) -> None:
    """Check a policy in a process of its own."""

    def load() -> Policy:
        with waiting():
            return load_policy(wanted.ref, trust_pickle=wanted.trust_pickle)

    say(checked(wanted, load))


def checked(wanted: ChecksWanted, load: Callable[[], Policy]) -> InterfaceResult:
    """Check a policy; whatever goes wrong is the reason why it is unchecked."""
    try:
        source = wanted.recorded.open(wanted.world, wanted.tasks)
        made = check_policy(WatchedPolicy(load()), source, seconds=SECONDS, seed=wanted.seed)
    except UserError as error:
        return InterfaceResult(unchecked=str(error))
    except Exception as error:  # the policy's own; ranking reports it where it matters
        return InterfaceResult(unchecked=told(error))
    return InterfaceResult(misread=finding_text(made) if made.misread else "")


def finding_text(made: PolicyCheck) -> str:
    """Say what a check found, for a table's caveats."""
    errors = "; ".join(
        f"{each.columns} {each.before:.3g} -> {each.after:.3g}{' ' * bool(each.unit)}{each.unit}"
        for each in made.columns[:4]
    )
    gain = made.effects[-1].gain
    return (
        f"{made.policy} is probably run through a wrong interface, so its rate says nothing about "
        f"the policy. On {made.episodes} recorded episodes it agrees with the demonstrators if "
        f"{made.text} (mean error of {errors}; gain {gain} in spreads of their actions). "
        "Correct it, or see worldeval policy check."
    )


def misread_findings(results: Mapping[str, InterfaceResult]) -> list[Finding]:
    """Return a warning for every policy that is probably misread."""
    return [
        Finding(code="policy_misread", severity="warning", text=each.misread)
        for each in results.values()
        if each.misread
    ]
