"""A run of two epochs that reports everything and trains nothing.

python tests/support/fake_run.py [SILENT]
"""

import sys
import time

from tinyedge.cli._progress import TerminalReporter
from tinyedge.cli.main import _open_streams
from tinyedge.train.report.reporter import Progress
from tinyedge.train.state import EpochRecord

STEPS, STEP_S = 20, 0.02


def main() -> None:
    """Report a run."""
    _open_streams()
    with TerminalReporter(silent=len(sys.argv) > 1) as reporter:
        reporter.phase("preparing the corpus")
        reporter.note("corpus: 3 files, [bold]not markup[/bold], \x1b[2Jescaped, " + "and more words " * 8)
        for epoch in (1, 2):
            for step in range(1, STEPS + 1):
                time.sleep(STEP_S)
                done = (epoch - 1) * STEPS + step
                loss = 9.0 - done / 10
                held_out = 7.5 if epoch == 2 else None
                reporter.step(
                    Progress(
                        epoch, 2, done, 2 * STEPS, loss, held_out, done, 1e-3, done / 50, 123456, 300 - done
                    )
                )
            reporter.phase("evaluating held-out text")
            time.sleep(STEP_S)
            reporter.epoch(EpochRecord(epoch, 5.0, 4.5, 1e-3, {"all": 2, "en": 1.9, "es": 2.1}, 9e3, 30, 99))
            reporter.sample("La niña [red]", "La niña [red] \x1b[31mcorre por el parque con su perro " * 2)
            reporter.phase("saving")
    print("done")


if __name__ == "__main__":
    main()
