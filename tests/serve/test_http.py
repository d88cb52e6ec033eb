# SPDX-License-Identifier: MIT
"""What `kmemctl serve` answers, to whom, and what it refuses."""

import concurrent.futures
import json
import os
import re
import signal
import socket
import subprocess
import sys
import unittest

from harness import BIN, PATIENCE_S, Daemon, Directory, Serve, Worker, soon

HOSTILE = ["\x1b]0;owned\x07", 'a"} 1\nkmemd_up{segment="x', b"caf\xe9", "back\\slash", "映像",
           "other", "\u202egnp.exe"]


def promtool(text):
    """What promtool has to say of it; None: nothing."""
    said = subprocess.run(["promtool", "check", "metrics"], input=text.encode(),
                          capture_output=True, timeout=PATIENCE_S)
    return None if said.returncode == 0 and not said.stderr else said.stderr.decode()


class TestMetrics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = cls.enterClassContext(Directory())
        cls.video = cls.enterClassContext(Daemon("video"))
        cls.audio = cls.enterClassContext(Daemon("audio", "16MiB", "--quota", "8MiB"))
        words = []
        for number, reason in enumerate(HOSTILE):
            words += ["allocate", str(1000 + number), reason]
        cls.enterClassContext(Worker(cls.video, "allocate", "1000000", "video/capture", *words))
        cls.serve = cls.enterClassContext(Serve("--socket", cls.video.socket, "--socket",
                                                cls.audio.socket, "--reasons", "5"))

    def test_promtool_finds_nothing_wrong(self):
        self.assertIsNone(promtool(self.serve.get("/metrics")))

    def test_every_figure_and_limit_of_the_daemon_is_there(self):
        series = self.serve.series_of("video", "audio")
        usage = self.video.ask("usage", "--all")
        for name, said in usage["explanations"].items():
            metric = "kmemd_" + name.replace("_ms", "_seconds")
            metric += "_total" if said["kind"] == "counter" else ""
            self.assertIn(f'{metric}{{segment="video"}}', series)
        self.assertEqual(series['kmemd_used_bytes{segment="video"}'],
                         usage["statistics"]["used_bytes"])
        self.assertEqual(series['kmemd_limit_bytes{segment="audio",limit="quota"}'], 8 << 20)
        self.assertEqual(series['kmemd_limit_bytes{segment="video",limit="quota"}'], float("inf"))
        self.assertEqual(series['kmemd_limit_used{segment="video",limit="clients"}'], 1)

    def test_openmetrics_comes_to_those_that_take_it(self):
        _, headers, text = self.serve.request("/metrics", headers={
            "Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"})
        self.assertRegex(headers["Content-Type"], "^application/openmetrics-text; version=1")
        self.assertTrue(text.endswith("# EOF\n"))
        self.assertEqual(text.count("# EOF"), 1)
        _, headers, text = self.serve.request("/metrics", headers={"Accept": "*/*"})
        self.assertRegex(headers["Content-Type"], "^text/plain; version=0.0.4")
        self.assertNotIn("# EOF", text)

    def test_hostile_reasons_stay_in_their_quotes(self):
        text = self.serve.get("/metrics")
        label = r'[a-z]+="([^"\\\n]|\\["\\n])*"'
        line = re.compile(rf'# (TYPE|HELP) .*|kmemd_[a-z_]+\{{({label},?)+\}} [0-9.+Inf]+')
        for each in text.rstrip("\n").split("\n"):
            self.assertRegex(each, line)
        self.assertEqual(text.count("\nkmemd_up{"), 2)

    def test_reasons_beyond_the_largest_are_other(self):
        series = self.serve.series_of("video")
        sizes = {key: value for key, value in series.items()
                 if key.startswith('kmemd_reason_bytes{segment="video"')}
        self.assertLessEqual(len(sizes), 6)
        self.assertIn('kmemd_reason_bytes{segment="video",reason="other"}', sizes)
        self.assertEqual(sum(sizes.values()), series['kmemd_used_bytes{segment="video"}'])

    def test_refusals_are_counted_by_why(self):
        asked = 'kmemd_refused_total{segment="audio",asked="block",why="quota"}'
        with self.assertRaises(AssertionError):  # its failure handler ends it
            Worker(self.audio, "allocate", str(9 << 20), "too much")
        soon(lambda: self.serve.series().get(asked) == 1)


