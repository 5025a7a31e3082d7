"""Facts of Terraform files by a line scanner: it needs no provider, and reads what does not parse yet."""

from __future__ import annotations

import re
from collections import Counter

from features.iac import values

_BLOCK = re.compile(r'([A-Za-z_][\w-]*)((?:\s+"[^"]*")*)\s*\{(.*)$')
_PAIR = re.compile(r'"?([A-Za-z_][\w./:-]*)"?\s*[=:]\s*(.+)$')
_HEREDOC = re.compile(r"<<[-~]?\s*([A-Za-z_]\w*)\s*$")
_LABELLED = ("resource", "data", "provider")


class _Scanner:
    def __init__(self) -> None:
        self.path: list[str] = []
        self.facts: list[str] = []
        self.types: Counter[str] = Counter()
        self.heredoc: str | None = None
        self.comment = False

    def line(self, raw: str) -> None:
        line = raw.strip()
        if self._skipped(line) or not line:
            return
        while line.startswith(("}", "]", ")", ",")):
            if line[0] in "}]" and self.path:
                self.path.pop()
            line = line[1:].strip()
        if line and not line.startswith(("#", "//")):
            self._statement(line)

    def _skipped(self, line: str) -> bool:
        if self.heredoc is not None:
            self.heredoc = None if line == self.heredoc else self.heredoc
            return True
        if self.comment or line.startswith("/*"):
            self.comment = "*/" not in line
            return True
        return line.startswith(("#", "//"))

    def _statement(self, line: str) -> None:
        pair, block = _PAIR.match(line), _BLOCK.match(line)
        if block and not (pair and pair.start(2) < block.start(3)):
            self._block(block[1], re.findall(r'"([^"]*)"', block[2]), block[3].strip())
        elif pair:
            self._pair(pair[1], re.sub(r"\s+(#|//).*$", "", pair[2]))
        elif line == "{":
            self.path.append("")
        elif self.path and self.path[-1].endswith("[]"):
            self.facts.append(f"{self._at()}={values.expression(line, self._at())}")

    def _block(self, name: str, labels: list[str], rest: str) -> None:
        if not self.path:
            name = f"{name}.{labels[0]}" if name in _LABELLED and labels else name
            self.types[name] += 1
        self.path.append(name)
        self.facts.append(self._at())
        if rest:
            for part in rest.removesuffix("}").split(","):
                self.line(part)
            if rest.endswith("}"):
                self.path.pop()

    def _pair(self, key: str, value: str) -> None:
        at = ".".join(filter(None, [self._at(), key]))
        if found := _HEREDOC.search(value):
            self.heredoc = found[1]
            self.facts.append(f"{at}=HEREDOC")
        elif value in ("{", "[") or value.rstrip().endswith(("({", "([")):
            listed = value.rstrip().endswith("[")
            self.facts.append(f"{at}={'LIST' if listed else 'MAP'}")
            self.path.append(f"{key}[]" if listed else key)
        else:
            self.facts.append(f"{at}={values.expression(value, at)}")

    def _at(self) -> str:
        return ".".join(filter(None, self.path))


def read(text: str) -> tuple[list[str], Counter[str]]:
    """The facts of a file and how many top-level blocks of each type it has."""
    scanner = _Scanner()
    for line in text.splitlines():
        scanner.line(line)
    return scanner.facts, scanner.types
