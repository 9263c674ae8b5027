"""Say how good recordings are, how much they cover, and which kind of learning that suits."""

from collections.abc import Mapping

from worldeval.api.data import Address, as_source
from worldeval.data.quality import DataQuality as DataQuality
from worldeval.data.quality import QualityReport as QualityReport
from worldeval.data.quality import report_quality
from worldeval.data.source import Source
from worldeval.data.stacked_steps import StackedSteps
from worldeval.data.table import RecordedEpisodes


def report_data(
    data: Address | Source,
    reference: Address | Source | None = None,
    *,
    expert: str | None = None,
    random: str | None = None,
    discount: float = 0.99,
    every: int = 1,
    format: str | None = None,
    map: Address | None = None,
) -> QualityReport:
    """Measure trajectory quality and state-action coverage of recordings.

    Args:
        data, format, map: as in `inspect_dataset`.
        reference: recordings that explore, such as roll-outs of many policies; the coverage is
            relative to theirs. They are read like `data`.
        expert, random: globs on the sources (drivers) whose mean returns are 1 and 0.
        discount: of the return, per frame.
        every: recorded steps in a frame.

    Returns:
        Quality and coverage over all tasks, by task and by driver, and what they suggest.

    Raises:
        UserError: as `open_dataset`; a glob fits no driver, or the reference is of another robot.

    >>> from worldeval.api.data_report import report_data
    >>> found = report_data("toy/data")
    >>> found.whole.episodes, found.whole.quality == found.whole.success
    (8, True)
    """
    given: Mapping[str, Address | Source] = {"data": data}
    if reference is not None:
        given = {**given, "reference": reference}
    read = {}
    for name, each in given.items():
        source = as_source(each, format, map)
        if every > 1:
            source = StackedSteps(source, every)
        read[name] = RecordedEpisodes([source])
    return report_quality(
        read["data"], read.get("reference"), expert=expert, random=random, discount=discount
    )
