"""`tinyedge verify`: check that a bundle is complete and safe, signed if requested, and that it runs."""

from pathlib import Path
from typing import Annotated

import typer

SIGNATURES = {"good": "ok, signed by that key", "not checked": "not checked: pass --key PUBLIC"}


def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder created by `tinyedge export`.", show_default=False)],
    key: Annotated[
        Path | None, typer.Option(help="Public key that must have signed it.", show_default=False)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Check a bundle: files, manifest, signature, and that it runs."""
    from json import dumps

    from tinyedge.bundle.bundle import bundle_digest, load_bundle
    from tinyedge.bundle.manifest import MANIFEST_FILE, SIGNATURE_FILE
    from tinyedge.bundle.signature import verify as verify_signature

    checked = load_bundle(bundle)
    if key is not None:
        verify_signature(checked, key)  # before the libraries that read its files are imported

    from tinyedge.cli._echo import print_result
    from tinyedge.runtime.generator import Generator
    from tinyedge.text.tokenizer import BOS_ID

    generator = Generator.of(checked)
    generator.tokenizer.check_pieces()
    decoder = generator.session.decoder()
    decoder.prefill([BOS_ID] * (generator.config.max_seq_length - 1))
    decoder.step(BOS_ID)  # the last position of the context: prefill and decode work up to it
    manifest = checked.manifest
    listed = {
        MANIFEST_FILE: {"size": len(checked.raw_manifest), "sha256": bundle_digest(checked)},
        **manifest["files"],
    }
    summary = {name: manifest[name] for name in ("precision", "parameters", "target", "tinyedge", "created")}
    signature = "none" if checked.signature is None else "not checked" if key is None else "good"
    if json:
        files = [{"name": name, **file} for name, file in listed.items()]
        result = {"schema": "tinyedge.verify/1", "bundle": str(bundle), "ok": True, **summary}
        print(dumps({**result, "signature": signature, "files": files}, ensure_ascii=False))
        return
    for name, file in listed.items():
        print(f"{name:<16} {file['size']:>12,} bytes  ok")
    if checked.signature is not None:
        print(f"{SIGNATURE_FILE:<17} {SIGNATURES[signature]}")
    print_result(
        f"{summary['precision']} model, {summary['parameters']:,} parameters, for {summary['target']},"
        f" made by tinyedge {summary['tinyedge']}"
    )
