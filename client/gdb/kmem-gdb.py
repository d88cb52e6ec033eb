# SPDX-License-Identifier: MIT
"""kmem in gdb: what a pointer into a kmemd segment is, from the process's own memory alone.

    (gdb) source /usr/share/kmemd/kmem-gdb.py
    (gdb) kmem why frame
    (gdb) kmem why 0x7f0012340000
    (gdb) kmem ledger
    (gdb) print handle

It reads the ledger that the process keeps of its leases, as proto/ledger.h lays it out, and asks no
daemon: it works when that is gone, and on a core that has the ledger (KMEM_CORE=ledger or
KMEM_CORE=blocks in the program's environment). What the daemon carved on request, direct blocks, is
in the daemon's own ledger: "kmemctl why PID:ADDRESS" knows those while it lives.
"""
import re
import struct

import gdb

MAGIC = 0x7265_6764_656C_6D6B
LAYOUT = 0xCFB9_8CBE_86BE_6138  # ledger_layout_signature()
PAGE_SHIFT = 14
PAGE_BYTES = 1 << PAGE_SHIFT
SKEW = 0xC00
COUNTS_BYTES = 16384
RETURNS_BYTES = 128 + 8 * 1024
HEAD_BYTES = 32
ENTRY_BYTES = 16
REASONS_MAX = 65536
REASON_BYTES = 128
CLOCK_TICK_AT = SKEW + 0x80
TICK_MS = 100
TICK_STOPPED = 0xFFFF_FFFF
STATES = {0: "not this process's", 1: "leased and in no use", 2: "in use", 3: "taken back"}
USED = 2
SLAB = 8
HEAD_SLAB, HEAD_LARGE, HEAD_INTERIOR, HEAD_WITHIN = 1, 2, 3, 6
# Of each size class: bytes of a block, pages of a slab, plane.
CLASSES = [
    (16, 1, 3), (32, 1, 3), (48, 1, 3), (64, 1, 2), (128, 1, 2), (192, 1, 2), (256, 1, 1),
    (320, 1, 1), (384, 1, 1), (448, 1, 1), (512, 1, 1), (640, 1, 1), (768, 1, 1), (896, 1, 1),
    (1024, 1, 0), (1280, 1, 0), (1536, 1, 0), (1792, 1, 0), (2048, 1, 0), (2560, 1, 0),
    (3072, 1, 0), (3584, 2, 0), (4096, 1, 0), (5120, 1, 0), (6144, 2, 0), (7168, 4, 0),
    (8192, 1, 0), (10240, 2, 0), (12288, 3, 0), (14336, 7, 0), (16384, 1, 0), (20480, 4, 0),
    (24576, 3, 0), (28672, 7, 0), (32768, 2, 0), (40960, 5, 0), (49152, 3, 0), (57344, 7, 0),
    (65536, 4, 0),
]  # fmt: skip
MEMFD = re.compile(r"/memfd:kmemd:([^:]*):(segment|ledger|clock)\b")


class NotThere(Exception):
    """What is asked for is not in this process, or not in this core."""


def read(at, n_bytes):
    try:
        return bytes(gdb.selected_inferior().read_memory(at, n_bytes))
    except gdb.MemoryError:
        raise NotThere(
            "0x%x can not be read: it is not in the core; a program that runs with "
            "KMEM_CORE=ledger (or =blocks) in its environment leaves one that has it" % at
        ) from None


def mappings():
    """Each mapping of a segment's files: (begin, end, offset, segment's name, which file)."""
    found = []
    for line in gdb.execute("info proc mappings", to_string=True).splitlines():
        words = line.split()
        name = MEMFD.search(line)
        if name and len(words) >= 4 and words[0].startswith("0x"):
            # Older gdb: begin end size offset file; newer: with permissions behind the offset.
            found.append((int(words[0], 16), int(words[1], 16), int(words[3], 16), *name.groups()))
    return found


