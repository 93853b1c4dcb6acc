"""Runs a portable model in one other engine and compares it with tinyedge. Does not import tinyedge.

    python engines.py ENGINE WORK

In: WORK/model, WORK/reference.json and WORK/reference.npz, which `bench.interop` wrote, and the engine's own
packages. Out: one line of JSON: the largest difference of a logit, greedy tokens and ids that are equal.
"""

import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Logits = Callable[[list[int]], Any]  # token ids to logits (T, V)
Encode = Callable[[str], list[int]]
MAX_ENCODED_TEXTS = 20_000


def make_inputs(work: Path, ids: list[int]) -> dict[str, Any]:
    """Return the graph's inputs for a text without a cache."""
    config = json.loads((work / "model" / "config.json").read_text())
    heads = config["num_attention_heads"]
    past = np.zeros((1, heads, 0, config["hidden_size"] // heads), np.float32)
    names = (f"past_key_values.{i}.{part}" for i in range(config["num_hidden_layers"]) for part in PARTS)
    return {
        "input_ids": np.array([ids], np.int64),
        "attention_mask": np.ones((1, len(ids)), np.int64),
        "position_ids": np.arange(len(ids), dtype=np.int64)[None],
        **dict.fromkeys(names, past),
    }


PARTS = ("key", "value")


def find_graph(work: Path) -> str:
    """Return the path of the ONNX file."""
    return str(work / "model" / "onnx" / "model.onnx")


def load_openvino(work: Path, hint: str = "f32") -> Logits:
    """OpenVINO computes in bf16 on CPUs that have it, unless it is told not to."""
    import openvino

    model = openvino.Core().compile_model(find_graph(work), "CPU", {"INFERENCE_PRECISION_HINT": hint})
    return lambda ids: model(make_inputs(work, ids))["logits"][0]


def load_openvino_default(work: Path) -> Logits:
    """OpenVINO without the hint."""
    import openvino

    model = openvino.Core().compile_model(find_graph(work), "CPU")
    return lambda ids: model(make_inputs(work, ids))["logits"][0]


def load_opencv(work: Path) -> Logits:
    """OpenCV's own engine, of its module dnn."""
    import cv2

    net = cv2.dnn.readNetFromONNX(find_graph(work), cv2.dnn.ENGINE_NEW)

    def run(ids: list[int]) -> Any:
        for name, value in make_inputs(work, ids).items():
            net.setInput(value, name)
        return net.forward("logits")[0]

    return run


def load_mnn(work: Path) -> Logits:
    """MNN, after its converter."""
    import MNN
    import MNN.expr as expr

    converted = work / "model.mnn"
    command = [str(Path(sys.executable).with_name("mnnconvert")), "-f", "ONNX", "--bizCode", "x"]
    subprocess.run(
        [*command, "--modelFile", find_graph(work), "--MNNModel", str(converted)],
        check=True,
        capture_output=True,
    )
    example = make_inputs(work, [0])
    module = MNN.nn.load_module_from_file(str(converted), list(example), ["logits"])

    def run(ids: list[int]) -> Any:
        values = make_inputs(work, ids).values()
        tensors = [
            expr.const(
                value.astype(np.int32) if value.dtype == np.int64 else value,
                value.shape,
                expr.NCHW,
                expr.int if value.dtype == np.int64 else expr.float,
            )
            for value in values
        ]
        return np.array(module.forward(tensors)[0].read())[0]

    return run


def load_iree(work: Path) -> Logits:
    """IREE: imported to MLIR and compiled for this CPU."""
    import iree.compiler
    import iree.runtime

    mlir, compiled = work / "model.mlir", work / "model.vmfb"
    tools = Path(sys.executable).parent
    subprocess.run([tools / "iree-import-onnx", find_graph(work), "-o", mlir], check=True)
    flags = ["--iree-hal-target-device=local", "--iree-hal-local-target-device-backends=llvm-cpu"]
    flags += ["--iree-llvmcpu-target-cpu=host"]
    subprocess.run([tools / "iree-compile", mlir, *flags, "-o", compiled], check=True)
    config = iree.runtime.Config("local-task")
    module = iree.runtime.load_vm_module(
        iree.runtime.VmModule.mmap(config.vm_instance, str(compiled)), config
    )

    def run(ids: list[int]) -> Any:
        return module["tinyedge"](*make_inputs(work, ids).values())[0].to_host()[0]

    return run


def load_tinygrad(work: Path) -> Logits:
    """Tinygrad's reader of ONNX. A model keeps the length of its first text, so each text loads it again."""
    from tinygrad import Tensor
    from tinygrad.nn.onnx import OnnxRunner

    def run(ids: list[int]) -> Any:
        model = OnnxRunner(find_graph(work))
        inputs = {name: Tensor(value) for name, value in make_inputs(work, ids).items()}
        return model(inputs)["logits"].numpy()[0]

    return run


def load_tract(work: Path) -> Logits:
    """Tract, in Rust, by its Python bindings."""
    import tract

    model = tract.onnx().load(find_graph(work)).into_model().into_runnable()
    return lambda ids: model.run(list(make_inputs(work, ids).values()))[0].to_numpy()[0]


def load_ctranslate2(work: Path, compute_type: str = "float32") -> Logits:
    """CTranslate2 reads the checkpoint as OPT."""
    import ctranslate2

    folder = work / f"ctranslate2-{compute_type}"
    ctranslate2.converters.TransformersConverter(str(work / "model")).convert(
        str(folder), quantization=compute_type, force=True
    )
    model = ctranslate2.Generator(str(folder), compute_type=compute_type, intra_threads=1)
    vocabulary = json.loads((folder / "vocabulary.json").read_text())

    def run(ids: list[int]) -> Any:
        tokens = [[vocabulary[token] for token in ids]]
        return np.array(model.forward_batch(tokens))[0]

    return run


def load_ctranslate2_int8(work: Path) -> Logits:
    """CTranslate2's own int8."""
    return load_ctranslate2(work, "int8")


def load_kitoken(work: Path) -> Encode:
    """Kitoken, a tokenizer in Rust. It does not add BOS."""
    import kitoken

    model = kitoken.Kitoken.from_file(str(work / "model" / "tokenizer.json"))
    bos = json.loads((work / "model" / "config.json").read_text())["bos_token_id"]
    return lambda text: [bos, *model.encode(text)]


def load_openvino_tokenizers(work: Path) -> Encode:
    """OpenVINO's tokenizer, converted from the Hugging Face one."""
    import openvino
    import openvino_tokenizers
    import transformers

    folder = work / "model"
    graph = openvino_tokenizers.convert_tokenizer(transformers.AutoTokenizer.from_pretrained(folder))
    model = openvino.Core().compile_model(graph, "CPU")
    return lambda text: model([text])["input_ids"][0].tolist()


# Name: package whose version is reported, and how to load it.
MODELS: Mapping[str, tuple[str, Callable[[Path], Logits]]] = {
    "CTranslate2": ("ctranslate2", load_ctranslate2),
    "CTranslate2 int8": ("ctranslate2", load_ctranslate2_int8),
    "OpenVINO, f32": ("openvino", load_openvino),
    "OpenVINO, default": ("openvino", load_openvino_default),
    "OpenCV": ("opencv-python-headless", load_opencv),
    "MNN": ("MNN", load_mnn),
    "IREE": ("iree-base-runtime", load_iree),
    "tinygrad": ("tinygrad", load_tinygrad),
    "tract": ("tract", load_tract),
}
TOKENIZERS: Mapping[str, tuple[str, Callable[[Path], Encode]]] = {
    "kitoken": ("kitoken", load_kitoken),
    "openvino-tokenizers": ("openvino-tokenizers", load_openvino_tokenizers),
}


def compare_model(run: Logits, work: Path) -> dict[str, Any]:
    """Compare logits with torch's, and the most likely tokens with tinyedge's."""
    reference = json.loads((work / "reference.json").read_text(encoding="utf-8"))
    expected = np.load(work / "reference.npz")
    worst, equal, tokens = 0.0, 0, 0
    for number, prompt in enumerate(reference["prompts"]):
        found = np.asarray(run([*prompt["ids"], *prompt["argmax"]]), np.float32)
        wanted = expected[str(number)]
        if found.shape != wanted.shape:
            raise ValueError(f"logits have shape {found.shape}, expected {wanted.shape}")
        scale = max(1.0, float(np.abs(wanted).max()))
        worst = max(worst, float(np.abs(found - wanted).max()) / scale)
        chosen = found[len(prompt["ids"]) - 1 : -1].argmax(axis=1).tolist()
        tokens += len(chosen)
        equal += sum(a == b for a, b in zip(chosen, prompt["argmax"], strict=True))
    return {"max_difference": worst, "greedy_equal": equal, "greedy_tokens": tokens}


def compare_tokenizer(encode: Encode, work: Path) -> dict[str, Any]:
    """Compare the ids of texts."""
    texts = json.loads((work / "reference.json").read_text(encoding="utf-8"))["texts"][:MAX_ENCODED_TEXTS]
    different = [text for text, ids in texts if list(encode(text)) != ids]
    return {"texts": len(texts), "texts_equal": len(texts) - len(different), "different": different[:5]}


def main() -> None:
    """Run one engine."""
    name, work = sys.argv[1], Path(sys.argv[2])
    package = (MODELS.get(name) or TOKENIZERS[name])[0]
    if name in MODELS:
        result = compare_model(MODELS[name][1](work), work)
    else:
        result = compare_tokenizer(TOKENIZERS[name][1](work), work)
    print(json.dumps({"engine": name, "version": importlib.metadata.version(package), **result}))


if __name__ == "__main__":
    main()
