"""The adaptation benchmark: frozen against adapting, over datasets, adapters, seeds and streams."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from samadapt.benchmark.cells import MISTAKES, Cells
from samadapt.benchmark.compare import Comparison, Estimate, average, compare_runs
from samadapt.benchmark.courses import STREAMS, Course, Kind, courses_of
from samadapt.benchmark.environment import describe_environment
from samadapt.benchmark.formats import verdict
from samadapt.benchmark.interactive import PROTOCOL, Progress
from samadapt.benchmark.results import InteractiveResult
from samadapt.benchmark.summary import MEASURES
from samadapt.data.coco import CocoDataset
from samadapt.data.files import replacing
from samadapt.errors import DataError
from samadapt.models.base import SegmentationModel
from samadapt.session.robot import ClickProtocol

FORMAT = "samadapt-adaptation-1"
MAIN = next(measure for measure in MEASURES if measure.key == "noc20@85")
"""The number whose change decides whether a course is better or worse than frozen."""


@dataclass(frozen=True, slots=True)
class CourseResult:
    """One adapter on one course, over all seeds.

    Attributes:
        course: which objects.
        adapter: as it was named.
        runs: (frozen, adapted) by seed.
        comparison: of all seeds together, see `compare_runs`.
    """

    course: Course
    adapter: str
    runs: Mapping[int, tuple[InteractiveResult, InteractiveResult]] = field(repr=False)
    comparison: Comparison

    @property
    def verdict(self) -> str:
        """Whether NoC20@85 is "better" or "worse" than frozen beyond the interval, else nothing."""
        change = self.comparison.change[MAIN.key]
        return "" if change is None else verdict(MAIN, change.interval)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "stream": self.course.kind,
            "dataset": self.course.name,
            "adapter": self.adapter,
            "verdict": self.verdict,
            **self.comparison.to_dict(),
            "seeds": [
                {"seed": seed, "frozen": dict(frozen.summary), "adapted": dict(adapted.summary)}
                | {key: adapted.protocol[key] for key in (MISTAKES,) if key in adapted.protocol}
                for seed, (frozen, adapted) in self.runs.items()
            ],
        }


@dataclass(frozen=True, slots=True)
class Average:
    """What an adapter changed on average over the courses of one kind, each counting the same.

    Attributes:
        kind: of the courses.
        adapter: as it was named.
        change, reduction: by measure, each with how many courses it is the average of; None
            where no course has it. A course on which the frozen model never fails has no
            relative reduction.
    """

    kind: Kind
    adapter: str
    change: Mapping[str, tuple[Estimate, int] | None]
    reduction: Mapping[str, tuple[Estimate, int] | None]

    @classmethod
    def of(cls, rows: Sequence[CourseResult]) -> Average:
        """Average over rows of one kind and adapter, at least one."""
        first = rows[0]

        def over(name: str) -> dict[str, tuple[Estimate, int] | None]:
            keys = getattr(first.comparison, name)
            return {
                key: average([getattr(row.comparison, name)[key] for row in rows]) for key in keys
            }

        return cls(first.course.kind, first.adapter, over("change"), over("reduction"))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "stream": self.kind,
            "adapter": self.adapter,
            **{
                name: {
                    key: found and {**found[0].to_dict(), "datasets": found[1]}
                    for key, found in getattr(self, name).items()
                }
                for name in ("change", "reduction")
            },
        }


@dataclass(frozen=True, slots=True)
class AdaptationResult:
    """What `run_adaptation` found.

    Attributes:
        environment: software, machine and model.
        options: protocol, seeds, datasets, adapters, streams.
        rows: one per course and adapter.
        averages: one per kind of course with several datasets, and adapter.
    """

    environment: Mapping[str, Any]
    options: Mapping[str, Any]
    rows: tuple[CourseResult, ...] = field(repr=False)
    averages: tuple[Average, ...] = ()

    @property
    def adapters(self) -> list[str]:
        """Names of the adapters, in order."""
        return list(dict.fromkeys(row.adapter for row in self.rows))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "format": FORMAT,
            "environment": dict(self.environment),
            "options": dict(self.options),
            "averages": [row.to_dict() for row in self.averages],
            "results": [row.to_dict() for row in self.rows],
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the JSON file, completely or not at all.

        Raises:
            DataError: the file cannot be written.
        """
        text = json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False, indent=1) + "\n"
        with replacing(path) as file:
            file.write(text.encode("utf-8", "surrogatepass"))


