"""`flashvault lab`: the whole system on this machine, with simulated iron."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated

import typer

from blocks.errors import ConfigError
from deployments.cli.fault import fault
from deployments.cli.output import err, out, print_json, reported_errors
from deployments.cli.signals import terminated_like_ctrl_c
from deployments.lab import site as sites
from deployments.lab.site import Site

Directory = Annotated[
    Path | None, typer.Option("--dir", help="The lab's directory.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

SIZES = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}

lab = typer.Typer(no_args_is_help=True, help="The whole system on this machine: `lab up`, `down`.")


def register(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    lab.add_typer(fault, name="fault")
    app.add_typer(lab, name="lab", rich_help_panel="On one machine")


def parse_size(text: str) -> int:
    """Read `256M`, `4G`, `268435456`."""
    number, unit = text.upper().removesuffix("IB").removesuffix("B"), ""
    if number[-1:] in SIZES and number[-1:]:
        number, unit = number[:-1], number[-1]
    if not number.isdecimal():
        raise ConfigError(f"{text!r} is no size", hint="Write it as 256M or 4G.")
    return int(number) * SIZES[unit]


@lab.command()
def up(
    directory: Directory = None,
    size: Annotated[str, typer.Option(help="Size of each volume.")] = "256M",
    groups: Annotated[int, typer.Option(min=1, max=500, help="How many resource groups.")] = 1,
    volumes: Annotated[int, typer.Option(min=1, max=32, help="How many volumes each has.")] = 2,
    empty: Annotated[bool, typer.Option(help="Leave the configuration out.")] = False,
    prefect: Annotated[bool, typer.Option(help="Start a Prefect server.")] = True,
    worker: Annotated[bool, typer.Option(help="Start a worker for each work pool.")] = True,
    foreground: Annotated[bool, typer.Option(help="Stay; stop all on Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start the lab and say where everything is."""
    where = directory or sites.default_directory()
    with reported_errors(as_json=as_json), terminated_like_ctrl_c():
        was_up = any(row["is_running"] for row in sites.status(where)["processes"])
        try:
            site = sites.up(
                where,
                size_bytes=parse_size(size),
                groups=groups,
                volumes=volumes,
                with_prefect=prefect,
                register_profiles=not empty,
                with_worker=worker,
            )
            if as_json:
                print_json(site.document())
            else:
                _describe(site)
            if foreground:
                err().print("[dim]the lab stays up until Ctrl-C[/]")
                threading.Event().wait()
        except KeyboardInterrupt:
            # Whenever it comes: an interrupted `up` leaves nothing running.
            if not was_up:
                err().print("stopping the lab")
                sites.down(where)
            if not foreground:
                raise


def _describe(site: Site) -> None:
    console = out()
    console.print(f"[bold green]the lab is up[/] in {site.directory}\n")
    for array in site.storage_systems:
        login = f"ssh -i {array.key_file} -p {array.port} {array.user}@{array.address}"
        console.print(f"  array  {array.name:<9} {login} lsfcmap -delim :")
    for node in site.nodes:
        login = f"ssh -i {node.key_file} -p {node.port} {node.user}@{node.address}"
        console.print(f"  node   {node.name:<9} {login} lspv -u")
    for host in site.hosts:
        console.print(f"  host   {host.name:<9} {host.device_directory}")
    console.print(f"  bucket {site.s3.bucket:<9} {site.s3.endpoint}")
    if site.prefect.ui_url:
        console.print(f"  UI     {'prefect':<9} {site.prefect.ui_url}")
    console.print(f'\n  eval "$(flashvault lab env --dir {site.directory})"')
    console.print(f"  flashvault lab down --dir {site.directory}")


@lab.command()
def down(
    directory: Directory = None,
    purge: Annotated[bool, typer.Option(help="Remove the directory too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Stop everything of the lab. The volumes and the bucket stay, unless purged."""
    where = directory or sites.default_directory()
    with reported_errors(as_json=as_json):
        stopped = sites.down(where, purge=purge)
        if as_json:
            print_json({"ok": True, "stopped": stopped})
        else:
            out().print(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")


@lab.command()
def status(directory: Directory = None, as_json: AsJson = False) -> None:
    """Say what is running. Exit status 1 when the lab is not wholly up."""
    where = directory or sites.default_directory()
    with reported_errors(as_json=as_json):
        found = sites.status(where)
        if as_json:
            print_json(found)
        else:
            for row in found["processes"]:
                out().print(f"{row['name']:<10} {'running' if row['is_running'] else 'ended'}")
            if not found["processes"]:
                out().print(f"no lab is up in {where}")
    raise typer.Exit(0 if found["is_up"] else 1)


@lab.command()
def env(directory: Directory = None) -> None:
    """Print shell exports with which every other command talks to the lab."""
    with reported_errors():
        print(sites.load_site(directory or sites.default_directory()).exports(), end="")
