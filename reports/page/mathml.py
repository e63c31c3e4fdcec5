"""TeX formulas as MathML, which browsers draw without fonts or scripts.

Only the commands that our pages use; another one is an error, never a formula drawn wrongly.
"""

from __future__ import annotations

import re
from html import escape

_LETTERS = {
    "alpha": "α",
    "beta": "β",
    "gamma": "γ",
    "delta": "δ",
    "epsilon": "ϵ",
    "varepsilon": "ε",
    "theta": "θ",
    "lambda": "λ",
    "pi": "π",
    "rho": "ρ",
    "phi": "ϕ",
    "Delta": "Δ",
    "Sigma": "Σ",
    "Phi": "Φ",
    "infty": "∞",
    "nabla": "∇",
    "partial": "∂",
    "top": "⊤",
    "blacksquare": "■",
}
_RELATIONS = {"le": "≤", "ge": "≥", "to": "→", "leftarrow": "←", "sim": "∼", "mid": "∣"}
_OPERATORS = {"cdot": "⋅", "dots": "…", "sum": "∑"}
_FENCES = {"|": "‖", "lVert": "‖", "rVert": "‖"}
_SPACES = {",": 0.17, ";": 0.28, " ": 0.25, "qquad": 2.0}
_NAMES = ("max", "min", "log")
_ACCENTS = {"hat": "^", "tilde": "~"}
_BLACKBOARD = {"<mrow><mi>E</mi></mrow>": "<mi>𝔼</mi>"}
_UNDER = ("∑", "max", "min")
_BREAKS = {f"<mo>{escape(sign)}</mo>" for sign in (*_RELATIONS.values(), *"<=>")}
_TOKEN = re.compile(r"\\text\{[^{}]*\}|\\(?:[a-zA-Z]+|.)|\s+|[0-9.]*[0-9]|.", re.DOTALL)


def mathml(tex: str, display: bool) -> str:
    """A formula as `<math>` elements.

    Args:
        tex: without the dollar signs.
        display: on a line of its own; otherwise one element per part between relations or
            spaces, so that a line of text can break there.

    Raises:
        ValueError: the formula has a command that is not known, or does not end.
    """
    parser = _Parser(tex, display)
    parts = parser.row()
    if parser.rest():
        raise ValueError(f"formula {tex!r} closes a group that it did not open")
    if display:
        return f'<math display="block">{"".join(parts)}</math>'
    groups = [""]
    for part in parts:
        groups[-1] += part
        if part in _BREAKS or part.startswith("<mspace"):
            groups.append("")
    return "<wbr>".join(f"<math>{group}</math>" for group in groups if group)


class _Parser:
    """Recursive descent over the tokens of one formula."""

    def __init__(self, tex: str, display: bool) -> None:
        self.tex, self.display = tex, display
        # Blanks mean nothing in TeX, except those written with a backslash.
        self.tokens: list[str] = [token for token in _TOKEN.findall(tex) if not token.isspace()]
        self.place = 0

    def rest(self) -> bool:
        return self.place < len(self.tokens)

    def row(self) -> list[str]:
        """Elements up to the end of the group."""
        parts: list[str] = []
        while self.rest() and self._peek() not in ("}", "\\right"):
            parts.append(self._scripted())
        return parts

    def _scripted(self) -> str:
        base = self._atom()
        scripts: dict[str, str] = {}
        while self.rest() and self._peek() in ("_", "^"):
            sign = self._next()
            scripts[sign] = self._atom()
        if not scripts:
            return base
        under = self.display and any(f">{name}<" in base for name in _UNDER)
        kind = {
            "_": "munder" if under else "msub",
            "^": "mover" if under else "msup",
            "_^": "munderover" if under else "msubsup",
        }["".join(sorted(scripts, reverse=True))]
        return f"<{kind}>{base}{''.join(scripts[key] for key in '_^' if key in scripts)}</{kind}>"

    def _atom(self) -> str:
        token = self._next()
        if token == "{":
            inner = "".join(self.row())
            self._expect("}")
            return f"<mrow>{inner}</mrow>"
        if token.startswith("\\"):
            return self._command(token[1:])
        if token[0].isdigit():
            return f"<mn>{token}</mn>"
        if token.isalpha():
            return f"<mi>{token}</mi>"
        sign = {"-": "−", "*": "∗", "'": "′"}.get(token, token)
        stretch = ' stretchy="false"' if token in "()[]|" else ""
        return f"<mo{stretch}>{escape(sign)}</mo>"

    def _command(self, name: str) -> str:
        if name in _LETTERS:
            return f"<mi>{_LETTERS[name]}</mi>"
        if name in _RELATIONS or name in _OPERATORS:
            return f"<mo>{(_RELATIONS | _OPERATORS)[name]}</mo>"
        if name in _FENCES:
            return f'<mo stretchy="false" lspace="0" rspace="0">{_FENCES[name]}</mo>'
        if name in _SPACES:
            return f'<mspace width="{_SPACES[name]}em"></mspace>'
        if name in _NAMES:
            return f"<mo>{name}</mo>"
        if name in _ACCENTS:
            return f'<mover accent="true">{self._atom()}<mo>{_ACCENTS[name]}</mo></mover>'
        if name in ("frac", "tfrac"):
            return f"<mfrac>{self._atom()}{self._atom()}</mfrac>"
        if name == "sqrt":
            return f"<msqrt>{self._atom()}</msqrt>"
        if name.startswith("text{"):
            return f"<mtext>{escape(name[5:-1])}</mtext>"
        if name == "mathbb":
            return self._blackboard()
        if name == "left":
            return self._fenced()
        raise ValueError(f"formula {self.tex!r} has \\{name}, which this page cannot draw")

    def _fenced(self) -> str:
        opening, inner = self._next(), "".join(self.row())
        self._expect("\\right")
        return f"<mrow><mo>{opening}</mo>{inner}<mo>{self._next()}</mo></mrow>"

    def _blackboard(self) -> str:
        letter = self._atom()
        if letter not in _BLACKBOARD:
            raise ValueError(f"formula {self.tex!r} has a \\mathbb letter that is not E")
        return _BLACKBOARD[letter]

    def _peek(self) -> str:
        return self.tokens[self.place]

    def _next(self) -> str:
        if not self.rest():
            raise ValueError(f"formula {self.tex!r} ends too early")
        self.place += 1
        return self.tokens[self.place - 1]

    def _expect(self, token: str) -> None:
        if self._next() != token:
            raise ValueError(f"formula {self.tex!r} lacks {token!r}")
