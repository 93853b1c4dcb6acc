"""Compares the results of other tools for a portable model with tinyedge's. Does not import tinyedge.

    python other_tools.py WORK

In: WORK/model, WORK/reference.json and WORK/reference.npz, which `bench.interop` wrote. Out: a row for each
tool; exit status 1 if one differs.
"""

import importlib.metadata
import json
import os
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "ORT_DISABLE_TELEMETRY": "1"}
os.environ |= {"TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}

import numpy as np
import onnxruntime_genai
import torch
from optimum.onnxruntime import ORTModelForCausalLM
from transformers import AutoModelForCausalLM, AutoTokenizer

TOLERANCE = 1e-4  # of the largest logit, or of 1 if that is more, as in the export
SAME_SCORE = 1e-3  # segmentations whose log probabilities differ by less are a tie
BATCH = 6  # prompts of different lengths in one padded batch
BATCH_TOKENS = 8


@dataclass
class Row:
    """Result of one tool."""

    tool: str
    """Its name."""
    version: str
    """Its version."""
    max_difference: float = 0.0
    """Largest difference of a logit, relative to the largest logit."""
    tokens: int = 0
    """Greedy tokens compared."""
    texts: int = 0
    """Encoded texts compared."""
    ties: int = 0
    """Texts with another segmentation of the same probability."""
    failures: list[str] = field(default_factory=list)
    """Differences in words."""

    def compare_logits(self, found: Any, expected: Any, what: str) -> None:
        """Compare logits of the same positions."""
        difference = float(np.abs(found - expected).max()) / max(1.0, float(np.abs(expected).max()))
        self.max_difference = max(self.max_difference, difference)
        if not difference <= TOLERANCE:
            self.failures.append(f"{what}: a logit differs by {difference:.1e} of the largest")

    def compare_continuation(self, found: Sequence[int], expected: Sequence[int], what: str) -> None:
        """Compare greedy tokens."""
        self.tokens += len(expected)
        if list(found) != list(expected):
            self.failures.append(f"{what}: continues with {list(found)}, tinyedge with {list(expected)}")

    def compare_encoding(self, text: str, found: Sequence[int], expected: Sequence[int], scores: Any) -> None:
        """Compare ids; another segmentation of the same probability is a tie."""
        self.texts += 1
        if list(found) == list(expected):
            return
        if scores is not None and abs(scores[list(found)].sum() - scores[expected].sum()) < SAME_SCORE:
            self.ties += 1
        else:
            self.failures.append(f"{text!r} is {list(found)}, in tinyedge {list(expected)}")


def main() -> None:
    """Compare all tools."""
    torch.set_num_threads(1)
    work = Path(sys.argv[1])
    folder = str(work / "model")
    reference = json.loads((work / "reference.json").read_text(encoding="utf-8"))
    logits = np.load(work / "reference.npz")
    rows = [
        compare_hugging_face(AutoModelForCausalLM, "transformers", folder, reference, logits),
        compare_hugging_face(ORTModelForCausalLM, "optimum-onnx", folder, reference, logits),
        compare_genai(folder, reference, logits),
    ]
    print(f"{'tool':<20} {'version':<9} {'logits':>8} {'greedy tokens':>14} {'texts':>7} {'ties':>5}")
    for row in rows:
        print(
            f"{row.tool:<20} {row.version:<9} {row.max_difference:8.1e} {row.tokens:14,} {row.texts:7,}"
            f" {row.ties:5}  {'differs' if row.failures else 'equal'}"
        )
    for row in rows:
        for failure in row.failures[:5]:
            print(f"{row.tool}: {failure}", file=sys.stderr)
    sys.exit(any(row.failures for row in rows))


def compare_hugging_face(kind: Any, package: str, folder: str, reference: Any, logits: Any) -> Row:
    """Compare a model with transformers' `generate`: torch's, or Optimum's on ONNX Runtime."""
    row = Row(package, importlib.metadata.version(package))
    tokenizer, model = AutoTokenizer.from_pretrained(folder), kind.from_pretrained(folder)
    for text, ids in reference["texts"]:
        row.compare_encoding(text, tokenizer(text)["input_ids"], ids, None)
    prompts = reference["prompts"]
    for number, prompt in enumerate(prompts):
        sequence = torch.tensor([[*prompt["ids"], *prompt["argmax"]]])
        with torch.no_grad():
            found = model(input_ids=sequence, attention_mask=torch.ones_like(sequence)).logits[0].numpy()
        row.compare_logits(found, logits[str(number)], prompt["text"])
        ids = torch.tensor([prompt["ids"]])
        done = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=len(prompt["greedy"]),
        )
        row.compare_continuation(done[0, ids.shape[1] :].tolist(), prompt["greedy"], prompt["text"])
    several = [prompt["text"] for prompt in prompts[:BATCH]]
    batch = tokenizer(several, return_tensors="pt", padding=True)
    done = model.generate(**batch, do_sample=False, max_new_tokens=BATCH_TOKENS)
    for new, prompt in zip(done[:, batch["input_ids"].shape[1] :].tolist(), prompts, strict=False):
        expected = prompt["greedy"][:BATCH_TOKENS]
        row.compare_continuation(new[: len(expected)], expected, f"in a batch, {prompt['text']}")
    return row


def compare_genai(folder: str, reference: Any, logits: Any) -> Row:
    """Compare onnxruntime-genai, with BOS added by its tokenizer. It does not normalize, so it gets NFC."""
    row = Row("onnxruntime-genai", importlib.metadata.version("onnxruntime-genai"))
    model = onnxruntime_genai.Model(folder)
    tokenizer = onnxruntime_genai.Tokenizer(model)
    tokenizer.update_options(add_special_tokens="true")
    vocabulary = json.loads((Path(folder) / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    scores = np.array([score for _, score in vocabulary])
    for text, ids in reference["texts"]:
        if is_nfc(text):
            row.compare_encoding(text, [int(token) for token in tokenizer.encode(text)], ids, scores)
    for number, prompt in enumerate(reference["prompts"]):
        ids = prompt["ids"]
        parameters = onnxruntime_genai.GeneratorParams(model)
        parameters.set_search_options(do_sample=False, max_length=len(ids) + len(prompt["argmax"]))
        generator = onnxruntime_genai.Generator(model, parameters)
        generator.append_tokens(ids)
        place = len(ids) - 1
        while not generator.is_done():
            row.compare_logits(generator.get_logits()[0, -1], logits[str(number)][place], prompt["text"])
            generator.generate_next_token()
            place += 1
        found = [int(token) for token in generator.get_sequence(0)[len(ids) :]]
        expected = [token for token in prompt["argmax"] if token != reference["eos"]]  # it stops before EOS
        row.compare_continuation(found, expected, prompt["text"])
    return row


def is_nfc(text: str) -> bool:
    """Whether a text is normalized to NFC."""
    return unicodedata.is_normalized("NFC", text)


if __name__ == "__main__":
    main()
