# SPDX-License-Identifier: GPL-2.0-or-later
"""The radar's runs of earlier days, what has changed since, and both as a page and as metrics.

A folder has one document for each day, DATE.json; the last run of a day stays.
"""

import json
import os
import re
import tempfile
from html import escape
from pathlib import Path

from . import page
from .states import Usage

RUN_MAX = 64 * 1024 * 1024
FILE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})\.json")
# verdict -> (word of the page, its class)
VERDICTS = {
    "builds": ("builds", "yes"),
    "does-not-build": ("does not build", "no"),
    "not-for-this-kernel": ("excluded by the driver", "excluded"),
    "cannot-tell": ("cannot tell", "unsure"),
}
SHOW = {"all": "all drivers", **{kind: f"those with “{text}”" for text, kind in VERDICTS.values() if kind != "yes"}}
STYLE = page.STYLE.replace("max-width:60rem", "max-width:90rem") + (
    "th,td{text-align:left;vertical-align:top;padding:.3rem 1rem .3rem 0;border-bottom:1px solid #8886}"
    "td.no{border-left:.3rem solid #b3261e;padding-left:.5rem}td.unsure{border-left:.3rem solid #b26a00;padding-left:.5rem}"
    "td small{display:block;overflow-wrap:anywhere;max-width:30rem}fieldset{border:0;padding:0;margin:1rem 0}"
    "label{margin-right:1rem}input:focus-visible{outline:.2rem solid #4a90d9;outline-offset:.1rem}"
    + "".join(f"body:has(#show-{kind}:checked) tbody.drivers tr:not(:has(td.{kind})){{display:none}}" for kind in SHOW if kind != "all")
)


def verdicts(doc):
    """(driver, kernel) -> verdict."""
    return {(one["driver"], word): found["verdict"] for one in doc["drivers"] for word, found in one["kernels"].items()}


def read(folder):
    """[(date, verdicts, time)] of the runs that are kept, the newest first."""
    runs = []
    for path in Path(folder).iterdir():
        named = FILE.fullmatch(path.name)
        if not named:
            continue
        try:
            with open(path, "rb") as file:
                data = file.read(RUN_MAX + 1)
            if len(data) > RUN_MAX:
                raise ValueError("larger than 64 MiB")
            doc = json.loads(data)
            if doc["schema"] != 1:
                raise ValueError("schema is not 1")
            found = verdicts(doc)
            words = [doc["time"], *(driver for driver, _ in found)]
            if not set(found.values()) <= set(VERDICTS) or not all(isinstance(one, str) for one in words):
                raise ValueError("an answer is none")
            runs.append((named[1], found, doc["time"]))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise Usage(f"{path}: is no run of the radar: {error}. Next: take it away") from None
    return sorted(runs, reverse=True)


def compare(doc, runs):
    """Adds to DOC the run of an earlier day that it is compared with, and what has changed."""
    earlier = [one for one in runs if one[0] < doc["time"][:10]]
    now, before = verdicts(doc), earlier[0][1] if earlier else {}
    doc["since"] = earlier[0][2] if earlier else None
    doc["changes"] = [
        {"driver": driver, "kernel": kernel, "before": before.get((driver, kernel)), "now": now.get((driver, kernel))}
        for driver, kernel in sorted(now.keys() | before.keys())
        if earlier and now.get((driver, kernel)) != before.get((driver, kernel))
    ]


