"""`tinyedge deploy` to a board on loopback."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.program import tinyedge
from tests.support.sshd import Server, start_up_file, temporarily_replace
from tinyedge.bundle.bundle import bundle_digest, load_bundle
from tinyedge.deploy.kit import Kit

INSTALLED = (0, 4)  # installed; 4: other programs on this machine made the measurement inconclusive
MakeKit = Callable[..., Kit]
ListTree = Callable[[Path], dict[str, tuple[int, int]]]


def digest(bundle: Path) -> str:
    return bundle_digest(load_bundle(bundle))


@pytest.fixture
def bundle(micro_bundle: Path, make_kit: MakeKit, tmp_path: Path) -> Path:
    """A bundle with its kit next to it, so that no package index is needed."""
    make_kit(micro_bundle, tmp_path / "bundle-kit")
    return Path(shutil.copytree(micro_bundle, tmp_path / "bundle"))


def test_a_bundle_is_installed_and_then_upgraded(
    server: Server,
    bundle: Path,
    make_kit: MakeKit,
    micro_bundle_fp32: Path,
    tmp_path: Path,
    list_tree: ListTree,
) -> None:
    kit = ["--kit", tmp_path / "bundle-kit"]
    dry = tinyedge("deploy", server.destination, bundle, *server.flags, *kit, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "nothing was changed" in dry.stderr
    assert list(server.home.iterdir()) == []

    first = tinyedge("deploy", server.destination, bundle, *server.flags, *kit)
    assert first.returncode in INSTALLED, first.stdout + first.stderr
    assert [line[:4] for line in first.stderr.splitlines() if line[1:2] == "/"] == [
        "1/4 ",
        "2/4 ",
        "3/4 ",
        "4/4 ",
    ]
    assert "fit: yes" in first.stdout
    assert "verdict: " in first.stdout
    board = server.home / "tinyedge"
    assert digest(board / "store" / "current") == digest(bundle)
    env = board / "env" / "bin" / "tinyedge"
    generated = subprocess.run(
        [env, "generate", board / "store" / "current", "--prompt", "Hola"], check=True, capture_output=True
    )
    assert generated.stdout

    def list_installed() -> dict[str, tuple[int, int]]:
        return {name: times for name, times in list_tree(board).items() if not name.startswith("kit")}

    before, env_before = list_installed(), (board / "env").readlink()
    wheels = sorted((board / "kit" / "wheelhouse").iterdir())
    assert len(wheels) == 2
    again = tinyedge("deploy", server.destination, bundle, *server.flags, *kit)
    assert again.returncode in INSTALLED
    assert "is active, as before" in again.stdout
    assert "copying up to 0.0 MB" not in first.stderr
    assert list_installed() == before
    assert sorted((board / "kit" / "wheelhouse").iterdir()) == wheels

    make_kit(micro_bundle_fp32, tmp_path / "next-kit", version="9.9.9")
    with temporarily_replace(server, rsync=None):
        upgrade = tinyedge(
            "deploy", server.destination, micro_bundle_fp32, *server.flags, "--kit", tmp_path / "next-kit"
        )
    assert upgrade.returncode in INSTALLED, upgrade.stdout + upgrade.stderr
    assert f"instead of {digest(bundle)[:12]}" in upgrade.stdout
    assert digest(board / "store" / "current") == digest(micro_bundle_fp32)
    assert (board / "env").readlink() != env_before
    assert len(list((board / "envs").glob("*-py*"))) == 2


def test_a_bundle_that_fails_its_self_test_is_rolled_back(
    server: Server, bundle: Path, make_kit: MakeKit, micro_bundle_fp32: Path, tmp_path: Path
) -> None:
    """It matches its manifest, but fails its self-test; the previous bundle and environment stay."""
    import hashlib

    useless = Path(shutil.copytree(micro_bundle_fp32, tmp_path / "useless"))
    model = bytearray((useless / "model.onnx").read_bytes())
    model[len(model) // 2 : len(model) // 2 + 4096] = b"\xff" * 4096
    (useless / "model.onnx").write_bytes(model)
    manifest = json.loads((useless / "manifest.json").read_text())
    manifest["files"]["model.onnx"]["sha256"] = hashlib.sha256(model).hexdigest()
    (useless / "manifest.json").write_text(json.dumps(manifest))
    make_kit(useless, tmp_path / "useless-kit", version="8.8.8")
    folder = ["--dir", "another place"]
    kit = ["--kit", tmp_path / "bundle-kit"]
    done = tinyedge("deploy", server.destination, bundle, *server.flags, *folder, *kit)
    assert done.returncode in INSTALLED, done.stdout + done.stderr
    board = server.home / "another place"
    before = (board / "env").readlink()
    kit = ["--kit", tmp_path / "useless-kit"]
    done = tinyedge("deploy", server.destination, useless, *server.flags, *folder, *kit)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "not finite numbers" in errors[0]
    assert digest(board / "store" / "current") == digest(bundle)
    assert (board / "env").readlink() == before


def test_the_signature_is_checked_here_and_on_the_board(
    server: Server, bundle: Path, make_kit: MakeKit, tmp_path: Path
) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    flags = [
        *server.flags,
        "--dir",
        "signed",
        "--key",
        tmp_path / "key.pub",
        "--kit",
        tmp_path / "bundle-kit",
    ]
    done = tinyedge("deploy", server.destination, bundle, *flags)
    assert done.returncode == 1
    assert "is not signed" in done.stderr
    assert not (server.home / "signed").exists()
    assert tinyedge("sign", bundle, "--key", tmp_path / "key").returncode == 0
    # The existing kit contains the bundle without its signature.
    done = tinyedge("deploy", server.destination, bundle, *flags)
    assert done.returncode == 1
    assert "does not contain" in done.stderr
    make_kit(bundle, tmp_path / "bundle-kit")
    done = tinyedge("deploy", server.destination, bundle, *flags)
    assert done.returncode in INSTALLED, done.stdout + done.stderr
    assert load_bundle(server.home / "signed" / "store" / "current").signature
    installed = server.home / "signed" / "key.pub"
    assert installed.read_text().split()[-1] == "tinyedge-deploy"
    installed.write_text("ssh-ed25519 AAAA me@home\n")
    done = tinyedge("deploy", server.destination, bundle, *flags)
    assert done.returncode == 1
    assert f"{installed} is another key" in done.stderr
    assert installed.read_text() == "ssh-ed25519 AAAA me@home\n"


@pytest.mark.parametrize(
    ("programs", "reason"),
    [
        ({"uname": "echo armv7l"}, "is armv7l; there are packages for aarch64 and x86_64"),
        (
            {"python3": "printf 'python=3.9\\nbits=64\\nvenv=yes\\nlibc=glibc 2.31\\n'; exit 1"},
            "has Python 3.9",
        ),
        ({"python3": "printf 'python=3.11\\nbits=32\\nvenv=yes\\nlibc=glibc 2.36\\n'"}, "32-bit system"),
        (
            {"python3": "printf 'python=3.11\\nbits=64\\nvenv=no\\nlibc=glibc 2.36\\n'"},
            "cannot create virtual environments",
        ),
        ({"python3": "printf 'python=3.11\\nbits=64\\nvenv=yes\\nlibc= \\n'"}, "has no glibc"),
        ({"python3": None}, "has no Python"),
        (
            {"python3": "printf 'python=3.11\\nbits=64\\nvenv=yes\\nlibc=glibc 2.36\\ndisk=1 1 1 8\\n'"},
            "mounted with noexec",
        ),
        ({"df": "echo Filesystem; echo /dev/root 100 90 10240 90% /"}, "has 10 MB free"),
    ],
)
def test_an_unsuitable_board_is_refused(
    server: Server, bundle: Path, programs: dict[str, str | None], reason: str
) -> None:
    others = {f"python3.{minor}": None for minor in range(11, 15)} if "python3" in programs else {}
    with temporarily_replace(server, **programs, **others):
        done = tinyedge("deploy", server.destination, bundle, *server.flags, "--dir", "unfit")
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()
    assert server.destination in error
    assert reason in error
    assert hint.startswith("hint: ")
    assert not (server.home / "unfit").exists()


@pytest.mark.parametrize(
    ("programs", "reason"),
    [
        ({"chmod": "exit 0"}, "cannot run programs"),
        ({"ln": "exit 1"}, "cannot hold symbolic links"),
        ({"mktemp": "echo 'mktemp: Read-only file system' >&2; exit 1"}, "read-only file system"),
        ({"mkdir": "printf '\\033[1mno\\n' >&2; exit 1"}, "cannot be created"),
    ],
)
def test_a_file_system_that_cannot_hold_an_environment_is_refused_before_the_copy(
    server: Server, bundle: Path, tmp_path: Path, programs: dict[str, str | None], reason: str
) -> None:
    with temporarily_replace(server, **programs):
        flags = [*server.flags, "--dir", "unfit", "--kit", tmp_path / "bundle-kit"]
        done = tinyedge("deploy", server.destination, bundle, *flags)
    assert done.returncode == 1
    assert reason in done.stderr.splitlines()[-2]
    assert "\033" not in done.stderr
    assert not (server.home / "unfit").exists()
    assert not list(server.home.glob(".tinyedge.*"))


def test_a_bundle_is_deployed_although_a_start_up_file_prints(
    server: Server, bundle: Path, tmp_path: Path
) -> None:
    noise = "echo dir=/etc; echo machine=m68k; printf 'Welcome\\033[2J'; echo warning >&2"
    with start_up_file(server, noise):
        flags = [*server.flags, "--dir", "noisy", "--kit", tmp_path / "bundle-kit"]
        done = tinyedge("deploy", server.destination, bundle, *flags)
    assert done.returncode in INSTALLED, done.stdout + done.stderr
    assert "Welcome" not in done.stdout
    assert "warning" not in done.stderr
    assert digest(server.home / "noisy" / "store" / "current") == digest(bundle)


def test_a_newer_python_is_found_next_to_an_old_one(server: Server, bundle: Path, tmp_path: Path) -> None:
    old = "printf 'python=3.9\\nbits=64\\nvenv=yes\\nlibc=glibc 2.31\\n'; exit 1"
    newer = "printf 'python=%s\\nbits=64\\nvenv=yes\\nlibc=glibc 2.36\\n' " + "%d.%d" % sys.version_info[:2]  # noqa: UP031
    with temporarily_replace(server, python3=old, **{"python3.14": newer}):
        kit = ["--kit", tmp_path / "bundle-kit"]
        done = tinyedge("deploy", server.destination, bundle, *server.flags, *kit, "--dry-run")
    assert done.returncode == 0, done.stderr


def test_the_kit_next_to_the_bundle_is_reused(server: Server, bundle: Path, make_kit: MakeKit) -> None:
    """Unchanged if it contains the bundle; else its wheels are reused if they are intact."""
    dry = [*server.flags, "--dir", "dry", "--dry-run"]
    assert "bundle-kit, reused" in tinyedge("deploy", server.destination, bundle, *dry).stderr
    manifest = bundle / "manifest.json"
    manifest.write_text(manifest.read_text() + "\n")
    done = tinyedge("deploy", server.destination, bundle, *dry)
    assert "would make the kit" in done.stderr
    assert "with the wheels of the previous kit" in done.stderr
    (bundle.with_name("bundle-kit") / "requirements.lock").write_text("damaged")
    done = tinyedge("deploy", server.destination, bundle, *dry)
    assert "with wheels from the package index" in done.stderr


def test_a_kit_of_another_bundle(
    server: Server, bundle: Path, micro_bundle_fp32: Path, tmp_path: Path
) -> None:
    kit = ["--kit", tmp_path / "bundle-kit"]
    done = tinyedge("deploy", server.destination, micro_bundle_fp32, *server.flags, *kit)
    assert done.returncode == 1
    assert "--kit" in done.stderr.splitlines()[-2]


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (("-oProxyCommand=id", "BUNDLE"), 2, "-o"),
        (("--", "-oProxyCommand=id", "BUNDLE"), 2, "is not user@host"),
        (("pi@board", "nowhere"), 1, "nowhere does not exist"),
        (("pi@board", "BUNDLE", "--port", "0"), 2, "--port 0"),
        (("pi@board", "BUNDLE", "--identity", "nothing"), 1, "nothing does not exist"),
        (("pi@board", "BUNDLE", "--dir", ""), 2, "--dir ''"),
        (("pi@board", "BUNDLE", "--dir", "a\nb"), 2, "--dir"),
        (("pi@board", "BUNDLE", "--dir", "$(id)"), 2, "--dir"),
        (("pi@board", "BUNDLE", "--key", "nothing"), 1, "nothing does not exist"),
    ],
)
def test_bad_input(micro_bundle: Path, words: tuple[str, ...], code: int, named: str) -> None:
    done = tinyedge("deploy", *(str(micro_bundle) if word == "BUNDLE" else word for word in words))
    assert done.returncode == code, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert named in errors[0]
    assert "Traceback" not in done.stderr
