# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict itself: what is missing or too much never passes."""

import xml.etree.ElementTree as ElementTree

import pytest

from bench import deaths, figures, lifecycle, plot, report, retention, verdict
from bench.measure import parse_results

# A driver that keeps every limit, and its peers.
COSTS = {
    "null": 600, "null_writev": 1000, "null_uring1": 1600, "null_uring": 1000,
    "trace_marker": 1330, "kmsg": 5100, "pipe": 2400, "dgram": 4000, "mqueue": 2600,
    "tmpfs": 1800, "journald": 150000, "flightrec_write": 900, "flightrec_writev": 1400, "flightrec_uring1": 2000,
    "flightrec_uring": 1400, "flightrec_write_reserved": 1000,
    "idle_readers_0": 900, "idle_readers_1": 900, "idle_readers_10": 901, "idle_readers_100": 905,
    "flightrec_read_batched": 200, "flightrec_read_batched_interleaved": 210,
}  # fmt: skip
MEMORY = {
    "memory_whole_configured": 2 << 20, "memory_whole_channels": 3,
    "memory_channel_slab": 5000, "memory_channel_vmalloc": 262144, "memory_channel_percpu": 0,
    "memory_whole_vmalloc": 2 << 20, "memory_whole_percpu": 0, "memory_module_flightrec": 40960,
    "memory_module_flightrec_events": 16384, "memory_descriptor": 330, "possible_cpus": 1,
}  # fmt: skip


# Beside readers that wait, and by the clock: only at 64 bytes.
ONCE = {
    **{f"waiting_{what}_{n}": cost for n in verdict.READERS
       for what, cost in (("readers", 2000), ("writer", 950), ("wakeups", 0.9))},
    "epoll_set_of_100": 950,
    **{f"wall_{name}_{n}": 1000 for name in verdict.TIMED for n in (1, 2)},
}  # fmt: skip


def good():
    """Figures with which every check passes."""
    results = {(name, size): float(v) for name, v in COSTS.items() for size in verdict.SIZES}
    results |= {(name, 64): float(v) for name, v in ONCE.items()}
    return results | {(name, 0): float(v) for name, v in MEMORY.items()}


def failed(results):
    return [check.what for check in verdict.checks("6.1", results) if not check.ok]


def test_good_figures_pass():
    assert failed(good()) == []
    assert verdict.missing("6.1", good()) == []


@pytest.mark.parametrize("name", [n for r in verdict.RATIOS for n in r[:2]])
def test_missing_figure_fails(name):
    results = good()
    del results[name, 64]
    assert any(name in what for what in failed(results))


@pytest.mark.parametrize("name", verdict.REQUIRED)
def test_missing_peer_is_named(name):
    results = good()
    del results[name, 1024]
    assert verdict.missing("6.1", results) == [f"kernel 6.1: no figure for {name} at 1024 bytes"]


@pytest.mark.parametrize("name", ONCE)
def test_missing_once(name):
    results = good()
    del results[name, 64]
    assert verdict.missing("6.1", results) == [f"kernel 6.1: no figure for {name} at 64 bytes"]


def test_wall_clock_left_out():
    results = {key: v for key, v in good().items() if not key[0].startswith("wall_")}
    assert verdict.missing("6.1", results)
    assert verdict.missing("6.1", results, wall=False) == []


@pytest.mark.parametrize("readers", verdict.READERS[1:])
def test_too_many_wakeups_fail(readers):
    results = good()
    results[f"waiting_wakeups_{readers}", 64] = 1.01
    assert failed(results) == [f"wake-ups of {readers} waiting readers"]


CHECKED_MEMORY = [n for n in MEMORY if n not in ("memory_channel_vmalloc", "memory_channel_percpu")]


@pytest.mark.parametrize("name", CHECKED_MEMORY)
def test_missing_memory_figure_fails(name):
    results = good()
    del results[name, 0]
    assert failed(results)


@pytest.mark.parametrize("name, base, limit", verdict.RATIOS)
def test_too_much_fails(name, base, limit):
    results = good()
    for size, most in (limit if isinstance(limit, dict) else {256: limit}).items():
        results[name, size] = results[base, size] * most + 1
        assert f"{name} / {base}, {size} bytes" in failed(results)


def test_nothing_measured_fails_everything():
    assert len(failed({})) == len(verdict.checks("6.1", good()))


def test_retention_at_the_default_size():
    shares = retention.measure([4, 16])
    assert set(shares) == {(n, load) for n in (4, 16) for load in retention.LOADS}
    assert all(worst >= 100 - retention.LIMIT for worst, _ in shares.values())


