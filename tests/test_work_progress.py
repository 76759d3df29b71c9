"""Reports of long work: who gets them, and the files they go through."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from worker_functions import wait_for

from mlipdb.work_progress import (
    Report,
    ReportFile,
    read_report,
    remove_reports,
    report_path,
    report_progress,
    reports_to,
)


def test_reports_go_to_the_handler_of_the_moment_and_else_nowhere() -> None:
    outer: list[Report] = []
    inner: list[Report] = []
    report_progress("nobody", 1, 2)
    with reports_to(lambda *report: outer.append(report)):
        with reports_to(lambda *report: inner.append(report)):
            report_progress("inner", 1, 2)
        report_progress("outer", 2, 2)
        other = threading.Thread(target=report_progress, args=("another thread", 1, 1))
        other.start()
        other.join()
    report_progress("nobody", 2, 2)
    assert (outer, inner) == ([("outer", 2, 2)], [("inner", 1, 2)])


def test_a_file_holds_the_newest_report_until_it_is_closed(tmp_path: Path) -> None:
    path = report_path(str(tmp_path), 7)
    reports = ReportFile(path)
    assert list(tmp_path.iterdir()) == []
    for done in range(1001):
        reports("kernel rows", done, 1000)
    wait_for(lambda: read_report(path) == ("kernel rows", 1000, 1000))
    reports.close()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_ends_no_work(tmp_path: Path) -> None:
    reports = ReportFile(report_path(str(tmp_path / "gone"), 0))
    reports("solve", 1, 2)
    reports.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"[", b"[1, 2]", b'["solve", "many", 3]', b"\xff\xfe", b"null", b"{}"])
def test_what_cannot_be_read_is_no_report(content: bytes, tmp_path: Path) -> None:
    path = report_path(str(tmp_path), 0)
    assert read_report(path) is None
    path.write_bytes(content)
    assert read_report(path) is None


def test_reports_are_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in ("progress-1.json", "progress-2.part", "other"):
        (tmp_path / name).touch()
    remove_reports(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
