"""Make one Llama with random weights in the formats of all peers: the same numbers and vocabulary.

    models.py SHAPE.json FOLDER

In: the shape and the vocabulary of a tinyedge bundle. Out: a folder `transformers`, a folder for each of
onnxruntime-genai's precisions, a file for each of llama.cpp's, and `made.json`, with the reasons of models
that could not be made. Needs torch, transformers, gguf, onnx and onnxruntime-genai.

The model is a Llama, because every peer supports it. tinyedge's model has learned positions and two
feed-forward matrices; a Llama has rotary positions and three feed-forward matrices: at the default shape
2,376,320 instead of 2,327,552 parameters.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

FloatArray = npt.NDArray[np.float32]

SEED = 4
SPACE = "▁"  # SentencePiece's symbol for a space
TOKENIZER_CLASS = "T5Tokenizer"  # the class that onnxruntime-genai reads as a unigram vocabulary
GGUF_TYPES = {"f32": gguf.GGMLQuantizationType.F32, "q8_0": gguf.GGMLQuantizationType.Q8_0}
# Names of a Llama's weights in a GGUF file, by their names in transformers.
GGUF_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def make_llama(shape: dict[str, Any]) -> LlamaForCausalLM:
    """Make the model; its weights have enough variance that greedy text is not one repeated token."""
    torch.manual_seed(SEED)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=shape["vocab_size"],
            hidden_size=shape["d_model"],
            intermediate_size=shape["dim_feedforward"],
            num_hidden_layers=shape["num_layers"],
            num_attention_heads=shape["nhead"],
            num_key_value_heads=shape["nhead"],
            max_position_embeddings=shape["max_seq_length"],
            initializer_range=0.2,
            tie_word_embeddings=False,
            bos_token_id=shape["bos_id"],
            eos_token_id=shape["eos_id"],
            pad_token_id=shape["pad_id"],
        )
    ).eval()


def make_tokenizer(shape: dict[str, Any]) -> PreTrainedTokenizerFast:
    """Convert the bundle's vocabulary for transformers and onnxruntime-genai."""
    pieces = list(zip(shape["pieces"], shape["scores"], strict=True))
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=shape["unk_id"]))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE)
    tokenizer.decoder = decoders.Metaspace(replacement=SPACE)
    special = {f"{name}_token": shape["pieces"][shape[f"{name}_id"]] for name in ("bos", "eos", "pad", "unk")}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def write_genai(source: Path, folder: Path, precision: str) -> None:
    """Convert with onnxruntime-genai's builder; its int8 has weights in blocks of 32 (MatMulNBits)."""
    subprocess.run(
        [
            sys.executable, "-m", "onnxruntime_genai.models.builder", "-m", "", "-i", source, "-o", folder,
            "-p", precision, "-e", "cpu", "-c", folder / "cache",
            # Its fastest options: activations in 8 bits too, logits of the last position only.
            "--extra_options", "accuracy_level=4", "prune_lm_head=true",
        ],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    settings = folder / "tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"tokenizer_class": TOKENIZER_CLASS}))


def write_dynamic(source: Path, folder: Path) -> None:
    """Quantize the builder's fp32 model with ONNX Runtime's dynamic quantization."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("model.onnx*"))
    quantize_dynamic(
        source / "model.onnx",
        folder / "model.onnx",
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul"],
    )


def write_gguf(model: LlamaForCausalLM, shape: dict[str, Any], path: Path, kind: str) -> None:
    """Write a GGUF file as llama.cpp's own converter does: matrices quantized, norms in fp32."""
    writer = gguf.GGUFWriter(path, "llama")
    config = model.config
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    write_vocabulary(writer, shape)
    for name, tensor in model.state_dict().items():
        values = tensor.numpy()
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            values = interleave_rows(values, config.num_attention_heads)
        quantization = GGUF_TYPES[kind] if values.ndim == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(
            convert_name(name), gguf.quants.quantize(values, quantization), raw_dtype=quantization
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_vocabulary(writer: gguf.GGUFWriter, shape: dict[str, Any]) -> None:
    """Write the bundle's pieces as a unigram vocabulary, which llama.cpp names t5."""
    special = {shape["bos_id"], shape["eos_id"], shape["pad_id"]}
    count = shape["vocab_size"]
    kinds = [gguf.TokenType.CONTROL if n in special else gguf.TokenType.NORMAL for n in range(count)]
    kinds[shape["unk_id"]] = gguf.TokenType.UNKNOWN
    writer.add_tokenizer_model("t5")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([piece.encode() for piece in shape["pieces"]])
    writer.add_token_scores(shape["scores"])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(shape["bos_id"])
    writer.add_eos_token_id(shape["eos_id"])
    writer.add_unk_token_id(shape["unk_id"])
    writer.add_pad_token_id(shape["pad_id"])
    writer.add_add_space_prefix(True)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)


def interleave_rows(weight: FloatArray, heads: int) -> FloatArray:
    """Reorder the rows of a query or key matrix for llama.cpp's rotary positions.

    The two rows of a rotated pair are neighbours in llama.cpp, and half a head apart in transformers.

    Args:
        weight: Matrix of shape (rows, columns).
        heads: Number of attention heads.
    """
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def convert_name(name: str) -> str:
    """Convert transformers' name of a weight to the name in a GGUF file."""
    stem, kind = name.rsplit(".", 1)
    if not stem.startswith("model.layers."):
        return f"{GGUF_NAMES[stem]}.{kind}"
    _, _, layer, part = stem.split(".", 3)
    return f"blk.{layer}.{GGUF_NAMES[part]}.{kind}"


def main(shape_path: Path, folder: Path) -> None:
    """Make all models."""
    shape = json.loads(shape_path.read_text())
    model = make_llama(shape)
    source = folder / "transformers"
    model.save_pretrained(source)
    make_tokenizer(shape).save_pretrained(source)
    for kind in GGUF_TYPES:
        write_gguf(model, shape, folder / f"llama-{kind}.gguf", kind)
    makers: dict[str, Callable[[], None]] = {
        "genai-fp32": lambda: write_genai(source, folder / "genai-fp32", "fp32"),
        "genai-int8": lambda: write_genai(source, folder / "genai-int8", "int8"),
        "genai-int8-dynamic": lambda: write_dynamic(folder / "genai-fp32", folder / "genai-int8-dynamic"),
    }
    failures = {}
    for name, make in makers.items():
        try:
            make()
        except subprocess.CalledProcessError as failure:
            failures[name] = (failure.stderr.strip() or str(failure)).splitlines()[-1]
        except (
            Exception
        ) as failure:  # tools of the peers raise errors of any class; the other models are still made
            failures[name] = f"{type(failure).__name__}: {failure}"
    parameters = sum(weight.numel() for weight in model.parameters())
    (folder / "made.json").write_text(json.dumps({"parameters": parameters, "failures": failures}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
