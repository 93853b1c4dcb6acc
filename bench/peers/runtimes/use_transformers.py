"""transformers with torch: `generate` with a streamer."""

from typing import Any

import protocol
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.generation.streamers import BaseStreamer


class Emitter(BaseStreamer):
    """Passes each new token on as text; ignores the prompt, which comes first."""

    def __init__(self, tokenizer: Any, emit: "protocol.Emit") -> None:
        """Store the tokenizer, and the function that receives the text of a token."""
        self._tokenizer = tokenizer
        self._emit = emit
        self._started = False

    def put(self, value: Any) -> None:
        """Receive token ids: the prompt first, then one new token at a time."""
        if self._started:
            self._emit(self._tokenizer.decode(value))
        self._started = True

    def end(self) -> None:
        """Do nothing: no text is held back."""


def load(request: "protocol.JsonObject") -> "protocol.Generate":
    """Load a folder that `save_pretrained` wrote."""
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(request["model"])
    model = AutoModelForCausalLM.from_pretrained(request["model"])
    model.generation_config.eos_token_id = None

    def generate(seed: int, emit: "protocol.Emit") -> None:
        torch.manual_seed(seed)
        prompt = torch.tensor([[request["bos_id"], *tokenizer.encode(request["prompt"])]])
        with torch.inference_mode():
            model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=request["tokens"],
                do_sample=True,
                top_k=request["top_k"],
                temperature=request["temperature"],
                streamer=Emitter(tokenizer, emit),
            )

    return generate


if __name__ == "__main__":
    protocol.serve(load)
