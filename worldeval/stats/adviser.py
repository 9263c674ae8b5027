"""The next trial to run: where a robot's time says most about which policy is best.

Belief about a policy's true rate: Beta(alpha, beta), begun at Beta(s phi, (1 - s) phi) with s the
predicted rate and phi what an imagined rate is worth (`predictive.py`), and counted up by trials.
The next block of trials goes to the policy whose knowledge gradient is largest: how much the rate
of the policy that one would then choose is expected to rise (Frazier, Powell and Dayanik 2008,
SIAM J. Control Optim. 47). With B trials looked ahead, and m and N the mean and the size alpha +
beta, the mean after them has standard deviation

    sigma = sqrt(m (1 - m) / (N + 1) * B / (N + B))
    KG = sigma (z Phi(z) + pdf(z)),   z = -|m - best other mean| / sigma

treating that mean as normal, which Frazier's derivation does for known variances. Arrays have a
leading axis `b`, so that many worlds can be simulated as one.
"""

from dataclasses import dataclass

import numpy as np
import scipy

from worldeval.axes import Array, Float, Int

BLOCK = 5  # trials that go to one policy before the advice is thought over again
LOOKAHEAD = 20  # trials whose gain is weighed: a few alone can seldom change a choice
UNINFORMED = 1.0  # trials that a prior without imagination is worth: Beta(1/2, 1/2)
UNVALIDATED = 2.0  # trials that an imagined rate counts as where none was ever compared with truth


@dataclass(frozen=True, kw_only=True)
class RateBelief:
    """What is believed of every policy's true rate."""

    alpha: Float[Array, "b k"]
    beta: Float[Array, "b k"]

    @property
    def mean(self) -> Float[Array, "b k"]:
        """Expected rates."""
        return self.alpha / self.size

    @property
    def size(self) -> Float[Array, "b k"]:
        """Trials that the belief is worth, those of imagination included."""
        return self.alpha + self.beta

    @property
    def chosen(self) -> Int[Array, " b"]:
        """The policy one would choose now: of the highest expected rate, the first of equals."""
        return self.mean.argmax(axis=1)

    def after(self, successes: Float[Array, "b k"], trials: Float[Array, "b k"]) -> "RateBelief":
        """The belief after further trials."""
        return RateBelief(alpha=self.alpha + successes, beta=self.beta + trials - successes)


def begin(rates: Float[Array, "b k"], phi: float) -> RateBelief:
    """RateBelief before any trial: `rates` are predicted ones, worth `phi` trials each.

    Where a rate is 0 or 1 a little is believed of the other outcome, or nothing could be learned.
    """
    rates = np.clip(rates, 0.02, 0.98)
    return RateBelief(alpha=rates * phi, beta=(1 - rates) * phi)


def uninformed(worlds: int, policies: int) -> RateBelief:
    """RateBelief without imagination: Beta(1/2, 1/2)."""
    half = np.full((worlds, policies), UNINFORMED / 2)
    return RateBelief(alpha=half, beta=half)


def knowledge_gradient(belief: RateBelief, ahead: int = LOOKAHEAD) -> Float[Array, "b k"]:
    """Expected gain in the rate of the chosen policy from `ahead` trials of each policy."""
    mean, size = belief.mean, belief.size
    order = np.sort(mean, axis=1)
    best, second = order[:, -1:], order[:, -2:-1]
    leads = np.arange(mean.shape[1]) == belief.chosen[:, None]
    rival = np.where(leads, second, best)
    sigma = np.sqrt(mean * (1 - mean) / (size + 1) * ahead / (size + ahead))
    z = -np.abs(mean - rival) / np.maximum(sigma, 1e-12)
    return sigma * (z * scipy.special.ndtr(z) + np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi))


def allocate(belief: RateBelief, trials: int, block: int = BLOCK) -> list[int]:
    """Policies for the next trials, in blocks, of the one world in `belief`.

    A later block cannot know the outcomes of the one before it: what that block will have taught is
    counted at the rate expected.
    """
    plan: list[int] = []
    while len(plan) < trials:
        size = min(block, trials - len(plan))
        policy = int(knowledge_gradient(belief)[0].argmax())
        plan += [policy] * size
        more = np.zeros_like(belief.alpha)
        more[0, policy] = size
        belief = belief.after(more * belief.mean, more)
    return plan


def regret_confidence(
    belief: RateBelief, *, regret: float, rng: np.random.Generator, draws: int = 4000
) -> float:
    """Probability that the chosen policy is at most `regret` below the best, of the one world."""
    rates = rng.beta(belief.alpha[0], belief.beta[0], size=(draws, belief.alpha.shape[1]))
    lost = rates.max(axis=1) - rates[:, belief.chosen[0]]
    return float((lost <= regret).mean())


def top_two(belief: RateBelief, rng: np.random.Generator) -> Int[Array, " b"]:
    """Top-two Thompson sampling (Russo 2020), each of the two with probability one half.

    The challenger is the best other policy of the same draw: Russo draws again until another one is
    ahead, which for one step has the same two candidates far more slowly.
    """
    rates = rng.beta(belief.alpha, belief.beta)
    order = np.argsort(rates, axis=1)
    rows = np.arange(len(rates))
    return order[rows, np.where(rng.random(len(rates)) < 0.5, -1, -2)]


@dataclass(frozen=True, kw_only=True)
class RegretCurve:
    """Regret of the policy that would be chosen after so many trials, in simulated worlds."""

    trials: Int[Array, " n"]
    regret: Float[Array, "n b"]

    def needed(self, regret: float, share: float) -> int | None:
        """Least number of trials from which on `share` of the worlds stay within `regret`."""
        fine = (self.regret <= regret + 1e-9).mean(axis=1) >= share
        if not fine[-1]:
            return None
        wrong = np.flatnonzero(~fine)
        return int(self.trials[wrong[-1] + 1 if len(wrong) else 0])


def simulate(
    true: Float[Array, "b k"],
    belief: RateBelief,
    *,
    how: str,
    trials: int,
    block: int = BLOCK,
    rng: np.random.Generator,
) -> RegretCurve:
    """Carry out an adviser's trials in worlds whose true rates are known.

    Args:
        true: rates of every world.
        belief: before any trial.
        how: 'gradient', 'top-two' or 'uniform' (policies in turn).
        trials: of all policies together.
        block: trials that go to one policy at a time.
        rng: of outcomes and of top-two.
    """
    worlds, policies = true.shape
    rows = np.arange(worlds)
    counts, regrets = [0], [_regret(true, belief)]
    for done in range(0, trials, block):
        size = min(block, trials - done)
        if how == "gradient":
            policy = knowledge_gradient(belief).argmax(axis=1)
        elif how == "top-two":
            policy = top_two(belief, rng)
        elif how == "uniform":
            policy = np.full(worlds, done // block % policies)
        else:
            raise ValueError(f"'{how}' is none of gradient, top-two, uniform")
        won, tried = np.zeros_like(true), np.zeros_like(true)
        won[rows, policy] = rng.binomial(size, true[rows, policy])
        tried[rows, policy] = size
        belief = belief.after(won, tried)
        counts.append(done + size)
        regrets.append(_regret(true, belief))
    return RegretCurve(trials=np.array(counts), regret=np.array(regrets))


def _regret(true: Float[Array, "b k"], belief: RateBelief) -> Float[Array, " b"]:
    return true.max(axis=1) - true[np.arange(len(true)), belief.chosen]
