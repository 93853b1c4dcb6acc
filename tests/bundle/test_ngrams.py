"""A bundle may have a table of n-grams: it is mapped, and damage is found where the table is used."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.ngram_bundle import make_ngrams, write_ngram_bundle
from tinyedge.bundle.bundle import bundle_digest, load_bundle, require_replaceable
from tinyedge.bundle.store import Store
from tinyedge.core.errors import BundleError

NAME = "ngrams.bin"
Copy = Callable[[], Path]


@pytest.fixture
def folder(micro_bundle: Path, tmp_path: Path) -> Path:
    """A bundle with n-grams, which a test may damage."""
    return write_ngram_bundle(micro_bundle, tmp_path / "mixed")


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def flip_last_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_the_ngrams_are_mapped_and_only_their_header_is_read(folder: Path) -> None:
    loaded = load_bundle(folder)
    assert loaded.ngrams is not None
    assert loaded.manifest["ngrams"] == {"size": (folder / NAME).stat().st_size, "root": loaded.ngrams.root}
    assert bytes(loaded.ngrams.data) == make_ngrams()
    assert loaded.ngrams.touched_bytes == loaded.ngrams.layout.body_offset
    assert loaded.without_bytes().ngrams is loaded.ngrams


def test_a_bundle_without_ngrams_has_none(micro_bundle: Path) -> None:
    assert load_bundle(micro_bundle).ngrams is None
    assert "ngrams" not in load_bundle(micro_bundle).manifest


def test_all_hashes_reads_every_block(folder: Path) -> None:
    loaded = load_bundle(folder, all_hashes=True)
    assert loaded.ngrams is not None
    assert all(loaded.ngrams.is_checked)
    flip_last_byte(folder / NAME)
    load_bundle(folder)
    with pytest.raises(BundleError, match=rf"{NAME} is damaged between bytes"):
        load_bundle(folder, all_hashes=True)


def test_the_file_and_the_field_of_the_manifest_belong_together(folder: Path, bundle_copy: Copy) -> None:
    without = bundle_copy()
    (without / NAME).write_bytes((folder / NAME).read_bytes())
    with pytest.raises(BundleError, match="which is not part of the bundle that the manifest describes"):
        load_bundle(without)
    (folder / NAME).unlink()
    with pytest.raises(BundleError, match=f"has no {NAME}"):
        load_bundle(folder)


@pytest.mark.parametrize(
    "listed",
    [5, {}, {"size": 1}, {"size": -1, "root": "0" * 64}, {"size": 1, "root": "0" * 64, "order": 4}],
)
def test_another_shape_of_the_field_is_refused(folder: Path, listed: object) -> None:
    rewrite(folder, lambda manifest: manifest.update(ngrams=listed))
    with pytest.raises(BundleError, match=r"manifest\.json: ngrams"):
        load_bundle(folder)


def test_a_mixed_figure_that_is_no_number_is_refused(folder: Path) -> None:
    figures = ("fp32_bits_per_byte", "bits_per_byte", "change_percent", "kl_nats", "top1_agreement")
    row = {**dict.fromkeys((*figures, "tokens", "bytes"), 1), "mixed_bits_per_byte": 2.5}
    rewrite(folder, lambda manifest: manifest.update(quality={"en": row}))
    load_bundle(folder)
    row["mixed_bits_per_byte"] = -1
    rewrite(folder, lambda manifest: manifest.update(quality={"en": row}))
    with pytest.raises(BundleError, match=r"quality\.en\.mixed_bits_per_byte is -1, expected a number"):
        load_bundle(folder)


def test_another_root_or_size_is_refused(folder: Path) -> None:
    root = load_bundle(folder).manifest["ngrams"]["root"]
    rewrite(folder, lambda manifest: manifest["ngrams"].update(root="0" * 64))
    with pytest.raises(BundleError, match=f"has root {root}, 0{{64}} expected"):
        load_bundle(folder)
    rewrite(folder, lambda manifest: manifest["ngrams"].update(root=root))
    with (folder / NAME).open("ab") as file:
        file.write(b"x")
    with pytest.raises(BundleError, match=r"bytes, the manifest specifies"):
        load_bundle(folder)


def test_an_empty_file_is_refused(folder: Path) -> None:
    rewrite(folder, lambda manifest: manifest["ngrams"].update(size=0))
    (folder / NAME).write_bytes(b"")
    with pytest.raises(BundleError, match=f"{NAME} is empty"):
        load_bundle(folder)


def test_a_file_above_the_largest_size_is_refused(folder: Path) -> None:
    size = (256 << 20) + 1
    rewrite(folder, lambda manifest: manifest["ngrams"].update(size=size))
    with (folder / NAME).open("r+b") as file:
        file.truncate(size)  # a hole
    with pytest.raises(BundleError, match=f"has {size} bytes, more than {256 << 20}"):
        load_bundle(folder)


def test_ngrams_of_another_vocabulary_are_refused(micro_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="has 999 tokens, the model 1000"):
        write_ngram_bundle(micro_bundle, tmp_path / "mixed", make_ngrams(999))
    assert not (tmp_path / "mixed").exists()


def test_only_a_regular_file_with_one_name_is_mapped(folder: Path, tmp_path: Path) -> None:
    other = (folder / NAME).rename(tmp_path / NAME)
    (folder / NAME).symlink_to(other)
    with pytest.raises(BundleError, match="is a symbolic link"):
        load_bundle(folder)
    (folder / NAME).unlink()
    os.mkfifo(folder / NAME)
    with pytest.raises(BundleError, match="is a FIFO"):
        load_bundle(folder)
    (folder / NAME).unlink()
    (folder / NAME).hardlink_to(other)
    with pytest.raises(BundleError, match="has 2 hard links"):
        load_bundle(folder)


def test_a_copy_has_the_ngrams_and_damaged_ones_are_not_copied(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    load_bundle(folder).write_copy(tmp_path / "copy")
    for part in folder.iterdir():
        assert (tmp_path / "copy" / part.name).read_bytes() == part.read_bytes()
    flip_last_byte(folder / NAME)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError, match="is damaged between bytes"):
        load_bundle(folder).write_copy(tmp_path / "empty")
    assert not list((tmp_path / "empty").iterdir())


def test_a_bundle_with_ngrams_is_replaced_by_one_without_and_stays_readable(
    folder: Path, micro_bundle: Path
) -> None:
    require_replaceable(folder)
    mapped = load_bundle(folder).ngrams
    assert mapped is not None
    write_ngram_bundle(micro_bundle, folder, make_ngrams(tokens=500))
    mapped.check_all()  # the old file is mapped as long as it is used
    assert load_bundle(folder).manifest["ngrams"]["size"] < len(mapped.data)


def test_the_store_activates_rolls_back_and_removes_bundles_with_ngrams(
    folder: Path, micro_bundle: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    store.activate(micro_bundle, lambda path: None)
    store.activate(folder, lambda path: None)
    digest = bundle_digest(load_bundle(folder))
    assert load_bundle(store.root / "current", all_hashes=True).ngrams is not None

    def fail(path: Path) -> None:
        raise BundleError("it does not work", "try another")

    other = write_ngram_bundle(micro_bundle, tmp_path / "other", make_ngrams(tokens=500))
    with pytest.raises(BundleError, match="does not work"):
        store.activate(other, fail)
    assert store.status().current == digest
    for source in (other, micro_bundle):
        store.activate(source, lambda path: None)
    assert not (store.root / "bundles" / digest).exists()


def test_activating_again_repairs_damaged_ngrams(folder: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.activate(folder, lambda path: None)
    flip_last_byte(store.root / "current" / NAME)
    store.activate(folder, lambda path: None)
    load_bundle(store.root / "current", all_hashes=True)
