"""`tinyedge verify`: a bundle is whole, known and safe, and its model answers."""

from pathlib import Path
from typing import Annotated

import typer


def verify(
    bundle: Annotated[Path, typer.Argument(help="Folder that `tinyedge export` made.", show_default=False)],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Check a bundle: every file, every field of the manifest, and that the model runs."""
    from json import dumps

    from tinyedge.bundle import bundle_digest
    from tinyedge.manifest import MANIFEST_FILE
    from tinyedge.runtime.generator import Generator
    from tinyedge.tokenizer import BOS_ID

    generator = Generator.load(bundle)
    generator.session.prefill([BOS_ID] * (generator.config.max_seq_length - 1))
    generator.session.step(BOS_ID)  # the last position of the context: all of it works, both ways
    whole = generator.bundle
    manifest = whole.manifest
    listed = {
        MANIFEST_FILE: {"size": (bundle / MANIFEST_FILE).stat().st_size, "sha256": bundle_digest(whole)},
        **manifest["files"],
    }
    summary = {name: manifest[name] for name in ("precision", "parameters", "target", "tinyedge", "created")}
    if json:
        files = [{"name": name, **file} for name, file in listed.items()]
        result = {"schema": "tinyedge.verify/1", "bundle": str(bundle), "ok": True, **summary, "files": files}
        print(dumps(result, ensure_ascii=False))
        return
    for name, file in listed.items():
        print(f"{name:<16} {file['size']:>12,} bytes  ok")
    print(
        f"{summary['precision']} model, {summary['parameters']:,} parameters, for {summary['target']},"
        f" made by tinyedge {summary['tinyedge']}"
    )
