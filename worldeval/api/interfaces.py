"""Check the interfaces of a run's policies before they are ranked, where there are recordings."""

import hashlib
from pathlib import Path

from worldeval.api.load import Address
from worldeval.evaluate.checked_policies import (
    ChecksWanted,
    InterfaceResult,
    check_all,
    checked,
    misread_findings,
)
from worldeval.evaluate.live import LiveEvaluation
from worldeval.evaluate.manifest import fingerprint
from worldeval.evaluate.recordings import RecordedBy
from worldeval.evaluate.run import Evaluation
from worldeval.runs.interface_checks import (
    InterfaceRecord,
    read_interface_checks,
    write_interface_checks,
)
from worldeval.stats import Finding
from worldeval.world.load import read_card
from worldeval.world.protocol import WorldSpec


def check_interfaces(
    run: Evaluation, *, data: Address | None = None, given: Address | None = None
) -> list[Finding]:
    """Return a finding for every policy that is probably run through a wrong interface.

    Without recordings (`data`, or the protocol's `recordings` or `replays`), nothing is checked.

    Raises:
        UserError: the recordings that the user names cannot be read.
    """
    recipe = run.recipe
    recorded = RecordedBy(
        data=str(data) if data is not None else recipe.recordings,
        map=str(given) if given is not None else "",
        replays=recipe.replays,
    )
    if not recorded:
        return []
    live = run if isinstance(run, LiveEvaluation) else None
    spec: WorldSpec = live.world.spec if live else read_card(Path(recipe.world))["spec"]
    if data is not None:
        recorded.open(spec, recipe.tasks)  # an error in what the user names is told at once
    wanted = [
        ChecksWanted(
            name=row["policy"],
            ref=row["ref"],
            recorded=recorded,
            world=spec,
            tasks=recipe.tasks,
            seed=run.seed,
            trust_pickle=run.trust_pickle,
        )
        for row in run.cards.to_dict("records")
    ]
    if live is not None:
        policies = live.policies
        results = {
            each.name: checked(each, lambda each=each: policies[each.ref]) for each in wanted
        }
    else:
        results = _remembered(run, wanted)
    reasons: dict[str, list[str]] = {}
    for name, each in results.items():
        if each.unchecked:
            reasons.setdefault(each.unchecked, []).append(name)
    for reason, names in reasons.items():
        run.watch.say(f"interfaces not checked ({', '.join(names)}): {reason}")
    return misread_findings(results)


def _remembered(run: Evaluation, wanted: list[ChecksWanted]) -> dict[str, InterfaceResult]:
    """Check only what was not checked before in this run folder."""
    kept = read_interface_checks(run.out)
    files = _file_stats(wanted[0].recorded) if wanted else []
    known = {each.name: _known_by(each, files) for each in wanted}
    again = [
        each
        for each in wanted
        if known[each.name] is None
        or each.name not in kept
        or kept[each.name].known_by != known[each.name]
    ]
    made = check_all(again, policy_timeout=run.policy_timeout, say=run.watch.say)
    for name, each in made.items():
        kept[name] = InterfaceRecord(
            policy=name, known_by=known[name] or "", misread=each.misread, unchecked=each.unchecked
        )
    if made:
        write_interface_checks(run.out, kept)
    return {
        each.name: InterfaceResult(
            misread=kept[each.name].misread, unchecked=kept[each.name].unchecked
        )
        for each in wanted
    }


def _file_stats(recorded: RecordedBy) -> list[tuple[str, int, int]]:
    """Names, sizes and times of the recordings' files; all policies share them."""
    place = Path(recorded.data or recorded.replays)
    files = sorted(place.rglob("*")) if place.is_dir() else [place]
    return [(str(each), each.stat().st_size, each.stat().st_mtime_ns) for each in files]


def _known_by(wanted: ChecksWanted, files: list[tuple[str, int, int]]) -> str | None:
    """A fingerprint of the policy, the recordings and the seed; None if the policy has none."""
    own = fingerprint(wanted.ref)
    if own is None:
        return None
    text = repr((own, files, wanted))
    return hashlib.sha256(text.encode()).hexdigest()
