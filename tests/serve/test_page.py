# SPDX-License-Identifier: MIT
"""The page, in a real browser: looked at, clicked, and read as one who does not see it would."""

import signal
import sys
import unittest

from browser import Browser
from harness import Daemon, Directory, Serve, ShiftedDaemon, Worker, soon

SCRIPT = "<img src=x onerror=alert(1)>"
# What clients may write: markup, ends of texts and of lines, what turns or hides what follows,
# names that an object of JavaScript has, and the longest.
HOSTILE = [SCRIPT, "</script><script>alert(2)</script>", "\"'><b>", "${alert(3)}", "a\nb\tc\\d",
           "x\x1b]0;owned\x07\u202egnp", "\u2066\u200b\ufeff", b"caf\xe9/\xff", "constructor/name",
           "__proto__/toString", "//", "/", "*?[a]", "#", "&lt;b&gt;",
           "".join(chr(code) for code in range(1, 32)), "m" * 127, "e\u0301" * 42, "",
           "/".join("deep" * 15)]
LIVE = 'document.getElementById("state").textContent === "live"'


def tile(name):
    return f'[...document.querySelectorAll("#treemap button")].find((at) => ' \
           f'at.querySelector(".name").textContent.startsWith("{name}"))'


class TestPage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.enterClassContext(Directory())
        cls.video = cls.enterClassContext(Daemon("video", "32MiB", "--quota", "16MiB"))
        cls.audio = cls.enterClassContext(Daemon("audio", "16MiB"))
        cls.enterClassContext(Worker(
            cls.video, "allocate", str(6 << 20), "video/capture/frame", "allocate", str(1 << 20),
            "video/index#7", "allocate", str(2 << 20), "audio/ring", "allocate", "700", "audio",
            "allocate", "300000", SCRIPT, "allocate", "1000", "x\x1b]0;owned\x07\u202egnp"))
        # One that dies with a block, and one that is refused: its failure handler ends it.
        for words in (("allocate", "12345", "leaky/session", "kill", "9"),
                      ("allocate", str(17 << 20), "too/much")):
            with cls.assertRaises(cls(), AssertionError):
                Worker(cls.video, *words)
        cls.serve = cls.enterClassContext(Serve("--segment", "video", "--segment", "audio"))
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.close)

    def open(self, **look):
        self.browser.open(self.serve.url, **look)
        self.browser.wait(LIVE)

    def expect_quiet(self, serve=None):
        """No error, no warning, and nothing from anywhere else."""
        at = (serve or self.serve).url
        self.assertEqual(self.browser.complaints(), [])
        for url in self.browser.requests():
            self.assertTrue(url.startswith(at) or url.startswith("data:"), url)

    def test_it_shows_what_the_segment_is_used_for(self):
        self.open()
        for id, text in (("used", "9.3 MiB"), ("used-of", "of 32.0 MiB, 29.0 %"),
                         ("n-clients", "1"), ("n-blocks", "6"), ("n-refusals", "1")):
            self.browser.wait(f'document.getElementById("{id}").textContent === "{text}"')
        text = self.browser.text()
        for words in ("Use over time", "ctl_worker", "leaky/session", "too/much", "quota",
                      "segment “video”"):
            self.assertIn(words, text)
        self.expect_quiet()

    def test_a_reason_opens_on_a_click_down_to_its_blocks(self):
        self.open()
        self.browser.run(f'{tile("video")}.id = "it"')
        self.browser.click("#it")
        self.browser.wait(tile("capture"))
        self.assertEqual(self.browser.run('document.getElementById("crumbs").innerText'),
                         "all reasons\nvideo")
        self.browser.run(f'{tile("index")}.id = "leaf"')
        self.browser.click("#leaf")
        self.browser.wait('document.querySelectorAll("#blocks-table tbody tr").length === 1')
        row = self.browser.run('document.querySelector("#blocks-table tbody tr").innerText')
        self.assertIn("1.0 MiB", row)
        self.assertIn("video/index#7", row)
        self.browser.click("#crumbs button")
        self.browser.wait(tile("audio"))
        self.assertTrue(self.browser.run('document.getElementById("blocks").hidden'))
        self.expect_quiet()

    def test_all_of_it_can_be_done_with_keys(self):
        self.open()
        self.browser.run(f'{tile("video")}.focus()')
        self.browser.press("Enter")
        self.browser.wait(tile("capture"))
        self.assertEqual(self.browser.run("document.activeElement.parentElement.id"), "treemap")
        self.assertIn("video: 7.0 MiB in 2 blocks",
                      self.browser.run('document.getElementById("says").textContent'))
        self.browser.press("Backspace")
        self.browser.wait(tile("audio"))
        self.browser.run('document.querySelector("#chart svg").focus()')
        self.browser.press("ArrowLeft")
        self.assertIn("9.3 MiB, most of it video",
                      self.browser.run('document.getElementById("time-read").textContent'))
        self.browser.run('document.querySelector(".skip").focus()')
        for _ in range(2):
            self.browser.press("Tab")
        self.assertEqual(self.browser.run("document.activeElement.id"), "pause")
        self.browser.press("Enter")
        self.browser.wait('document.getElementById("state").textContent === "paused"')
        self.expect_quiet()

    def test_the_chart_begins_before_the_page_was_opened(self):
        self.open()
        # Each round adds a moment; there are more, from before the page was opened.
        self.browser.run('document.querySelector("#time details").open = true')
        self.browser.wait(f"{LIVE} && performance.getEntriesByType('resource')"
                          ".some((at) => at.name.includes('history'))")
        self.browser.click("#pause")
        self.browser.wait_for_answers()
        moments = self.browser.run('document.querySelectorAll("#time-table tbody tr").length')
        rounds = sum("/usage?" in url for url in self.browser.requests())
        self.assertGreater(moments, rounds)
        self.assertIn("Used: 9.3 MiB now", self.browser.run(
            'document.querySelector("#chart svg").getAttribute("aria-label")'))
        self.expect_quiet()

    def test_the_map_shows_where_it_lies_and_by_whom(self):
        self.open()
        read = 'document.getElementById("map-read").textContent'
        legend = 'document.getElementById("map-legend").innerText'
        self.browser.wait(f'{read}.includes("can be had, in ")')
        self.browser.wait(f'{legend}.includes("video 7.0 MiB")')
        # Not one colour: there is something, and there is room.
        colours = self.browser.run("""(() => {
            const at = document.querySelector("#map-picture canvas");
            const {data} = at.getContext("2d").getImageData(0, 0, at.width, at.height);
            return new Set(new Uint32Array(data.buffer)).size;
        })()""")
        self.assertGreater(colours, 3)
        self.browser.run('document.querySelector("#map-picture canvas").focus()')
        for offset in ("0x0", "0x4000"):
            self.browser.press("ArrowRight")
            self.browser.wait(f'{read}.startsWith("{offset}: ")')
        self.browser.run("""(() => {
            const at = document.getElementById("map-by");
            at.value = "owner";
            at.dispatchEvent(new Event("change", {bubbles: true}));
        })()""")
        self.browser.wait(f'{legend}.includes("ctl_worker")')
        self.expect_quiet()

    def test_each_control_and_picture_has_a_name(self):
        self.open()
        nodes = self.browser.call("Accessibility.getFullAXTree")["nodes"]
        named = {}
        for node in nodes:
            role = node.get("role", {}).get("value")
            if role in ("button", "image", "img", "combobox", "table", "region", "columnheader"):
                named.setdefault(role, []).append(node.get("name", {}).get("value", ""))
        self.assertNotIn("", sum(named.values(), []))
        self.assertTrue(any(name.startswith("video /: 7.0 MiB") for name in named["button"]))
        self.assertTrue(any(name.startswith("Used: 9.3 MiB now") for name in
                            named.get("image", []) + named.get("img", [])))

    def test_what_clients_write_is_text_and_nothing_else(self):
        with Directory(), Daemon("hostile") as daemon:
            words = ["allocate", "6000000", "__proto__", "allocate", "5000000", "constructor"]
            for number, reason in enumerate(HOSTILE):
                words += ["allocate", str(100000 + 1000 * number), reason]
            with Serve("--segment", "hostile") as serve:
                self.browser.open(serve.url, faster=10)
                self.browser.wait(LIVE)
                with Worker(daemon, *words):
                    self.expect_texts()
                    self.expect_fits()
                    self.expect_quiet(serve)

    def expect_texts(self):
        self.browser.wait('document.querySelectorAll("#treemap button").length >= 18')
        made = 'document.querySelectorAll("main img, main script, main b:not(.tile b)").length'
        self.assertEqual(self.browser.run(made), 0)
        self.browser.run('document.querySelector("#reasons details").open = true')
        text = self.browser.text()
        for words in (SCRIPT, "</script><script>alert(2)</script>", "x\\x1b]0;owned\\x07\\u202egnp",
                      "a\\x0ab\\x09c", "__proto__/toString", "constructor/name", "m" * 127):
            self.assertIn(words, text)
        self.browser.wait('document.getElementById("chart-legend").innerText'
                          '.startsWith("__proto__\\nconstructor\\n")')
        self.browser.run('document.querySelector("#chart svg").focus()')
        self.browser.press("End")
        self.assertIn("most of it __proto__ (", self.browser.run(
            'document.getElementById("time-read").textContent'))
        self.assertNotIn("NaN", self.browser.run("document.body.innerHTML"))
        self.browser.run(f'{tile("__proto__")}.id = "it"')
        self.browser.click("#it")
        self.browser.wait(tile("toString"))

    def expect_fits(self):
        for width in (360, 1280):
            self.browser.look(width)
            self.browser.run("new Promise((done) => requestAnimationFrame(() => "
                             "requestAnimationFrame(done)))")
            self.assertEqual(self.browser.run("document.documentElement.scrollWidth"), width)

    def test_a_reason_that_leaks_is_told_with_a_sentence(self):
        with Directory(), ShiftedDaemon("leaky") as daemon:
            job = ["allocate", "300000", "job/buffer", "release"]
            with Worker(daemon, *job * 40, "allocate", "300000", "job/buffer"), \
                    Serve("--segment", "leaky") as serve:
                daemon.pass_s(3600)
                soon(lambda: daemon.ask("leaks")["leaks"])
                self.browser.open(serve.url, faster=10)
                self.browser.wait('document.querySelectorAll("#leaks-table tbody tr").length === 1')
                row = self.browser.run('document.querySelector("#leaks-table tbody tr").innerText')
                self.assertRegex(row, r"(?s)suspect\s+job/buffer\s+1 block \(300,000 B\) is older "
                                 r"than 10\.0 s; of [0-9]+ released 100 % lived less.*293\.0 KiB")
                self.expect_quiet(serve)

    def test_it_fits_a_phone_and_a_screen_by_day_and_by_night(self):
        self.open()
        papers = set()
        for width in (360, 768, 1280):
            for dark in (False, True):
                self.browser.look(width, dark=dark)
                # A scrollbar and the rest are drawn anew before the next frame but one.
                self.browser.run("new Promise((done) => requestAnimationFrame(() => "
                                 "requestAnimationFrame(done)))")
                self.assertEqual(self.browser.run("document.documentElement.scrollWidth"), width)
                tiles = self.browser.run(
                    '[...document.querySelectorAll("#treemap button")].map((at) => '
                    "at.getBoundingClientRect()).every((box) => box.right <= innerWidth)")
                self.assertTrue(tiles)
                # Whatever is there for long says so in more letters.
                self.browser.run(
                    '[...document.querySelectorAll("td.figure")].filter((at) => '
                    '/ s$/.test(at.textContent)).forEach((at) => at.textContent = "59 m 59 s")')
                self.assertEqual(self.browser.run(
                    '[...document.querySelectorAll(".scroll")].filter((at) => '
                    "at.scrollWidth > at.clientWidth).map((at) => at.id)"), [], width)
                papers.add((dark, self.browser.run(
                    "getComputedStyle(document.body).backgroundColor")))
        self.assertEqual(len(papers), 2)
        self.expect_quiet()

    def test_another_segment_is_shown_when_it_is_chosen(self):
        self.open()
        self.browser.run("""(() => {
            const at = document.getElementById("segment");
            at.value = "audio";
            at.dispatchEvent(new Event("change"));
        })()""")
        self.browser.wait('document.getElementById("used-of").textContent.includes("16.0 MiB")')
        self.browser.wait('document.getElementById("treemap").innerText === "no live blocks"')
        self.expect_quiet()

    def test_it_is_live_and_says_when_a_daemon_is_gone(self):
        with Directory():
            daemon = Daemon("passing")
            with Serve("--segment", "passing") as serve:
                self.browser.open(serve.url, faster=10)
                self.browser.wait(LIVE)
                with Worker(daemon, "allocate", "123456", "late"):
                    self.browser.wait(tile("late"))
                self.browser.wait(f"!({tile('late')})")
                daemon.stop()
                self.browser.wait('document.getElementById("state").textContent === "no answer"'
                                  ' && document.getElementById("trouble").textContent'
                                  """.includes('segment "passing"')""")
                with Daemon("passing"):
                    self.browser.wait(f'{LIVE} && document.getElementById("trouble").hidden')

    def test_nothing_is_asked_while_it_is_paused(self):
        self.open(faster=10)
        self.browser.click("#pause")
        self.browser.wait('document.getElementById("state").textContent === "paused"')
        self.browser.wait_for_answers()
        n_requests = len(self.browser.requests())
        self.browser.run("new Promise((done) => setTimeout(done, 5000))")
        self.assertEqual(len(self.browser.requests()), n_requests)
        self.browser.click("#pause")
        self.browser.wait(LIVE)
        self.assertGreater(len(self.browser.requests()), n_requests)

    def test_a_pause_in_the_midst_of_a_round_is_one(self):
        with Directory(), Daemon("late") as daemon, Serve("--segment", "late") as serve:
            self.browser.open(serve.url, faster=10)
            self.browser.wait(LIVE)
            daemon.signal_server(signal.SIGSTOP)
            soon(self.browser.pending)
            self.browser.click("#pause")
            self.browser.wait('document.getElementById("state").textContent === "paused"')
            self.browser.wait_for_answers()
            n_requests = len(self.browser.requests())
            daemon.signal_server(signal.SIGCONT)
            self.browser.run("new Promise((done) => setTimeout(done, 5000))")
            self.assertEqual(len(self.browser.requests()), n_requests)
            self.assertEqual(self.browser.run('document.getElementById("state").textContent'),
                             "paused")


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
