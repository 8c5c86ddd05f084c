"""Documentation that is generated is up to date; what the documents name exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def test_commands_page_is_what_the_commands_say(tmp_path):
    target = tmp_path / "commands.md"
    tool = ROOT / "tools" / "document_commands.py"
    subprocess.run([sys.executable, "-P", str(tool), str(target)], check=True)
    message = "run: python tools/document_commands.py"
    assert (ROOT / "docs" / "commands.md").read_text() == target.read_text(), message


@pytest.mark.parametrize(
    "page", sorted(p.relative_to(ROOT) for p in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    text = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text):
        if "://" not in link:
            assert (ROOT / page.parent / link).exists(), link
