"""Counts the answers of every shape, and boots the board for the memory of some; it can be interrupted.

In: a guest. Out: a row a shape, as the report has it. Judges nothing and fits nothing.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.prompts import prompt_of
from bench.twin.layout import Twin, TwinError
from bench.twin.measure import MAX_TOKENS, Response, answer, mean, plain, total
from bench.twin.shapes import Shape
from bench.twin.system_emulation import JOB_START, NO_LIMIT_MS, boot, make_image
from bench.twin.user_emulation import Guest
from tinyedge.core import files
from tinyedge.text.tokenizer import Tokenizer

# Tokens of the bench's prompts, with a vocabulary of 8,000 that was trained on novels: the phrases, the
# sentences, and the longest paragraph, which its p95 is about.
PROMPT_TOKENS = (7, 20, 85)
SAMPLES = 20  # of `tinyedge bench`, whose memory is wanted
BOOT_S = 1500
PARTIAL = "tinyedge.scale-partial/1"


def lengths(shape: Shape) -> tuple[int, ...]:
    """Tokens of each prompt, BOS included: the bench's, and the longest whose answer the context holds."""
    full = shape.config.max_seq_length - MAX_TOKENS
    return tuple(sorted({*PROMPT_TOKENS, full}))


class Sweep:
    """A sweep on its way. Each row is kept as soon as it is there."""

    def __init__(self, guest: Guest, resume: bool) -> None:
        self._guest = guest
        self._folder = guest.twin.folder / "scale"
        (self._folder / "bundles").mkdir(parents=True, exist_ok=True)
        self._partial = self._folder / "partial.json"
        self._rows: dict[str, dict[str, Any]] = {}
        if resume and self._partial.exists():
            self._rows = files.read_json(self._partial, PARTIAL, TwinError)["rows"]

    def run(self, wanted: Sequence[Shape]) -> list[dict[str, Any]]:
        """A row for each shape, in their order. Raises TwinError where a program in the guest fails."""
        for shape in wanted:
            if self._rows.get(shape.name, {}).get("model") != shape.config.to_dict():
                self._keep(shape, self._count(shape))
                print(f"counted {shape.name}", flush=True)
        missing = [shape for shape in wanted if shape.booted and not self._rows[shape.name]["memory"]]
        if missing:
            print(f"booting, for the memory of {len(missing)} shapes", flush=True)
            for shape, memory in self._boot(missing):
                self._keep(shape, self._rows[shape.name] | {"memory": memory})
        return [self._rows[shape.name] for shape in wanted]

    def _keep(self, shape: Shape, row: dict[str, Any]) -> None:
        self._rows[shape.name] = row
        files.write_json(self._partial, {"schema": PARTIAL, "rows": self._rows})

    def _bundle(self, shape: Shape) -> Path:
        """The shape's bundle of random weights; vocabularies are kept, as several shapes have the same."""
        from bench.bundles import invented_pieces, write_invented  # torch

        size = shape.config.vocab_size
        pieces = self._folder / f"{size}.model"
        if not pieces.exists():
            files.write_bytes(pieces, invented_pieces(size))
        return write_invented(self._folder / "bundles" / shape.name, shape.config, pieces.read_bytes())

    def _count(self, shape: Shape) -> dict[str, Any]:
        bundle = self._bundle(shape)
        tokenizer = Tokenizer((bundle / "tokenizer.model").read_bytes())
        prompts = {str(tokens): prompt_of(tokenizer, tokens - 1) for tokens in lengths(shape)}  # BOS is one
        with tempfile.TemporaryDirectory() as folder:
            asked = Path(folder) / "prompts.json"
            asked.write_text(json.dumps(prompts))
            answers = answer(self._guest, bundle, 1, asked)
        return {
            "name": shape.name,
            "model": shape.config.to_dict(),
            "parameters": shape.config.parameters,
            "held_out": shape.held_out,
            "bundle_bytes": {
                name: (bundle / name).stat().st_size for name in ("model.onnx", "tokenizer.model")
            },
            "responses": [response_row(response) for response in answers],
            "memory": None,
        }

    def _boot(self, wanted: Sequence[Shape]) -> Iterator[tuple[Shape, dict[str, int]]]:
        """Runs `tinyedge bench` on each in turn, in one boot."""
        twin: Twin = self._guest.twin
        command = (
            "run bench-{0} python3 -m tinyedge bench {0} --samples {1} --max-p95-ms {2} --json $to/{0}.json\n"
        )
        bundles = {f"shape-{number}": self._bundle(shape) for number, shape in enumerate(wanted)}
        job = JOB_START + "".join(command.format(name, SAMPLES, NO_LIMIT_MS) for name in bundles)
        make_image(twin, job, bundles)
        booted = boot(twin, BOOT_S)
        for name, shape in zip(bundles, wanted, strict=True):
            if f"{name}.json" not in booted.files:
                code = booted.code(f"bench-{name}")
                raise TwinError(
                    f"`tinyedge bench` of {shape.name} in the booted twin exits with {code}:"
                    f" {booted.errors(f'bench-{name}')}"
                )
            memory = json.loads(booted.files[f"{name}.json"])["memory"]
            yield shape, {key: memory[key] for key in ("import_rss", "session_rss", "steady_rss", "peak_rss")}


def response_row(response: Response) -> dict[str, Any]:
    """An answer's figures: its first token, the mean of the later ones, all of it."""
    return {
        "prompt_tokens": response.prompt_tokens,
        "first": plain(response.first),
        "token": plain(mean(response.decoded)),
        "response": plain(total(response.steps)),
    }
