"""Signatures of bundles: an ed25519 signature of the manifest, which contains the sha256 of every other file.

In: a Bundle and a key file. Out: the signature, or a BundleError. ssh-keygen does the work (OpenSSH 8.1 or
later, part of Raspberry Pi OS), so there is no cryptography here and no additional package on the device, and
everybody can verify a bundle with `ssh-keygen -Y verify`. Does not create keys: use `ssh-keygen -t ed25519`.
"""

import base64
import hashlib
import subprocess
import tempfile
from pathlib import Path

from tinyedge.bundle.bundle import Bundle
from tinyedge.bundle.manifest import MAX_SIGNATURE_BYTES, SIGNATURE_FILE, format_untrusted
from tinyedge.core import files
from tinyedge.core.errors import BundleError

NAMESPACE = "tinyedge-bundle"  # part of the signed data: a signature for another purpose is invalid here
SIGNER = "tinyedge"  # ssh-keygen needs an identity for the key; there is only one
KEY_TYPE = "ssh-ed25519"
MAX_KEY_BYTES = 16 << 10
VERIFY_TIMEOUT_S = 30.0  # signing has no limit, because it may wait for a passphrase
GROUP_AND_OTHERS = 0o077  # permission bits of users other than the key's owner
PRIVATE_KEY_HEADER = "-----BEGIN OPENSSH PRIVATE KEY-----"
SIGNATURE_HEADER, SIGNATURE_FOOTER = b"-----BEGIN SSH SIGNATURE-----", b"-----END SSH SIGNATURE-----"
KEY_TYPE_OFFSET = 14  # in a signature, after magic, version and a length: 6 + 4 + 4 bytes
KEY_HINT = "create a key pair with: ssh-keygen -t ed25519 -f NAME; sign with NAME, verify with NAME.pub"


def sign(bundle: Bundle, key: Path) -> bytes:
    """Sign a bundle. ssh-keygen asks for the key's passphrase if it has one.

    Args:
        bundle: The bundle to sign.
        key: File of an ed25519 private key, in OpenSSH's format.

    Returns:
        Content of manifest.json.sig.

    Raises:
        BundleError: `key` is not an ed25519 key, or ssh-keygen cannot use it.
    """
    if not _read_key(key).startswith(PRIVATE_KEY_HEADER):
        raise BundleError(f"{key} is not a private key in OpenSSH's format", KEY_HINT)
    if key.stat().st_mode & GROUP_AND_OTHERS:
        raise BundleError(f"{key} can be read by other users, so ssh-keygen refuses it", f"chmod 600 {key}")
    result = _run_ssh_keygen("sign", "-n", NAMESPACE, "-f", str(key.absolute()), stdin=bundle.raw_manifest)
    if result.returncode or not result.stdout:
        raise BundleError(f"ssh-keygen cannot sign with {key}: {_last_line(result.stderr)}", KEY_HINT)
    if len(result.stdout) > MAX_SIGNATURE_BYTES or not _is_ed25519(result.stdout):
        raise BundleError(f"{key} is not an ed25519 key", KEY_HINT)
    return result.stdout


def verify(bundle: Bundle, key: Path) -> None:
    """Raise BundleError unless `bundle` is signed by the key whose public half is in file `key`."""
    public = _read_key(key).split()
    try:
        blob = base64.b64decode(public[1], validate=True) if public[:1] == [KEY_TYPE] else b""
    except (IndexError, ValueError):
        blob = b""
    if not blob:
        raise BundleError(f"{key} is not the public half of an ed25519 key", KEY_HINT)
    path = bundle.path / SIGNATURE_FILE
    if bundle.signature is None:
        raise BundleError(
            f"{bundle.path} is not signed: it has no {SIGNATURE_FILE}",
            "sign it on the machine that created it, with: tinyedge sign",
        )
    with tempfile.TemporaryDirectory(prefix="tinyedge-") as folder:
        signature, allowed = Path(folder, "signature"), Path(folder, "allowed")
        signature.write_bytes(bundle.signature)  # the bytes that were read; the file may have changed since
        allowed.write_text(f'{SIGNER} namespaces="{NAMESPACE}" {public[0]} {public[1]}\n')
        result = _run_ssh_keygen(
            *("verify", "-n", NAMESPACE, "-I", SIGNER, "-f", str(allowed), "-s", str(signature)),
            stdin=bundle.raw_manifest,
            timeout=VERIFY_TIMEOUT_S,
        )
    # The exit status alone proves nothing: in a process that ignores SIGCHLD, `subprocess` always reports 0.
    if result.returncode or _format_verdict(blob) not in result.stdout.splitlines():
        reason = _last_line(result.stderr or result.stdout)
        raise BundleError(
            f"{path} is not a signature of this bundle by {key}: {reason}",
            "do not use the bundle; get the bundle or the key again, from a trusted source",
        )


def _format_verdict(key: bytes) -> bytes:
    """Return the line that ssh-keygen prints for a valid signature by the public key `key`."""
    fingerprint = base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")
    return f'Good "{NAMESPACE}" signature for {SIGNER} with ED25519 key SHA256:{fingerprint}'.encode()


def _read_key(path: Path) -> str:
    files.require_file(path, BundleError, KEY_HINT)
    if path.stat().st_size > MAX_KEY_BYTES:
        raise BundleError(f"{path} is too large to be a key", KEY_HINT)
    return path.read_text(encoding="utf-8", errors="replace")


def _run_ssh_keygen(
    action: str, *arguments: str, stdin: bytes, timeout: float | None = None
) -> subprocess.CompletedProcess[bytes]:
    command = ["ssh-keygen", "-Y", action, *arguments]
    try:
        return subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=timeout)
    except FileNotFoundError:
        raise BundleError(
            "ssh-keygen is not installed", "on Debian: sudo apt install openssh-client"
        ) from None
    except subprocess.TimeoutExpired:
        raise BundleError(
            f"ssh-keygen did not answer within {timeout:g} s, so it was stopped",
            "check that ssh-keygen works on this machine: ssh-keygen -Y verify",
        ) from None


def _is_ed25519(signature: bytes) -> bool:
    """Return whether a signature was made by an ed25519 key."""
    body = signature.removeprefix(SIGNATURE_HEADER).partition(SIGNATURE_FOOTER)[0]
    try:
        blob = base64.b64decode(body)  # skips line breaks and other characters that are not base64
    except ValueError:
        return False
    kind = blob[KEY_TYPE_OFFSET:]
    return kind.startswith(len(KEY_TYPE).to_bytes(4) + KEY_TYPE.encode())


def _last_line(output: bytes) -> str:
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return format_untrusted(lines[-1].strip()) if lines else "it gave no reason"
