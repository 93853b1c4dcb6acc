"""lm-evaluation-harness: perplexity by token ids, by text, and by its backend for llama.cpp's server.

Each result must equal that of `tinyedge eval` on the same documents to 1%.
"""

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}

import lm_eval
from checks import BASE, MODEL, URL, run_checks
from lm_eval.api.instance import Instance
from lm_eval.api.registry import get_model
from lm_eval.tasks import TaskManager

WORK = Path(sys.argv[2])
GIVEN = json.loads((WORK / "documents.json").read_text())
EXPECTED = json.loads((WORK / "eval.json").read_text())["results"][0]
TASKS = WORK / "tasks"
TOLERANCE = 0.01
COMPLETIONS = {
    "base_url": f"{BASE}/completions",
    "model": MODEL,
    "tokenizer": str(WORK / "tokenizer"),
    "tokenizer_backend": "huggingface",
    "max_length": GIVEN["context"],
    "num_concurrent": 1,
}
# Between two lines, tinyedge predicts EOS and the BOS of the next line; at the end of a document EOS.
LINE_BREAK, END = "</s><s>", "</s>"


def write_task() -> None:
    """Write a perplexity task of the documents; `bytes` are those of the lines with one line break each."""
    TASKS.mkdir(exist_ok=True)
    rows = [
        {"text": LINE_BREAK.join(lines) + END, "bytes": sum(len(line.encode()) + 1 for line in lines)}
        for lines in GIVEN["documents"]
    ]
    (TASKS / "documents.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (TASKS / "documents.yaml").write_text(
        f"""task: documents
dataset_path: json
dataset_kwargs: {{data_files: {{test: {TASKS}/documents.jsonl}}}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{text}}}}"
process_results: !function scores.compute_scores
metric_list:
  - metric: bits_per_byte
    aggregation: bits_per_byte
    higher_is_better: false
"""
    )
    (TASKS / "scores.py").write_text(
        "def compute_scores(doc, results):\n    return {'bits_per_byte': (results[0], doc['bytes'])}\n"
    )


def evaluate(backend: str, **arguments: Any) -> dict[str, Any]:
    """Run the harness and return the results of the task."""
    manager = TaskManager(include_path=str(TASKS), include_defaults=False)
    found = lm_eval.simple_evaluate(
        model=backend, model_args=arguments, tasks=["documents"], task_manager=manager, bootstrap_iters=0
    )
    results: dict[str, Any] = found["results"]["documents"]
    return results


def require_bits_per_byte(found: float) -> str:
    """Compare with `tinyedge eval` and return both, as perplexity per token."""
    expected = EXPECTED["bits_per_byte"]
    if abs(found / expected - 1) > TOLERANCE:
        raise AssertionError(f"{found} bits per byte instead of {expected}")
    perplexity = math.exp(found * math.log(2) * EXPECTED["bytes"] / EXPECTED["tokens"])
    return f"perplexity {perplexity:.2f}, tinyedge eval {EXPECTED['perplexity']:.2f}"


def try_local_completions(tokenized_requests: bool) -> str:
    """Evaluate with the backend for servers with OpenAI's API."""
    found = evaluate("local-completions", **COMPLETIONS, tokenized_requests=tokenized_requests)
    return require_bits_per_byte(found["bits_per_byte,none"])


def try_offsets() -> str:
    """Score continuations with the backend for llama.cpp's server, which finds them by `text_offset`."""
    pairs = []
    for first, *_ in GIVEN["documents"]:
        words = first.split(" ")
        half = len(words) // 2
        pairs.append((" ".join(words[:half]), " " + " ".join(words[half:])))
    requests = [Instance("loglikelihood", {}, pair, 0) for pair in pairs]
    by_offset = get_model("gguf")(base_url=URL).loglikelihood(requests)
    by_ids = get_model("local-completions")(**COMPLETIONS, add_bos_token=True).loglikelihood(requests)
    for found, expected, pair in zip(by_offset, by_ids, pairs, strict=True):
        if abs(found[0] - expected[0]) > TOLERANCE or found[1] != expected[1]:
            raise AssertionError(f"{found} instead of {expected} for {pair}")
    return f"{len(pairs)} continuations"


write_task()
run_checks(
    "lm_eval",
    {
        "perplexity by token ids": lambda: try_local_completions(True),
        "perplexity by text": lambda: try_local_completions(False),
        "gguf backend, by text_offset": try_offsets,
    },
)
