"""The sliding window: which tokens of a long text the model sees. The same rule everywhere."""


def window_start(n: int, context: int) -> int:
    """Return the index of the first token that is fed to the model.

    When the window is full, it restarts with its last half: this costs one prefill every context // 2 tokens,
    and the tokens that are fed depend on `n` only, not on how the sequence was generated.

    Args:
        n: Number of tokens so far.
        context: Number of positions of the model; tokens[start:n] always fits.
    """
    if n <= context:
        return 0
    half = context // 2
    return -(-(n - context) // half) * half  # the excess, rounded up to a multiple of half
