"""The command `llm`."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from checks import BASE, MODEL, PROMPT, TOKENS, chat, complete, require_equal, run_checks

FOLDER = Path(tempfile.mkdtemp())
(FOLDER / "extra-openai-models.yaml").write_text(
    f"- model_id: chat\n  model_name: {MODEL}\n  api_base: {BASE}\n"
    f"- model_id: text\n  model_name: {MODEL}\n  api_base: {BASE}\n  completion: true\n"
)
OPTIONS = ("-o", "temperature", "0", "-o", "max_tokens", str(TOKENS))


def run_llm(*arguments: str) -> str:
    """Run the command and return what it prints, without the line break that it adds."""
    command = [str(Path(sys.executable).with_name("llm")), *arguments]
    environment = {**os.environ, "LLM_USER_PATH": str(FOLDER), "OPENAI_API_KEY": "none"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or done.stdout.strip())
    return done.stdout.removesuffix("\n")


def try_chat() -> None:
    """Ask, and continue the conversation."""
    first = run_llm("-m", "chat", *OPTIONS, PROMPT)
    require_equal(first, chat(PROMPT))
    require_equal(run_llm("-c", *OPTIONS, "And"), chat(PROMPT, first, "And"))


def try_text() -> None:
    """Complete a text, streamed and not."""
    require_equal(run_llm("-m", "text", *OPTIONS, PROMPT), complete())
    require_equal(run_llm("-m", "text", "--no-stream", *OPTIONS, PROMPT), complete())


run_checks("llm", {"chat stream, second turn": try_chat, "completions": try_text})
