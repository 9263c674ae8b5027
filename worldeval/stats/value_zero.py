"""Success of a policy predicted from where an episode starts, and from its other results: V0.

After "V0: A Generalist Value Model for Any Policy at State Zero" (2026): a value function of the
first state alone, which is told about a policy by its results elsewhere (a context) and so needs no
training for a new policy. Here it is a logistic regression of a few numbers read off the context:

- the policy's rate, on all tasks and on this one, shrunk towards the mean of all policies;
- its results from starts like this one (a Gaussian kernel on first observations);
- how hard starts like this one are for the other policies;
- the imagined probability of success, where there is one.

It is fitted to policies whose results are known, each with contexts of random size, so that it
learns how far to trust small ones. numpy alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worldeval.axes import Array, Bool, Float, Int

PRIOR = 2.0  # results that the mean of all policies counts as
CONTEXTS = 6  # drawn for every policy in the fit
RIDGE = 0.3  # of the standardised weights
EDGE = 0.01  # probabilities are kept this far from 0 and 1 where their logit is taken
REACH = 0.3  # bandwidth of the kernel, in median distances between starts
LEAST = 3  # policies with results
PARTS = 12  # of the starts' first observations, at most


@dataclass(frozen=True, kw_only=True)
class StartKernel:
    """Which starts are alike: 1 for the same one, 0 on other tasks."""

    task: Int[Array, " s"]
    alike: Float[Array, "s s"]


@dataclass(frozen=True, kw_only=True)
class ValueZero:
    """The fitted model."""

    kernel: StartKernel
    weight: Float[Array, " g"]  # of the numbers, and of a constant
    mean: Float[Array, " f"]
    scale: Float[Array, " f"]

    def predict(
        self,
        context: Float[Array, " s"],
        others: Float[Array, "k s"],
        imagined: Float[Array, " s"] | None = None,
    ) -> Float[Array, " s"]:
        """Probability of success from every start.

        Args:
            context: results of the policy (0 to 1), NaN where there is none.
            others: results of other policies.
            imagined: imagined probabilities of success of the policy, if the model was fitted with
                them.
        """
        x = read(context, others, imagined, self.kernel, np.arange(len(context)))
        return _sigmoid(_with_one((x - self.mean) / self.scale) @ self.weight)


@dataclass(frozen=True, kw_only=True)
class ValueBin:
    """Predictions between two probabilities, and what happened."""

    low: float
    high: float
    n: int
    predicted: float
    measured: float


@dataclass(frozen=True, kw_only=True)
class ValueCheck:
    """How well V0 predicts policies that it was not fitted to, from contexts of a given size."""

    context: int  # results
    n: int  # predictions
    brier: float  # mean squared error of the probabilities
    brier_of_rate: float  # of the policy's rate in the context, shrunk
    error: float  # mean absolute difference between predicted and measured over the bins
    bins: tuple[ValueBin, ...]


def start_kernel(
    task: Int[Array, " s"], features: Float[Array, "s d"] | None = None
) -> StartKernel:
    """Compare starts by their first observations; without any, a start is like itself alone."""
    same = task[:, None] == task[None]
    if features is None or not features.shape[1]:
        return StartKernel(task=task, alike=np.eye(len(task)))
    x = features - features.mean(0)
    x = x / np.where(x.std(0) > 1e-9, x.std(0), 1.0)
    left, size, _ = np.linalg.svd(x, full_matrices=False)
    x = (left * size)[:, :PARTS]
    apart = np.sqrt(np.maximum(np.square(x[:, None] - x[None]).sum(-1), 0))
    own = apart[same & (apart > 0)]
    width = REACH * float(np.median(own)) if len(own) else 1.0
    return StartKernel(task=task, alike=np.exp(-0.5 * (apart / width) ** 2) * same)


def fit_value_zero(
    results: Float[Array, "k s"],
    kernel: StartKernel,
    *,
    imagined: Float[Array, "k s"] | None = None,
    rng: np.random.Generator,
) -> ValueZero:
    """Fit to the results of at least `LEAST` policies (0 to 1, NaN where there is none).

    Raises:
        ValueError: fewer policies have results.
    """
    known = ~np.isnan(results)
    rows, targets = [], []
    if int(known.any(1).sum()) < LEAST:
        raise ValueError(f"V0 needs results of at least {LEAST} policies")
    for k in np.flatnonzero(known.any(1)):
        others = np.delete(results, k, 0)
        for _ in range(CONTEXTS):
            context, left = split(results[k], rng.random(), rng)
            scores = None if imagined is None else imagined[k]
            rows.append(read(context, others, scores, kernel, left))
            targets.append(results[k, left])
    x, y = np.concatenate(rows), np.concatenate(targets)
    mean, scale = x.mean(0), np.where(x.std(0) > 1e-9, x.std(0), 1.0)
    weight = _logistic(_with_one((x - mean) / scale), y)
    return ValueZero(kernel=kernel, weight=weight, mean=mean, scale=scale)


def check_value_zero(
    results: Float[Array, "k s"],
    kernel: StartKernel,
    *,
    imagined: Float[Array, "k s"] | None = None,
    lineage: Sequence[str] | None = None,
    context: int = 10,
    bins: int = 5,
    rng: np.random.Generator,
) -> ValueCheck:
    """Predict every policy by a model fitted to those of other lineages, and compare.

    Args:
        lineage: training run of each policy; by default, each is one of its own.
        context: results of the policy that are shown.

    Raises:
        ValueError: fewer than `LEAST` policies of other lineages have results.
    """
    names = np.array(lineage if lineage is not None else np.arange(len(results)).astype(str))
    said, plain, true = [], [], []
    for k in np.flatnonzero((~np.isnan(results)).any(1)):
        rest = names != names[k]
        scores = None if imagined is None else imagined[rest]
        model = fit_value_zero(results[rest], kernel, imagined=scores, rng=rng)
        shown, left = split(results[k], context, rng)
        found = model.predict(shown, results[rest], None if imagined is None else imagined[k])
        said.append(found[left])
        plain.append(np.full(len(left), _shrunk(shown, _base(results[rest]))))
        true.append(results[k, left])
    p, rate, y = np.concatenate(said), np.concatenate(plain), np.concatenate(true)
    edges = np.linspace(0, 1, bins + 1)
    which = np.minimum((p * bins).astype(int), bins - 1)
    kept = tuple(
        ValueBin(
            low=float(edges[b]),
            high=float(edges[b + 1]),
            n=int((which == b).sum()),
            predicted=float(p[which == b].mean()),
            measured=float(y[which == b].mean()),
        )
        for b in range(bins)
        if (which == b).any()
    )
    return ValueCheck(
        context=context,
        n=len(y),
        brier=float(np.square(p - y).mean()),
        brier_of_rate=float(np.square(rate - y).mean()),
        error=sum(each.n * abs(each.predicted - each.measured) for each in kept) / max(len(y), 1),
        bins=kept,
    )


def split(
    result: Float[Array, " s"], shown: float, rng: np.random.Generator
) -> tuple[Float[Array, " s"], Int[Array, " n"]]:
    """Keep a number (or, below 1, a share) of the results as a context; the others are left.

    At least one is left.
    """
    known = rng.permutation(np.flatnonzero(~np.isnan(result)))
    count = min(round(shown * len(known)) if shown < 1 else int(shown), len(known) - 1)
    context = np.full_like(result, np.nan)
    context[known[:count]] = result[known[:count]]
    return context, known[count:]


def read(
    context: Float[Array, " s"],
    others: Float[Array, "k s"],
    imagined: Float[Array, " s"] | None,
    kernel: StartKernel,
    at: Int[Array, " n"],
) -> Float[Array, "n f"]:
    """The numbers that success from the starts `at` is predicted from; their own result is not
    read, even if it is in the context."""
    base = _base(others)
    seen = ~np.isnan(context)
    own, hard = np.where(seen, context, 0.0), np.nan_to_num(others)
    tried = (~np.isnan(others)).sum(0)
    alike = kernel.alike[at]
    mine = alike.copy()
    mine[np.arange(len(at)), at] = 0.0
    same = (kernel.task[at][:, None] == kernel.task[None]).astype(float)
    same[np.arange(len(at)), at] = 0.0
    every = np.ones_like(same)
    every[np.arange(len(at)), at] = 0.0

    def rate(weight: Array, value: Array, count: Array, prior: Array | float) -> Array:
        return (weight @ value + PRIOR * prior) / (weight @ count + PRIOR)

    whole = rate(every, own, seen.astype(float), base)
    on_task = rate(same, own, seen.astype(float), whole)
    near = rate(mine, own, seen.astype(float), on_task)
    task_mean = rate((kernel.task[at][:, None] == kernel.task[None]).astype(float),
                     hard.sum(0), tried.astype(float), base)  # fmt: skip
    difficulty = rate(alike, hard.sum(0), tried.astype(float), task_mean)
    columns = [_logit(each) for each in (whole, on_task, near, task_mean, difficulty)]
    if imagined is not None:
        columns.append(_logit(imagined[at]))
    return np.stack(columns, axis=1)


def spread_order(predicted: Float[Array, " s"], shift: float) -> Int[Array, " s"]:
    """An order of starts whose beginning is spread evenly over easy and hard ones.

    Starts are sorted by predicted success and visited in van der Corput's order, from `shift` on.
    With a random shift from 0 to 1, every trial is equally likely to be from any start, so that
    rates are unbiased whatever the predictions are; the better these are, the less rates vary.
    """
    ranked, count = np.argsort(predicted, kind="stable"), len(predicted)
    places: list[int] = []
    free = np.ones(count, bool)
    step = 0
    while len(places) < count:
        place = int((_van_der_corput(step) + shift) % 1.0 * count) % count
        step += 1
        if free[place]:
            free[place] = False
            places.append(place)
    return ranked[np.array(places, int)]


def _van_der_corput(index: int) -> float:
    """Mirror the binary digits of `index` at the point: 0, 1/2, 1/4, 3/4, ..."""
    value, share = 0.0, 0.5
    while index:
        value += share * (index % 2)
        index, share = index // 2, share / 2
    return value


def _base(others: Float[Array, "k s"]) -> float:
    known: Bool[Array, "k s"] = ~np.isnan(others)
    return float(others[known].mean()) if known.any() else 0.5


def _shrunk(context: Float[Array, " s"], base: float) -> float:
    seen = context[~np.isnan(context)]
    return float((seen.sum() + PRIOR * base) / (len(seen) + PRIOR))


def _logistic(x: Float[Array, "n g"], y: Float[Array, " n"]) -> Float[Array, " g"]:
    """Take Newton's steps on the penalised likelihood; the constant (the last column) is free."""
    weight = np.zeros(x.shape[1])
    penalty = RIDGE * len(y) / 100 * np.eye(x.shape[1])
    penalty[-1, -1] = 1e-6
    for _ in range(30):
        p = _sigmoid(x @ weight)
        gradient = x.T @ (p - y) + penalty @ weight
        curve = (x * (p * (1 - p))[:, None]).T @ x + penalty
        step = np.linalg.solve(curve, gradient)
        weight = weight - step
        if np.abs(step).max() < 1e-8:
            break
    return weight


def _with_one(x: Float[Array, "n f"]) -> Float[Array, "n g"]:
    return np.concatenate([x, np.ones((len(x), 1))], axis=1)


def _logit(p: Float[Array, " n"]) -> Float[Array, " n"]:
    p = np.clip(p, EDGE, 1 - EDGE)
    return np.log(p / (1 - p))


def _sigmoid(x: Float[Array, " n"]) -> Float[Array, " n"]:
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))
