"""What the worker measures and sends, with a generator that has a simulated clock."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.support.ngram_bundle import write_ngram_bundle
from tinyedge.bench import worker
from tinyedge.bench.prompts import PROMPTS, PromptSet
from tinyedge.bench.worker import Channel, Job
from tinyedge.bundle.bundle import load_bundle
from tinyedge.core.errors import BenchError, UsageError
from tinyedge.core.sampling import SamplingConfig
from tinyedge.ngram.layout import BLOCK_BYTES
from tinyedge.runtime import Generator

MEMORY = {"rss": 1, "peak": 2, "swap": 0}


class FakeGenerator:
    """Advances the clock by 5 at the start, 2 per token, 3 at the end, and by `stall` before one token."""

    def __init__(self, stall: tuple[int, int, int] = (-1, -1, 0), tokens: int | None = None) -> None:
        self.now = 1000
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self._stall = stall
        self._tokens = tokens
        self.bundle: Any = SimpleNamespace(ngrams=None)

    def clock(self) -> int:
        return self.now

    def stream(self, prompt: str, **options: Any) -> Any:
        self.requests.append((prompt, options))
        request, token, more = self._stall
        self.now += 5
        for index in range(self._tokens if self._tokens is not None else options["max_tokens"]):
            self.now += 2 + (more if (request, token) == (len(self.requests) - 1, index) else 0)
            yield index
        self.now += 3


def as_generator(fake: FakeGenerator) -> Generator:
    return cast(Generator, fake)


def record_events(action: Callable[[Channel], object]) -> list[dict[str, Any]]:
    file = io.BytesIO()
    channel = Channel(file)
    action(channel)
    channel.send("flush")
    return [json.loads(line) for line in file.getvalue().splitlines()][:-1]


def measure(job: Job, generator: FakeGenerator, **options: Any) -> list[dict[str, Any]]:
    return record_events(
        lambda channel: worker.measure(
            job, as_generator(generator), channel, memory=lambda: MEMORY, clock=generator.clock, **options
        )
    )


def test_a_response_is_timed_from_the_call_to_the_end_of_the_stream() -> None:
    events = measure(Job("b", samples=1, max_tokens=3), FakeGenerator())
    (sample,) = [event for event in events if event["event"] == "sample"]
    assert sample["tokens_ns"] == [7, 9, 11]
    assert sample["end_ns"] == 14


def test_a_stall_appears_at_its_token() -> None:
    generator = FakeGenerator(stall=(1, 2, 1000))
    samples = [e for e in measure(Job("b", samples=3, max_tokens=4), generator) if e["event"] == "sample"]
    assert [sample["tokens_ns"] for sample in samples] == [[7, 9, 11, 13], [7, 9, 1011, 1013], [7, 9, 11, 13]]


def test_the_end_reports_how_much_of_the_ngrams_was_read(micro_bundle: Path, tmp_path: Path) -> None:
    generator = FakeGenerator()
    assert measure(Job("b", samples=1), generator)[-1]["ngrams"] is None
    generator.bundle = load_bundle(write_ngram_bundle(micro_bundle, tmp_path / "mixed"))
    table = generator.bundle.ngrams
    before = measure(Job("b", samples=1), generator)[-1]["ngrams"]
    assert before == {"size": len(table.data), "read": table.layout.body_offset}
    table.check(0)
    assert measure(Job("b", samples=1), generator)[-1]["ngrams"]["read"] == before["read"] + BLOCK_BYTES


def test_the_first_response_reports_memory_after_its_first_token_and_at_its_end() -> None:
    generator = FakeGenerator(stall=(0, 0, 500))
    events = record_events(
        lambda channel: worker.answer_first_prompt(
            Job("b", max_tokens=3), as_generator(generator), channel, generator.clock
        )
    )
    assert [(event["event"], event["name"]) for event in events] == [
        ("phase", "prefill"),
        ("phase", "decode"),
    ]
    assert events[0]["first_token_ns"] == 1000 + 5 + 2 + 500
    assert set(events[1]["memory"]) == {"rss", "peak", "swap", "pss"}


def warm_up(costs: list[int]) -> dict[str, Any]:
    """Run a warm-up whose rounds have the given costs; the last one repeats."""
    generator = FakeGenerator()
    plain = generator.stream

    def stream(prompt: str, **options: Any) -> Any:
        round_ = len(generator.requests) // len(PROMPTS)
        generator.now += costs[min(round_, len(costs) - 1)]
        return plain(prompt, **options)

    generator.stream = stream  # type: ignore[method-assign]
    job = Job("b", max_tokens=1)
    (event,) = record_events(
        lambda channel: worker.warm_up(job, as_generator(generator), channel, generator.clock)
    )
    assert len(generator.requests) == len(event["rounds_ns"]) * len(PROMPTS)
    return event


@pytest.mark.parametrize(
    ("costs", "rounds", "settled"),
    [
        ([100], worker.MIN_ROUNDS, True),
        ([1000, 100], 4, True),  # the second round is much faster, the third and fourth are not
        ([1000, 500, 250, 120], 6, True),
        ([100, 1000], worker.MIN_ROUNDS, True),  # a slower round does not continue the warm-up
        ([3000 - 250 * index for index in range(12)], worker.MAX_ROUNDS, False),
    ],
)
def test_the_warm_up_continues_until_rounds_no_longer_become_faster(
    costs: list[int], rounds: int, settled: bool
) -> None:
    event = warm_up(costs)
    assert (len(event["rounds_ns"]), event["settled"]) == (rounds, settled)


def test_a_stopped_worker_keeps_its_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "FLUSH_NS", -1)  # every sample is sent immediately
    answers = iter([False, False, True])
    events = measure(Job("b", samples=1000), FakeGenerator(), should_stop=lambda: next(answers))
    assert [event["event"] for event in events] == ["sample"] * 3 + ["end"]


def test_waiting_is_the_second_number_of_schedstat(tmp_path: Path) -> None:
    schedstat = tmp_path / "schedstat"
    schedstat.write_text("150266 44953 2\n")
    assert worker.read_waited_ns(schedstat) == 44953
    assert worker.read_waited_ns(tmp_path / "none") is None
    schedstat.write_text("")
    assert worker.read_waited_ns(schedstat) is None


def test_a_job_is_restored_from_json_and_invalid_json_is_refused() -> None:
    job = Job("b", samples=7, prompts=PromptSet("mine", {"line-1": "Hola"}))
    line = job.to_json()
    assert "\n" not in line
    assert Job.from_json(line) == job
    for wrong in ("", "[]", "{}", '{"bundle": "b"}', '{"prompts": 1}', line[:-2]):
        with pytest.raises(UsageError, match="no job"):
            Job.from_json(wrong)


def test_samples_cycle_through_all_prompts_and_each_has_its_own_seed() -> None:
    generator = FakeGenerator()
    events = measure(Job("b", samples=2 * len(PROMPTS) + 1, max_tokens=5, seed=7), generator)
    asked = [event["prompt"] for event in events if event["event"] == "sample"]
    assert asked == [*PROMPTS, *PROMPTS, "en-word"]
    seeds = [options["sampling"].seed for _, options in generator.requests]
    assert seeds == list(range(7, 7 + len(seeds)))
    prompt, options = generator.requests[1]
    assert prompt == PROMPTS["es-word"]
    assert options["sampling"] == SamplingConfig(temperature=0.8, top_k=40, top_p=0.9, seed=8)
    assert options["max_tokens"] == 5
    assert options["ignore_eos"] is True


@pytest.mark.parametrize("tokens", [0, 3])
def test_a_short_response_is_an_error(tokens: int) -> None:
    with pytest.raises(BenchError, match=f"{tokens} tokens instead of 4"):
        measure(Job("b", samples=1, max_tokens=4), FakeGenerator(tokens=tokens))


def test_prompts_have_both_languages_and_enough_long_ones_for_the_p95() -> None:
    languages = {name.partition("-")[0] for name in PROMPTS}
    assert languages == {"en", "es"}
    long = sum(name.endswith("-paragraph") for name in PROMPTS)
    assert long / len(PROMPTS) > 0.05


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("samples", 0),
        ("max_tokens", 0),
        ("max_tokens", 1001),
        ("threads", 0),
        ("threads", 100_000),
        ("seed", -1),
        ("seed", 1 << 32),
    ],
)
def test_an_invalid_value_names_its_parameter(field: str, value: int) -> None:
    options: dict[str, Any] = {field: value}
    with pytest.raises(UsageError, match=f"^{field} {value} "):
        Job("b", **options)


def test_output_of_a_library_does_not_mix_with_the_events() -> None:
    script = """
import os, sys
from tinyedge.bench import worker
worker.run_job = lambda job, channel: os.write(1, b"a library's warning\\n")
sys.exit(worker.main())
"""
    root = Path(worker.__file__).parents[2]
    command = [sys.executable, "-c", script]
    job = Job("b").to_json() + "\n"
    done = subprocess.run(command, cwd=root, input=job, capture_output=True, text=True, check=True)
    assert [json.loads(line)["name"] for line in done.stdout.splitlines()] == ["bare"]
    assert done.stderr == "a library's warning\n"


def test_worker_and_parent_import_no_heavy_library() -> None:
    script = """
import sys
import tinyedge.bench.worker
light = {"typer", "psutil", "statistics", "hashlib", "tomllib"} & set(sys.modules)
import tinyedge.bench.run, tinyedge.bench.table, tinyedge.bench.page.html, tinyedge.bench.compare
heavy = {"numpy", "onnxruntime", "sentencepiece", "torch", "psutil"} & set(sys.modules)
print(sorted(light | heavy))
"""
    root = Path(worker.__file__).parents[2]
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
