"""Runs builders in order: lease, work, record, exit code."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any, Protocol
from uuid import uuid4

from mlipdb.builders import BUILDERS, builder_class
from mlipdb.builders.base import DocumentBuilder
from mlipdb.builders.items import batched, describe, run_item
from mlipdb.errors import DatabaseError, LockedError, MlipdbError, SettingsError, UsageError
from mlipdb.locks import Held, lease
from mlipdb.schemas.build_run import BuildRun
from mlipdb.schemas.common import utc_now
from mlipdb.settings import Project
from mlipdb.stores import Database
from mlipdb.workers import run_in_processes

__all__ = ["Options", "Reporter", "RunReport", "exit_code", "plan_builders", "run_builders"]

Raw = dict[str, Any]


@dataclass
class RunReport:
    """What one builder did.

    Attributes
    ----------
    builder
        Its name.
    built, unchanged, failed, withdrawn
        Numbers of documents.
    failures
        Item, reason and message of each failure (the first 100).
    duration_s
        Wall time in s.
    locked
        Who else is building, where somebody is.
    planned
        Labels of the items to build, for a dry run.
    """

    builder: str
    built: int = 0
    unchanged: int = 0
    failed: int = 0
    withdrawn: int = 0
    failures: list[Raw] = field(default_factory=list)
    duration_s: float = 0.0
    locked: str | None = None
    planned: list[str] = field(default_factory=list)

    def as_dict(self) -> Raw:
        """Plain values for `--json`."""
        failures = [{key: item.get(key) for key in ("item", "reason", "message")} for item in self.failures]
        return {**self.__dict__, "failures": failures}


class Reporter(Protocol):
    """Somebody who shows how a run goes."""

    def begin(self, builder: str, total: int) -> None:
        """A builder starts on a number of items."""

    def advance(self, builder: str, label: str, failure: str | None) -> None:
        """One item is done, or failed with a message."""

    def progress(self, builder: str, label: str, phase: str, done: int, total: int) -> None:
        """An item in work is at a step of a phase; a total of 0: nobody knows how many steps there are.

        Only long items tell this, and perhaps never; after `advance` with its label an item tells no more.
        """

    def end(self, report: RunReport) -> None:
        """A builder is done."""


class Silent:
    """Shows nothing."""

    def begin(self, builder: str, total: int) -> None:
        """Show nothing."""

    def advance(self, builder: str, label: str, failure: str | None) -> None:
        """Show nothing."""

    def progress(self, builder: str, label: str, phase: str, done: int, total: int) -> None:
        """Show nothing."""

    def end(self, report: RunReport) -> None:
        """Show nothing."""


@dataclass(frozen=True)
class Options:
    """How builders are run.

    Attributes
    ----------
    workers
        Processes for heavy items; None takes the project's setting.
    retry_failed
        Build again what failed before.
    force
        Withdraw more than a quarter of a collection if need be.
    """

    workers: int | None = None
    retry_failed: bool = False
    force: bool = False


def run_builders(
    project: Project,
    database: Database,
    names: Iterable[str] = (),
    *,
    options: Options | None = None,
    reporter: Reporter | None = None,
) -> list[RunReport]:
    """Run builders in the order data flows.

    Parameters
    ----------
    project, database
        An open project.
    names
        Builders; none means all.
    options
        How.
    reporter
        Told how it goes.

    Returns
    -------
    list of RunReport
        One for each builder.

    Raises
    ------
    UsageError
        If a name is no builder.
    """
    options, reporter = options or Options(), reporter or Silent()
    # Grids are checked before any work: a wrong hyperparameter should not wait for an hour of fits.
    project.settings.check_fits()
    reports: list[RunReport] = []
    locked: str | None = None
    for name in ordered(names):
        if locked is not None:
            # What follows would be built from documents that somebody else is just replacing.
            reports.append(RunReport(name, locked=f"{name} waits for {locked}, which somebody else is building"))
        else:
            reports.append(_run_leased(project, database, name, options, reporter))
            locked = name if reports[-1].locked else None
        reporter.end(reports[-1])
    return reports


def _run_leased(project: Project, database: Database, name: str, options: Options, reporter: Reporter) -> RunReport:
    """Run one builder under its lease; what stops it alone is its failure, and the others go on."""
    started = perf_counter()
    try:
        with lease(database, name) as held:
            return _run_one(project, database, name, options, reporter, held)
    except LockedError as error:
        return RunReport(name, locked=error.message)
    except (DatabaseError, SettingsError):
        raise
    except MlipdbError as error:
        failure = {"item": name, **describe(error)}
        return RunReport(name, failed=1, failures=[failure], duration_s=perf_counter() - started)


def ordered(names: Iterable[str]) -> list[str]:
    """Builders in the order of flow.

    Raises
    ------
    UsageError
        If a name is no builder.
    """
    wanted = list(names)
    for name in wanted:
        if name not in BUILDERS:
            raise UsageError(f"there is no builder {name!r}; there are {', '.join(BUILDERS)}")
    return [name for name in BUILDERS if not wanted or name in wanted]


def plan_builders(
    project: Project, database: Database, names: Iterable[str] = (), *, options: Options | None = None
) -> list[RunReport]:
    """What each builder would do with the documents there are now; nothing is written."""
    reports = []
    for name in ordered(names):
        builder = _builder(project, database, name, options or Options())
        stale = builder.stale_items()
        report = RunReport(name, unchanged=builder.counts.unchanged, planned=[item.label for item in stale])
        reports.append(report)
    return reports


def exit_code(reports: Sequence[RunReport]) -> int:
    """1 if anything failed, 4 if somebody else was building, else 0."""
    if any(report.failed for report in reports):
        return 1
    return 4 if any(report.locked for report in reports) else 0


def _builder(project: Project, database: Database, name: str, options: Options) -> DocumentBuilder:
    builder = builder_class(name)(
        project=str(project.directory), retry_failed=options.retry_failed, force=options.force
    )
    builder.attach(database, project)
    builder.workers = options.workers
    return builder


def _run_one(
    project: Project, database: Database, name: str, options: Options, reporter: Reporter, held: Held
) -> RunReport:
    started = perf_counter()
    builder = _builder(project, database, name, options)
    marks = builder.watermarks()
    last = _last_run(database, name)
    if last is not None and last.get("watermarks") == marks and not (options.retry_failed or options.force):
        database.collection("build_runs").update_one({"run_id": last["run_id"]}, {"$set": {"checked": utc_now()}})
        return RunReport(name, unchanged=marks[builder.target_name]["count"], duration_s=perf_counter() - started)
    stale = builder.stale_items()
    run = BuildRun(
        run_id=f"run-{uuid4().hex[:20]}",
        builder=name,
        started=utc_now(),
        host=socket.gethostname(),
        pid=os.getpid(),
    )
    database.replace("build_runs", run.to_bson())
    reporter.begin(name, len(stale))
    items = (builder.prepared(item) for item in stale)
    processed = _shown(_processed(builder, items, options, project, len(stale), reporter), name, reporter)
    for batch in batched(processed, _batch_size(builder)):
        held.check()  # who slept for longer than the lease may not write over its successor's work
        builder.update_targets(batch)
    held.check()
    builder.finalize()
    counts = builder.counts
    report = RunReport(name, counts.built, counts.unchanged, counts.failed, counts.withdrawn, counts.failures)
    report.duration_s = perf_counter() - started
    # A refused withdrawal must be met again by the next run, so that run may not find nothing to do.
    refused = any(failure.get("reason") == "withdraw_guard" for failure in report.failures)
    _close_run(database, run, report, None if refused else _after(builder, marks))
    return report


def _shown(results: Iterator[Raw], name: str, reporter: Reporter) -> Iterator[Raw]:
    """Results, each of them reported as it comes."""
    for result in results:
        reporter.advance(name, result["label"], (result.get("failure") or {}).get("message"))
        yield result


def _batch_size(builder: DocumentBuilder) -> int:
    # A heavy result is written as soon as it is there: a kill loses at most what is being computed.
    return 1 if builder.heavy else builder.chunk_size


def _processed(
    builder: DocumentBuilder, items: Iterator[Raw], options: Options, project: Project, total: int, reporter: Reporter
) -> Iterator[Raw]:
    if not builder.heavy or total == 0:
        return (builder.process_item(item) for item in items)
    workers = min(options.workers or project.settings.workers, total)
    build, tell = partial(run_item, type(builder).build), partial(reporter.progress, builder.name)
    return run_in_processes(build, items, workers, _died, tell=tell)


def _died(item: Raw, message: str) -> Raw:
    result = {key: value for key, value in item.items() if key != "inputs"}
    return {**result, "failure": {"reason": "worker_died", "message": message}}


def _last_run(database: Database, name: str) -> Raw | None:
    query = {"builder": name, "watermarks": {"$exists": True}}
    return database.collection("build_runs").find_one(query, sort=[("started", -1)])


def _after(builder: DocumentBuilder, before: Raw) -> Raw | None:
    """Watermarks to keep: sources as they were before the run, the target as it is after it.

    None where somebody else changed the target meanwhile: the next run has to look.
    """
    now = builder.watermark(builder.target_name)
    if now["revision"] != before[builder.target_name]["revision"] + builder.touches:
        return None
    return {**before, builder.target_name: now}


def _close_run(database: Database, run: BuildRun, report: RunReport, marks: Raw | None) -> None:
    closed = run.model_copy(
        update={
            "ended": utc_now(),
            "duration_s": report.duration_s,
            "built": report.built,
            "unchanged": report.unchanged,
            "failed": report.failed,
            "withdrawn": report.withdrawn,
            "failures": report.failures,
            "watermarks": marks,
            "last_updated": utc_now(),
        }
    )
    database.replace("build_runs", closed.to_bson())
