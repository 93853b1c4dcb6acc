"""Make five texts like downloaded ones from two files of sentences, and show what `tinyedge corpus` reads.

In: a file of English and one of Spanish sentences, one per line, with blank lines between passages. Out: the
five texts, and for each the printed report and the share of sentences that begin in lower case. With
`--before`, also the result of another checkout of tinyedge. Example:

    .venv/bin/python -m bench.real_text en.txt es.txt --output-dir /tmp/real-text --before ../tinyedge-0.1.0
"""

import argparse
import itertools
import random
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from tinyedge.corpus.corpus_file import read_corpus_documents

SENTENCES = 1_000  # of each language
SEED = 0


def make_novel(sentences: list[str], drawn: random.Random) -> bytes:
    """A novel of Project Gutenberg: contents, epigraphs, wrapped at 72 columns."""
    titles = [_title(drawn.choice(sentences)) for _ in range(40)]
    contents = [f"CHAPTER {number}. {title}" for number, title in enumerate(titles, 1)]
    lines = ["THE NOVEL", "", "By Several Hands", "", "CONTENTS", "", *contents, ""]
    for number, chapter in enumerate(_split(sentences, len(titles))):
        lines += [contents[number], "", *_make_verse(drawn.sample(sentences, 2), drawn), ""]
        for paragraph in _split(chapter, max(1, len(chapter) // 4)):
            lines += [*textwrap.wrap(" ".join(paragraph), 72, break_on_hyphens=False), ""]
    return "\n".join(lines).encode()


def make_dos_file(sentences: list[str], drawn: random.Random) -> bytes:
    """An old DOS or Windows text: Windows-1252, CRLF, 65 columns, indented paragraphs, Ctrl-Z at the end."""
    lines: list[str] = []
    for paragraph in _split(sentences, len(sentences) // 5):
        text = " ".join(paragraph).replace("...", "…")
        lines += textwrap.wrap(text, 65, initial_indent="   ", break_on_hyphens=False)
    return "\r\n".join([*lines, "\x1a"]).encode("cp1252", "replace")


def make_paragraphs(sentences: list[str], drawn: random.Random) -> bytes:
    """A text from a word processor: one paragraph a line, with its manual line breaks (U+000B)."""
    paragraphs = [" ".join(part) for part in _split(sentences, len(sentences) // 6)]
    return "\n".join(text.replace("; ", ";\v") for text in paragraphs).encode("utf-8-sig")


def make_verse(sentences: list[str], drawn: random.Random) -> bytes:
    """An anthology: verse, and prefaces set in a narrow column with soft hyphens."""
    lines: list[str] = []
    for part in _split(sentences, len(sentences) // 20):
        preface, verse = part[:8], part[8:]
        lines += [*_hyphenate(" ".join(preface), 48), ""]
        for stanza in _split(_make_verse(verse, drawn), max(1, len(verse) // 2)):
            lines += [*stanza, ""]
    return "\n".join(lines).encode()


def make_chat(sentences: list[str], drawn: random.Random) -> bytes:
    """Headlines, then messages in lower case; both without full stops."""
    half = len(sentences) // 2
    lines = [_title(sentence, words=12) for sentence in sentences[:half] if len(sentence.split()) >= 12]
    lines.append("")
    for number, sentence in enumerate(sentences[half:]):
        name = drawn.choice(("ana", "marco", "june"))
        lines.append(f"[{number // 60 % 24:02}:{number % 60:02}] {name}: {sentence.lower().rstrip('.!?”')}")
    return "\n".join(lines).encode()


TEXTS = {
    "novel.txt": ("en", make_novel),
    "dos.txt": ("es", make_dos_file),
    "paragraphs.txt": ("en", make_paragraphs),
    "verse.txt": ("es", make_verse),
    "chat.txt": ("en", make_chat),
}


def main() -> None:
    """Make the texts, run `tinyedge corpus` on each, and print a Markdown report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("english", type=Path)
    parser.add_argument("spanish", type=Path)
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--before", type=Path, help="Another checkout of tinyedge, to compare with.")
    arguments = parser.parse_args()
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    sentences = {
        "en": [line for lines in read_corpus_documents(arguments.english) for line in lines][:SENTENCES],
        "es": [line for lines in read_corpus_documents(arguments.spanish) for line in lines][:SENTENCES],
    }
    checkouts = {"now": Path(__file__).parents[1]} | (
        {"before": arguments.before} if arguments.before else {}
    )
    for name, (language, make) in TEXTS.items():
        path = arguments.output_dir / name
        path.write_bytes(make(sentences[language], random.Random(SEED)))
        print(f"## {name}\n")
        for label, checkout in checkouts.items():
            printed, corpus = run_corpus(path, arguments.output_dir / f"{path.stem}-{label}", checkout)
            print(f"{label}: {describe(corpus)}\n\n```text\n{printed}```\n")


def run_corpus(path: Path, output_dir: Path, checkout: Path) -> tuple[str, list[str]]:
    """Return what `tinyedge corpus` prints about a file, and the sentences that it writes."""
    places = ["--input", str(path.resolve()), "--output-dir", str(output_dir.resolve())]
    done = subprocess.run(
        [sys.executable, "-m", "tinyedge", "corpus", *places],
        cwd=checkout,  # -m imports from the current folder
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    written = output_dir / "corpus_bilingual.txt"
    if done.returncode:
        return done.stdout, []
    return done.stdout, [line for lines in read_corpus_documents(written) for line in lines]


def describe(sentences: list[str]) -> str:
    """Describe the sentences of a corpus in a line."""
    if not sentences:
        return "no corpus"
    lower = sum(_first_letter(sentence).islower() for sentence in sentences) / len(sentences)
    longest = f"the longest has {max(map(len, sentences)):,} characters"
    return f"{len(sentences):,} sentences, {lower:.1%} begin in lower case, {longest}"


def _first_letter(text: str) -> str:
    return next((char for char in text if char.isalnum()), "")


def _title(sentence: str, words: int = 4) -> str:
    return " ".join(sentence.strip("“”‘’(—¿¡\"'").split()[:words]).rstrip(".,;:!?”").capitalize()


def _split(items: list[str], parts: int) -> Iterator[list[str]]:
    """Split a list into parts of about the same length."""
    bounds = [len(items) * part // parts for part in range(parts + 1)]
    return (items[start:end] for start, end in itertools.pairwise(bounds) if start < end)


def _make_verse(sentences: list[str], drawn: random.Random) -> list[str]:
    """Return lines of 25 to 45 characters, each with a capital at its start."""
    lines, line = [], ""
    for word in " ".join(sentences).split():
        line = f"{line} {word}".strip()
        if len(line) >= drawn.randint(25, 40):
            lines.append(line[0].upper() + line[1:])
            line = ""
    return lines + ([line[0].upper() + line[1:]] if line else [])


def _hyphenate(text: str, width: int) -> list[str]:
    """Wrap a text and cut long words at the ends of lines, with a soft hyphen."""
    lines, line = [], ""
    for word in text.split():
        room = width - len(line) - 2
        if len(line) + 1 + len(word) <= width:
            line = f"{line} {word}".strip()
        elif len(word) > 7 and 3 <= room <= len(word) - 3 and word.isalpha():
            lines.append(f"{line} {word[:room]}\u00ad".strip())
            line = word[room:]
        else:
            lines.append(line)
            line = word
    return [*lines, line]


if __name__ == "__main__":
    main()
