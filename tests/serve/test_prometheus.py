# SPDX-License-Identifier: MIT
"""The alerts and the dashboard that are installed, and a real Prometheus that uses them."""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import unittest
import urllib.parse
import urllib.request

from harness import PATIENCE_S, Daemon, Directory, Process, Serve, Worker, soon

HERE = os.path.dirname(__file__)
FILES = os.environ["KMEM_PROMETHEUS"]
ALERTS = os.path.join(FILES, "alerts.yml")


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


class Prometheus(Process):
    """One that scrapes a server twice a second, and evaluates the alerts without delay."""

    def __init__(self, directory, target):
        rules = os.path.join(directory, "alerts.yml")
        with open(rules, "w", encoding="utf-8") as file:
            file.write(re.sub(r"\bfor: \d+m", "for: 0s", read(ALERTS)))
        config = os.path.join(directory, "prometheus.yml")
        with open(config, "w", encoding="utf-8") as file:
            json.dump({  # which is YAML too
                "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms",
                           "evaluation_interval": "200ms"},
                "rule_files": [rules],
                "scrape_configs": [{"job_name": "kmemd",
                                    "static_configs": [{"targets": [target]}]}]}, file)
        # Its port: bound and not listened on, it is given to no one else, and Prometheus may
        # bind it as well.
        self.reserved = socket.socket()
        self.reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.reserved.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.reserved.getsockname()[1]
        self.log = open(os.path.join(directory, "log"), "w", encoding="utf-8")
        super().__init__(["prometheus", f"--config.file={config}",
                          f"--storage.tsdb.path={directory}/data",
                          f"--web.listen-address={self.address}"],
                         stdout=self.log, stderr=self.log)

    def __exit__(self, *_):
        super().__exit__()
        self.reserved.close()
        self.log.close()

    def ask(self, path, **parameters):
        """Return: what it says; None while it does not."""
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
                return json.load(answer)["data"]
        except OSError:
            if self.process.poll() is not None:
                raise AssertionError("Prometheus has ended") from None
            return None

    def value(self, expression):
        said = self.ask("query", query=expression)
        return float(said["result"][0]["value"][1]) if said and said["result"] else None

    def firing(self):
        said = self.ask("alerts")
        return {(alert["labels"]["alertname"], alert["labels"]["segment"])
                for alert in (said or {"alerts": []})["alerts"] if alert["state"] == "firing"}


class TestFiles(unittest.TestCase):
    def test_promtool_accepts_the_alerts(self):
        subprocess.run(["promtool", "check", "rules", ALERTS], check=True,
                       stdout=subprocess.DEVNULL)

    def test_each_alert_waits_for_what_it_says(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "alerts_test.yml")
            with open(path, "w", encoding="utf-8") as file:
                file.write(read(os.path.join(HERE, "alerts_test.yml"))
                           .replace("- ALERTS", f"- {ALERTS}"))
            subprocess.run(["promtool", "test", "rules", path], check=True,
                           stdout=subprocess.DEVNULL)
        tests = read(os.path.join(HERE, "alerts_test.yml"))
        tested = set(re.findall(r'alertname[=:] ?"?(\w+)', tests))
        self.assertEqual(tested, set(re.findall(r"- alert: (\w+)", read(ALERTS))))

    def test_each_metric_that_they_name_is_served(self):
        with Directory(), Daemon("video") as daemon, \
                Worker(daemon, "allocate", "100", "video"), Serve("--segment", "video") as serve:
            there = {key.split("{")[0] for key in serve.series()}
            # Families without a sample yet: nothing has been refused.
            there |= set(re.findall(r"^# TYPE (\S+)", serve.get("/metrics"), re.MULTILINE))
        dashboard = json.loads(read(os.path.join(FILES, "dashboard.json")))
        shown = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
        alerts = re.findall(r"expr: (?:\|\n)?((?:.*\n)+?) *(?:for|labels):", read(ALERTS))
        self.assertGreater(len(shown), 10)
        self.assertEqual(len(alerts), read(ALERTS).count("- alert:"))
        for expression in shown + alerts:
            for name in re.findall(r"\bkmemd_\w+", expression):
                self.assertIn(name, there)

    def test_no_two_panels_lie_over_each_other(self):
        places = [panel["gridPos"] for panel in
                  json.loads(read(os.path.join(FILES, "dashboard.json")))["panels"]]
        cells = [(x, y) for at in places for x in range(at["x"], at["x"] + at["w"])
                 for y in range(at["y"], at["y"] + at["h"])]
        self.assertEqual(len(cells), len(set(cells)))
        self.assertLess(max(x for x, _ in cells), 24)


class TestPrometheus(unittest.TestCase):
    def test_it_scrapes_two_segments_and_its_alerts_fire(self):
        directory = self.enterContext(Directory()).path
        video = self.enterContext(Daemon("video", "16MiB"))
        audio = Daemon("audio", "16MiB")
        self.addCleanup(lambda: audio.stop())
        self.enterContext(Worker(audio, "allocate", "4096", 'ring "1"\n', "allocate", "64", "\\"))
        serve = self.enterContext(Serve("--segment", "video", "--segment", "audio"))
        prometheus = self.enterContext(Prometheus(directory, serve.address))

        for name in ("video", "audio"):
            soon(lambda: prometheus.value(f'kmemd_up{{segment="{name}"}}') == 1)
        soon(lambda: prometheus.value('kmemd_used_bytes{segment="audio"}') == 4160)
        soon(lambda: prometheus.value(
            r'kmemd_reason_bytes{segment="audio",reason="ring \"1\"\n"}') == 4096)
        soon(lambda: prometheus.value("up") == 1)
        # One that was not up when it was asked first was an alert, until the next evaluation.
        soon(lambda: prometheus.firing() == set())

        # Fourteen fifteenths of it.
        with Worker(video, "allocate", str(15 << 20), "video/frames"):
            soon(lambda: ("KmemdNearlyFull", "video") in prometheus.firing())
        audio.stop()
        soon(lambda: ("KmemdDown", "audio") in prometheus.firing())
        soon(lambda: ("KmemdNearlyFull", "video") not in prometheus.firing())
        audio = Daemon("audio", "16MiB")
        soon(lambda: prometheus.firing() == set())


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
