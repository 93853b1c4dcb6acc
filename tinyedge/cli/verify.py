"""`tinyedge verify`: check that a bundle is complete and safe, signed if requested, and that it runs."""

from pathlib import Path
from typing import Annotated

import typer

from tinyedge.cli._json import JsonOutput, JsonTarget

SIGNATURES = {"good": "ok, signed by that key", "not checked": "not checked: pass --key PUBLIC"}


def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder created by `tinyedge export`.", show_default=False)],
    key: Annotated[
        Path | None, typer.Option(help="Public key that must have signed it.", show_default=False)
    ] = None,
    json: JsonTarget = None,
) -> None:
    """Check a bundle: files, manifest, signature, and that it runs."""
    import sys

    from tinyedge.bundle.bundle import bundle_digest, load_bundle
    from tinyedge.bundle.manifest import MANIFEST_FILE, NGRAMS_FILE, SIGNATURE_FILE
    from tinyedge.bundle.signature import verify as verify_signature

    output = JsonOutput.from_option(json, "tinyedge.verify", inputs=(bundle, *filter(None, [key])))
    checked = load_bundle(bundle, all_hashes=True)
    if key is not None:
        verify_signature(checked, key)  # before the libraries that read its files are imported

    from tinyedge.cli._echo import fit_lines
    from tinyedge.core.hashes import hash_sha256
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
    if checked.ngrams is not None:
        listed[NGRAMS_FILE] = {**manifest["ngrams"], "sha256": hash_sha256(checked.ngrams.data)}
    summary = {name: manifest[name] for name in ("precision", "parameters", "target", "tinyedge")}
    summary |= {"model_id": checked.model_id, "created": manifest.get("created")}
    signature = "none" if checked.signature is None else "not checked" if key is None else "good"
    result = {"schema": "tinyedge.verify/1", "bundle": str(bundle), "ok": True, **summary}
    result |= {"signature": signature, "files": [{"name": name, **file} for name, file in listed.items()]}
    lines = [f"{name:<16} {file['size']:>12,} bytes  ok" for name, file in listed.items()]
    if checked.signature is not None:
        lines.append(f"{SIGNATURE_FILE:<17} {SIGNATURES[signature]}")
    sentence = (
        f"{summary['precision']} model {summary['model_id'] or '(id unknown)'},"
        f" {summary['parameters']:,} parameters, for {summary['target']},"
        f" made by tinyedge {summary['tinyedge']}"
    )
    output.emit(result, "\n".join([*lines, fit_lines(sentence, sys.stdout)]))
