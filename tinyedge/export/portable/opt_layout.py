"""The model as Hugging Face's OPT (Zhang et al., 2022), which computes the same logits with these settings.

In: a TinyTransformer. Out: OPT's tensors with OPT's names, and OPT's configuration. OPT's 350M variant is
post-norm too. OPT's position table begins with two extra rows, one of them for padding.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from tinyedge.core.config import ModelConfig
from tinyedge.core.sampling import SamplingConfig
from tinyedge.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, UNK_ID
from tinyedge.train.model import TinyTransformer

Floats = npt.NDArray[np.float32]

POSITION_OFFSET = 2  # rows before position 0 in OPT's table
TOKENS, POSITIONS, OUTPUT = (
    "model.decoder.embed_tokens.weight",
    "model.decoder.embed_positions.weight",
    "lm_head.weight",
)
SPECIAL_IDS = {"bos_token_id": BOS_ID, "eos_token_id": EOS_ID, "pad_token_id": PAD_ID}
BANNED_IDS = (BOS_ID, PAD_ID, UNK_ID)  # tokens that `tinyedge generate` never generates


def layer_prefix(index: int) -> str:
    """Prefix of the names of a block's tensors."""
    return f"model.decoder.layers.{index}"


def convert_to_opt(model: TinyTransformer) -> dict[str, Floats]:
    """Convert weights to OPT's names. A matrix is (outputs, inputs), as in torch; a norm's vectors (D,)."""
    own = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    own["position_embedding.weight"] = np.pad(
        own["position_embedding.weight"], ((POSITION_OFFSET, 0), (0, 0))
    )
    names = {TOKENS: "token_embedding", POSITIONS: "position_embedding", OUTPUT: "output"}
    found = {theirs: own[f"{ours}.weight"] for theirs, ours in names.items()}
    for index in range(model.config.num_layers):
        block, prefix = f"blocks.{index}", layer_prefix(index)
        queries, keys, values = np.split(own[f"{block}.attention.qkv.weight"], 3)
        found |= {
            f"{prefix}.self_attn.q_proj.weight": queries,
            f"{prefix}.self_attn.k_proj.weight": keys,
            f"{prefix}.self_attn.v_proj.weight": values,
            f"{prefix}.self_attn.out_proj.weight": own[f"{block}.attention.out.weight"],
            f"{prefix}.fc1.weight": own[f"{block}.linear1.weight"],
            f"{prefix}.fc2.weight": own[f"{block}.linear2.weight"],
        }
        for theirs, ours in (("self_attn_layer_norm", "norm1"), ("final_layer_norm", "norm2")):
            for part in ("weight", "bias"):
                found[f"{prefix}.{theirs}.{part}"] = own[f"{block}.{ours}.{part}"]
    return {name: np.ascontiguousarray(value) for name, value in found.items()}


def build_opt_config(config: ModelConfig) -> dict[str, Any]:
    """Build `config.json`: the shape, and settings that differ from OPT's defaults."""
    return {
        "model_type": "opt",
        "architectures": ["OPTForCausalLM"],
        "vocab_size": config.vocab_size,
        "hidden_size": config.d_model,
        "word_embed_proj_dim": config.d_model,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.nhead,
        "ffn_dim": config.dim_feedforward,
        "max_position_embeddings": config.max_seq_length,
        "activation_function": "gelu",  # the exact one, by erf
        "do_layer_norm_before": False,
        "layer_norm_elementwise_affine": True,
        "enable_bias": False,
        "tie_word_embeddings": False,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "layerdrop": 0.0,
        "use_cache": True,
        **SPECIAL_IDS,
        "transformers.js_config": {"dtype": "fp32"},  # otherwise a browser requests a file with another name
    }


def build_generation_config(config: ModelConfig) -> dict[str, Any]:
    """Build `generation_config.json`: the sampling of `tinyedge generate`, up to the end of the context."""
    sampling = SamplingConfig()
    return {
        **SPECIAL_IDS,
        "max_length": config.max_seq_length,
        "do_sample": True,
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "bad_words_ids": [[token] for token in BANNED_IDS],
    }


def build_genai_config(config: ModelConfig, model_file: str) -> dict[str, Any]:
    """Build `genai_config.json` for onnxruntime-genai; `model_file` is relative to it."""
    sampling = SamplingConfig()
    return {
        "model": {
            "type": "decoder",
            "vocab_size": config.vocab_size,
            "context_length": config.max_seq_length,
            **SPECIAL_IDS,
            "decoder": {
                "filename": model_file,
                "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
                "hidden_size": config.d_model,
                "head_size": config.head_dim,
                "num_hidden_layers": config.num_layers,
                "num_attention_heads": config.nhead,
                "num_key_value_heads": config.nhead,
                "inputs": {
                    "input_ids": "input_ids",
                    "attention_mask": "attention_mask",
                    "position_ids": "position_ids",
                    "past_key_names": "past_key_values.%d.key",
                    "past_value_names": "past_key_values.%d.value",
                },
                "outputs": {
                    "logits": "logits",
                    "present_key_names": "present.%d.key",
                    "present_value_names": "present.%d.value",
                },
            },
        },
        "search": {
            "max_length": config.max_seq_length,
            "do_sample": True,
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "past_present_share_buffer": False,  # the graph returns a longer cache
        },
    }
