"""`tinyedge activate`: which bundle serves on this board, exchanged without a moment in which none does."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tinyedge.bundle.store import Activation, Store, StoreStatus

LOCK_SECONDS = 240  # a start of the service waits for an activation, whose self-test may take 180 s


def activate(
    bundle: Annotated[
        Path | None,
        typer.Argument(help="Folder that `tinyedge export` made.", show_default=False),
    ] = None,
    store: Annotated[Path, typer.Option(help="Folder that keeps this board's bundles.")] = Path(
        "~/tinyedge/store"
    ),
    key: Annotated[
        Path | None, typer.Option(help="Public key that must have signed a bundle.", show_default=False)
    ] = None,
    recover: Annotated[
        bool, typer.Option("--recover", help="Instead: go back to the last bundle that was confirmed.")
    ] = False,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Instead: go back to the bundle that served before.")
    ] = False,
    status: Annotated[bool, typer.Option("--status", help="Instead: show what the store keeps.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Make a bundle the one that serves on this board, once it passed a self-test.

    It is copied to the store, synced and verified; then `current` names it, in one step, and it has to
    answer. If it does not, or the power fails, the bundle that served before serves again.
    """
    from json import dumps

    from tinyedge.bundle.store import Store
    from tinyedge.core.errors import UsageError

    if (bundle is not None) + recover + rollback + status != 1:
        raise UsageError(
            "tinyedge activate takes one of BUNDLE, --recover, --rollback and --status",
            "tinyedge activate --help says what each does",
        )
    kept = Store(store.expanduser(), _acceptance(key))
    if status:
        found = kept.status()
        typer.echo(dumps(_status(kept, found)) if json else _table(kept, found))
        return
    change = kept.recover(LOCK_SECONDS) if recover else _activate(kept, bundle or kept.previous())
    if json:
        result = {"serving": change.serving, "replaced": change.replaced, "reason": change.reason}
        typer.echo(dumps({"schema": "tinyedge.activate/1", "store": str(kept.root), **result}))
    else:
        typer.echo(_sentence(change))


def _activate(store: "Store", bundle: Path) -> "Activation":
    from tinyedge.runtime.self_test import run

    return store.activate(bundle, run)


def _acceptance(key: Path | None) -> Any:
    """What a bundle has to pass besides being whole."""
    if key is None:
        return lambda bundle: None
    from tinyedge.bundle.signature import verify

    return lambda bundle: verify(bundle, key)


def _sentence(change: "Activation") -> str:
    from tinyedge.bundle.store import SHORT_DIGEST

    serving = f"bundle {change.serving[:SHORT_DIGEST]} serves"
    if change.replaced == change.serving:
        return f"{serving}, as before"
    if change.replaced is None:
        return serving
    reason = f": {change.reason}" if change.reason else ""
    return f"{serving} instead of {change.replaced[:SHORT_DIGEST]}{reason}"


def _status(store: "Store", status: "StoreStatus") -> dict[str, Any]:
    bundles = [
        {
            "digest": kept.digest,
            "ok": kept.damage is None,
            "damage": kept.damage,
            **{
                name: kept.bundle.manifest[name] if kept.bundle else None for name in ("precision", "created")
            },
        }
        for kept in status.bundles
    ]
    return {
        "schema": "tinyedge.store-status/1",
        "store": str(store.root),
        "current": status.current,
        "confirmed": status.confirmed,
        "previous": status.previous,
        "bundles": bundles,
    }


def _table(store: "Store", status: "StoreStatus") -> str:
    from tinyedge.bundle.store import SHORT_DIGEST

    lines = []
    for kept in status.bundles:
        names = {"serves": status.current, "confirmed": status.confirmed, "previous": status.previous}
        roles = ", ".join(role for role, digest in names.items() if digest == kept.digest) or "not in use"
        manifest = kept.bundle.manifest if kept.bundle else {}
        about = (
            f"{manifest['precision']}, made {manifest['created']}" if manifest else f"damaged: {kept.damage}"
        )
        lines.append(f"{kept.digest[:SHORT_DIGEST]}  {roles:<20}  {about}")
    return "\n".join(lines) or f"{store.root} keeps no bundle"
