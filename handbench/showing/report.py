"""One self-contained HTML page: tables, figures, cases to look at, and where it all came from."""

import base64
import html
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from handbench import __version__
from handbench.console import progress
from handbench.files import write_text
from handbench.result import Result
from handbench.showing import gallery, plots, tables
from handbench.showing.draw import encoded
from handbench.showing.formats import as_html

JPEG_QUALITY = 88
STYLE = """
:root{--ink:#1c1e21;--soft:#5f6670;--line:#d7dbe0;--paper:#fff;--shade:#f5f6f8;--link:#0b5cad}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8ea;--soft:#a3abb5;--line:#3a4048;
--paper:#17191c;--shade:#22262b;--link:#7db8f0}img.figure{background:#fff;padding:.4rem}}
*{box-sizing:border-box}html{scroll-behavior:smooth;-webkit-text-size-adjust:100%}
body{font:16px/1.55 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:0 auto;
padding:1.5rem 1rem 4rem;max-width:1280px;overflow-wrap:anywhere}
h1{font-size:1.8rem;line-height:1.2;margin:.2rem 0}
h2{font-size:1.35rem;margin:2.6rem 0 .6rem;padding-bottom:.2rem;border-bottom:1px solid var(--line)}
h3{font-size:1.05rem;margin:1.8rem 0 .4rem}a{color:var(--link)}
nav{background:var(--shade);padding:.7rem 1rem;margin:1.2rem 0;border-radius:6px}
nav ul{margin:.2rem 0;padding-left:1.2rem}
figure{margin:1rem 0 1.6rem}figcaption{color:var(--soft);font-size:.9rem;margin-bottom:.35rem}
.scroll{overflow-x:auto;-webkit-overflow-scrolling:touch}
table{border-collapse:collapse;border-top:2px solid;border-bottom:2px solid;
font-variant-numeric:tabular-nums}
th,td{padding:.28rem .5rem;text-align:right;white-space:nowrap;overflow-wrap:normal}
thead th{border-bottom:1px solid;vertical-align:bottom;font-size:.85rem}td small{display:block}
th,td.extra{white-space:normal}td.extra{font-size:.85rem}
tbody tr:nth-child(even){background:var(--shade)}
tr.tier th{font-style:italic;color:var(--soft)}
tbody th,td.extra,thead th:first-child{text-align:left;font-weight:400}td small{color:var(--soft)}
td.reported{font-style:italic}td.not-run{color:var(--soft)}
.note{font-size:.82rem;color:var(--soft);margin:.2rem 0}img{max-width:100%;height:auto}
details{margin:.6rem 0}summary{cursor:pointer}
pre{background:var(--shade);padding:.8rem;overflow-x:auto;font-size:.8rem;white-space:pre-wrap}
footer{margin-top:3rem;border-top:1px solid var(--line)}
@media(max-width:640px){body{font-size:15px;padding:1rem .75rem}th,td{padding:.25rem .45rem}
h1{font-size:1.5rem}figure img{max-width:none;width:42rem}}
@media print{:root{--ink:#000;--soft:#444;--line:#999;--paper:#fff;--shade:#fff}nav{display:none}
body{max-width:none;font-size:10pt;padding:0}.scroll{overflow:visible}
th,td{padding:.1rem .35rem;font-size:8pt}figure,tr,img{break-inside:avoid}
h2,h3{break-after:avoid}}
"""
FOOTNOTES = (
    "Numbers in brackets are 95 % intervals: bootstrap over physical recordings. Below ten "
    "recordings none is given.",
    "Bold is the best and underlined the second best of rows with the same inputs at test time.",
    "Everything here was measured by handbench; nothing is quoted from a paper unless a cell says "
    "“reported”.",
)


@dataclass(frozen=True)
class Section:
    """A heading with what stands below it (HTML) and the sections inside it."""

    title: str
    body: str
    inside: tuple["Section", ...] = ()


