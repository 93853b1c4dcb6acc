"""llama.cpp through the wheel cyllama: its functions, called from Python one token at a time."""

import cyllama.llama.llama_cpp as llama
import protocol


def load(request: "protocol.JsonObject") -> "protocol.Generate":
    """Load a GGUF file."""
    llama.disable_logging()
    llama.ggml_backend_load_all()
    model_params = llama.LlamaModelParams()
    model_params.n_gpu_layers = 0
    model = llama.LlamaModel(request["model"], model_params)
    params = llama.LlamaContextParams()
    params.n_ctx = request["context"]
    params.n_threads = params.n_threads_batch = 1
    context = llama.LlamaContext(model, params)
    vocabulary = model.get_vocab()

    def generate(seed: int, emit: "protocol.Emit") -> None:
        sampler = llama.LlamaSampler(llama.LlamaSamplerChainParams())
        sampler.add_top_k(request["top_k"])
        sampler.add_temp(request["temperature"])
        sampler.add_dist(seed)
        context.kv_cache_clear()
        tokens = vocabulary.tokenize(request["prompt"], add_special=True, parse_special=False)
        position = 0
        for _ in range(request["tokens"]):
            context.decode(llama.llama_batch_get_one(tokens, position))
            position += len(tokens)
            tokens = [sampler.sample(context, -1)]
            emit(vocabulary.token_to_piece(tokens[0], special=True))

    return generate


if __name__ == "__main__":
    protocol.serve(load)
