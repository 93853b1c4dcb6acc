"""Schema of a bundle's manifest: strict JSON with a fixed shape and consistent values.

In: the bytes of `manifest.json`. Out: the validated mapping and the model's config, or a BundleError that
names the field. Does not read folders or other files.
"""

import dataclasses
import datetime
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import EllipsisType
from typing import Any, NamedTuple

from tinyedge.core.config import TURNS_TEMPLATE, ModelConfig
from tinyedge.core.errors import BundleError, UsageError
from tinyedge.core.printable import has_control_chars
from tinyedge.ngram import MAX_NGRAM_MB

MANIFEST_SCHEMA = "tinyedge.bundle/1"
SPECIAL_IDS = {"bos_id": 0, "eos_id": 1, "pad_id": 2, "unk_id": 3}  # the guide's table
MAX_DEPTH = 8  # levels of nesting in the manifest
MAX_STRING = 4096  # characters
MAX_OPENINGS, MAX_OPENING_CHARACTERS = 4, 48  # of each text; the longest that export writes has 40 and marks
MAX_LEARNED = 1000  # texts that a bundle has learned from, one after the other
MAX_NUMBER = 1e15  # a larger value is a mistake, and JSON readers start to round it
HEX_DIGITS = frozenset("0123456789abcdef")
MANIFEST_FILE, MODEL_FILE, TOKENIZER_FILE, CARD_FILE = (
    "manifest.json",
    "model.onnx",
    "tokenizer.model",
    "README.md",
)

SIGNATURE_FILE = "manifest.json.sig"  # ssh-keygen's file name; optional
NGRAMS_FILE = "ngrams.bin"  # a table of n-grams (`tinyedge.ngram.layout`); optional

MAX_MANIFEST_BYTES = 1 << 20
MAX_SIGNATURE_BYTES = 4096  # an ed25519 signature has about 300
# The largest allowed model has 190 MB of weights, the largest vocabulary about 700 kB.
MAX_BYTES = {MODEL_FILE: 256 << 20, TOKENIZER_FILE: 16 << 20, CARD_FILE: 1 << 20}
MAX_NGRAMS_BYTES = MAX_NGRAM_MB << 20
BUNDLE_FILES = (MANIFEST_FILE, SIGNATURE_FILE, *MAX_BYTES, NGRAMS_FILE)  # all that a bundle may contain

COPY_AGAIN = "copy the bundle again"
EXPORT_AGAIN = "export it again with: tinyedge export"


def parse_manifest(raw: bytes, path: Path) -> dict[str, Any]:
    """Parse a manifest as strict JSON.

    Strict means UTF-8, an object, no duplicate keys, no NaN or infinity, and limits on the length of strings,
    the size of numbers and the depth of nesting.

    Args:
        raw: The file's bytes.
        path: Path of the file, for the error message.

    Raises:
        BundleError: The bytes are not a valid manifest.
    """
    try:
        value = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_reject_duplicate_keys, parse_constant=_reject_constant
        )
        if not isinstance(value, dict):
            raise ValueError("it is not an object")
        _check_values(value)
    except (ValueError, RecursionError) as failure:
        raise BundleError(f"{path} is not a valid manifest: {failure}", COPY_AGAIN) from None
    return value


def _reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        duplicate = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"field {format_untrusted(duplicate)} appears twice")
    return found


