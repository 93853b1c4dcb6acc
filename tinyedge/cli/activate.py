"""`tinyedge activate`: switch the bundle that serves on this board, without a moment in which none does."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tinyedge.cli._json import JsonOutput, JsonTarget

if TYPE_CHECKING:
    from tinyedge.bundle.store import Activation, Store, StoreStatus

LOCK_SECONDS = 240  # the service waits at its start for an activation, whose self-test may take 180 s


def activate(
    bundle: Annotated[
        Path | None,
        typer.Argument(help="Folder created by `tinyedge export`.", show_default=False),
    ] = None,
    store: Annotated[
        str, typer.Option(help="Folder of this board's bundles.", metavar="<path>")
    ] = "~/tinyedge/store",
    key: Annotated[
        Path | None, typer.Option(help="Public key that must have signed the bundle.", show_default=False)
    ] = None,
    recover: Annotated[
        bool, typer.Option("--recover", help="Instead: return to the last confirmed bundle.")
    ] = False,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Instead: return to the previous bundle.")
    ] = False,
    status: Annotated[bool, typer.Option("--status", help="Instead: show the bundles in the store.")] = False,
    json: JsonTarget = None,
) -> None:
    """Switch the bundle that serves on this board, after a self-test.

    The bundle is copied to the store, synced and verified. Then the link `current` is switched to it, in one
    step, and the bundle must answer a prompt. If it does not, or if the power fails, the previous bundle
    serves again.
    """
    from tinyedge.bundle.store import Store
    from tinyedge.core.errors import UsageError

    if (bundle is not None) + recover + rollback + status != 1:
        raise UsageError(
            "tinyedge activate needs exactly one of BUNDLE, --recover, --rollback and --status",
            "see tinyedge activate --help",
        )
    kinds = ("tinyedge.activate", "tinyedge.store-status")
    output = JsonOutput.from_option(json, *kinds, inputs=filter(None, [bundle, key]))
    bundles = Store(_expand_user(store), _make_acceptance_check(key))
    if status:
        found = bundles.status()
        output.emit(_status_to_dict(bundles, found), _format_status(bundles, found))
        return
    change = bundles.recover(LOCK_SECONDS) if recover else _activate(bundles, bundle or bundles.previous())
    result = {"serving": change.serving, "replaced": change.replaced, "reason": change.reason}
    output.emit(
        {"schema": "tinyedge.activate/1", "store": str(bundles.root), **result}, _format_result(change)
    )


def _expand_user(store: str) -> Path:
    """Return the folder of the store; a Path of "" would be the current folder."""
    from tinyedge.core.errors import UsageError

    if not store:
        raise UsageError("--store is empty", "pass the folder of the store, or omit --store")
    try:
        return Path(store).expanduser()
    except RuntimeError:
        user = store.partition("/")[0]
        raise UsageError(f"--store {store}: the home of {user} is unknown", "pass an absolute path") from None


def _activate(store: "Store", bundle: Path) -> "Activation":
    from tinyedge.runtime.self_test import run

    return store.activate(bundle, run)


def _make_acceptance_check(key: Path | None) -> Any:
    """Return the check that a complete bundle must also pass: its signature, if a key is given."""
    if key is None:
        return lambda bundle: None
    from tinyedge.bundle.signature import verify

    return lambda bundle: verify(bundle, key)


def _format_result(change: "Activation") -> str:
    from tinyedge.bundle.store import SHORT_DIGEST

    serving = f"bundle {change.serving[:SHORT_DIGEST]} is active"
    if change.replaced == change.serving:
        return f"{serving}, as before"
    if change.replaced is None:
        return serving
    reason = f": {change.reason}" if change.reason else ""
    return f"{serving} instead of {change.replaced[:SHORT_DIGEST]}{reason}"


def _status_to_dict(store: "Store", status: "StoreStatus") -> dict[str, Any]:
    bundles = [
        {
            "digest": entry.digest,
            "ok": entry.damage is None,
            "damage": entry.damage,
            **{
                name: entry.bundle.manifest.get(name) if entry.bundle else None
                for name in ("precision", "model_id")
            },
        }
        for entry in status.bundles
    ]
    return {
        "schema": "tinyedge.store-status/1",
        "store": str(store.root),
        "current": status.current,
        "confirmed": status.confirmed,
        "previous": status.previous,
        "bundles": bundles,
    }


def _format_status(store: "Store", status: "StoreStatus") -> str:
    from tinyedge.bundle.store import SHORT_DIGEST

    lines = []
    for entry in status.bundles:
        names = {"serves": status.current, "confirmed": status.confirmed, "previous": status.previous}
        roles = ", ".join(role for role, digest in names.items() if digest == entry.digest) or "not in use"
        manifest = entry.bundle.manifest if entry.bundle else {}
        about = (
            f"{manifest['precision']}, model {manifest.get('model_id', '(id unknown)')}"
            if manifest
            else f"damaged: {entry.damage}"
        )
        lines.append(f"{entry.digest[:SHORT_DIGEST]}  {roles:<20}  {about}")
    return "\n".join(lines) or f"{store.root} keeps no bundle"
