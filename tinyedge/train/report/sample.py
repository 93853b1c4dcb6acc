"""Sample texts during training: continuations of openings of the held-out text.

The product's generator is `tinyedge.runtime`.
"""

from typing import Any

import torch

from tinyedge.text.openings import choose_first_prompts, choose_passage_openings
from tinyedge.text.shards import Shards
from tinyedge.text.tokenizer import BOS_ID, EOS_ID, PAD_ID, UNK_ID, Tokenizer
from tinyedge.text.turns import encode_turns
from tinyedge.train.model import TinyTransformer

MAX_TOKENS, TEMPERATURE = 30, 0.7  # the guide's
MIN_PROMPTS = 2  # the guide has two, one for each of its languages


def choose_prompts(shards: Shards, tokenizer: Tokenizer) -> list[str]:
    """Choose prompts for samples: openings of the held-out text, the same number for each language.

    The same shards give the same prompts. Where the text has no usable opening, the only prompt is empty.
    """
    languages = shards.languages
    count = -(-MIN_PROMPTS // len(languages))
    if shards.template:
        return [
            prompt
            for language in languages
            for prompt in choose_first_prompts(shards.validation_passages(language), tokenizer, count)
        ]
    prompts = [
        opening
        for language in languages
        for opening in choose_passage_openings(
            shards.validation_passages(language), tokenizer, count, language
        )
    ]
    return prompts or [""]


class SampleSeries:
    """Texts that a model writes in the course of its training, always for the same prompts.

    Args:
        shards: Tokens, whose held-out part has the prompts.
        tokenizer: Tokenizer that made them.
        seed: Seed of the texts, the same after each epoch, so that only the model changes.
    """

    def __init__(self, shards: Shards, tokenizer: Tokenizer, seed: int) -> None:
        self._prompts = choose_prompts(shards, tokenizer)
        self._has_turns = bool(shards.template)
        self._tokenizer = tokenizer
        self._seed = seed

    def add(self, model: TinyTransformer, epoch: int, samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Generate a text for each prompt, and add it to the samples of the run.

        Args:
            model: The model, with its weights up to date.
            epoch: Finished epochs; 0 for a model that has learned nothing.
            samples: The run's samples so far.

        Returns:
            The new samples.
        """
        added = [
            {
                "epoch": epoch,
                "prompt": prompt,
                "text": generate_sample(model, self._tokenizer, prompt, self._seed + number, self._has_turns),
            }
            for number, prompt in enumerate(self._prompts)
        ]
        samples += added
        return added


@torch.no_grad()
def generate_sample(
    model: TinyTransformer, tokenizer: Tokenizer, prompt: str, seed: int, is_turn: bool = False
) -> str:
    """Generate a text with a random generator of its own, so that training's random numbers stay the same.

    Args:
        model: Model, in any mode.
        tokenizer: Its tokenizer.
        prompt: Start of the text.
        seed: Seed of the random generator.
        is_turn: Whether the model answers the prompt, instead of continuing it.

    Returns:
        The prompt and its continuation, or answer.
    """
    device = next(model.parameters()).device
    random = torch.Generator().manual_seed(seed)
    tokens = encode_turns(tokenizer, [prompt]) if is_turn else [BOS_ID, *tokenizer.encode(prompt)]
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
