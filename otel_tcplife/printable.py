"""What others have written, fit to be shown: names of processes, answers of receivers, messages of libraries.

A process chooses its name, and a receiver its words: raw, they could write to the terminal, reverse the order of what
stands beside them, or forge a line of whatever prints them. Printable is what Python says is (str.isprintable()): no
control character of C0 or C1, no override of the writing direction, no separator of lines or paragraphs, no lone
surrogate. Harmless text in any script is kept as it is.
"""

from __future__ import annotations

LONGEST = 200
"""Characters of what others say, in one line of ours."""


def printable(text: str) -> str:
    """The text with U+FFFD for each character that is not printable, as for bytes that are not UTF-8."""
    if text.isprintable():
        return text
    return "".join([character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text])


def one_line(text: str, longest: int | None = LONGEST) -> str:
    """The text in one line: single-spaced, printable, and shortened to so many characters unless that is None."""
    line = printable(" ".join(text.split()))
    return line if longest is None or len(line) <= longest else f"{line[: longest - 3]}..."
