"""`tinyedge generate`: continue a prompt, as a stream on the terminal or as one JSON object.

Without a prompt, a conversation on the terminal. What few calls need is in modules of its own, because each
import slows down every start on the device.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tinyedge.cli._json import JsonOutput, JsonTarget
from tinyedge.cli._options import FilterFile, Values, options_from
from tinyedge.core.sampling import COMMAND_TOKENS, DEFAULT_TOKENS, SamplingConfig
from tinyedge.core.settings import require_range
from tinyedge.host.affinity import default_threads, require_usable_threads

if TYPE_CHECKING:
    from tinyedge.forms.form import Form
    from tinyedge.runtime.pieces import Piece

MAX_ANSWERS = 1000  # of one call
MAX_PROMPT_BYTES = 1 << 20  # tokenizing 20 MB would take 1 GB, and the model sees at most a few kB of it


@options_from("sampling", SamplingConfig)
def generate(
    *,
    bundle: Annotated[Path, typer.Argument(help="Folder created by `tinyedge export`.", show_default=False)],
    prompt: Annotated[
        str | None,
        typer.Option(
            help="Text to continue, or to answer; - reads standard input. Without it: a conversation.",
            show_default=False,
        ),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            help="Answer every prompt of this file of pairs, one line for each.", show_default=False
        ),
    ] = None,
    chat: Annotated[
        bool | None,
        typer.Option(
            "--chat/--no-chat",
            help="Answer the prompt, as the model learned from pairs, or continue it.",
            show_default="--chat if trained on pairs",
        ),
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option(
            help="File with the names of your home: the prompt is a command in it.", show_default=False
        ),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            help="Maximum number of tokens to generate.",
            show_default=f"{DEFAULT_TOKENS}; {COMMAND_TOKENS} with --home",
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", help="Number of answers, with the seeds SEED, SEED + 1, ...")] = 1,
    sampling: Values,
    ignore_eos: Annotated[
        bool, typer.Option("--ignore-eos", help="Continue after the end of a text, up to --max-tokens.")
    ] = False,
    stop: Annotated[list[str] | None, typer.Option(help="Stop before this text; repeatable.")] = None,
    json_schema: Annotated[
        Path | None,
        typer.Option(
            help="Answer in JSON that the schema in this file allows.",
            show_default=False,
            rich_help_panel="Form of the answer",
        ),
    ] = None,
    regex: Annotated[
        str | None,
        typer.Option(
            help="Answer with a text that this regular expression matches completely.",
            show_default=False,
            rich_help_panel="Form of the answer",
        ),
    ] = None,
    choices: Annotated[
        str | None,
        typer.Option(
            help='Answer with one of these texts: yes,no or ["yes", "no"].',
            show_default=False,
            rich_help_panel="Form of the answer",
        ),
    ] = None,
    no_filter: Annotated[
        bool,
        typer.Option("--no-filter", help="Also show words of the filter's list.", rich_help_panel="Filter"),
    ] = False,
    filter_file: FilterFile = None,
    threads: Annotated[int, typer.Option(help="CPU cores used to compute a token.")] = default_threads(),
    json: JsonTarget = None,
) -> None:
    """Continue a prompt, or answer it, with the model of a bundle."""
    import io
    import os
    import random

    from tinyedge.core.errors import BundleError, UsageError
    from tinyedge.host import drop_code, gc_pause

    with gc_pause.pause_gc():
        from tinyedge.runtime.content_filter import ContentFilter
        from tinyedge.runtime.engine import import_engine
        from tinyedge.runtime.generator import Generator

        import_engine()

    output = JsonOutput.from_option(
        json, "tinyedge.completion", inputs=(bundle, *filter(None, [filter_file, json_schema, pairs]))
    )
    require_range("n", n, 1, MAX_ANSWERS, whole=True)
    if max_tokens is None:
        max_tokens = COMMAND_TOKENS if home else DEFAULT_TOKENS
    if no_filter and filter_file:
        raise UsageError("--no-filter and --filter are mutually exclusive", "leave one of them out")
    form = None
    has_form = any(value is not None for value in (home, json_schema, regex, choices))
    if has_form:
        from tinyedge.cli._forms import read_form, require_whole_answers

        form = read_form(home, json_schema, regex, choices)
    require_usable_threads(threads)
    content_filter = None if no_filter else ContentFilter.load(filter_file)

    if sampling["seed"] is None:
        sampling["seed"] = random.SystemRandom().getrandbits(32)
    configs = [SamplingConfig(**{**sampling, "seed": sampling["seed"] + number}) for number in range(n)]
    if not os.path.lexists(bundle):  # False also for a text that is too long for a path
        raise BundleError(
            f"{bundle} does not exist",
            "the first argument is a bundle, the text goes after --prompt;"
            " create a bundle with: tinyedge export",
        )
    if prompt is None or pairs:
        from tinyedge.cli._generate_modes import require_possible

        require_possible(prompt, pairs, n, output)
    if prompt == "-":
        raw = sys.stdin.buffer.read(MAX_PROMPT_BYTES + 1)
        if len(raw) > MAX_PROMPT_BYTES:
            raise UsageError(
                f"--prompt -: standard input has more than {MAX_PROMPT_BYTES} bytes",
                "pass its end; the model sees only the last part: tail -c 100000 FILE",
            )
        prompt = raw.decode("utf-8", "replace").removesuffix("\n")
    names = None
    if home:
        from tinyedge.corpus.commands.home import load_home

        names = load_home(home)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # for characters of a prompt that the terminal cannot show

    began = time.perf_counter()
    with drop_code.drop_before_and_after():
        generator = Generator.load(bundle, threads)
    loaded = time.perf_counter()
    template = generator.bundle.template if chat is not False else None
    if (chat or home) and template is None:
        from tinyedge.cli._generate_modes import make_template_error

        raise make_template_error(bundle, has_home=home is not None, is_continued=chat is False)

    def prepare(text: str) -> str:
        if names is None:
            return text
        from tinyedge.corpus.commands.home import format_prompt

        return format_prompt(names, text)

    def encode(turns: list[str]) -> str | list[int]:
        if template is None:
            return "\n".join(turns)
        from tinyedge.text.turns import encode_turns

        return encode_turns(generator.tokenizer, turns)

    def find_form(prompt: str) -> "Form | None":
        if names is None:
            return form
        from tinyedge.forms.form import Form

        return Form.command(prompt)

    def ask(turns: list[str], config: SamplingConfig, before: str | None) -> dict[str, Any]:
        began = time.perf_counter()
        source = encode(turns)
        stream = generator.stream(
            source,
            max_tokens=max_tokens,
            sampling=config,
            stop=stop or (),
            ignore_eos=ignore_eos,
            content_filter=content_filter,
            form=find_form(turns[-1]),
        )
        answer = _collect(stream, began, before)
        return {"seed": config.seed, "prompt_tokens": len(generator.encode_prompt(source)), **answer}

    head = {
        "schema": "tinyedge.completion/1",
        "model_id": generator.bundle.model_id,
        "engine": generator.session.engine._asdict(),
        "threads": threads,
        "template": template,
    }
    context = generator.config.max_seq_length
    if prompt is None:
        from tinyedge.cli._generate_modes import Modes

        modes = Modes(ask, encode, prepare, configs[0], max_tokens, context, has_form)
        if pairs:
            modes.answer_pairs(pairs, head if output.is_printed else None)
        else:
            max_turns = generator.bundle.manifest["chat"].get("turns", 0) if template else None
            modes.converse(max_turns)
        return

    prompt = prepare(prompt)
    answers: list[dict[str, Any]] = []
    # An answer in a form is shown when it is complete, alone: a program reads it.
    is_streamed = not output.is_printed and not has_form
    for config in configs:
        before = ("\n" if answers else "") + ("" if template else prompt)
        answer = ask([prompt], config, before if is_streamed else None)
        answers.append(answer)
        is_cut = has_form and answer["finish_reason"] != "stop"
        if not output.is_printed and not is_cut:
            # Flushed, so that a closed pipe, as after `head`, is noticed here and not at exit.
            print("" if is_streamed else answer["text"], flush=True)
    first = {**answers[0], "timing": {"load_s": round(loaded - began, 6), **answers[0]["timing"]}}
    result = {**head, "prompt": prompt, **first}
    output.emit({**result, "answers": answers} if n > 1 else result)
    if has_form:
        require_whole_answers([answer["finish_reason"] for answer in answers], max_tokens)
    if any(
        answer["slid"] or not answer["text"] or answer["finish_reason"] == "content_filter"
        for answer in answers
    ):
        from tinyedge.cli._generate_modes import list_notes

        notes = [
            note for answer in answers for note in list_notes(answer, context, is_shown=not output.is_printed)
        ]
        for note in dict.fromkeys(notes):
            print(f"note: {note}", file=sys.stderr)


def _collect(stream: "Iterator[Piece]", began: float, before: str | None) -> dict[str, Any]:
    """Generate an answer; return the fields of its JSON.

    Args:
        stream: Its pieces.
        began: Time at which the request began, of time.perf_counter().
        before: Text before the answer, which is then shown as it arrives; None to show nothing.
    """
    if before is not None:
        print(before, end="", flush=True)
    steps, times = [], []
    for step in stream:
        times.append(time.perf_counter())
        steps.append(step)
        if before is not None:
            print(step.text, end="", flush=sys.stdout.isatty())
    decoding = times[-1] - times[0]
    return {
        "text": "".join(step.text for step in steps),
        "tokens": [step.token for step in steps],
        "finish_reason": steps[-1].finish_reason,
        "slid": steps[-1].slid,
        "timing": {
            "ttft_ms": round((times[0] - began) * 1000, 3),
            "decode_tokens_per_s": round((len(steps) - 1) / decoding, 1) if decoding else None,
        },
    }
