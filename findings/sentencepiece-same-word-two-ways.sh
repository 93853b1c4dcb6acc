#!/usr/bin/env bash
# In a long text, SentencePiece splits the same word in two ways, in bands that return every 100,000 units of log probability.
#
# Version:   sentencepiece 0.2.3, tokenizers 0.23.3, protobuf 7.36.2, Linux x86-64.
# Guess:     words end at a space and no piece crosses it, so a word is split in the same way wherever it stands in a line.
# Reality:   the best score so far is summed in 32 bits from the start of the line. Here the second-best segmentation of "abc"
#            is worse by 0.001. From the 8,193rd word on, where the sum passes -32,768 and floats are 0.004 apart, that one
#            wins. The better one returns at word 25,001, where the sum has reached -100,000, is lost again after 8,192
#            words, and so on to the end: the search starts its sum anew there. sentencepiece 0.2.0 does not: it stays wrong.
#            tokenizers, with the same pieces and scores, splits every word alike. So two tools with one vocabulary disagree
#            on two thirds of these words, and the answer depends on how much text stands before a word.
# Output seen:
#   sentencepiece: ab c x 8192, a bc x 16808, ab c x 8192, a bc x 16809, ab c x 8191, a bc x 16809, ab c x 8191, a bc x 16808
#   tokenizers: ab c x 100000
# Exits with 0 while this is so, with 1 when it changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check sentencepiece==0.2.3 tokenizers==0.23.3 protobuf==7.36.2

"$folder/env/bin/python" - <<'PYTHON'
from itertools import groupby

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer, models

SPACE = "\u2581"  # how SentencePiece writes a space
SCORES = {"a": -1.0, "b": -1.0, "c": -1.0, SPACE: -1.0, "ab": -2.0, "bc": -2.001}
WORDS = 100_000

model = sentencepiece_model_pb2.ModelProto()
model.trainer_spec.model_type = sentencepiece_model_pb2.TrainerSpec.UNIGRAM
model.normalizer_spec.name = "identity"
model.normalizer_spec.add_dummy_prefix = False
kinds = sentencepiece_model_pb2.ModelProto.SentencePiece
for piece, kind in (("<unk>", kinds.UNKNOWN), ("<s>", kinds.CONTROL), ("</s>", kinds.CONTROL)):
    model.pieces.add(piece=piece, score=0.0, type=kind)
for piece, score in SCORES.items():
    model.pieces.add(piece=piece, score=score, type=kinds.NORMAL)
sentence_piece = sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())
other = Tokenizer(models.Unigram([("<unk>", 0.0), *SCORES.items()], 0, False))


def bands(pieces):
    """Neighbouring words that are split alike, as (segmentation, number of words)."""
    words = " ".join(pieces).split(f" {SPACE} ")
    assert len(words) == WORDS
    return [(split, len(list(group))) for split, group in groupby(words)]


line = " ".join(["abc"] * WORDS)
found = bands(sentence_piece.encode(line, out_type=str))
reference = bands(other.encode(line.replace(" ", SPACE)).tokens)
for name, seen in (("sentencepiece", found), ("tokenizers", reference)):
    print(f"{name}:", ", ".join(f"{split} x {count}" for split, count in seen))
assert [split for split, _ in found] == ["ab c", "a bc"] * 4, "the bands changed"
assert [found[0][1], sum(count for _, count in found[:2])] == [8192, 25000], "the bands have another width"
assert reference == [("ab c", WORDS)], "tokenizers splits the word in two ways, too"
PYTHON
