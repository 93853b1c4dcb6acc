"""Compares what other tools make of a portable model with tinyedge's own answers. Knows no tinyedge.

    python other_tools.py WORK

In: WORK/model, WORK/reference.json and WORK/reference.npz, which `interop.py` wrote. Out: a row a tool; 1 as
the exit status where one differs.
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
SAME_SCORE = 1e-3  # two cuts of a text whose log probabilities are this close are a tie
BATCH = 6  # prompts of different lengths side by side, padded
BATCH_TOKENS = 8


@dataclass
class Row:
    """What came out of one tool. worst: the largest difference of a logit, as a share of the largest."""

    tool: str
    version: str
    worst: float = 0.0
    tokens: int = 0
    texts: int = 0
    ties: int = 0
    failures: list[str] = field(default_factory=list)

    def logits(self, found: Any, expected: Any, what: str) -> None:
        """Compares logits of the same positions."""
        worst = float(np.abs(found - expected).max()) / max(1.0, float(np.abs(expected).max()))
        self.worst = max(self.worst, worst)
        if not worst <= TOLERANCE:
            self.failures.append(f"{what}: a logit differs by {worst:.1e} of the largest")

    def continuation(self, found: Sequence[int], expected: Sequence[int], what: str) -> None:
        """Compares greedy tokens."""
        self.tokens += len(expected)
        if list(found) != list(expected):
            self.failures.append(f"{what}: goes on with {list(found)}, tinyedge with {list(expected)}")

    def encoding(self, text: str, found: Sequence[int], expected: Sequence[int], scores: Any) -> None:
        """Compares ids; another cut of the same probability is a tie."""
        self.texts += 1
        if list(found) == list(expected):
            return
        if scores is not None and abs(scores[list(found)].sum() - scores[expected].sum()) < SAME_SCORE:
            self.ties += 1
        else:
            self.failures.append(f"{text!r} is {list(found)}, to tinyedge {list(expected)}")


def main() -> None:
    torch.set_num_threads(1)
    work = Path(sys.argv[1])
    folder = str(work / "model")
    reference = json.loads((work / "reference.json").read_text(encoding="utf-8"))
    logits = np.load(work / "reference.npz")
    rows = [
        hugging_face(AutoModelForCausalLM, "transformers", folder, reference, logits),
        hugging_face(ORTModelForCausalLM, "optimum-onnx", folder, reference, logits),
        genai(folder, reference, logits),
    ]
    print(f"{'tool':<20} {'version':<9} {'logits':>8} {'greedy tokens':>14} {'texts':>7} {'ties':>5}")
    for row in rows:
        print(
            f"{row.tool:<20} {row.version:<9} {row.worst:8.1e} {row.tokens:14,} {row.texts:7,} {row.ties:5}"
            f"  {'differs' if row.failures else 'equal'}"
        )
    for row in rows:
        for failure in row.failures[:5]:
            print(f"{row.tool}: {failure}", file=sys.stderr)
    sys.exit(any(row.failures for row in rows))


def hugging_face(kind: Any, package: str, folder: str, reference: Any, logits: Any) -> Row:
    """A model with transformers' `generate`, be it torch's or Optimum's on ONNX Runtime."""
    row = Row(package, importlib.metadata.version(package))
    tokenizer, model = AutoTokenizer.from_pretrained(folder), kind.from_pretrained(folder)
    for text, ids in reference["texts"]:
        row.encoding(text, tokenizer(text)["input_ids"], ids, None)
    prompts = reference["prompts"]
    for number, prompt in enumerate(prompts):
        whole = torch.tensor([[*prompt["ids"], *prompt["argmax"]]])
        with torch.no_grad():
            found = model(input_ids=whole, attention_mask=torch.ones_like(whole)).logits[0].numpy()
        row.logits(found, logits[str(number)], prompt["text"])
        ids = torch.tensor([prompt["ids"]])
        done = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=len(prompt["greedy"]),
        )
        row.continuation(done[0, ids.shape[1] :].tolist(), prompt["greedy"], prompt["text"])
    several = [prompt["text"] for prompt in prompts[:BATCH]]
    batch = tokenizer(several, return_tensors="pt", padding=True)
    done = model.generate(**batch, do_sample=False, max_new_tokens=BATCH_TOKENS)
    for new, prompt in zip(done[:, batch["input_ids"].shape[1] :].tolist(), prompts, strict=False):
        expected = prompt["greedy"][:BATCH_TOKENS]
        row.continuation(new[: len(expected)], expected, f"in a batch, {prompt['text']}")
    return row


def genai(folder: str, reference: Any, logits: Any) -> Row:
    """onnxruntime-genai, its tokenizer told to put BOS first. It normalizes no text, so it gets NFC."""
    row = Row("onnxruntime-genai", importlib.metadata.version("onnxruntime-genai"))
    model = onnxruntime_genai.Model(folder)
    tokenizer = onnxruntime_genai.Tokenizer(model)
    tokenizer.update_options(add_special_tokens="true")
    vocabulary = json.loads((Path(folder) / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    scores = np.array([score for _, score in vocabulary])
    for text, ids in reference["texts"]:
        if is_normal(text):
            row.encoding(text, [int(token) for token in tokenizer.encode(text)], ids, scores)
    for number, prompt in enumerate(reference["prompts"]):
        ids = prompt["ids"]
        parameters = onnxruntime_genai.GeneratorParams(model)
        parameters.set_search_options(do_sample=False, max_length=len(ids) + len(prompt["argmax"]))
        generator = onnxruntime_genai.Generator(model, parameters)
        generator.append_tokens(ids)
        place = len(ids) - 1
        while not generator.is_done():
            row.logits(generator.get_logits()[0, -1], logits[str(number)][place], prompt["text"])
            generator.generate_next_token()
            place += 1
        found = [int(token) for token in generator.get_sequence(0)[len(ids) :]]
        expected = [token for token in prompt["argmax"] if token != reference["eos"]]  # it ends without it
        row.continuation(found, expected, prompt["text"])
    return row


def is_normal(text: str) -> bool:
    return unicodedata.is_normalized("NFC", text)


if __name__ == "__main__":
    main()
