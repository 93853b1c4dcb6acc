"""The source `commands`: download, cache, and the corpus that it makes."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

pytest.importorskip("hassil", reason="needs the extra `commands`")

from tinyedge.core.errors import CorpusError, UsageError
from tinyedge.corpus.build import CorpusRequest, prepare_corpus
from tinyedge.corpus.commands import source
from tinyedge.corpus.commands.settings import CommandSettings
from tinyedge.corpus.download import DownloadError, DownloadPolicy

FILES = {
    "sentences/en/HassNevermind/default.yaml": 'data:\n  - sentences: ["never mind"]\n',
    "README.md": "not a template",
}
QUICK = DownloadPolicy(max_attempts=1, sleep=lambda seconds: None)


def make_archive(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"intents-1234/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What a download gets: the last entry, as often as it is asked for."""
    answers = [make_archive(FILES)]
    known = {name: text for name, text in FILES.items() if name != "README.md"}
    monkeypatch.setattr(source, "SHA256", source.hash_templates(known))

    def download(url: str, part: Path, policy: DownloadPolicy, max_bytes: int) -> bytes:
        if not answers[-1]:
            raise DownloadError("no connection")
        return answers[-1]

    monkeypatch.setattr(source, "download", download)
    return answers


def test_templates_are_downloaded_once_with_their_licence_named(server: list[bytes], tmp_path: Path) -> None:
    notes: list[str] = []
    first = source.load_templates("", tmp_path, notes.append)
    assert "CC BY 4.0" in notes[0]
    server.append(b"")
    assert source.load_templates("", tmp_path, notes.append).combinations == first.combinations
    assert len(notes) == 1


def test_an_archive_with_other_templates_is_refused_and_not_kept(server: list[bytes], tmp_path: Path) -> None:
    server.append(make_archive(FILES | {"sentences/en/HassNevermind/default.yaml": "data: []\n"}))
    with pytest.raises(CorpusError, match="sha256"):
        source.load_templates("", tmp_path)
    assert not (tmp_path / source.ARCHIVE_NAME).exists()


@pytest.mark.parametrize("damaged", [b"<html>not found</html>", make_archive(FILES)[:-30]])
def test_what_is_no_archive_is_refused(server: list[bytes], tmp_path: Path, damaged: bytes) -> None:
    server.append(damaged)
    with pytest.raises(CorpusError, match="cannot be downloaded"):
        source.load_templates("", tmp_path)


def test_a_damaged_copy_is_downloaded_again(server: list[bytes], tmp_path: Path) -> None:
    copy = tmp_path / source.ARCHIVE_NAME
    copy.write_bytes(b"damaged")
    source.load_templates("", tmp_path)
    assert hashlib.sha256(copy.read_bytes()).digest() == hashlib.sha256(server[0]).digest()


def test_without_a_network_the_error_names_the_other_ways(server: list[bytes], tmp_path: Path) -> None:
    server.append(b"")
    with pytest.raises(CorpusError) as caught:
        source.load_templates("", tmp_path)
    assert caught.value.hint is not None
    assert "--templates builtin" in caught.value.hint


def test_a_corpus_of_home_commands_holds_pairs_and_is_reused(tmp_path: Path) -> None:
    request = CorpusRequest(("commands",), commands=CommandSettings("builtin", 200))
    report = prepare_corpus(request, tmp_path)
    assert report.has_pairs
    assert report.corpus["documents"] == 200
    assert set(report.languages) == {"en", "es"}
    lines = (tmp_path / "corpus_bilingual.txt").read_text().split("\n\n")[0].splitlines()
    assert len(lines) == 2
    assert lines[1].startswith('{"intent":"')
    assert report.matches(request)
    assert not report.matches(CorpusRequest(("commands",), commands=CommandSettings("builtin", 201)))


def test_settings_of_commands_without_the_source_are_an_error() -> None:
    with pytest.raises(UsageError, match="templates and pairs"):
        CorpusRequest(("phrasebook",), commands=CommandSettings("builtin"))


def test_commands_cannot_be_mixed_with_text() -> None:
    with pytest.raises(UsageError, match="stands alone"):
        CorpusRequest(("commands", "phrasebook"))
