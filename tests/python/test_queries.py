# SPDX-License-Identifier: MIT
"""What the daemon says of blocks, limits, refusals and groups."""

import os

import kmem

import harness


class Queries(harness.TestCase):
    def reasons(self, **wanted):
        return [row.reason for row in kmem.blocks(**wanted)]

    def test_blocks_are_those_that_are_asked_for(self):
        with kmem.allocate(100, "video/a#1") as a, kmem.allocate(70000, "video/b") as b:
            b.share()
            self.assertEqual(sorted(self.reasons()), ["video/a#1", "video/b"])
            self.assertEqual(self.reasons(reason="video/a"), ["video/a#1"])
            self.assertEqual(self.reasons(reason="*/b", pid=os.getpid()), ["video/b"])
            self.assertEqual(self.reasons(larger_than=100), ["video/b"])
            self.assertEqual(self.reasons(shared=True), ["video/b"])
            self.assertEqual(self.reasons(shared=False), ["video/a#1"])
            self.assertEqual(self.reasons(pid=1), [])
            self.assertEqual(self.reasons(uid=os.getuid(), older_than_ms=3600000), [])
            kinds = self.reasons(kind="direct") + self.reasons(kind="leased")
            self.assertEqual(sorted(kinds), ["video/a#1", "video/b"])
            row = kmem.blocks(reason="video/a")[0]
            self.assertEqual((row.offset, row.num_bytes), (a.offset, 100))
            self.assertEqual((row.pid, row.uid, row.shared), (os.getpid(), os.getuid(), False))

    def test_blocks_of_what_is_not_said_are_all(self):
        with kmem.allocate(100, "a"):
            everything = dict(pid=None, uid=None, reason=None, kind=None, shared=None)
            self.assertEqual(self.reasons(**everything), ["a"])
            self.assertEqual(self.reasons(older_than_ms=3600000), [])
            self.assertEqual(self.reasons(uid=os.getuid()), ["a"])

    def test_blocks_asks_what_is_given_for_shared_whether_it_is_true(self):
        class Neither:
            def __bool__(self):
                raise KeyError("neither")

        with self.assertRaisesRegex(KeyError, "neither"):
            kmem.blocks(shared=Neither())

    def test_blocks_refuses_what_can_not_be_meant(self):
        with self.assertRaises(ValueError):
            kmem.blocks(kind="other")
        with self.assertRaises(OverflowError):
            kmem.blocks(pid=1 << 32)
        with self.assertRaises(TypeError):
            kmem.blocks(1)
        with self.assertRaises(kmem.InvalidError):
            kmem.blocks(reason="x" * 300)

    def test_ledger_rolls_up_by_size_age_and_unit(self):
        with kmem.allocate(100, "a"), kmem.allocate(70000, "b"):
            by_size = {int(row.key): row.num_bytes for row in kmem.ledger("size")}
            self.assertEqual(by_size[131072], 70000)
            self.assertEqual(sum(by_size.values()), 70100)
            self.assertEqual(sum(row.n_blocks for row in kmem.ledger("age")), 2)
            self.assertEqual([row.num_bytes for row in kmem.ledger("unit")], [70100])
        with self.assertRaises(ValueError):
            kmem.ledger("colour")

    def test_limits_have_a_name_and_what_is_in_use(self):
        with kmem.allocate(100, "a"):
            limits = {limit.name: limit for limit in kmem.limits()}
            self.assertEqual((limits["clients"].used, limits["clients"].unit), (1, "count"))
            self.assertEqual(limits["segment"].limit, kmem.usage()["segment_bytes"])

    def test_refusals_say_who_was_refused_what_and_why(self):
        n_before = len(kmem.refusals())
        with kmem.allocate(40 << 20, "large"):
            with self.assertRaises(kmem.NoRoomError):
                kmem.allocate(40 << 20, "larger")
        refusal = kmem.refusals()[-1]
        self.assertEqual(len(kmem.refusals()), n_before + 1)
        self.assertEqual((refusal.asked, refusal.why), ("block", "no_room"))
        self.assertEqual((refusal.pid, refusal.reason), (os.getpid(), "larger"))
        self.assertEqual((refusal.num_bytes, refusal.n_times), (40 << 20, 1))
        self.assertLess(refusal.largest_extent_bytes, 40 << 20)
        counts = {(row.asked, row.why): row.n_times for row in kmem.refusal_counts()}
        self.assertGreaterEqual(counts["block", "no_room"], 1)


if __name__ == "__main__":
    harness.main()