class Segment:
    """One segment of the process, with the ledger that the process keeps of it."""

    def __init__(self, name, maps):
        self.name = name
        self.maps = sorted(m for m in maps if m[3] == name)
        bases = [m[0] - m[2] for m in self.maps if m[4] == "segment"]
        ledgers = [m[0] - m[2] for m in self.maps if m[4] == "ledger"]
        clocks = [m[0] - m[2] for m in self.maps if m[4] == "clock"]
        self.base = bases[0] if bases else None
        self.ledger = ledgers[0] if ledgers else None
        self.clock = clocks[0] if clocks else None

    def open(self):
        if self.ledger is None:
            raise NotThere("this process maps no ledger of segment \"%s\"" % self.name)
        magic, layout, self.n_pages, self.n_reasons = struct.unpack("<4Q", read(self.ledger, 32))
        if magic != MAGIC:
            raise NotThere("what is mapped as the ledger of \"%s\" is none" % self.name)
        if layout != LAYOUT:
            raise NotThere(
                "the ledger of \"%s\" has another layout (%#x): use the kmem-gdb.py that came with "
                "that libkmem" % (self.name, layout)
            )
        self.lay_out()

    def lay_out(self):
        at = 0

        def reserve(n_bytes):
            nonlocal at
            begin = at
            at = (begin + n_bytes + 4095) & ~4095
            return begin

        reserve(64)
        reserve(COUNTS_BYTES)
        reserve(RETURNS_BYTES)
        self.states_at = reserve(SKEW + (self.n_pages + 7) // 8 * 8) + SKEW
        self.heads_at = reserve(self.n_pages * HEAD_BYTES)
        self.plane_at = []
        for plane in range(4):
            n_entries = self.n_pages << (4 + 2 * plane)
            self.plane_at.append(reserve(SKEW + n_entries * ENTRY_BYTES) + SKEW)
        self.reasons_at = reserve(REASONS_MAX * REASON_BYTES)

    def offset_of(self, address):
        """The offset of an address in the segment, or None."""
        for begin, end, offset, _, kind in self.maps:
            if kind == "segment" and begin <= address < end:
                return offset + address - begin
        return None

    def state(self, page):
        return read(self.ledger + self.states_at + page, 1)[0]

    def head(self, page):
        """(kind, span_pages, size_class, back, n_carved)"""
        raw = read(self.ledger + self.heads_at + page * HEAD_BYTES, HEAD_BYTES)
        kind, span, size_class, back, _, n_carved = struct.unpack("<IIHHHH", raw[:16])
        return kind, span, size_class, back, n_carved

    def entries(self, page, plane, first, n_entries):
        at = self.plane_at[plane] + ((page << (4 + 2 * plane)) + first) * ENTRY_BYTES
        raw = read(self.ledger + at, n_entries * ENTRY_BYTES)
        return [struct.unpack_from("<QI", raw, i * ENTRY_BYTES) for i in range(n_entries)]

    def reason(self, index):
        if index == 0:
            return "<no reason given>"
        if index == 1 or index >= self.n_reasons:
            return "<other reasons>"
        raw = read(self.ledger + self.reasons_at + index * REASON_BYTES, REASON_BYTES)
        return escape(raw[1 : 1 + min(raw[0], 127)])

    def now(self):
        """The tick of this moment; None: the core does not have it."""
        try:
            tick, _, last = struct.unpack("<3I", read(self.clock + CLOCK_TICK_AT, 12))
            return last if tick == TICK_STOPPED else tick
        except (NotThere, TypeError):
            return None

    def slab_of(self, page):
        """(first page, pages, bytes of a block, plane, n_carved) of what a page in use is of."""
        for at in stretches(page):
            kind, span, size_class, back, n_carved = self.head(at)
            if kind == HEAD_INTERIOR:
                at -= back
                kind, span, size_class, back, n_carved = self.head(at)
            elif kind == HEAD_WITHIN:
                at -= span
                kind, span, size_class, back, n_carved = self.head(at)
            if kind == HEAD_LARGE and at <= page < at + span and not self.state(page) & SLAB:
                return at, span, span << PAGE_SHIFT, 0, 1
            if kind == HEAD_SLAB and size_class < len(CLASSES) and self.state(page) & SLAB:
                block_bytes, pages, plane = CLASSES[size_class]
                if at <= page < at + pages:
                    return at, pages, block_bytes, plane, n_carved
        return None


def stretches(page):
    while page > 0:
        yield page
        page &= page - 1


def escape_one(code):
    return "\\x%02x" % code if code < 0x100 else "\\u%04x" % code


def escape(raw):
    text = raw.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else escape_one(ord(c)) for c in text)


def sizes(n_bytes):
    return "%s bytes" % format(n_bytes, ",")


def age(born, now):
    if now is None:
        return ""
    return ", %.1f s old" % (max(0, now - born) * TICK_MS / 1000)


def segments():
    maps = mappings()
    found = [Segment(name, maps) for name in sorted({m[3] for m in maps})]
    if not found:
        raise NotThere("this process has joined no kmemd segment, or its core does not say so")
    return found


def split_word(word):
    return word & ((1 << 40) - 1), (word >> 40) & ((1 << 23) - 1)