def write(path, text):
    """In one step, readable by all."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=Path(path).absolute().parent, delete=False) as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o644)
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def keep(doc, folder):
    write(Path(folder, f"{doc['time'][:10]}.json"), json.dumps(doc, indent=1) + "\n")


def since(doc, runs):
    """(driver, kernel) -> the first day of those, one after the other, with this verdict."""
    today, found = doc["time"][:10], {}
    for cell, verdict in verdicts(doc).items():
        found[cell] = today
        for date, kept, _ in runs:
            if date < today and kept.get(cell) != verdict:
                break
            found[cell] = min(date, found[cell])
    return found


# ---- the page


def _changes(doc):
    if "changes" not in doc:
        return ""
    if doc["since"] is None:
        return "<h2>What changed</h2>\n<p>This is the first run.</p>\n"
    rows = []
    for one in doc["changes"]:
        before, now = (VERDICTS[one[key]][0] if one[key] else "not asked" for key in ("before", "now"))
        kind = VERDICTS[one["now"]][1] if one["now"] else ""
        rows.append(f'<tr><th scope=row>{escape(one["driver"])}<td>{escape(one["kernel"])}<td>{before}<td class="{kind}">{now}')
    table = ("<table><thead><tr><th scope=col>Driver<th scope=col>Kernel<th scope=col>Before<th scope=col>Now<tbody>\n"
             + "\n".join(rows) + "\n</table>\n") if rows else "<p>Nothing.</p>\n"  # fmt: skip
    return f"<h2>What changed since {escape(doc['since'])}</h2>\n{table}"


def _runs(doc, runs):
    days = [(doc["time"][:10], verdicts(doc))] + [(date, found) for date, found, _ in runs if date != doc["time"][:10]]
    if len(days) < 2:
        return ""
    rows = []
    for date, found in sorted(days, key=lambda one: one[0], reverse=True):
        cells = "".join(f'<td class="n">{sum(one == word for one in found.values())}' for word in VERDICTS)
        rows.append(f"<tr><th scope=row>{date}{cells}")
    head = "".join(f"<th scope=col>{text}" for text, _ in VERDICTS.values())
    return f"<h2>Earlier runs</h2>\n<table><thead><tr><th scope=col>Day{head}<tbody>\n" + "\n".join(rows) + "\n</table>\n"


def html(doc, runs=()):
    """One page without scripts or links; what it shows is chosen by style alone."""
    head, first = "".join(f"<th scope=col>{escape(word)}" for word in doc["kernels"]), since(doc, runs)
    rows = []
    for driver in sorted(doc["drivers"], key=lambda one: one["driver"]):
        cells = []
        for word in doc["kernels"]:
            found = driver["kernels"][word]
            text, kind = VERDICTS[found["verdict"]]
            error = f"<small>{escape(found['error'])}</small>" if found["error"] else ""
            age = f"<small>since {first[driver['driver'], word]}</small>" if runs else ""
            cells.append(f'<td class="{kind}">{text}{error}{age}')
        name = escape(f"{driver['driver']} {driver['version'] or ''}".strip())
        rows.append(f"<tr><th scope=row>{name}{''.join(cells)}")
    choices = "".join(f'<label><input type="radio" name="show" id="show-{kind}"{" checked" * (kind == "all")}> {text}</label>'
                      for kind, text in SHOW.items())  # fmt: skip
    return (
        '<!DOCTYPE html>\n<html lang="en"><meta charset="utf-8"><title>Drivers and kernels</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<style>{STYLE}</style>\n<h1>Which driver builds for which kernel</h1>\n<p>As of {escape(doc['time'])}.</p>\n"
        f"{_changes(doc)}<h2>All</h2>\n<fieldset><legend>Show</legend>{choices}</fieldset>\n"
        f"<table><thead><tr><th scope=col>Driver{head}<tbody class=drivers>\n" + "\n".join(rows) + f"\n</table>\n{_runs(doc, runs)}"
    )


# ---- metrics


def _label(text):
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def metrics(doc, when):
    """For node exporter's folder; WHEN: seconds since 1970."""
    lines = [
        "# HELP kmodkeep_radar_verdict What the radar's last run found of a driver on a kernel; the verdict is a label.",
        "# TYPE kmodkeep_radar_verdict gauge",
        *(f'kmodkeep_radar_verdict{{driver="{_label(driver)}",kernel="{_label(kernel)}",verdict="{verdict}"}} 1'
          for (driver, kernel), verdict in sorted(verdicts(doc).items())),
        "# HELP kmodkeep_radar_run_timestamp_seconds When the radar's last run ended.",
        "# TYPE kmodkeep_radar_run_timestamp_seconds gauge",
        f"kmodkeep_radar_run_timestamp_seconds {when}",
    ]  # fmt: skip
    if "changes" in doc:
        lines += ["# HELP kmodkeep_radar_changes Verdicts that are not those of the day before.",
                  "# TYPE kmodkeep_radar_changes gauge", f"kmodkeep_radar_changes {len(doc['changes'])}"]  # fmt: skip
    return "\n".join(lines) + "\n"
