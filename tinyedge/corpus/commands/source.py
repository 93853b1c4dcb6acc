"""The source `commands`: pairs made from Home Assistant's templates, which are downloaded, or from others.

In: where templates come from. Out: conversations of a prompt and an answer. The templates are CC BY 4.0, (c)
the contributors of github.com/OHF-Voice/intents. They are downloaded once, checked and kept in a cache. Does
not know the corpus file.
"""

import hashlib
import io
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import as_file, files
from pathlib import Path

from tinyedge.core.errors import CorpusError
from tinyedge.core.files import write_bytes
from tinyedge.corpus.commands.make_pairs import CommandPair, make_pairs
from tinyedge.corpus.commands.settings import BUILTIN, CommandSettings
from tinyedge.corpus.commands.templates import TemplateSet, is_template_file, parse_templates, read_folder
from tinyedge.corpus.document import Document
from tinyedge.corpus.download import DownloadError, DownloadPolicy, download

SOURCE = "commands"
LICENCE = "CC BY 4.0, (c) contributors of github.com/OHF-Voice/intents"
BUILTIN_LICENCE = "Apache-2.0"
COMMIT = "3e74ab7ed8d4319293f3cc24e9895d593959e701"  # of 2026-08-22
URL = f"https://codeload.github.com/OHF-Voice/intents/tar.gz/{COMMIT}"
# Of the templates in the archive, not of the archive: GitHub may compress it anew.
SHA256 = "5d44ae1f2e1c6bba3aa8bcc0f539aaddb9f5414d3c43dd0b9bab37a591387883"
ARCHIVE_NAME = f"intents-{COMMIT[:12]}.tar.gz"
MAX_ARCHIVE_BYTES = 1 << 25  # ten times its size
_MAX_FILE_BYTES = 1 << 20


def generate_documents(
    settings: CommandSettings,
    seed: int,
    cache_dir: Path,
    report: Callable[[str], None] = lambda line: None,
    url: str = URL,
    policy: DownloadPolicy | None = None,
) -> Iterator[Document]:
    """Make the pairs, as conversations of two turns.

    Args:
        settings: Where the templates come from, and the number of pairs.
        seed: Random seed.
        cache_dir: Folder of the downloaded templates.
        report: Receives lines about progress.
        url: URL of the archive.
        policy: Limits of the download.

    Raises:
        CorpusError: The templates are missing, or not valid, or the extra `commands` is not installed.
    """
    templates = load_templates(settings.templates, cache_dir, report, url, policy)
    for pair in generate_pairs(templates, settings.pairs, seed):
        yield Document((pair.prompt, pair.command.to_text()), pair.language, SOURCE)


def generate_pairs(
    templates: TemplateSet, count: int, seed: int, held_out: bool = False
) -> Iterator[CommandPair]:
    """Make pairs whose ordinary sentences come from the phrasebook."""
    from tinyedge.corpus import phrasebook

    texts = [
        (document.language, sentence)
        for document in phrasebook.generate_documents(seed)
        for sentence in document.sentences
    ]
    return make_pairs(templates, count, seed, held_out, texts)


def load_templates(
    where: str,
    cache_dir: Path,
    report: Callable[[str], None] = lambda line: None,
    url: str = URL,
    policy: DownloadPolicy | None = None,
) -> TemplateSet:
    """Load templates: the built-in ones, those of a folder, or Home Assistant's.

    Raises:
        CorpusError: They are missing or not valid.
    """
    if where == BUILTIN:
        with as_file(files("tinyedge.corpus").joinpath("data/commands/builtin")) as folder:
            return read_folder(folder)
    if where:
        return read_folder(Path(where))
    return parse_templates(_fetch_archive(cache_dir, report, url, policy), URL)


def hash_templates(texts: Mapping[str, str]) -> str:
    """Return one hash of all files of a set of templates."""
    digest = hashlib.sha256()
    for name in sorted(texts):
        digest.update(f"{name}\n{hashlib.sha256(texts[name].encode()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _fetch_archive(
    cache_dir: Path, report: Callable[[str], None], url: str, policy: DownloadPolicy | None
) -> dict[str, str]:
    """Return the files of the archive by path, from the cache or else from the network."""
    path = cache_dir / ARCHIVE_NAME
    if path.exists():
        try:
            return _read_archive(path.read_bytes())
        except DownloadError as failure:
            report(f"{path}: {failure}; downloading it again")
    report(f"downloading the templates of home commands (3 MB; {LICENCE})")
    cache_dir.mkdir(parents=True, exist_ok=True)
    try:
        data = download(url, path.with_suffix(".part"), policy or DownloadPolicy(), MAX_ARCHIVE_BYTES)
        texts = _read_archive(data)
    except DownloadError as failure:
        raise CorpusError(
            f"the templates of home commands cannot be downloaded: {failure}",
            "check the network and run again; or use --templates builtin, or --templates FOLDER",
        ) from None
    write_bytes(path, data)
    return texts


def _read_archive(data: bytes) -> dict[str, str]:
    """Return the templates in an archive by their path in the repository.

    Raises:
        DownloadError: The data is not the expected archive.
    """
    texts: dict[str, str] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            for member in archive:
                name = member.name.partition("/")[2]  # the first folder is the repository's
                if not member.isfile() or member.size > _MAX_FILE_BYTES or not is_template_file(name):
                    continue
                file = archive.extractfile(member)
                assert file
                texts[name] = file.read().decode()
    except (tarfile.TarError, OSError, EOFError, UnicodeDecodeError, zlib.error):
        raise DownloadError("received something else than the archive") from None
    found = hash_templates(texts)
    if found != SHA256:
        raise DownloadError(f"the templates have the sha256 {found[:12]}, not {SHA256[:12]}")
    return texts