class TestApi(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.enterClassContext(Directory())
        cls.video = cls.enterClassContext(Daemon("video"))
        words = []
        for number in range(10):
            words += ["allocate", str(100 + number), f"video/{number}"]
        cls.enterClassContext(Worker(cls.video, *words))
        cls.serve = cls.enterClassContext(Serve("--socket", cls.video.socket))

    def test_each_list_is_what_kmemctl_prints(self):
        for topic in ("ledger", "blocks", "clients", "names", "holders", "limits",
                      "refusals", "leaks", "obituaries"):
            served = self.serve.json(f"/api/v1/{topic}")
            printed = self.video.ask(topic)
            self.assertEqual(list(served), list(printed))
            self.assertEqual(*(json.dumps([sorted(row) for row in said[topic]])
                               for said in (served, printed)))
        self.assertEqual(self.serve.json("/api/v1/usage?all=1")["explanations"],
                         self.video.ask("usage", "--all")["explanations"])

    def test_blocks_come_in_pages(self):
        offsets = []
        after = 0
        while page := self.serve.json(f"/api/v1/blocks?top=3&after={after}")["blocks"]:
            self.assertLessEqual(len(page), 3)
            offsets += [block["offset"] for block in page]
            after = offsets[-1]
        self.assertEqual(len(offsets), 10)
        self.assertEqual(offsets, sorted(set(offsets)))

    def test_parameters_choose_and_sort(self):
        chosen = "reason=video/*&larger-than=105&sort=bytes"
        blocks = self.serve.json(f"/api/v1/blocks?{chosen}")["blocks"]
        self.assertEqual([block["num_bytes"] for block in blocks], [109, 108, 107, 106])
        self.assertEqual(self.serve.json("/api/v1/blocks?reason=no+such%2F*")["blocks"], [])

    def test_what_can_not_be_meant_is_refused_with_a_sentence(self):
        for path, status, sentence in (
                ("/api/v1/blocks?top=x", 400, "top: takes a number"),
                ("/api/v1/blocks?colour=red", 400, 'has no parameter "colour"'),
                ("/api/v1/blocks?sort=weight", 400, "there is no column"),
                ("/api/v1/usage?segment=moon", 404, "no such segment"),
                ("/api/v1/run", 404, "nothing here"),
                ("/api/v1/", 404, "nothing here"),
                ("/../etc/passwd", 404, "nothing here")):
            got, headers, text = self.serve.request(path)
            self.assertEqual(got, status, path)
            self.assertIn(sentence, json.loads(text)["error"])
            self.assertEqual(headers["X-Content-Type-Options"], "nosniff")

    def test_a_parameter_without_a_value_is_an_empty_one(self):
        for path, status, sentence in (("/api/v1/blocks?top", 400, "top: takes a number"),
                                       ("/api/v1/blocks?segment", 404, "no such segment")):
            got, _, text = self.serve.request(path)
            self.assertEqual(got, status, path)
            self.assertIn(sentence, json.loads(text)["error"])

    def test_a_request_that_names_no_host_is_from_no_browser(self):
        with socket.create_connection(self.serve.address.split(":"), PATIENCE_S) as peer:
            peer.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            self.assertIn(b" 200 OK", peer.makefile("rb").readline())

    def test_more_questions_than_are_asked_in_a_second_wait_for_their_turn(self):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            said = list(pool.map(lambda n: self.serve.json(f"/api/v1/blocks?top={n}"),
                                 range(1, 41)))
        self.assertEqual([len(one["blocks"]) for one in said], [min(n, 10) for n in range(1, 41)])

    def test_only_get_and_head_are_served(self):
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "NONSENSE"):
            status, headers, _ = self.serve.request("/metrics", method, body=b"x" * 100)
            self.assertEqual(status, 405, method)
            self.assertEqual(headers["Allow"], "GET, HEAD")
        status, headers, text = self.serve.request("/metrics", "HEAD")
        self.assertEqual((status, text), (200, ""))
        self.assertGreater(int(headers["Content-Length"]), 100)

    def test_another_name_for_this_address_is_refused(self):
        for host in ("evil.example", "evil.example:9464", "localhost.evil.example", ""):
            self.assertEqual(self.serve.request("/", headers={"Host": host})[0], 421, host)
        for host in ("localhost", "127.0.0.1:1", "[::1]:9464"):
            self.assertEqual(self.serve.request("/", headers={"Host": host})[0], 200, host)

    def test_no_other_origin_is_let_in(self):
        for path in ("/", "/metrics", "/api/v1/usage"):
            _, headers, _ = self.serve.request(path, headers={"Origin": "http://evil.example"})
            self.assertNotIn("Access-Control-Allow-Origin", headers)
            self.assertEqual(headers["Cross-Origin-Resource-Policy"], "same-origin")
            self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
            self.assertIn("frame-ancestors 'none'", headers["Content-Security-Policy"])

    def test_a_request_has_a_largest_size(self):
        for request in (b"GET /" + b"x" * 100000 + b" HTTP/1.1\r\n\r\n",
                        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100000 + b"\r\n\r\n",
                        b"\0" * 1000 + b"\r\n\r\n", b"GET\r\n\r\n"):
            with socket.create_connection(self.serve.address.split(":"), PATIENCE_S) as peer:
                try:
                    peer.sendall(request)
                    peer.shutdown(socket.SHUT_WR)
                    answer = peer.recv(1000)
                except ConnectionError:
                    answer = b""
                self.assertNotIn(b" 200 ", answer)
        self.assertEqual(self.serve.request("/")[0], 200)

    def test_peers_that_say_nothing_keep_no_other_from_an_answer(self):
        silent = [socket.create_connection(self.serve.address.split(":")) for _ in range(100)]
        self.assertEqual(self.serve.request("/metrics")[0], 200)
        for peer in silent:
            peer.close()

    def test_sixty_observers_at_once_are_all_answered(self):
        with concurrent.futures.ThreadPoolExecutor(60) as pool:
            said = list(pool.map(lambda n: self.serve.get(
                ("/metrics", "/api/v1/usage", "/api/v1/ledger")[n % 3]) != "", range(60)))
        self.assertEqual(said, [True] * 60)


