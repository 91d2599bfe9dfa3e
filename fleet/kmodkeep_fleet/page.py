# SPDX-License-Identifier: GPL-2.0-or-later
"""A summary as text for a terminal, and as one file of HTML without scripts or links.

All words of hosts come through states.plain() before, and through escape() here.
"""

import textwrap
import time
from html import escape

NAMES_IN_TEXT = 12  # of a group; the page has all of them
COLUMNS = 100

STYLE = (
    "body{font:16px/1.45 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    "color:#1b1b1b;background:#fff}h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}"
    "table{border-collapse:collapse}td{padding:.2rem 1rem .2rem 0}td.n{text-align:right;font-weight:600}"
    "section.g{border-left:.3rem solid #777;padding:.1rem 0 .1rem 1rem;margin:1rem 0}"
    "section.no{border-color:#b3261e}section.unsure{border-color:#b26a00}h3{font-size:1rem;margin:.3rem 0}"
    "p{margin:.3rem 0}.step{font-weight:600}summary{cursor:pointer}.names{overflow-wrap:anywhere}"
    "@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}}"
)


def answer(summary):
    """The one line that says how it is."""
    if not summary.asked:
        return "No host was asked about."
    if summary.safe == summary.asked:
        return "The next boot is safe on " + (f"all {summary.asked} hosts." if summary.asked > 1 else "the one host.")
    parts = []
    if summary.losing:
        parts.append(f"{summary.losing} would lose a driver at the next boot")
    if summary.unsure:
        parts.append(f"{summary.unsure} cannot tell")
    if summary.refused:
        parts.append(f"{summary.refused} not heard or not believed")
    return f"Of {summary.asked} host{'s' * (summary.asked != 1)} {', '.join(parts)}."


def sections(summary):
    """(heading, class, groups, what is said where there are none or None) in the order of urgency."""
    yield "What would be lost, and why", "no", summary.causes, None
    yield "Not heard, or not believed", "unsure", summary.doubts, None
    if summary.changes is not None:
        yield "Changed since the last roll-out", "", summary.changes, "Nothing."
    yield "What else waits for somebody", "", summary.waiting, None


def counts(summary):
    return (("safe", summary.safe), ("would lose a driver", summary.losing), ("cannot tell", summary.unsure),
            ("not heard, or not believed", summary.refused), ("in all", summary.asked))  # fmt: skip


def when(summary):
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(summary.when))


# ---- text


def _wrapped(text, indent):
    return textwrap.wrap(text, COLUMNS, initial_indent=indent, subsequent_indent=" " * (len(indent) + 2),
                         break_on_hyphens=False)  # fmt: skip


def _group_lines(group):
    n = len(group.hosts)
    yield from _wrapped(f"{n} host{'s' * (n != 1)}: {group.title}", "  ")
    if group.next_step:
        yield from _wrapped(f"Next: {group.next_step}", "    ")
    more = [f"and {n - NAMES_IN_TEXT} more"] if n > NAMES_IN_TEXT else []
    yield from _wrapped(", ".join([*sorted(group.hosts)[:NAMES_IN_TEXT], *more]), "    ")


def text(summary):
    lines = [*textwrap.wrap(answer(summary), COLUMNS), f"As of {when(summary)}.", ""]
    lines += [f"{count:>8}  {name}" for name, count in counts(summary)]
    for heading, _, groups, none in sections(summary):
        if groups or none:
            lines += ["", heading, ""]
        if not groups and none:
            lines.append("  " + none)
        for group in groups:
            lines += _group_lines(group)
    return "\n".join(lines) + "\n"


# ---- HTML


def _group_html(group, style):
    n = len(group.hosts)
    step = f'<p class="step">Next: {escape(group.next_step)}</p>' if group.next_step else ""
    names = escape(", ".join(sorted(group.hosts)))
    if n > NAMES_IN_TEXT:
        names = f"<details><summary>their names</summary><p class=\"names\">{names}</p></details>"
    else:
        names = f'<p class="names">{names}</p>'
    return (f'<section class="g {style}"><h3>{n} host{"s" * (n != 1)}: {escape(group.title)}</h3>'
            f"{step}{names}</section>\n")  # fmt: skip


def html(summary):
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; style-src \'unsafe-inline\'">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{escape(answer(summary))}</title>\n<style>{STYLE}</style></head><body>\n"
        f'<h1 id="answer">{escape(answer(summary))}</h1>\n<p>As of {when(summary)}.</p>\n<table>'
    ]
    parts += [f'<tr><td class="n">{count}</td><td>{name}</td></tr>' for name, count in counts(summary)]
    parts.append("</table>\n")
    for heading, style, groups, none in sections(summary):
        if groups or none:
            parts.append(f"<h2>{heading}</h2>\n")
        if not groups and none:
            parts.append(f"<p>{none}</p>\n")
        parts += [_group_html(group, style) for group in groups]
    parts.append("</body></html>\n")
    return "".join(parts)
