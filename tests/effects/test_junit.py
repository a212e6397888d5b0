"""Reports as several tools write them, and files that are none."""

from __future__ import annotations

from pathlib import Path

from conveyor.domain.junit import SHOWN, Failing, Report, total
from conveyor.effects import junit

PYTEST = """<?xml version="1.0"?>
<testsuites><testsuite name="pytest" errors="1" failures="1" skipped="1" tests="4" time="1.5">
<testcase classname="tests.test_a" name="test_good" time="0.5"/>
<testcase classname="tests.test_a" name="test_bad" time="0.25"><failure message="assert 1 == 2">long</failure>
</testcase>
<testcase classname="tests.test_a" name="test_broken" time="0.25"><error message="no fixture"/></testcase>
<testcase classname="tests.test_a" name="test_later"><skipped message="later"/></testcase>
</testsuite></testsuites>"""
NESTED = """<testsuites><testsuite name="outer"><testsuite name="inner"><testcase name="deep" time="2"/>
</testsuite><testcase name="shallow"/></testsuite></testsuites>"""


def test_reports_are_summed_up(tmp_path: Path) -> None:
    (tmp_path / "pytest.xml").write_text(PYTEST)
    (tmp_path / "reports" / "more").mkdir(parents=True)
    (tmp_path / "reports" / "more" / "jest.xml").write_text(NESTED)
    report = junit.read(tmp_path, tmp_path / "pytest.xml", ["reports/**/*.xml", "none/*.xml", "*.xml"])
    assert (report.tests, report.failures, report.errors, report.skipped, report.seconds) == (6, 1, 1, 1, 3.0)
    assert report.failing == (
        Failing("tests.test_a::test_bad", "assert 1 == 2"),
        Failing("tests.test_a::test_broken", "no fixture"),
    )
    assert report.unread == ()
    assert report.told == "6 tests, 2 failed, 1 skipped, 3.0 s"
    assert report.names == "tests.test_a::test_bad, tests.test_a::test_broken"


def test_what_is_no_report_is_told_and_harms_nothing(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><testsuite><testcase name="&b;"/></testsuite>'
    bad = {"cut.xml": PYTEST[:200], "empty.xml": "", "page.xml": "<html/>", "bomb.xml": bomb, "time.xml": "<testsuite>"}
    for name, text in bad.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "strange.xml").write_text('<testsuite><testcase name="t" time="soon"/></testsuite>')
    report = junit.read(tmp_path, tmp_path / "missing.xml", ["*.xml"])
    assert report.tests <= 1
    for name in bad:
        assert any(each.startswith(f"{name}: ") for each in report.unread), name


def test_only_the_first_failures_are_kept_by_name() -> None:
    each = Report(tests=1, failures=1, failing=(Failing("t"),))
    whole = total([each] * 50)
    assert (whole.tests, whole.failures, len(whole.failing)) == (50, 50, SHOWN)
    assert whole.names == "t, t, t and 47 more"