def test_retention_that_is_missing_or_poor_fails():
    shares = {(n, load): (80.0, 90.0) for n in retention.CPUS for load in retention.LOADS}
    assert all(check.ok for check in retention.checks(shares))
    shares[64, "random"] = (74.9, 90.0)
    del shares[4, "even"]
    assert [c.what for c in retention.checks(shares) if not c.ok] == [
        "retention, 4 CPUs, even load: not the newest",
        "retention, 64 CPUs, random load: not the newest",
    ]


def test_lines_of_results():
    text = "noise\nresult null 64 592.00\nresult memory_channel_slab 0 -12.50\nresult torn 6"
    assert parse_results(text) == {("null", 64): 592.0, ("memory_channel_slab", 0): -12.5}


def rows():
    """Of two kernels, as report.rows() makes them, but for what the figures do not need."""
    return [{"kernel": kernel, "release": f"{kernel}.0", "date": "2026-01-01", "bytes": size,
             "instructions": COSTS}
            for kernel in ("6.1", "7.3") for size in verdict.SIZES]  # fmt: skip


def test_plots_are_xml(tmp_path):
    paths = plot.write_plots(rows(), tmp_path)
    assert [path.name for path in paths] == ["peers.svg", "ratios.svg"]
    for path in paths:
        assert ElementTree.parse(path).getroot().tag.endswith("svg")


@pytest.mark.parametrize("path", [figures.README, figures.DESIGN], ids=lambda path: path.name)
def test_texts_show_what_was_measured(path):
    """After a run with KEEP=docs/bench this is so; by hand: python3 -m bench.figures.

    Without results that are committed, the README shows none.
    """
    assert path.read_text(encoding="utf-8") == figures.texts(figures.kept_rows())[path]


def test_figures_come_and_go():
    texts = figures.texts(rows())
    assert "| flightrec | 900 | 900 | 900 | 900 |" in texts[figures.README]
    assert "/dev/null 600 / 600):\n900 / 900 at 64 bytes, 900 / 900 at 256." in texts[figures.DESIGN]
    assert figures.replaced(texts[figures.README], figures.SECTION, "") == (
        figures.texts([])[figures.README])  # fmt: skip


def test_plots_show_what_was_measured(tmp_path):
    kept = figures.kept_rows()
    drawn = plot.write_plots(kept, tmp_path) if kept else []
    there = sorted(path.name for path in figures.KEPT.parent.glob("*.svg"))
    assert [path.name for path in drawn] == there
    for path in drawn:
        assert path.read_bytes() == (figures.KEPT.parent / path.name).read_bytes()


def test_kept_results_are_of_this_emulator():
    """Another one may count otherwise: with it, `make bench KEEP=docs/bench` is due."""
    assert {row["machine"]["instructions"] for row in figures.kept_rows()} <= {report.counted_on()}


def test_kept_results_are_whole():
    for row in figures.kept_rows():
        assert set(verdict.REQUIRED) <= set(row["instructions"])


def test_the_page_of_deaths_shows_what_came_back():
    """After `make bench-deaths KEEP=1` this is so."""
    assert deaths.PAGE.read_text(encoding="utf-8") == deaths.page(deaths.kept())
    for name, results in deaths.kept().items():
        assert all(line.endswith(": not run") for line in deaths.wrong(name, results))


def test_what_should_not_be_is_said():
    whole = {death.name: {memory: deaths.Result(deaths.RECORDS if death.powered else 0, 0, "") for memory in deaths.MEMORY}
             for death in deaths.DEATHS}  # fmt: skip
    assert not deaths.wrong("6.1", whole)
    assert deaths.wrong("6.1", {key: whole[key] for key in whole if key != "panic"}) == ["6.1, panic: not run"]
    for changed, says in ((deaths.Result(9_999, 0, ""), "9999 of 10000"), (deaths.Result(10_000, 1, ""), "1 records")):
        (line,) = deaths.wrong("6.1", {**whole, "panic": {**whole["panic"], "reserved": changed}})
        assert line.startswith("6.1, panic") and says in line


def lifecycle_result(dkms=10.0, kept=11.0, guard=0.9, warm=50.0, cold=3000.0):
    def cost(seconds):
        return {"processes": 9, "cpu_s": seconds, "wall_s": seconds}

    return {"alone": {"update": cost(60.0), "dkms": cost(dkms)},
            "kept": {"update": cost(61.0), "dkms": cost(kept), "guard": cost(guard),
                     "doctor": {"kernels": 5, "warm_ms": warm, "cold_ms": cold}},
            "packages": {}}  # fmt: skip


def exceeded(result):
    return [what.split(",")[0] for what, *_, good in lifecycle.verdict(result) if not good]


def test_limits_of_a_kernel_update():
    assert exceeded(lifecycle_result()) == []
    assert exceeded(lifecycle_result(guard=1.1)) == ["kmodkeep's share beyond dkms's own"]
    assert exceeded(lifecycle_result(warm=50.5, cold=3001)) == ["doctor", "doctor"]
