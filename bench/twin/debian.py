"""Debian packages for any architecture, downloaded and unpacked without root.

apt resolves and downloads with a private state in the twin's folder; `dpkg-deb --extract` unpacks. No
maintainer script runs and the host does not change: no root, binfmt or foreign architecture is needed.
"""

import os
import re
import shutil
from pathlib import Path

from bench.twin.layout import TwinError, UnavailableError, run

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
EXCLUDED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian")

CONFIGURATION = """\
APT::Architecture "{architecture}"; APT::Architectures {{ "{architecture}"; }};
APT::Install-Recommends "false"; APT::Sandbox::User ""; Acquire::Languages "none"; Acquire::Retries "3";
Debug::NoLocking "true"; APT::Update::Error-Mode "any";
Dir::State "{state}"; Dir::State::Lists "{state}/lists"; Dir::State::status "{state}/status";
Dir::Cache "{state}"; Dir::Cache::archives "{state}/archives";
Dir::Etc::sourcelist "{state}/sources.list"; Dir::Etc::sourceparts "{state}/none";
Dir::Etc::preferences "{state}/none"; Dir::Etc::preferencesparts "{state}/none";
"""


PROVIDERS = {
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "setarch": "util-linux",
    "cc": "gcc",
    "mke2fs": "e2fsprogs",
}


def find_program(name: str) -> str:
    """The path of a program of this machine. Raises UnavailableError if it is missing."""
    # mke2fs is in a folder that is not in a user's PATH.
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise UnavailableError(f"{name} is not installed", f"on Debian: sudo apt install {PROVIDERS[name]}")
    return path


def find_mirror() -> str:
    """Address of Debian's packages: $TWIN_MIRROR, else the mirror that this Debian uses.

    Raises:
        UnavailableError: If there is none.
    """
    if address := os.environ.get("TWIN_MIRROR"):
        return address
    targets = run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"])
    for address in targets.split():
        if re.search(r"/debian/?$", address):
            return address
    raise UnavailableError(
        "apt of this machine has no Debian mirror", "pass one: TWIN_MIRROR=address make twin"
    )


class Archive:
    """The packages of one suite and architecture."""

    def __init__(self, state: Path, suite: str, architecture: str) -> None:
        """Download the lists of packages.

        Args:
            state: Folder for apt's state and for downloaded packages.
            suite: Debian suite, such as bookworm.
            architecture: Debian's name of it, such as arm64.

        Raises:
            UnavailableError: If that fails; later downloads raise it too.
        """
        if not KEYRING.exists():
            raise UnavailableError(f"{KEYRING} does not exist", "sudo apt install debian-archive-keyring")
        self._archives = state / "archives"
        for folder in (state / "lists" / "partial", self._archives / "partial", state / "none"):
            folder.mkdir(parents=True, exist_ok=True)
        (state / "status").touch()
        (state / "sources.list").write_text(f"deb [signed-by={KEYRING}] {find_mirror()} {suite} main\n")
        (state / "apt.conf").write_text(CONFIGURATION.format(architecture=architecture, state=state))
        self._environment = {**os.environ, "APT_CONFIG": str(state / "apt.conf"), "LC_ALL": "C"}
        self._apt("apt-get", "update", "-qq")

    def _apt(self, *command: str) -> str:
        return run(command, env=self._environment, cwd=self._archives, error=UnavailableError)

    def find_dependency(self, package: str, prefix: str) -> str:
        """The package that a metapackage depends on, by the beginning of its name."""
        matches = re.findall(rf"Depends: ({prefix}\S+)", self._apt("apt-cache", "depends", package))
        if not matches:
            raise TwinError(f"Debian's package {package} does not depend on a {prefix}*")
        return str(matches[0])

    def fetch(self, *packages: str) -> None:
        """Download packages and their dependencies."""
        self._apt("apt-get", "install", "-qq", "-y", "--download-only", *packages)

    def fetch_without_dependencies(self, *packages: str) -> None:
        """Download packages only."""
        self._apt("apt-get", "download", "-qq", *packages)

    def unpack(self, folder: Path) -> None:
        """Unpack everything that was downloaded, without documentation and translations."""
        for package in sorted(self._archives.glob("*.deb")):
            run(["dpkg-deb", "--extract", package, folder])
        for path in EXCLUDED:
            shutil.rmtree(folder / path, ignore_errors=True)
