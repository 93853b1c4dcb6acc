"""The page, as a person uses it in a real browser."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.serve.loopback import Server
from tests.support import browser as b
from tests.support.browser import Browser

KEY = "a-key-that-nobody-guesses"
PROMPT = "The captain"

pytestmark = pytest.mark.skipif(bool(b.missing()), reason=f"{b.missing()} not installed")


@pytest.fixture(scope="module")
def desktop() -> Iterator[Browser]:
    with Browser() as one:
        yield one


def is_idle(browser: Browser) -> bool:
    return bool(browser.run("return !document.getElementById('write').disabled"))


def test_writes_what_the_api_writes(server: Server, desktop: Browser) -> None:
    desktop.open(f"http://127.0.0.1:{server.port}/")
    desktop.wait(lambda: "MB" in desktop.text("memory"))
    assert "int8" in desktop.text("about")
    desktop.type("prompt", PROMPT)
    desktop.type("seed", "4")
    desktop.click("write")
    expected = PROMPT + server.complete(PROMPT, seed=4, max_tokens=64, temperature=0.8).text
    desktop.wait(lambda: is_idle(desktop) and desktop.text("count") not in ("", "–"))
    assert desktop.text("answer") == expected
    assert float(desktop.text("rate")) > 0
    assert desktop.text("first").endswith(" ms")
    assert float(desktop.text("memory").removesuffix(" MB")) > 20
    assert desktop.complaints() == []  # nothing from elsewhere, nothing that the policy forbids


def test_works_without_a_mouse(server: Server, desktop: Browser) -> None:
    desktop.open(f"http://127.0.0.1:{server.port}/")
    desktop.press(PROMPT[0])  # the prompt has the focus
    assert desktop.run("return document.getElementById('prompt').value") == PROMPT[0]
    desktop.type("length", b.END + "000")  # 64000: more than the server allows
    desktop.press(b.CONTROL + b.ENTER)
    desktop.wait(lambda: "max_tokens must be" in desktop.text("error"))
    assert desktop.run("return document.activeElement.tagName") == "INPUT"
    for name in ("heat", "seed", "write"):
        desktop.press(b.TAB)
        assert desktop.run("return document.activeElement.id") == name
    fields = "[...document.querySelectorAll('input, textarea')]"
    assert desktop.run(f"return {fields}.every((field) => field.labels.length == 1)")


def test_stops(server: Server, desktop: Browser) -> None:
    """The server is asked for more than anyone waits for; Escape ends it, there too."""
    desktop.open(f"http://127.0.0.1:{server.port}/")
    asked = json.dumps({"prompt": PROMPT, "stream": True, "max_tokens": 4000, "ignore_eos": True})
    desktop.run(f"order = () => ({asked});")
    desktop.type("prompt", PROMPT)
    desktop.click("write")
    desktop.wait(lambda: len(desktop.text("answer")) > len(PROMPT))
    desktop.press(b.ESCAPE)
    desktop.wait(lambda: is_idle(desktop))
    server.wait("tinyedge_active_requests", 0)
    assert not desktop.run("return !document.getElementById('error').hidden")


def test_text_is_text(server: Server, desktop: Browser) -> None:
    desktop.open(f"http://127.0.0.1:{server.port}/")
    prompt = "<img src=x onerror=alert(1)><b>x"
    desktop.type("prompt", prompt)
    desktop.click("write")
    desktop.wait(lambda: is_idle(desktop))
    assert desktop.text("answer").startswith(prompt)
    assert desktop.run("return document.querySelectorAll('#answer img, #answer b').length") == 0


def test_asks_for_the_key(micro_bundle: Path, desktop: Browser) -> None:
    with Server(micro_bundle, env={"TINYEDGE_API_KEY": KEY}) as server:
        desktop.open(f"http://127.0.0.1:{server.port}/")
        desktop.wait(lambda: bool(desktop.run("return document.activeElement.id == 'secret'")))
        desktop.type("secret", "wrong" + b.ENTER)
        desktop.wait(lambda: desktop.text("error") == "That is not the key.")
        desktop.type("secret", KEY + b.ENTER)
        desktop.wait(lambda: "int8" in desktop.text("about"))
        assert desktop.run("return document.getElementById('key').hidden")
        desktop.type("prompt", PROMPT)
        desktop.press(b.CONTROL + b.ENTER)
        desktop.wait(lambda: is_idle(desktop) and desktop.text("count") not in ("", "–"))
        kept = desktop.run("return [localStorage.length, sessionStorage.length, document.cookie]")
        assert kept == [0, 0, ""]


@pytest.mark.parametrize("dark", [False, True])
def test_fits_a_phone(server: Server, dark: bool) -> None:
    with Browser(320, 640, dark) as phone:
        phone.open(f"http://127.0.0.1:{server.port}/")
        phone.type("prompt", PROMPT)
        phone.click("write")
        phone.wait(lambda: is_idle(phone) and "MB" in phone.text("memory"))
        assert phone.run("return document.documentElement.scrollWidth <= window.innerWidth")
        heights = phone.run("return [...document.querySelectorAll('#ask button')].map((e) => e.offsetHeight)")
        assert min(heights) >= 44  # a thumb
        colour = phone.run("return getComputedStyle(document.body).backgroundColor")
        assert colour == ("rgb(22, 24, 26)" if dark else "rgb(251, 250, 247)")
        assert phone.complaints() == []
