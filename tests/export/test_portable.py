"""The portable folder: the names that other tools expect, standard operators, torch's logits, our ids."""

import itertools
import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("torch", reason="export needs tinyedge[train]")
pytest.importorskip("onnx", reason="export needs tinyedge[train]")

import onnx
import onnxruntime
import torch

from tinyedge.cli.export import export
from tinyedge.core import files
from tinyedge.core.errors import CheckpointError, ExportError, UsageError
from tinyedge.corpus.phrasebook import generate_documents
from tinyedge.export.onnx_model import OPSET, check_onnx
from tinyedge.export.parity import PROMPTS, Parity
from tinyedge.export.portable import export as portable
from tinyedge.export.portable.export import MODEL_FILE, TOP_FILES, export_portable, write_folder
from tinyedge.export.portable.graph import build_portable_graph
from tinyedge.export.portable.opt_layout import (
    build_genai_config,
    build_generation_config,
    build_opt_config,
    convert_to_opt,
)
from tinyedge.export.portable.safetensors import serialize_safetensors
from tinyedge.export.portable.tokenizer import (
    SCHEMA,
    build_tokenizer_config,
    build_tokenizer_json,
    parse_vocabulary,
)
from tinyedge.text.tokenizer import BOS_ID, Tokenizer
from tinyedge.train.storage.checkpoint import load_model

if TYPE_CHECKING:
    from tinyedge.train.model import TinyTransformer

Floats = npt.NDArray[np.float32]

UNUSUAL_TEXTS = (
    "",
    "   ",
    "  two  spaces, three   spaces ",
    "a\tb\n c\n",
    "\u00a0no break\u00a0",
    "cafe\u0301 man\u0303ana",  # not NFC
    "①ﬁ日本語🙂 x",
    "a \u2581 b \u2581",
    "\x00",
)


@pytest.fixture(scope="module")
def portable_graph(model: "TinyTransformer") -> bytes:
    return build_portable_graph(convert_to_opt(model), model.config)


