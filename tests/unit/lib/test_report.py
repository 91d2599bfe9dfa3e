# SPDX-License-Identifier: GPL-2.0-or-later
"""The report as a page of HTML: what is in records gets no markup through, and no script.

A parser looks at the page each time; with FULL=1 a browser shows it.
"""

import base64
import hashlib
import json
import os
import re
import subprocess
from html.parser import HTMLParser

from tests.unit.lib import crashdata as crash
from tests.unit.lib import test_collect as collected
from tests.unit.lib.tools import flightrec

clean = collected.clean  # its fixture, for each test here too

EVIL = "document.title = 'evil'"
HOSTILE = [
    f"<script>{EVIL}</script>",
    f"</script><script>{EVIL}</script>",
    f"<!--<script>{EVIL}</script>",
    f"<img src=x onerror=\"{EVIL}\">",
    f"\"><svg onload=\"{EVIL}\">",
    f"'); {EVIL}; ('",
    f"</td></table><iframe srcdoc=\"<script>{EVIL}</script>\">",
    f"</pre><style>@import 'http://example.org/x'</style><a href=\"javascript:{EVIL}\">x</a>",
    "]]></script><![CDATA[",
    "&lt;b&gt; &amp; &#60;",
    "a \u202e right to left \u2028 \u2029 line \ufeff",
    "\0\x1b[2J\x07 control",
    "\u00e9t\u00e9 \u65e5\u672c",
]  # fmt: skip
RECORDS = [
    crash.Record(text.encode(), seq=n, boot_ns=n * 1000, wall_ns=10**18 + n * 1000, severity=n % 8,
                 comm=b"<b>\"'&" if n % 2 else b"</script>")
    for n, text in enumerate(HOSTILE, start=1)
] + [crash.Record(b"\xff\xfe<x>", seq=40, boot_ns=40000, wall_ns=10**18)]  # fmt: skip

ALLOWED = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "dl", "dt", "dd", "p", "ul", "li", "div",
           "span", "label", "select", "option", "input", "table", "thead", "tbody", "tr", "th", "noscript", "pre",
           "script"}  # fmt: skip


class Page(HTMLParser):
    """The tags of a page, and what stands in those with an id."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.texts, self._at = [], [], {}, None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._at = dict(attrs).get("id", tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._at = None

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] == "script" and self._at in ("script", "data"):
            self.scripts[-1] += data
        self.texts[self._at] = self.texts.get(self._at, "") + data


def page():
    """The page of a boot in which everything is hostile: also the kernel's log."""
    text = collected.log(crash.crash_lines(RECORDS), text=HOSTILE[0], before=f"BUG: {HOSTILE[3]}")
    trace = text.replace(b"Call Trace:", f"Call Trace: {HOSTILE[1]}".encode())
    collected.crashed_in(collected.PSTORE / "1", "dmesg.txt", trace)
    flightrec("collect")
    done = flightrec("report", crash.BOOT_ID, "--html")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_no_markup_gets_through():
    text = page()
    parsed = Page(text)
    assert {tag for tag, _ in parsed.tags} <= ALLOWED
    for tag, attributes in parsed.tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "href", "style", "srcdoc")]
    data, code = parsed.scripts
    assert EVIL not in code and len([t for t, _ in parsed.tags if t == "script"]) == 2
    assert "<" not in data and ">" not in data and "&" not in data
    rows = json.loads(data)
    assert [row["channel"] for row in rows] == ["default"] * len(RECORDS)
    shown = [row["text"] for row in rows]
    for number, text in enumerate(HOSTILE[:10]):
        assert shown[number] == text
    assert not re.search("[\x00-\x1f\x7f\u202e\u2028\u2029\ufeff]", "".join(shown))
    assert shown[12] == HOSTILE[12] and shown[13] == r"\xff\xfe<x>"
    assert parsed.texts["cause"] == f"Kernel panic - not syncing: {HOSTILE[0]}"
    assert HOSTILE[1] in parsed.texts["backtrace"]


def test_the_policy_allows_this_script_alone():
    parsed = Page(page())
    (policy,) = [a["content"] for t, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256(parsed.scripts[1].encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def test_what_is_missing_is_on_the_page():
    parsed = Page(page())
    assert "All but the newest records" in parsed.texts["li"]


# ---- in a browser

BROWSER = "chromium-headless-shell"


def shown(html, tmp_path, script="", flags=()):
    """The page as the browser has it after its scripts ran, and SCRIPT after them."""
    path = tmp_path / "page.html"
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        html = html.replace("script-src ", f"script-src 'sha256-{digest}' ")
        html = html.replace("</body>", f"<script>{script}</script></body>")
    path.write_text(html, encoding="utf-8")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
               f"--user-data-dir={tmp_path}/profile", "--virtual-time-budget=20000", *flags, "--dump-dom", f"file://{path}"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


if os.environ.get("FULL"):

    def test_in_a_browser(tmp_path):
        """All records are there as text; nothing of them ran."""
        html = page()
        dom = shown(html, tmp_path)
        title = re.search("<title>(.*?)</title>", dom)[1]
        assert title == f"How boot {crash.BOOT_ID[:8]} ended"
        body = dom[dom.index('<tbody id="rows">') : dom.index("</tbody>")]
        assert body.count("<tr") == len(RECORDS) + 1, "and one line for the numbers that are missing"
        assert set(re.findall("<([a-z]+)", body)) == {"tbody", "tr", "td"}
        assert "&lt;img src=x onerror=" in body and "14 of 14 records" in dom

    def test_its_filters(tmp_path):
        """What somebody clicks and types, and what then is to be seen."""
        script = """
            document.getElementById("severity").value = "3";
            document.getElementById("severity").dispatchEvent(new Event("change"));
            const first = document.getElementById("shown").textContent;
            document.getElementById("search").value = "ONERROR";
            document.getElementById("search").dispatchEvent(new Event("input"));
            const second = document.getElementById("shown").textContent;
            document.getElementById("severity").value = "7";
            document.getElementById("severity").dispatchEvent(new Event("change"));
            const third = document.getElementById("shown").textContent;
            document.querySelector("#channels input").click();
            document.title = [first, second, third, document.getElementById("shown").textContent].join("|");
        """
        title = re.search("<title>(.*?)</title>", shown(page(), tmp_path, script))[1]
        worst = sum(r.severity <= 3 for r in RECORDS)
        assert title == f"{worst} of 14 records|0 of 14 records|1 of 14 records|0 of 14 records"
