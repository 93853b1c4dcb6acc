"""Checks that other tools get the same tokens and logits from `tinyedge export --portable` as tinyedge.

    python -m bench.interop [--checkpoint FILE] [--js | --engines]

Exports a checkpoint and writes tinyedge's own results to a file. `other_tools.py` compares them with those of
transformers, Optimum and onnxruntime-genai in a separate environment; `--js` adds transformers.js, which
needs node, npm and 500 MB. `--engines` runs many other engines instead, in environments of 3 GB. If the tools
cannot be installed, it prints that and exits with 0. Without a checkpoint, a small model is trained first,
which takes a minute or two.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.interop.run_engines import run_engines
from tinyedge.corpus.phrasebook import generate_documents
from tinyedge.export.fused_graph import build_fused_graph
from tinyedge.export.parity import PROMPTS
from tinyedge.export.portable.export import export_portable
from tinyedge.export.weights import Weights
from tinyedge.runtime.decoder import Decoder
from tinyedge.runtime.session import OnnxRuntimeSession
from tinyedge.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, UNK_ID, Tokenizer
from tinyedge.train.model import TinyTransformer
from tinyedge.train.storage.checkpoint import BEST_FILE, load_model, load_tokenizer

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ENVIRONMENT = ROOT / ".venv-interop"
REQUIREMENTS = HERE / "requirements.txt"
PACKAGE_JS = "@huggingface/transformers@4"
TRAINING = ("--epochs", "1", "--max-minutes", "2", "--vocab-size", "2000", "--max-seq-length", "64")

NEW_TOKENS = 40
BEGINNINGS = 12  # prompts from the phrasebook, half of them Spanish, in addition to the exporter's
UNUSUAL_TEXTS = (
    "  two  spaces, three   spaces ",
    "a\tb\n c",
    "\u00a0no break\u00a0",
    "①ﬁ日本語🙂 x",
    "cafe\u0301 man\u0303ana",  # not NFC
)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--checkpoint", type=Path, help="checkpoint of `tinyedge train`; by default a small one is trained"
    )
    parser.add_argument("--js", action="store_true", help="also compare transformers.js")
    parser.add_argument("--engines", action="store_true", help="run the engines of run_engines.py instead")
    options = parser.parse_args()
    python = "" if options.engines else prepare_environment()
    if python is None:
        print("interop: skipped, the other tools cannot be installed here")
        return
    work = ENVIRONMENT / "work"
    checkpoint = options.checkpoint or train_small_checkpoint(ENVIRONMENT / "run")
    export_portable(checkpoint, work / "model", None, print)
    write_reference(checkpoint, work)
    if options.engines:
        sys.exit(run_engines(work, ENVIRONMENT / "engines") > 0)
    commands = [[python, str(HERE / "other_tools.py"), str(work)]]
    if options.js:
        if prepare_node():
            shutil.copy(
                HERE / "other_tools.mjs", ENVIRONMENT
            )  # node looks for packages in the script's folder
            commands.append(["node", str(ENVIRONMENT / "other_tools.mjs"), str(work)])
        else:
            print("interop: transformers.js is skipped, it cannot be installed here")
    results = [subprocess.run(command, check=False).returncode for command in commands]
    sys.exit(max(results))


def prepare_environment() -> str | None:
    """Return the Python of an environment with the other tools, or None if they cannot be installed."""
    python, ready = ENVIRONMENT / "bin" / "python", ENVIRONMENT / "ready"
    if not ready.exists() or ready.read_text() != REQUIREMENTS.read_text():
        print(f"interop: installing torch, transformers, Optimum and onnxruntime-genai in {ENVIRONMENT.name}")
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        for command in (
            [sys.executable, "-m", "venv", str(ENVIRONMENT)],
            [*install, "-r", str(REQUIREMENTS)],
        ):
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            if done.returncode:
                print(done.stderr.strip().rpartition("\n")[2], file=sys.stderr)
                return None
        ready.write_text(REQUIREMENTS.read_text())
    return str(python)


def prepare_node() -> bool:
    """Whether transformers.js is installed; installs it if possible."""
    if (ENVIRONMENT / "node_modules" / "@huggingface" / "transformers").exists():
        return True
    npm = shutil.which("npm")
    if not npm or not shutil.which("node"):
        return False
    command = [npm, "install", "--silent", "--ignore-scripts", "--prefix", str(ENVIRONMENT), PACKAGE_JS]
    return not subprocess.run(command, check=False).returncode


def train_small_checkpoint(folder: Path) -> Path:
    """Return the best model of a short run on the phrasebook; train it if it does not exist."""
    if not (folder / BEST_FILE).exists():
        command = [sys.executable, "-m", "tinyedge", "train", "--output-dir", str(folder), *TRAINING]
        subprocess.run(command, check=True)
    return folder / BEST_FILE


def write_reference(checkpoint: Path, work: Path) -> None:
    """Write `reference.json`, texts with ids and prompts with continuations, and `reference.npz`, logits.

    greedy: tokens of `tinyedge generate` at temperature 0. argmax: the same without the ban on special
    tokens, which onnxruntime-genai does not support; the logits are torch's for these tokens.
    """
    trained = load_model(checkpoint)
    tokenizer = load_tokenizer(checkpoint, trained)
    config = trained.config
    graph = build_fused_graph(Weights.from_model(trained.model), {})
    decoder = OnnxRuntimeSession(graph, config).decoder()
    lines = collect_lines(checkpoint.parent / "corpus_bilingual.txt")
    prompts = []
    logits = {}
    for number, text in enumerate((*PROMPTS, *collect_beginnings())):
        ids = [BOS_ID, *tokenizer.encode(text)][: config.max_seq_length // 2]
        count = min(NEW_TOKENS, config.max_seq_length - len(ids))
        greedy = continue_greedily(decoder, ids, count, (BOS_ID, PAD_ID, UNK_ID))
        argmax = continue_greedily(decoder, ids, count, ())
        logits[str(number)] = compute_torch_logits(trained.model, [*ids, *argmax])
        last = logits[str(number)][-1].tolist()
        prompts.append({"text": text, "ids": ids, "greedy": greedy, "argmax": argmax, "last_logits": last})
    texts = [[text, encode_with_bos(tokenizer, text)] for text in (*UNUSUAL_TEXTS, *lines) if text]
    np.savez(work / "reference.npz", **logits)
    reference: dict[str, Any] = {"prompts": prompts, "texts": texts, "eos": EOS_ID}
    (work / "reference.json").write_text(json.dumps(reference), encoding="utf-8")


def collect_lines(corpus: Path) -> list[str]:
    """Collect lines of both languages from the generated phrasebook and the run's corpus."""
    lines = [line for document in generate_documents(seed=1) for line in document.sentences]
    own = corpus.read_text(encoding="utf-8").splitlines() if corpus.exists() else []
    return list(dict.fromkeys((*lines, *own)))


