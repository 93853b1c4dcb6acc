"""The portable folder's `README.md`, for the Hugging Face Hub."""

from tinyedge.core.config import ModelConfig
from tinyedge.export.parity import Parity


def render_portable_card(config: ModelConfig, parity: Parity, model_id: str) -> str:
    """Render what the model is, how to load it, and what was checked."""
    return f"""---
pipeline_tag: text-generation
library_name: transformers
---
# A tinyedge model

Model `{model_id}`: {config.parameters:,} parameters, {config.vocab_size:,} pieces, a context of \
{config.max_seq_length} tokens, fp32. It completes a sentence in the manner of
what it was trained on; it knows nothing else. The architecture is OPT's with post-norm and without biases.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer, model = AutoTokenizer.from_pretrained("."), AutoModelForCausalLM.from_pretrained(".")
tokens = model.generate(**tokenizer("The old man", return_tensors="pt"), max_new_tokens=20)
print(tokenizer.decode(tokens[0], skip_special_tokens=True))
```

`onnx/model.onnx` is the same model in standard ONNX operators: for Optimum's `ORTModelForCausalLM`, for
transformers.js, and, with `genai_config.json`, for onnxruntime-genai. ONNX Runtime's Python package sends
usage data by default: set `ORT_DISABLE_TELEMETRY=1` before Python imports it.

When it was exported, ONNX Runtime's logits were within {parity.max_abs_logit_difference:.1e} of the trained \
model's at {parity.positions:,} positions, and
{parity.tokens_compared:,} greedy tokens were equal.
"""
