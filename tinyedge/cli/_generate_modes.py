"""What `tinyedge generate` does besides one answer: a conversation on the terminal, and a file of pairs.

In: functions of the command that ask the model. Out: text or JSON on standard output. Does not know the
runtime.
"""

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyedge.cli._echo import print_note
from tinyedge.cli._forms import require_whole_answers
from tinyedge.cli._json import JsonOutput
from tinyedge.core.errors import UsageError
from tinyedge.core.sampling import SamplingConfig
from tinyedge.host import interrupt

MAX_SEED = (1 << 63) - 1
WELCOME = "Ctrl-C stops an answer, Ctrl-D or /exit ends, /help shows more."
HELP = {
    "/reset": "forget the conversation so far",
    "/exit": "end, as Ctrl-D does",
    "/help": "show this help",
}


def require_possible(prompt: str | None, pairs: Path | None, count: int, output: JsonOutput) -> None:
    """Check what the command is asked for besides one answer to a prompt.

    Args:
        prompt: Value of --prompt.
        pairs: Value of --pairs.
        count: Value of -n.
        output: Where the JSON goes.

    Raises:
        UsageError: The flags exclude each other, or there is neither a prompt nor a terminal.
    """
    if pairs is not None:
        if prompt is not None:
            raise UsageError("--prompt and --pairs are mutually exclusive", "leave one of them out")
        if count > 1:
            raise UsageError("-n and --pairs are mutually exclusive", "leave one of them out")
        if output.path:
            raise UsageError(
                "--json FILE cannot be used with --pairs, which prints a line for each prompt",
                "write the lines to a file with: --json - > FILE",
            )
        return
    if prompt is not None:
        return
    hint = 'pass the text: --prompt "Once upon a time", or --prompt - to read standard input'
    if count > 1 or output.path or output.is_printed:
        flag = "-n" if count > 1 else "--json"
        raise UsageError(f"--prompt is missing, which {flag} needs", hint)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("--prompt is missing, and a conversation needs a terminal", hint)


def make_template_error(bundle: Path, has_home: bool, is_continued: bool) -> UsageError:
    """Return the error for a prompt that a model cannot answer, since it is asked to continue texts.

    Args:
        bundle: Folder of the bundle.
        has_home: Whether --home is given, and not --chat.
        is_continued: Whether --no-chat is given.
    """
    if has_home and is_continued:
        return UsageError("--home and --no-chat are mutually exclusive", "leave one of them out")
    if has_home:
        return UsageError(
            f"--home: the model of {bundle} was not trained on pairs",
            "train one on home commands: tinyedge train --source commands",
        )
    return UsageError(
        f"--chat: the model of {bundle} was not trained on pairs",
        "omit --chat to continue the prompt, or train on pairs: tinyedge train --input pairs.jsonl",
    )


def list_notes(answer: Mapping[str, Any], context: int, is_shown: bool) -> list[str]:
    """Return what a user should know about an answer.

    Args:
        answer: Fields of its JSON.
        context: Tokens of the model's context.
        is_shown: Whether it is shown as text.
    """
    notes = []
    if answer["finish_reason"] == "content_filter":
        notes.append("the text ends before a word on the filter's list; --no-filter shows it")
    elif is_shown and not answer["text"]:
        notes.append("the model ended the text immediately; try another --seed, or an unfinished prompt")
    if answer["slid"]:
        notes.append(
            f"the text is longer than the model's context of {context} tokens;"
            " its end was generated without its beginning"
        )
    return notes


