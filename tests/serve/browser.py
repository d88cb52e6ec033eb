# SPDX-License-Identifier: MIT
"""A headless Chromium, driven over the pipe of its DevTools protocol: JSON, ended by a NUL."""

import base64
import json
import os
import selectors
import shutil
import subprocess
import tempfile
import time

# As long as a browser takes to start on a machine that does ten other things.
PATIENCE_S = 120


class Browser:
    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="kmem-browser-")
        self.number = 0
        self.session = None
        self.target = None
        self.events = []
        self.rest = b""
        commands, self.to_browser = os.pipe()
        self.from_browser, answers = os.pipe()
        # Descriptors 3 and 4 are Chromium's ends; they may be any of these now.
        commands, answers = (self._above_4(fd) for fd in (commands, answers))
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec 3<&{commands} 4>&{answers}; exec "$@"', "bash", "chromium",
             "--headless", "--remote-debugging-pipe", f"--user-data-dir={self.directory}",
             "--disable-gpu", "--disable-background-networking", "--disable-component-update",
             "--disable-sync", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
             "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
             *(["--no-sandbox"] if os.getuid() == 0 else [])],
            pass_fds=(commands, answers), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, env={**os.environ, "HOME": self.directory})
        os.close(commands)
        os.close(answers)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.from_browser, selectors.EVENT_READ)

    @staticmethod
    def _above_4(fd):
        if fd > 4:
            return fd
        above = os.dup(fd)
        os.close(fd)
        return Browser._above_4(above)

    def close(self):
        try:
            self.call("Browser.close", on_browser=True)
        except (EOFError, TimeoutError):
            pass
        try:
            self.process.wait(PATIENCE_S)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
        for fd in (self.to_browser, self.from_browser):
            os.close(fd)
        shutil.rmtree(self.directory, ignore_errors=True)

    # ------------------------------------------------------------------------- the protocol ----

    def _hear(self, until):
        """The next message; EOFError if the browser has ended, TimeoutError after PATIENCE_S."""
        while b"\0" not in self.rest:
            if not self.selector.select(max(0, until - time.monotonic())):
                raise TimeoutError("the browser says nothing")
            some = os.read(self.from_browser, 1 << 20)
            if not some:
                raise EOFError("the browser has ended")
            self.rest += some
        line, self.rest = self.rest.split(b"\0", 1)
        return json.loads(line)

    def call(self, method, on_browser=False, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session and not on_browser:
            message["sessionId"] = self.session
        line = json.dumps(message).encode() + b"\0"
        while line:
            line = line[os.write(self.to_browser, line):]
        until = time.monotonic() + PATIENCE_S
        while True:
            heard = self._hear(until)
            if heard.get("id") == self.number:
                if "error" in heard:
                    raise RuntimeError(f"{method}: {heard['error']}")
                return heard["result"]
            if heard.get("sessionId") == self.session:  # or it is late, of the last tab
                self.events.append(heard)

    # ------------------------------------------------------------------------------- a page ----

    def open(self, url, width=1280, height=900, dark=False, faster=1):
        """Opens it in a tab of its own, and closes the last one: what happened there is forgotten.

        The page's timers run so many times faster than they say.
        """
        last = self.target
        self.target = self.call("Target.createTarget", on_browser=True,
                                url="about:blank")["targetId"]
        if last:
            self.call("Target.closeTarget", on_browser=True, targetId=last)
        attached = self.call("Target.attachToTarget", on_browser=True, targetId=self.target,
                             flatten=True)
        self.session = attached["sessionId"]
        self.events = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        if faster != 1:
            self.call("Page.addScriptToEvaluateOnNewDocument", source="{ const slow = setTimeout; "
                      f"setTimeout = (what, ms) => slow(what, ms / {faster}); }}")
        self.look(width, height, dark)
        self.call("Page.navigate", url=url)
        self.wait('location.href !== "about:blank" && document.readyState === "complete"')

    def look(self, width, height=900, dark=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def run(self, expression):
        said = self.call("Runtime.evaluate", expression=expression, returnByValue=True,
                         awaitPromise=True)
        if "exceptionDetails" in said:
            raise RuntimeError(f"{expression}: {said['exceptionDetails']}")
        return said["result"].get("value")

    def wait(self, expression):
        """Until it is true; what it is last is in the message if it never is."""
        until = time.monotonic() + PATIENCE_S
        while not (value := self.run(expression)):
            if time.monotonic() > until:
                raise AssertionError(f"never true: {expression} ({value!r}): {self.text()}")
            time.sleep(0.02)
        return value

    def text(self):
        return self.run("document.body.innerText")

    def click(self, selector):
        """As a person does: with the mouse, in the middle of it."""
        at = self.run(f"""(() => {{
            const it = document.querySelector({json.dumps(selector)});
            it.scrollIntoView({{block: "center"}});
            const box = it.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()""")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], button="left",
                      clickCount=1)

    def press(self, key):
        code = {"Enter": 13, "Tab": 9, "Backspace": 8, "ArrowLeft": 37, "End": 35,
                "ArrowRight": 39}[key]
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key,
                      windowsVirtualKeyCode=code, **(text if kind == "keyDown" else {}))

    def picture(self, path):
        whole = self.run("(({clientWidth: width, scrollHeight: height}) => ({width, height}))"
                         "(document.documentElement)")
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True,
                         clip={"x": 0, "y": 0, "scale": 1, **whole})
        with open(path, "wb") as file:
            file.write(base64.b64decode(shot["data"]))

    def complaints(self):
        """What went wrong in the page: errors of its program, and of its rules.

        That a daemon has not answered within a second is none: the page asks again.
        """
        self.run("0")  # what was said before has been heard then
        wrong = []
        for event in self.events:
            if event.get("method") == "Runtime.exceptionThrown":
                wrong.append(event["params"]["exceptionDetails"])
            elif event.get("method") == "Runtime.consoleAPICalled":
                wrong.append(event["params"]["args"])
            elif event.get("method") == "Log.entryAdded":
                entry = event["params"]["entry"]
                if entry["source"] != "network" or " 503 " not in entry["text"]:
                    wrong.append(entry)
        return wrong

    def requests(self):
        self.run("0")
        return [event["params"]["request"]["url"] for event in self.events
                if event.get("method") == "Network.requestWillBeSent"]

    def wait_for_answers(self):
        """Until nothing that the page has asked for is under way."""
        until = time.monotonic() + PATIENCE_S
        while pending := self.pending():
            if time.monotonic() > until:
                raise AssertionError(f"{len(pending)} requests are never answered")
            time.sleep(0.02)

    def pending(self):
        """Of requests of the page: what is under way."""
        self.run("0")
        ids = {"Network.requestWillBeSent": set(), "Network.loadingFinished": set(),
               "Network.loadingFailed": set()}
        for event in self.events:
            if event.get("method") in ids:
                ids[event["method"]].add(event["params"]["requestId"])
        sent, *ended = ids.values()
        return sent.difference(*ended)
