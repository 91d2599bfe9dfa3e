# SPDX-License-Identifier: GPL-2.0-or-later
"""make demo-fleet: a roll-out over a small fleet, stopped at the canary, taken back, mended, and rolled out.

Real are Ansible, ssh, apt, kmodkeep, the gate and promtool; the kernel, its boot and the build of
the driver are simulated (see tests/fleet/lab.py).  Leaves the page, the logs of Ansible and a
transcript in build/demo-fleet.  Exits 0 only if every step was observed.
"""

import json
import os
import re
import subprocess
import sys

from tests.demo.report import expect, expect_match, perform
from tests.fleet import base
from tests.fleet.controller import Ansible, version
from tests.fleet.lab import NEW_PACKAGE, Lab
from tests.lib.promtool import promtool
from tests.packaging.variants import packages
from tests.unit.fleet.hosts import PROGRAM, TOP
from tests.unit.kmodkeep.system import NEW, OLD

OUT = TOP / "build/demo-fleet"
HOSTS = 6
PATIENCE = 3600  # seconds for a roll-out; an idle machine needs 60
RULES = TOP / "fleet/prometheus/kmodkeep.rules.yml"
METRICS = "var/lib/prometheus/node-exporter"
FILES = ("kmodkeep.prom", "kmodkeep-host.prom")  # of the guard, and of "kmodkeep state"
ALERTS = ("KmodkeepNextBootLosesDriver", "KmodkeepSmokeTestFailed")

# Of what Ansible does, the tasks that change a host or decide.
BATCH = "Write down who belongs to the batch"
SHOWN = ("Bring apt's packages to their newest version", "Reboot it", "Ask the gate", "Take apt's packages back",
         "Hold the kernel from before")  # fmt: skip
# What Prometheus would have scraped before the canary was taken back.
BACK = """
- name: Keep the metrics
  ansible.builtin.fetch:
    src: "/{metrics}/{{{{ item }}}}"
    dest: {out}/
    flat: true
  loop: {files}
- name: Go back
  ansible.builtin.include_tasks: {role}/tasks/back.yml
"""


