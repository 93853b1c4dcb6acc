"""`commands.py BUNDLE FILE`: answer home commands as `tinyedge generate --home` does, to be counted.

FILE is JSON: `homes`, by language, and `commands`, each a language and a sentence. Marks are set before and
after each answer. Prints, as JSON, for each command the tokens of its prompt, the tokens of its answer, and
the answer. The first command is answered once more before the first mark.
"""

import json
import os
import sys
from pathlib import Path

from tinyedge.core.sampling import COMMAND_TOKENS, SamplingConfig
from tinyedge.corpus.commands.home import format_prompt, parse_home
from tinyedge.forms.form import Form
from tinyedge.runtime.engine import import_engine
from tinyedge.runtime.generator import Generator
from tinyedge.text.turns import encode_turns

given = json.loads(Path(sys.argv[2]).read_bytes())
homes = {language: parse_home(home, language) for language, home in given["homes"].items()}
import_engine()
generator = Generator.load(Path(sys.argv[1]), threads=1)
commands = [given["commands"][0], *given["commands"]]
answers = []
for number, (language, sentence) in enumerate(commands):
    if number == 1:
        os.getsid(0)  # the cost of a mark
        os.getsid(0)
    prompt = format_prompt(homes[language], sentence)
    tokens = encode_turns(generator.tokenizer, [prompt])
    greedy = SamplingConfig(temperature=0)
    pieces = [
        *generator.stream(tokens, max_tokens=COMMAND_TOKENS, sampling=greedy, form=Form.command(prompt))
    ]
    if number:
        os.getsid(0)
        answers.append((len(tokens), len(pieces), "".join(piece.text for piece in pieces)))
print(json.dumps(answers))
