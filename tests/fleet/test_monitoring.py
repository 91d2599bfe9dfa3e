# SPDX-License-Identifier: GPL-2.0-or-later
"""Prometheus, Alertmanager and node exporter themselves: the alert for a host that would lose its driver."""

import json
import re
import shutil
import subprocess
import time

from tests.fleet.lab import CONTROLLER, Lab
from tests.lib.promtool import package, program
from tests.unit.fleet.hosts import PROGRAM, TOP, put, state
from tests.unit.kmodkeep.system import OLD

WITHIN = 300  # seconds
# Writes down what Alertmanager sends.
RECEIVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        with open(sys.argv[1], "ab") as out:
            out.write(self.rfile.read(int(self.headers["Content-Length"])) + b"\\n")
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("0.0.0.0", 9099), Handler).serve_forever()
"""


class Monitoring:
    """Prometheus on the controller, Alertmanager on the last host, a node exporter on the others."""

    def __init__(self, lab):
        self.lab, self.path, self.running = lab, lab.path / "monitoring", []
        self.hosts, self.alertmanager = lab.hosts[:-1], lab.hosts[-1]
        self.path.mkdir()
        self.sent = self.path / "sent"

    def __enter__(self):
        rules = (TOP / "fleet/prometheus/kmodkeep.rules.yml").read_text()
        # As they are, but nobody waits ten minutes here.
        (self.path / "rules.yml").write_text(re.sub(r"(for|interval): \S+", r"\1: 1s", rules))
        targets = [f"{host.address}:9100" for host in self.hosts]
        (self.path / "prometheus.yml").write_text(json.dumps({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": [str(self.path / "rules.yml")],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"{self.alertmanager.address}:9093"]}]}]},
            "scrape_configs": [{"job_name": "hosts", "static_configs": [{"targets": targets}]}]}))  # fmt: skip
        # It looks for its templates in /usr/share, so it is unpacked where nobody else has any.
        files = subprocess.run(["dpkg-deb", "--fsys-tarfile", package("prometheus-alertmanager")], check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", self.alertmanager.root, "./usr/bin", "./usr/share/prometheus"], input=files, check=True)
        (self.alertmanager.root / "etc/alertmanager.yml").write_text(json.dumps({
            "route": {"receiver": "test", "group_by": ["alertname"], "group_wait": "1s", "group_interval": "1s"},
            "receivers": [{"name": "test", "webhook_configs": [{"url": f"http://{CONTROLLER}:9099/"}]}]}))  # fmt: skip
        self._start("/usr/bin/python3", "-c", RECEIVER, self.sent)
        self._run(self.alertmanager.command("prometheus-alertmanager", "--config.file=/etc/alertmanager.yml", "--storage.path=/tmp/alerts",
                                            "--cluster.listen-address="), "alertmanager")  # fmt: skip
        self._start(program("prometheus", "prometheus"), f"--config.file={self.path}/prometheus.yml",
                    f"--storage.tsdb.path={self.path}/data", "--web.listen-address=127.0.0.1:9090")  # fmt: skip
        for host in self.hosts:
            self._run(host.command("prometheus-node-exporter", "--collector.disable-defaults", "--collector.textfile",
                                   "--collector.textfile.directory=/var/lib/prometheus/node-exporter"), host.name)  # fmt: skip
        return self

    def __exit__(self, *_):
        for process in self.running:
            process.kill()
            process.wait(60)

    def _start(self, *words):
        self._run(self.lab.on_controller(*words), str(len(self.running)))

    def _run(self, command, name):
        with open(self.path / f"{name}.log", "wb") as log:
            self.running.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def alerts(self):
        """[(alert, instance, status)] that came, the newest last."""
        # The last one may not be whole yet.
        lines = self.sent.read_text().split("\n")[:-1] if self.sent.exists() else []
        return [(alert["labels"]["alertname"], alert["labels"].get("instance"), alert["status"])
                for line in lines if line for alert in json.loads(line)["alerts"]]  # fmt: skip

    def logs(self):
        return {path.name: path.read_text()[-600:] for path in self.path.glob("*.log")}

    def wait_for(self, alert):
        end = time.monotonic() + WITHIN
        while alert not in self.alerts():
            dead = [process.args for process in self.running if process.poll() is not None]
            assert not dead and time.monotonic() < end, (dead, self.alerts(), self.logs())
            time.sleep(0.2)

    def report(self):
        command = self.lab.on_controller(PROGRAM, "kmodkeep", "report", "--prometheus", "http://127.0.0.1:9090")
        return subprocess.run(command, capture_output=True, text=True, timeout=120).stdout

    def gate(self, hosts):
        """What it says of HOSTS, whose states are all well."""
        states = put(self.path / "states", *[state(str(host.address)) for host in hosts])
        command = self.lab.on_controller(PROGRAM, "kmodkeep", "gate", states, "--json", "--prometheus", "http://127.0.0.1:9090")
        return json.loads(subprocess.run(command, capture_output=True, text=True, timeout=120).stdout)


def test_the_alert_for_the_host_that_would_lose_its_driver():
    """It comes for that host and no other, the page names it, and it ends when the driver is back."""
    with Lab(3) as lab:
        bad, good, _ = lab.hosts
        for host in (bad, good):
            host.run("sh", "-c", "kmodkeep guard && kmodkeep state --write")
        module = bad.root / f"lib/modules/{OLD}/updates/dkms/sample.ko"
        shutil.move(module, bad.root / "root/sample.ko")
        assert bad.run("kmodkeep", "guard", check=False).returncode == 1
        with Monitoring(lab) as monitoring:
            name = f"{bad.address}:9100"
            monitoring.wait_for(("KmodkeepNextBootLosesDriver", name, "firing"))
            assert not [alert for alert in monitoring.alerts() if alert[1] == f"{good.address}:9100"]
            page = monitoring.report()
            assert f"would lose sample: missing on kernel {OLD}" in page and str(bad.address) in page, page
            assert monitoring.gate([good, bad])["hosts"] == {
                str(bad.address): [{"fault": "alert", "reason": "KmodkeepNextBootLosesDriver fires"}]}  # fmt: skip
            shutil.move(bad.root / "root/sample.ko", module)
            assert bad.run("kmodkeep", "guard").returncode == 0
            monitoring.wait_for(("KmodkeepNextBootLosesDriver", name, "resolved"))
