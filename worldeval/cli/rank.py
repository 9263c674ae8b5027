"""`worldeval rank`, `imagine` and `truth`: policies tried in a world model and in the simulator."""

from pathlib import Path
from typing import Annotated

import typer

from worldeval.cli.common import Json, Out, Seed, Sets, console, emit, log

Protocol = Annotated[str, typer.Argument(help="A protocol recipe: name or path.")]
Policies = Annotated[
    list[str] | None,
    typer.Option("--policies", help="Checkpoints, folders or globs, instead of the recipe's."),
]
World = Annotated[str | None, typer.Option(help="Folder of a trained world model.")]
JudgeFolder = Annotated[str | None, typer.Option("--judge", help="Folder of a trained judge.")]
Starts = Annotated[int | None, typer.Option(help="Starts per task.", min=1)]
Jobs = Annotated[int | None, typer.Option(help="Processes; default: one per core.", min=1)]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    for verb in (rank, imagine, truth):
        app.command(verb.__name__)(verb)


def rank(
    protocol: Protocol,
    policies: Policies = None,
    world: World = None,
    judge: JudgeFolder = None,
    starts: Starts = None,
    with_truth: Annotated[
        bool, typer.Option("--truth", help="Also measure the policies in the simulator.")
    ] = False,
    films: Annotated[int, typer.Option(help="Roll-outs to keep as pictures.", min=0)] = 10,
    out: Out = None,
    seed: Seed = 0,
    jobs: Jobs = None,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Rank policies by rolling them out in a world model, with intervals and refusals."""
    from worldeval.envs.metaworld import available
    from worldeval.run import read_json

    with _watch() as watch:
        run = _open("rank", protocol, policies, world, judge, starts, out, seed, jobs, sets, watch)
        imagined = run.imagine()
        real = None
        if with_truth and (problem := available()):
            watch.say(f"no truth: {problem}")
        elif with_truth:
            real = run.truth()
        gates = run.gates()
        summary = run.summary(imagined, real, gates)
        if films:
            run.films(imagined, real, count=films)
    if as_json:
        emit(read_json(run.out / "summary.json"), as_json=True)
    else:
        from worldeval.cli.tables import print_summary

        print_summary(console, summary, run.cards)
        log.print(f"{run.out}/summary.json holds every number.", style="dim")


def imagine(
    protocol: Protocol,
    policies: Policies = None,
    world: World = None,
    judge: JudgeFolder = None,
    starts: Starts = None,
    out: Out = None,
    seed: Seed = 0,
    jobs: Jobs = None,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Roll policies out in a world model and judge them; prints the predicted success."""
    with _watch() as watch:
        run = _open(
            "imagine", protocol, policies, world, judge, starts, out, seed, jobs, sets, watch
        )
        table = run.imagine()
    _rates(table, "score", run.out / "outcomes/imagined.csv", as_json)


def truth(
    protocol: Protocol,
    policies: Policies = None,
    starts: Starts = None,
    out: Out = None,
    seed: Seed = 0,
    jobs: Jobs = None,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Measure the same policies from the same starts in the simulator."""
    with _watch() as watch:
        run = _open("truth", protocol, policies, None, None, starts, out, seed, jobs, sets, watch)
        table = run.truth()
    _rates(table, "success", run.out / "outcomes/truth.csv", as_json)


def _watch():
    from worldeval.cli.watch import Watch

    return Watch(log)


def _open(command, protocol, policies, world, judge, starts, out, seed, jobs, sets, watch):
    import os

    from worldeval import recipe as recipes
    from worldeval.evaluate.run import Evaluation
    from worldeval.run import open_run

    changed = [*(sets or ())]
    for key, value in (("world", world), ("judge", judge), ("starts", starts)):
        if value is not None:
            changed.append(f"{key}={value}")
    if policies:
        changed.append(f"policies=[{', '.join(policies)}]")
    found = recipes.load(protocol, "protocol", changed)
    folder = out or Path("runs") / found.name
    open_run(folder, recipe=found.resolved(), seed=seed, command=command, resume=True)
    return Evaluation(
        recipe=found.config,
        out=folder,
        seed=seed,
        processes=jobs or os.cpu_count() or 1,
        watch=watch,
    )


def _rates(table, column: str, path: Path, as_json: bool) -> None:
    rates = table.groupby(["policy", "task"])[column].agg(["mean", "count"]).reset_index()
    rows = [
        {
            "policy": row["policy"],
            "task": row["task"],
            "rate": float(row["mean"]),
            "episodes": int(row["count"]),
        }
        for row in rates.to_dict("records")
    ]
    if as_json:
        emit({"outcomes": str(path), "rates": rows}, as_json=True)
        return
    wide = rates.pivot(index="policy", columns="task", values="mean")
    wide["mean"] = wide.mean(axis=1)
    console.print(wide.sort_values("mean", ascending=False).round(3).to_string())
    log.print(f"{path} holds every episode.", style="dim")
