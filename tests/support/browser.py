"""Headless Chromium, driven through chromedriver's own protocol: JSON over HTTP (W3C WebDriver), so that no
package is needed for it.
"""

import base64
import http.client
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the standard's key of a reference to an element
CONTROL, ENTER, ESCAPE, TAB, END = "\ue009", "\ue007", "\ue00c", "\ue004", "\ue010"
PATIENCE_S = 60


def missing() -> str:
    """Which program is not installed; empty where both are."""
    return " and ".join(name for name in ("chromium", "chromedriver") if shutil.which(name) is None)


class Browser:
    """`with Browser() as browser:` is one window, `width` pixels wide."""

    def __init__(self, width: int = 1100, height: int = 860, dark: bool = False) -> None:
        self._size = f"--window-size={width},{height}"
        self._metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._dark = dark

    def __enter__(self) -> "Browser":
        self._driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._driver.stdout is not None
        for line in self._driver.stdout:
            if found := re.search(r"started successfully on port (\d+)", line):
                self._port = int(found[1])
                break
        flags = [
            "--headless=new",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            self._size,
        ]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")  # Chromium has none for root
        options = {"args": flags, "binary": shutil.which("chromium")}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self._path = ""
        session = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._path = f"/session/{session['sessionId']}"
        self._devtools("Emulation.setDeviceMetricsOverride", self._metrics)
        theme = {"name": "prefers-color-scheme", "value": "dark" if self._dark else "light"}
        self._devtools("Emulation.setEmulatedMedia", {"features": [theme]})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._call("DELETE", "")
        finally:
            self._driver.terminate()
            self._driver.wait()
            if self._driver.stdout is not None:
                self._driver.stdout.close()

    def open(self, url: str) -> None:
        """Goes there and waits for it."""
        self._call("POST", "/url", {"url": url})

    def run(self, script: str) -> Any:
        """What a script returns."""
        return self._call("POST", "/execute/sync", {"script": script, "args": []})

    def text(self, name: str) -> str:
        """The text of the element of that id."""
        return str(self.run(f"return document.getElementById({name!r}).textContent"))

    def type(self, name: str, keys: str) -> None:
        """Types into the element of that id."""
        self._call("POST", f"/element/{self._find(name)}/value", {"text": keys})

    def click(self, name: str) -> None:
        """Clicks on the element of that id."""
        self._call("POST", f"/element/{self._find(name)}/click", {})

    def press(self, keys: str) -> None:
        """Types wherever the focus is; a modifier stays down until the end."""
        actions = [{"type": "keyDown", "value": key} for key in keys]
        actions += [{"type": "keyUp", "value": key} for key in reversed(keys)]
        self._call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def wait(self, holds: Callable[[], bool]) -> None:
        """Until something holds."""
        began = time.monotonic()
        while not holds():
            assert time.monotonic() - began < PATIENCE_S, self.run("return document.body.innerText")
            time.sleep(0.02)

    def complaints(self) -> list[str]:
        """What the browser's console says."""
        return [entry["message"] for entry in self._call("POST", "/se/log", {"type": "browser"})]

    def picture(self) -> bytes:
        """The window as a PNG."""
        return base64.b64decode(self._call("GET", "/screenshot"))

    def _find(self, name: str) -> str:
        found = self._call("POST", "/element", {"using": "css selector", "value": f"#{name}"})
        return str(found[ELEMENT])

    def _devtools(self, command: str, parameters: dict[str, Any]) -> None:
        self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
        try:
            connection.request(method, self._path + path, None if body is None else json.dumps(body))
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        value = answer["value"]
        if isinstance(value, dict) and "error" in value:
            raise RuntimeError(f"{path}: {value['message']}")
        return value
