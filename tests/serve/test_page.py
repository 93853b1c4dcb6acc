"""The web page, as a person uses it in a real browser."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.serve.loopback import Server
from tests.support.browser import CONTROL, END, ENTER, ESCAPE, TAB, Browser, find_missing_programs
from tests.support.command_bundle import LIGHT_ON

KEY = "a-key-that-nobody-guesses"
PROMPT = "The captain"

pytestmark = pytest.mark.skipif(
    bool(find_missing_programs()), reason=f"{find_missing_programs()} not installed"
)


@pytest.fixture(scope="module")
def desktop() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


def is_idle(browser: Browser) -> bool:
    return bool(browser.run("return !document.getElementById('generate').disabled"))


def test_the_text_is_that_of_the_api(server: Server, desktop: Browser) -> None:
    desktop.open(f"http://127.0.0.1:{server.port}/")
    desktop.wait(lambda: "MB" in desktop.get_text("memory"))
    assert "int8" in desktop.get_text("about")
    desktop.type_text("prompt", PROMPT)
    desktop.type_text("seed", "4")
    desktop.click("generate")
    expected = PROMPT + server.complete(PROMPT, seed=4, max_tokens=64, temperature=0.8).text
    desktop.wait(lambda: is_idle(desktop) and desktop.get_text("count") not in ("", "–"))
    assert desktop.get_text("answer") == expected
    assert float(desktop.get_text("rate")) > 0
    assert desktop.get_text("first").endswith(" ms")
    assert float(desktop.get_text("memory").removesuffix(" MB")) > 20
    assert desktop.read_console() == []  # no external resources, no violation of the policy


def test_likely_next_tokens_are_shown_on_demand(server: Server, desktop: Browser) -> None:
    desktop.open(f"http://127.0.0.1:{server.port}/")
    desktop.type_text("prompt", PROMPT)
    assert desktop.run("return document.getElementById('next').hidden")
    desktop.click("likely")
    rows = "[...document.querySelectorAll('#next li')]"
    desktop.wait(lambda: desktop.run(f"return {rows}.length") == 10)
    shown = desktop.run(f"return {rows}.map((row) => [...row.children].map((cell) => cell.textContent))")
    body = {"prompt": PROMPT, "max_tokens": 1, "logprobs": 10}
    (top,) = server.post("/v1/completions", body).json()["choices"][0]["logprobs"]["top_logprobs"]
    expected = [
        ["(end)" if token == "</s>" else token.replace(" ", "␣"), "", f"{100 * math.exp(logprob):.1f}%"]
        for token, logprob in top.items()
    ]
    assert shown == expected
    desktop.click("generate")
    desktop.wait(lambda: is_idle(desktop) and desktop.get_text("count") not in ("", "–"))
    assert desktop.run("return document.getElementById('next').hidden")
    assert desktop.read_console() == []


def test_a_model_of_pairs_answers_on_the_page(bundle_copy: Callable[[], Path], desktop: Browser) -> None:
    bundle = bundle_copy()
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**manifest, "chat": {"template": "turns/1"}}))
    with Server(bundle) as server:
        desktop.open(f"http://127.0.0.1:{server.port}/")
        desktop.wait(lambda: "answers" in desktop.get_text("about"))
        assert desktop.get_text("prompt-label") == "Message"
        desktop.type_text("prompt", PROMPT)
        desktop.type_text("seed", "4")
        desktop.click("generate")
        desktop.wait(lambda: is_idle(desktop) and desktop.get_text("count") not in ("", "–"))
        body = {"messages": [{"role": "user", "content": PROMPT}], "seed": 4, "max_tokens": 64}
        answer = server.post("/v1/chat/completions", body).json()["choices"][0]["message"]["content"]
        assert desktop.get_text("answer") == answer.strip()
        desktop.click("likely")
        desktop.wait(lambda: desktop.run("return document.querySelectorAll('#next li').length") == 10)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    file = tmp_path / "home.json"
    file.write_text(json.dumps({"devices": [{"name": "Bedroom Lamp", "domain": "light"}]}))
    return file


def read_table(browser: Browser) -> dict[str, str]:
    rows = "[...document.querySelectorAll('#understood tr')]"
    cells = f"{rows}.map((row) => [...row.children].map((cell) => cell.textContent))"
    return dict(browser.run(f"return {cells}"))


def test_a_command_is_shown_as_an_intent_and_its_slots(
    command_bundle: Path, home: Path, desktop: Browser
) -> None:
    with Server(command_bundle, "--home", home) as server:
        desktop.open(f"http://127.0.0.1:{server.port}/")
        desktop.wait(lambda: bool(desktop.run("return document.activeElement.id == 'command'")))
        assert desktop.run("return document.getElementById('ask').hidden")
        assert desktop.run("return document.getElementById('no-names').hidden")
        desktop.type_text("command", "turn on the bedroom lamp" + ENTER)
        desktop.wait(lambda: bool(read_table(desktop)))
        assert read_table(desktop) == {"intent": LIGHT_ON.intent, **LIGHT_ON.slots}
        assert "Bedroom Lamp (light)" in desktop.get_text("understood")
        assert float(desktop.get_text("count")) > 0
        unknown = desktop.run("""return makeIntent('{"intent":"unknown","slots":{}}').textContent""")
        cut = desktop.run("""return makeIntent('{"intent":"HassTurnOn","slots":{"na').textContent""")
        assert unknown == cut == "Not understood."
        assert desktop.read_console() == []
        server.stop()
        desktop.click("understand")
        desktop.wait(lambda: desktop.get_text("error") != "")
        assert desktop.get_text("understood") == ""  # not the answer to the command before


def test_a_page_without_names_says_so(command_bundle: Path, desktop: Browser) -> None:
    with Server(command_bundle, "--home", "request") as server:
        desktop.open(f"http://127.0.0.1:{server.port}/")
        desktop.wait(lambda: bool(desktop.run("return document.activeElement.id == 'command'")))
        assert not desktop.run("return document.getElementById('no-names').hidden")
        desktop.type_text("command", "turn on the bedroom lamp" + ENTER)
        desktop.wait(lambda: desktop.get_text("count") not in ("", "–"))
        assert "mentions" not in desktop.get_text("understood")


def test_without_a_home_the_page_has_no_form_for_commands(server: Server, desktop: Browser) -> None:
    desktop.open(f"http://127.0.0.1:{server.port}/")
    desktop.wait(lambda: "MB" in desktop.get_text("memory"))
    assert desktop.run("return document.getElementById('command-form').hidden")
    assert not desktop.run("return document.getElementById('ask').hidden")


def test_works_with_the_keyboard_only(server: Server, desktop: Browser) -> None:
    desktop.open(f"http://127.0.0.1:{server.port}/")
    desktop.wait(lambda: bool(desktop.run("return document.activeElement.id == 'prompt'")))
    desktop.press(PROMPT[0])
    assert desktop.run("return document.getElementById('prompt').value") == PROMPT[0]
    desktop.type_text("max-tokens", END + "000")  # 64000: above the limit of the server
    desktop.press(CONTROL + ENTER)
    desktop.wait(lambda: "max_tokens must be" in desktop.get_text("error"))
    assert desktop.run("return document.activeElement.tagName") == "INPUT"
    for name in ("temperature", "seed", "generate"):
        desktop.press(TAB)
        assert desktop.run("return document.activeElement.id") == name
    fields = "[...document.querySelectorAll('input, textarea')]"
    assert desktop.run(f"return {fields}.every((field) => field.labels.length == 1)")


def test_escape_stops_the_generation(server: Server, desktop: Browser) -> None:
    """The text is longer than anyone waits for; Escape also ends its generation in the server."""
    desktop.open(f"http://127.0.0.1:{server.port}/")
    request = json.dumps({"prompt": PROMPT, "stream": True, "max_tokens": 4000, "ignore_eos": True})
    desktop.run(f"buildRequest = () => ({request});")
    desktop.type_text("prompt", PROMPT)
    desktop.click("generate")
    desktop.wait(lambda: len(desktop.get_text("answer")) > len(PROMPT))
    desktop.press(ESCAPE)
    desktop.wait(lambda: is_idle(desktop))
    server.wait_for_metric("tinyedge_active_requests", 0)
    assert not desktop.run("return !document.getElementById('error').hidden")


def test_text_is_not_interpreted_as_html(server: Server, desktop: Browser) -> None:
    desktop.open(f"http://127.0.0.1:{server.port}/")
    prompt = "<img src=x onerror=alert(1)><b>x"
    desktop.type_text("prompt", prompt)
    desktop.click("generate")
    desktop.wait(lambda: is_idle(desktop))
    assert desktop.get_text("answer").startswith(prompt)
    assert desktop.run("return document.querySelectorAll('#answer img, #answer b').length") == 0


def test_the_page_asks_for_the_key(micro_bundle: Path, desktop: Browser) -> None:
    with Server(micro_bundle, env={"TINYEDGE_API_KEY": KEY}) as server:
        desktop.open(f"http://127.0.0.1:{server.port}/")
        desktop.wait(lambda: bool(desktop.run("return document.activeElement.id == 'secret'")))
        desktop.type_text("secret", "wrong" + ENTER)
        desktop.wait(lambda: desktop.get_text("error") == "The key is not valid.")
        desktop.type_text("secret", KEY + ENTER)
        desktop.wait(lambda: "int8" in desktop.get_text("about"))
        assert desktop.run("return document.getElementById('key').hidden")
        desktop.type_text("prompt", PROMPT)
        desktop.press(CONTROL + ENTER)
        desktop.wait(lambda: is_idle(desktop) and desktop.get_text("count") not in ("", "–"))
        stored = desktop.run("return [localStorage.length, sessionStorage.length, document.cookie]")
        assert stored == [0, 0, ""]


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_fits_a_phone(server: Server, dark: bool) -> None:
    with Browser(320, 640, dark) as phone:
        phone.open(f"http://127.0.0.1:{server.port}/")
        phone.type_text("prompt", PROMPT)
        phone.click("generate")
        phone.wait(lambda: is_idle(phone) and "MB" in phone.get_text("memory"))
        assert phone.run("return document.documentElement.scrollWidth <= window.innerWidth")
        heights = phone.run("return [...document.querySelectorAll('#ask button')].map((e) => e.offsetHeight)")
        assert min(heights) >= 44  # large enough for a thumb
        colour = phone.run("return getComputedStyle(document.body).backgroundColor")
        assert colour == ("rgb(22, 24, 26)" if dark else "rgb(251, 250, 247)")
        assert phone.read_console() == []


def test_the_form_for_commands_fits_a_phone(command_bundle: Path, home: Path) -> None:
    with Server(command_bundle, "--home", home) as server, Browser(320, 640) as phone:
        phone.open(f"http://127.0.0.1:{server.port}/")
        phone.wait(lambda: bool(phone.run("return document.activeElement.id == 'command'")))
        phone.type_text("command", "turn on the bedroom lamp" + ENTER)
        phone.wait(lambda: bool(read_table(phone)))
        assert phone.run("return document.documentElement.scrollWidth <= window.innerWidth")
        assert phone.run("return document.getElementById('understand').offsetHeight") >= 44
        assert phone.read_console() == []
