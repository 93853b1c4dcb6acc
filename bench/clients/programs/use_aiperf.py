"""aiperf: measures completions and chat, streamed, with synthetic prompts of token counts."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from checks import MODEL, URL, run_checks

WORK = Path(sys.argv[2])
REQUESTS = 12


def measure(endpoint_type: str) -> str:
    """Run a benchmark and return the mean time to the first token."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(str(Path(sys.executable).with_name("aiperf")), "profile", "--model", MODEL, "--url", URL),
            *("--endpoint-type", endpoint_type, "--streaming", "--tokenizer", str(WORK / "tokenizer")),
            *("--request-count", str(REQUESTS), "--concurrency", "2", "--ui-type", "none"),
            *("--synthetic-input-tokens-mean", "8", "--synthetic-input-tokens-stddev", "0"),
            *("--output-tokens-mean", "8", "--output-tokens-stddev", "0"),
            *("--extra-inputs", "ignore_eos:true", "--artifact-dir", folder),
        ]
        # With this variable, aiperf 0.13.0 looks for a local folder in the hub's cache.
        environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        found = list(Path(folder).rglob("profile_export_aiperf.json"))
        if done.returncode or not found:
            raise RuntimeError((done.stderr + done.stdout)[-600:])
        result = json.loads(found[0].read_text())
    count = result["request_count"]["avg"]
    if count != REQUESTS:
        raise AssertionError(f"{count} of {REQUESTS} requests: {result.get('error_summary')}")
    return f"{REQUESTS} requests"


run_checks(
    "aiperf",
    {"completions stream": lambda: measure("completions"), "chat stream": lambda: measure("chat")},
)
