"""Run blocks of Python in one namespace, as a reader does who types them in.

    python -m bench.guide.run_blocks PAGE < blocks.json > outputs.json

In: a list of [code, line in PAGE]. Out: a list of what each block printed.
"""

import contextlib
import io
import json
import sys


def main() -> None:
    """Run the blocks; a failure ends the process with a traceback that shows the line of the page."""
    page = sys.argv[1]
    namespace: dict[str, object] = {"__name__": "__main__"}
    outputs = []
    for code, line in json.load(sys.stdin):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile("\n" * line + code, page, "exec"), namespace)
        outputs.append(printed.getvalue())
    json.dump(outputs, sys.stdout)


if __name__ == "__main__":
    main()
