"""The commands, each imported when it is asked for.

A command's module imports the rooms it asks, and some of those take longer to import than
``libferry check`` needs for its answer. So the names are here, and what is behind a name is
imported when it is called, or when the list of all of them is printed with a line on each.

A module has ``command``, or ``app`` if it has commands of its own below it; what the option
parser is to know besides is in ``PARSER``. One that ``straight`` knows only mentions ``typer``
in its annotations, and is given it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

NAMES = (
    "call",
    "inspect",
    "check",
    "layout",
    "doctor",
    "run",
    "learn",
    "tour",
    "explain",
    "fix",
    "trace",
    "target",
)

STYLE: Mapping[str, Any] = {
    "rich_markup_mode": None,  # help is plain text: it is read in logs and over pipes, too
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["--help", "-h"]},
}


class Commands(TyperGroup):
    """The group of all commands."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # the option parser looks here for names, also for near ones
        self.commands: dict[str, Any] = dict.fromkeys(NAMES)

    def get_params(self, ctx: Any) -> list[Any]:
        """Give all options of the group itself, which take their words as they are.

        Newer typers check and convert each word by pydantic, and to import that takes as
        long as the whole answer to a quick question.
        """
        return _as_they_are(super().get_params(ctx))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Give a command, or None; ``ctx`` is click's context."""
        if cmd_name in NAMES and self.commands[cmd_name] is None:
            self.commands[cmd_name] = _make(cmd_name)
        return self.commands.get(cmd_name)


def _as_they_are(parameters: list[Any]) -> list[Any]:
    """Put something short in the place of click's ``Parameter.process_value``."""
    for parameter in parameters:
        vars(parameter)["process_value"] = partial(_as_it_is, parameter)
    return parameters


def _as_it_is(parameter: Any, context: Any, value: Any) -> Any:
    return parameter.callback(context, parameter, value) if parameter.callback else value


def _make(name: str) -> Any:
    module = import_module(f"libferry.cli.{name}")
    vars(module).setdefault("typer", typer)
    app: typer.Typer | None = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(**STYLE)
        app.command(name, **getattr(module, "PARSER", {}))(module.command)
    made = typer.main.get_command(app)
    made.name = name
    return made
