# SPDX-License-Identifier: GPL-2.0-or-later
"""Which of KCSAN's reports are the driver's."""

from tests.debug.races import races, reports

RULER = "[   10.1] " + "=" * 66
REPORT = """
[   10.1] BUG: KCSAN: data-race in {first} / {second}
[   10.1]
[   10.1] write to 0xffff88800423b0c8 of 4 bytes by task 90 on cpu 1:
[   10.1]  {first}+0x3b/0x60
"""


def console(*pairs):
    blocks = [RULER + REPORT.format(first=a, second=b) + RULER for a, b in pairs]
    return "\n".join(["[   9.0] booted", *blocks, "[   11.0] more"])


def test_only_reports_that_name_the_driver_count():
    text = console(("node_ioctl [flightrec]", "flightrec_write [flightrec]"), ("a", "b"))
    assert len(reports(text)) == 2
    assert len(races(text)) == 1 and "flightrec_write" in races(text)[0]


def test_one_side_is_enough():
    assert len(races(console(("emit [flightrec_events]", "b")))) == 1
    assert len(races(console(("a", "flightrec_write [flightrec]")))) == 1


def test_the_kernels_store_of_a_parameter_is_not_ours():
    assert not races(console(("param_set_bool", "flightrec_may_open [flightrec]")))


def test_a_report_that_is_cut_off_counts():
    text = console(("node_ioctl [flightrec]", "b")).rsplit(RULER, 1)[0]
    assert len(races(text)) == 1
