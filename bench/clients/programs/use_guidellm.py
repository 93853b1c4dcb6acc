"""guidellm: measures completions and chat, streamed, with synthetic prompts of token counts."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from checks import MODEL, URL, run_checks

WORK = Path(sys.argv[2])
REQUESTS = 8


def measure(path: str) -> str:
    """Run a benchmark of an endpoint and return the number of its successful requests."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [
            *(str(Path(sys.executable).with_name("guidellm")), "run", "--disable-console"),
            *("--backend", f"kind=openai_http,target={URL},model={MODEL},request_format={path}"),
            *("--profile", "kind=synchronous", "--constraint", f"kind=max_requests,count={REQUESTS}"),
            *("--tokenizer", f"kind=huggingface_auto,model={WORK / 'tokenizer'}"),
            *("--data", "kind=synthetic_text,prompt_tokens=8,output_tokens=8"),
            *("--output", f"kind=json,path={report}"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not report.exists():
            raise RuntimeError((done.stderr + done.stdout)[-600:])
        (benchmark,) = json.loads(report.read_text())["benchmarks"]
    totals = benchmark["metrics"]["request_totals"]
    if totals["successful"] != REQUESTS:
        raise AssertionError(f"{totals}")
    return f"{REQUESTS} requests"


run_checks(
    "guidellm",
    {
        "completions stream": lambda: measure("/v1/completions"),
        "chat stream": lambda: measure("/v1/chat/completions"),
    },
)
