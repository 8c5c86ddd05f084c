"""handbench compare: the paired difference of two results."""

import click

from handbench.cli import complete


@click.command()
@click.argument("a", shell_complete=complete.runs)
@click.argument("b", shell_complete=complete.runs)
@click.option("--data", help="Which split, NAME/SPLIT; default the runs' test split.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def compare(a: str, b: str, data: str | None, as_json: bool) -> None:
    """Difference A - B over the hands that both scored, with an interval over recordings.

    p is two-sided, corrected by Holm's method over the lines printed.
    """
    import json

    from handbench.evaluate import collect
    from handbench.showing.compare import differences, lines

    first, second = collect((a,), data)[0], collect((b,), data)[0]
    rows = differences(first, second)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        click.echo("\n".join(lines(rows, first, second)))
