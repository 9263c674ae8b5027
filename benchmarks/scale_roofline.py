"""What every model recipe costs on a GPU, from shapes alone: the table of docs/gpus.md."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from worldeval.recipe import available, load
from worldeval.world.cost.fit import cost_of, training_cost
from worldeval.world.cost.imagine import Imagining
from worldeval.world.cost.machine import GIB, Machine, known_gpu
from worldeval.world.size import parameters

BOUNDED = "H200"  # the GPU of the bounds
FITTED = ("H200", "H100", "RTX 4090")
FEWER = {"dit-base": (4, 2, 1), "ctrl-world": (50, 4, 1)}  # sampler steps besides the recipe's
BATCHES = (1, 8, 32)
BEGIN, END = "<!-- computed by benchmarks/scale.py roofline -->", "<!-- end -->"


def measure(names: Iterable[str] | None = None) -> dict[str, Any]:
    """Compute the rows of recipes, by name; default: all that ship."""
    machine = known_gpu(BOUNDED)
    rows = []
    for name in names or [path.stem for path in available("model")]:
        found = load(name, "model")
        row: dict[str, Any] = {
            "recipe": name,
            "family": found.kind,
            "parameters": parameters(found.kind, found.config),
        }
        world = Imagining(found.kind, found.config)
        row["imagination"] = [imagined(world, steps, machine) for steps in FEWER.get(name, (None,))]
        row["training"] = trained(found.kind, found.config, machine)
        rows.append(row)
        print(*lines([row]), sep="\n", flush=True)
    return {
        "measured": "nothing: computed from shapes",
        "gpu": machine.name,
        "tflops": machine.rate / 1e12,
        "terabytes_per_s": machine.bandwidth / 1e12,
        "recipes": rows,
    }


def imagined(world: Imagining, steps: int | None, machine: Machine) -> dict[str, Any]:
    """A recipe's imagination with so many sampler steps (None: its own)."""
    cost = cost_of(world, steps=steps, batches=BATCHES)
    call = cost.calls[1]
    frames = call.batch * call.frames
    rows = [cost.row(each, machine) for each in BATCHES]
    return {
        "sampler_steps": call.steps,
        "frames_per_call": call.frames,
        "gigaflop_per_frame": call.work.flops / frames / 1e9,
        "megabytes_per_frame": call.work.read_write / frames / 1e6,
        "megabytes_per_frame_fused": call.work.fused_read_write / frames / 1e6,
        "kernels_per_call": call.work.launches,
        "cache_mib_per_episode": call.cache / call.batch / 2**20,
        "memory_gib": {str(row.batch): row.memory / GIB for row in rows},
        "eager_frames_per_s": {str(row.batch): row.eager for row in rows},
        "compiled_frames_per_s": {str(row.batch): row.compiled for row in rows},
        "arithmetic_frames_per_s": rows[-1].arithmetic,
        "take": {
            name: best.batch if (best := cost.best(known_gpu(name))) else 0 for name in FITTED
        },
    }


def trained(kind: str, recipe: Any, machine: Machine) -> dict[str, Any]:
    """A recipe's training step at its batch, on one GPU."""
    cost = training_cost(kind, recipe)
    step, row = cost.steps[-1], cost.row(cost.asked, machine)
    return {
        "batch": cost.asked,
        "gigaflop_per_row": step.work.flops / step.batch / 1e9,
        "megabytes_per_row": step.work.read_write / step.batch / 1e6,
        "held_gib": step.held / GIB,
        "memory_gib": {str(each): cost.row(each, machine).memory / GIB for each in (1, cost.asked)},
        "eager_steps_per_s": row.eager,
        "compiled_steps_per_s": row.compiled,
        "take": {name: cost.most(known_gpu(name)) for name in FITTED},
    }


def lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The rows as lines of the two Markdown tables, without their heads."""
    out = []
    for row in rows:
        for each in row["imagination"]:
            name = f"{row['recipe']}, {each['sampler_steps']} steps"
            cells = [
                name if each["sampler_steps"] else row["recipe"],
                number(row["parameters"] / 1e6),
                number(each["gigaflop_per_frame"]),
                *(number(each["memory_gib"][str(batch)]) for batch in BATCHES),
                *(
                    f"{number(each['eager_frames_per_s'][str(batch)])} / "
                    f"{number(each['compiled_frames_per_s'][str(batch)])}"
                    for batch in BATCHES
                ),
                " / ".join(str(each["take"][name]) for name in FITTED),
            ]
            out.append("| " + " | ".join(cells) + " |")
    return out


def training_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The rows of the table of training."""
    out = []
    for row in rows:
        each = row["training"]
        cells = [
            row["recipe"],
            str(each["batch"]),
            number(each["gigaflop_per_row"]),
            number(each["held_gib"]),
            *(number(each["memory_gib"][batch]) for batch in ("1", str(each["batch"]))),
            f"{number(each['eager_steps_per_s'])} / {number(each['compiled_steps_per_s'])}",
            " / ".join(str(each["take"][name]) for name in FITTED),
        ]
        out.append("| " + " | ".join(cells) + " |")
    return out


def tables(rows: Sequence[dict[str, Any]]) -> str:
    """Both tables as Markdown."""
    fitted = " / ".join(FITTED)
    memory = " | ".join(f"GiB, {batch}" for batch in BATCHES)
    rates = " | ".join(f"frames/s, {batch}" for batch in BATCHES)
    head = f"| recipe | million parameters | GFLOP a frame | {memory} | {rates} | take: {fitted} |"
    training = (
        "| recipe | batch | GFLOP a row | GiB held | GiB, 1 row | GiB, batch | steps/s | "
        f"rows to take: {fitted} |"
    )
    return "\n".join(
        [head, rule(head), *lines(rows), "", training, rule(training), *training_lines(rows)]
    )


def rule(head: str) -> str:
    """The line below a table's head."""
    return "|---" * (head.count("|") - 1) + "|"


def number(value: float) -> str:
    """Three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def write_tables(page: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Replace the tables of a page."""
    text = page.read_text()
    before, after = text.index(BEGIN) + len(BEGIN), text.index(END)
    page.write_text(f"{text[:before]}\n\n{tables(rows)}\n\n{text[after:]}")
