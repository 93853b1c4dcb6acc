"""Who made a bundle: an ed25519 signature of its manifest, which holds the sha256 of every other file.

In: a Bundle and a key's file. Out: the signature's text, or BundleError. The work is ssh-keygen's (OpenSSH
8.1 or later, part of Raspberry Pi OS): no cryptography here, no package on the device, and anyone can check a
bundle by hand with `ssh-keygen -Y verify`. Knows no way to make a key: `ssh-keygen -t ed25519` is that.
"""

import base64
import subprocess
import tempfile
from pathlib import Path

from tinyedge.bundle.bundle import Bundle
from tinyedge.bundle.manifest import MAX_SIGNATURE_BYTES, SIGNATURE_FILE, format_untrusted
from tinyedge.core import files
from tinyedge.core.errors import BundleError

NAMESPACE = "tinyedge-bundle"  # part of what is signed: a signature made for another purpose is none here
SIGNER = "tinyedge"  # ssh-keygen asks for whose key it is; there is only the one
KEY_TYPE = "ssh-ed25519"
MAX_KEY_BYTES = 16 << 10
GROUP_AND_OTHERS = 0o077  # the rights of whom the key does not belong to
PRIVATE_KEY_HEADER = "-----BEGIN OPENSSH PRIVATE KEY-----"
SIGNATURE_HEADER, SIGNATURE_FOOTER = b"-----BEGIN SSH SIGNATURE-----", b"-----END SSH SIGNATURE-----"
KEY_TYPE_OFFSET = 14  # in a signature: after its magic, its version and a length, 6 + 4 + 4 bytes
KEY_HINT = "make a pair with: ssh-keygen -t ed25519 -f NAME; sign with NAME, verify with NAME.pub"


def sign(bundle: Bundle, key: Path) -> bytes:
    """The signature of `bundle` by the private key in file `key`, whose passphrase ssh-keygen may ask for.

    Raises BundleError where `key` is not an ed25519 key, or cannot be used.
    """
    if not _read_key(key).startswith(PRIVATE_KEY_HEADER):
        raise BundleError(f"{key} is not a private key of ssh-keygen's", KEY_HINT)
    if key.stat().st_mode & GROUP_AND_OTHERS:
        raise BundleError(f"{key} can be read by others, so ssh-keygen will not use it", f"chmod 600 {key}")
    result = _run_ssh_keygen("sign", "-n", NAMESPACE, "-f", str(key.absolute()), stdin=bundle.raw_manifest)
    if result.returncode:
        raise BundleError(f"ssh-keygen cannot sign with {key}: {_last_line(result.stderr)}", KEY_HINT)
    if len(result.stdout) > MAX_SIGNATURE_BYTES or not _is_ed25519(result.stdout):
        raise BundleError(f"{key} is not an ed25519 key", KEY_HINT)
    return result.stdout


def verify(bundle: Bundle, key: Path) -> None:
    """Raises BundleError unless `bundle` is signed by the key whose public half is in file `key`."""
    public = _read_key(key).split()
    if public[:1] != [KEY_TYPE] or len(public) < 2:
        raise BundleError(f"{key} is not the public half of an ed25519 key", KEY_HINT)
    path = bundle.path / SIGNATURE_FILE
    if bundle.signature is None:
        raise BundleError(
            f"{bundle.path} is not signed: it has no {SIGNATURE_FILE}",
            "sign it where it was made with: tinyedge sign",
        )
    with tempfile.TemporaryDirectory(prefix="tinyedge-") as folder:
        signature, allowed = Path(folder, "signature"), Path(folder, "allowed")
        signature.write_bytes(bundle.signature)  # the bytes that were read, whatever has become of the file
        allowed.write_text(f'{SIGNER} namespaces="{NAMESPACE}" {public[0]} {public[1]}\n')
        result = _run_ssh_keygen(
            *("verify", "-n", NAMESPACE, "-I", SIGNER, "-f", str(allowed), "-s", str(signature)),
            stdin=bundle.raw_manifest,
        )
    if result.returncode:
        raise BundleError(
            f"{path} is not a signature of this bundle by {key}: {_last_line(result.stderr or result.stdout)}",
            "do not use the bundle; get it, or the key, again from whom you trust",
        )


def _read_key(path: Path) -> str:
    files.require_file(path, BundleError, KEY_HINT)
    if path.stat().st_size > MAX_KEY_BYTES:
        raise BundleError(f"{path} is too large to be a key", KEY_HINT)
    return path.read_text(encoding="utf-8", errors="replace")


def _run_ssh_keygen(action: str, *arguments: str, stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    command = ["ssh-keygen", "-Y", action, *arguments]
    try:
        return subprocess.run(command, input=stdin, capture_output=True, check=False)
    except FileNotFoundError:
        raise BundleError(
            "ssh-keygen is not installed", "on Debian: sudo apt install openssh-client"
        ) from None


def _is_ed25519(signature: bytes) -> bool:
    """Whether an ed25519 key made this signature."""
    body = signature.removeprefix(SIGNATURE_HEADER).partition(SIGNATURE_FOOTER)[0]
    try:
        blob = base64.b64decode(body)  # whatever is no base64, line breaks too, is skipped
    except ValueError:
        return False
    kind = blob[KEY_TYPE_OFFSET:]
    return kind.startswith(len(KEY_TYPE).to_bytes(4) + KEY_TYPE.encode())


def _last_line(output: bytes) -> str:
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return format_untrusted(lines[-1].strip()) if lines else "it does not say why"