class Story:
    """The steps, told to REPORT."""

    def __init__(self, report):
        self.report, self.lab, self.ansible = report, None, None
        self.results = [OUT / "page.html", OUT / "transcript.txt"]
        self.rollouts = 0

    def tell(self):
        """Go through all steps; the hosts are gone afterwards."""
        self.report.tell((
            ("build the packages, make the hosts' Debian, fetch Prometheus's promtool", self.prepare),
        ))
        lab = Lab(HOSTS, ["build-broken"] * HOSTS)
        try:
            self.report.tell((
                (f"start {HOSTS} hosts, each with its own sshd, apt and kmodkeep", lambda: self.start(lab)),
                ("the fleet before: every host keeps its driver", self.see_before),
                (f"roll out kernel {NEW}, for which the driver does not build", self.roll_out_bad),
                ("it stopped at the canary: no other host was touched", self.see_stopped),
                ("the canary went back to the kernel from before", self.see_back),
                ("Prometheus's rules raise alerts for the canary, and for no other host", self.see_alert),
                ("the page says which host would have lost which driver, and why", self.see_page),
                ("the driver is mended; roll out again, ring by ring", self.roll_out_good),
                ("the fleet after: every host runs the new kernel with its driver", self.see_after),
            ))  # fmt: skip
        finally:
            if self.lab:
                lab.__exit__()

    # The steps, in their order.

    def prepare(self):
        self.report.say("\n".join([*(deb.name for deb in packages(base.SUITE).values()), str(base.root()), str(promtool())]))

    def start(self, lab):
        self.lab = lab.__enter__()
        self.ansible = Ansible(self.lab)
        self.report.say(f"{self.lab.hosts[0].name} is the canary: the first of the inventory")

    def see_before(self):
        for host in self.lab.hosts:
            host.run("sh", "-c", "kmodkeep guard && kmodkeep state --write")
        self._see_all({host.name: (OLD, "1", "yes", "-") for host in self.lab.hosts})

    def roll_out_bad(self):
        self.lab.repository.publish(self.lab.old, self.lab.new)
        (self.ansible.path / "back.yml").write_text(BACK.format(
            metrics=METRICS, files=json.dumps(FILES), out=OUT, role=TOP / "fleet/ansible/roles/rollout"))  # fmt: skip
        status, said = self._roll_out(rollout_back_tasks=f"{self.ansible.path}/back.yml")
        why = expect_match(r'"msg": "(The gate says go-back: [^"]*)"', said, "that the gate sends it back")[1]
        self.report.say(why)
        expect(status != 0, "a roll-out that fails", status)
        canary = self.lab.hosts[0].name
        expect(f"loses-driver: {canary} (sample: missing on {NEW})" in why, "the canary's lost driver as the reason", why)

    def see_stopped(self):
        canary, *others = self.lab.hosts
        said = self._fleet("rollout", "--dir", self.ansible.directory, "--show", accepted=1)
        expect_match(r"is gone-back: 1 failed$", said, "a roll-out that ended with one host")
        expect(self.ansible.record()["hosts"] == {canary.name: "failed"}, "the canary alone", said)
        for host in others:
            expect(not (host.root / f"boot/vmlinuz-{NEW}").exists(), f"no new kernel on {host.name}", NEW)

    def see_back(self):
        canary = self.lab.hosts[0]
        self._show(canary, "uname -r", f"^{OLD}$")
        self._show(canary, "kmodkeep pin", f"held by hand on kernel {OLD} instead of {NEW}")
        self._see_all({host.name: (OLD, "1", "yes", "failed" if host is canary else "-") for host in self.lab.hosts})

    def see_alert(self):
        """The rules as they are installed, over what the hosts wrote for node exporter."""
        canary, *others = self.lab.hosts
        folders = {canary.name: OUT, **{host.name: host.root / METRICS for host in others}}
        series = [one for name, folder in folders.items() for file in FILES for one in series_of(name, (folder / file).read_text())]
        expect(len({one["series"] for one in series}) >= 3 * HOSTS, "metrics of all hosts", series)
        firing = [{"labels": f'{{alertname="{alert}", instance="{canary.name}"}}', "value": 1} for alert in ALERTS]
        test = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [{
            "interval": "1m", "input_series": series,
            "promql_expr_test": [{"expr": 'count by (alertname, instance) (ALERTS{alertstate="firing",severity="critical"})',
                                  "eval_time": "20m", "exp_samples": firing}]}]}  # fmt: skip
        path = OUT / "alerts.yml"
        path.write_text(json.dumps(test, indent=1))
        done = subprocess.run([promtool(), "test", "rules", path], capture_output=True, text=True, timeout=120)
        self.report.command(f"promtool test rules {path.relative_to(TOP)}", done.stdout, at="controller")
        expect(done.returncode == 0, f"{' and '.join(ALERTS)} for {canary.name}, and no other", done.stdout + done.stderr)
        self.report.say("\n".join(f"firing after 20 minutes: {alert}, {canary.name}" for alert in ALERTS))

    def see_page(self):
        said = self._fleet("report", self.ansible.directory / "now", accepted=1)
        expect_match(f"would lose sample: missing on kernel {NEW}", said, "the driver and the cause")
        self._page("stopped.html", accepted=1)
        self.results.insert(0, OUT / "stopped.html")

    def roll_out_good(self):
        """What a mended driver's package does is simulated as the build is."""
        for host in self.lab.hosts:
            (host.root / "etc/sim-build-broken").unlink()
        canary = self.lab.hosts[0]
        canary.run(f"/var/lib/dpkg/info/{NEW_PACKAGE}.postinst", "configure")
        self._show(canary, "kmodkeep pin release", "the pin on kernel .* is lifted")
        status, said = self._roll_out("--new")
        expect(status == 0, "a roll-out that comes to its end", said[-4000:])
        self._fleet("rollout", "--dir", self.ansible.directory, "--show", accepted=0)

    def see_after(self):
        self._see_all({host.name: (NEW, "2", "yes", "done") for host in self.lab.hosts})
        said = self._fleet("report", self.ansible.directory / "now", accepted=0)
        expect_match(rf"\b{HOSTS} hosts\b", said, "all hosts counted")
        self._page("page.html", accepted=0)

    # What several steps need.

    def _roll_out(self, *words, **variables):
        """Show what Ansible does as it does it; its exit code and all that it said."""
        self.rollouts += 1
        self.report.command(f"kmodkeep fleet rollout {' '.join([*words, '--', '-i hosts -e rollout_packages=...'])}", at="controller")
        command = ["timeout", "-k", "60", str(PATIENCE), *self.ansible.command(*words, **variables)]
        said, task, ring, hosts = [], "", 0, []
        self.report.say("preflight: every host is looked at")
        with open(OUT / f"ansible-{self.rollouts}.log", "w", encoding="utf-8") as log, \
                subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                 env=self.ansible.environment) as running:  # fmt: skip
            self.report.watch = lambda: task
            for line in running.stdout:
                said.append(line)
                log.write(line)
                if re.match(r"(TASK|PLAY) ", line):
                    if task in SHOWN and hosts and ring:
                        self.report.say(f"  {task}: {' '.join(hosts)}")
                    name = re.match(r"TASK \[(?:\S+ : )?(.*)\]", line)
                    task, hosts = name[1] if name else "", []
                    if task == BATCH:
                        ring += 1
                        self.report.say(f"ring {ring}")
                result = re.match(r"(ok|changed|fatal): \[([^\] ]+)", line)
                if result:
                    hosts.append(result[2] + (" FAILED" if result[1] == "fatal" else ""))
        return running.returncode, "".join(said)

    def _fleet(self, *words, accepted):
        done = subprocess.run([PROGRAM, "kmodkeep", *words], capture_output=True, text=True, timeout=120)
        shown = " ".join(str(word).replace(str(self.ansible.path) + "/", "") for word in words)
        self.report.command(f"kmodkeep fleet {shown}", done.stdout + done.stderr, at="controller")
        expect(done.returncode == accepted, f"exit code {accepted}", done.returncode)
        return done.stdout

    def _page(self, name, accepted):
        done = subprocess.run([PROGRAM, "kmodkeep", "report", "--html", self.ansible.directory / "now"],
                              capture_output=True, text=True, timeout=120)  # fmt: skip
        expect(done.returncode == accepted and "<html" in done.stdout, "a page", done.stdout[:200] + done.stderr)
        (OUT / name).write_text(done.stdout)

    def _show(self, host, command, pattern):
        said = host.run("sh", "-c", command).stdout
        self.report.command(command, said, at=host.name)
        expect_match(pattern, said, f"on {host.name}: {pattern}")

    def _see_all(self, wanted):
        """A line for each host; each must be as WANTED: {name: (kernel, version, is it safe, its word in the roll-out)}."""
        words = self.ansible.record()["hosts"] if self.rollouts else {}
        self.report.say(f"{'host':<6}{'runs':<16}{'package':<9}{'roll-out':<10}next boot")
        seen = {}
        for host in self.lab.hosts:
            state = json.loads(host.run("kmodkeep", "state").stdout)
            seen[host.name] = (state["running_kernel"], version(host), state["safe"], words.get(host.name, "-"))
            kernel, package, _, word = seen[host.name]
            self.report.say(f"{host.name:<6}{kernel:<16}{package:<9}{word:<10}{state['line']}")
        expect(seen == wanted, f"the hosts as {wanted}", seen)


def series_of(name, text):
    """What a scrape of the host NAME has, as promtool's tests want it: the same for half an hour."""
    found = re.findall(r"^(\w+)(?:\{(.*)\})? (\S+)$", text, re.M)
    return [{"series": f'{metric}{{{labels}{"," if labels else ""}instance="{name}"}}', "values": " ".join([value] * 31)}
            for metric, labels, value in found]  # fmt: skip


def main():
    """Tell the story; the exit code."""
    if os.geteuid() != 0:
        print("the demo makes network namespaces and mounts, which takes root (nothing else is touched): "
              "sudo make demo-fleet", file=sys.stderr)  # fmt: skip
        return 1
    return 0 if perform(OUT, Story) else 1


if __name__ == "__main__":
    sys.exit(main())