def collect_beginnings() -> Iterable[str]:
    """Collect the first words of phrasebook documents, half English and half Spanish."""
    found: dict[str, list[str]] = {}
    for document in generate_documents(seed=2):
        found.setdefault(document.language, []).append(" ".join(document.sentences[0].split()[:4]))
        if all(len(texts) >= BEGINNINGS // 2 for texts in found.values()) and len(found) > 1:
            break
    return [text for texts in found.values() for text in texts[: BEGINNINGS // 2]]


def encode_with_bos(tokenizer: Tokenizer, text: str) -> list[int]:
    """Encode a text after BOS."""
    return [BOS_ID, *tokenizer.encode(text)]


def continue_greedily(decoder: Decoder, ids: list[int], count: int, banned_ids: tuple[int, ...]) -> list[int]:
    """Return the most likely tokens by the device's graph in fp32, up to EOS."""
    logits = decoder.prefill(ids)
    found: list[int] = []
    while len(found) < count and found[-1:] != [EOS_ID]:
        allowed = logits.copy()
        allowed[list(banned_ids)] = -np.inf
        found.append(int(allowed.argmax()))
        if len(found) < count:
            logits = decoder.step(found[-1])
    return found


def compute_torch_logits(model: TinyTransformer, tokens: list[int]) -> Any:
    """Compute the logits (T, V) of all positions."""
    with torch.no_grad():
        return model(torch.tensor([tokens]))[0].numpy()  # (T, V)


if __name__ == "__main__":
    main()
