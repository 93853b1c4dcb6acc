"""A served bundle is replaced by the one that is in its folder now, without a restart.

In: requests to reload, at any time. Out: another model of the app, or the one it had, and one line for the
log. Does not know signals.

The new bundle is loaded beside the old one, which answers meanwhile, and which stays if the new one cannot be
loaded or served. Requests that arrived before the change finish with the old bundle. No third one is loaded
before the last of them has ended, so at most two are in memory.
"""

import asyncio
import contextlib
import gc
import sys
import time
import weakref
from collections.abc import Callable

from tinyedge.bundle.store import SHORT_DIGEST
from tinyedge.core.errors import TinyEdgeError
from tinyedge.runtime.content_filter import ContentFilter
from tinyedge.runtime.generator import Generator
from tinyedge.serve.app import App
from tinyedge.serve.systemd import notify

RELEASE_POLL_S = 0.5


class Reloader:
    """Reloads on request, once at a time.

    Args:
        app: The app; it has a model when `run` is called.
        load: Loads the bundle that is in the folder now, and the filter of its answers.
        announce: Receives a line about each reload that succeeded.
    """

    def __init__(
        self,
        app: App,
        load: Callable[[], tuple[Generator, ContentFilter | None]],
        announce: Callable[[str], None],
    ) -> None:
        self._app = app
        self._load = load
        self._announce = announce
        self._is_requested = asyncio.Event()

    def request(self) -> None:
        """Request a reload. Requests that arrive before one begins are one; during one, they are one more."""
        self._is_requested.set()

    async def run(self) -> None:
        """Reload whenever it is requested, until the task is cancelled."""
        while True:
            await self._is_requested.wait()
            self._is_requested.clear()  # before the folder is read: a later request may mean a newer bundle
            replaced = weakref.ref(self._app.model.generator)
            notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            await self._reload()
            notify("READY=1")
            await self._wait_until_released(replaced)

    async def _reload(self) -> None:
        old = self._app.model.digest[:SHORT_DIGEST]
        try:
            self._app.set_model(*await asyncio.to_thread(self._load))
        except Exception as failure:  # of any kind: the server must go on
            _log_error(f"the bundle was not loaded again, {old} is served as before: {_describe(failure)}")
            self._app.record_reload("failed")
            return
        self._app.record_reload("ok")
        with contextlib.suppress(OSError):  # a full disk
            self._announce(f"serving bundle {self._app.model.digest[:SHORT_DIGEST]} instead of {old}")

    async def _wait_until_released(self, replaced: "weakref.ref[Generator]") -> None:
        """Wait until no answer uses the bundle that was replaced."""
        gc.collect()  # an error may keep a bundle in a circle of references
        while (old := replaced()) is not None and old is not self._app.model.generator:
            del old
            await asyncio.sleep(RELEASE_POLL_S)
            gc.collect()


def _describe(failure: Exception) -> str:
    if not isinstance(failure, TinyEdgeError):
        return f"{type(failure).__name__}: {failure}"
    return f"{failure.message}; {failure.hint}" if failure.hint else failure.message


def _log_error(text: str) -> None:
    with contextlib.suppress(OSError):  # a full disk
        print("error:", " ".join(text.split()), file=sys.stderr, flush=True)
