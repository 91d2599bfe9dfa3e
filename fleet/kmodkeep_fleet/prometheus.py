# SPDX-License-Identifier: GPL-2.0-or-later
"""The same states out of Prometheus's API: coarser, since metrics have no sentences."""

import http.client
import json
import math
import urllib.error
import urllib.parse
import urllib.request

from . import states

ANSWER_MAX = 256 * 1024 * 1024
TIMEOUT = 30

# What to do about a verdict, where the host's own words are not at hand.
STEPS = {
    "missing": "dkms autoinstall on the host, then: kmodkeep status",
    "untrusted-key": "kmodkeep key enroll",
    "unsigned": "kmodkeep sign --if-needed on the host's module",
    "pending-enrolment": "reboot the host, and confirm at its console",
    "revoked": "kmodkeep key rotate begin",
    "stale-initramfs": "update-initramfs -u, or dracut -f",
}

# name -> what is asked; the label "instance" says which host it is.
QUERIES = {
    "safe": "kmodkeep_next_boot_safe",
    "kernel": "kmodkeep_next_kernel",
    "loss": "kmodkeep_module_loads != 1 and on (instance, kernel) kmodkeep_next_kernel",
    "waits": "kmodkeep_enrolment_waits == 1",
    "smoke": "kmodkeep_smoke_passed == 0",
    "expires": "kmodkeep_key_expires_seconds",
    "pinned": "kmodkeep_pinned == 1",
    "reboot": "kmodkeep_reboot_pending == 1",
}


def _ask(url, query):
    """[(labels, value)] that Prometheus answers."""
    address = f"{url.rstrip('/')}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT) as answer:
            data = answer.read(ANSWER_MAX + 1)
        if len(data) > ANSWER_MAX:
            raise ValueError("its answer is too long")
        rows = json.loads(data)["data"]["result"]
        return [({str(k): str(v) for k, v in row["metric"].items()}, float(row["value"][1])) for row in rows]
    except urllib.error.URLError as error:
        raise OSError(5, f"Prometheus does not answer: {getattr(error, 'reason', error)}", url) from None
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, http.client.HTTPException):
        raise OSError(5, "that is no answer of Prometheus", url) from None


def _host(labels):
    """The host of a series: its instance without the port of the exporter."""
    instance = labels.get("instance", "")
    return instance.rsplit(":", 1)[0] if instance.rsplit(":", 1)[-1].isdecimal() else instance


def _word(value):
    return "unknown" if math.isnan(value) else "yes" if value == 1 else "no"


def _by_host(rows):
    found = {}
    for labels, value in rows:
        found.setdefault(_host(labels), []).append((labels, value))
    return found


def _loss(labels, value):
    verdict = states.plain(labels.get("verdict", ""))
    return states.Finding(states.plain(labels.get("driver", "")), states.plain(labels.get("module", "")),
                          states.plain(labels.get("kernel", "")), verdict, _word(value), "",
                          STEPS.get(verdict, "kmodkeep status on the host says"))  # fmt: skip


def _state(name, safe, found):
    def of(key):
        return found[key].get(name, [])

    kernels = [labels.get("kernel", "") for labels, _ in of("kernel")]
    expires = [value for _, value in of("expires") if math.isfinite(value)]
    return states.State(
        name=name, machine=name, boot_id="now", time=0, safe=safe, line="", next_step="kmodkeep status on the host says",
        running="", next_kernel=states.plain(kernels[0]) if kernels else "", reboot_pending=bool(of("reboot")),
        losses=tuple(_loss(*row) for row in of("loss")), pin="pinned" if of("pinned") else "",
        enrolment="pending" if of("waits") else "", key_expires=int(expires[0]) if expires else 0,
        smoke={states.plain(labels.get("driver", "")): ("failed", "now", "") for labels, _ in of("smoke")},
    )  # fmt: skip


def _check(url):
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise states.Usage(f"'{url}' is no address of Prometheus; it begins with http:// or https://")


def read(url, wanted=None):
    """The Fleet that Prometheus at URL knows of."""
    _check(url)
    found = {name: _by_host(_ask(url, query)) for name, query in QUERIES.items()}
    fleet = states.Fleet()
    for name in sorted(set(found["safe"]) if wanted is None else set(wanted)):
        rows = found["safe"].get(name, [])
        if not states.NAME.fullmatch(name):
            fleet.refuse(states.plain(name), "malformed", "its name is no name of a host")
        elif not rows:
            fleet.refuse(name, "missing", "Prometheus has no state of it")
        elif len(rows) > 1:
            fleet.refuse(name, "same-machine", f"{len(rows)} exporters answer for it")
        else:
            _take(fleet, name, _word(rows[0][1]), found)
    return fleet


def _take(fleet, name, safe, found):
    state = _state(name, safe, found)
    if safe == "yes" and (state.losses or not state.next_kernel):
        fleet.refuse(name, "contradicts-itself", "safe, but one of its drivers is not, or no kernel is known")
    else:
        fleet.states[name] = state


FIRING = 'ALERTS{alertstate="firing",severity="critical"}'


def watched(url, query):
    """{host that Prometheus reaches, or has alerts of: [names of those that QUERY finds for it]}."""
    _check(url)
    # Of a target that is down it has nothing new.
    found = {_host(labels): [] for labels, value in _ask(url, "up") if value == 1}
    for labels, _ in _ask(url, query):
        # Also where the alert is that the target is down.
        found.setdefault(_host(labels), []).append(states.plain(labels.get("alertname", "?")))
    return found
