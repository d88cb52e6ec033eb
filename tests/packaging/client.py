# SPDX-License-Identifier: MIT
"""client.py - a client that does what it reads, line by line, and answers each with one line

    allocate BYTES REASON    "ok", or why not
    check                    how many blocks still hold what was written into them, if all do
    leave                    its end, without an answer
"""
import sys

import kmem

blocks = []


def allocate(num_bytes, reason):
    block = kmem.allocate(int(num_bytes), reason)
    view = memoryview(block)
    view[:] = bytes([len(blocks) + 1]) * len(view)
    blocks.append(block)
    return "ok"


def check():
    for number, block in enumerate(blocks):
        if any(byte != number + 1 for byte in memoryview(block)):
            return f"block {number} holds other bytes"
    return f"{len(blocks)} blocks"


commands = {"allocate": allocate, "check": check}
for line in sys.stdin:
    command, *words = line.split()
    if command == "leave":
        break
    try:
        answer = commands[command](*words)
    except Exception as error:
        answer = f"{type(error).__name__}: {error}"
    print(answer.replace("\n", " "), flush=True)
