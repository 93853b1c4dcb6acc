"""Text that does not come from this program, made safe to write into Markdown.

In: any text, such as a field of a stranger's checkpoint. Out: one line that Markdown and HTML show as it is.
"""

import re

_ACTIVE = r"[\\`*_\[\]<>#|~&$]"  # a regular expression: characters with a meaning in GitHub's Markdown
_LINKS = ((re.compile("://"), r":\\//"), (re.compile(r"(?i)(www)\."), r"\1\\."))  # it makes links of these


def escape_markdown(text: str, limit: int | None = None) -> str:
    """Escape what Markdown would interpret; white space and control characters become single spaces.

    Args:
        text: Any text.
        limit: Length in characters, before escapes, from which the text is cut; "..." marks the cut.
    """
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    if limit is not None and len(text) > limit:
        text = text[: limit - 3] + "..."
    text = re.sub(f"({_ACTIVE})", r"\\\1", text)
    for pattern, escaped in _LINKS:
        text = pattern.sub(escaped, text)
    return text


def unescape_markdown(text: str) -> str:
    """Return a text as it was before `escape_markdown`, except for its white space and a cut."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text)
