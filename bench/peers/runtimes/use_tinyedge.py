"""tinyedge's library; the cold start is measured with the command `tinyedge generate`."""

import protocol

from tinyedge.runtime import Generator, SamplingConfig


def load(request: "protocol.JsonObject") -> "protocol.Generate":
    """Load a bundle."""
    generator = Generator.load(request["model"], threads=1)

    def generate(seed: int, emit: "protocol.Emit") -> None:
        sampling = SamplingConfig(
            temperature=request["temperature"], top_k=request["top_k"], top_p=1.0, seed=seed
        )
        for piece in generator.stream(
            request["prompt"], max_tokens=request["tokens"], sampling=sampling, ignore_eos=True
        ):
            emit(piece.text)

    return generate


if __name__ == "__main__":
    protocol.serve(load)
