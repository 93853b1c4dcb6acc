"""The program in a shell: exit codes, one error line, and imports."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.program import assert_refused, tinyedge
from tinyedge.cli.main import COMMANDS, repeat_list_flags

HEAVY = (*("torch", "numpy", "onnxruntime", "onnx", "sentencepiece", "rich", "psutil"), "h11", "asyncio")


@pytest.mark.parametrize("words", [(), *((name,) for name in COMMANDS)], ids=lambda words: " ".join(words))
def test_help_loads_nothing_heavy(words: tuple[str, ...]) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['tinyedge', *{words!r}, '--help']\n"
        "from tinyedge.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage: tinyedge" in done.stdout


def test_version_and_no_arguments() -> None:
    from tinyedge import __version__

    assert tinyedge("--version").stdout == f"tinyedge {__version__}\n"
    assert "Data commands" in tinyedge().stdout


def test_the_help_of_train_shows_the_values_of_the_recipes() -> None:
    from tinyedge.train.recipe import BEST, FAST, GUIDE, SMALL_STEPS

    words = " ".join(tinyedge("train", "--help").stdout.split())
    recipes = {"fast": FAST, "best": BEST, "guide": GUIDE}
    for help_text, field in (
        ("Passes over the training text. [1-10000; ", "epochs"),
        ("8 of 256 tokens, 4 of 512. [1-4096; ", "batch_size"),
        (f"for these {SMALL_STEPS['matrix_learning_rate']}. [1e-06-1; ", "learning_rate"),
        ("0 is off. [0-16; ", "teachers"),
    ):
        values = ", ".join(f"{name}: {getattr(recipe, field)}" for name, recipe in recipes.items())
        assert f"{help_text}{values}]" in words
    assert f"take {SMALL_STEPS['learning_rate']} for pairs and large texts" in words
    assert f"Muon's is {FAST.matrix_learning_rate}," in words
    assert (FAST.stride, GUIDE.stride, FAST.clip_norm, GUIDE.clip_norm) == (0, 0, 0, 0)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion(shell: str) -> None:
    variable = "_TINYEDGE_COMPLETE"
    script = tinyedge("--show-completion", shell)
    assert "tinyedge" in script.stdout or script.returncode == 0
    env = {
        variable: f"complete_{shell}",
        "COMP_WORDS": "tinyedge ge",
        "COMP_CWORD": "1",
        "_TYPER_COMPLETE_ARGS": "tinyedge ge",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    assert "generate" in tinyedge(env=env).stdout


def test_list_options_accept_several_values() -> None:
    assert repeat_list_flags(["train", "--input", "a", "b", "--epochs", "2"]) == [
        *("train", "--input", "a", "--input", "b", "--epochs", "2")
    ]
    assert repeat_list_flags(["eval", "m", "--text", "en=a", "--text", "es=b"]) == [
        *("eval", "m", "--text", "en=a", "--text", "es=b")
    ]
    assert repeat_list_flags(["eval", "--text", "en=a", "es=b", "m"]) == [
        *("eval", "--text", "en=a", "--text", "es=b", "m")
    ]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("train", "--nhead", "3"), "--nhead 3 does not divide --d-model 128"),
        (("train", "--epochs", "0"), "--epochs 0"),
        (("train", "--epochs", "many"), "--epochs"),
        (("train", "--recipe", "fastest"), "--recipe fastest"),
        (("train", "--device", "tpu"), "--device tpu"),
        (("train", "--precision", "fp8"), "--precision fp8"),
        (("train", "--max-minutes", "-1"), "--max-minutes"),
        (("train", "--max-minutes", "inf"), "--max-minutes"),
        (("sweep", "--max-minutes", "inf"), "--max-minutes"),
        (("train", "--checkpoint-minutes", "nan"), "--checkpoint-minutes"),
        (("train", "--stride", "1048577"), "0-1048576"),
        (("train", "--budget", "pdp-11"), "--budget pdp-11 is unknown"),
        (("train", "--budget", "pi-5"), "--budget pi-5 has no cost model"),
        (("train", "--budget", "pi-zero-2w", "--preset", "small"), "so --preset contradicts it"),
        (("train", "--budget", "pi-zero-2w", "--init-from", "x.pt"), "so --init-from contradicts it"),
        (("train", "--budget", "pi-zero-2w", "--max-seq-length", "1"), "--max-seq-length 1"),
        (("train", "--resume", "--restart"), "--resume and --restart"),
        (("train", "--vocab-size", "10"), "--vocab-size 10"),
        (("runs",), "DIR"),
        (("runs", ".", "--plot", "runs.gif"), "runs.gif"),
        (("runs", ".", "--json", "training_metrics.json"), "--json training_metrics.json"),
        (("sweep", "--search", "random"), "--search random"),
        (("sweep", "--trials", "0"), "--trials 0"),
        (("sweep", "--epochs", "0"), "--epochs 0"),
        (("sweep", "--vary", "learning-rate=high"), "'high' is not a number"),
        (("sweep", "--vary", "vocab-size=1000,2000"), "vocab-size"),
        (("sweep", "--search", "grid", "--vary", "learning-rate=0.001..0.01"), "a grid needs values"),
        (("corpus", "--source", "web"), "--source"),
        (("tokenizer", "--character-coverage", "2"), "--character-coverage 2"),
        (("tokenizer", "--vocab-size", "0"), "--vocab-size 0"),
        (("train", "--character-coverage", "0"), "--character-coverage 0"),
        (("eval", "x.pt", "--text", "novel.txt"), "--text novel.txt is not NAME=FILE"),
        (("eval", "x.pt"), "--text"),
        (("export", "--quantize", "int3"), "--quantize int3"),
        (("export", "--target", "pdp-11"), "--target pdp-11"),
        (("export", "--target", "pdp-11", "--wheels"), "--target pdp-11"),
        (("export", "--portable", "p", "--wheels"), "--wheels applies to a bundle"),
        (("deploy", "board"), "BUNDLE"),
        (("deploy", "--", "-oProxyCommand=id", "b"), "is not user@host"),
        (("activate",), "one of BUNDLE, --recover"),
        (("generate",), "BUNDLE"),
        (("generate", "b", "--temperature", "-1"), "--temperature -1"),
        (("bench", "b", "--samples", "0"), "--samples 0"),
        (("bench", "b", "--max-p95-ms", "nan"), "--max-p95-ms"),
        (("generate", "b", "--no-filter", "--filter", "x"), "--no-filter and --filter"),
        (("check", "b", "--max-loss", "nan"), "--max-loss nan"),
        (("top", "--interval", "0"), "--interval 0"),
        (("top", "ftp://127.0.0.1"), "ftp://127.0.0.1"),
        (("nothing",), "nothing"),
        (("train", "--epoch", "2"), "--epoch"),
    ],
)
def test_usage_errors_name_the_flag(words: tuple[str, ...], named: str, tmp_path: Path) -> None:
    if words[0] in ("train", "sweep", "corpus", "tokenizer"):
        words = (*words, "--output-dir", str(tmp_path / "out"))
    line = assert_refused(tinyedge(*words), 2)
    assert named.lower() in line.lower()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        (("train", "my-texts"), 2, "did you mean --input my-texts? see tinyedge train --help"),
        (("corpus", "my texts"), 2, 'did you mean --input "my texts"?'),
        (("corpus", "a.txt", "b.txt"), 2, "did you mean --input a.txt b.txt?"),
        (("generate", "b", "Hello", "there"), 2, 'did you mean --prompt "Hello there"?'),
        (("verify", "b", "other"), 2, "hint: see tinyedge verify --help"),
        (("generate", "Hello there"), 1, "the first argument is a bundle, the text goes after --prompt"),
        (("generate", "Hello there " * 99), 1, "the first argument is a bundle"),
    ],
)
def test_an_argument_without_its_flag_is_recognized(words: tuple[str, ...], code: int, hint: str) -> None:
    done = tinyedge(*words)
    assert_refused(done, code)
    assert hint in " ".join(done.stderr.split())


def test_export_of_a_run_folder_names_its_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "best_model.pt").touch()
    done = tinyedge("export", tmp_path, env={"COLUMNS": "1000"})
    assert f"{tmp_path} is a folder" in assert_refused(done, 1)
    assert f"did you mean: tinyedge export {tmp_path}/best_model.pt" in done.stderr


FILES = ("missing", "folder", "empty", "unreadable", "text", "fifo")


def make_invalid_file(kind: str, path: Path) -> Path:
    match kind:
        case "folder":
            path.mkdir()
        case "empty":
            path.touch()
        case "text":
            path.write_text("not what was asked for\n" * 40)
        case "unreadable":
            path.write_text("secret")
            path.chmod(0)
        case "fifo":
            os.mkfifo(path)
    return path


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize(
    "words",
    [
        ("corpus", "--input", "{}", "--output-dir", "{out}"),
        ("tokenizer", "--corpus", "{}", "--output-dir", "{out}"),
        ("train", "--input", "{}", "--output-dir", "{out}"),
        ("eval", "{}", "--text", "en={}"),
        ("export", "{}", "--output-dir", "{out}"),
        ("verify", "{}"),
        ("generate", "{}", "--prompt", "x"),
        ("bench", "{}"),
        ("check", "{}"),
        ("top", "--once", "--api-key-file", "{}"),
        ("serve", "{}", "--port", "0"),
    ],
    ids=lambda words: words[0],
)
def test_an_invalid_file_gives_one_error_line(words: tuple[str, ...], kind: str, tmp_path: Path) -> None:
    if kind == "unreadable" and os.geteuid() == 0:
        pytest.skip("root may read anything")
    path = make_invalid_file(kind, tmp_path / "thing")
    out = tmp_path / "out"
    line = assert_refused(tinyedge(*(word.format(path, out=out) for word in words)), 1)
    if not (words[0] == "tokenizer" and kind == "text"):
        assert str(path) in line
    left = [p for p in out.rglob("*") if p.is_file()] if out.exists() else []
    assert [p.name for p in left if p.suffix in (".tmp", ".pt", ".onnx", ".model")] == []


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = tinyedge("--debug", "verify", tmp_path / "none")
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-2].startswith("error: ")
    assert done.returncode == 1


@pytest.mark.parametrize(
    "words",
    [
        ("generate", "{}", "--prompt", "x", "--max-tokens", "2"),
        ("serve", "{}", "--port", "0"),
        ("--version",),
    ],
)
def test_a_full_disk_gives_one_error_line(micro_bundle: Path, words: tuple[str, ...]) -> None:
    """/dev/full can be opened, but writing to it fails."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "tinyedge", *(word.format(micro_bundle) for word in words)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert "Traceback" not in done.stderr
    assert done.returncode == 1
    assert done.stderr.startswith("error: the standard output cannot be written: No space left")
    assert len(done.stderr.splitlines()) == 2


