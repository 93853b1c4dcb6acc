"""`answers.py BUNDLE N [--drawn]`: continue fixed prompts with N tokens, and print them as JSON.

The most likely tokens, and with --drawn also drawn ones. Runs in the guest and on this machine; the outputs
must be equal.
"""

import json
import sys
from pathlib import Path

from tinyedge.bench.prompts import PROMPTS
from tinyedge.runtime import Generator, SamplingConfig

generator = Generator.load(Path(sys.argv[1]), threads=1)
ways = {"greedy": SamplingConfig(temperature=0.0)}
if "--drawn" in sys.argv:
    ways |= {f"seed {seed}": SamplingConfig(seed=seed) for seed in range(3)}
answers = {}
for prompt_name, prompt in PROMPTS.items():
    for way, sampling in ways.items():
        steps = list(
            generator.stream(prompt, max_tokens=int(sys.argv[2]), sampling=sampling, ignore_eos=True)
        )
        answers[f"{prompt_name}, {way}"] = {
            "tokens": [step.token for step in steps],
            "text": "".join(step.text for step in steps),
        }
print(json.dumps(answers))
