"""llama.cpp, by the wheel of xllamacpp: its server's engine in this process, with one slot, no HTTP asked.

The engine hands each token over as a dictionary; so its own count of the decoding, in C++ and with sampling,
is taken where it is the faster one.
"""

import protocol
import xllamacpp


def load(request):
    """A GGUF file."""
    params = xllamacpp.CommonParams()
    params.model.path = request["model"]
    params.n_ctx = request["context"]
    params.n_parallel = 1
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.fit_params = params.ui = params.warmup = False  # what a cold start would pay for
    params.verbosity = -1
    server = xllamacpp.Server(params)

    def generate(seed, emit):
        own = []

        def took(step):
            if timings := step.get("timings"):
                own.append(timings["predicted_per_second"])
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
            took,
        )
        return own[-1] if own else None

    return generate


if __name__ == "__main__":
    protocol.serve(load)
