"""The program `pano-med`: its options, and how an error becomes one line and an exit code.

Exit codes: 0 done; 1 some input or the machine failed, and everything else was done; 2 wrong usage; 130 Ctrl-C.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pano_med import __version__

#: Errors that our own code raises for people; their message is one clear sentence.
EXPECTED = (ValueError, TypeError, KeyError, OSError, ArithmeticError, ImportError)


def say(message: str) -> None:
    """One line on standard error, with the program's name in front."""
    print(f"pano-med: {one_line(message)}", file=sys.stderr, flush=True)


def one_line(message: object) -> str:
    """The message without line breaks or doubled spaces; of a KeyError, its words without quotes."""
    text = message.args[0] if isinstance(message, KeyError) and message.args else message
    return " ".join(str(text).split()) or type(message).__name__


class Plain(TyperGroup):
    """Commands whose errors are one line on standard error and exit code 1, or a traceback with --debug."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # the reader went away (`| head`); typer ends quietly
        except KeyboardInterrupt as stop:
            say(str(stop) or "stopped; what was finished before is complete")
            raise typer.Exit(130) from None
        except EXPECTED as error:
            if ctx.params.get("debug"):
                raise
            say(one_line(error))
        except RuntimeError as error:
            if ctx.params.get("debug") or isinstance(error, typer.Exit | typer.Abort):
                raise  # typer's own ways out are RuntimeErrors too
            say(f"{one_line(error)} (`pano-med --debug ...` shows where)")
        raise typer.Exit(1)


app = typer.Typer(
    name="pano-med",
    cls=Plain,
    help="Panoptic segmentation of medical images: every pixel one class, every nucleus its own number.\n\n"
    "Not for diagnosis.",
    epilog="Exit codes: 0 done, 1 an input failed (the others are done), 2 wrong usage, 130 stopped by Ctrl-C.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        print(f"pano-med {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options that stand before the command."""


def main() -> None:
    """Entry point of `pano-med`."""
    app(prog_name="pano-med")
