"""transformers on torch: `generate` with a streamer."""

import protocol
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.generation.streamers import BaseStreamer


class Emitter(BaseStreamer):
    """Hands each new token on as text; the prompt, which comes first, it leaves out."""

    def __init__(self, tokenizer, emit):
        self._tokenizer = tokenizer
        self._emit = emit
        self._started = False

    def put(self, value):
        if self._started:
            self._emit(self._tokenizer.decode(value))
        self._started = True

    def end(self):
        pass


def load(request):
    """A folder that `save_pretrained` made."""
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(request["model"])
    model = AutoModelForCausalLM.from_pretrained(request["model"])
    model.generation_config.eos_token_id = None

    def generate(seed, emit):
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