def run_adaptation(
    datasets: Mapping[str, CocoDataset],
    model: SegmentationModel,
    adapters: Sequence[str],
    seeds: Sequence[int] = (0, 1, 2),
    *,
    protocol: ClickProtocol = PROTOCOL,
    max_objects: int | None = None,
    streams: Sequence[str] = (),
    cells: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    command: Sequence[str] | None = None,
) -> AdaptationResult:
    """Let adapters learn their way through datasets, and the frozen model do the same objects.

    Every adapter begins every course of every seed untrained (or as it was saved). The frozen
    model's run is shared by all adapters; where no choice of the protocol is random, also by the
    seeds that visit the same objects in another order.

    Args:
        datasets: by name.
        model: answers the clicks.
        adapters: each on its own, as `create_adapter` takes them; "a+b" is one of both.
        seeds: of the order of objects, of the robot and of the adapters.
        protocol: how the robot clicks.
        max_objects: of each dataset and seed, the first ones in the order of visits; None for
            all.
        streams: of `STREAMS`, besides the plain sequence of each dataset.
        cells: folder for finished runs (one course, adapter and seed each). What is there
            already is not run again, if model, data, protocol and adapter are still the same;
            changes of the code are not noticed.
        progress: told after every object, with those of finished runs counted as done.
        command: what to record as the command line; `sys.argv` when left out.

    Raises:
        DataError: no dataset, adapter or seed, one twice, an unknown stream, a missing image, a
            broken mask, a folder that cannot be written.
        AdapterError: an unknown adapter, or one made for another model.
    """
    _check_unique("adapter", adapters)
    _check_unique("seed", seeds)
    for seed in seeds:
        if seed < 0:
            raise DataError(f"seed {seed}: use 0 or more")
    courses = courses_of(datasets, max_objects, streams)
    total = sum(
        course.visits(seed) * (len(adapters) + (course.kind != "wrong-accepts"))
        for course in courses
        for seed in seeds
    )
    runner = Cells(
        model, protocol, adapters, cells, progress and (lambda done: progress(done, total))
    )
    rows = _rows(courses, adapters, seeds, runner)
    kinds = dict.fromkeys(course.kind for course in courses)
    groups = [
        [row for row in rows if (row.course.kind, row.adapter) == (kind, adapter)]
        for kind in kinds
        for adapter in adapters
    ]
    return AdaptationResult(
        environment=describe_environment(model, command=command),
        options={
            **asdict(protocol),
            "targets": list(protocol.targets),
            "stop_at": protocol.content_at,
            "seeds": list(seeds),
            "max_objects": max_objects,
            "datasets": list(datasets),
            "adapters": list(adapters),
            "streams": [name for name in STREAMS if name in streams],
            "courses": [course.describe() for course in courses],
        },
        rows=tuple(rows),
        averages=tuple(Average.of(group) for group in groups if len(group) > 1),
    )


def _rows(
    courses: Sequence[Course], adapters: Sequence[str], seeds: Sequence[int], cells: Cells
) -> list[CourseResult]:
    rows = []
    for number, course in enumerate(courses):
        frozen = {seed: cells.result(course.frozen, None, seed) for seed in seeds}
        for adapter in adapters:
            runs = {seed: (frozen[seed], cells.result(course, adapter, seed)) for seed in seeds}
            # Courses are independent of each other, and so must be their draws.
            comparison = compare_runs(list(runs.values()), (0, number))
            rows.append(CourseResult(course, adapter, runs, comparison))
    return rows


def _check_unique(what: str, given: Sequence[object]) -> None:
    if not given:
        raise DataError(f"no {what}: give at least one")
    for value in given:
        if given.count(value) > 1:
            raise DataError(f"{what} {value} is given twice: give it once")
