"""handbench: the command line. Each command is loaded only when it is called."""

import os
import sys
from difflib import get_close_matches
from importlib import import_module

import click

from handbench import __version__
from handbench.errors import HandbenchError

# In the order of an ordinary piece of work: name -> (module:command, one line of help).
COMMANDS = {
    "demo": ("handbench.cli.demo:demo", "The whole chain on synthetic data, in minutes."),
    "prepare": ("handbench.cli.prepare:prepare", "Raw data set -> HDF5 with occlusion labels."),
    "synth": ("handbench.cli.synth:synth", "A miniature raw tree in an official format."),
    "show": ("handbench.cli.show:show", "Draw or list what is in a prepared split."),
    "stats": ("handbench.cli.stats:stats", "How splits are occluded, side by side."),
    "doctor": ("handbench.cli.doctor:doctor", "What is wrong or missing, and how to mend it."),
    "train": ("handbench.cli.train:train", "Train one method variant."),
    "import": ("handbench.cli.import_:import_", "The authors' weights -> a run."),
    "predict": ("handbench.cli.predict:predict", "A run's predictions for a prepared split."),
    "eval": ("handbench.cli.eval:evaluate", "Score runs, or anybody's prediction file."),
    "export": ("handbench.cli.export:export", "Predictions -> official submission files."),
    "compare": ("handbench.cli.compare:compare", "Paired difference of two results."),
    "reported": ("handbench.cli.reported:reported", "Published figures, and do they add up?"),
    "speed": ("handbench.cli.speed:speed", "Size, latency and throughput of a method or a run."),
    "tables": ("handbench.cli.tables:tables", "Results -> LaTeX, CSV, Markdown, HTML tables."),
    "plots": ("handbench.cli.plots:plots", "Results -> PCK/AUC and occlusion plots."),
    "report": ("handbench.cli.report:report", "One self-contained HTML page."),
    "list": ("handbench.cli.list:names", "Known methods, variants, data sets, metrics, protocols."),
}
# what these have made is kept when they are stopped
RESUMING = ("demo", "prepare", "train", "eval")


class Commands(click.Group):
    """Loads a command's module when the command is asked for, and no sooner."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS]  # "list" is a module here once that command is loaded

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name][0].partition(":")
        return getattr(import_module(module), attribute)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands, in working order"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = args[0] in COMMANDS or args[0].startswith("-")
        if not (known or ctx.resilient_parsing):
            close = get_close_matches(args[0], COMMANDS, n=1, cutoff=0.5)
            hint = f"; did you mean '{close[0]}'?" if close else " (handbench --help)"
            raise HandbenchError(f"no command '{args[0]}'{hint}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=Commands,
    context_settings={"auto_envvar_prefix": "HANDBENCH", "help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="handbench")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def group(debug: bool) -> None:
    """Fair, fast, reproducible benchmarking of occlusion-robust 3D hand mesh and pose estimation.

    The first thing to try:  handbench demo
    """


def main() -> None:
    """Run the command line; a user's error is one line on stderr and exit code 1."""
    words = [word for word in sys.argv[1:] if word != "--debug"]  # wherever it stands
    debug = len(words) < len(sys.argv) - 1 or bool(os.environ.get("HANDBENCH_DEBUG"))
    try:
        code = group.main(words, prog_name="handbench", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Abort:
        goes_on = words and words[0] in RESUMING
        fail(f"stopped; the same command {'goes on from here' if goes_on else 'starts anew'}", 130)
    except click.UsageError as error:
        error.show()
        sys.exit(2)
    except HandbenchError as error:
        if debug:
            raise
        fail(str(error))
    except OSError as error:
        if debug:
            raise
        fail(describe(error))
    except ModuleNotFoundError as error:
        if debug or str(error.name).startswith("handbench"):
            raise
        fail(
            f"{sys.executable} has no package '{error.name}': install handbench with what it "
            "needs (pip install .), or what a plug-in needs; --debug shows who asks"
        )


def describe(error: OSError) -> str:
    """An operating-system error as one line: what, which file."""
    import errno

    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full{where}: free some space and run the same command again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission{where}: work in a folder of yours, or name one with --out"
    return f"{error.strerror or error}{where}"


def fail(message: str, code: int = 1) -> None:
    click.echo(f"handbench: {message}", err=True)
    sys.exit(code)
