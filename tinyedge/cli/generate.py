"""`tinyedge generate`: continue a prompt, as a stream on the terminal or as one JSON object."""

from pathlib import Path
from typing import Annotated

import typer

from tinyedge.cli._json import JsonOutput, JsonTarget
from tinyedge.cli._options import FilterFile, Values, options_from
from tinyedge.core.sampling import SamplingConfig
from tinyedge.host.affinity import default_threads, require_usable_threads

MAX_PROMPT_BYTES = 1 << 20  # tokenizing 20 MB would take 1 GB, and the model sees at most a few kB of it


@options_from("sampling", SamplingConfig)
def generate(
    *,
    bundle: Annotated[Path, typer.Argument(help="Folder created by `tinyedge export`.", show_default=False)],
    prompt: Annotated[str, typer.Option(help="Text to continue, or to answer; - reads standard input.")] = "",
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
    max_tokens: Annotated[int, typer.Option(help="Maximum number of tokens to generate.")] = 64,
    sampling: Values,
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
    """Continue a prompt with the model of a bundle."""
    import io
    import os
    import random
    import sys
    import time

    from tinyedge.core.errors import BundleError, UsageError
    from tinyedge.host import drop_code, gc_pause

    with gc_pause.pause_gc():
        from tinyedge.runtime.content_filter import ContentFilter
        from tinyedge.runtime.engine import import_engine
        from tinyedge.runtime.generator import Generator

        import_engine()

    output = JsonOutput.from_option(
        json, "tinyedge.completion", inputs=(bundle, *filter(None, [filter_file, json_schema]))
    )
    if no_filter and filter_file:
        raise UsageError("--no-filter and --filter are mutually exclusive", "leave one of them out")
    form = None
    if any(value is not None for value in (json_schema, regex, choices)):
        from tinyedge.cli._forms import read_form, require_whole_answer

        form = read_form(json_schema, regex, choices)
    require_usable_threads(threads)
    content_filter = None if no_filter else ContentFilter.load(filter_file)

    if sampling["seed"] is None:
        sampling["seed"] = random.SystemRandom().getrandbits(32)
    config = SamplingConfig(**sampling)
    if not os.path.lexists(bundle):  # False also for a text that is too long for a path
        raise BundleError(
            f"{bundle} does not exist",
            "the first argument is a bundle, the text goes after --prompt;"
            " create a bundle with: tinyedge export",
        )
    if prompt == "-":
        raw = sys.stdin.buffer.read(MAX_PROMPT_BYTES + 1)
        if len(raw) > MAX_PROMPT_BYTES:
            raise UsageError(
                f"--prompt -: standard input has more than {MAX_PROMPT_BYTES} bytes",
                "pass its end; the model sees only the last part: tail -c 100000 FILE",
            )
        prompt = raw.decode("utf-8", "replace").removesuffix("\n")
    if home:
        from tinyedge.corpus.commands.home import format_prompt, load_home

        prompt = format_prompt(load_home(home), prompt)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # for characters of a prompt that the terminal cannot show

    began = time.perf_counter()
    with drop_code.drop_before_and_after():
        generator = Generator.load(bundle, threads)
    loaded = time.perf_counter()
    steps, times = [], []
    template = generator.bundle.template if chat is not False else None
    if chat and template is None:
        raise UsageError(
            f"--chat: the model of {bundle} was not trained on pairs",
            "omit --chat to continue the prompt, or train on pairs: tinyedge train --input pairs.jsonl",
        )
    source: str | list[int] = prompt
    if template:
        from tinyedge.text.turns import encode_turns

        source = encode_turns(generator.tokenizer, [prompt])
    stream = generator.stream(
        source,
        max_tokens=max_tokens,
        sampling=config,
        stop=stop or (),
        content_filter=content_filter,
        form=form,
    )
    # An answer in a form is shown when it is complete, alone: a program reads it.
    is_streamed = not output.is_printed and form is None
    if is_streamed and template is None:
        print(prompt, end="", flush=True)
    for step in stream:
        times.append(time.perf_counter())
        steps.append(step)
        if is_streamed:
            print(step.text, end="", flush=sys.stdout.isatty())
    decoding = times[-1] - times[0]
    result = {
        "schema": "tinyedge.completion/1",
        "model_id": generator.bundle.model_id,
        "engine": generator.session.engine._asdict(),
        "threads": threads,
        "template": template,
        "prompt": prompt,
        "text": "".join(step.text for step in steps),
        "tokens": [step.token for step in steps],
        "finish_reason": steps[-1].finish_reason,
        "prompt_tokens": len(generator.encode_prompt(source)),
        "slid": steps[-1].slid,
        "seed": config.seed,
        "timing": {
            "load_s": round(loaded - began, 6),
            "ttft_ms": round((times[0] - loaded) * 1000, 3),
            "decode_tokens_per_s": round((len(steps) - 1) / decoding, 1) if decoding else None,
        },
    }
    is_cut = form is not None and result["finish_reason"] != "stop"
    if not output.is_printed and not is_cut:
        # Flushed, so that a closed pipe, as after `head`, is noticed here and not at exit.
        print("" if is_streamed else result["text"], flush=True)
    output.emit(result)
    if form is not None:
        require_whole_answer(steps[-1].finish_reason, max_tokens)
    if result["finish_reason"] == "content_filter":
        print(
            "note: the text ends before a word on the filter's list; --no-filter shows it",
            file=sys.stderr,
        )
    elif not output.is_printed and not result["text"]:
        print(
            "note: the model ended the text immediately; try another --seed, or an unfinished prompt",
            file=sys.stderr,
        )
    if steps[-1].slid:
        print(
            f"note: the text is longer than the model's context of {generator.config.max_seq_length} tokens;"
            " its end was generated without its beginning",
            file=sys.stderr,
        )