def run_graph(
    graph: bytes, rows: list[list[int]], parts: list[int], pads: list[int]
) -> tuple[Floats, dict[str, Floats]]:
    """Logits (B, T, V) of ids fed in parts, and the last outputs. pads: padding before each text."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    ids = np.array(rows)
    mask = np.array([[0] * pad + [1] * (ids.shape[1] - pad) for pad in pads])
    positions = np.where(mask, mask.cumsum(1) - 1, -1)  # as Optimum makes them for an OPT
    cache = {
        node.name: np.zeros((len(rows), node.shape[1], 0, node.shape[3]), dtype=np.float32)
        for node in session.get_inputs()
        if node.name.startswith("past")
    }
    logits, end = [], 0
    for part in parts:
        start, end = end, end + part
        feed = {
            "input_ids": ids[:, start:end],
            "attention_mask": mask[:, :end],
            "position_ids": positions[:, start:end],
        }
        found = dict(zip(names, session.run(None, feed | cache), strict=True))
        cache = {name: found[name.replace("past_key_values", "present")] for name in cache}
        logits.append(found["logits"])
    return np.concatenate(logits, axis=1), found


def compute_torch_logits(model: "TinyTransformer", tokens: list[int]) -> Floats:
    with torch.no_grad():
        logits: Floats = model(torch.tensor([tokens]))[0].numpy()
    return logits


def draw_tokens(count: int, seed: int = 0) -> list[int]:
    tokens: list[int] = np.random.default_rng(seed).integers(1000, size=count).tolist()
    return tokens


def test_inputs_and_outputs_have_hugging_faces_names(portable_graph: bytes) -> None:
    parsed = onnx.load_model_from_string(portable_graph).graph
    described = [
        (tensor.name, kind.elem_type, [axis.dim_param or axis.dim_value for axis in kind.shape.dim])
        for tensor in (*parsed.input, *parsed.output)
        for kind in [tensor.type.tensor_type]
    ]
    integers, floats = onnx.TensorProto.INT64, onnx.TensorProto.FLOAT
    names = [f"{layer}.{part}" for layer in (0, 1) for part in ("key", "value")]
    past, total = "past_sequence_length", "past_sequence_length + sequence_length"
    assert described == [
        ("input_ids", integers, ["batch_size", "sequence_length"]),
        ("attention_mask", integers, ["batch_size", total]),
        ("position_ids", integers, ["batch_size", "sequence_length"]),
        *((f"past_key_values.{name}", floats, ["batch_size", 4, past, 16]) for name in names),
        ("logits", floats, ["batch_size", "sequence_length", 1000]),
        *((f"present.{name}", floats, ["batch_size", 4, total, 16]) for name in names),
    ]


def test_every_operator_is_onnxs_own(portable_graph: bytes) -> None:
    check_onnx(portable_graph)
    parsed = onnx.load_model_from_string(portable_graph)
    assert [(opset.domain, opset.version) for opset in parsed.opset_import] == [("", OPSET)]
    assert parsed.ir_version == 9  # ONNX Runtime 1.17 refuses a newer one
    assert {node.domain for node in parsed.graph.node} == {""}
    assert all(onnx.defs.has(node.op_type, OPSET) for node in parsed.graph.node)
    assert not any(tensor.external_data for tensor in parsed.graph.initializer)


def test_every_slice_to_the_end_uses_the_usual_number(portable_graph: bytes) -> None:
    """Other engines compare with this number, and read any other as a position."""
    graph = onnx.load_model_from_string(portable_graph).graph
    values = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    ends = [values[node.input[2]].tolist() for node in graph.node if node.op_type == "Slice"]
    assert ends == [[2**63 - 1]]


@pytest.mark.parametrize("parts", [[32], [1] * 32, [5, 9, 1, 17], [31, 1]])
def test_every_split_of_past_and_new_tokens_gives_torchs_logits(
    model: "TinyTransformer", portable_graph: bytes, parts: list[int]
) -> None:
    tokens = draw_tokens(32)
    found, last = run_graph(portable_graph, [tokens], parts, [0])
    expected = compute_torch_logits(model, tokens)
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    assert last["present.1.value"].shape == (1, 4, 32, 16)


def test_texts_of_a_batch_do_not_see_each_others_padding(
    model: "TinyTransformer", portable_graph: bytes
) -> None:
    short, long = draw_tokens(7), draw_tokens(20, seed=1)
    found, _ = run_graph(portable_graph, [[2] * 13 + short, long], [15, 1, 4], [13, 0])
    assert np.isfinite(found).all()
    for row, tokens in ((found[0, 13:], short), (found[1], long)):
        expected = compute_torch_logits(model, tokens)
        np.testing.assert_allclose(row, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    "shape",
    [
        {"num_layers": 1, "nhead": 2, "max_seq_length": 33},
        {"num_layers": 3, "d_model": 99, "nhead": 3, "dim_feedforward": 200},
        {"num_layers": 6, "nhead": 8, "d_model": 128, "max_seq_length": 512},
    ],
)
def test_other_shapes_export_and_agree(
    shape: dict[str, int], make_model: "Callable[..., TinyTransformer]"
) -> None:
    model = make_model(**shape)
    tokens = draw_tokens(model.config.max_seq_length)
    expected = compute_torch_logits(model, tokens)
    found, _ = run_graph(
        build_portable_graph(convert_to_opt(model), model.config), [tokens], [len(tokens)], [0]
    )
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_beyond_the_context_there_is_an_error_and_no_answer(portable_graph: bytes) -> None:
    with pytest.raises(Exception, match="out of"):
        run_graph(portable_graph, [draw_tokens(33)], [33], [0])


def test_same_weights_give_the_same_bytes_and_no_traces(
    model: "TinyTransformer", portable_graph: bytes, strip_weights: Callable[[bytes], bytes]
) -> None:
    assert build_portable_graph(convert_to_opt(model), model.config) == portable_graph
    for trace in (b"site-packages", b".py", b"torch", b"/home"):
        assert trace not in strip_weights(portable_graph)


def read_safetensors(data: bytes) -> tuple[dict[str, Any], dict[str, Floats]]:
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    metadata = header.pop("__metadata__")
    numbers = data[8 + size :]
    return metadata, {
        name: np.frombuffer(numbers[slice(*entry["data_offsets"])], dtype="<f4").reshape(entry["shape"])
        for name, entry in header.items()
    }


def test_weights_have_opts_names_and_shapes(model: "TinyTransformer") -> None:
    data = serialize_safetensors(convert_to_opt(model))
    metadata, tensors = read_safetensors(data)
    assert metadata == {"format": "pt"}
    assert int.from_bytes(data[:8], "little") % 8 == 0
    width, inner = 64, 128
    block = {
        **{f"self_attn.{part}_proj.weight": (width, width) for part in ("q", "k", "v", "out")},
        **{
            f"{norm}.{part}": (width,)
            for norm in ("self_attn_layer_norm", "final_layer_norm")
            for part in ("weight", "bias")
        },
        "fc1.weight": (inner, width),
        "fc2.weight": (width, inner),
    }
    assert {name: value.shape for name, value in tensors.items()} == {
        "model.decoder.embed_tokens.weight": (1000, width),
        "model.decoder.embed_positions.weight": (32 + 2, width),
        "lm_head.weight": (1000, width),
        **{
            f"model.decoder.layers.{layer}.{name}": shape for layer in (0, 1) for name, shape in block.items()
        },
    }
    own = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    positions = tensors["model.decoder.embed_positions.weight"]
    np.testing.assert_array_equal(positions[2:], own["position_embedding.weight"])
    parts = [tensors[f"model.decoder.layers.1.self_attn.{part}_proj.weight"] for part in "qkv"]
    np.testing.assert_array_equal(np.concatenate(parts), own["blocks.1.attention.qkv.weight"])
    assert sum(value.size for value in tensors.values()) == model.config.parameters + 2 * width


def test_configurations_say_the_shape(model: "TinyTransformer") -> None:
    config = build_opt_config(model.config)
    assert (config["model_type"], config["architectures"]) == ("opt", ["OPTForCausalLM"])
    assert (config["vocab_size"], config["hidden_size"], config["word_embed_proj_dim"]) == (1000, 64, 64)
    assert (config["num_hidden_layers"], config["num_attention_heads"], config["ffn_dim"]) == (2, 4, 128)
    assert config["max_position_embeddings"] == 32
    assert config["activation_function"] == "gelu"
    for flag in ("do_layer_norm_before", "enable_bias", "tie_word_embeddings"):
        assert config[flag] is False
    special = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    for described in (
        config,
        build_generation_config(model.config),
        build_genai_config(model.config, "x")["model"],
    ):
        assert special.items() <= described.items()
    generation = build_generation_config(model.config)
    assert (generation["max_length"], generation["temperature"], generation["top_k"]) == (32, 0.8, 40)
    assert generation["top_p"] == 0.9
    assert generation["bad_words_ids"] == [[0], [2], [3]]


def test_genai_is_told_the_names_in_the_graph(model: "TinyTransformer", portable_graph: bytes) -> None:
    parsed = onnx.load_model_from_string(portable_graph).graph
    config = build_genai_config(model.config, MODEL_FILE)["model"]
    decoder = config["decoder"]
    assert decoder["filename"] == MODEL_FILE
    assert (decoder["head_size"], decoder["num_key_value_heads"], config["context_length"]) == (16, 4, 32)
    for tensors, names in ((parsed.input, decoder["inputs"]), (parsed.output, decoder["outputs"])):
        spelled = {
            name % layer if "%d" in name else name
            for name in names.values()
            for layer in range(decoder["num_hidden_layers"])
        }
        assert spelled == {tensor.name for tensor in tensors}


class UnigramTokenizer:
    """The tokenizers library's reading of a `tokenizer.json`, as far as ours goes; slow and plain."""

    def __init__(self, description: dict[str, Any]) -> None:
        self.description = description
        model = description["model"]
        assert (model["type"], model["unk_id"]) == ("Unigram", 3)
        self.scores = {piece: (score, token) for token, (piece, score) in enumerate(model["vocab"])}
        self.unknown = min(score for _, score in model["vocab"]) - 10

    def encode(self, text: str) -> list[int]:
        return [*self.before(), *(token for word in self.words(text) for token in self.cut(word))]

    def before(self) -> Iterator[int]:
        for part in self.description["post_processor"]["single"]:
            if "SpecialToken" in part:
                special = self.description["post_processor"]["special_tokens"]
                yield from special[part["SpecialToken"]["id"]]["ids"]

    def words(self, text: str) -> list[str]:
        for step in self.description["normalizer"]["normalizers"]:
            if step["type"] == "NFC":
                text = unicodedata.normalize("NFC", text)
            else:
                assert step["type"] == "Replace"
                text = re.sub(step["pattern"]["Regex"], step["content"], text)
        pre = self.description["pre_tokenizer"]
        assert (pre["type"], pre["prepend_scheme"], pre["split"]) == ("Metaspace", "always", True)
        space = pre["replacement"]
        if not text:
            return []
        text = text.replace(" ", space)
        return re.findall(f"{space}[^{space}]*", text if text.startswith(space) else space + text)

    def cut(self, word: str) -> list[int]:
        best: list[tuple[float, list[int]]] = [(0.0, [])]
        for end in range(1, len(word) + 1):
            ways = []
            for start in range(end):
                score, tokens = best[start]
                found = self.scores.get(word[start:end])
                if found:
                    ways.append((score + found[0], [*tokens, found[1]]))
                elif end - start == 1:
                    ways.append((score + self.unknown, [*tokens, -1 - ord(word[start])]))
            best.append(max(ways, key=lambda way: way[0]))
        return list(self.spelled(best[-1][1]))

    def spelled(self, tokens: list[int]) -> Iterator[int]:
        for place, token in enumerate(tokens):
            if token >= 0:
                yield token
            elif self.description["model"]["byte_fallback"]:
                yield from (self.scores[f"<0x{byte:02X}>"][1] for byte in chr(-1 - token).encode())
            elif place == 0 or tokens[place - 1] >= 0:
                yield 3


