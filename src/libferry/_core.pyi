"""The compiled half; native/extension has its story."""

from typing import Any, Final

KIND_VOID: Final[int]
KIND_SIGNED: Final[int]
KIND_UNSIGNED: Final[int]
KIND_BOOL: Final[int]
KIND_FLOAT: Final[int]
KIND_X87: Final[int]
KIND_POINTER: Final[int]
KIND_STRING: Final[int]
KIND_BYTES: Final[int]

class Session:
    def __init__(
        self,
        *,
        arena: int = 0,
        spin_ns: int = 0,
        timeout_ns: int = 0,
        doorbell: bool = False,
        one_thread: bool = False,
    ) -> None: ...
    @property
    def errno(self) -> int: ...
    @property
    def last_error(self) -> int: ...
    @property
    def closed(self) -> bool: ...
    @property
    def memory(self) -> int: ...
    @property
    def arena_free(self) -> int: ...
    def attach(self, pid: int, socket: int, timeout_ns: int, /) -> None: ...
    def services(self) -> tuple[int, ...]: ...
    def close(self, handle: int = 0, /) -> None: ...
    def listen(self, guest: int, taken: object, /) -> bool: ...
    def death(self) -> dict[str, Any]: ...

class Plan:
    signature: Any
    def __init__(
        self,
        signature: object,
        arguments: tuple[object, ...],
        result: object,
        addresses: tuple[tuple[int, int, int], ...],
        encoding: str | None,
        vector_count: int,
        x87_results: int,
        stack_bytes: int,
    ) -> None: ...

class Function:
    __name__: str
    session: Session
    service: bool
    address: int
    def __init__(
        self,
        session: Session,
        address: int,
        name: str,
        plan: Plan,
        keep_gil: bool,
        service: bool,
    ) -> None: ...
    @property
    def signature(self) -> Any: ...
    def __call__(self, *values: Any) -> Any: ...

class Callback:
    address: int
    number: int
    callable: Any
    type: str
    session: Session
    def __init__(
        self,
        session: Session,
        plan: Plan,
        callable: object,
        type: str,
        error: object,
        description: bytes,
    ) -> None: ...
    @property
    def description(self) -> int: ...
    @property
    def signature(self) -> Any: ...
    def drop(self) -> None: ...

class Buffer:
    def __init__(self, session: Session, size: int, type: str | None = None) -> None: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def __len__(self) -> int: ...
    @property
    def address(self) -> int: ...
    @property
    def freed(self) -> bool: ...
    @property
    def session(self) -> Session: ...
    @property
    def type(self) -> str | None: ...
    def free(self) -> None: ...

class Pointer:
    def __init__(self, session: Session, type: str, address: int) -> None: ...
    @property
    def address(self) -> int: ...
    @property
    def type(self) -> str: ...
    @property
    def session(self) -> Session: ...

def set_hooks(*, argument: object, count: object, ended: object, arena: object) -> None: ...