class TestSilence(unittest.TestCase):
    """Peers that let the server wait; the ten seconds that it does begin before all other tests."""

    def test_a_peer_that_sends_nothing_more_is_cut(self):
        for peer in silent.peers:
            self.assertEqual(peer.recv(1000), b"")
        self.assertEqual(silent.serve.request("/metrics")[0], 200)


class Silent:
    def __init__(self):
        self.serve = Serve("--segment", "none")
        self.peers = [socket.create_connection(self.serve.address.split(":"), PATIENCE_S)
                      for _ in range(3)]
        self.peers[1].sendall(b"GET / HT")
        self.peers[2].sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")

    def close(self):
        for peer in self.peers:
            peer.close()
        self.serve.stop()


def setUpModule():
    global silent
    silent = Silent()
    unittest.addModuleCleanup(silent.close)


class TestDaemons(unittest.TestCase):
    """Segments that come, hang, go and begin anew."""

    def setUp(self):
        self.enterContext(Directory())
        self.video = self.enterContext(Daemon("video"))
        # Those that hang are not to be replaced, however long a busy machine takes.
        self.audio = Daemon("audio", "32MiB", "--watchdog", "0")
        self.addCleanup(lambda: self.audio.stop())
        self.serve = self.enterContext(Serve("--segment", "video", "--segment", "audio",
                                             env={**os.environ, "KMEM_TIMEOUT_MS": "60000"}))

    def up(self, name):
        return self.serve.series()[f'kmemd_up{{segment="{name}"}}']

    def test_one_that_hangs_keeps_no_answer_waiting_and_is_asked_once(self):
        self.audio.signal_server(signal.SIGSTOP)
        try:
            with concurrent.futures.ThreadPoolExecutor(20) as pool:
                said = list(pool.map(lambda n: self.serve.series_of("video"), range(100)))
            self.assertEqual(said[-1]['kmemd_up{segment="audio"}'], 0)
            self.assertEqual(self.serve.request("/api/v1/usage?segment=audio")[0], 503)
            self.serve.get("/api/v1/usage?segment=video")
        finally:
            self.audio.signal_server(signal.SIGCONT)
        soon(lambda: self.up("audio") == 1)
        # The hundred were one question of four parts, and so are those since, one a second.
        self.assertLess(self.audio.ask("usage")["statistics"]["requests"], 200)

    def test_one_that_has_ended_is_down_until_there_is_one_again(self):
        self.serve.series_of("video", "audio")
        self.audio.stop()
        soon(lambda: self.up("audio") == 0)
        self.assertEqual(self.serve.request("/api/v1/ledger?segment=audio")[0], 503)
        soon(lambda: {row["name"]: row["state"] for row in self.serve.segments()} ==
             {"video": "running", "audio": "no daemon"})
        self.audio = Daemon("audio")
        self.serve.series_of("video", "audio")

    def test_one_that_hangs_is_asked_no_more_than_there_are_places_for(self):
        self.audio.signal_server(signal.SIGSTOP)
        try:
            path = "/api/v1/blocks?segment=audio&top="
            with concurrent.futures.ThreadPoolExecutor(40) as pool:
                said = list(pool.map(lambda n: self.serve.request(f"{path}{n}"), range(1, 41)))
            for status, _, text in said:
                self.assertEqual(status, 503)
                self.assertIn("did not answer in time", json.loads(text)["error"])
            states = {row["name"]: row["state"] for row in self.serve.segments()}
            self.assertEqual(states["video"], "running")
            self.assertNotEqual(states["audio"], "running")
        finally:
            self.audio.signal_server(signal.SIGCONT)
        soon(lambda: self.serve.request(f"{path}1")[0] == 200)

    def test_sigterm_ends_it_even_while_a_daemon_hangs(self):
        self.audio.signal_server(signal.SIGSTOP)
        try:
            self.serve.get("/metrics")
            self.assertEqual(self.serve.stop(), 0)
        finally:
            self.audio.signal_server(signal.SIGCONT)

    def test_all_that_are_there_are_found_and_those_that_come_later(self):
        with Serve() as serve:
            names = {row["name"] for row in serve.segments()}
            self.assertLessEqual({"audio", "video"}, names)
            with Daemon("later"):
                soon(lambda: serve.series().get('kmemd_up{segment="later"}') == 1)

    def test_two_of_one_name_are_told_apart(self):
        with Directory(), Daemon("video") as other, \
                Serve("--socket", self.video.socket, "--socket", other.socket) as serve:
            names = [row["name"] for row in serve.segments()]
            self.assertEqual(names, ["video", other.socket])
            self.assertIsNone(promtool(serve.get("/metrics")))


