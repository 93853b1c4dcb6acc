#!/usr/bin/env bash
# A user-defined symbol of SentencePiece is not one token for sampling and n-best: it is split, even into <unk>.
#
# Version:   sentencepiece 0.2.3, Linux x86-64, unigram and BPE models trained here.
# Guess:     user-defined symbols are one token in any text, so subword regularization never splits one, and least of all when
#            that needs characters that the vocabulary does not have.
# Reality:   plain encoding keeps the symbol. A unigram model only gives it a bonus in the search, so sampling with alpha 0.1
#            writes out "<name>" in about a quarter of the draws if the text has "<" and ">" on its own. If it has not,
#            n-best offers "<unk> n a m e <unk>", and the text of the symbol is lost. Longer symbols are split less often. BPE
#            dropout never splits one. So training on sampled segmentations shows a model its own markers as plain text.
# Output seen (the draws vary by some 40):
#   unigram encode: ▁b a <name> du
#   unigram sampled 2000 times: <name> split 562 times
#   unigram without < and >, n-best: ▁ b a <unk> n a m e <unk> d u
#   bpe encode: ▁ba <name> du
#   bpe sampled 2000 times: <name> split 0 times
# Exits with 0 while this is so, with 1 when it changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check sentencepiece==0.2.3

PYTHONIOENCODING=utf-8 "$folder/env/bin/python" - <<'PYTHON'
import io
import random

import sentencepiece

DRAWS = 2000
TEXT = "ba<name>du"

draw = random.Random(0)
syllables = [consonant + vowel for consonant in "bdgklmnprst" for vowel in "aeiou"]
words = ["".join(draw.choices(syllables, k=draw.randint(1, 3))) for _ in range(500)]
plain = [" ".join(draw.choices(words, k=10)) for _ in range(2000)]


def train(lines, model_type):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type=model_type,
        vocab_size=200,
        user_defined_symbols=["<name>"],
        num_threads=1,
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def count_split(processor):
    symbol = processor.piece_to_id("<name>")
    draws = (processor.encode(TEXT, enable_sampling=True, alpha=0.1, nbest_size=-1) for _ in range(DRAWS))
    return sum(symbol not in ids for ids in draws)


split = {}
for model_type in ("unigram", "bpe"):
    processor = train([line + " a < b > c" for line in plain], model_type)
    pieces = processor.encode(TEXT, out_type=str)
    assert "<name>" in pieces, "plain encoding splits it, too"
    split[model_type] = count_split(processor)
    print(f"{model_type} encode:", *pieces)
    print(f"{model_type} sampled {DRAWS} times: <name> split {split[model_type]} times")
    if model_type == "unigram":
        processor = train(plain, model_type)
        best = [[processor.id_to_piece(i) for i in ids] for ids in processor.nbest_encode(TEXT, nbest_size=8)]
        lost = [pieces for pieces in best if "<unk>" in pieces]
        print("unigram without < and >, n-best:", *(lost[-1] if lost else ["<name> in all"]))
        assert lost, "n-best no longer replaces the symbol by unknowns"
assert 200 < split["unigram"] < 1000, "sampling treats the symbol differently now"
assert split["bpe"] == 0, "BPE dropout splits it now"
PYTHON
