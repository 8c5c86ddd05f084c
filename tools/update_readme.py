"""Put the demo's table and pictures into README.md and docs/pictures: python tools/update_readme.py

Reads results/demo and the prepared synthetic data that `make demo` leaves; types no number.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "results" / "demo"
PICTURES = ROOT / "docs" / "pictures"
BEGIN = "<!-- demo: written by tools/update_readme.py from results/demo -->"
END = "<!-- end of demo -->"
FIGURES = {
    "synthetic_test_pck.png": "demo_pck.png",
    "synthetic_controlled_error.png": "demo_error.png",
}


def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        sheet = Path(folder) / "sheet.png"
        command = ["show", "synthetic/test", "--random", "24", "--sheet", "--out", str(sheet)]
        subprocess.run([sys.executable, "-P", "-m", "handbench", *command], check=True, cwd=ROOT)
        picture = cv2.imread(str(sheet))
        small = cv2.resize(picture, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(PICTURES / "demo_sheet.jpg"), small, [cv2.IMWRITE_JPEG_QUALITY, 85])
    for source, target in FIGURES.items():
        shutil.copyfile(DEMO / "plots" / source, PICTURES / target)
    table = (DEMO / "tables" / "synthetic_test_comparison.md").read_text(encoding="utf-8")
    figures = " ".join(
        f"![{name.split('.')[0]}](docs/pictures/{name})" for name in FIGURES.values()
    )
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    filled = f"{BEGIN}\n{table}\n{figures}\n{END}"
    text = re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: filled, text, flags=re.DOTALL)
    (ROOT / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