class TestCommandLine(unittest.TestCase):
    def run_serve(self, *words):
        return subprocess.run([f"{BIN}/kmemctl", *words], capture_output=True, text=True,
                              timeout=PATIENCE_S)

    def test_where_other_machines_reach_it_it_listens_only_if_told_to(self):
        for address in ("0.0.0.0:0", "[::]:0", "192.0.2.1:9464"):
            said = self.run_serve("serve", "--listen", address)
            self.assertEqual(said.returncode, 2)
            self.assertIn("--allow-remote", said.stderr)
        with Serve("--listen", "0.0.0.0:0", "--allow-remote", "--host", "kmem.example") as serve:
            port = serve.address.split(":")[1]
            serve.address = f"127.0.0.1:{port}"
            self.assertEqual(serve.request("/", headers={"Host": "kmem.example"})[0], 200)
            self.assertEqual(serve.request("/", headers={"Host": "evil.example"})[0], 421)

    def test_what_can_not_be_meant_is_named(self):
        for words, sentence in ((("--listen", "moon"), "--listen takes an address"),
                                (("--reasons", "0"), "--reasons takes a number"),
                                (("--reasons", "201"), "--reasons takes a number"),
                                (("--reasons", "some"), "--reasons takes a number"),
                                (("--reasons", "9x"), "--reasons takes a number"),
                                (("--segment", "a/b"), "--segment takes the name"),
                                (("--segment", "a") * 65, "--segment: no more than 64"),
                                (("--socket", "/a") * 65, "--socket: no more than 64"),
                                (("--host", "a") * 65, "up to 64"),
                                (("--segment", ""), "--segment takes the name"),
                                (("--socket", ""), "--socket takes a path"),
                                (("--host", ""), "--host takes a name"),
                                (("moon",), 'what is "moon"?')):
            said = self.run_serve("serve", *words)
            self.assertEqual((said.returncode, said.stdout), (2, ""))
            self.assertIn(sentence, said.stderr)
        said = self.run_serve("--watch", "1", "serve")
        self.assertEqual(said.returncode, 2)
        self.assertIn("--watch means nothing to it", said.stderr)

    def test_a_port_that_is_taken_is_said(self):
        with Serve() as serve:
            said = self.run_serve("serve", "--listen", serve.address)
            self.assertEqual(said.returncode, 1)
            self.assertIn("--listen HOST:PORT chooses another port", said.stderr)

    def test_a_socket_of_a_service_manager_goes_before_the_option(self):
        with Directory(), Daemon("video") as video:
            opened = self.enterContext(socket.create_server(("127.0.0.1", 0)))
            fd = opened.fileno()
            line = f'exec 3<&{fd}; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"'
            become = ["bash", "-c", line, "bash"]
            with Serve("--socket", video.socket, pass_fds=[fd], before=become) as serve:
                self.assertEqual(serve.address, "127.0.0.1:%d" % opened.getsockname()[1])
                serve.series_of("video")

    def test_a_socket_of_a_service_manager_is_taken_as_it_is_meant(self):
        with Directory():
            # Of another process, or more than one: none is passed.
            for environment in ({"LISTEN_FDS": "1", "LISTEN_PID": "1"}, {"LISTEN_FDS": "1"},
                                {"LISTEN_PID": "1"}):
                with Serve(env={**os.environ, **environment}) as serve:
                    self.assertEqual(serve.request("/")[0], 200)
            for number, text in (("2", "http://127.0.0.1:"),
                                 ("1", "cannot serve on what was passed: ")):
                line = 'exec 3<&-; LISTEN_FDS=$1 LISTEN_PID=$$ exec "${@:2}"'
                server = subprocess.Popen(
                    ["bash", "-c", line, "bash", number, f"{BIN}/kmemctl", "serve", "--listen",
                     "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                self.assertIn(text, server.stdout.readline())
                server.terminate()
                server.communicate(timeout=PATIENCE_S)

    def test_a_segment_is_called_as_the_file_of_its_socket(self):
        for runtime in ("", "/nonexistent"):
            with Serve("--segment", "none", "--socket", "relative", "--socket", "/a/b.socket",
                       "--socket", "/c/b.sock", "--socket", "/c/b.sock", "--socket", "/x",
                       env={**os.environ, "XDG_RUNTIME_DIR": runtime}) as serve:
                rows = {row["name"]: row["socket"] for row in serve.segments()}
            self.assertEqual(rows, {"none": "/run/kmemd/none.sock", "relative": "relative",
                                    "b.socket": "/a/b.socket", "b": "/c/b.sock", "x": "/x"})

    def test_more_segments_than_there_are_places_for_are_not_served(self):
        with Directory() as directory:
            os.mkdir(f"{directory.path}/kmemd")
            for number in range(65):
                with socket.socket(socket.AF_UNIX) as nobody:
                    nobody.bind(f"{directory.path}/kmemd/{number:02}.sock")
            with Serve(stderr=subprocess.PIPE) as serve:
                self.assertIn("more than 64 segments", serve.process.stderr.readline())
                self.assertEqual(len(serve.segments()), 64)

    def test_help_is_printed(self):
        said = self.run_serve("serve", "--help")
        self.assertEqual((said.returncode, said.stderr), (0, ""))
        for word in ("--listen=HOST:PORT", "--allow-remote", "/metrics"):
            self.assertIn(word, said.stdout)

    def test_it_listens_at_an_address_of_ipv6(self):
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError as error:
            self.skipTest(f"no IPv6: {error}")
        with Serve("--listen", "[::1]:0") as serve:
            self.assertRegex(serve.address, r"^\[::1\]:[0-9]+$")
            self.assertEqual(serve.request("/")[0], 200)

    def test_options_before_the_command_are_its_own(self):
        with Directory(), Daemon("video"):
            with Serve(program=[f"{BIN}/kmemctl", "--segment", "video", "serve"]) as serve:
                self.assertEqual([row["name"] for row in serve.segments()], ["video"])


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
