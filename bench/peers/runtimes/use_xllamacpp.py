"""llama.cpp through the wheel xllamacpp: its server's engine in this process, with one slot and no HTTP.

The engine passes each token to Python as a dictionary, which costs time. So its own measurement of the
decoding, in C++ and with sampling, counts if it is faster.
"""

import protocol
import xllamacpp


def load(request: "protocol.JsonObject") -> "protocol.Generate":
    """Load a GGUF file."""
    params = xllamacpp.CommonParams()
    params.model.path = request["model"]
    params.n_ctx = request["context"]
    params.n_parallel = 1
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.fit_params = params.ui = params.warmup = False  # each would make a cold start slower
    params.verbosity = -1
    server = xllamacpp.Server(params)

    def generate(seed: int, emit: "protocol.Emit") -> float | None:
        rates: list[float] = []

        def receive(step: "protocol.JsonObject") -> None:
            if timings := step.get("timings"):
                rates.append(timings["predicted_per_second"])
            else:
                emit(step["choices"][0]["text"])

        server.handle_completions(
            {
                "prompt": request["prompt"],
                "n_predict": request["tokens"],
                "samplers": ["top_k", "temperature"],
                "top_k": request["top_k"],
                "temperature": request["temperature"],
                "seed": seed,
                "ignore_eos": True,
                "cache_prompt": False,
                "stream": True,
            },
            receive,
        )
        return rates[-1] if rates else None

    return generate


if __name__ == "__main__":
    protocol.serve(load)
