"""Headless Chromium, controlled by W3C WebDriver (JSON over HTTP) through chromedriver, without a package."""

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

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # key of a reference to an element, from the standard
CONTROL, ENTER, ESCAPE, TAB, END = "\ue009", "\ue007", "\ue00c", "\ue004", "\ue010"
TIMEOUT_S = 60


def find_missing_programs() -> str:
    """Return the names of the programs that are not installed; empty if both are."""
    return " and ".join(name for name in ("chromium", "chromedriver") if shutil.which(name) is None)


class Browser:
    """A browser with one window: `with Browser() as browser:`."""

    def __init__(self, width: int = 1100, height: int = 860, dark: bool = False) -> None:
        """Set the size of the window in pixels, and the color scheme."""
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
            flags.append("--no-sandbox")  # Chromium has no sandbox for root
        options = {"args": flags, "binary": shutil.which("chromium")}
        capabilities = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self._path = ""
        session = self._call("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
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
        """Open a page and wait until it is loaded."""
        self._call("POST", "/url", {"url": url})

    def run(self, script: str) -> Any:
        """Run a script and return its result."""
        return self._call("POST", "/execute/sync", {"script": script, "args": []})

    def get_text(self, element_id: str) -> str:
        """Return the text of the element with an id."""
        return str(self.run(f"return document.getElementById({element_id!r}).textContent"))

    def type_text(self, element_id: str, keys: str) -> None:
        """Type into the element with an id."""
        self._call("POST", f"/element/{self._find(element_id)}/value", {"text": keys})

    def click(self, element_id: str) -> None:
        """Click the element with an id."""
        self._call("POST", f"/element/{self._find(element_id)}/click", {})

    def press(self, keys: str) -> None:
        """Press keys for the focused element; all stay down until the last one, as modifiers do."""
        actions = [{"type": "keyDown", "value": key} for key in keys]
        actions += [{"type": "keyUp", "value": key} for key in reversed(keys)]
        self._call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds."""
        started = time.monotonic()
        while not condition():
            assert time.monotonic() - started < TIMEOUT_S, self.run("return document.body.innerText")
            time.sleep(0.02)

    def read_console(self) -> list[str]:
        """Return the messages of the browser's console."""
        return [entry["message"] for entry in self._call("POST", "/se/log", {"type": "browser"})]

    def take_screenshot(self) -> bytes:
        """Return the window as a PNG."""
        return base64.b64decode(self._call("GET", "/screenshot"))

    def _find(self, element_id: str) -> str:
        found = self._call("POST", "/element", {"using": "css selector", "value": f"#{element_id}"})
        return str(found[ELEMENT])

    def _devtools(self, command: str, parameters: dict[str, Any]) -> None:
        self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_S)
        try:
            connection.request(method, self._path + path, None if body is None else json.dumps(body))
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        value = answer["value"]
        if isinstance(value, dict) and "error" in value:
            raise RuntimeError(f"{path}: {value['message']}")
        return value
