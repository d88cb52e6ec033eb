# SPDX-License-Identifier: MIT
"""What a real kmemd tells a journal, that is a fake in a mount namespace of this test's own."""

import os
import signal
import socket
import struct
import sys
import unittest

from harness import Daemon, Directory, Worker, soon

JOURNAL = "/run/systemd/journal/socket"


def fields(entry):
    """Of the journal's protocol."""
    found = {}
    while entry:
        line, entry = entry.split(b"\n", 1)
        name, equals, value = line.partition(b"=")
        if not equals:
            length = struct.unpack("<Q", entry[:8])[0]
            value, entry = entry[8:8 + length], entry[8 + length + 1:]
        found[name.decode()] = value.decode()
    return found


class Journal:
    """Listens, if it is asked to, and keeps what comes; stderr is a pipe of its own."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(JOURNAL)
        os.chmod(JOURNAL, 0o666)  # as the journal does, for kmemd is not root
        self.socket.setblocking(False)
        self.read_end, self.stderr = os.pipe()
        os.set_blocking(self.read_end, False)
        status = os.fstat(self.stderr)
        self.environment = {**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        self.entries = []

    def close(self):
        self.socket.close()
        os.unlink(JOURNAL)
        os.close(self.stderr)
        os.close(self.read_end)

    def hear(self):
        try:
            while True:
                self.entries.append(fields(self.socket.recv(65536)))
        except BlockingIOError:
            return self.entries

    def fill(self):
        """Until there is no room for another entry."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.setblocking(False)
            try:
                while True:
                    other.sendto(b"MESSAGE=\nSEGMENT=video\n", JOURNAL)
            except BlockingIOError:
                pass

    def find(self, words):
        return next((entry for entry in self.hear() if words in entry["MESSAGE"]), None)

    def lines(self):
        try:
            return os.read(self.read_end, 65536).decode()
        except BlockingIOError:
            return ""


class TestJournal(unittest.TestCase):
    def setUp(self):
        self.enterContext(Directory())
        self.journal = Journal()
        self.addCleanup(self.journal.close)
        self.daemon = self.enterContext(Daemon(
            "video", level="info", stderr=self.journal.stderr, env=self.journal.environment))

    def kill_one(self):
        worker = Worker(self.daemon, "allocate", "70000", "video\nframe", "allocate", "44", "index")
        worker.process.send_signal(signal.SIGKILL)
        worker.stop()
        return worker.process.pid

    def test_a_client_that_has_ended_is_told_with_fields(self):
        pid = self.kill_one()
        entry = soon(lambda: self.journal.find(f"client {pid} "))
        self.assertEqual({name: entry[name] for name in entry if name != "MESSAGE"}, {
            "PRIORITY": "6", "SYSLOG_IDENTIFIER": "kmemd", "SEGMENT": "video",
            "CLIENT_PID": str(pid), "REASON": "video\nframe", "BYTES": "70044"})
        self.assertEqual(self.journal.lines(), "")

    def test_every_line_says_the_segment(self):
        self.kill_one()
        soon(lambda: self.journal.find("client "))
        self.assertEqual({entry["SEGMENT"] for entry in self.journal.hear()}, {"video"})

    def test_a_journal_that_reads_nothing_keeps_no_client_waiting(self):
        self.journal.fill()
        self.kill_one()
        soon(lambda: self.daemon.ask("usage")["statistics"]["log_lines_dropped"] > 0)
        self.assertEqual(self.journal.lines(), "")
        self.journal.hear()
        self.kill_one()
        soon(lambda: self.journal.find("lines were dropped"))


if __name__ == "__main__":
    if os.environ.get("KMEM_NAMESPACE") is None:
        # Nothing of the machine's /run is touched: a file system of this process is in its place.
        as_root = [] if os.getuid() == 0 else ["--map-root-user"]
        line = 'mount -t tmpfs none /run && mkdir -p /run/systemd/journal && exec "$@"'
        os.execvpe("unshare", ["unshare", "--mount", *as_root, "sh", "-c", line, "sh",
                               sys.executable, *sys.orig_argv[1:]],
                   {**os.environ, "KMEM_NAMESPACE": "1"})
    sys.exit(unittest.main(verbosity=2))
