"""`tinyedge generate` and `tinyedge verify`, as a user runs them, and what the runtime must not import."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from onnx import ModelProto
from typer.testing import CliRunner

from tests.support.engines import STAND_INS
from tests.support.program import assert_refused
from tinyedge.bundle.bundle import Bundle, load_bundle, write_bundle
from tinyedge.cli._json import name_optional_files
from tinyedge.cli.generate import MAX_PROMPT_BYTES, generate
from tinyedge.cli.main import main
from tinyedge.cli.verify import verify
from tinyedge.core.engine import KERNELS, ONNXRUNTIME, VARIABLE
from tinyedge.core.errors import BundleError, TokenizerError, UsageError
from tinyedge.host.affinity import count_usable_cores
from tinyedge.runtime import self_test

app = typer.Typer()
app.command()(generate)
app.command()(verify)

PROMPT = "The captain lost"


def run(*arguments: object, stdin: str | None = None) -> tuple[str, str]:
    """Run a command that succeeds; return its stdout and stderr."""
    words = name_optional_files([str(argument) for argument in arguments])
    result = CliRunner().invoke(app, words, stdin, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def completion(*arguments: object, stdin: str | None = None) -> dict[str, Any]:
    stdout, _ = run("generate", *arguments, "--json", stdin=stdin)
    value: dict[str, Any] = json.loads(stdout)
    return value


def get_own_fields(bundle: Bundle) -> dict[str, Any]:
    """Return the fields of a manifest that `write_bundle` does not add."""
    added = ("schema", "created", "tinyedge", "files")
    return {name: value for name, value in bundle.manifest.items() if name not in added}


def test_text_is_the_prompt_the_continuation_and_a_line_break(micro_bundle: Path) -> None:
    flags = ("--prompt", PROMPT, "--seed", 4, "--max-tokens", 8)
    stdout, stderr = run("generate", micro_bundle, *flags)
    assert stdout == PROMPT + completion(micro_bundle, *flags)["text"] + "\n"
    assert len(stdout) > len(PROMPT) + 5
    assert stderr == ""


def test_json(micro_bundle: Path) -> None:
    found = completion(micro_bundle, "--prompt", PROMPT, "--seed", 4, "--max-tokens", 8)
    timing = found.pop("timing")
    assert timing.keys() == {"load_s", "ttft_ms", "decode_tokens_per_s"}
    assert all(value > 0 for value in timing.values())
    assert 1 <= len(found.pop("tokens")) <= 8
    assert found.pop("finish_reason") in ("length", "stop")
    assert found.pop("text")
    assert found.pop("prompt_tokens") > 3
    assert found == {
        "schema": "tinyedge.completion/1",
        "model_id": load_bundle(micro_bundle).model_id,
        "engine": {"name": "onnxruntime", "instructions": None, "reason": "TINYEDGE_ENGINE chooses it"},
        "threads": 1,
        "template": None,
        "prompt": PROMPT,
        "slid": False,
        "seed": 4,
    }


def test_one_token_has_no_speed(micro_bundle: Path) -> None:
    assert (
        completion(micro_bundle, "--prompt", "", "--max-tokens", 1)["timing"]["decode_tokens_per_s"] is None
    )


def test_a_random_seed_is_reported_and_reproduces_the_text(micro_bundle: Path) -> None:
    first, other = (completion(micro_bundle, "--prompt", "", "--max-tokens", 30) for _ in range(2))
    assert first["seed"] != other["seed"]
    assert (
        completion(micro_bundle, "--prompt", "", "--max-tokens", 30, "--seed", first["seed"])["text"]
        == first["text"]
    )


def test_stop_can_be_given_twice(micro_bundle: Path) -> None:
    flags = ("--prompt", PROMPT, "--temperature", 0)
    whole = completion(micro_bundle, *flags)["text"]
    assert len(whole) > 10
    stopped = completion(micro_bundle, *flags, "--stop", "zzz", "--stop", whole[5:8])
    assert stopped["text"] == whole[: whole.index(whole[5:8])]
    assert stopped["finish_reason"] == "stop"


def test_the_prompt_from_standard_input(micro_bundle: Path) -> None:
    found = completion(micro_bundle, "--prompt", "-", stdin=PROMPT + "\n")
    assert found["prompt"] == PROMPT


def test_a_prompt_from_standard_input_has_an_upper_bound(micro_bundle: Path) -> None:
    """Tokenizing 20 MB would take 1 GB of memory."""
    limit = "x" * (MAX_PROMPT_BYTES - 1) + "\n"
    arguments = ["generate", str(micro_bundle), "--prompt", "-"]
    result = CliRunner().invoke(app, arguments, limit + "x")
    assert isinstance(result.exception, UsageError)
    assert result.exception.exit_code == 2
    assert result.exception.message == "--prompt -: standard input has more than 1048576 bytes"
    assert "tail -c" in result.exception.hint
    assert result.output == ""


def test_a_note_reports_a_text_longer_than_the_context(micro_bundle: Path) -> None:
    stdout, stderr = run("generate", micro_bundle, "--prompt", "la niña y el mar " * 20)
    assert stderr.startswith("note: the text is longer than the model's context of 32 tokens")
    assert stderr.count("\n") == 1
    assert "note" not in stdout


@pytest.mark.parametrize(
    "flags",
    [("--temperature", "nan"), ("--top-p", "2"), ("--max-tokens", "0"), ("--stop", ""), ("--threads", "0")],
)
def test_an_invalid_value_names_its_flag(micro_bundle: Path, flags: tuple[str, str]) -> None:
    result = tinyedge("generate", micro_bundle, "--prompt", "x", *flags)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {flags[0]} ")


def test_threads_are_limited_to_the_cores(micro_bundle: Path) -> None:
    cores = count_usable_cores()
    for command in ("generate", "serve", "bench"):
        error = assert_refused(tinyedge(command, micro_bundle, "--threads", cores + 1), 2)
        assert error == f"error: --threads {cores + 1} is outside 1-{cores} (cores of this machine)"


def test_threads_are_reported(micro_bundle: Path) -> None:
    cores = count_usable_cores()
    one, all_cores = (
        completion(micro_bundle, "--prompt", "", "--seed", 4, "--threads", number) for number in (1, cores)
    )
    assert (one["threads"], all_cores["threads"]) == (1, cores)
    assert one["tokens"] == all_cores["tokens"]


def test_verify_lists_every_file(micro_bundle: Path) -> None:
    stdout, _ = run("verify", micro_bundle)
    lines = stdout.splitlines()
    assert [line.split()[0] for line in lines[:4]] == [
        "manifest.json",
        "model.onnx",
        "tokenizer.model",
        "README.md",
    ]
    assert all(line.endswith(" ok") for line in lines[:4])
    assert lines[4] == (
        f"int8 model {load_bundle(micro_bundle).model_id}, 163,072 parameters, for pi-zero-2w,"
        " made by tinyedge 0.1.0"
    )


def test_verify_as_json(micro_bundle: Path) -> None:
    value = json.loads(run("verify", micro_bundle, "--json")[0])
    assert (value["schema"], value["ok"], value["precision"]) == ("tinyedge.verify/1", True, "int8")
    for file in value["files"]:
        assert file["size"] == (micro_bundle / file["name"]).stat().st_size


def test_verify_finds_a_model_that_does_not_run(
    micro_bundle: Path, micro_bundle_fp32: Path, tmp_path: Path
) -> None:
    """All hashes are correct and the graph is the expected one, but a weight is NaN."""
    from tests.support.hostile import change_model

    whole = load_bundle(micro_bundle)

    def spoil(proto: ModelProto) -> None:
        bias = next(t for t in proto.graph.initializer if t.name == "blocks.0.norm1.bias")
        bias.raw_data = b"\xff" * len(bias.raw_data)

    model = change_model(whole.model, spoil)
    path = write_bundle(tmp_path / "bundle", get_own_fields(whole), model, whole.tokenizer, "card")
    with pytest.raises(BundleError, match=r"bundle/model\.onnx computed logits that are not finite"):
        run("verify", path)


def test_verify_and_the_self_test_refuse_a_piece_that_is_not_utf8(
    micro_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """SentencePiece loads the file, and generation may never reach the piece."""
    whole = load_bundle(micro_bundle)
    piece = "\u2581tormenta".encode()
    assert whole.tokenizer.count(piece) == 1
    tokenizer = whole.tokenizer.replace(piece, piece[:-1] + b"\xff")
    fields = get_own_fields(whole)
    fields["tokenizer"] = {**fields["tokenizer"], "sha256": hashlib.sha256(tokenizer).hexdigest()}
    path = write_bundle(tmp_path / "bundle", fields, whole.model, tokenizer, "card")
    monkeypatch.setattr(sys, "argv", ["tinyedge", "verify", str(path)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    output = capsys.readouterr()
    assert output.out == ""
    error, hint = output.err.splitlines()
    assert error.startswith("error: piece 304 of ")
    assert error.endswith("tokenizer.model is not UTF-8")
    assert hint == "hint: train one with: tinyedge tokenizer"
    with pytest.raises(TokenizerError, match=r"piece 304 of .* is not UTF-8"):
        self_test.check(path)


# --- as processes ---


def tinyedge(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tinyedge", *map(str, arguments)]
    return subprocess.run(command, text=True, capture_output=True, timeout=60, **options)


def test_a_closed_pipe_is_not_an_error(micro_bundle: Path) -> None:
    command = f"{sys.executable} -m tinyedge generate {micro_bundle} --max-tokens 100 --prompt - | head -c 4"
    result = subprocess.run(
        ["bash", "-c", command], input="la " * 90_000, text=True, capture_output=True, timeout=60
    )
    assert (result.stdout, result.stderr) == ("la l", "")


def test_a_prompt_that_the_terminal_cannot_show(micro_bundle: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    result = tinyedge("generate", micro_bundle, "--prompt", "ñ\udcff", "--max-tokens", 1, env=environment)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("?\\udcff")


def test_a_damaged_bundle_is_one_line_and_a_hint(micro_bundle: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(micro_bundle, tmp_path / "bundle")
    with (folder / "model.onnx").open("r+b") as file:
        file.write(b"X")
    for words in (("verify", folder), ("generate", folder, "--prompt", "x")):
        result = tinyedge(*words)
        assert result.returncode == 1
        assert result.stdout == ""
        assert [line.split(":")[0] for line in result.stderr.splitlines()] == ["error", "hint"]


def test_the_runtime_does_not_import_training(micro_bundle: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tinyedge.runtime.generator import Generator;"
        " Generator.load(Path(sys.argv[1])).generate('la', max_tokens=3);"
        " print(sorted({'torch', 'onnx', 'typer', 'click', 'psutil', 'tinyedge.train', 'tinyedge.export'}"
        " & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(micro_bundle)], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


# What a start of `tinyedge generate` imports of tinyedge; each further one slows every start on the device.
START_IMPORTS = {
    *("__main__", "cli", "cli.main", "cli._options", "cli._json", "cli.generate"),  # the command
    *("core", "core.errors", "core.files", "core.config"),  # how it may fail, and what it reads
    *("core.settings", "core.sampling"),  # what the flags of sampling are
    *("host", "host.gc_pause", "host.drop_code"),  # what is imported is not looked through, and leaves memory
    *("bundle", "bundle.bundle", "bundle.manifest"),  # bytes are checked before they are used
    "ngram",  # two numbers
    *("bundle.onnx_scan", "bundle.protobuf", "bundle.expected_graph", "core.hashes"),
    *("text", "text.tokenizer", "core.arrays"),  # text to ids and back; what logits are
    "core.printable",  # no text controls the terminal
    "core.window",  # which tokens the model sees
    *("runtime", "runtime.generator", "runtime.pieces", "runtime.sampler", "runtime.top_k"),
    *("runtime.decoder", "core.engine", "runtime.engine"),  # what computes
    *("runtime.token_healing", "text.piece_index"),  # the word that the prompt ends with is completed or left
    *("runtime.session", "runtime.logprobs"),  # ONNX Runtime, where there are no kernels
    "runtime.content_filter",  # no slur is shown
    "host.affinity",  # the number of cores
    "host.interrupt",  # Ctrl-C during these imports is one line
    "runtime.ort",  # ONNX Runtime without threads and sockets of its own
}
# The same in the kernels, which need neither ONNX Runtime's Python package nor numpy.
KERNELS_START_IMPORTS = {
    *(START_IMPORTS - {"runtime.session", "runtime.logprobs", "runtime.ort"}),
    *("runtime.kernels", "runtime.weights"),
}
# And beside that and the packages that it cannot do without: hashes, JSON, dataclasses, NFC.
OTHER_IMPORTS = {
    *("hashlib", "_hashlib", "_blake2", "_hmac", "_md5", "_sha1", "_sha2", "_sha3"),
    *("json", "json.decoder", "json.encoder", "json.scanner", "_json"),
    "dataclasses",
    "unicodedata",
}
PACKAGES = "numpy, onnxruntime, sentencepiece, typer"
# Large, and nothing of them is needed: draws come from `random`, tables are printed by hand.
NOT_START_IMPORTS = {
    *("torch", "onnx", "numpy.random", "numpy.ma", "numpy.typing", "psutil", "rich"),
    *("asyncio", "socket", "ssl", "email", "secrets", "hmac"),
}
NOT_KERNELS_START_IMPORTS = NOT_START_IMPORTS | {"numpy", "onnxruntime", "ctypes"}


def start(bundle: Path, before: str, after: str, engine: str = ONNXRUNTIME) -> list[str]:
    """Run `tinyedge generate` in a new process; return the words that the code `after` it prints."""
    code = (
        f"import gc, sys\n{before}\nfrom tinyedge.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        f"print(*({after}), file=sys.stderr)"
    )
    arguments = ["generate", str(bundle), "--prompt", "The", "--max-tokens", "2"]
    paths = os.pathsep.join(filter(None, (str(STAND_INS), *sys.path)))
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, VARIABLE: engine, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stderr.split()


def test_a_start_imports_only_what_it_needs(micro_bundle: Path) -> None:
    loaded = set(start(micro_bundle, "", "sys.modules"))
    ours = {name.removeprefix("tinyedge.") for name in loaded if name.startswith("tinyedge.")}
    assert ours == START_IMPORTS
    assert not loaded & NOT_START_IMPORTS


def test_a_start_in_the_kernels_imports_only_what_it_needs(micro_bundle: Path) -> None:
    loaded = set(start(micro_bundle, "", "sys.modules", KERNELS))
    ours = {name.removeprefix("tinyedge.") for name in loaded if name.startswith("tinyedge.")}
    assert ours == KERNELS_START_IMPORTS
    assert not loaded & NOT_KERNELS_START_IMPORTS


def test_a_start_imports_few_modules_besides_its_packages(micro_bundle: Path) -> None:
    packages = f"import {PACKAGES}\nbefore = set(sys.modules)"
    added = set(start(micro_bundle, packages, "set(sys.modules) - before"))
    theirs = {"tinyedge", *PACKAGES.split(", ")}
    assert {name for name in added if name.partition(".")[0] not in theirs} <= OTHER_IMPORTS


def test_garbage_collection_is_off_during_a_start(micro_bundle: Path) -> None:
    watch = "seen = []\ngc.callbacks.append(lambda phase, about: seen.append(phase == 'start'))"
    collections, frozen, enabled = start(
        micro_bundle, watch, "sum(seen), gc.get_freeze_count(), gc.isenabled()"
    )
    assert int(collections) < 20  # 70 without a pause
    assert int(frozen) > 10_000
    assert enabled == "True"


def test_executed_code_is_dropped_before_and_after_loading(micro_bundle: Path) -> None:
    watch = (
        "from tinyedge.host import drop_code\n"
        "seen, give_back = [], drop_code.drop_executed_code\n"
        "sessions = lambda: sum(type(each).__name__ == 'OnnxRuntimeSession' for each in gc.get_objects())\n"
        "drop_code.drop_executed_code = lambda: (seen.append(sessions()), give_back())"
    )
    assert start(micro_bundle, watch, "seen") == ["0", "1"]


@pytest.mark.parametrize("command", ["generate", "verify"])
def test_help_loads_nothing_heavy(command: str) -> None:
    code = (
        f"import sys; from tinyedge.cli.{command} import {command};"
        " print(sorted({'numpy', 'onnxruntime', 'sentencepiece', 'torch'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
