"""The study of a sweep: which process tries which point, also when processes die; no model is trained."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("optuna", reason="sweeps need the extra `sweep`")

from tinyedge.core.errors import TinyEdgeError, UsageError
from tinyedge.sweep.search_space import Categorical, Point, Range, Space
from tinyedge.sweep.study import JOURNAL_FILE, Claim, Study

SPACE: Space = {
    "learning_rate": Range(1e-3, 1e-1),
    "batch_size": Categorical((16, 32)),
    "d_model": Range(64, 512),
    "recipe": Categorical(("fast",)),
}
GRID: Space = {"learning_rate": Categorical((0.1, 0.2)), "batch_size": Categorical((16, 32))}


def bits(point: Point) -> float:
    return 2 + abs(float(point["learning_rate"]) - 0.01)


def iterate_claims(study: Study, trials: int) -> Iterator[Claim]:
    while claim := study.claim(trials):
        with claim:
            yield claim


def open_study(folder: Path, search: str = "tpe", seed: int = 0, space: Space | None = None) -> Study:
    folder.mkdir(exist_ok=True)
    return Study(folder, space or (GRID if search == "grid" else SPACE), search, seed, epochs=4)


def run_sweep(folder: Path, trials: int, seed: int = 0) -> list[Point]:
    """Run a sweep without interruption and return its points."""
    study = open_study(folder, seed=seed)
    for claim in iterate_claims(study, trials):
        claim.finish(bits(claim.point))
    return [trial.point for trial in study.trials()]


def test_a_point_has_values_that_can_be_typed(tmp_path: Path) -> None:
    for point in run_sweep(tmp_path, 5):
        assert set(point) == set(SPACE)
        assert point["batch_size"] in (16, 32)
        assert isinstance(point["d_model"], int)
        assert 1e-3 <= float(point["learning_rate"]) <= 1e-1
        assert len(str(point["learning_rate"]).lstrip("0.")) <= 3


def test_the_search_is_a_function_of_its_seed_even_if_it_is_killed(tmp_path: Path) -> None:
    whole = run_sweep(tmp_path / "whole", 12)  # 8 random points, then 4 from the model
    assert run_sweep(tmp_path / "other", 12, seed=1) != whole
    for trials in range(1, 13):  # a process for each trial, and every third is killed in it
        study = open_study(tmp_path / "parts")
        with study.claim(trials) or pytest.fail("no trial") as claim:
            if trials % 3:
                claim.finish(bits(claim.point))
                continue
        with open_study(tmp_path / "parts").claim(trials) or pytest.fail("no trial") as claim:
            assert claim.folder.name == f"trial-{trials - 1:04d}"
            claim.finish(bits(claim.point))
    assert [trial.point for trial in open_study(tmp_path / "parts").trials()] == whole


def test_the_points_do_not_depend_on_the_version_of_optuna(tmp_path: Path) -> None:
    """Drawn with 4.9.0 and 5.0.0, whose TPESampler has other defaults from the eleventh trial on."""
    points = [(point["learning_rate"], point["d_model"]) for point in run_sweep(tmp_path, 14)]
    assert points[10:] == [(0.0033, 182), (0.0353, 199), (0.00429, 156), (0.0343, 250)]


def test_a_grid_in_its_order_then_no_more(tmp_path: Path) -> None:
    study = open_study(tmp_path, "grid")
    for claim in iterate_claims(study, trials=1):  # the grid determines the number
        claim.finish(1.0)
    points = [(trial.point["learning_rate"], trial.point["batch_size"]) for trial in study.trials()]
    assert points == [(0.1, 16), (0.1, 32), (0.2, 16), (0.2, 32)]


def test_two_processes_share_a_study(tmp_path: Path) -> None:
    one, two = open_study(tmp_path, "grid"), open_study(tmp_path, "grid")
    with one.claim(4) or pytest.fail("no trial") as first, two.claim(4) or pytest.fail("no trial") as second:
        assert [first.folder.name, second.folder.name] == ["trial-0000", "trial-0001"]
        second.finish(1.0)
    with two.claim(4) or pytest.fail("no trial") as again:  # released without a result: free
        assert again.folder == first.folder
        assert again.point == first.point
        again.finish(2.0)
    assert [trial.bits_per_byte for trial in one.trials()] == [2.0, 1.0]
    with one.claim(4) or pytest.fail("no trial") as third:
        assert third.folder.name == "trial-0002"


def test_a_bad_trial_is_pruned_by_tpe_only(tmp_path: Path) -> None:
    for search, hopeless in (("tpe", True), ("grid", False)):
        space: Space = {"seed": Categorical(tuple(range(7)))}
        study = open_study(tmp_path / search, search, space=space)
        for _, claim in zip(range(5), iterate_claims(study, 7), strict=False):
            for epoch, reached in enumerate((4.0, 3.0, 2.0, 1.0), 1):
                claim.report(epoch, reached)
                assert not claim.is_hopeless()
            claim.finish(1.0)
        with study.claim(7) or pytest.fail("no trial") as bad:
            bad.report(1, 9.0)
            assert not bad.is_hopeless()  # a quarter of the epochs is too early
            bad.report(2, 3.5)
            bad.report(2, 3.5)  # a resumed run reports it again
            assert bad.is_hopeless() is hopeless
            bad.prune()
        assert study.trials()[5].status == "pruned"
        assert study.trials()[5].bits_per_byte == 3.5


def test_a_trial_that_cannot_be_trained_has_failed(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    with study.claim(1) or pytest.fail("no trial") as claim:
        claim.report(1, 9.0)
        claim.fail("the loss is nan")
    (trial,) = study.trials()
    assert (trial.status, trial.error, trial.bits_per_byte) == ("failed", "the loss is nan", None)
    assert study.claim(1) is None


def test_a_trial_that_kills_its_process_fails_after_three_attempts(tmp_path: Path) -> None:
    for _ in range(3):
        with open_study(tmp_path).claim(1) or pytest.fail("no trial") as claim:
            assert claim.folder.name == "trial-0000"
    study = open_study(tmp_path)
    assert study.claim(1) is None
    (trial,) = study.trials()
    assert trial.status == "failed"
    assert trial.error == "its process died 3 times"


def test_a_user_may_stop_a_trial_any_number_of_times(tmp_path: Path) -> None:
    for _ in range(5):
        with open_study(tmp_path).claim(1) or pytest.fail("no trial") as claim:
            assert claim.folder.name == "trial-0000"
            claim.pause()


def test_an_incomplete_line_is_removed(tmp_path: Path) -> None:
    """As after a power cut: an appended line would make the journal unreadable."""
    for claim in iterate_claims(open_study(tmp_path), 2):
        claim.finish(1.0)
    journal = tmp_path / JOURNAL_FILE
    whole = journal.read_bytes()
    for cut in (1, 5, 40):
        journal.write_bytes(whole[:-cut])
        study = open_study(tmp_path)
        assert [trial.status for trial in study.trials()] == ["finished", "running"]
        for claim in iterate_claims(study, 3):
            claim.finish(2.0)
        assert [trial.bits_per_byte for trial in open_study(tmp_path).trials()] == [1.0, 2.0, 2.0]


def test_a_journal_that_ends_after_any_line_can_be_continued(tmp_path: Path) -> None:
    """Also between the lines that begin a trial, before it has all its values."""
    run_sweep(tmp_path / "whole", 3)
    lines = (tmp_path / "whole" / JOURNAL_FILE).read_bytes().splitlines(keepends=True)
    for count in range(len(lines)):
        folder = tmp_path / str(count)
        folder.mkdir()
        (folder / JOURNAL_FILE).write_bytes(b"".join(lines[:count]))
        study = open_study(folder)
        for claim in iterate_claims(study, 3):
            assert set(claim.point) == set(SPACE)
            claim.finish(bits(claim.point))
        assert [trial.status for trial in study.trials()] == ["finished"] * 3


def test_a_damaged_journal_is_one_error(tmp_path: Path) -> None:
    run_sweep(tmp_path, 2)
    journal = tmp_path / JOURNAL_FILE
    journal.write_bytes(journal.read_bytes().replace(b"{", b"<", 3))
    with pytest.raises(TinyEdgeError, match=r"sweep\.journal is damaged"):
        open_study(tmp_path)


def test_another_sweep_in_the_folder(tmp_path: Path) -> None:
    open_study(tmp_path).join({"epochs": 4, "corpus": "a"})
    open_study(tmp_path).join({"epochs": 4, "corpus": "a"})
    with pytest.raises(UsageError, match="epochs 4 there, 5 here") as caught:
        open_study(tmp_path).join({"epochs": 5, "corpus": "a"})
    assert "--output-dir" in caught.value.hint
