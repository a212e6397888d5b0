"""Reads JUnit XML in the job of the test that wrote it: `python -m conveyor.effects.junit OUT PYTEST_REPORT [GLOB …]`.

What a project's tests write is read by a process of its own, never by the control plane.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from xml.etree.ElementTree import ParseError

from junitparser import JUnitXml, JUnitXmlError, TestCase
from junitparser.junitparser import Error, Failure, Skipped

from conveyor.domain import wire
from conveyor.domain.junit import Failing, Report, total
from conveyor.domain.masking import mask
from conveyor.effects.environment import given_secrets

OUTPUT = "junit.json"
_LARGEST = 32 << 20
_MOST = 500  # files
_MESSAGE = 400  # characters of a failure's message


def read(folder: Path, pytest_report: Path, patterns: Sequence[str]) -> Report:
    """The sum of what pytest reported and what the patterns find below `folder`."""
    paths = [pytest_report] if pytest_report.is_file() else []
    for pattern in patterns:
        paths += sorted(path for path in folder.glob(pattern) if path.is_file() and path not in paths)
    return total(_each(paths, folder))


def _each(paths: Sequence[Path], folder: Path) -> Iterable[Report]:
    for path in paths[:_MOST]:
        name = str(path.relative_to(folder)) if path.is_relative_to(folder) else "pytest's report"
        yield _read(path, name)
    if len(paths) > _MOST:
        yield Report(unread=(f"{len(paths) - _MOST} more files: only the first {_MOST} are read",))


def _read(path: Path, name: str) -> Report:
    if path.stat().st_size > _LARGEST:
        return Report(unread=(f"{name}: larger than {_LARGEST >> 20} MB",))
    raw = path.read_bytes()
    if b"<!DOCTYPE" in raw or b"<!ENTITY" in raw:
        return Report(unread=(f"{name}: has a document type, which a report never needs",))
    try:
        suites = JUnitXml.fromfile(BytesIO(raw))
        # A suite yields the cases of suites within it too.
        return total(_case(case) for suite in suites for case in suite)
    except (ParseError, JUnitXmlError, ValueError, TypeError, AttributeError) as error:
        return Report(unread=(f"{name}: not a JUnit report ({error})",))


def _case(case: TestCase) -> Report:
    results = list(case.result)
    failed = next((r for r in results if isinstance(r, Failure)), None)
    broke = next((r for r in results if isinstance(r, Error)), None)
    bad = failed or broke
    name = mask(f"{case.classname}::{case.name}" if case.classname else str(case.name), given_secrets())
    return Report(
        tests=1,
        failures=int(failed is not None),
        errors=int(failed is None and broke is not None),
        skipped=int(bad is None and any(isinstance(r, Skipped) for r in results)),
        seconds=float(case.time or 0.0),
        failing=(Failing(name, _message(bad)),) if bad is not None else (),
    )


def _message(result: Failure | Error) -> str:
    said = mask(str(result.message or result.text or "").strip(), given_secrets())
    return said if len(said) <= _MESSAGE else f"{said[:_MESSAGE]}…"


def main(out: Path, pytest_report: Path, patterns: Sequence[str]) -> None:
    report = read(Path.cwd(), pytest_report, patterns)
    for problem in report.unread:
        sys.stdout.write(f"conveyor: a test report was not read: {problem}\n")
    (out / OUTPUT).write_bytes(wire.to_json(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
