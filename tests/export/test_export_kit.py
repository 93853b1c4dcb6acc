"""`tinyedge export --wheels` makes the bundle and the kit; without a network and without a real export."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the export needs the extra `train`")

from tinyedge.boards.load import board_names, load_board
from tinyedge.boards.wheel_platform import WheelPlatform
from tinyedge.bundle.bundle import bundle_digest, load_bundle
from tinyedge.cli.export import export
from tinyedge.core.errors import DeployError
from tinyedge.deploy import kit as kits
from tinyedge.deploy import wheelhouse
from tinyedge.deploy.kit import Kit
from tinyedge.export import pipeline
from tinyedge.export.pipeline import ExportOptions


@pytest.fixture
def exported(micro_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders of the bundles that a fake export made."""
    made: list[Path] = []

    def fake(options: ExportOptions, report: object) -> Path:
        import shutil

        made.append(Path(shutil.copytree(micro_bundle, options.output_dir)))
        return options.output_dir

    monkeypatch.setattr(pipeline, "export_bundle", fake)
    monkeypatch.setattr(kits, "build_own_wheel", lambda folder: folder / "tinyedge.whl")
    monkeypatch.setattr(kits, "make_kernels_wheel", lambda folder, board: folder / "kernels.whl")
    return made


@pytest.mark.parametrize("target", board_names())
def test_both_are_made(
    target: str,
    exported: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[WheelPlatform] = []

    def fill(folder: Path, board: WheelPlatform, own: Path, kernels: Path) -> list[wheelhouse.Package]:
        asked.append(board)
        (folder / "some-1-py3-none-any.whl").write_bytes(b"wheel")
        return [wheelhouse.Package("some", "1", "some-1-py3-none-any.whl", "0" * 64, board.pythons, 5, 5)]

    monkeypatch.setattr(wheelhouse, "fill_wheelhouse", fill)
    export(tmp_path / "x.pt", tmp_path / "mine", target=target, wheels=True, json="-")
    result = json.loads(capsys.readouterr().out)
    assert (result["bundle"], result["kit"]) == (str(tmp_path / "mine"), str(tmp_path / "mine-kit"))
    kit = Kit.load(tmp_path / "mine-kit")
    assert kit.bundle == bundle_digest(load_bundle(tmp_path / "mine"))
    assert asked == [kit.board] == [load_board(target).wheel_platform]
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "mine-kit"}


def test_without_a_network_nothing_is_made(
    exported: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(folder: Path, board: WheelPlatform, own: Path, kernels: Path) -> list[wheelhouse.Package]:
        raise DeployError("pip cannot download the wheels")

    monkeypatch.setattr(wheelhouse, "fill_wheelhouse", fill)
    with pytest.raises(DeployError):
        export(tmp_path / "x.pt", tmp_path / "mine", wheels=True)
    assert exported == []
    assert list(tmp_path.iterdir()) == []


def test_something_else_in_the_kits_place(exported: list[Path], tmp_path: Path) -> None:
    (tmp_path / "mine-kit").mkdir()
    with pytest.raises(DeployError, match="exists and is not a kit"):
        export(tmp_path / "x.pt", tmp_path / "mine", wheels=True)
    assert exported == []
