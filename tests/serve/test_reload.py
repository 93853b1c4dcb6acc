"""SIGHUP: another bundle is served without a pause, and a bad one changes nothing."""

import asyncio
import gc
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench.serve.loopback import Server, parse_events, wait_until
from tests.serve.conftest import NotifyChannel
from tests.support.ngram_bundle import make_ngrams, write_ngram_bundle
from tinyedge.bundle.bundle import bundle_digest, load_bundle

LONG: dict[str, Any] = {"max_tokens": 3000, "ignore_eos": True, "stream": True, "seed": 7}
SHORT: dict[str, Any] = {"max_tokens": 8, "seed": 7}


@pytest.fixture(autouse=True)
def _extra() -> None:
    for package in ("h11", "prometheus_client"):
        pytest.importorskip(package, reason="the server needs the extra `serve`")


class Link:
    """A link to a bundle, as a store's `current`."""

    def __init__(self, path: Path, bundle: Path) -> None:
        self.path = path
        self.switch(bundle)

    def switch(self, bundle: Path) -> None:
        new = self.path.with_suffix(".new")
        new.symlink_to(bundle)
        new.replace(self.path)


@pytest.fixture(scope="module")
def first(micro_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ngram_bundle(micro_bundle, tmp_path_factory.mktemp("first") / "bundle")


@pytest.fixture(scope="module")
def second(micro_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with other n-grams, as `tinyedge learn` writes it."""
    folder = tmp_path_factory.mktemp("second") / "bundle"
    return write_ngram_bundle(micro_bundle, folder, make_ngrams(tokens=900))


@pytest.fixture
def link(first: Path, tmp_path: Path) -> Link:
    return Link(tmp_path / "current", first)


@pytest.fixture
def server(link: Link) -> Iterator[Server]:
    with Server(link.path, "--max-tokens", 4000) as process:
        yield process


def digest(bundle: Path) -> str:
    return bundle_digest(load_bundle(bundle))


def served(server: Server) -> str:
    return str(server.get("/v1/models").json()["data"][0]["bundle"])


def reload(server: Server, result: str = "ok") -> None:
    """Send SIGHUP and wait until the server has reacted."""
    name = f'tinyedge_reloads_total{{result="{result}"}}'
    before = server.read_metric(name)
    server.process.send_signal(signal.SIGHUP)
    server.wait_for_metric(name, before + 1)


def mapped_tables(server: Server) -> int:
    """Number of tables of n-grams, of one bundle each, that the server has in memory."""
    maps = Path(f"/proc/{server.process.pid}/maps").read_text().splitlines()
    return len({line.split()[4] for line in maps if "ngrams.bin" in line})


def test_another_bundle_is_served_after_sighup(server: Server, link: Link, first: Path, second: Path) -> None:
    assert served(server) == digest(first)
    before = server.complete(**SHORT)
    link.switch(second)
    assert served(server) == digest(first)  # not before it is asked for
    reload(server)
    assert served(server) == digest(second)
    assert f'bundle="{digest(second)}"' in server.get("/metrics").body.decode()
    assert f'bundle="{digest(first)}"' not in server.get("/metrics").body.decode()
    after = server.complete(**SHORT)
    assert before.json()["system_fingerprint"] != after.json()["system_fingerprint"]
    with Server(second) as other:
        assert after.text == other.complete(**SHORT).text
    server_exit = server.stop()
    assert (server_exit.code, server_exit.stderr) == (0, "")
    last = server_exit.stdout.splitlines()[-1]
    assert last == f"serving bundle {digest(second)[:12]} instead of {digest(first)[:12]}"


def test_running_and_waiting_answers_finish_with_the_old_bundle(
    server: Server, link: Link, first: Path, second: Path
) -> None:
    expected = server.complete(**{**LONG, "stream": False}).text
    assert mapped_tables(server) == 1
    with ThreadPoolExecutor() as pool:
        running = pool.submit(server.complete, **LONG)
        server.wait_for_metric("tinyedge_active_requests", 1)
        waiting = pool.submit(server.complete, **SHORT)
        server.wait_for_metric("tinyedge_queue_depth", 1)
        link.switch(second)
        reload(server)
        assert server.read_metric("tinyedge_active_requests") == 1  # the long answer is not complete
        assert mapped_tables(server) == 2
        after = server.complete(**SHORT)
    events = [*parse_events(running.result().body)]
    assert "".join(event["choices"][0]["text"] for event in events) == expected
    old, new = (digest(bundle)[:16] for bundle in (first, second))
    assert {event["system_fingerprint"] for event in events} == {old}
    assert waiting.result().json()["system_fingerprint"] == old
    assert after.json()["system_fingerprint"] == new
    wait_until(lambda: mapped_tables(server) == 1, "the old bundle is still in memory")


def test_a_damaged_bundle_is_one_error_and_the_old_one_stays(
    server: Server, link: Link, first: Path, second: Path, bundle_copy: Callable[[], Path]
) -> None:
    damaged = bundle_copy()
    (damaged / "model.onnx").write_bytes(b"x")
    before = server.complete(**SHORT).text
    link.switch(damaged)
    reload(server, "failed")
    link.path.unlink()
    reload(server, "failed")
    assert served(server) == digest(first)
    assert server.get("/readyz").status == 200
    assert server.complete(**SHORT).text == before
    link.switch(second)
    reload(server)
    assert served(server) == digest(second)
    server_exit = server.stop()
    assert server_exit.code == 0
    start = f"error: the bundle was not loaded again, {digest(first)[:12]} is served as before: {link.path}"
    lines = server_exit.stderr.splitlines()
    assert [line.startswith(start) for line in lines] == [True, True]
    assert "model.onnx has 1 bytes" in lines[0]
    assert "does not exist" in lines[1]


def test_a_bundle_that_does_not_fit_the_settings_is_refused(
    command_bundle: Path, micro_bundle: Path, tmp_path: Path
) -> None:
    link = Link(tmp_path / "current", command_bundle)
    with Server(link.path, "--home", "request") as server:
        link.switch(micro_bundle)
        reload(server, "failed")
        assert served(server) == digest(command_bundle)
        server_exit = server.stop()
    assert "was not trained on pairs" in server_exit.stderr
    assert len(server_exit.stderr.splitlines()) == 1


def test_many_reloads_do_not_add_up(server: Server, link: Link, first: Path, second: Path) -> None:
    for bundle in (second, first) * 3:
        link.switch(bundle)
        reload(server)
        assert served(server) == digest(bundle)
    wait_until(lambda: mapped_tables(server) == 1, "an old bundle is still in memory")


def test_signals_close_to_each_other_are_not_lost(
    server: Server, link: Link, first: Path, second: Path
) -> None:
    """Whatever becomes of the others, what is in the folder at the last signal is served."""
    for _ in range(5):
        for bundle in (first, second):
            link.switch(bundle)
            server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: served(server) == digest(second), "the last bundle is not served")
    server_exit = server.stop()
    assert (server_exit.code, server_exit.stderr) == (0, "")


def test_systemd_is_notified_of_a_reload(link: Link, systemd: NotifyChannel) -> None:
    with Server(link.path, env={"NOTIFY_SOCKET": systemd.address}) as server:
        assert systemd.receive() == b"READY=1"
        server.process.send_signal(signal.SIGHUP)
        begin, _, at = systemd.receive().partition(b"\nMONOTONIC_USEC=")
        assert (begin, at.isdigit()) == (b"RELOADING=1", True)
        assert systemd.receive() == b"READY=1"


def test_a_signal_while_the_bundle_is_loaded_loads_it_once_more(micro_bundle: Path) -> None:
    """The folder may have changed after the start began to read it."""
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from tinyedge.serve import server\n"
        "from tinyedge.serve.settings import Settings\n"
        "load, calls = server._load_model, []\n"
        "def load_slowly(settings):\n"
        "    calls.append(1)\n"
        "    os.kill(os.getpid(), signal.SIGHUP if len(calls) == 1 else signal.SIGTERM)\n"
        "    return load(settings)\n"
        "server._load_model = load_slowly\n"
        "ended_by = server.serve(Settings(Path(sys.argv[1]), port=0), lambda *ready: print('ready'))\n"
        "print(len(calls), ended_by == signal.SIGTERM)\n"
    )
    command = [sys.executable, "-c", code, str(micro_bundle)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("ready\n2 True\n", "", 0)


@pytest.mark.parametrize("ignored", [False, True])
def test_the_end_of_the_terminal_ends_the_server_unless_nohup_started_it(
    micro_bundle: Path, ignored: bool
) -> None:
    """In a terminal, SIGHUP has two meanings: while the terminal is there, the bundle is loaded again."""
    pid, terminal = pty.fork()
    if pid == 0:  # this process: the session's leader, which the kernel signals when its terminal closes
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
        words = [sys.executable, "-m", "tinyedge", "serve", str(micro_bundle), "--port", "0"]
        os.execv(sys.executable, words)
    output = b""
    while b"chat:" not in output:
        output += os.read(terminal, 4096)
    os.kill(pid, signal.SIGHUP)
    while b" instead of " not in output:
        output += os.read(terminal, 4096)
    os.close(terminal)
    if ignored:
        with pytest.raises(TimeoutError):
            wait_until_ended(pid, seconds=1)
        os.kill(pid, signal.SIGTERM)
    assert wait_until_ended(pid, seconds=60) == (0 if ignored else 129)


def wait_until_ended(pid: int, seconds: float) -> int:
    """Wait for a child process and return its exit code."""

    async def wait() -> int:
        while (found := os.waitpid(pid, os.WNOHANG))[0] == 0:
            await asyncio.sleep(0.02)
        return os.waitstatus_to_exitcode(found[1])

    return asyncio.run(asyncio.wait_for(wait(), seconds))


class FakeGenerator:
    """A loaded bundle as the reloader sees it."""


class FakeApp:
    """An app as the reloader sees it."""

    def __init__(self) -> None:
        self.results: list[str] = []
        self.set_model(FakeGenerator())

    def set_model(self, generator: Any, content_filter: object = None) -> None:
        self.model = SimpleNamespace(generator=generator, digest="d" * 64)

    def record_reload(self, result: str) -> None:
        self.results.append(result)


def run_reloader(load: Callable[[FakeApp, Any], Any], steps: Callable[[FakeApp, Any], Any]) -> FakeApp:
    """Run a reloader of a fake app, while `steps` runs."""
    from tinyedge.serve.reload import Reloader

    async def run() -> FakeApp:
        app = FakeApp()
        reloader: Reloader = Reloader(cast(Any, app), lambda: load(app, reloader), lambda line: None)
        running = asyncio.ensure_future(reloader.run())
        await asyncio.wait_for(steps(app, reloader), 60)
        running.cancel()
        return app

    return asyncio.run(run())


def test_requests_before_and_during_a_reload_are_one_each() -> None:
    loads: list[int] = []

    def load(app: FakeApp, reloader: Any) -> tuple[Any, None]:
        loads.append(len(app.results))
        if len(loads) == 1:
            for _ in range(3):
                reloader.request()
        return FakeGenerator(), None

    async def steps(app: FakeApp, reloader: Any) -> None:
        for _ in range(5):
            reloader.request()
        while len(app.results) < 2:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)

    assert run_reloader(load, steps).results == ["ok", "ok"]
    assert loads == [0, 1]


def test_no_third_bundle_is_loaded_while_answers_use_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinyedge.serve import reload as module

    monkeypatch.setattr(module, "RELEASE_POLL_S", 0.01)
    seen: list[int] = []

    def load(app: FakeApp, reloader: Any) -> tuple[Any, None]:
        return FakeGenerator(), None

    async def steps(app: FakeApp, reloader: Any) -> None:
        answer: dict[str, Any] = {"generator": app.model.generator}
        reloader.request()
        while not app.results:
            await asyncio.sleep(0.01)
        reloader.request()
        await asyncio.sleep(0.2)
        seen.append(len(app.results))
        answer["itself"] = answer  # a circle of references, as of an error and its traceback
        del answer
        gc.disable()  # the reloader collects by itself
        while len(app.results) < 2:
            await asyncio.sleep(0.01)
        gc.enable()

    run_reloader(load, steps)
    assert seen == [1]


@pytest.mark.parametrize("failure", [MemoryError(), OSError("disk"), ValueError("x")])
def test_any_error_of_a_reload_is_one_line(failure: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    def load(app: FakeApp, reloader: Any) -> Any:
        raise failure

    async def steps(app: FakeApp, reloader: Any) -> None:
        for count in (1, 2):  # the reloader goes on
            reloader.request()
            while len(app.results) < count:
                await asyncio.sleep(0.01)

    assert run_reloader(load, steps).results == ["failed", "failed"]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert type(failure).__name__ in lines[0]
