"""A real browser for tests: Debian's Chromium, spoken to over a pipe."""

import json
import os
import subprocess
import tempfile
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

QUIET = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-sync"

PATIENCE = 300.0
"""Seconds until something that never happens fails a test; it depends on no machine's speed."""


class Browser:
    """One tab. What the browser cannot do is an AssertionError."""

    def __init__(self, writing: int, reading: int) -> None:
        self._writing, self._reading = writing, reading
        self._rest, self._number, self._session = b"", 0, ""
        self.requests: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self._call(f"{domain}.enable")

    def size(self, width: int, height: int = 900) -> None:
        """Make the window as large as this."""
        values = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **values)

    def before_each_page(self, script: str) -> None:
        """Have a script run in each page before its own."""
        self._call("Page.addScriptToEvaluateOnNewDocument", source=script)

    def scripts(self, *, on: bool) -> None:
        """Switch JavaScript on or off."""
        self._call("Emulation.setScriptExecutionDisabled", value=not on)

    def go(self, url: str) -> None:
        """Open a page and wait until it is loaded."""
        self._call("Page.navigate", url=url)
        self.wait(
            f"location.href.split('#')[0] === {json.dumps(url)}.split('#')[0] && document.readyState === 'complete'"
        )

    def read(self, expression: str) -> Any:
        """What an expression gives, awaited when it is a promise."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression: str) -> None:
        """Ask until it is true."""
        deadline = time.monotonic() + PATIENCE
        while not self.read(f"Boolean({expression})"):
            assert time.monotonic() < deadline, f"not in {PATIENCE} s: {expression}"
            time.sleep(0.02)

    def press(self, keys: str) -> None:
        """Type some text into whatever has the focus."""
        self._call("Input.insertText", text=keys)

    def picture(self, path: Path) -> None:
        """Keep what the whole page looks like."""
        path.write_bytes(b64decode(self._call("Page.captureScreenshot", captureBeyondViewport=True)["data"]))

    def _call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writing, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._number:
            if answer.get("method") == "Network.requestWillBeSent":
                self.requests.append(answer["params"]["request"]["url"])
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def _receive(self) -> Any:
        while b"\0" not in self._rest:
            more = os.read(self._reading, 1 << 20)
            assert more, "the browser has ended"
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)


@contextmanager
def opened() -> Iterator[Browser]:
    """Start a browser with a profile of its own, and end it."""
    (theirs, ours), (mine, yours) = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = [f"--{word}" for word in QUIET.split()]
        # the browser takes commands from descriptor 3 and answers on 4
        script = f'exec chromium "$@" 3<&{theirs} 4>&{yours}'
        command = ["bash", "-c", script, "-", *options, "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(command, pass_fds=(theirs, yours), stdout=quiet, stderr=quiet) as process:
            os.close(theirs)
            os.close(yours)
            try:
                yield Browser(ours, mine)
            finally:
                os.close(ours)  # it ends when its input is closed
                process.terminate()
                os.close(mine)
