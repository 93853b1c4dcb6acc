"""The kit's install.sh, run on this machine, and its systemd unit."""

import fcntl
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.sshd import BASE_PYTHON
from tinyedge.bundle.bundle import bundle_digest, load_bundle
from tinyedge.deploy.kit import Kit, find_deploy_files

MakeKit = Callable[..., Kit]
INSTALLED = (0, 4)  # the samples are inconclusive if other programs use the processor
MAX_EXPOSURE = 1.5  # from systemd-analyze security; docs/deploy.md has the unit's figure


def make_command(kit: Path, *words: object) -> list[str]:
    return ["sh", str(kit / "install.sh"), *map(str, words)]


def install(kit: Path, *words: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        make_command(kit, *words),
        capture_output=True,
        text=True,
        check=False,
        env={**make_environment(), **environment},
    )


def make_environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHON": BASE_PYTHON, "HOME": "/nonexistent"}


def get_error(done: "subprocess.CompletedProcess[str]", code: int = 1) -> str:
    """Check that the installer failed with one error and one hint; return the error."""
    assert done.returncode == code, done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert [line.split(":")[0] for line in lines] == ["error", "hint"], done.stderr
    return lines[0]


@pytest.fixture(scope="module")
def kit(make_kit: MakeKit, micro_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kit that tests must not change."""
    return make_kit(micro_bundle, tmp_path_factory.mktemp("kit") / "a kit").path


@pytest.fixture
def copy(kit: Path, tmp_path: Path) -> Path:
    """A copy of the kit that a test may damage."""
    return Path(shutil.copytree(kit, tmp_path / "kit"))


def update_checksum(kit: Path, name: str) -> None:
    """Make SHA256SUMS match a file that a test has changed."""
    sums = kit / "SHA256SUMS"
    content = hashlib.sha256((kit / name).read_bytes()).hexdigest()
    sums.write_text(re.sub(rf"(?m)^.*  {re.escape(name)}$", f"{content}  {name}", sums.read_text()))


def digest(bundle: Path) -> str:
    return bundle_digest(load_bundle(bundle))


def test_shellcheck() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("needs shellcheck")
    done = subprocess.run(
        ["shellcheck", "--shell=sh", find_deploy_files() / "install.sh"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_help_and_usage(kit: Path, tmp_path: Path) -> None:
    assert "usage: sh install.sh" in install(kit, "--help").stdout
    assert "unknown option --what" in get_error(install(kit, "--what"), 2)
    assert "--dir needs a value" in get_error(install(kit, "--dir"), 2)
    assert "--key needs a value" in get_error(install(kit, "--key", ""), 2)
    assert "--dir needs a value" in get_error(install(kit, "--dir", ""), 2)
    assert "the shell did not replace ~" in get_error(install(kit, "--dir", "~nouser/x"), 2)
    for bad in ("a'b", 'a"b', "a$b", "a`b", "a\\b", "a\nb"):
        assert "has quotes" in get_error(install(kit, "--dir", tmp_path / bad), 2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"machine": "riscv64"}, "the kit is for riscv64, but this machine is "),
        ({"pythons": ["3.10"]}, "the kit has no wheels for Python 3."),
        ({"packages": None}, "not a valid kit"),
    ],
)
def test_a_kit_for_another_board(copy: Path, tmp_path: Path, change: dict[str, object], reason: str) -> None:
    about = json.loads((copy / "kit.json").read_text())
    changed = {name: value for name, value in {**about, **change}.items() if value is not None}
    (copy / "kit.json").write_text(json.dumps(changed))
    assert reason in get_error(install(copy, "--dir", tmp_path / "dir"))
    assert not (tmp_path / "dir").exists()


def test_a_kit_that_needs_more_disk_space(copy: Path, tmp_path: Path) -> None:
    about = json.loads((copy / "kit.json").read_text())
    about["packages"][0]["unpacked"] = 1 << 60
    (copy / "kit.json").write_text(json.dumps(about))
    update_checksum(copy, "kit.json")
    assert "MB are required" in get_error(install(copy, "--dir", tmp_path / "dir"))


@pytest.mark.parametrize("name", ["requirements.lock", "wheelhouse", "tinyedge.service"])
def test_a_damaged_kit(copy: Path, tmp_path: Path, name: str) -> None:
    path = copy / name
    path = next(path.glob("tinyedge_lm-*")) if path.is_dir() else path
    path.write_bytes(path.read_bytes()[:-1])
    assert "is damaged" in get_error(install(copy, "--dir", tmp_path / "dir"))
    assert not (tmp_path / "dir").exists()


@pytest.mark.parametrize(
    "name", ["wheelhouse/pip-0-py3-none-any.whl", "wheelhouse/zz/pip.whl", "sitecustomize.py", ".hidden"]
)
@pytest.mark.parametrize("kind", ["file", "link", "fifo"])
def test_nothing_runs_that_the_checksums_do_not_list(
    copy: Path, tmp_path: Path, name: str, kind: str
) -> None:
    (copy / name).parent.mkdir(exist_ok=True)
    if kind == "file":
        with zipfile.ZipFile(copy / name, "w") as archive:
            archive.writestr("pip/__main__.py", f"open({str(tmp_path / 'ran')!r}, 'w')")
    elif kind == "link":
        (copy / name).symlink_to(next((copy / "wheelhouse").glob("pip-*")))
    else:
        os.mkfifo(copy / name)
    reason = "which SHA256SUMS does not list" if kind == "file" else "which is not a regular file"
    assert reason in get_error(install(copy, "--dir", tmp_path / "dir"))
    assert not (tmp_path / "dir").exists()
    assert not (tmp_path / "ran").exists()


FOREIGN: dict[str, Callable[[Path], object]] = {
    "envs": lambda path: path.symlink_to("/etc"),
    "envs/mine": lambda path: path.mkdir(),
    "envs/0123456789ab-py3.11": lambda path: path.symlink_to("/etc"),
    "env": lambda path: path.mkdir(),
    "env ": lambda path: path.with_name("env").symlink_to("/etc"),
    ".env.tmp": lambda path: path.mkdir(),
    ".install.lock": lambda path: path.symlink_to("new"),
    "store/mine": lambda path: path.write_text("mine"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_folder_with_files_of_others_is_refused_before_anything_is_changed(
    kit: Path, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "dir"
    (folder / name).parent.mkdir(parents=True)
    FOREIGN[name](folder / name)
    before = sorted(tmp_path.rglob("*"))
    assert "is not from tinyedge" in get_error(install(kit, "--dir", folder))
    assert sorted(tmp_path.rglob("*")) == before


def test_without_python(kit: Path, tmp_path: Path) -> None:
    done = install(kit, "--dir", tmp_path / "dir", PYTHON="python3.1")
    assert "python3.1 is not installed" in get_error(done)


def test_a_wheel_whose_hash_is_not_in_the_lock(copy: Path, tmp_path: Path) -> None:
    """Whoever can change a wheel can change SHA256SUMS too; pip checks the hashes in the lock."""
    lock = copy / "requirements.lock"
    lock.write_text(re.sub("[0-9a-f]{64}", "0" * 64, lock.read_text()))
    update_checksum(copy, lock.name)
    done = install(copy, "--dir", tmp_path / "dir")
    assert done.returncode == 1
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr
    assert "error: pip cannot install from the kit" in done.stderr
    assert [path.name for path in (tmp_path / "dir" / "envs").iterdir()] == [".tinyedge-envs"]


def test_a_pip_that_the_kernel_kills_is_out_of_memory(copy: Path, tmp_path: Path) -> None:
    (pip,) = (copy / "wheelhouse").glob("pip-*.whl")
    with zipfile.ZipFile(pip, "w") as archive:
        archive.writestr("pip/__main__.py", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    update_checksum(copy, f"wheelhouse/{pip.name}")
    done = install(copy, "--dir", tmp_path / "board")
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()[-2:]  # some shells print "Killed" first
    assert error == "error: pip was killed: this board is out of memory"
    assert hint.startswith("hint: ")
    assert [path.name for path in (tmp_path / "board" / "envs").iterdir()] == [".tinyedge-envs"]


def test_only_one_installer_runs_at_a_time(kit: Path, tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    with (tmp_path / "dir" / ".install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another install.sh is running" in get_error(install(kit, "--dir", tmp_path / "dir"))


def test_a_kill_leaves_a_working_installation(
    kit: Path, make_kit: MakeKit, micro_bundle: Path, micro_bundle_fp32: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "dir"
    done = install(kit, "--dir", folder)
    assert done.returncode in INSTALLED, done.stdout + done.stderr
    old, first = digest(micro_bundle), (folder / "env").readlink()
    new = make_kit(micro_bundle_fp32, tmp_path / "new", version="9.9.9").path
    moments = random.Random(1)
    seen = set()
    for _ in range(6):
        with subprocess.Popen(
            make_command(new, "--dir", folder), env=make_environment(), start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as child:  # fmt: skip
            time.sleep(moments.random() * 2)
            os.killpg(child.pid, signal.SIGKILL)
        env = folder / "env" / "bin" / "tinyedge"
        subprocess.run([env, "--version"], check=True, capture_output=True)
        store: list[str | Path] = ["--store", folder / "store", "--json"]
        recovered = subprocess.run([env, "activate", "--recover", *store], check=True, capture_output=True)
        assert json.loads(recovered.stdout)["serving"] == digest(folder / "store" / "current")
        seen.add(digest(folder / "store" / "current"))
    assert old in seen
    (folder / "env").unlink()
    (folder / "env").symlink_to(f"envs/{first.name}")  # the installation of the new one is repeated
    (folder / "envs" / "mine").mkdir()
    (folder / "envs" / "0123456789ab-py3.11").mkdir()
    (folder / "envs" / "0123456789ab-py3.12").symlink_to("/etc")
    done = install(new, "--dir", folder)
    assert done.returncode in INSTALLED, done.stdout + done.stderr
    assert digest(folder / "store" / "current") == digest(micro_bundle_fp32)
    assert {path.name for path in (folder / "envs").iterdir()} == {
        *(".tinyedge-envs", first.name, (folder / "env").readlink().name, "mine", "0123456789ab-py3.12")
    }


def test_the_service_needs_an_ordinary_user(kit: Path, tmp_path: Path) -> None:
    done = install(kit, "--dir", tmp_path / "dir", "--service")
    reasons = ("and that is root", "needs systemd", "sudo needs a password")
    assert any(reason in get_error(done) for reason in reasons)
    assert not (tmp_path / "dir").exists()


@pytest.fixture
def unit(kit: Path, tmp_path: Path) -> Path:
    """The unit for this machine, with a program that exists."""
    folder = tmp_path / "dir"
    program = folder / "env" / "bin" / "tinyedge"
    program.parent.mkdir(parents=True)
    program.symlink_to("/bin/true")
    (folder / "store").mkdir()
    done = install(kit, "--dir", folder, "--print-unit")
    assert done.returncode == 0, done.stderr
    (tmp_path / "tinyedge.service").write_text(done.stdout)
    return tmp_path / "tinyedge.service"


def test_the_unit_has_this_user_and_folder(unit: Path, tmp_path: Path) -> None:
    text = unit.read_text()
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    assert f"\nUser={user}\n" in text
    assert "/home/pi" not in text
    assert (
        f"ExecStart={tmp_path}/dir/env/bin/tinyedge serve {tmp_path}/dir/store/current --host 127.0.0.1"
        in text
    )
    assert (
        f"ExecReload={tmp_path}/dir/env/bin/tinyedge activate --recover --store {tmp_path}/dir/store\n"
        in text
    )
    assert "\nExecReload=/bin/kill -HUP $MAINPID\n" in text


def test_a_folder_name_that_a_unit_cannot_contain(kit: Path, tmp_path: Path) -> None:
    for bad in ("a b", "a%b", "a&b", "a|b", "ä"):
        get_error(install(kit, "--dir", tmp_path / bad, "--print-unit"))


def test_systemd_accepts_the_unit(unit: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_unit_is_hardened(unit: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    unit.write_text(unit.read_text().replace("User=root", "User=pi"))  # when root runs the tests
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", unit],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= MAX_EXPOSURE


@pytest.mark.parametrize("program", ["/bin/true", "/bin/false", "/bin/cat"])
def test_a_broken_python_removes_no_environment(kit: Path, tmp_path: Path, program: str) -> None:
    old = tmp_path / "dir" / "envs" / "old" / "complete"
    old.parent.mkdir(parents=True)
    old.touch()
    assert "is not a working Python" in get_error(install(kit, "--dir", tmp_path / "dir", PYTHON=program))
    assert old.exists()


@pytest.mark.parametrize("about", ["[]", '"x"', '{"machine": 5, "pythons": 5, "packages": 5}', "[" * 100_000])
def test_an_invalid_kit_json_is_one_error(copy: Path, tmp_path: Path, about: str) -> None:
    (copy / "kit.json").write_text(about)
    get_error(install(copy, "--dir", tmp_path / "dir"))


def test_a_folder_that_cannot_be_created_is_one_error(kit: Path) -> None:
    assert "/proc/x" in get_error(install(kit, "--dir", "/proc/x"))
