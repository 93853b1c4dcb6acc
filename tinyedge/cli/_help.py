"""The layout of `--help`: commands in groups, options in sections, an example at the end.

In: the parser's commands. Out: text. Imported only to show help, so that it does not slow down other starts.
"""

from typing import Any

from typer.core import TyperCommand, TyperGroup

GROUPS = {
    "Data": ("corpus", "tokenizer"),
    "Train": ("fit", "train", "runs", "sweep"),
    "Ship": ("export", "verify", "sign", "deploy"),
    "Board": ("activate", "generate", "serve", "learn", "top", "doctor"),
    "Measure": ("eval", "bench", "check"),
}
EXAMPLES = {
    "corpus": "tinyedge corpus --input novel.txt notes/ --output-dir data",
    "tokenizer": "tinyedge tokenizer --output-dir data --vocab-size 4000",
    "fit": "tinyedge fit --max-p95-ms 100",
    "train": "tinyedge train --input novel.txt --max-minutes 10",
    "runs": "tinyedge runs data sweep --plot runs.png",
    "sweep": "tinyedge sweep --vary learning-rate=0.001..0.01 batch-size=16,32 --trials 10",
    "export": "tinyedge export data/best_model.pt --output-dir bundle",
    "verify": "tinyedge verify bundle --key signer.pub",
    "sign": "tinyedge sign bundle --key ~/.ssh/id_ed25519",
    "deploy": "tinyedge deploy pi@raspberrypi.local bundle --service",
    "activate": "tinyedge activate bundle",
    "generate": 'tinyedge generate bundle --prompt "My sister" --seed 1',
    "serve": "tinyedge serve bundle --port 8080",
    "learn": "tinyedge learn bundle --input my-texts --output-dir mine",
    "top": "tinyedge top http://raspberrypi.local:8080",
    "doctor": "tinyedge doctor --json",
    "eval": "tinyedge eval data/best_model.pt --text en=novel.txt",
    "bench": "tinyedge bench bundle --samples 200 --json report.json",
    "check": "tinyedge check bundle --run-dir data",
}

UNTITLED = "Options"


class HelpCommand(TyperCommand):
    """A command whose help lists its options by section and ends with an example."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then each section's options; options without a section come last."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            is_argument = parameter.param_type_name == "argument"
            section = getattr(parameter, "rich_help_panel", None) or UNTITLED
            sections.setdefault("Arguments" if is_argument else section, []).append(record)
        for title in sorted(sections, key=lambda title: (title != "Arguments", title == UNTITLED)):
            with formatter.section(title):
                formatter.write_dl(sections[title])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the example, in one line that can be copied."""
        super().format_epilog(ctx, formatter)
        if self.name in EXAMPLES:
            with formatter.section("Example"):
                formatter.write(f"{'':>{formatter.current_indent}}{EXAMPLES[self.name]}\n")


class HelpGroup(TyperGroup):
    """The program, whose help lists its commands by group."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a line for each command."""
        width = max(map(len, self.commands))
        limit = formatter.width - 6 - width
        for title, names in GROUPS.items():
            rows = [
                (name.ljust(width), self.commands[name].get_short_help_str(limit))
                for name in names
                if name in self.commands
            ]
            with formatter.section(f"{title} commands"):
                formatter.write_dl(rows)
