# pandas types a cell as anything that a table may hold.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
"""`worldeval data collect`: record episodes in the simulator."""

from pathlib import Path
from typing import Annotated

import typer

from worldeval.cli.common import WORK, Json, Out, Seed, Sets, console, emit, log, verb


def register(data: typer.Typer) -> None:
    """Add the verb to the `data` group."""
    verb(
        data,
        "collect",
        collect,
        "worldeval data collect mine.yaml --out runs/data",
        panels={WORK: ("jobs",)},
    )


def collect(
    recipe: Annotated[
        str, typer.Argument(help="Name or path of a dataset recipe that collects episodes.")
    ],
    out: Out = None,
    seed: Seed = 0,
    jobs: Annotated[int, typer.Option(help="Number of parallel processes.")] = 2,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Collect episodes in the simulator: demonstrations, near misses, play or roll-outs."""
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from worldeval import recipe as recipes
    from worldeval.data.table import read_table
    from worldeval.errors import UserError
    from worldeval.policy.address import refuse_code
    from worldeval.rollout.rollouts import record_rollouts
    from worldeval.runs.origin import open_run

    found = recipes.load(recipe, "dataset", sets or ())
    if not any(each.startswith("policies=") for each in sets or ()):
        refuse_code(getattr(found.config, "policies", ()), found.path)
    folder = out or Path("runs/data") / found.name
    open_run(folder, recipe=found.resolved(), seed=seed, command="data collect", resume=True)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=log) as bar:
        task = bar.add_task("shards", total=None)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        if found.kind == "rollouts":
            record_rollouts(found.config, folder, processes=jobs, progress=progress)
        elif hasattr(found.config, "collect"):  # a simulator's own recipe, with scripted drivers
            found.config.collect(folder, seed=seed, jobs=jobs, progress=progress)
        else:
            raise UserError(
                f"{found.path} describes an existing dataset, so there is nothing to collect. Give "
                "a recipe that collects."
            )
    episodes = read_table(folder).episodes
    rates = episodes[episodes["success"] >= 0].groupby("task")["success"].mean()
    result = {
        "out": str(folder),
        "episodes": len(episodes),
        "frames": int(episodes["length"].sum()),
        "success": {task: round(rate, 4) for task, rate in rates.items()},
    }
    emit(result, as_json=as_json)
    if not as_json:
        console.print(f"{len(episodes)} episodes, {result['frames']} frames in {folder}")
