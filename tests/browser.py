"""A headless Chromium, driven by its DevTools protocol over a pipe, for the tests of a page."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import sys
import time

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium: apt-get install chromium")
OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe")
PROBLEMS = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")


class Browser:
    """One page of a browser. said: what was written to its console, exceptions and refusals by its policy included."""

    def __init__(self, profile):
        # Chromium reads commands from its descriptor 3 and answers on 4; each message ends with a zero byte.
        (theirs_in, self.commands), (answers, theirs_out) = os.pipe(), os.pipe()
        start = (
            f"import os, sys; os.dup2({theirs_in}, 3); os.dup2({theirs_out}, 4); os.execv(sys.argv[1], sys.argv[1:])"
        )
        command = [sys.executable, "-c", start, CHROMIUM, *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, pass_fds=(theirs_in, theirs_out), **quiet)
        os.close(theirs_in)
        os.close(theirs_out)
        self.answers, self.numbers, self.said, self.session = os.fdopen(answers, "rb"), itertools.count(1), [], None
        self.buffer, self.loaded = b"", False
        targets = self.ask("Target.getTargets")["targetInfos"]
        target = next(one["targetId"] for one in targets if one["type"] == "page")
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")
        self.ask("Emulation.setFocusEmulationEnabled", enabled=True)

    def close(self):
        """End the browser."""
        self.process.terminate()
        self.process.wait(10)
        self.answers.close()
        os.close(self.commands)

    def _read(self):
        """The next message that is for this page, once it is noted what it says."""
        while b"\0" not in self.buffer:
            part = self.answers.read1(1 << 16)
            assert part, "the browser ended"
            self.buffer += part
        text, self.buffer = self.buffer.split(b"\0", 1)
        message = json.loads(text)
        if message.get("method") in PROBLEMS:
            self.said.append(message["params"])
        self.loaded = self.loaded or message.get("method") == "Page.loadEventFired"
        return message

    def ask(self, method, **parameters):
        """The result of one command of the protocol."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def load(self, path, state=""):
        """Open a file, at a state of its hash, anew."""
        for url in ("about:blank", f"{path.resolve().as_uri()}#{state}"):
            self.loaded = False
            self.ask("Page.navigate", url=url)
            while not self.loaded:
                self._read()

    def value(self, code):
        """What a JavaScript expression gives in the page."""
        result = self.ask("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, code):
        """Wait until a JavaScript expression is true in the page; ten seconds at most."""
        end = time.monotonic() + 10
        while not self.value(code):
            assert time.monotonic() < end, f"never: {code}"
            time.sleep(0.02)

    def press(self, key, code):
        """Press a key as a person does: its name, and its virtual key code."""
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def click(self, selector):
        """Click, with the mouse, on the middle of the first element that a selector finds."""
        box = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        self.value(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{ block: 'center' }})")
        x, y = self.value(f"(box => [box.x + box.width / 2, box.y + box.height / 2])({box})")
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def size(self, width, height):
        """Give the page this size in pixels."""
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700}
        self.ask("Emulation.setDeviceMetricsOverride", **screen)

    def picture(self, path):
        """Write what is seen as a PNG."""
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))
