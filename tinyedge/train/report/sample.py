"""Sample texts during training: continuations of openings of the held-out text.

The product's generator is `tinyedge.runtime`.
"""

import torch

from tinyedge.text.openings import choose_openings
from tinyedge.text.shards import Shards
from tinyedge.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, UNK_ID, Tokenizer
from tinyedge.train.model import TinyTransformer

MAX_TOKENS, TEMPERATURE = 30, 0.7  # the guide's
MIN_PROMPTS = 2  # the guide has two, one for each of its languages
OPENING_TOKENS = 8192  # of a language's held-out text from which the prompts are chosen


def choose_prompts(shards: Shards, tokenizer: Tokenizer) -> list[str]:
    """Choose prompts for samples: openings of the held-out text, the same number for each language.

    The same shards give the same prompts. Where the text has no usable opening, the only prompt is empty.
    """
    languages = shards.languages
    prompts: list[str] = []
    for language in languages:
        tokens: list[int] = []
        for passage in shards.validation_passages(language):
            tokens += passage.tokens[: OPENING_TOKENS - len(tokens)].tolist()
            if len(tokens) >= OPENING_TOKENS:
                break
        lines = tokenizer.decode(tokens).split("\n")
        prompts += choose_openings(lines, -(-MIN_PROMPTS // len(languages)))
    return prompts or [""]


@torch.no_grad()
def generate_sample(model: TinyTransformer, tokenizer: Tokenizer, prompt: str, seed: int) -> str:
    """Generate a text with a random generator of its own, so that training's random numbers stay the same.

    Args:
        model: Model, in any mode.
        tokenizer: Its tokenizer.
        prompt: Start of the text.
        seed: Seed of the random generator.

    Returns:
        The prompt and its continuation.
    """
    device = next(model.parameters()).device
    random = torch.Generator().manual_seed(seed)
    tokens = [BOS_ID, *tokenizer.encode(prompt)]
    was_training = model.training
    model.eval()
    for _ in range(MAX_TOKENS):
        window = torch.tensor([tokens[-model.config.max_seq_length :]], device=device)
        logits = model(window)[0, -1].float().cpu() / TEMPERATURE
        logits[[BOS_ID, PAD_ID, UNK_ID]] = -torch.inf
        token = int(torch.multinomial(torch.softmax(logits, dim=0), 1, generator=random))
        if token == EOS_ID:
            break
        tokens.append(token)
    model.train(was_training)
    return tokenizer.decode(tokens)
