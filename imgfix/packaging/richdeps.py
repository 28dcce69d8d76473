"""richdeps: rpm's boolean dependencies, such as `(foo >= 2 if bar)`.

https://rpm-software-management.github.io/rpm/manual/boolean_dependencies.html
"""

from __future__ import annotations

from dataclasses import dataclass

from imgfix.packaging.model import AllOf, AnyOf, Need, OneWith, Relation, When

_OPERATORS = {"<": "<<", "<=": "<=", "=": "=", ">=": ">=", ">": ">>", "==": "="}
_WORDS = ("and", "or", "if", "unless", "else", "with", "without")

#: Parentheses within each other that are read; rpm's own reader goes on its stack as well.
_DEPTH = 50


def parse(text: str) -> Need:
    """Return the need that `text`, in parentheses, stands for; raises ValueError on what cannot be read."""
    reader = _Reader(text)
    need = reader.need(0)
    reader.skip_spaces()
    if reader.at != len(text):
        raise ValueError(f"{text!r}: something is left behind the last parenthesis")
    return need


@dataclass(slots=True)
class _Reader:
    text: str
    at: int = 0

    def skip_spaces(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def need(self, depth: int) -> Need:
        self.skip_spaces()
        if depth > _DEPTH:
            raise ValueError(f"{self.text!r}: more than {_DEPTH} parentheses within each other")
        if not self.text.startswith("(", self.at):
            return self._relation()
        self.at += 1
        parts: list[Need] = [self.need(depth + 1)]
        words: list[str] = []
        while True:
            word = self._word()
            if not word and self.text.startswith(")", self.at):
                self.at += 1
                return _joined(parts, words, self.text)
            if word not in _WORDS:
                raise ValueError(f"{self.text!r}: {word!r} where one of {', '.join(_WORDS)} is needed")
            words.append(word)
            parts.append(self.need(depth + 1))

    def _relation(self) -> Relation:
        name = self._word()
        if not name:
            raise ValueError(f"{self.text!r}: a name is missing")
        before = self.at
        operator = self._word()
        if operator in _OPERATORS:
            return Relation(name, _OPERATORS[operator], self._word())
        self.at = before
        return Relation(name)

    def _word(self) -> str:
        """Return the next word; parentheses within it belong to it: python3dist(attrs)."""
        self.skip_spaces()
        start, open_ones = self.at, 0
        while self.at < len(self.text):
            char = self.text[self.at]
            if (char.isspace() and not open_ones) or (char == ")" and not open_ones):
                break
            open_ones += (char == "(") - (char == ")")
            self.at += 1
        return self.text[start : self.at]


def _joined(parts: list[Need], words: list[str], text: str) -> Need:
    match words:
        case []:
            return parts[0]
        case ["if" | "unless" as word]:
            return When(parts[1], parts[0], negated=word == "unless")
        case ["if" | "unless" as word, "else"]:
            return When(parts[1], parts[0], parts[2], negated=word == "unless")
        case ["without"] if all(isinstance(part, Relation) for part in parts):
            every, none = ([p] for p in parts if isinstance(p, Relation))
            return OneWith(tuple(every), tuple(none))
    kinds = set(words)
    if kinds == {"and"}:
        return AllOf(tuple(parts))
    if kinds == {"or"}:
        return AnyOf(tuple(parts))
    if kinds == {"with"}:
        simple = tuple(part for part in parts if isinstance(part, Relation))
        # Nested ones are taken for "and": rpm itself, which installs, is strict about one package being both.
        return OneWith(simple) if len(simple) == len(parts) else AllOf(tuple(parts))
    raise ValueError(f"{text!r}: {' and '.join(words)} in one pair of parentheses")
