"""`logits.py BUNDLE FILE`: write the logits of the benchmark's prompts as .npy of shape (tokens, V).

Runs in the guest and on this machine. The first half of a prompt is one pass, each later token another.
"""

import sys
from pathlib import Path

import numpy as np

from tinyedge.bench.prompts import PROMPTS
from tinyedge.runtime import Generator
from tinyedge.runtime.bundle_model import BundleModel

generator = Generator.load(Path(sys.argv[1]), threads=1)
model = BundleModel(generator.session)
rows = []
for prompt in PROMPTS.values():
    tokens = np.array(generator.encode_prompt(prompt)[: model.context])
    rows.append(model.logits(tokens, len(tokens) // 2))
np.save(sys.argv[2], np.concatenate(rows))
