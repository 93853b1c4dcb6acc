"""`tinyedge sign`: says who made a bundle, for whoever has the key's public half."""

from pathlib import Path
from typing import Annotated

import typer


def sign(
    bundle: Annotated[Path, typer.Argument(help="Folder that `tinyedge export` made.", show_default=False)],
    key: Annotated[Path, typer.Option(help="Private ed25519 key of ssh-keygen's.", show_default=False)],
) -> None:
    """Sign a bundle with an SSH key; `tinyedge verify --key` checks it.

    The signature covers the manifest, and so every file. It is put beside them, as manifest.json.sig.
    """
    from tinyedge.bundle import signature
    from tinyedge.bundle.bundle import load_bundle
    from tinyedge.bundle.manifest import SIGNATURE_FILE
    from tinyedge.core import files

    signed = signature.sign(load_bundle(bundle), key)
    # Staged beside the bundle: a reader, or a kill, never finds a file in it that does not belong there.
    staged = bundle.resolve().with_name(f".{bundle.resolve().name}.{SIGNATURE_FILE}")
    try:
        files.write_bytes(staged, signed)
        staged.replace(bundle / SIGNATURE_FILE)
        files.sync_folder(bundle)
    finally:
        staged.unlink(missing_ok=True)
    typer.echo(f"{bundle / SIGNATURE_FILE} written")
