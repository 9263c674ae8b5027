"""Label recorded episodes with a judge of frames."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from worldeval.api.data import Address, as_source
from worldeval.data.source import Source
from worldeval.judge.address import read_judge_address
from worldeval.judge.load import load_frame_judge
from worldeval.judge.protocol import FrameJudge, looks
from worldeval.judge.rollout_judge import checked, own_copy
from worldeval.policy.remote.tokens import name_hosts
from worldeval.runs.episode_labels import EpisodeLabel, read_labels, with_people, write_labels

TOGETHER = 8  # episodes that are asked for at a time, and kept when they are answered


def label_data(
    data: Address | Source,
    judge: Address,
    out: Address,
    *,
    format: str | None = None,
    map: Address | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[EpisodeLabel]:
    """Ask a judge of frames whether recorded episodes succeeded, and write a CSV file.

    Episodes that the file already has from the same judge are not asked for again. What people
    confirmed or corrected (`person`, `who`, `when`) and rows of other episodes are kept.

    Args:
        data: a dataset in any format.
        judge: address of a judge of frames: `vlm:`, `ws://`, `rule:` or `./mine.py:make`.
        out: CSV file with a row for each episode.
        format, map: as in `open_dataset`.
        progress: called with the number of labelled episodes and their total.

    Raises:
        UserError: the judge is not one of frames, or `out` is another file.

    >>> import worldeval as we
    >>> labels = we.label_data("toy/data", "rule:frame > 1", "toy/labels.csv")
    >>> labels[0].success
    'true'
    """
    ref, path = str(judge), Path(out)
    name_hosts([ref])  # a token may be sent to a server that the caller names
    source = as_source(data, format, map=map)
    asked = load_frame_judge(read_judge_address(ref), columns=len(source.spec.pose_names))
    known = {label.episode: label for label in read_labels(path) if label.judge == asked.name}
    labels: list[EpisodeLabel] = []
    waiting: list[int] = []
    for index, head in enumerate(source.heads):
        if head.id in known:
            labels.append(known[head.id])
        else:
            waiting.append(index)
    for begin in range(0, len(waiting), TOGETHER):
        labels += _labelled(source, waiting[begin : begin + TOGETHER], asked)
        labels = _written(path, labels)
        if progress is not None:
            progress(len(labels), len(source.heads))
    return _written(path, labels)


def _written(path: Path, labels: list[EpisodeLabel]) -> list[EpisodeLabel]:
    """Write labels beside what people said meanwhile, and return them with it."""
    joined = with_people(labels, read_labels(path))
    write_labels(path, joined)
    return joined[: len(labels)]


def _labelled(source: Source, rows: list[int], judge: FrameJudge) -> Iterator[EpisodeLabel]:
    views = None if looks(judge) else ()
    episodes = [source.episode(index, views) for index in rows]
    blind = [own_copy(replace(each, success=None, source="", info={})) for each in episodes]
    for episode, answer in zip(episodes, judge.judge(blind), strict=True):
        said = checked(answer, frames=len(episode), judge=judge.name)
        probability = said.probability
        yield EpisodeLabel(
            episode=episode.id,
            task=episode.task,
            success="" if probability is None else str(probability > 0.5).lower(),
            probability="" if probability is None else f"{probability:.6f}",
            recorded="" if episode.success is None else str(bool(episode.success)).lower(),
            judge=judge.name,
            reason=" ".join(said.reason.split()),
        )
