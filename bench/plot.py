# SPDX-License-Identifier: GPL-2.0-or-later
"""Two plots of the figures as SVG, written by hand: dots and lines need no library.

Without a background, and in tones that a browser exchanges where pages are dark, so that
they can be read on either; in whatever font there is.
"""

import math
from html import escape
from pathlib import Path

from bench.verdict import SIZES

STYLE = """\
<style>
text { font-family: sans-serif; font-size: 13px; fill: #57606a }
.title { font-weight: bold }
.grid { stroke: #8b949e; stroke-opacity: 0.35 }
.ours { color: #c2410c } .others { color: #4f7cac }
.dot { fill: currentColor; stroke: currentColor; stroke-width: 1.5 }
.hollow { fill: none }
.line { fill: none; stroke: currentColor; stroke-width: 2 }
.older { stroke-dasharray: 5 4 }
.limit { stroke: #8b949e; stroke-dasharray: 2 4 }
.c0 { color: #c2410c } .c1 { color: #4f7cac } .c2 { color: #4b8b3b }
.c3 { color: #9a6fb0 } .c4 { color: #b08a1e }
@media (prefers-color-scheme: dark) { text { fill: #adbac7 } }
</style>"""

# What is plotted beside the peers, and what it is called.
PEERS = {
    "null": "/dev/null",
    "flightrec_write": "flightrec",
    "trace_marker": "trace_marker",
    "tmpfs": "tmpfs append",
    "pipe": "pipe, there and back",
    "mqueue": "POSIX mqueue, there and back",
    "dgram": "UNIX datagram, there and back",
    "kmsg": "/dev/kmsg",
    "journald": "journald, until it is stored",
}
PEERS_BYTES = 64

# What is plotted by size.
BY_SIZE = ["flightrec_write", "trace_marker", "tmpfs", "pipe", "mqueue"]
LIMIT = 1.7  # times /dev/null, of flightrec


def _svg(width, height, body):
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}">\n{STYLE}\n' + "\n".join(body) + "\n</svg>\n"
    )


def _text(x, y, text, anchor="start", kind=""):
    kind = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(text)}</text>'


def _by_kernel(rows):
    """{kernel: {bytes: instructions}}, the older kernel first."""
    kernels = {}
    for row in rows:
        kernels.setdefault(row["kernel"], {})[row["bytes"]] = row["instructions"]
    return kernels


def _kernels_key(kernels, y, left):
    """What a hollow and what a filled dot are."""
    body, x = [], left
    for i, kernel in enumerate(kernels):
        kind = "dot" if i == len(kernels) - 1 else "dot hollow"
        body.append(f'<g class="others"><circle class="{kind}" cx="{x}" cy="{y - 4}" r="4.5"/></g>')
        body.append(_text(x + 10, y, f"Linux {kernel}"))
        x += 100
    return body


def peers(rows):
    """Instructions of each operation, on a logarithmic axis: the kernels as dots side by side."""
    kernels = _by_kernel(rows)
    figures = {
        name: [kernels[kernel][PEERS_BYTES][name] for kernel in kernels] for name in PEERS
    }
    left, wide, top, step = 225, 440, 76, 26
    low, high = 500, max(max(values) for values in figures.values()) * 1.15
    bottom = top + len(figures) * step

    def place(value):
        return left + wide * math.log(value / low) / math.log(high / low)

    body = [
        _text(12, 24, f"Instructions to record {PEERS_BYTES} bytes", kind="title"),
        *_kernels_key(kernels, 48, left),
    ]
    for mark in (500, 1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000):
        if mark <= high:
            body.append(f'<path class="grid" d="M{place(mark):.1f} {top - 8}V{bottom}"/>')
            words = f"{mark}" if mark < 1000 else f"{mark // 1000}k"
            body.append(_text(place(mark), bottom + 18, words, "middle"))
    for i, (name, values) in enumerate(figures.items()):
        y = top + 10 + i * step
        body.append(_text(left - 14, y + 4, PEERS[name], "end"))
        body.append(f'<g class="{"ours" if name.startswith("flightrec") else "others"}">')
        for j, value in enumerate(values):
            kind = "dot" if j == len(values) - 1 else "dot hollow"
            body.append(f'<circle class="{kind}" cx="{place(value):.1f}" cy="{y}" r="4.5"/>')
        body.append("</g>")
        label = " / ".join(f"{value:,.0f}" for value in values)
        body.append(_text(place(max(values)) + 12, y + 4, label))
    return _svg(left + wide + 135, bottom + 32, body)


def ratios(rows):
    """Each operation by size, in times the instructions that /dev/null takes for it."""
    kernels = _by_kernel(rows)
    left, top, wide, high = 60, 76, 420, 300
    series = {
        (name, kernel): [sizes[size][name] / sizes[size]["null"] for size in SIZES]
        for name in BY_SIZE
        for kernel, sizes in kernels.items()
    }
    highest = math.ceil(max(max(values) for values in series.values()))
    places = [left + wide * i / (len(SIZES) - 1) for i in range(len(SIZES))]

    def level(value):
        return top + high * (1 - value / highest)

    body = [_text(12, 24, "Instructions, in times those of writing the same to /dev/null",
                  kind="title")]  # fmt: skip
    for i, kernel in enumerate(kernels):
        older = "" if i == len(kernels) - 1 else " older"
        body.append(f'<g class="c1"><path class="line{older}" d="M{left + i * 130} 44h28"/></g>')
        body.append(_text(left + 36 + i * 130, 48, f"Linux {kernel}"))
    for i in range(highest + 1):
        body.append(f'<path class="grid" d="M{left} {level(i):.1f}h{wide}"/>')
        body.append(_text(left - 10, level(i) + 4, f"{i}", "end"))
    body.append(f'<path class="limit" d="M{left} {level(LIMIT):.1f}h{wide}"/>')
    body.append(_text(left + 6, level(LIMIT) - 5, f"{LIMIT}: what flightrec may take at 64 and 256 bytes"))
    for x, size in zip(places, SIZES):
        body.append(_text(x, top + high + 20, f"{size} bytes", "middle"))
    newest = list(kernels)[-1]
    for (name, kernel), values in series.items():
        older = "" if kernel == newest else " older"
        points = " ".join(f"{x:.1f},{level(v):.1f}" for x, v in zip(places, values))
        body.append(f'<g class="c{BY_SIZE.index(name)}">'
                    f'<polyline class="line{older}" points="{points}"/></g>')  # fmt: skip
    # The legend in the order in which the lines end.
    ends = sorted(BY_SIZE, key=lambda name: -series[name, newest][-1])
    for i, name in enumerate(ends):
        y = top + 20 + i * 24
        body.append(f'<g class="c{BY_SIZE.index(name)}">'
                    f'<path class="line" d="M{left + wide + 24} {y - 4}h22"/></g>')  # fmt: skip
        body.append(_text(left + wide + 54, y, PEERS[name]))
    return _svg(left + wide + 280, top + high + 36, body)


PLOTS = {"peers.svg": peers, "ratios.svg": ratios}


def write_plots(rows, directory):
    """The plots of ROWS (see report.rows()) into DIRECTORY; their paths."""
    paths = []
    for name, draw in PLOTS.items():
        paths.append(Path(directory, name))
        paths[-1].write_text(draw(rows), encoding="utf-8")
    return paths
