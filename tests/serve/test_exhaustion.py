# SPDX-License-Identifier: MIT
"""Every allocation that `kmemctl serve` makes fails, one after the other.

What tests/system/test_client_exhaustion.c does to a client, by the same means: the plan of
tests/system/fault_plan.h, and failing_memory.so. The server answers rightly, or says that it could
not, or closes the connection; it ends only where it begins, with a sentence; and the same again,
with nothing failing, is answered.
"""

import mmap
import os
import socket
import struct
import subprocess
import sys
import unittest

from harness import BIN, PATIENCE_S, TEST_BIN, Daemon, Directory, Serve, Worker

FAULT_MEMORY = 1
FAULT_KEEPER = 0
ARMED_AT = 5 * 4  # after struct fault: kind, role, nth, for_good, only
PLAN_BYTES = 10 * 4  # and then armed, n_calls, n_failed, number, unknown


class Plan:
    """Which allocation is to fail, of a process that is started with .environment."""

    def __init__(self, directory):
        path = os.path.join(directory, "faults")
        with open(path, "w+b") as file:
            file.truncate(PLAN_BYTES)
            self.page = mmap.mmap(file.fileno(), PLAN_BYTES)
        self.environment = {**os.environ, "KMEM_FAULT_PLAN": path,
                            "LD_PRELOAD": f"{TEST_BIN}/failing_memory.so"}

    def arm(self, nth):
        self.disarm()
        self.page[:] = struct.pack("=10I", FAULT_MEMORY, FAULT_KEEPER, nth, 0, 0, 0, 0, 0, 0, 0)
        self.page[ARMED_AT] = 1

    def disarm(self):
        """Return: whether one has failed."""
        self.page[ARMED_AT] = 0
        return struct.unpack("=10I", self.page[:])[7] > 0


class Exhaustion(unittest.TestCase):
    def setUp(self):
        directory = self.enterContext(Directory())
        self.video = self.enterContext(Daemon("video"))
        self.enterContext(Worker(self.video, "allocate", "1000", "video/a", "allocate", "2000",
                                 "video/b"))
        self.plan = Plan(directory.path)

    def ask(self, serve, path):
        """Return: what comes until the connection is closed."""
        with socket.create_connection(serve.address.split(":"), PATIENCE_S) as peer:
            said = b""
            try:
                peer.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                while part := peer.recv(65536):
                    said += part
            except ConnectionError:
                pass
            return said.decode()

    def sweep(self, serve, path, status, text):
        """path % n is asked for, another n each time: an answer is kept for a second."""
        for nth in range(1, 2000):
            self.plan.arm(nth)
            said = self.ask(serve, path.replace("N", str(nth)))
            if not self.plan.disarm():
                break
            head = said.split("\r\n")[0]
            if head == f"HTTP/1.1 {status}":
                self.assertIn(text, said)
            elif head:
                self.assertRegex(head, "^HTTP/1.1 (400|500|503) ")
        self.assertGreater(nth, 1)
        self.assertIn(text, said)
        self.assertEqual(said.split("\r\n")[0], f"HTTP/1.1 {status}")

    def test_a_server_goes_on_whichever_allocation_of_an_answer_fails(self):
        with Serve("--socket", self.video.socket, env=self.plan.environment) as serve:
            for path, status, text in (
                    ("/api/v1/ledger?top=N&reason=*&sort=bytes", "200 OK", "video/b"),
                    ("/api/v1/segments", "200 OK", self.video.socket),
                    ("/metrics", "200 OK", "kmemd_used_bytes"),
                    ("/", "200 OK", "<html"),
                    ("/none", "404 Not Found", "there is nothing here")):
                self.sweep(serve, path, status, text)

    def test_a_server_that_can_not_begin_says_so(self):
        n_failed = 0
        for nth in range(1, 2000):
            self.plan.arm(nth)
            server = subprocess.Popen(
                [f"{BIN}/kmemctl-serve", "--listen", "127.0.0.1:0", "--socket", self.video.socket],
                env=self.plan.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                text=True)
            url = server.stdout.readline()
            has_failed = self.plan.disarm()
            server.terminate()
            _, said = server.communicate(timeout=PATIENCE_S)
            self.assertRegex(f"{server.returncode} {url}{said}",
                             "^(0 http://127.0.0.1:[0-9]+/|1 (.*\n)?kmemctl.serve: .+)\n", nth)
            n_failed += server.returncode
            if not has_failed:
                break
        self.assertEqual(server.returncode, 0)
        self.assertGreater(n_failed, 0)


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