def test_a_server_whose_stdout_is_closed_does_not_run_unnoticed(micro_bundle: Path) -> None:
    serve = f"{sys.executable} -m tinyedge serve {micro_bundle} --port 0"
    command = f"{serve} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr.startswith("error: the standard output cannot be written: Broken pipe")
    assert done.returncode == 1


def test_a_closed_pipe_is_quiet(micro_bundle: Path) -> None:
    command = f"{sys.executable} -m tinyedge generate {micro_bundle} --prompt x --max-tokens 30 | head -c 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_a_bundle_of_another_version_is_refused(micro_bundle: Path, tmp_path: Path) -> None:
    other = tmp_path / "bundle"
    other.mkdir()
    for file in micro_bundle.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps(manifest | {"schema": "tinyedge.bundle/9"}))
    for words in (
        ("verify", other),
        ("generate", other, "--prompt", "x"),
        ("bench", other),
        ("check", other),
        ("eval", other, "--text", "a=b"),
    ):
        assert "tinyedge.bundle/9" in assert_refused(tinyedge(*words), 1)


def test_a_report_does_not_replace_a_device(micro_bundle: Path, tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("The men said that they would go to the house.\n")
    done = tinyedge("eval", micro_bundle, "--text", f"a={text}", "--json", "/dev/null")
    assert done.returncode == 2
    assert "--json /dev/null is not a regular file" in done.stderr
    assert Path("/dev/null").is_char_device()


def test_termination_leaves_no_files(tmp_path: Path) -> None:
    """SIGTERM while a corpus is written."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "tinyedge", "corpus", "--output-dir", str(out)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        while not (out.exists() and list(out.iterdir())) and process.poll() is None:
            time.sleep(0.01)
        process.terminate()
        assert process.wait() == 143
    assert not out.exists()


def test_closed_streams_are_not_an_error(micro_bundle: Path) -> None:
    command = f"{sys.executable} -m tinyedge generate {micro_bundle} --prompt x --max-tokens 2 >&- 2>&- <&-"
    assert subprocess.run(["bash", "-c", command], check=False).returncode == 0


def test_a_report_does_not_overwrite_its_inputs(bundle_copy: Callable[[], Path], tmp_path: Path) -> None:
    bundle = bundle_copy()
    text = tmp_path / "a.txt"
    text.write_text("The men said that they would go to the house.\n")
    assert_refused(tinyedge("bench", bundle, "--json", bundle / "bench.json"), 2)
    assert_refused(tinyedge("eval", bundle, "--text", f"a={text}", "--json", bundle / "manifest.json"), 2)
    assert_refused(tinyedge("eval", bundle, "--text", f"a={text}", "--json", text), 2)
    assert tinyedge("verify", bundle).returncode == 0


@pytest.mark.parametrize("name", ["training_metrics.json", "shards/validation.bin", "bilingual_1k.model"])
@pytest.mark.parametrize("command", ["check", "eval"])
def test_a_report_does_not_replace_a_file_of_the_run(
    command: str, name: str, micro_bundle: Path, tmp_path: Path
) -> None:
    run, text = tmp_path / "run", tmp_path / "a.txt"
    (run / "shards").mkdir(parents=True)
    text.write_text("The men said that they would go to the house.\n")
    for file in (run / name, run / "best_model.pt"):
        file.write_text("precious")
    words = {
        "check": ("check", micro_bundle, "--run-dir", run),
        "eval": ("eval", run / "best_model.pt", "--text", f"a={text}"),
    }[command]
    error = assert_refused(tinyedge(*words, "--json", run / name), 2)
    assert "is not a result that this command wrote earlier" in error
    assert (run / name).read_text() == "precious"


def test_foreign_text_does_not_control_the_terminal(tmp_path: Path) -> None:
    hostile = tmp_path / "a\x1b]0;title\x07\u202eb\nerror: forged.txt"
    error = assert_refused(tinyedge("generate", hostile, "--prompt", "a"), 1)
    assert "a\\u001b]0;title\\u0007\\u202eb" in error
    usage = tinyedge("corpus", "--no-such-\x1b[31m")
    assert usage.returncode == 2
    assert "\x1b" not in usage.stderr


def test_a_deleted_current_folder_is_one_error_line(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code = (
        "import os, runpy, sys\nos.rmdir(os.getcwd())\nsys.argv = ['tinyedge', 'fit']\n"
        "runpy.run_module('tinyedge', run_name='__main__', alter_sys=True)\n"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=gone, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert "the current folder is not accessible" in assert_refused(done, 1)
