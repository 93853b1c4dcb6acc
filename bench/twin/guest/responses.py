"""`responses.py BUNDLE ROUNDS N [PROMPTS]`: answers as `tinyedge bench` does, to be counted.

PROMPTS: a JSON object, texts by name; without it the bench's own.

A mark before each response, after each of its N tokens, and at its end. Prints, as JSON, the prompt of each
response and how many tokens each prompt has. Every prompt is answered once before the first mark.
"""

import json
import os
import sys
from pathlib import Path

from tinyedge.bench.prompts import PROMPTS
from tinyedge.runtime import Generator, SamplingConfig

TEMPERATURE, TOP_K = 0.8, 40
bundle, rounds, max_tokens = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
prompts = json.loads(Path(sys.argv[4]).read_bytes()) if len(sys.argv) > 4 else PROMPTS
generator = Generator.load(bundle, threads=1)
asked = [*prompts] * (1 + rounds)
for seed, name in enumerate(asked):
    sampling = SamplingConfig(temperature=TEMPERATURE, top_k=TOP_K, seed=seed)
    if seed == len(prompts):
        os.getsid(0)  # what a mark costs
        os.getsid(0)
    counted = seed >= len(prompts)
    for _ in generator.stream(prompts[name], max_tokens=max_tokens, sampling=sampling, ignore_eos=True):
        if counted:
            os.getsid(0)
    if counted:
        os.getsid(0)  # the end of this one, and the beginning of the next
lengths = {name: len(generator.encode_prompt(prompt)) for name, prompt in prompts.items()}
print(json.dumps({"prompts": asked[len(prompts) :], "tokens": lengths}))
