"""`greedy.py BUNDLE N`: continue fixed prompts with the N most likely tokens, and print them as JSON.

Runs in the guest and on this machine; the outputs must be equal.
"""

import json
import sys
from pathlib import Path

from tinyedge.bench.prompts import PROMPTS
from tinyedge.runtime import Generator, SamplingConfig

generator = Generator.load(Path(sys.argv[1]), threads=1)
greedy = SamplingConfig(temperature=0.0)
answers = {}
for name, prompt in PROMPTS.items():
    steps = list(generator.stream(prompt, max_tokens=int(sys.argv[2]), sampling=greedy, ignore_eos=True))
    answers[name] = {"tokens": [step.token for step in steps], "text": "".join(step.text for step in steps)}
print(json.dumps(answers))
