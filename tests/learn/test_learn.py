"""`tinyedge learn`: a bundle that predicts the user's text better, or one error and no bundle."""

import json
import shutil
import signal
from pathlib import Path

import pytest

from bench.serve.loopback import Server
from tests.support.ngram_bundle import write_ngram_bundle
from tests.support.program import assert_refused, tinyedge
from tinyedge.bundle.bundle import load_bundle
from tinyedge.core.errors import CorpusError
from tinyedge.corpus import phrasebook
from tinyedge.learn.held_out import LEARNED_SHARE, split_text
from tinyedge.text.tokenizer import Tokenizer


def draw_lines(seed: int) -> list[str]:
    found: list[str] = []
    for document in phrasebook.generate_documents(seed):
        if document.language == "en":
            found += document.sentences
        if len(found) > 900:
            break
    return found


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return draw_lines(seed=4)


@pytest.fixture(scope="module")
def text(lines: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "mine.txt"
    path.write_text("\n".join(lines))
    return path


def test_a_bundle_learns_twice_and_the_first_one_stays(
    micro_bundle: Path, text: Path, tmp_path: Path
) -> None:
    before = {file.name: file.read_bytes() for file in micro_bundle.iterdir()}
    first = json.loads(
        tinyedge("learn", micro_bundle, "--input", text, "--output-dir", tmp_path / "1", "--json").stdout
    )
    assert {file.name: file.read_bytes() for file in micro_bundle.iterdir()} == before
    assert first["after"] < first["before"]
    assert first["change_percent"] == pytest.approx(100 * (first["after"] / first["before"] - 1))
    bundle = load_bundle(tmp_path / "1", all_hashes=True)
    assert bundle.ngrams is not None
    assert len(bundle.ngrams.data) == first["ngrams_bytes"]
    assert len(bundle.manifest["learned"]) == 1
    assert bundle.model == load_bundle(micro_bundle).model

    other = tmp_path / "other.txt"
    other.write_text("\n".join(draw_lines(seed=5)))
    done = tinyedge("learn", tmp_path / "1", "--input", other, "--output-dir", tmp_path / "2", "--json")
    second = json.loads(done.stdout)
    assert second["after"] < second["before"] < first["before"]  # it knows texts of this kind already
    assert len(load_bundle(tmp_path / "2").manifest["learned"]) == 2


def test_the_same_text_gives_the_same_bytes(micro_bundle: Path, text: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        done = tinyedge("learn", micro_bundle, "--input", text, "--output-dir", tmp_path / name)
        assert (done.returncode, "bits per byte before" in done.stdout) == (0, True)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_generate_and_eval_use_what_was_learned(micro_bundle: Path, text: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    learned = json.loads(
        tinyedge("learn", micro_bundle, "--input", text, "--output-dir", folder, "--json").stdout
    )
    figures = [
        json.loads(tinyedge("eval", bundle, "--text", f"a={text}", "--json").stdout)["results"][0]
        for bundle in (micro_bundle, folder)
    ]
    assert figures[1]["bits_per_byte"] < figures[0]["bits_per_byte"] * (1 + learned["change_percent"] / 100)
    assert tinyedge("generate", folder, "--prompt", "The", "--seed", "1").returncode == 0


def test_a_table_of_the_bundle_is_kept(micro_bundle: Path, text: Path, tmp_path: Path) -> None:
    mixed = write_ngram_bundle(micro_bundle, tmp_path / "mixed")
    tinyedge("learn", mixed, "--input", text, "--output-dir", tmp_path / "mine")
    old, new = (load_bundle(folder).ngrams for folder in (mixed, tmp_path / "mine"))
    assert old is not None
    assert new is not None
    assert all(more >= less for more, less in zip(new.layout.entries, old.layout.entries, strict=True))


def test_a_running_server_takes_up_what_was_learned(micro_bundle: Path, text: Path, tmp_path: Path) -> None:
    """As docs/learn.md says it: learn from what is served, activate, reload."""
    for package in ("h11", "prometheus_client"):
        pytest.importorskip(package, reason="the server needs the extra `serve`")
    store = tmp_path / "store"
    assert tinyedge("activate", micro_bundle, "--store", store).returncode == 0
    with Server(store / "current") as server:
        learned = tinyedge("learn", store / "current", "--input", text, "--output-dir", tmp_path / "mine")
        assert learned.returncode == 0, learned.stderr
        activated = tinyedge("activate", tmp_path / "mine", "--store", store, "--json")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_metric('tinyedge_reloads_total{result="ok"}', 1)
        serving = json.loads(activated.stdout)["serving"]
        assert server.get("/v1/models/tinyedge").json()["bundle"] == serving
        with Server(tmp_path / "mine") as other:
            answers = [one.complete("The", max_tokens=20, seed=1).text for one in (server, other)]
        assert answers[0] == answers[1]


def test_what_teaches_nothing_is_an_error_and_no_bundle(
    micro_bundle: Path, text: Path, lines: list[str], tmp_path: Path
) -> None:
    """The bundle knows the end of the text by heart, and the text itself says less about it."""
    tinyedge("learn", micro_bundle, "--input", text, "--output-dir", tmp_path / "mine")
    again = tmp_path / "again.txt"
    again.write_text("\n".join(reversed(lines)))
    done = tinyedge("learn", tmp_path / "mine", "--input", again, "--output-dir", tmp_path / "out")
    assert assert_refused(done, 1).startswith("error: nothing was learned: the end of the text has")
    assert not (tmp_path / "out").exists()


def test_too_little_text_is_an_error(micro_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.txt"
    path.write_text("One line.\nAnother line.\n")
    error = assert_refused(
        tinyedge("learn", micro_bundle, "--input", path, "--output-dir", tmp_path / "out"), 1
    )
    assert error.startswith("error: the text has 24 bytes, and a tenth of it")
    assert not (tmp_path / "out").exists()


def test_a_model_of_pairs_is_refused(command_bundle: Path, text: Path, tmp_path: Path) -> None:
    done = tinyedge("learn", command_bundle, "--input", text, "--output-dir", tmp_path / "out")
    assert "was trained on pairs" in assert_refused(done, 1)


def test_a_folder_that_is_no_bundle_is_not_replaced(micro_bundle: Path, text: Path, tmp_path: Path) -> None:
    shutil.copy(text, tmp_path / "notes.txt")
    done = tinyedge("learn", micro_bundle, "--input", text, "--output-dir", tmp_path)
    assert "exists and is not a bundle" in assert_refused(done, 1)
    assert (tmp_path / "notes.txt").exists()


def test_parts_follow_each_other_and_no_line_is_in_two(micro_bundle: Path, lines: list[str]) -> None:
    tokenizer = Tokenizer((micro_bundle / "tokenizer.model").read_bytes())
    text = split_text([lines[:500], lines[500:]], tokenizer)
    sizes = [sum(passage.bytes for passage in part) for part in (text.learned, text.choice, text.judge)]
    assert sum(sizes) == text.bytes == sum(len(line.encode()) + 1 for line in lines)
    assert sizes[0] == pytest.approx(LEARNED_SHARE * text.bytes, rel=0.02)
    assert len(text.learned) == 2  # documents are not joined
    with pytest.raises(CorpusError, match="at least 300 are needed"):
        split_text([lines[:20]], tokenizer)