@dataclass(frozen=True)
class Modes:
    """The model of one call, and how it is asked."""

    ask: Callable[[list[str], SamplingConfig, str | None], dict[str, Any]]
    """Answers prompt, answer, prompt, and so on; shows a text and then the answer, or nothing for None."""
    encode: Callable[[list[str]], str | list[int]]
    """Encodes these."""
    prepare: Callable[[str], str]
    """Adds the names of a home to a prompt."""
    config: SamplingConfig
    """Settings of the sampler; the seed is set."""
    max_tokens: int
    """Largest number of tokens of an answer."""
    context: int
    """Tokens of the model's context."""
    has_form: bool
    """Whether answers have a form, and are shown only if they are complete."""

    def answer_pairs(self, path: Path, head: Mapping[str, Any] | None) -> None:
        """Answer the prompts of a file of pairs, each after the earlier turns of its conversation.

        All lines are read before the first answer, so that no answer precedes an error in a later line.

        Args:
            path: The file.
            head: Fields of each line of JSON; None for lines of text.

        Raises:
            CorpusError: The file does not hold pairs.
            TinyEdgeError: Answers are not complete in their form.
        """
        from tinyedge.corpus.pairs import read_conversations

        for _ in read_conversations(path, print_note):
            pass
        reasons = []
        cut = slid = 0
        for turns in read_conversations(path):
            for index in range(0, len(turns), 2):
                prompt = self.prepare(turns[index])
                answer = self.ask([*turns[:index], prompt], self.config, None)
                reasons.append(answer["finish_reason"])
                is_cut = answer["prompt_tokens"] > self.context
                cut, slid = cut + is_cut, slid + (answer["slid"] and not is_cut)
                if head is not None:
                    line = {**head, "prompt": prompt, "completion": turns[index + 1], **answer}
                    JsonOutput(is_printed=True).show(line)
                elif not self.has_form or answer["finish_reason"] == "stop":
                    print(f"{prompt} -> {' '.join(answer['text'].splitlines())}", flush=True)
        for count, what in (
            (cut, "of {} prompts are longer than it, and their beginning was left out"),
            (
                slid,
                "of {} answers exceed it, and their end was generated without the prompt's beginning",
            ),
        ):
            if count:
                where = f"note: the model's context is {self.context} tokens: {count}"
                print_note(f"{where} {what.format(len(reasons))}")
        if self.has_form:
            require_whole_answers(reasons, self.max_tokens)

    def converse(self, max_turns: int | None) -> None:
        """Answer lines that the user types, until the end of the input.

        A model that was trained on pairs sees the earlier turns; any other one continues each line.

        Args:
            max_turns: Largest number of prompts of a conversation in the training, or 0 if it is not known;
                None for a model that continues text.
        """
        with contextlib.suppress(ImportError):  # a Python without it
            import readline  # noqa: F401  # input() then edits the line, and has a history
        print_note(WELCOME)
        turns: list[str] = []
        number = 0
        while (line := _read_line()) is not None:
            if line.startswith("/"):
                if line == "/exit":
                    return
                if line == "/reset":
                    turns = []
                    print_note("The conversation starts again.")
                else:
                    _show_help(line)
                continue
            prompt = self.prepare(line)
            seed = ((self.config.seed or 0) + number) % (MAX_SEED + 1)
            config = dataclasses.replace(self.config, seed=seed)
            number += 1
            turns = self._fit([*turns, prompt], max_turns)
            answer = self._answer_line(turns, config, is_continued=max_turns is None)
            turns = turns[:-1] if answer is None or max_turns is None else [*turns, answer]

    def _fit(self, turns: Sequence[str], max_turns: int | None) -> list[str]:
        """Drop the oldest turns until the rest has a place in the context, beside the answer."""
        if max_turns is None:
            return [turns[-1]]
        kept = list(turns)
        while len(kept) > 1 and (
            0 < max_turns < (len(kept) + 1) // 2 or len(self.encode(kept)) + self.max_tokens > self.context
        ):
            kept = kept[2:]
        return kept

    def _answer_line(self, turns: list[str], config: SamplingConfig, is_continued: bool) -> str | None:
        """Show the answer to the last of some turns; return it, or None if the user stopped it."""
        try:
            before = turns[-1] if is_continued else ""
            answer = self.ask(turns, config, None if self.has_form else before)
        except KeyboardInterrupt:
            interrupt.forget()
            print(flush=True)
            print_note("note: stopped" if is_continued else "note: stopped; this turn is forgotten")
            return None
        text = str(answer["text"])
        if self.has_form and answer["finish_reason"] != "stop":
            print_note(f"note: the answer is not complete after --max-tokens {self.max_tokens}")
            return None
        print(text if self.has_form else "", flush=True)
        for note in list_notes(answer, self.context, is_shown=True):
            print_note(f"note: {note}")
        return text


def _read_line() -> str | None:
    """Return the next line with text that the user types; None at the end of the input."""
    while True:
        try:
            line = input("> ").strip()
        except EOFError:
            print()
            return None
        except KeyboardInterrupt:
            interrupt.forget()
            print(flush=True)
            print_note("Ctrl-D or /exit ends.")
            continue
        except UnicodeDecodeError:
            print_note("note: the line is not UTF-8, and is ignored")
            continue
        if line:
            return line


def _show_help(line: str) -> None:
    if line != "/help":
        print_note(f"note: {line.split()[0]} is not a command")
    for name, meaning in HELP.items():
        print_note(f"{name:<7} {meaning}")
