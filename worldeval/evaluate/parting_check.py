# pandas types a cell as anything that a table may hold.
# pyright: reportCallIssue=false
"""The same hand-overs in the simulator, from the same starts: does the outcome flip there, too?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from worldeval.policy.handover import HandOver
from worldeval.policy.load import load_policy
from worldeval.policy.protocol import Policy
from worldeval.rollout.actions import fitted
from worldeval.rollout.recipe import ProtocolRecipe
from worldeval.rollout.simulate import TruthJob, TruthOutcome, simulate
from worldeval.runs.explanation import PartedStart, SimulatedHandover
from worldeval.world.protocol import WorldSpec

BLOCK = 24  # episodes to a process
Episode = tuple[str, int]  # the name of who acts, and the seed of the reset


@dataclass(frozen=True, kw_only=True)
class LoadActing:
    """Loads, in the simulator's process, a policy or a hand-over by its name here."""

    refs: Mapping[str, str]  # policy -> address
    handovers: Mapping[str, tuple[str, str, int]]  # name -> first, second, frame
    replan_every: int
    world: WorldSpec
    trust_pickle: bool = False

    def __call__(self, name: str, seed: int) -> Policy:
        if name not in self.handovers:
            return self._load(name)
        first, second, at = self.handovers[name]
        return HandOver(
            self._load(first), self._load(second), at=at, replan_every=self.replan_every
        )

    def _load(self, name: str) -> Policy:
        policy = load_policy(self.refs[name], trust_pickle=self.trust_pickle)
        return fitted(policy, self.world)


def measured(table: pd.DataFrame | None, names: Sequence[str]) -> dict[tuple[str, Episode], bool]:
    """Outcomes of the policies alone that a run holds already."""
    if table is None or "seed" not in table:
        return {}
    rows = table[table["policy"].isin(names)]
    return {
        (row["task"], (row["policy"], int(row["seed"]))): bool(row["success"])
        for row in rows.to_dict("records")
    }


def from_simulator(start: str, task: str, seed: int) -> bool:
    """Whether a start was made by the simulator's reset with this seed, by its name."""
    return start == f"{task}-{seed}"


def simulated_handovers(
    parted: Sequence[PartedStart],
    recipe: ProtocolRecipe,
    load: Callable[[Mapping[str, tuple[str, str, int]]], LoadActing],
    *,
    known: Mapping[tuple[str, Episode], bool],
    processes: int,
    policy_timeout: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[SimulatedHandover | None], dict[str, str]]:
    """Repeat each start's hand-overs around its decisive chunk in the simulator.

    Args:
        load: makes the loader from the hand-overs, by name.
        known: outcomes of policies alone that need not be measured again.

    Returns:
        One record per start, None where an episode has no outcome; and who broke, with the reason.
    """
    assert recipe.truth is not None
    handovers: dict[str, tuple[str, str, int]] = {}
    wanted: dict[tuple[str, Episode], None] = {}
    plans = []
    for start in parted:
        sides = []
        for moment in (start.begin, start.end):
            name = _acting(start, moment, recipe.horizon)
            if name not in (start.winner, start.loser):
                handovers[name] = (start.loser, start.winner, moment)
            sides.append(name)
        plan = [(start.task, (name, start.seed)) for name in (start.winner, start.loser, *sides)]
        plans.append(plan)
        wanted |= dict.fromkeys(each for each in plan if each not in known)
    outcomes, broken, done = dict(known), dict[str, str](), 0

    def heard(job: TruthJob, found: list[TruthOutcome]) -> None:
        nonlocal done
        for one in found:
            outcomes[one.task, (one.policy, one.seed)] = one.success
        done += len(found)
        if progress is not None:
            progress(done, len(wanted))

    if wanted:
        loader = load(handovers)
        simulate(
            [
                TruthJob(task=task, episodes=tuple(own[begin : begin + BLOCK]), load=loader)
                for task in dict.fromkeys(task for task, _ in wanted)
                if (own := [episode for each, episode in wanted if each == task])
                for begin in range(0, len(own), BLOCK)
            ],
            recipe.truth,
            horizon=recipe.horizon,
            replan_every=recipe.replan_every,
            processes=processes,
            policy_timeout=policy_timeout,
            done=heard,
            failed=broken.__setitem__,
        )
    records = []
    for plan in plans:
        found = [outcomes.get(each) for each in plan]
        winner, loser, before, after = found
        if winner is None or loser is None or before is None or after is None:
            records.append(None)
            continue
        records.append(SimulatedHandover(winner=winner, loser=loser, before=before, after=after))
    return records, broken


def _acting(start: PartedStart, moment: int, horizon: int) -> str:
    """Name of who acts if the loser hands over to the winner at this frame."""
    if moment == 0:
        return start.winner
    return start.loser if moment >= horizon else f"{start.loser}>{start.winner}@{moment}"
