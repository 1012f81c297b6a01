"""The entry point: every verb, and the module that carries it.

A module is imported only when its verb is used: `flashvault --help` and the plumbing commands stay
quick because they never load Prefect. Each module has a function `register(app)` that adds its
verbs to the Typer application.
"""

from __future__ import annotations

import gc
import importlib
import importlib.metadata
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NoReturn

from deployments.cores import leave_no_core

if TYPE_CHECKING:
    import typer

VERBS = {
    "backup": "runs",
    "restore": "runs",
    "verify": "runs",
    "drill": "runs",
    "prune": "runs",
    "compact": "runs",
    "reconcile": "runs",
    "mount": "mount",
    "image": "image",
    "status": "status",
    "runs": "status",
    "metrics": "metrics",
    "add": "configure",
    "query": "configure",
    "modify": "configure",
    "delete": "configure",
    "apply": "apply",
    "check": "check",
    "map": "mapping",
    "sync": "remote",
    "failover": "remote",
    "failback": "remote",
    "switch": "remote",
    "catalog": "catalog",
    "key": "keys",
    "store": "store",
    "demo": "demo",
    "serve": "serve",
    "lab": "lab",
    "man": "manual",
}
"""Verb to module of `deployments.cli`, in the order in which help shows them."""


def main() -> None:
    """Run the command line."""
    assert sys.flags.optimize == 0, "flashvault's assertions guard data: do not run python -O"
    leave_no_core()
    # numpy's linear algebra is not used: its idle threads would only spin.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Loading modules makes many objects and no garbage: looking for it took a tenth of the start.
    gc.set_threshold(20_000, 20, 100)
    from deployments.cli.grammar import rearrange
    from deployments.cli.output import prepare_streams, printed_to_the_end, reported_errors

    prepare_streams()
    sys.argv[1:] = rearrange(sys.argv[1:])
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    wanted = VERBS.get(words[0]) if words else None
    app = application([wanted] if wanted else list(dict.fromkeys(VERBS.values())))
    as_json = "--json" in sys.argv
    try:
        with reported_errors(as_json=as_json), printed_to_the_end():
            _refuse_unreadable(sys.argv[1:])
            if as_json:
                _run_for_a_program(app)
            app()
    except SystemExit as ended:
        # Not loaded by a verb that knows nothing of Prefect: nothing is waited for then.
        if runtime := sys.modules.get("deployments.runtime"):
            runtime.leave_at_once_if_silent(ended.code)
        raise


def _refuse_unreadable(words: Iterable[str]) -> None:
    """Refuse bytes that are no text: no document of ours, in a bucket or here, could name them."""
    from blocks.errors import ConfigError

    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise ConfigError(
                f"{word!a} is not UTF-8", hint="Type it in a UTF-8 locale: LC_ALL=C.UTF-8."
            ) from error


def _run_for_a_program(app: typer.Typer) -> NoReturn:
    """Run so that wrong usage, too, is one JSON document on stdout."""
    import typer

    from deployments.cli.output import err, print_json

    # Typer brings its own click, and does not give out its types.
    kinds: list[Any] = [k for k in typer.BadParameter.__mro__ if k.__name__ == "UsageError"]
    try:
        status = app(standalone_mode=False)
    except tuple(kinds) as usage:
        about = usage.ctx.command_path if usage.ctx else "flashvault"
        fault = {"type": "UsageError", "message": usage.format_message()}
        fault["hint"] = f"See {about} --help."
        print_json({"ok": False, "error": fault})
        err().print(f"error: {fault['message']}", markup=False)
        err().print(f"hint: {fault['hint']}", markup=False)
        sys.exit(2)
    except typer.Abort:
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)


def application(modules: Iterable[str]) -> typer.Typer:
    """Build the command line with the verbs of some modules of `deployments.cli`."""
    import typer

    app = typer.Typer(
        name="flashvault",
        no_args_is_help=True,
        add_completion=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        help="Back up PowerHA resource groups from FlashCopy snapshots, and get them back.",
        epilog="Try it: flashvault demo. Read on: flashvault VERB --help, or flashvault man.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback(invoke_without_command=True)
    def root(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
        if version:
            print(importlib.metadata.version("flashvault"))
            raise typer.Exit

    for module in modules:
        importlib.import_module(f"deployments.cli.{module}").register(app)
    return app


if __name__ == "__main__":
    main()
