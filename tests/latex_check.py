"""Is a LaTeX text well formed? Braces, environments, and equal columns in every table row."""

import re


def check_fragment(text: str) -> None:
    """Raises AssertionError when the text would not compile or a row has another cell count."""
    assert text.isascii(), [sign for sign in text if not sign.isascii()]
    bare = re.sub(r"\\[\\{}%&$#_]", "", text)
    depth = 0
    for sign in bare:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0, "a brace closes what was not opened"
    assert depth == 0, "a brace stays open"
    assert bare.count("$") % 2 == 0, "mathematics stays open"
    assert "%" not in bare, "an unescaped % hides the rest of its line"
    assert "_" not in re.sub(r"\$[^$]*\$", "", re.sub(r"\\label\{[^}]*\}", "", bare))
    stack: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            stack.append(name)
        else:
            assert stack, name
            assert stack.pop() == name
    assert not stack, stack
    for spec, body in re.findall(
        r"\\begin\{tabular\}\{([lrc]+)\}(.*?)\\end\{tabular\}", text, flags=re.DOTALL
    ):
        rows = [row for row in re.split(r"\\\\(?!\w)", body) if "&" in row]
        assert rows
        for row in rows:
            cells = len(re.findall(r"(?<!\\)&", row)) + 1
            assert cells == len(spec), row


def check_document(text: str) -> None:
    check_fragment(re.sub(r"\\input\{[^}]*\}", "", text))
    assert text.index(r"\documentclass") < text.index(r"\begin{document}")
    packages = re.findall(r"\\usepackage(?:\[[^]]*\])?\{([^}]*)\}", text)
    assert packages == ["booktabs"]
