# SPDX-License-Identifier: GPL-2.0-or-later
"""The data races that KCSAN reports on a console."""

import re

START = re.compile(r"BUG: KCSAN: (?P<title>.*)")
RULER = re.compile(r"={40,}\s*$")

# The kernel's own functions that store a parameter do so with plain accesses; a
# parameter of one byte or one word is read whole all the same.
KERNELS_OWN = re.compile(r"\bparam_set_(bool|uint)\b")


def races(console, name="flightrec"):
    """The reports on CONSOLE whose title names functions of a module NAME*."""
    return [report for title, report in reports(console)
            if re.search(rf"\[{name}\w*\]", title) and not KERNELS_OWN.search(title)]  # fmt: skip


def reports(console):
    """All reports on CONSOLE: (title, text)."""
    found = []
    lines = iter(console.splitlines())
    for line in lines:
        start = START.search(line)
        if not start:
            continue
        report = [line]
        for more in lines:
            if RULER.search(more):
                break
            report.append(more)
        found.append((start["title"], "\n".join(report)))
    return found
