"""handbench reported: published figures as data, and whether they add up."""

import click


@click.command()
@click.option("--paper", help="One source only: a paper, or landscape.")
@click.option("--check", is_flag=True, help="Check all of them; write what is found as a page.")
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout instead of CSV.")
@click.option(
    "--out", type=click.Path(dir_okay=False), help="Default of --check: docs/reported_numbers.md."
)
def reported(paper: str | None, check: bool, as_json: bool, out: str | None) -> None:
    """Print the published figures (CSV), or --check them against arithmetic and each other."""
    from handbench.console import say
    from handbench.files import write_text
    from handbench.published import reported as published

    if not check:
        text = _listed(published.load(paper), as_json)
        if out:
            write_text(out, text)
            say(f"wrote {out}")
        else:
            click.echo(text, nl=False)
        return
    from handbench.published.reported_check import check as find
    from handbench.published.reported_page import page

    cells, claims = published.load(paper), published.claims()
    claims = [claim for claim in claims if paper in (None, claim.paper)]
    found = find(cells, claims, published.counts())
    for each in found:
        say(f"{each.grade:<13} {each.where}: {each.what}")
    say(f"{len(found)} findings in {len(cells)} published figures and {len(claims)} sentences")
    if as_json:
        import json
        from dataclasses import asdict

        click.echo(json.dumps([asdict(each) for each in found], indent=2, ensure_ascii=False))
    # a part of the findings must not replace the committed page unasked
    target = out or (None if paper or as_json else "docs/reported_numbers.md")
    if target:
        write_text(target, page(cells, claims, found))
        say(f"wrote {target}")


def _listed(cells: list, as_json: bool) -> str:
    import csv
    import io
    import json
    from dataclasses import asdict

    rows = [asdict(cell) for cell in cells]
    if as_json:
        return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
