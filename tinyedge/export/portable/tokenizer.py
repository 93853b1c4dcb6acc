"""A SentencePiece vocabulary as JSON: `tokenizer.json` of the tokenizers library, and related files.

In: the bytes of a `.model`. Out: JSON values. They give the ids of tinyedge's own Tokenizer, after BOS: NFC,
repeated spaces become one, spaces at both ends are removed, each word starts with its space, and is split
into its most likely pieces.
"""

from collections.abc import Mapping
from typing import Any

from sentencepiece import sentencepiece_model_pb2

from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import ExportError
from tinyedge.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, UNK_ID, WORD_BOUNDARY

SCHEMA: Any = sentencepiece_model_pb2  # creates its classes on import, so a type checker does not see them
ROLES = {"bos_token": BOS_ID, "eos_token": EOS_ID, "pad_token": PAD_ID, "unk_token": UNK_ID}
# At the ends of the text, not of a line; the readers of this file differ in the meaning of ^ and $.
SPACES_AT_START, SPACES_AT_END = r"(?<![\s\S]) +", rf"[ {WORD_BOUNDARY}]+(?![\s\S])"


def parse_vocabulary(model: bytes) -> Any:
    """Parse a valid `.model`. Raises ExportError if tinyedge does not train models of its kind."""
    parsed = SCHEMA.ModelProto.FromString(model)
    trained, normalizer = parsed.trainer_spec, parsed.normalizer_spec
    is_supported = (
        trained.model_type == trained.UNIGRAM
        and not normalizer.precompiled_charsmap
        and normalizer.add_dummy_prefix
        and normalizer.remove_extra_whitespaces
        and normalizer.escape_whitespaces
        and not trained.treat_whitespace_as_suffix
    )
    if not is_supported:
        raise ExportError(
            "the tokenizer is not a unigram vocabulary with tinyedge's normalization",
            "--portable accepts tokenizers of `tinyedge tokenizer`",
        )
    return parsed


def build_tokenizer_json(parsed: Any) -> dict[str, Any]:
    """Build `tokenizer.json` for tokenizers, transformers, transformers.js and onnxruntime-genai."""
    kinds = SCHEMA.ModelProto.SentencePiece
    lowest = min(piece.score for piece in parsed.pieces if piece.type == kinds.NORMAL)
    # Byte pieces only spell unknown characters; they are not part of a word's segmentation. onnxruntime-genai
    # treats them as ordinary pieces, so they get the lowest score and are never the most likely.
    vocabulary = [
        [piece.piece, lowest if piece.type == kinds.BYTE else piece.score] for piece in parsed.pieces
    ]
    metaspace = {"type": "Metaspace", "replacement": WORD_BOUNDARY, "prepend_scheme": "always", "split": True}
    has_byte_fallback = bool(parsed.trainer_spec.byte_fallback)
    bos = parsed.pieces[BOS_ID].piece
    first = {"SpecialToken": {"id": bos, "type_id": 0}}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_describe_special_token(parsed, token) for token in sorted(ROLES.values())],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "NFC"},
                _make_replace_step(SPACES_AT_START, ""),
                _make_replace_step(SPACES_AT_END, ""),
                _make_replace_step(" {2,}", " "),
            ],
        },
        "pre_tokenizer": metaspace,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [first, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [first, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {bos: {"id": bos, "ids": [BOS_ID], "tokens": [bos]}},
        },
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, metaspace]}
        if has_byte_fallback
        else metaspace,
        "model": {
            "type": "Unigram",
            "unk_id": UNK_ID,
            "vocab": vocabulary,
            "byte_fallback": has_byte_fallback,
        },
    }


def build_tokenizer_config(parsed: Any, config: ModelConfig) -> dict[str, Any]:
    """Build `tokenizer_config.json`, with which transformers wraps `tokenizer.json`."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **build_special_tokens_map(parsed),
        "add_bos_token": True,
        "add_eos_token": False,
        "added_tokens_decoder": {
            str(token): {k: v for k, v in _describe_special_token(parsed, token).items() if k != "id"}
            for token in sorted(ROLES.values())
        },
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": config.max_seq_length,
        "padding_side": "left",
    }


def build_special_tokens_map(parsed: Any) -> Mapping[str, str]:
    """Build `special_tokens_map.json`."""
    return {role: parsed.pieces[token].piece for role, token in ROLES.items()}


def build_genai_tokenizer_config() -> dict[str, Any]:
    """Build `tokenizer_module.json`: onnxruntime-genai selects its algorithm by the name of a class.

    There it overrides `tokenizer_config.json`; no other tool reads it.
    """
    return {"tokenizer_class": "XLMRobertaTokenizer", "add_bos_token": True, "add_eos_token": False}


def _describe_special_token(parsed: Any, token: int) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token, "content": parsed.pieces[token].piece, **flags, "special": True}


def _make_replace_step(pattern: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}
