"""onnxruntime-genai, used as in its examples."""

import onnxruntime_genai as og
import protocol

ONE_THREAD = '{"model": {"decoder": {"session_options": {"intra_op_num_threads": 1}}}}'


def load(request: "protocol.JsonObject") -> "protocol.Generate":
    """Load a folder that its model builder wrote."""
    config = og.Config(request["model"])
    config.overlay(ONE_THREAD)
    model = og.Model(config)
    tokenizer = og.Tokenizer(model)

    def generate(seed: int, emit: "protocol.Emit") -> None:
        prompt = [request["bos_id"], *tokenizer.encode(request["prompt"])]
        params = og.GeneratorParams(model)
        params.set_search_options(
            do_sample=True,
            top_k=request["top_k"],
            temperature=request["temperature"],
            max_length=len(prompt) + request["tokens"],
            random_seed=seed,
        )
        generator = og.Generator(model, params)
        stream = tokenizer.create_stream()
        generator.append_tokens(prompt)
        while not generator.is_done():
            generator.generate_next_token()
            emit(stream.decode(generator.get_next_tokens()[0]))

    return generate


if __name__ == "__main__":
    protocol.serve(load)
