"""One self-contained HTML page: tables, figures, cases to look at, and where it all came from."""

import base64
import html
import json
from collections.abc import Sequence
from pathlib import Path

import cv2

from handbench import __version__, gallery, plots, tables
from handbench.files import write_text
from handbench.formats import as_html
from handbench.result import Result

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1c1e21;margin:2rem auto;padding:0 1rem}
body{max-width:1180px}
h1{font-size:1.7rem;margin-bottom:0}h2{margin-top:2.2rem;border-bottom:1px solid #ddd}
figure{margin:1rem 0}figcaption{color:#555;font-size:.9rem;margin-bottom:.3rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;border-top:2px solid;border-bottom:2px solid}
th,td{padding:.25rem .7rem;text-align:right;white-space:nowrap}thead th{border-bottom:1px solid}
tbody th,td.extra,thead th:first-child{text-align:left;font-weight:400}td small{color:#777}
td.reported{font-style:italic}td.not-run{color:#aaa}
.note{font-size:.8rem;color:#777;margin:.15rem 0}img{max-width:100%}
details{margin:1rem 0}pre{background:#f6f7f8;padding:.8rem;overflow-x:auto;font-size:.8rem}
"""


def write(groups: Sequence[Sequence[Result]], path: Path, mixed: bool = False) -> Path:
    """The report of results grouped by split. Figures are drawn beside it, under plots/."""
    body = []
    for results in groups:
        data = results[0].protocol["evaluation"]["data"]
        body.append(f"<h2>{html.escape(data)}</h2>")
        body += [as_html(table) for table in tables.all_of(results, mixed)]
        for drawn in plots.all_of(results, path.parent / "plots"):
            if drawn.suffix == ".png":
                alt = drawn.stem.replace("_", " ")
                body.append(_picture(drawn.read_bytes(), "png", alt, alt))
    body.append("<h2>Cases</h2>")
    body.append(f"<p class='note'>{html.escape(gallery.RULE)}</p>")
    for case in gallery.cases(groups[0]):
        done, encoded = cv2.imencode(
            ".jpg", case.picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88]
        )
        assert done
        body.append(_picture(encoded.tobytes(), "jpeg", f"{case.why}: {case.id}", case.why))
    body.append("<h2>Where the numbers come from</h2>")
    for each in (one for results in groups for one in results):
        name = f"{tables.label(each)} on {each.protocol['evaluation']['data']}"
        told = {"protocol": each.protocol, "provenance": each.provenance}
        text = html.escape(json.dumps(told, indent=2, default=str))
        body.append(f"<details><summary>{html.escape(name)}</summary><pre>{text}</pre></details>")
    page = (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'><title>handbench report</title>"
        f"<style>{STYLE}</style></head><body><h1>handbench report</h1>"
        f"<p class='note'>handbench {__version__} · measured by handbench; nothing here is quoted "
        f"from a paper</p>{''.join(body)}</body></html>\n"
    )
    write_text(path, page)
    return path


def _picture(data: bytes, kind: str, caption: str, alt: str) -> str:
    encoded = base64.b64encode(data).decode()
    return (
        f"<figure><figcaption>{html.escape(caption)}</figcaption>"
        f"<img alt='{html.escape(alt, quote=True)}' src='data:image/{kind};base64,{encoded}'>"
        "</figure>"
    )
