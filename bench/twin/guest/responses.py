"""`responses.py BUNDLE ROUNDS N [PROMPTS]`: answer prompts as `tinyedge bench` does, to be counted.

PROMPTS is a JSON object of texts by name; without it the benchmark's own prompts are used.

Marks are set before each response, after each of its N tokens, and at its end. Prints, as JSON, the prompt of
each response, the number of tokens of each prompt, and how many blocks of a table of n-grams each response
read for the first time. Every prompt is answered once before the first mark.
"""

import itertools
import json
import os
import sys
from pathlib import Path

from tinyedge.bench.prompts import PROMPTS
from tinyedge.runtime import Generator, SamplingConfig
from tinyedge.runtime.engine import import_engine

TEMPERATURE, TOP_K, TOP_P = 0.8, 40, 0.9
bundle, rounds, max_tokens = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
prompts = json.loads(Path(sys.argv[4]).read_bytes()) if len(sys.argv) > 4 else PROMPTS
import_engine()
generator = Generator.load(bundle, threads=1)
names = [*prompts] * (1 + rounds)
ngrams = generator.bundle.ngrams
checked = [0]  # blocks of the table that were read, before and after each counted response
for seed, name in enumerate(names):
    sampling = SamplingConfig(temperature=TEMPERATURE, top_k=TOP_K, top_p=TOP_P, seed=seed)
    if seed == len(prompts):
        os.getsid(0)  # the cost of a mark
        os.getsid(0)
    counted = seed >= len(prompts)
    if ngrams and seed == len(prompts):
        checked = [ngrams.is_checked.count(1)]
    for _ in generator.stream(prompts[name], max_tokens=max_tokens, sampling=sampling, ignore_eos=True):
        if counted:
            os.getsid(0)
    if counted:
        if ngrams:
            checked.append(ngrams.is_checked.count(1))
        os.getsid(0)  # the end of this one, and the beginning of the next
lengths = {name: len(generator.encode_prompt(prompt)) for name, prompt in prompts.items()}
blocks = [after - before for before, after in itertools.pairwise(checked)]
print(json.dumps({"prompts": names[len(prompts) :], "tokens": lengths, "blocks": blocks}))
