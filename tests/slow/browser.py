"""Chromium as a person has it before them, driven by W3C's WebDriver protocol.

Needs Debian's chromium and chromium-driver; the protocol is a few requests, so no package is.
"""

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

KEYS = {"Enter": "\ue007", "Escape": "\ue00c", "Tab": "\ue004", "Left": "\ue012", "Right": "\ue014"}
"""Names of keys that have no character, and what the protocol calls them."""


class Browser:
    """A session of chromedriver."""

    def __init__(self, root: str, profile: Path, width: int, height: int, mobile: bool) -> None:
        self._root = root
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]
        arguments += ["--no-first-run", "--disable-background-networking"]
        arguments += [f"--user-data-dir={profile}", f"--window-size={width},{height}"]
        options: dict[str, Any] = {"args": arguments}
        if mobile:
            screen = {"width": width, "height": height, "pixelRatio": 3.0, "mobile": True}
            options["mobileEmulation"] = {"deviceMetrics": screen}
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        session = self._post("session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"session/{session['sessionId']}"

    def open(self, address: str) -> None:
        """Loads a page."""
        self._post(f"{self._session}/url", {"url": address})

    def run(self, script: str, *arguments: Any) -> Any:
        """What the body of a function in JavaScript returns."""
        body = {"script": script, "args": list(arguments)}
        return self._post(f"{self._session}/execute/sync", body)

    def press(self, *keys: str) -> None:
        """Presses and releases keys, by their characters or their names in `KEYS`."""
        actions = [
            {"type": kind, "value": KEYS.get(key, key)}
            for key in keys
            for kind in ("keyDown", "keyUp")
        ]
        source = {"type": "key", "id": "keyboard", "actions": actions}
        self._post(f"{self._session}/actions", {"actions": [source]})

    def type(self, text: str) -> None:
        """Presses the keys of a text, one after the other."""
        self.press(*text)

    def screenshot(self, path: Path) -> None:
        """Writes what is on the screen as PNG."""
        path.write_bytes(base64.b64decode(self._get(f"{self._session}/screenshot")))

    def log(self) -> list[str]:
        """What the page has written to the console since the last call: its errors among them."""
        entries = self._post(f"{self._session}/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries]

    def close(self) -> None:
        """Ends the session."""
        with urlopen(Request(f"{self._root}/{self._session}", method="DELETE"), timeout=60):
            pass

    def _get(self, path: str) -> Any:
        with urlopen(f"{self._root}/{path}", timeout=120) as reply:
            return json.load(reply)["value"]

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        request = Request(f"{self._root}/{path}", json.dumps(body).encode())
        with urlopen(request, timeout=120) as reply:
            return json.load(reply)["value"]


@contextmanager
def browser(
    profile: Path, width: int = 1280, height: int = 900, *, mobile: bool = False
) -> Iterator[Browser]:
    """A browser with an empty profile, which it keeps in the folder `profile`."""
    assert shutil.which("chromedriver"), "apt-get install chromium chromium-driver"
    with subprocess.Popen(
        ["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True
    ) as driver:
        assert driver.stdout is not None
        found = (re.search(r"started successfully on port (\d+)", line) for line in driver.stdout)
        port = next(int(match[1]) for match in found if match)
        opened = Browser(f"http://127.0.0.1:{port}", profile, width, height, mobile)
        try:
            yield opened
        finally:
            opened.close()
            driver.terminate()
