"""Counts of the answers of every shape, and the memory of some on the booted board; it can be interrupted.

In: a guest. Out: a row for each shape, as in the report. Does not evaluate or fit.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.prompts import make_prompt
from bench.twin.layout import Twin, TwinError
from bench.twin.measure import (
    MAX_TOKENS,
    Response,
    count_responses,
    figures_from_json,
    figures_to_json,
    mean_figures,
    sum_figures,
)
from bench.twin.shapes import Shape
from bench.twin.system_emulation import JOB_START, NO_LIMIT_MS, boot, make_image
from bench.twin.user_emulation import Guest
from tinyedge.bundle.manifest import NGRAMS_FILE
from tinyedge.core import files
from tinyedge.text.tokenizer import Tokenizer

# Tokens of the benchmark's prompts, with a vocabulary of 8,000 that was trained on novels: the phrases, the
# sentences, and the longest paragraph, which determines the p95.
PROMPT_TOKENS = (7, 20, 85)
SAMPLES = 20  # of `tinyedge bench`, which is run for its memory
BOOT_TIMEOUT_S = 1500
PARTIAL_SCHEMA = "tinyedge.scale-partial/1"


def prompt_lengths(shape: Shape) -> tuple[int, ...]:
    """Tokens of each prompt, BOS included: the benchmark's, and the longest with room for its answer."""
    full = shape.config.max_seq_length - MAX_TOKENS
    return tuple(sorted({*PROMPT_TOKENS, full}))


class Sweep:
    """A sweep that saves each row as soon as it is counted."""

    def __init__(self, guest: Guest, resume: bool, name: str = "scale") -> None:
        """Start a sweep.

        Args:
            guest: The twin.
            resume: Whether to use the rows that an earlier sweep has saved.
            name: Name of the sweep's folder in the twin's: two sweeps may have shapes of the same names.
        """
        self._guest = guest
        self._folder = guest.twin.folder / name
        (self._folder / "bundles").mkdir(parents=True, exist_ok=True)
        self._partial_file = self._folder / "partial.json"
        self._rows: dict[str, dict[str, Any]] = {}
        if resume and self._partial_file.exists():
            self._rows = files.read_json(self._partial_file, PARTIAL_SCHEMA, TwinError)["rows"]

    def run(self, wanted: Sequence[Shape]) -> list[dict[str, Any]]:
        """Count and boot what is missing.

        Returns:
            A row for each shape, in their order.

        Raises:
            TwinError: If a program in the guest fails.
        """
        for shape in wanted:
            if self._rows.get(shape.name, {}).get("model") != shape.config.to_dict():
                self._save(shape, self._count(shape))
                print(f"counted {shape.name}", flush=True)
        missing = [shape for shape in wanted if shape.booted and not self._rows[shape.name]["memory"]]
        if missing:
            print(f"booting, for the memory of {len(missing)} shapes", flush=True)
            for shape, memory in self._boot(missing):
                self._save(shape, self._rows[shape.name] | {"memory": memory})
        return [update_times(self._rows[shape.name]) for shape in wanted]

    def _save(self, shape: Shape, row: dict[str, Any]) -> None:
        self._rows[shape.name] = row
        files.write_json(self._partial_file, {"schema": PARTIAL_SCHEMA, "rows": self._rows})

    def _make_bundle(self, shape: Shape) -> Path:
        """Make the shape's bundle of random weights; vocabularies and tables are reused between shapes."""
        from bench.bundles import draw_ngrams, train_random_tokenizer, write_random_bundle  # torch

        size = shape.config.vocab_size
        pieces, ngrams = (self._folder / f"{size}.{kind}" for kind in ("model", "ngrams"))
        if not pieces.exists():
            files.write_bytes(pieces, train_random_tokenizer(size))
        if shape.is_mixed and not ngrams.exists():
            files.write_bytes(ngrams, draw_ngrams(size))
        table = ngrams.read_bytes() if shape.is_mixed else None
        folder = self._folder / "bundles" / shape.name
        return write_random_bundle(folder, shape.config, pieces.read_bytes(), table)

    def _count(self, shape: Shape) -> dict[str, Any]:
        bundle = self._make_bundle(shape)
        tokenizer = Tokenizer((bundle / "tokenizer.model").read_bytes())
        words = {length: length - 1 for length in prompt_lengths(shape)}  # BOS is a token too
        prompts = {str(length): make_prompt(tokenizer, tokens) for length, tokens in words.items()}
        with tempfile.TemporaryDirectory() as folder:
            prompts_file = Path(folder) / "prompts.json"
            prompts_file.write_text(json.dumps(prompts))
            responses = count_responses(self._guest, bundle, 1, prompts_file)
        return {
            "name": shape.name,
            "model": shape.config.to_dict(),
            "parameters": shape.config.parameters,
            "held_out": shape.held_out,
            "bundle_bytes": {
                name: (bundle / name).stat().st_size
                for name in ("model.onnx", "tokenizer.model", NGRAMS_FILE)
                if (bundle / name).exists()
            },
            "responses": [response_to_json(response) for response in responses],
            "memory": None,
        }

    def _boot(self, wanted: Sequence[Shape]) -> Iterator[tuple[Shape, dict[str, int]]]:
        """Run `tinyedge bench` on each shape, in one boot."""
        twin: Twin = self._guest.twin
        command = (
            "run bench-{0} python3 -m tinyedge bench {0} --samples {1} --max-p95-ms {2} --json $to/{0}.json\n"
        )
        bundles = {f"shape-{number}": self._make_bundle(shape) for number, shape in enumerate(wanted)}
        job = JOB_START + "".join(command.format(name, SAMPLES, NO_LIMIT_MS) for name in bundles)
        make_image(twin, job, bundles)
        booted = boot(twin, BOOT_TIMEOUT_S)
        for name, shape in zip(bundles, wanted, strict=True):
            if f"{name}.json" not in booted.files:
                code = booted.exit_code(f"bench-{name}")
                raise TwinError(
                    f"`tinyedge bench` of {shape.name} in the booted twin exited with {code}:"
                    f" {booted.errors(f'bench-{name}')}"
                )
            memory = json.loads(booted.files[f"{name}.json"])["memory"]
            yield shape, {key: memory[key] for key in ("import_rss", "session_rss", "steady_rss", "peak_rss")}


def update_times(row: dict[str, Any]) -> dict[str, Any]:
    """A row with the times of today's latency model, which may be newer than its counts."""
    responses = [
        {
            name: figures_to_json(figures_from_json(part)) if isinstance(part, dict) else part
            for name, part in response.items()
        }
        for response in row["responses"]
    ]
    return {**row, "responses": responses}


def response_to_json(response: Response) -> dict[str, Any]:
    """Figures of a response: its first token, the mean of the later ones, the total."""
    return {
        "prompt_tokens": response.prompt_tokens,
        "first": figures_to_json(response.first),
        "token": figures_to_json(mean_figures(response.decoded)),
        "response": figures_to_json(sum_figures(response.steps)),
        **({"fresh_blocks": response.fresh_blocks} if response.fresh_blocks else {}),
    }
