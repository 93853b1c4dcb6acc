"""`tinyedge learn`: teach a bundle from your own text, on the board."""

from pathlib import Path
from typing import Annotated

import typer

from tinyedge.cli._json import JsonOutput, JsonTarget


def learn(
    bundle: Annotated[Path, typer.Argument(help="Folder created by `tinyedge export`.", show_default=False)],
    input_: Annotated[
        list[Path],
        typer.Option("--input", help="Your own text files or folders; repeatable.", metavar="PATH"),
    ],
    output_dir: Annotated[Path, typer.Option(help="Folder of the new bundle.")],
    json: JsonTarget = None,
) -> None:
    """Learn from your text: write a bundle that predicts it better."""
    import dataclasses

    from tinyedge.cli._echo import print_note
    from tinyedge.learn.pipeline import learn as learn_text

    output = JsonOutput.from_option(json, "tinyedge.learn", inputs=(bundle, *input_))
    result = learn_text(bundle, input_, output_dir, print_note)
    value = {**dataclasses.asdict(result), "change_percent": result.change_percent}
    output.emit(
        {"schema": "tinyedge.learn/1", "bundle": str(output_dir), **value},
        f"learned from {result.tokens:,} tokens of {result.bytes:,} bytes\n"
        f"{result.judged_tokens:,} tokens of its last tenth: {result.before:.4f} bits per byte before,"
        f" {result.after:.4f} after ({result.change_percent:+.2f}%)\n"
        f"wrote {output_dir}, with n-grams of {result.ngrams_bytes / 1e6:.1f} MB",
    )
