"""``libferry call``: call one function of a library."""

from __future__ import annotations

import errno as errno_names
import os
import re
import signal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from libferry import _core
from libferry.abi import ABIS
from libferry.cli import output, words
from libferry.cli.failure import UsageError
from libferry.errors import UnsupportedDeclaration
from libferry.runtime import Library, load
from libferry.sandbox.layers import ALL


class Isolation(StrEnum):
    """Where the library may live, as ``libferry.load`` takes it."""

    AUTO = "auto"
    IN_PROCESS = "in-process"
    NAMESPACE = "namespace"
    WORKER = "worker"
    SANDBOX = "sandbox"


class Command(TyperCommand):
    """A command one of whose arguments may be ``-5``.

    To the option parser that is an option nobody has defined. It is told to leave
    such words alone, and what it left that is no number is refused here, so that a
    mistyped option is not passed to the library.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options; ``ctx`` is click's context."""
        separated = "--" in args
        ctx.ignore_unknown_options = True
        rest: list[str] = super().parse_args(ctx, args)
        given = ctx.params.get("arguments") or []
        for word in [ctx.params.get("library"), ctx.params.get("declaration"), *given]:
            if not separated and word and word.startswith("-") and not _NUMBER.fullmatch(word):
                raise UsageError(
                    ctx.command_path,
                    f"no such option: {word}",
                    hint=f"see {ctx.command_path} --help; to pass {word} to the function, put -- "
                    "before its arguments",
                )
        return rest


# what follows the minus of a number, or of several; alone it is a text, or a letter
_NUMBER = re.compile(r"-(?:\.?\d.*|inf|infinity|nan|)", re.IGNORECASE | re.DOTALL)

PARSER = {"cls": Command}


def command(
    library: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="The library: a path, or the bare name of an installed one, such as libz.so.1.",
        ),
    ],
    declaration: Annotated[
        str, typer.Argument(metavar="DECL", help="The function, as C declares it.")
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARGS", help="A word for each of its parameters."),
    ] = None,
    isolation: Annotated[
        Isolation,
        typer.Option(
            help="worker: in a process of its own. in-process: in this one. auto: in this one "
            "if it can hold the library. namespace: in this one, with copies of all it needs. "
            "sandbox: in a process that may do what its profile says."
        ),
    ] = Isolation.WORKER,
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="P", help="What a sandbox allows: pure (the default), another name, a file."
        ),
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LAYER",
            help="A layer of the sandbox without which nothing is called, or all; "
            "libferry doctor lists them.",
        ),
    ] = None,
    sysroot: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="A folder with the C library of the library's system."),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            metavar="S", min=0.001, max=1e9, help="Seconds after which the call is ended."
        ),
    ] = None,
    arena: Annotated[
        int | None,
        typer.Option(
            metavar="BYTES",
            min=1,
            help="Memory to share with a worker, if 1 GiB "
            "(256 MiB for a 32-bit one) is too little.",
        ),
    ] = None,
    dump: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="A folder that gets a minidump if the library crashes its process."
        ),
    ] = None,
    encoding: Annotated[
        str, typer.Option(metavar="E", help="How text becomes char, such as gbk.")
    ] = "utf-8",
    as_json: Annotated[
        bool, typer.Option("--json", help="Answer with JSON: the result and what goes with it.")
    ] = False,
) -> None:
    """Call one function of a library.

    \b
    libferry call libm.so.6 'double cos(double)' 0
    libferry call ./old.dll 'int add(int a, int b)' 2 -5
    libferry call libz.so.1 'unsigned long crc32(unsigned long, const void *, unsigned)' 0 hello 5
    libferry call libc.so.6 'int gethostname(char *name, size_t)' out:64 64

    The result alone goes to standard output, followed by the memory that was given as
    out. An errno that the call set is noted on standard error.

    \b
    How to write an argument, by the type of its parameter:
      integer           42  -5  0xff     (char: also a letter)
      float, double     1.5  -2e9  inf  nan
      _Bool             true  false
      const char *      text
      bytes, char *     text  hex:00ff  @file (its contents)
      numbers           1,2,3
      any pointer       null
      pointer that      out:64 (64 bytes)
      is written to     out, out=7 (one number; 7 before the call)
    Text that looks like one of these is written text:..., as in text:null.

    The library gets a process of its own here, even if this one could hold it: a
    mistake in the declaration then ends that process, and is reported.
    """
    _check_encoding(encoding)
    with load(
        library,
        isolation=isolation.value,
        profile=profile,
        require=ALL if require == [ALL] else require or (),
        sysroot=sysroot,
        timeout=timeout,
        encoding=encoding,
        arena=arena,
        dump=dump,
    ) as opened:
        function = opened.function(declaration)
        if not isinstance(function, _core.Function):
            raise UnsupportedDeclaration(
                f"call {function.__name__} from the command line",
                "it takes more than plain arguments",
                hint="declare what you pass: 'int printf(const char *format, int number)'",
            )
        values, outputs = words.read(opened, function, arguments or [], encoding)
        if opened.isolation in ("in-process", "namespace"):
            _let_ctrl_c_end_this_process()
        result = words.plain(function(*values))
        errno, last_error = opened.errno, opened.last_error
        if as_json:
            output.write_json(
                {
                    "result": words.json_number(result),
                    "out": [one.as_dict() for one in outputs],
                    "errno": errno,
                    "last_error": last_error,
                    "isolation": opened.isolation,
                    "abi": opened.abi,
                }
            )
            return
        if function.signature.plan.result:
            output.write_exactly(words.spoken(result) + "\n", encoding)
        for one in outputs:
            output.lines(one.lines(clip=output.to_terminal()))
        _note(opened, errno, last_error)


def _let_ctrl_c_end_this_process() -> None:
    """A C function does not look whether Python noted a signal; the kernel acts at once."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _check_encoding(encoding: str) -> None:
    try:
        "".encode(encoding)
    except (LookupError, ValueError):
        raise UsageError(
            "libferry call",
            f"{encoding!r} is not an encoding of text",
            hint="such as utf-8, gbk, shift_jis, cp1252 or latin-1",
        ) from None


def _note(library: Library, errno: int, last_error: int) -> None:
    if errno:
        # the numbers are this system's only if the library is for it
        name = errno_names.errorcode.get(errno) if "linux" in ABIS[library.abi].os else None
        meaning = f" ({name}: {os.strerror(errno)})" if name else ""
        output.remark("note", f"errno is {errno}{meaning}")
    if last_error:
        output.remark("note", f"GetLastError() is {last_error}")
