"""Shell source cut into words, as far as needed to find the assignments in it and the pieces of their values.

Grammar: https://pubs.opengroup.org/onlinepubs/9699919799/utilities/V3_chap02.html (2.3 token recognition).
Commands are skipped over, not understood; the places of commands, comments, quotes, expansions and
here-documents are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from imgfix.errors import ParseError
from imgfix.textedit import physical_lines

_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\+?)=")
_VARIABLE = re.compile(r"\$(?:[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?$!-])")
_META = " \t\n;&|()<>"
# After these words a command begins; after those of _DECLARING, assignments may follow as arguments.
_RESERVED = frozenset(
    ["if", "then", "elif", "else", "fi", "while", "until", "do", "done", "esac", "!", "{", "}"]
)
_DECLARING = frozenset(["export", "readonly", "declare", "typeset", "local"])
_REDIRECTION = re.compile(r"<<<|<<-?|[<>][&>|]?")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a value: text, whether the shell expands it, and whether it stands in double quotes."""

    text: str
    live: bool
    quoted: bool


@dataclass(frozen=True, slots=True)
class Assignment:
    """One `name=value` or `name+=value` (`append`).

    `quote` is what the value stands in: `"`, `'`, nothing, `mixed`, or `(` for an array. `line` is 1-based.
    `start` and `end` are the value's offsets in the text, quotes included.
    """

    name: str
    value: str
    append: bool
    line: int
    quote: str
    start: int
    end: int
    pieces: tuple[Piece, ...]


