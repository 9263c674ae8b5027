"""One-page report of what a lab can and cannot do."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from worldeval.evaluate.gates import ACTION_EFFECT, Gates
from worldeval.stats import Estimate
from worldeval.stats.findings import FALSE_SUCCESS, INFORMATIVENESS

AUC = 0.7  # a judge below this AUC is hardly informative


def lab_report(
    *,
    lab: Path,
    data: str,
    rollouts: Sequence[str],
    fidelity: Mapping[str, Any],
    psnr: float | None,
    held_out: int,
    judge: Mapping[str, float | None],
    uncalibrated: bool,
    starts: int,
    horizon: int,
    gates: Gates | None,
) -> str:
    """Describe in Markdown the training data, the measurements, and what follows from them."""
    can, cannot = _verdicts(fidelity, judge, uncalibrated, rollouts, gates)
    lines = [
        "# What this lab can do",
        "",
        f"Learned from `{data}`"
        + (f" and the roll-outs {', '.join(f'`{each}`' for each in rollouts)}" if rollouts else "")
        + f". Rank policies from {starts} held-out starts over {horizon} frames:",
        "",
        f"    worldeval rank {lab} --policies ./mine.py:make --out runs/mine",
        "",
        *(f"- {text}" for text in can),
        *(f"- **Not shown:** {text}" for text in cannot),
        "",
        f"## The world model on {held_out} held-out episodes",
        "",
    ]
    if psnr is not None:
        lines += [f"Images through the tokenizer alone: {psnr:.1f} dB.", ""]
    lines += [
        "| frames ahead | error of the latents | repeating the first frame | episodes |",
        "|---|---|---|---|",
        *(
            f"| {horizon[1:]} | {row['latent_mse']:.3f} | {row['copy_mse']:.3f} "
            f"| {row['episodes']} |"
            for horizon, row in fidelity.items()
        ),
        "",
        *_parts(fidelity),
        "## The judge on episodes that it was not trained on",
        "",
        "| measure | value |",
        "|---|---|",
        *(
            f"| {name.replace('_', ' ')} | {value:.3f} |"
            for name, value in judge.items()
            if value is not None
        ),
        "",
    ]
    if gates is not None:
        lines += [
            "## Roll-outs that no model saw, replayed in imagination",
            "",
            "| what | predicted success | episodes |",
            "|---|---|---|",
            *(
                f"| {label} | {estimate} | {estimate.n} |"
                for label, estimate in (
                    ("recorded failures", gates.false_success),
                    ("recorded successes", gates.true_success),
                    ("drop when actions stand still or are shuffled", gates.action_effect),
                    ("sensitivity + specificity - 1", gates.informativeness),
                )
            ),
            "",
        ]
    return "\n".join(lines)


def _parts(fidelity: Mapping[str, Any]) -> list[str]:
    """A table of the predicted pose's error by part, if the data say what its columns mean."""
    rows = {horizon: row["parts"] for horizon, row in fidelity.items() if row.get("parts")}
    if not rows:
        return []
    units = {name: part["unit"] for parts in rows.values() for name, part in parts.items()}
    heads = [f"error of {name} ({unit})" if unit else f"error of {name}" for name, unit in
             units.items()]  # fmt: skip
    return [
        f"| frames ahead | {' | '.join(heads)} |",
        "|---" * (1 + len(heads)) + "|",
        *(
            f"| {horizon[1:]} | "
            + " | ".join(f"{parts[name]['error']:.3g}" if name in parts else "" for name in units)
            + " |"
            for horizon, parts in rows.items()
        ),
        "",
    ]


def _verdicts(
    fidelity: Mapping[str, Any],
    judge: Mapping[str, float | None],
    uncalibrated: bool,
    rollouts: Sequence[str],
    gates: Gates | None,
) -> tuple[list[str], list[str]]:
    can, cannot = [], []
    better = [name for name, row in fidelity.items() if row["latent_mse"] < row["copy_mse"]]
    if better:
        can.append(
            f"The world model predicts better than repeating the first frame up to {better[-1][1:]}"
            " frames ahead."
        )
    else:
        cannot.append(
            "that the world model predicts better than repeating the first frame. Give more data "
            "or more --minutes before ranking anything."
        )
    auc = judge.get("auc")
    if auc is not None and auc >= AUC:
        can.append(f"The judge separates success from failure (AUC {auc:.2f}).")
    else:
        shown = "cannot be measured" if auc is None else f"is {auc:.2f}"
        cannot.append(
            f"the judge's AUC {shown}; below {AUC}, its verdicts carry little information."
        )
    if uncalibrated:
        cannot.append(
            "that rates are calibrated, because no recorded episode failed. Failures were "
            "synthesised from another episode's "
            "actions, so every rate is uncalibrated: read the order, but quote no rate. Give "
            "--rollouts of policies that fail."
        )
    if gates is None:
        why = "no roll-outs were given" if not rollouts else "too few of them were left to replay"
        cannot.append(f"whether recorded failures stay failures in imagination: {why}.")
    else:
        can_, cannot_ = _gate_verdicts(gates)
        can, cannot = can + can_, cannot + cannot_
    cannot.append(
        "that a ranking agrees with measured outcomes. Compare it with a simulator (--truth) or "
        "a few real trials (--real); `worldeval next` says which trials."
    )
    return can, cannot


def _gate_verdicts(gates: Gates) -> tuple[list[str], list[str]]:
    can, cannot = [], []
    for estimate, good, yes, no in (
        (
            gates.false_success,
            gates.false_success.high is not None and gates.false_success.high <= FALSE_SUCCESS,
            "Recorded failures stay failures",
            f"recorded failures come out as success too often (upper bound above {FALSE_SUCCESS})",
        ),
        (
            gates.action_effect,
            _above(gates.action_effect, ACTION_EFFECT),
            "Other actions lead to other outcomes",
            f"that the world model follows actions (a drop of at least {ACTION_EFFECT} is needed)",
        ),
        (
            gates.informativeness,
            _above(gates.informativeness, INFORMATIVENESS),
            "The verdicts separate success from failure",
            f"that verdicts are informative (lower bound above {INFORMATIVENESS})",
        ),
    ):
        (can if good else cannot).append(f"{yes if good else no}: {estimate}.")
    return can, cannot


def _above(estimate: Estimate, least: float) -> bool:
    return estimate.low is not None and estimate.low >= least