@pytest.mark.parametrize("has_byte_fallback", [False, True])
def test_tokenizer_json_gives_our_ids_after_bos(
    has_byte_fallback: bool, micro_bundle: Path, byte_fallback_model: bytes
) -> None:
    model = byte_fallback_model if has_byte_fallback else (micro_bundle / "tokenizer.model").read_bytes()
    ours, theirs = Tokenizer(model), UnigramTokenizer(build_tokenizer_json(parse_vocabulary(model)))
    documents = itertools.islice(generate_documents(seed=1), 40)
    lines = [line for document in documents for line in document.sentences]
    texts = [*lines, *PROMPTS, *UNUSUAL_TEXTS]
    assert theirs.description["model"]["byte_fallback"] is has_byte_fallback
    for text in texts:
        assert theirs.encode(text) == [BOS_ID, *ours.encode(text)], text


def test_special_tokens_have_their_roles(model: "TinyTransformer", micro_bundle: Path) -> None:
    parsed = parse_vocabulary((micro_bundle / "tokenizer.model").read_bytes())
    config = build_tokenizer_config(parsed, model.config)
    roles = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    assert roles.items() <= config.items()
    assert (config["padding_side"], config["model_max_length"]) == ("left", 32)
    added = build_tokenizer_json(parsed)["added_tokens"]
    assert [(token["id"], token["content"], token["special"]) for token in added] == [
        (number, piece, True) for number, piece in enumerate(roles.values())
    ]