@dataclass(slots=True)
class _Scanner:
    """Walks over a text; `at` is the offset of the next character."""

    text: str
    at: int = 0
    depth: int = 0
    found: list[Assignment] = field(default_factory=list)
    # The assignments of the command being read: they count only if no command word follows them.
    pending: list[Assignment] = field(default_factory=list)
    declaring: bool = False
    in_command: bool = False
    heredocs: list[tuple[str, bool]] = field(default_factory=list)
    # The kinds of quoting in the word read last, in order: a quote character, or nothing.
    quotes: list[str] = field(default_factory=list)

    def run(self) -> None:
        while self.at < len(self.text):
            char = self.text[self.at]
            if self.text.startswith("\\\n", self.at):
                self.at += 2
            elif char == "#":
                self._skip_comment()
            elif char in "<>":
                self._redirection()
            elif char in _META or self.text.startswith("\r\n", self.at):
                self._separator(char)
            else:
                self._word()
        self._end_command()

    def _separator(self, char: str) -> None:
        self.at += 1
        if char in " \t\r":
            return
        self._end_command()
        # `a) ...` of a case has a closing parenthesis only.
        self.depth = max(self.depth + (char == "(") - (char == ")"), 0)
        if char == "\n" and self.heredocs:
            self._skip_heredocs()

    def _end_command(self) -> None:
        self.found += self.pending
        self.pending, self.declaring, self.in_command = [], False, False

    def _skip_comment(self) -> None:
        end = self.text.find("\n", self.at)
        self.at = len(self.text) if end < 0 else end

    def _redirection(self) -> None:
        """Step over a redirection and its target; that of a here-document is its delimiter."""
        match = _REDIRECTION.match(self.text, self.at)
        assert match is not None
        self.at = match.end()
        while self.text[self.at : self.at + 1] in (" ", "\t"):
            self.at += 1
        start = self.at
        pieces = self._pieces()
        if match[0] in ("<<", "<<-") and self.at > start:
            self.heredocs.append(("".join(piece.text for piece in pieces), match[0] == "<<-"))

    def _skip_heredocs(self) -> None:
        for delimiter, strip in self.heredocs:
            while self.at < len(self.text):
                end = self.text.find("\n", self.at)
                end = len(self.text) if end < 0 else end
                line = self.text[self.at : end]
                self.at = min(end + 1, len(self.text))
                if (line.lstrip("\t") if strip else line) == delimiter:
                    break
        self.heredocs = []

    def _word(self) -> None:
        match = _ASSIGNMENT.match(self.text, self.at)
        if match and (self.declaring or not self.in_command):
            one = self._assignment(match)
            if self.depth == 0:
                self.pending.append(one)
            return
        start = self.at
        self._pieces()
        word = self.text[start : self.at]
        if self.in_command:
            return
        if word in _RESERVED and not self.pending:
            self._end_command()
            return
        # `A=1 command` gives A to that command alone.
        self.pending = []
        self.in_command, self.declaring = True, word in _DECLARING

    def _assignment(self, match: re.Match[str]) -> Assignment:
        begin, self.at = self.at, match.end()
        if self.text[self.at : self.at + 1] == "(":
            self._skip_nested("(", ")", begin)
            value = self.text[match.end() : self.at]
            pieces: tuple[Piece, ...] = (Piece(value, live=True, quoted=False),)
            quote = "("
        else:
            pieces = self._pieces()
            quote = "mixed" if len(self.quotes) > 1 else "".join(self.quotes)
        value = "".join(piece.text for piece in pieces)
        line = physical_lines.number(self.text, begin)
        return Assignment(match[1], value, match[2] == "+", line, quote, match.end(), self.at, pieces)

    def _pieces(self) -> tuple[Piece, ...]:
        """Read one word and return its pieces, quotes taken off."""
        pieces: list[Piece] = []
        self.quotes = []
        start = self.at
        while self.at < len(self.text) and self.text[self.at] not in _META:
            char = self.text[self.at]
            if self.text.startswith("\r\n", self.at):
                break
            if char in "'\"" or self.quotes[-1:] != [""]:
                self.quotes.append(char if char in "'\"" else "")
            if char == "'":
                end = self._find("'", self.at + 1, "single quote")
                pieces.append(Piece(self.text[self.at + 1 : end], live=False, quoted=True))
                self.at = end + 1
            elif char == '"':
                pieces += self._double_quoted()
            elif char == "\\":
                escaped = self.text[self.at + 1 : self.at + 2]
                # A backslash at the very end of the text stands for itself.
                pieces.append(Piece("" if escaped == "\n" else escaped or "\\", live=False, quoted=False))
                self.at += 2
            elif char == "~" and (self.at == start or self.text[self.at - 1] == ":"):
                pieces.append(Piece(char, live=True, quoted=False))
                self.at += 1
            else:
                pieces.append(self._plain_or_expansion(quoted=False))
        self.at = min(self.at, len(self.text))
        return tuple(pieces)

    def _double_quoted(self) -> list[Piece]:
        begin = self.at
        self.at += 1
        pieces: list[Piece] = [Piece("", live=False, quoted=True)]
        while True:
            char = self.text[self.at : self.at + 1]
            if not char:
                raise self._unclosed("double quote", begin)
            if char == '"':
                self.at += 1
                return pieces
            escaped = self.text[self.at + 1 : self.at + 2]
            if char == "\\" and escaped and escaped in '$`"\\\n':
                pieces.append(Piece("" if escaped == "\n" else escaped, live=False, quoted=True))
                self.at += 2
            else:
                pieces.append(self._plain_or_expansion(quoted=True))

    def _plain_or_expansion(self, *, quoted: bool) -> Piece:
        """Read one character, or one whole expansion as written."""
        begin = self.at
        following = self.text[begin + 1 : begin + 2]
        if self.text[begin] == "`":
            self._skip_backticks()
        elif self.text[begin] != "$":
            self.at += 1
            return Piece(self.text[begin], live=False, quoted=quoted)
        elif following in ("(", "{"):
            self.at += 1
            self._skip_nested(following, ")" if following == "(" else "}", begin)
        elif following == "'" and not quoted:
            self._skip_ansi_c(begin)
        elif match := _VARIABLE.match(self.text, begin):
            self.at = match.end()
        else:
            self.at += 1
            return Piece("$", live=False, quoted=quoted)
        return Piece(self.text[begin : self.at], live=True, quoted=quoted)

    def _skip_nested(self, opening: str, closing: str, begin: int) -> None:
        """Step over a bracketed text from its opening bracket; quotes in it may hold brackets."""
        depth = 0
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == "\\":
                self.at += 2
                continue
            if char == "'" and opening == "(":
                self.at = self._find("'", self.at + 1, "single quote")
            elif char == '"':
                self._double_quoted()
                continue
            depth += (char == opening) - (char == closing)
            self.at += 1
            if depth == 0:
                return
        raise self._unclosed(f"bracket {opening}", begin)

    def _skip_backticks(self) -> None:
        match = re.compile(r"`(?:[^`\\]|\\.)*`", re.DOTALL).match(self.text, self.at)
        if match is None:
            raise self._unclosed("backtick", self.at)
        self.at = match.end()

    def _skip_ansi_c(self, begin: int) -> None:
        """Step over bash's $'...', in which a backslash escapes the quote."""
        match = re.compile(r"\$'(?:[^'\\]|\\.)*'", re.DOTALL).match(self.text, begin)
        if match is None:
            raise self._unclosed("single quote", begin)
        self.at = match.end()

    def _find(self, char: str, start: int, what: str) -> int:
        end = self.text.find(char, start)
        if end < 0:
            raise self._unclosed(what, start)
        return end

    def _unclosed(self, what: str, offset: int) -> ParseError:
        line = physical_lines.number(self.text, offset)
        return ParseError(f"a {what} is not closed", line=line)


def scan(text: str) -> tuple[Assignment, ...]:
    """Return the assignments the shell itself carries out, in order of the text.

    Raises ParseError, with the line, on a quote, expansion or array that is not closed.
    """
    scanner = _Scanner(text)
    try:
        scanner.run()
    except RecursionError as error:
        raise ParseError("quotes are nested too deep") from error
    return tuple(scanner.found)
