"""`tinyedge sign`: sign a bundle, so that its origin can be verified with the public key."""

from pathlib import Path
from typing import Annotated

import typer


def sign(
    bundle: Annotated[Path, typer.Argument(help="Folder created by `tinyedge export`.", show_default=False)],
    key: Annotated[
        Path, typer.Option(help="Private ed25519 key, created by ssh-keygen.", show_default=False)
    ],
) -> None:
    """Sign a bundle with an SSH key.

    The signature covers the manifest and therefore every file. It is written to manifest.json.sig in the
    bundle; `tinyedge verify --key` checks it.
    """
    from tinyedge.bundle import signature
    from tinyedge.bundle.bundle import load_bundle
    from tinyedge.bundle.manifest import SIGNATURE_FILE
    from tinyedge.core import files

    signed = signature.sign(load_bundle(bundle, all_hashes=True), key)
    # The temporary file is next to the bundle, so that a kill leaves no unexpected file in the bundle.
    files.write_bytes(bundle / SIGNATURE_FILE, signed, temporary_folder=bundle.resolve().parent)
    typer.echo(f"{bundle / SIGNATURE_FILE} written")
