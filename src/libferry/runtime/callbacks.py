"""Callbacks: Python callables as C functions."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from libferry import _core
from libferry.abi import ABIS, CallPlan, CType, FunctionType, Pointer, lower, spell
from libferry.abi.lower import NoPlan
from libferry.errors import ArgumentTypeError, UnsupportedDeclaration
from libferry.runtime import values
from libferry.runtime.binding import compile_callback, compile_plan, describe_callback
from libferry.runtime.memory import Pointer as MemoryPointer

if TYPE_CHECKING:
    from libferry.runtime.instance import Instance

GUESTS = 16  # threads of the library that can call back at once; CHANNEL_GUESTS in channel.h


@dataclass(frozen=True)
class _Parameter:
    type: CType
    name: str = ""


@dataclass(frozen=True)
class _Signature:
    """A callback's, for messages as for the plan."""

    name: str
    result: CType
    parameters: tuple[_Parameter, ...]
    plan: CallPlan
    type: str

    def __str__(self) -> str:
        return self.type


class Callback(_core.Callback):
    """A Python callable that C can call. Made by ``Library.callback``.

    Pass it where its function pointer type is expected. It lives until ``release`` or
    until its library closes: C may keep it in between. Calling it calls the callable.
    After a restart C knows nothing of it until it is passed again.
    """

    home: Instance
    pointer: Pointer
    error: object = None
    renewed: Callback | None = None  # itself after a restart

    def release(self) -> None:
        """Let go of the callable. C must not call it any more: that ends its worker.

        In this process such a call does nothing and is reported by
        ``sys.unraisablehook``. Twice is fine.
        """
        if self.renewed is not None:
            self.renewed.release()
        if self.address and self.session.state == "usable":
            self.home.services.callback(self.number, 0)
        self.drop()

    def __call__(self, *arguments: object) -> object:
        """Call the callable, without C."""
        return self.callable(*arguments)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __repr__(self) -> str:
        state = "" if self.address else ", released"
        return f"<libferry.Callback {self.callable!r} as {self.type}{state}>"


class FunctionPointer(MemoryPointer):
    """A pointer to a function, which can be called."""

    _function: _core.Function | None = None

    def __call__(self, *values: object) -> Any:
        """Call the function there; nothing checks that there is one."""
        if self._function is None:
            signature = _signature(self.home.abi, self.ctype.to, f"{self.address:#x}")
            plan = compile_plan(signature, self.home.hooks)
            self._function = _core.Function(
                self.session, self.address, signature.name, plan, False, False
            )
        return self._function(*values)


def _signature(abi_name: str, ctype: CType, name: str) -> _Signature:
    assert isinstance(ctype, FunctionType)
    tried = f"call through {spell(Pointer(ctype, 0))}"
    if ctype.variadic:
        raise UnsupportedDeclaration(
            tried, "it is variadic", hint="declare a function pointer with the arguments you pass"
        )
    try:
        plan = lower(ABIS[abi_name], ctype.result, ctype.parameters, convention=ctype.convention)
    except NoPlan as reason:
        raise UnsupportedDeclaration(
            tried, str(reason), hint="a function in C that takes this by pointer can stand between"
        ) from None
    parameters = tuple(_Parameter(one) for one in ctype.parameters)
    return _Signature(name, ctype.result, parameters, plan, ctype.name)


class Callbacks:
    """The callbacks of a library in one session, and the threads that serve its threads.

    Attributes:
        threads: their idents.
    """

    def __init__(self, library: Instance) -> None:
        self._library = weakref.ref(library)
        self._plans: dict[FunctionType, _core.Plan] = {}
        self._passed: dict[tuple[str, Callable[..., object]], Callback] = {}
        self._listeners = 0
        self.threads: set[int] = set()
        self._lock = threading.Lock()

    def make(
        self, pointer: Pointer, function: Callable[..., object], error: object = None
    ) -> Callback:
        """A callback of a function pointer's type.

        Raises:
            UnsupportedDeclaration: it takes or gives what cannot be lowered.
            ArgumentTypeError, ArgumentValueError: ``function`` cannot be called, or
                ``error`` is no value of its result.
        """
        if not callable(function):
            raise ArgumentTypeError(
                f"make a callback of type {pointer.name}",
                f"{type(function).__name__} cannot be called",
                hint="give a function, or any other callable",
            )
        library = self._library()
        assert library is not None
        assert isinstance(pointer.to, FunctionType)
        plan = self._plan(library, pointer.to)
        callback = Callback(
            library.session,
            plan,
            function,
            pointer.name,
            error,
            describe_callback(plan.signature.plan),
        )
        callback.home, callback.pointer, callback.error = library, pointer, error
        try:
            if error is not None:
                values.encode(library, pointer.to.result, error)
            callback.address = library.services.callback(callback.number, callback.description)
        except BaseException:
            callback.drop()
            raise
        self._listen(library)
        return callback

    def passed(self, pointer: Pointer, function: Callable[..., object]) -> Callback:
        """The callback of a callable that is passed as it is: one for each, which is kept."""
        key = (pointer.name, function)
        try:
            known = self._passed.get(key)
        except TypeError:  # not hashable: nobody can find it again
            return self.make(pointer, function)
        if known is None or not known.address:
            known = self._passed[key] = self.make(pointer, function)
        return known

    def again(self, callback: Callback) -> Callback:
        """The same callback here, of one that was made before a restart."""
        known = callback.renewed
        if known is None or known.home is not self._library():
            known = callback.renewed = self.make(
                callback.pointer, callback.callable, callback.error
            )
        return known

    def _plan(self, library: Instance, ctype: FunctionType) -> _core.Plan:
        plan = self._plans.get(ctype)
        if plan is None:
            signature = _signature(library.abi, ctype, f"the callback {ctype.name}")
            plan = self._plans[ctype] = compile_callback(signature, library.hooks)
        return plan

    # ---- threads of the library ----

    def _listen(self, library: Instance) -> None:
        """Serve callbacks from the library's own threads from the first callback on."""
        if library.isolation == "worker" and self._listeners == 0:
            self._listen_more(library.session)

    def _listen_more(self, session: _core.Session) -> None:
        """One listener more: there is always one that has nothing to do, up to a limit."""
        with self._lock:
            guest = self._listeners
            if guest == GUESTS:
                return
            self._listeners += 1
        listener = _core.Listener(session, guest)
        more = weakref.WeakMethod(self._listen_more)
        threading.Thread(
            target=_serve,
            args=(listener, weakref.ref(session), more, self.threads),
            name=f"libferry callbacks {guest}",
            daemon=True,
        ).start()


def _serve(
    listener: _core.Listener,
    session: weakref.ref[_core.Session],
    more: weakref.ref[Callable[[_core.Session], None]],
    threads: set[int],
) -> None:
    """Serve until the session is over, without keeping it alive while there is nothing."""
    threads.add(threading.get_ident())
    while _serve_once(listener, session(), more):
        listener.wait()


def _serve_once(
    listener: _core.Listener,
    session: _core.Session | None,
    more: weakref.ref[Callable[[_core.Session], None]],
) -> bool:
    def taken() -> None:
        start = more()
        if start is not None and session is not None:
            start(session)

    return session is not None and listener.serve(session, taken)
