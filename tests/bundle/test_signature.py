"""Signatures are valid only for the right bundle and key, and ssh-keygen itself accepts them."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.ngram_bundle import make_ngrams, write_ngram_bundle
from tests.support.program import tinyedge
from tinyedge.bundle import signature
from tinyedge.bundle.bundle import load_bundle, write_bundle
from tinyedge.core.errors import BundleError
from tinyedge.core.hashes import hash_blake2b

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs OpenSSH's ssh-keygen")

Copy = Callable[[], Path]
SIGNATURE = "manifest.json.sig"


def make_key(folder: Path, name: str = "key", kind: str = "ed25519") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", folder / name], check=True)
    return folder / name


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a private key; the file name of its public half ends in `.pub`."""
    return make_key(tmp_path_factory.mktemp("keys"))


def public(key: Path) -> Path:
    return key.with_name(key.name + ".pub")


def sign(folder: Path, key: Path) -> Path:
    (folder / SIGNATURE).write_bytes(signature.sign(load_bundle(folder), key))
    return folder


def expect_refusal(folder: Path, key: Path) -> BundleError:
    with pytest.raises(BundleError) as caught:
        signature.verify(load_bundle(folder), key)
    assert caught.value.hint
    assert caught.value.message.isprintable()
    return caught.value


def test_a_signed_bundle_is_verified(bundle_copy: Copy, key: Path) -> None:
    folder = sign(bundle_copy(), key)
    signature.verify(load_bundle(folder), public(key))
    assert load_bundle(folder).signature == (folder / SIGNATURE).read_bytes()


def test_ssh_keygen_verifies_the_signature(bundle_copy: Copy, key: Path, tmp_path: Path) -> None:
    folder = sign(bundle_copy(), key)
    (tmp_path / "allowed").write_text(f"me {public(key).read_text()}")
    command = f"ssh-keygen -Y verify -n tinyedge-bundle -I me -f {tmp_path}/allowed -s {folder / SIGNATURE}"
    with (folder / "manifest.json").open("rb") as manifest:
        done = subprocess.run(command.split(), stdin=manifest, capture_output=True, check=True)
    assert b'Good "tinyedge-bundle" signature for me' in done.stdout


def test_an_unsigned_bundle_is_refused(bundle_copy: Copy, key: Path) -> None:
    assert f"is not signed: it has no {SIGNATURE}" in expect_refusal(bundle_copy(), public(key)).message


def test_a_signature_by_another_key_is_refused(bundle_copy: Copy, key: Path, tmp_path: Path) -> None:
    folder = sign(bundle_copy(), make_key(tmp_path, "other"))
    assert "is not a signature of this bundle by" in expect_refusal(folder, public(key)).message


def test_only_the_line_of_ssh_keygen_makes_a_signature_valid(
    bundle_copy: Copy, key: Path, tmp_path: Path, ignored_sigchld: None
) -> None:
    """In a process that ignores SIGCHLD, every ssh-keygen seems to end with exit status 0."""
    folder = sign(bundle_copy(), key)
    signature.verify(load_bundle(folder), public(key))
    other = make_key(tmp_path, "other")
    expect_refusal(folder, public(other))
    (folder / SIGNATURE).write_bytes(b"junk")
    expect_refusal(folder, public(key))


@pytest.mark.parametrize("fake", ["exit 0", 'echo "Good \\"tinyedge-bundle\\" signature for tinyedge"'])
def test_an_ssh_keygen_that_does_not_name_the_key_proves_nothing(
    bundle_copy: Copy, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake: str
) -> None:
    folder = sign(bundle_copy(), key)
    (tmp_path / "ssh-keygen").write_text(f"#!/bin/sh\n{fake}\n")
    (tmp_path / "ssh-keygen").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    expect_refusal(folder, public(key))


def test_the_program_verifies_if_its_parent_ignores_sigchld(
    bundle_copy: Copy, key: Path, tmp_path: Path, ignored_sigchld: None
) -> None:
    folder = sign(bundle_copy(), key)
    make_key(tmp_path, "other")
    assert "ok, signed by that key" in tinyedge("verify", folder, "--key", public(key)).stdout
    refused = tinyedge("verify", folder, "--key", tmp_path / "other.pub")
    assert (refused.stdout, refused.stderr.split()[0]) == ("", "error:")


def test_a_signature_of_another_bundle_is_refused(
    bundle_copy: Copy, micro_bundle_fp32: Path, key: Path, tmp_path: Path
) -> None:
    stolen = signature.sign(load_bundle(micro_bundle_fp32), key)
    folder = bundle_copy()
    (folder / SIGNATURE).write_bytes(stolen)
    assert "is not a signature of this bundle by" in expect_refusal(folder, public(key)).message


def test_a_changed_manifest_invalidates_the_signature(bundle_copy: Copy, key: Path) -> None:
    """The manifest contains the sha256 of every file, so this also covers changes of other files."""
    folder = sign(bundle_copy(), key)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "target": "other"}))
    assert "is not a signature of this bundle by" in expect_refusal(folder, public(key)).message


