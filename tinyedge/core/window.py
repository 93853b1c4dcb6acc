"""Which tokens the model sees: the one rule that the reference, the bundle and the docs share."""


def window_start(n: int, context: int) -> int:
    """The first of `n` tokens that is fed, so that tokens[start:n] fits in `context` positions.

    When the window is full it restarts from its last half: a slide costs one prefill each context // 2
    tokens, and what is fed depends on `n` alone, never on how the sequence came to be.
    """
    if n <= context:
        return 0
    half = context // 2
    return -(-(n - context) // half) * half  # the excess, rounded up to whole halves