def test_another_kind_of_vocabulary_is_refused(micro_bundle: Path) -> None:
    parsed = SCHEMA.ModelProto.FromString((micro_bundle / "tokenizer.model").read_bytes())
    parsed.normalizer_spec.remove_extra_whitespaces = False
    with pytest.raises(ExportError, match="normalization"):
        parse_vocabulary(parsed.SerializeToString())


def ignore_report(line: str) -> None:
    """A `report` callback that does nothing."""


def read_files(folder: Path) -> dict[str, bytes]:
    return {
        part.relative_to(folder).as_posix(): part.read_bytes() for part in folder.rglob("*") if part.is_file()
    }


def test_folder_is_whole_and_replaces_an_older_one(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "portable"
    lines: list[str] = []
    model_id, parity = export_portable(run.checkpoint, folder, None, lines.append)
    assert [line.split()[0] for line in lines] == ["1/4", "2/4", "3/4", "4/4"]
    assert parity.max_abs_logit_difference < 1e-4
    first = read_files(folder)
    assert set(first) == {*TOP_FILES, MODEL_FILE}
    for name, data in first.items():
        if name.endswith(".json"):
            assert isinstance(json.loads(data), dict)
    assert json.loads(first["config.json"])["tinyedge_model_id"] == model_id
    assert f"Model `{model_id}`" in first["README.md"].decode()
    trained = load_model(run.checkpoint).model
    _, tensors = read_safetensors(first["model.safetensors"])
    np.testing.assert_array_equal(tensors["lm_head.weight"], trained.state_dict()["output.weight"])
    monkeypatch.setattr(portable, "check_parity", lambda *given: parity)  # once is enough
    (folder / "README.md").write_text("a model of somebody else")
    with pytest.raises(ExportError, match=r"is not a portable model: it has 'README\.md'"):
        export_portable(run.checkpoint, folder, None, ignore_report)
    (folder / "README.md").write_text("an older card of tinyedge")
    export_portable(run.checkpoint, folder, None, ignore_report)
    assert read_files(folder) == first
    assert [path.name for path in tmp_path.iterdir()] == ["portable"]


def test_a_graph_that_is_not_the_model_is_not_written(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bent(model: "TinyTransformer") -> dict[str, Floats]:
        tensors = convert_to_opt(model)
        tensors["lm_head.weight"] = np.roll(tensors["lm_head.weight"], 1, axis=0)
        return tensors

    monkeypatch.setattr(portable, "convert_to_opt", bent)
    with pytest.raises(ExportError, match="the portable graph differs from the model"):
        export_portable(run.checkpoint, tmp_path / "portable", None, ignore_report)
    assert not list(tmp_path.iterdir())


def test_what_is_not_ours_is_not_replaced(run: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "config.json").write_text("{}")
    for odd, words in ((tmp_path, "notes.txt"), (tmp_path / "notes.txt", "not a folder")):
        with pytest.raises(ExportError, match=words) as refusal:
            export_portable(run.checkpoint, odd, None, ignore_report)
        assert "--portable" in refusal.value.hint
    (tmp_path / "notes.txt").unlink()
    with pytest.raises(ExportError, match=r"config\.json"):
        export_portable(run.checkpoint, tmp_path, None, ignore_report)
    (tmp_path / "genai_config.json").write_text("{}")  # a model that onnxruntime-genai made
    with pytest.raises(ExportError, match=r"config\.json"):
        export_portable(run.checkpoint, tmp_path, None, ignore_report)
    with pytest.raises(CheckpointError):
        export_portable(tmp_path / "none.pt", tmp_path / "new", None, ignore_report)
    assert sorted(read_files(tmp_path)) == ["config.json", "genai_config.json"]


def test_a_write_that_fails_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "portable"
    old = {"genai_config.json": b"{}", "README.md": b"# A tinyedge model\n", MODEL_FILE: b"old"}
    write_folder(folder, old)

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(files, "write_bytes", full)
    with pytest.raises(ExportError, match="No space left"):
        write_folder(folder, {**old, MODEL_FILE: b"new"})
    assert read_files(folder) == old
    assert [path.name for path in tmp_path.iterdir()] == ["portable"]


def test_command_writes_the_folder_alone(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(portable, "check_parity", lambda *given: Parity(1, 1, 0.0, 1, 0))
    export(run.checkpoint, portable=Path("mine"))
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 4
    assert MODEL_FILE in out
    export(run.checkpoint, portable=Path("mine"), json="-")
    result = json.loads(capsys.readouterr().out)
    assert (result["schema"], result["portable"]) == ("tinyedge.portable/1", "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    "flags", [{"quantize": "none"}, {"output_dir": Path("b")}, {"text": ["en=a"]}, {"max_quality_loss": 0.0}]
)
def test_flags_of_a_bundle_are_refused_beside_portable(flags: dict[str, Any]) -> None:
    name = "--" + next(iter(flags)).replace("_", "-")
    with pytest.raises(UsageError, match=f"{name} applies to a bundle"):
        export(portable=Path("mine"), **flags)