def test_a_signature_for_another_purpose_is_refused(bundle_copy: Copy, key: Path) -> None:
    folder = bundle_copy()
    done = subprocess.run(
        ["ssh-keygen", "-Y", "sign", "-n", "git", "-f", key],
        input=(folder / "manifest.json").read_bytes(),
        capture_output=True,
        check=True,
    )
    (folder / SIGNATURE).write_bytes(done.stdout)
    assert "is not a signature of this bundle by" in expect_refusal(folder, public(key)).message


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 4096, b"-----BEGIN SSH SIGNATURE-----\n"])
def test_a_file_that_is_not_a_signature_is_refused(bundle_copy: Copy, key: Path, content: bytes) -> None:
    folder = bundle_copy()
    (folder / SIGNATURE).write_bytes(content)
    assert "is not a signature of this bundle by" in expect_refusal(folder, public(key)).message


@pytest.mark.parametrize("content", ["", "x", "ssh-rsa AAAA", "ssh-ed25519", "ssh-ed25519 x\n", "\0"])
def test_invalid_public_keys_are_refused(bundle_copy: Copy, key: Path, tmp_path: Path, content: str) -> None:
    folder = sign(bundle_copy(), key)
    (tmp_path / "bad.pub").write_text(content)
    assert "bad.pub" in expect_refusal(folder, tmp_path / "bad.pub").message
    assert "none.pub does not exist" in expect_refusal(folder, tmp_path / "none.pub").message


def test_keys_that_cannot_sign_are_refused(micro_bundle: Path, key: Path, tmp_path: Path) -> None:
    bundle = load_bundle(micro_bundle)
    shared = Path(shutil.copy(key, tmp_path / "shared"))
    shared.chmod(0o644)
    broken = tmp_path / "broken"
    broken.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n")
    broken.chmod(0o600)
    for bad, reason in (
        (public(key), "is not a private key"),
        (shared, "can be read by other users"),
        (broken, "ssh-keygen cannot sign with"),
        (make_key(tmp_path, "ecdsa", "ecdsa"), "is not an ed25519 key"),
        (tmp_path / "none", "does not exist"),
    ):
        with pytest.raises(BundleError, match=reason):
            signature.sign(bundle, bad)


def test_a_missing_ssh_keygen_is_an_error(
    micro_bundle: Path, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BundleError, match="ssh-keygen is not installed"):
        signature.sign(load_bundle(micro_bundle), key)


def test_replacing_a_bundle_removes_its_signature(bundle_copy: Copy, key: Path) -> None:
    folder = sign(bundle_copy(), key)
    old = load_bundle(folder)
    manifest = {k: v for k, v in old.manifest.items() if k not in ("schema", "created", "tinyedge", "files")}
    write_bundle(folder, {**manifest, "target": "other"}, old.model, old.tokenizer, "# A card\n")
    assert load_bundle(folder).signature is None


def test_sign_and_verify_on_the_command_line(bundle_copy: Copy, key: Path) -> None:
    folder = bundle_copy()

    unsigned = tinyedge("verify", folder, "--key", public(key))
    assert unsigned.returncode == 1
    assert unsigned.stderr.startswith("error: ")
    done = tinyedge("sign", folder, "--key", key)
    assert (done.returncode, done.stdout) == (0, f"{folder / SIGNATURE} written\n")
    assert (
        json.loads(tinyedge("verify", folder, "--key", public(key), "--json").stdout)["signature"] == "good"
    )
    assert "not checked" in tinyedge("verify", folder).stdout


def test_a_manifest_with_a_wrong_hash_is_not_signed(bundle_copy: Copy, key: Path) -> None:
    """Where a BLAKE2b is listed, a start does not compute the sha256; the signature vouches for both."""
    folder = bundle_copy()
    manifest = json.loads((folder / "manifest.json").read_text())
    model = (folder / "model.onnx").read_bytes()
    manifest["files"]["model.onnx"] |= {"blake2b": hash_blake2b(model), "sha256": "0" * 64}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert load_bundle(folder)
    refused = tinyedge("sign", folder, "--key", key)
    assert "has sha256" in refused.stderr
    assert not (folder / SIGNATURE).exists()


def test_an_ssh_keygen_that_does_not_answer_is_stopped(
    bundle_copy: Copy, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sign(bundle_copy(), key)
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "ssh-keygen"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setattr(signature, "VERIFY_TIMEOUT_S", 0.2)
    assert "did not answer within 0.2 s" in expect_refusal(folder, public(key)).message


def test_a_signature_covers_the_ngrams(micro_bundle: Path, key: Path, tmp_path: Path) -> None:
    folder = write_ngram_bundle(micro_bundle, tmp_path / "mixed")
    (folder / SIGNATURE).write_bytes(signature.sign(load_bundle(folder, all_hashes=True), key))
    signature.verify(load_bundle(folder, all_hashes=True), public(key))
    other = write_ngram_bundle(micro_bundle, tmp_path / "other", make_ngrams(tokens=500))
    for name in ("ngrams.bin", "manifest.json"):
        (folder / name).write_bytes((other / name).read_bytes())
    with pytest.raises(BundleError, match="signature"):
        signature.verify(load_bundle(folder), public(key))
