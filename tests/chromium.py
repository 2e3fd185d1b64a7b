"""A headless Chromium driven through its DevTools pipe, with the standard library only.

::

    with Chromium() as browser:
        page = browser.open("http://127.0.0.1:1234/")
        page.wait_for("document.readyState === 'complete'")
        assert not page.errors
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Self

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TIMEOUT_S = 60.0
# Keys that are more than their character: DevTools wants their code.
KEY_CODES = {
    "Tab": 9,
    "Enter": 13,
    "Escape": 27,
    " ": 32,
    "PageUp": 33,
    "PageDown": 34,
    "End": 35,
    "Home": 36,
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
}


def find_chromium() -> str:
    """The browser's program; skips the test where there is none, fails it in CI."""
    found = os.environ.get("MILIARY_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        reason = "no Chromium: install Debian's 'chromium' or set MILIARY_CHROMIUM"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


class Chromium:
    """One browser with a profile of its own that is gone afterwards; WebGL2 is drawn in software."""

    def __init__(self, *, width: int = 1500, height: int = 900) -> None:
        self._program = find_chromium()
        self._size = (width, height)
        self._numbers = itertools.count(1)
        self._answers: dict[int, queue.Queue[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}

    def __enter__(self) -> Self:
        self._profile = tempfile.mkdtemp(prefix="miliary-chromium-")
        to_browser, from_us = os.pipe()
        from_browser, to_us = os.pipe()
        arguments = [
            self._program,
            "--headless=new",
            "--no-sandbox",
            "--remote-debugging-pipe",
            f"--user-data-dir={self._profile}",
            f"--window-size={self._size[0]},{self._size[1]}",
            "--hide-scrollbars",
            "--force-device-scale-factor=1",
            "--enable-unsafe-swiftshader",
            "--use-angle=swiftshader",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "about:blank",
        ]

        # DevTools reads commands from descriptor 3 and answers on 4.
        start = (
            "import fcntl, os, sys; a, b = (fcntl.fcntl(int(n), fcntl.F_DUPFD, 10) for n in sys.argv[1:3]); "
            "os.dup2(a, 3); os.dup2(b, 4); os.execv(sys.argv[3], sys.argv[3:])"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", start, str(to_browser), str(to_us), *arguments],
            pass_fds=(to_browser, to_us),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(to_browser)
        os.close(to_us)
        self._write_end = os.fdopen(from_us, "wb", buffering=0)
        self._read_end = os.fdopen(from_browser, "rb")
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.send("Browser.close", timeout_s=10.0)
            self.process.wait(10.0)
        except (OSError, TimeoutError, RuntimeError, subprocess.TimeoutExpired):
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._write_end.close()
        shutil.rmtree(self._profile, ignore_errors=True)

    def open(self, url: str, *, offline: bool = False, script: str = "") -> Page:
        """A new page at an address; what it asks for and complains about is recorded from its start.

        `script` runs before any of the page's own.
        """
        target = self.send("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.send("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        page = self._pages[session] = Page(self, session, target)
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.send(f"{domain}.enable")
        if script:
            page.send("Page.addScriptToEvaluateOnNewDocument", {"source": script})
        if offline:
            conditions = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
            page.send("Network.emulateNetworkConditions", conditions)
        page.send("Page.navigate", {"url": url})
        return page

    def send(
        self,
        method: str,
        params: dict[str, Any] | None = None,
        session: str = "",
        timeout_s: float = TIMEOUT_S,
    ) -> dict[str, Any]:
        """The answer to one DevTools command."""
        number = next(self._numbers)
        waiting = self._answers[number] = queue.Queue()
        message = {"id": number, "method": method, "params": params or {}}
        if session:
            message["sessionId"] = session
        self._write_end.write(json.dumps(message).encode() + b"\0")
        try:
            answer = waiting.get(timeout=timeout_s)
        except queue.Empty:
            raise TimeoutError(f"{method}: no answer within {timeout_s:g} s") from None
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def _listen(self) -> None:
        rest = b""
        with self._read_end:
            while chunk := self._read_end.read1(1 << 16):
                *messages, rest = (rest + chunk).split(b"\0")
                for message in map(json.loads, messages):
                    if "id" in message:
                        self._answers.pop(message["id"]).put(message)
                    elif page := self._pages.get(message.get("sessionId", "")):
                        page.hear(message["method"], message["params"])
        for waiting in self._answers.values():
            waiting.put({"error": "the browser went away"})


class Page:
    """One page: `requests` are the addresses it asked for, `errors` what its console complained about."""

    def __init__(self, browser: Chromium, session: str, target: str) -> None:
        self._browser = browser
        self._session = session
        self._target = target
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.dialogs: list[str] = []

    def send(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """One DevTools command for this page."""
        return self._browser.send(method, params, self._session)

    def close(self) -> None:
        """Close the page without asking; open ones go on drawing."""
        self._browser.send("Target.closeTarget", {"targetId": self._target})

    def hear(self, method: str, params: dict[str, Any]) -> None:
        """Record an event."""
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in {"error", "warning", "assert"}:
            self.errors.append(" ".join(str(a.get("value", a.get("description"))) for a in params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in {"error", "warning"}:
            self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Page.javascriptDialogOpening":
            self.dialogs.append(params["type"])

    def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression, a promise awaited."""
        answer = self.send(
            "Runtime.evaluate", {"expression": expression, "returnByValue": True, "awaitPromise": True}
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    def wait_for(self, expression: str, *, timeout_s: float = TIMEOUT_S) -> Any:
        """The value of an expression as soon as it holds."""
        end = time.monotonic() + timeout_s
        trouble = ""
        while time.monotonic() < end:
            try:
                if value := self.evaluate(expression):
                    return value
            except RuntimeError as error:
                # Between two documents there is nothing to ask.
                trouble = str(error)
            time.sleep(0.03)
        raise TimeoutError(f"not within {timeout_s:g} s: {expression} {trouble}; console: {self.errors}")

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press and release a key, as `KeyboardEvent.key` names it."""
        code = KEY_CODES.get(key, ord(key.upper()) if len(key) == 1 else 0)
        event = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        if len(key) == 1:
            event["text"] = key
        elif key == "Enter":
            event["text"] = "\r"
        self.send("Input.dispatchKeyEvent", {"type": "keyDown", **event})
        event.pop("text", None)
        self.send("Input.dispatchKeyEvent", {"type": "keyUp", **event})

    def type(self, text: str) -> None:
        """Put text where the focus is."""
        self.send("Input.insertText", {"text": text})

    def click(self, selector: str) -> None:
        """Press the mouse in the middle of an element, once the page has laid itself out."""
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        box = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView"
            "({block: 'nearest'}); const b = e.getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        self.click_at(*box)

    def click_at(self, x: float, y: float) -> None:
        """Press the mouse at a point of the window [CSS pixels]."""
        for kind in ("mousePressed", "mouseReleased"):
            self.send(
                "Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}
            )

    def screenshot(self, path: str | Path) -> None:
        """What the window shows, as PNG."""
        Path(path).write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))

    def print_pdf(self, path: str | Path) -> None:
        """The page as it prints."""
        answer = self.send("Page.printToPDF", {"printBackground": True})
        Path(path).write_bytes(base64.b64decode(answer["data"]))