def story(segment, offset):
    """What an offset is, in lines."""
    yield "offset 0x%x of segment \"%s\"" % (offset, segment.name)
    segment.open()
    page = offset >> PAGE_SHIFT
    state = segment.state(page) & 3
    if state != USED:
        if state == 0:
            yield (
                "in a page that this process does not lease: a direct block, of it or another, or "
                "another's lease; \"kmemctl why\" knows while the daemon lives"
            )
        else:
            yield "in a page that is %s: no block is there" % STATES[state]
        return
    slab = segment.slab_of(page)
    if slab is None:
        yield "in a page in use, of which the ledger says nothing"
        return
    first, _, block_bytes, plane, n_carved = slab
    within = offset - (first << PAGE_SHIFT)
    index = within // block_bytes
    place = (first << PAGE_SHIFT) + index * block_bytes
    yield "place %d of a slab of blocks of %s at 0x%x" % (
        index, sizes(block_bytes), first << PAGE_SHIFT
    )  # fmt: skip
    if index >= n_carved:
        yield "no block was there yet"
        return
    try:
        word, born = segment.entries(first, plane, index, 1)[0]
    except NotThere:
        if plane < 2:
            raise
        yield "its entry is in no core: those of blocks of up to 192 bytes are left out"
        return
    num_bytes, reason = split_word(word)
    if num_bytes == 0:
        yield "no block is there now: it was released"
    elif offset - place < num_bytes:
        yield "byte %d of a block of %s" % (offset - place, sizes(num_bytes))
    else:
        yield "%d bytes behind the end of a block of %s: out of bounds" % (
            offset - place - num_bytes, sizes(num_bytes)
        )  # fmt: skip
    if num_bytes:
        yield "\"%s\"%s%s" % (
            segment.reason(reason), age(born, segment.now()), ", shared" if word >> 63 else ""
        )  # fmt: skip


def roll_up(segment):
    """{reason: [blocks, bytes]} of what the process carved itself, and what is missing."""
    segment.open()
    sums = {}
    n_missing = 0
    states = read(segment.ledger + segment.states_at, segment.n_pages)
    page = 1
    while page < segment.n_pages:
        if states[page] & 3 != USED:
            page += 1
            continue
        slab = segment.slab_of(page)
        if slab is None or slab[0] != page:
            page += 1
            continue
        first, span, _, plane, n_carved = slab
        try:
            for word, _ in segment.entries(first, plane, 0, n_carved) if n_carved else []:
                num_bytes, reason = split_word(word)
                if num_bytes:
                    row = sums.setdefault(segment.reason(reason), [0, 0])
                    row[0] += 1
                    row[1] += num_bytes
        except NotThere:
            n_missing += 1
        page += span
    return sums, n_missing


class Kmem(gdb.Command):
    """kmemd segments of this process, or core: kmem why ADDRESS, kmem ledger."""

    def __init__(self):
        super().__init__("kmem", gdb.COMMAND_DATA, prefix=True)


class KmemWhy(gdb.Command):
    """kmem why ADDRESS: what is that byte of a segment? ADDRESS is an expression."""

    def __init__(self):
        super().__init__("kmem why", gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def invoke(self, argument, from_tty):
        if not argument:
            raise gdb.GdbError("kmem why takes an address, or a pointer")
        address = int(gdb.parse_and_eval(argument).cast(gdb.lookup_type("unsigned long")))
        try:
            for segment in segments():
                offset = segment.offset_of(address)
                if offset is not None:
                    for line in story(segment, offset):
                        print(line)
                    return
        except NotThere as error:
            raise gdb.GdbError(str(error)) from None
        raise gdb.GdbError("0x%x is in no kmemd segment of this process" % address)


class KmemLedger(gdb.Command):
    """kmem ledger: what the live blocks are for that this process carved from its leases."""

    def __init__(self):
        super().__init__("kmem ledger", gdb.COMMAND_DATA, gdb.COMPLETE_NONE)

    def invoke(self, argument, from_tty):
        try:
            for segment in segments():
                sums, n_missing = roll_up(segment)
                print("segment \"%s\": blocks that this process carved itself" % segment.name)
                for reason, row in sorted(sums.items(), key=lambda item: -item[1][1]):
                    print("%14s %10d  %s" % (format(row[1], ","), row[0], reason))
                if n_missing:
                    print("and %d slabs whose entries are not in the core" % n_missing)
        except NotThere as error:
            raise gdb.GdbError(str(error)) from None


class HandlePrinter:
    """struct kmem_handle, as kmem_handle_to_text() has it but for host and segment."""

    def __init__(self, value):
        self.value = value

    def to_string(self):
        names = ("offset", "num_bytes", "generation", "tag")
        field = {name: int(self.value[name]) for name in names}
        if field["generation"] == 0:
            return "{no handle}"
        return "{%d+%d@%d/%016x, instance %016x}" % (
            field["offset"], field["num_bytes"], field["generation"], field["tag"],
            int(self.value["instance"]),
        )  # fmt: skip


def look_up(value):
    kind = value.type.strip_typedefs().unqualified()
    return HandlePrinter(value) if kind.tag == "kmem_handle" else None


Kmem()
KmemWhy()
KmemLedger()
gdb.pretty_printers.append(look_up)
