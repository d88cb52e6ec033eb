# SPDX-License-Identifier: MIT
"""Each example of docs/python.md and of the README runs, and prints what it says."""

import os
import re
import subprocess
import sys

import harness

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def examples(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as page:
        return re.findall(r"^```python\n(.*?)^```", page.read(), re.MULTILINE | re.DOTALL)


class Documentation(harness.TestCase):
    def test_examples_print_what_they_say(self):
        programs = examples("docs/python.md") + examples("README.md")
        self.assertGreaterEqual(len(programs), 5)
        for program in programs:
            printed = subprocess.run(
                [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True
            )
            said = re.findall(r"^ *print\(.*# (.*)$", program, re.MULTILINE)
            self.assertEqual(printed.stdout.splitlines(), said, program)
            self.assertNothingHeld()


if __name__ == "__main__":
    harness.main()
