# SPDX-License-Identifier: GPL-2.0-only
"""The verdict itself: what is missing or too much never passes."""

import xml.etree.ElementTree as ElementTree

import pytest

from bench import plot, verdict
from bench.guest import parse_results

# A driver that keeps every limit, and its peers.
COSTS = {
    "null": 600, "null_writev": 1000, "null_uring1": 1600, "null_uring": 1000,
    "trace_marker": 1330, "kmsg": 5100, "pipe": 2400, "dgram": 4000, "mqueue": 2600,
    "tmpfs": 1800, "flightrec_write": 900, "flightrec_writev": 1400, "flightrec_uring1": 2000,
    "flightrec_uring": 1400, "idle_readers_0": 900, "idle_readers_100": 905,
    "flightrec_read_batched": 200, "flightrec_read_batched_interleaved": 210,
}  # fmt: skip
MEMORY = {
    "memory_whole_configured": 2 << 20, "memory_whole_channels": 3,
    "memory_channel_slab": 5000,
    "memory_whole_vmalloc": 2 << 20, "memory_whole_percpu": 0, "memory_module_flightrec": 40960,
    "memory_module_flightrec_events": 16384, "memory_descriptor": 330, "possible_cpus": 1,
}  # fmt: skip


def good():
    """Figures with which every check passes."""
    results = {(name, size): float(v) for name, v in COSTS.items() for size in verdict.SIZES}
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


@pytest.mark.parametrize("name", MEMORY)
def test_missing_memory_figure_fails(name):
    results = good()
    del results[name, 0]
    assert failed(results)


@pytest.mark.parametrize("name, base, limit", verdict.RATIOS)
def test_too_much_fails(name, base, limit):
    results = good()
    results[name, 256] = results[base, 256] * limit + 1
    assert f"{name} / {base}, 256 bytes" in failed(results)


def test_nothing_measured_fails_everything():
    assert len(failed({})) == len(verdict.checks("6.1", good()))


def test_lines_of_results():
    text = "noise\nresult null 64 592.00\nresult memory_channel_slab 0 -12.50\nresult torn 6"
    assert parse_results(text) == {("null", 64): 592.0, ("memory_channel_slab", 0): -12.5}


def test_plots_are_xml(tmp_path):
    rows = [{"kernel": "6.1", "bytes": size, "instructions": COSTS} for size in verdict.SIZES]
    paths = plot.write_plots(rows, tmp_path)
    assert len(paths) == 3
    for path in paths:
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
