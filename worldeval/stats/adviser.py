"""Choice of the next real trial: the one that says most about which policy is best.

The belief about a policy's true rate is Beta(alpha, beta). It starts at Beta(s phi, (1 - s) phi),
where s is the predicted rate and phi the worth of an imagined rate (`predictive.py`), and is
updated by every trial. The next block of trials goes to the policy with the largest knowledge
gradient: the expected increase in the rate of the policy that would be chosen afterwards (Frazier,
Powell and Dayanik 2008, SIAM J. Control Optim. 47). With a lookahead of B trials, mean m and size
N = alpha + beta, the mean after those trials has standard deviation

    sigma = sqrt(m (1 - m) / (N + 1) * B / (N + B))
    KG = sigma (z Phi(z) + pdf(z)),   z = -|m - best other mean| / sigma

if that mean is treated as normal, as Frazier's derivation does for known variances. Arrays have a
leading axis `b`, so that many worlds can be simulated in one batch.
"""

from dataclasses import dataclass

import numpy as np
import scipy

from worldeval.axes import Array, Float, Int

BLOCK = 5  # trials given to one policy before the advice is updated
LOOKAHEAD = 20  # trials considered at once, because a few alone seldom change the choice
UNINFORMED = 1.0  # worth in trials of a prior without imagination: Beta(1/2, 1/2)
UNVALIDATED = 2.0  # worth in trials of an imagined rate if none was ever validated


@dataclass(frozen=True, kw_only=True)
class RateBelief:
    """Beta belief about the true rate of every policy."""

    alpha: Float[Array, "b k"]
    beta: Float[Array, "b k"]

    @property
    def mean(self) -> Float[Array, "b k"]:
        """Expected rates."""
        return self.alpha / self.size

    @property
    def size(self) -> Float[Array, "b k"]:
        """Number of trials that the belief is worth, including those from imagination."""
        return self.alpha + self.beta

    @property
    def chosen(self) -> Int[Array, " b"]:
        """Policy with the highest expected rate; the first one if several are equal."""
        return self.mean.argmax(axis=1)

    def after(self, successes: Float[Array, "b k"], trials: Float[Array, "b k"]) -> "RateBelief":
        """Return the belief updated by further trials."""
        return RateBelief(alpha=self.alpha + successes, beta=self.beta + trials - successes)


def begin(rates: Float[Array, "b k"], phi: float) -> RateBelief:
    """Create the belief before any trial from predicted `rates`, each worth `phi` trials.

    A rate of 0 or 1 keeps a small probability of the other outcome; otherwise trials could not
    change it.
    """
    rates = np.clip(rates, 0.02, 0.98)
    return RateBelief(alpha=rates * phi, beta=(1 - rates) * phi)


def uninformed(worlds: int, policies: int) -> RateBelief:
    """Create a belief that uses no imagination: Beta(1/2, 1/2)."""
    half = np.full((worlds, policies), UNINFORMED / 2)
    return RateBelief(alpha=half, beta=half)


def knowledge_gradient(belief: RateBelief, ahead: int = LOOKAHEAD) -> Float[Array, "b k"]:
    """Compute the expected gain in the chosen policy's rate from `ahead` trials of each policy."""
    mean, size = belief.mean, belief.size
    order = np.sort(mean, axis=1)
    best, second = order[:, -1:], order[:, -2:-1]
    leads = np.arange(mean.shape[1]) == belief.chosen[:, None]
    rival = np.where(leads, second, best)
    sigma = np.sqrt(mean * (1 - mean) / (size + 1) * ahead / (size + ahead))
    z = -np.abs(mean - rival) / np.maximum(sigma, 1e-12)
    return sigma * (z * scipy.special.ndtr(z) + np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi))


def allocate(belief: RateBelief, trials: int, block: int = BLOCK) -> list[int]:
    """Choose policies for the next trials, in blocks, for the single world in `belief`.

    The outcomes of earlier blocks are not known yet, so each block is counted with its expected
    number of successes.
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
    """Probability that the chosen policy is at most `regret` below the best, in a single world."""
    rates = rng.beta(belief.alpha[0], belief.beta[0], size=(draws, belief.alpha.shape[1]))
    lost = rates.max(axis=1) - rates[:, belief.chosen[0]]
    return float((lost <= regret).mean())


def top_two(belief: RateBelief, rng: np.random.Generator) -> Int[Array, " b"]:
    """Choose a policy by top-two Thompson sampling (Russo 2020), with probability 1/2 for each.

    The challenger is the second-best policy of the same draw. Russo redraws until another policy
    leads, which is far slower and yields the same two candidates for a single step.
    """
    rates = rng.beta(belief.alpha, belief.beta)
    order = np.argsort(rates, axis=1)
    rows = np.arange(len(rates))
    return order[rows, np.where(rng.random(len(rates)) < 0.5, -1, -2)]


@dataclass(frozen=True, kw_only=True)
class RegretCurve:
    """Regret of the chosen policy as a function of the number of trials, in simulated worlds."""

    trials: Int[Array, " n"]
    regret: Float[Array, "n b"]

    def needed(self, regret: float, share: float) -> int | None:
        """Smallest number of trials after which a `share` of the worlds stays within `regret`."""
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
    """Simulate an adviser in worlds whose true rates are known.

    Args:
        true: true rates in every world.
        belief: belief before any trial.
        how: 'gradient', 'top-two' or 'uniform' (policies take turns).
        trials: total number of trials over all policies.
        block: number of trials given to one policy at a time.
        rng: generator for outcomes and for top-two sampling.
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
            raise ValueError(f"how must be 'gradient', 'top-two' or 'uniform', got '{how}'")
        won, tried = np.zeros_like(true), np.zeros_like(true)
        won[rows, policy] = rng.binomial(size, true[rows, policy])
        tried[rows, policy] = size
        belief = belief.after(won, tried)
        counts.append(done + size)
        regrets.append(_regret(true, belief))
    return RegretCurve(trials=np.array(counts), regret=np.array(regrets))


def _regret(true: Float[Array, "b k"], belief: RateBelief) -> Float[Array, " b"]:
    return true.max(axis=1) - true[np.arange(len(true)), belief.chosen]
