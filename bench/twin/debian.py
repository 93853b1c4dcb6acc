"""Debian packages for any architecture, downloaded and unpacked by an ordinary user.

A private apt state in the twin's folder resolves and fetches; `dpkg-deb --extract` unpacks. No maintainer
script runs and nothing of the host changes, so no root, no binfmt and no foreign architecture is needed.
"""

import os
import re
import shutil
from pathlib import Path

from bench.twin.layout import TwinError, UnavailableError, run

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
LEFT_OUT = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian")

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


def program(name: str) -> str:
    """The path of a program of this machine. Raises UnavailableError where it is missing."""
    path = shutil.which(
        name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    )  # mke2fs is in neither of ours
    if not path:
        raise UnavailableError(f"{name} is not installed", f"on Debian: sudo apt install {PROVIDERS[name]}")
    return path


def mirror() -> str:
    """The address of Debian's packages: $TWIN_MIRROR, else the one that this Debian uses.

    Raises UnavailableError where there is none.
    """
    if address := os.environ.get("TWIN_MIRROR"):
        return address
    targets = run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"])
    for address in targets.split():
        if re.search(r"/debian/?$", address):
            return address
    raise UnavailableError(
        "apt of this machine has no Debian mirror", "name one: TWIN_MIRROR=address make twin"
    )


class Archive:
    """The packages of one suite and architecture; `state` is a folder for apt and for what it fetched."""

    def __init__(self, state: Path, suite: str, architecture: str) -> None:
        """Reads the lists of packages. Raises UnavailableError where that, or later a download, fails."""
        if not KEYRING.exists():
            raise UnavailableError(f"{KEYRING} does not exist", "sudo apt install debian-archive-keyring")
        self._archives = state / "archives"
        for folder in (state / "lists" / "partial", self._archives / "partial", state / "none"):
            folder.mkdir(parents=True, exist_ok=True)
        (state / "status").touch()
        (state / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror()} {suite} main\n")
        (state / "apt.conf").write_text(CONFIGURATION.format(architecture=architecture, state=state))
        self._environment = {**os.environ, "APT_CONFIG": str(state / "apt.conf"), "LC_ALL": "C"}
        self._apt("apt-get", "update", "-qq")

    def _apt(self, *command: str) -> str:
        return run(command, env=self._environment, cwd=self._archives, error=UnavailableError)

    def dependency(self, package: str, beginning: str) -> str:
        """The package that `package`, which has no content of its own, stands for."""
        found = re.findall(rf"Depends: ({beginning}\S+)", self._apt("apt-cache", "depends", package))
        if not found:
            raise TwinError(f"Debian's package {package} depends on no {beginning}*")
        return str(found[0])

    def fetch(self, *packages: str) -> None:
        """Downloads packages and all that they need."""
        self._apt("apt-get", "install", "-qq", "-y", "--download-only", *packages)

    def fetch_alone(self, *packages: str) -> None:
        """Downloads packages without what they need."""
        self._apt("apt-get", "download", "-qq", *packages)

    def unpack(self, folder: Path) -> None:
        """Unpacks all that was fetched, without what only a reader needs."""
        for package in sorted(self._archives.glob("*.deb")):
            run(["dpkg-deb", "--extract", package, folder])
        for path in LEFT_OUT:
            shutil.rmtree(folder / path, ignore_errors=True)