def _reject_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _check_values(value: Any, depth: int = 1) -> None:
    """Raise ValueError for a value that is unsafe to process or to print."""
    if depth > MAX_DEPTH:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, str) and (len(value) > MAX_STRING or has_control_chars(value)):
        raise ValueError(
            f"text {format_untrusted(value)} has control characters or more than {MAX_STRING} characters"
        )
    if isinstance(value, int | float) and not abs(value) <= MAX_NUMBER:
        raise ValueError(f"number {format_untrusted(value)} is too large")
    for part in (
        [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else ()
    ):
        _check_values(part, depth + 1)


class FieldSpec(NamedTuple):
    """Allowed values of a field."""

    expected: str
    """Description of the allowed values, for the error message."""
    accepts: Callable[[Any], bool]
    """Whether a value is allowed."""


def is_hex(text: str, length: int) -> bool:
    """Return whether a text has `length` characters, all of them lower-case hexadecimal digits."""
    return len(text) == length and HEX_DIGITS.issuperset(text)


def is_digest(text: str) -> bool:
    """Return whether a text is a hash of 256 bits."""
    return is_hex(text, 64)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_time(value: Any) -> bool:
    try:
        return datetime.datetime.fromisoformat(value).utcoffset() == datetime.timedelta(0)
    except (TypeError, ValueError):
        return False


def _equal_to(value: Any) -> FieldSpec:
    return FieldSpec(repr(value), lambda found: type(found) is type(value) and found == value)


ANYTHING = FieldSpec("anything", lambda value: True)
NON_EMPTY_STRING = FieldSpec("a non-empty string", lambda value: isinstance(value, str) and value != "")
DIGEST = FieldSpec("64 hexadecimal digits", lambda value: isinstance(value, str) and is_digest(value))
UTC_TIME = FieldSpec("a time in UTC, such as 2026-01-31T12:00:00+00:00", _is_time)
MODEL_ID = FieldSpec("12 hexadecimal digits", lambda value: isinstance(value, str) and is_hex(value, 12))
BOOLEAN = FieldSpec("true or false", lambda value: isinstance(value, bool))
NON_NEGATIVE_INTEGER = FieldSpec("an integer, 0 or more", lambda value: type(value) is int and value >= 0)
NUMBER = FieldSpec("a number", _is_number)
NON_NEGATIVE = FieldSpec("a number, 0 or more", lambda value: _is_number(value) and value >= 0)
POSITIVE = FieldSpec("a number above 0", lambda value: _is_number(value) and value > 0)
STRING_LIST = FieldSpec(
    "a list of strings", lambda v: isinstance(v, list) and all(isinstance(part, str) for part in v)
)

OPENING_LIST = FieldSpec(
    f"a list of 1 to {MAX_OPENINGS} texts of 1 to {MAX_OPENING_CHARACTERS} characters",
    lambda v: (
        isinstance(v, list)
        and 0 < len(v) <= MAX_OPENINGS
        and all(isinstance(text, str) and 0 < len(text) <= MAX_OPENING_CHARACTERS for text in v)
    ),
)

LEARNED_LIST = FieldSpec(
    f"a list of at most {MAX_LEARNED} objects of numbers",
    lambda v: (
        isinstance(v, list)
        and len(v) <= MAX_LEARNED
        and all(isinstance(entry, dict) and all(map(_is_number, entry.values())) for entry in v)
    ),
)

# A mapping describes an object with exactly these fields; the key `...` allows any other fields.
Shape = Mapping[str | EllipsisType, Any]
QUALITY: Shape = {
    "fp32_bits_per_byte": NON_NEGATIVE,
    "bits_per_byte": NON_NEGATIVE,
    "change_percent": NUMBER,
    "kl_nats": NUMBER,
    "top1_agreement": NON_NEGATIVE,
    "tokens": NON_NEGATIVE_INTEGER,
    "bytes": NON_NEGATIVE_INTEGER,
    ...: ANYTHING,
}
MANIFEST: Shape = {
    "schema": _equal_to(MANIFEST_SCHEMA),
    "created": UTC_TIME,  # present if SOURCE_DATE_EPOCH was set
    "tinyedge": NON_EMPTY_STRING,
    "model_id": MODEL_ID,  # earlier versions did not write it
    "model": {field.name: NON_NEGATIVE_INTEGER for field in dataclasses.fields(ModelConfig)},
    "parameters": NON_NEGATIVE_INTEGER,
    "tokenizer": {
        "sha256": DIGEST,
        "vocab_size": NON_NEGATIVE_INTEGER,
        **{k: _equal_to(v) for k, v in SPECIAL_IDS.items()},
    },
    "precision": FieldSpec("'int8' or 'fp32'", lambda value: value in ("int8", "fp32")),
    "quantization": ANYTHING,  # depends on the precision, see QUANTIZATION
    "target": NON_EMPTY_STRING,
    "budgets": {"max_rss_mb": POSITIVE, "max_peak_mb": POSITIVE, "max_p95_ms": POSITIVE},
    "parity": {
        "prompts": NON_NEGATIVE_INTEGER,
        "max_abs_logit_difference": NON_NEGATIVE,
        "greedy_tokens_equal": BOOLEAN,
        "tokens_compared": NON_NEGATIVE_INTEGER,
        ...: ANYTHING,
    },
    "quality": {...: QUALITY},
    "openings": {...: OPENING_LIST},
    "chat": {"template": _equal_to(TURNS_TEMPLATE), "turns": NON_NEGATIVE_INTEGER},
    "training": {"checkpoint_sha256": DIGEST, ...: ANYTHING},
    "files": {
        name: {"size": NON_NEGATIVE_INTEGER, "sha256": DIGEST, "blake2b": DIGEST} for name in MAX_BYTES
    },
    "learned": LEARNED_LIST,  # what each `tinyedge learn` taught the n-grams
    "ngrams": {"size": NON_NEGATIVE_INTEGER, "root": DIGEST},  # of NGRAMS_FILE: present if that is
}
# Fields that a manifest may lack; earlier versions did not write blake2b.
_DIGESTS = tuple(f"files.{name}.blake2b" for name in MAX_BYTES)
OPTIONAL = frozenset(
    {"created", "model_id", "openings", "chat", "chat.turns", "learned", "ngrams", *_DIGESTS}
)
MIXED_BITS = "mixed_bits_per_byte"  # in `quality`: of the model with its n-grams; `bits_per_byte` is without
QUANTIZATION: Mapping[str, Any] = {
    "int8": {"method": NON_EMPTY_STRING, "per_channel": BOOLEAN, "kept_fp32": STRING_LIST, ...: ANYTHING},
    "fp32": _equal_to(None),
}


def check_manifest(manifest: Mapping[str, Any], path: Path) -> ModelConfig:
    """Validate a manifest against its schema and check that its fields are consistent.

    Args:
        manifest: What `parse_manifest` returned.
        path: Path of the file, for the error message.

    Returns:
        The model's config.

    Raises:
        BundleError: A field is missing, unknown, invalid or contradicts another field.
    """
    schema = manifest.get("schema")
    if schema != MANIFEST_SCHEMA:
        raise BundleError(
            f"{path} has schema {format_untrusted(schema)}, this version reads {MANIFEST_SCHEMA!r}",
            "export the bundle again with this version, or install the tinyedge that made it",
        )
    try:
        _check_shape(manifest, MANIFEST, "")
        _check_shape(manifest["quantization"], QUANTIZATION[manifest["precision"]], "quantization")
        if unmeasured := manifest.get("openings", {}).keys() - manifest["quality"].keys():
            raise ValueError(f"openings has {format_untrusted(min(unmeasured))}, which quality has not")
        for name, row in manifest["quality"].items():
            _check_shape(row.get(MIXED_BITS, 0), NON_NEGATIVE, f"quality.{name}.{MIXED_BITS}")
        config = ModelConfig.from_dict(manifest["model"])
        _check_equal("parameters", manifest["parameters"], "model", config.parameters)
        _check_equal("tokenizer.vocab_size", manifest["tokenizer"]["vocab_size"], "model", config.vocab_size)
        listed = manifest["files"][TOKENIZER_FILE]["sha256"]
        _check_equal("tokenizer.sha256", manifest["tokenizer"]["sha256"], f"files.{TOKENIZER_FILE}", listed)
    except (ValueError, UsageError) as failure:
        raise BundleError(f"{path}: {failure}", EXPORT_AGAIN) from None
    return config


def _check_shape(value: Any, shape: Any, where: str) -> None:
    """Raise ValueError that names the first field of `value` that does not match `shape`."""
    if isinstance(shape, FieldSpec):
        if not shape.accepts(value):
            raise ValueError(f"{where} is {format_untrusted(value)}, expected {shape.expected}")
        return
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {format_untrusted(value)}, expected an object")
    inside = f"{where}." if where else ""
    for name in shape:
        if name is not ... and name not in value and f"{inside}{name}" not in OPTIONAL:
            raise ValueError(f"{inside}{name} is missing")
    for name, part in value.items():
        if name not in shape and ... not in shape:
            raise ValueError(f"{inside}{format_untrusted(name)} is not a field of {MANIFEST_SCHEMA}")
        _check_shape(part, shape.get(name, shape.get(...)), f"{inside}{name}")


def _check_equal(field: str, value: Any, source: str, expected: Any) -> None:
    """Raise ValueError unless a field has the value that follows from field `source`."""
    if value != expected:
        raise ValueError(
            f"{field} is {format_untrusted(value)}, {source} requires {format_untrusted(expected)}"
        )


def format_untrusted(value: Any) -> str:
    """Format a value from an untrusted file in at most 80 printable ASCII characters."""
    text = "an object" if isinstance(value, dict) else ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."
