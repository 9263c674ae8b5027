"""Check whether the actions explain the changes in the pose, and with which delay."""

from collections.abc import Iterator, Sequence

import numpy as np

from worldeval.axes import Array, Float
from worldeval.data.finding import DataFinding
from worldeval.data.source import Rows

LAGS = range(6)  # delays in frames between an action and its effect
ROWS_PER_WEIGHT = 10  # with fewer rows, a linear map would fit anything
UNEXPLAINED = 0.15  # share of explained variance below which actions and pose do not match
BETTER = 0.05  # minimum gain in explained variance of a lag over lag 0


def control_findings(parts: Sequence[Rows]) -> Iterator[DataFinding]:
    """Report unexplained pose changes, or a delay that explains them; at most one finding."""
    shares = explained(parts)
    if shares is None:
        return
    best = int(np.argmax(shares))
    listed = ", ".join(f"{lag}: {share:.2f}" for lag, share in zip(LAGS, shares, strict=True))
    if shares[best] < UNEXPLAINED:
        yield DataFinding(
            code="actions-unexplained",
            severity="error",
            episode=None,
            field="action",
            text=f"explain at most {shares[best]:.0%} of the pose changes (by lag in frames: "
            f"{listed}). Check that the columns, their order and the frame rate are correct.",
        )
    elif best > 0 and shares[best] > shares[0] + BETTER:
        delay = f"{best} frame{'s' if best > 1 else ''}"
        yield DataFinding(
            code="action-lag",
            severity="warning",
            episode=None,
            field="action",
            text=f"explain the pose changes best with a delay of {delay} (share explained by lag: "
            f"{listed}). Shift the actions by {delay}, or give the model that much "
            "history.",
        )


def explained(parts: Sequence[Rows]) -> Float[Array, " lag"] | None:
    """Compute the share of pose changes that a linear map of action and pose explains, per lag.

    Pose changes are from one frame to the next; with lag n, they are explained by the action n
    frames earlier. A linear map of action and pose covers both deltas and absolute targets. It is
    fitted on every second episode and scored on the others, and vice versa; a single episode is
    split into halves. Returns None if there are too few rows.
    """
    if len(parts) == 1:
        half = len(parts[0].pose) // 2
        parts = [_cut(parts[0], slice(None, half)), _cut(parts[0], slice(half, None))]
    weights = parts[0].actions.shape[1] + parts[0].pose.shape[1] + 1
    shares = []
    for lag in LAGS:
        sets = [_regression(parts[side::2], lag) for side in (0, 1)]
        if min(len(inputs) for inputs, _ in sets) < ROWS_PER_WEIGHT * weights:
            return None
        moving = np.minimum(*(changes.std(axis=0) for _, changes in sets)) > 1e-6
        if not moving.any():
            return None
        turns = [_score(sets[side], sets[1 - side], moving) for side in (0, 1)]
        shares.append(float(np.mean(turns)))
    return np.array(shares)


def _regression(parts: Sequence[Rows], lag: int) -> tuple[Array, Array]:
    inputs: list[Array] = []
    changes: list[Array] = []
    for rows in parts:
        count = len(rows.pose) - 1 - lag
        if count < 1:
            continue
        pose = rows.pose[lag : lag + count].astype(np.float64)
        change = rows.pose[lag + 1 : lag + 1 + count] - pose
        change = np.where(np.abs(change) > np.pi, change - 2 * np.pi * np.sign(change), change)
        inputs.append(np.concatenate([rows.actions[:count], pose, np.ones((count, 1))], axis=1))
        changes.append(change)
    if not inputs:
        return np.empty((0, 1)), np.empty((0, 1))
    return np.concatenate(inputs), np.concatenate(changes)


def _score(fit: tuple[Array, Array], test: tuple[Array, Array], moving: Array) -> float:
    scale = fit[0].std(axis=0) + 1e-9
    scale[-1] = 1.0
    inputs = fit[0] / scale
    ridge = 1e-3 * len(inputs) * np.eye(inputs.shape[1])
    weights = np.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ fit[1])
    left = ((test[1] - test[0] / scale @ weights) ** 2).sum(axis=0)
    total = ((test[1] - test[1].mean(axis=0)) ** 2).sum(axis=0)
    return float((1 - left / np.maximum(total, 1e-12))[moving].clip(0, 1).mean())


def _cut(rows: Rows, part: slice) -> Rows:
    return Rows(actions=rows.actions[part], pose=rows.pose[part])
