# SPDX-License-Identifier: GPL-2.0-only
"""Plots of the figures as SVG, written by hand: bars and lines need no library."""

from html import escape
from pathlib import Path

from bench.verdict import SIZES

FONT = 'font-family="sans-serif" font-size="13"'
OURS, OTHERS = "#b3401c", "#5b7083"
PALETTE = ["#b3401c", "#3b6ea5", "#4b8b3b", "#8a5fa8", "#b8860b", "#5b7083", "#2a9d8f", "#444444"]

# What is plotted, and what it is called.
BARS = {
    "null": "/dev/null",
    "flightrec_write": "flightrec",
    "trace_marker": "trace_marker",
    "tmpfs": "tmpfs append",
    "pipe": "pipe, there and back",
    "mqueue": "POSIX mqueue, there and back",
    "dgram": "UNIX datagram, there and back",
    "kmsg": "/dev/kmsg",
}


def _svg(width, height, body):
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" {FONT}>\n'
        f'<rect width="{width}" height="{height}" fill="white"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _text(x, y, text, anchor="start", extra=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {extra}>{escape(text)}</text>'


def bars(title, figures):
    """Horizontal bars of FIGURES: {label: (value, colour)}."""
    left, width, step = 215, 720, 26
    scale = (width - left - 80) / max(value for value, _ in figures.values())
    body = [_text(12, 24, title, extra='font-weight="bold"')]
    for i, (label, (value, colour)) in enumerate(figures.items()):
        y = 44 + i * step
        length = value * scale
        body += [
            _text(left - 8, y + 14, label, "end"),
            f'<rect x="{left}" y="{y}" width="{length:.1f}" height="18" fill="{colour}"/>',
            _text(left + length + 6, y + 14, f"{value:,.0f}"),
        ]
    return _svg(width, 54 + len(figures) * step, body)


def lines(title, series):
    """Lines of SERIES: {label: [value at each of SIZES]}; the vertical axis begins at 0."""
    left, top, wide, high = 70, 44, 420, 280
    highest = max(max(values) for values in series.values())
    places = [left + wide * i / (len(SIZES) - 1) for i in range(len(SIZES))]
    body = [_text(12, 24, title, extra='font-weight="bold"')]
    for i in range(5):
        y = top + high * (1 - i / 4)
        body.append(f'<path d="M{left} {y:.1f}h{wide}" stroke="#ddd"/>')
        body.append(_text(left - 8, y + 4, f"{highest * i / 4:,.0f}", "end"))
    for x, size in zip(places, SIZES):
        body.append(_text(x, top + high + 20, f"{size} bytes", "middle"))
    for i, (label, values) in enumerate(series.items()):
        colour = PALETTE[i % len(PALETTE)]
        points = " ".join(
            f"{x:.1f},{top + high * (1 - v / highest):.1f}" for x, v in zip(places, values)
        )
        body.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        y = top + 14 + i * 20
        body.append(f'<rect x="{left + wide + 30}" y="{y - 10}" width="12" height="12" fill="{colour}"/>')
        body.append(_text(left + wide + 48, y, label))
    return _svg(left + wide + 270, top + high + 36, body)


def write_plots(rows, directory):
    """The plots of ROWS (see report.rows()) into DIRECTORY; their paths."""
    directory = Path(directory)
    paths = []
    for kernel in dict.fromkeys(row["kernel"] for row in rows):
        figures = {row["bytes"]: row["instructions"] for row in rows if row["kernel"] == kernel}
        for size in (64, 256):
            shown = {
                label: (figures[size][name], OURS if name.startswith("flightrec") else OTHERS)
                for name, label in BARS.items()
                if name in figures[size]
            }
            if shown:
                title = f"Instructions to record {size} bytes, Linux {kernel}"
                paths.append(directory / f"write-{size}-{kernel}.svg")
                paths[-1].write_text(bars(title, shown), encoding="utf-8")
        series = {
            label: [figures[size][name] for size in SIZES]
            for name, label in sorted(BARS.items(), key=lambda i: i[0] != "flightrec_write")
            if name != "kmsg" and all(name in figures[size] for size in SIZES)
        }
        if series:
            paths.append(directory / f"sizes-{kernel}.svg")
            title = f"Instructions per operation, Linux {kernel}"
            paths[-1].write_text(lines(title, series), encoding="utf-8")
    return paths