def write(groups: Sequence[Sequence[Result]], path: Path, mixed: bool = False) -> Path:
    """The report of results grouped by split. Figures are drawn beside it, under plots/."""
    folder = path.parent / "plots"
    sections = []
    with progress("report", len(groups), "splits") as advance:
        for results in groups:
            sections.append(_data(results, folder, mixed))
            advance()
    everything = [each for results in groups for each in results]
    sections += [*_training(everything, folder), _sources(everything)]
    write_text(path, page(sections))
    return path


def page(
    sections: Sequence[Section], title: str = "handbench report", told: Sequence[str] = FOOTNOTES
) -> str:
    """The whole page: contents, sections, footnotes. It refers to nothing outside itself."""
    links, body = [], []
    for section in sections:
        links.append(_link(section.title))
        body.append(f"<section><h2 id='{_anchor(section.title)}'>{html.escape(section.title)}</h2>")
        body.append(section.body)
        for part in section.inside:
            body.append(f"<h3>{html.escape(part.title)}</h3>{part.body}")
        body.append("</section>")
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in told)
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width,initial-scale=1'>"
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<header><h1>{html.escape(title)}</h1><p class='note'>handbench {__version__}</p></header>"
        f"<nav aria-label='Contents'><b>Contents</b><ul>{''.join(links)}</ul></nav>"
        f"<main>{''.join(body)}</main>"
        f"<footer><ol class='note'>{notes}</ol></footer></body></html>\n"
    )


def _data(results: Sequence[Result], folder: Path, mixed: bool) -> Section:
    """Tables, figures and cases of one split."""
    body = [as_html(table) for table in tables.all_of(results, mixed)]
    body += figures(plots.captioned(results, folder))
    pictures = []
    for case in gallery.cases(results):
        caption = f"{case.why}: {case.id}"
        pictures.append(
            _picture(encoded(case.picture, ".jpg", JPEG_QUALITY), "jpeg", caption, caption)
        )
    rule = f"<p class='note'>{html.escape(gallery.RULE if pictures else gallery.NOTHING)}</p>"
    inside = Section("Cases", rule + "".join(pictures))
    return Section(str(results[0].protocol["evaluation"]["data"]), "".join(body), (inside,))


def _training(results: Sequence[Result], folder: Path) -> list[Section]:
    """Curves of the runs whose log.csv stands beside a result, or above it; each once."""
    places = [each.folder.resolve() for each in results if each.folder is not None]
    logs = [log for place in places for log in (place / "log.csv", place.parent / "log.csv")]
    drawn = []
    for log in dict.fromkeys(log for log in logs if log.is_file()):
        name = "/".join(log.parent.parts[-3:])
        words = f"Loss and validation error over the training steps of {name}"
        drawn.append((words, plots.training_curve(log, folder, name)))
    return [Section("Training", "".join(figures(drawn)))] if drawn else []


def _sources(results: Sequence[Result]) -> Section:
    body = []
    for each in results:
        name = f"{tables.label(each)} on {each.protocol['evaluation']['data']}"
        told = {"protocol": each.protocol, "provenance": each.provenance}
        text = html.escape(json.dumps(told, indent=2, default=str))
        body.append(f"<details><summary>{html.escape(name)}</summary><pre>{text}</pre></details>")
    return Section("Where the numbers come from", "".join(body))


def figures(drawn: Iterable[tuple[str, Sequence[Path]]]) -> list[str]:
    """Captions and their figures' files: the PNG files among these as pictures inside the page."""
    return [
        _picture(path.read_bytes(), "png", caption, caption, "figure")
        for caption, paths in drawn
        for path in paths
        if path.suffix == ".png"
    ]


def _picture(data: bytes, kind: str, caption: str, alt: str, role: str = "case") -> str:
    encoded = base64.b64encode(data).decode()
    return (
        f"<figure><figcaption>{html.escape(caption)}</figcaption><div class='scroll'>"
        f"<img class='{role}' alt='{html.escape(alt, quote=True)}' "
        f"src='data:image/{kind};base64,{encoded}'></div></figure>"
    )


def _link(title: str) -> str:
    return f"<li><a href='#{_anchor(title)}'>{html.escape(title)}</a></li>"


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
