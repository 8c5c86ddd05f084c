"""handbench list: known methods, variants, data sets, metrics and protocols."""

from typing import Any

import click

WHAT = ("methods", "variants", "datasets", "metrics", "protocols")


@click.command("list")
@click.argument("what", type=click.Choice(WHAT), default="methods")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON on stdout.")
def names(what: str, as_json: bool) -> None:
    """Known names of a kind, those of other installed packages too."""
    import json

    rows = {"variants": variants, "metrics": metrics, "protocols": protocols}.get(what)
    found = rows() if rows else registered(what.removesuffix("s"))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    width = max((len(row["name"]) for row in found), default=0) + 2
    for row in found:
        click.echo(f"{row['name']:<{width}}{row['about']}".rstrip())


def registered(kind: str) -> list[dict[str, Any]]:
    """Names of the registry with the address of what they stand for."""
    from handbench.registry import table

    return [{"name": name, "about": address} for name, address in table(kind).items()]


def variants() -> list[dict[str, Any]]:
    """METHOD/VARIANT of every method, with its place in the paper (its CELLS) and its presets.

    Needs torch, as methods do.
    """
    from handbench import registry
    from handbench.console import say
    from handbench.errors import MissingPackage

    found = []
    for method in registry.table("method"):
        try:
            kind = registry.load("method", method)
        except ModuleNotFoundError as error:
            if error.name == "torch":
                raise MissingPackage("torch", "train", "listing variants") from error
            if method in registry.builtin("method"):
                raise
            say(f"{method} is left out, its package cannot be imported: {error}")
            continue
        cells = getattr(kind, "CELLS", {})
        found += [
            {
                "name": f"{method}/{variant}",
                "about": cells.get(variant, ""),
                "options": options,
                "presets": [*kind.PRESETS],
            }
            for variant, options in kind.VARIANTS.items()
        ]
    return found


def metrics() -> list[dict[str, Any]]:
    from handbench.scoring.metrics import METRICS

    return [
        {
            "name": metric.name,
            "about": f"{metric.title} [{metric.unit or '-'}], {metric.better} is better",
            "needs": list(metric.needs),
        }
        for metric in METRICS.values()
    ]


def protocols() -> list[dict[str, Any]]:
    from handbench.protocol import PROTOCOLS

    return [
        {
            "name": protocol.name,
            "about": f"version {protocol.version}: {protocol.about}",
            "metrics": list(protocol.metrics),
        }
        for protocol in PROTOCOLS.values()
    ]
