"""The compiled half; native/extension has its story."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

_Row = TypeVar("_Row", bound=tuple[Any, ...])

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
    services_of: Any
    family: int
    def __init__(
        self,
        *,
        arena: int = 0,
        spin_ns: int = 0,
        timeout_ns: int = 0,
        doorbell: bool = False,
        one_thread: bool = False,
        error_location: int = 0,
        key_block: int = 0,
    ) -> None: ...
    @property
    def errno(self) -> int: ...
    @property
    def last_error(self) -> int: ...
    @property
    def closed(self) -> bool: ...
    @property
    def state(self) -> str: ...
    @property
    def memory(self) -> int: ...
    @property
    def bell(self) -> int: ...
    @property
    def lanes(self) -> int: ...
    @property
    def base(self) -> int: ...
    @property
    def channel(self) -> tuple[int, int] | None: ...
    def wait_any(self, pendings: list[Pending], rung: int, /) -> None: ...
    def ring(self) -> None: ...
    @property
    def arena_free(self) -> int: ...
    def attach(
        self,
        pid: int,
        socket: int,
        timeout_ns: int,
        /,
        *,
        listener: int = -1,
        policy: bytes = b"",
    ) -> None: ...
    phase: int
    @property
    def notices_lost(self) -> int: ...
    def notices(
        self,
    ) -> list[tuple[int, int, tuple[int, ...], bytes | None, int, bytes | None, int, int]]: ...
    def services(self) -> tuple[int, ...]: ...
    def close(self, handle: int = 0, /) -> None: ...
    def death(self) -> dict[str, Any]: ...
    def fault(self) -> tuple[bytes, bytes, bytes] | None: ...

class Plan:
    signature: Any
    def __init__(
        self,
        signature: object,
        arguments: tuple[object, ...],
        result: object,
        addresses: tuple[tuple[int, int, int], ...],
        encoding: str | None,
        library: object,
        vector_count: int,
        x87_results: int,
        stack_bytes: int,
    ) -> None: ...

class Function:
    __name__: str
    session: Session
    service: bool
    keep_gil: bool
    timeout_ns: int
    address: int
    def __init__(
        self,
        session: Session,
        address: int,
        name: str,
        plan: Plan,
        keep_gil: bool,
        service: bool,
        timeout_ns: int = ...,
    ) -> None: ...
    @property
    def signature(self) -> Any: ...
    def within(self, seconds: float | None) -> Function: ...
    def timed(self, timeout_ns: int, /) -> Function: ...
    def current(self) -> Function: ...
    def __call__(self, *values: Any) -> Any: ...
    def map(self, *columns: Any, out: Any = None, progress: Any = None) -> Any: ...
    def batch(self, rows: Any) -> list[Any]: ...
    def post(self, *values: Any) -> Pending: ...
    def fill(self, frame: Any, place: int, values: tuple[Any, ...], /) -> None: ...
    def call_rows(
        self, rows: tuple[tuple[Any, ...], ...], /
    ) -> tuple[list[Any], dict[int, Exception]]: ...

class Listener:
    def __init__(self, session: Session, guest: int) -> None: ...
    def wait(self) -> None: ...
    def serve(self, session: Session, taken: object, /) -> bool: ...

class Pending:
    def wait(self) -> Any: ...
    def ready(self) -> bool: ...

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
    def __init__(
        self, session: Session, size: int, type: str | None = None, clear: bool = True
    ) -> None: ...
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

def set_hooks(
    *,
    argument: object,
    count: object,
    ended: object,
    arena: object,
    called: object,
    map: object,
    batch: object,
    within: object,
    successor: object,
) -> None: ...
def queue_copy(buffer: Buffer, data: object) -> None: ...
def queue_post(buffer: Buffer, posted: int, end: int) -> None: ...
def queue_wait(buffer: Buffer, piece: int, call: Pending | None) -> bool: ...

class AggregateType(type):
    ctype: Final[Any]
    abi: Final[str]
    codec: Final[Any]
    size: Final[int]
    pointers: Final[bool]
    def __new__(
        cls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        /,
        *,
        ctype: object,
        abi: str,
        codec: object,
        size: int,
        array: bool,
        pointers: bool,
        shape: tuple[int, ...] | None,
        format: bytes,
        itemsize: int,
        element: Field | AggregateType | None,
        inner: int,
    ) -> Any: ...

class Aggregate(metaclass=AggregateType):
    def __buffer__(self, flags: int, /) -> memoryview: ...

class Array(Aggregate):
    def __len__(self) -> int: ...
    def __getitem__(self, index: Any, /) -> Any: ...
    def __setitem__(self, index: Any, value: object, /) -> None: ...
    def __iter__(self) -> Iterator[Any]: ...

class Part:
    def __init__(
        self,
        cls: type[Aggregate],
        offset: int,
        length: int,
        assign: Callable[[Aggregate, object], None],
    ) -> None: ...
    def __get__(self, value: Aggregate | None, owner: object = None, /) -> Any: ...
    def __set__(self, value: Aggregate, part: object, /) -> None: ...

class Field:
    def __init__(
        self,
        kind: int,
        size: int,
        offset: int,
        convert: Callable[[object], object],
        bits: int = 0,
        bit: int = 0,
    ) -> None: ...
    def __get__(self, value: Aggregate | None, owner: object = None, /) -> Any: ...
    def __set__(self, value: Aggregate, number: object, /) -> None: ...
    def load(self, array: Aggregate, offset: int, /) -> Any: ...
    def store(self, array: Aggregate, offset: int, value: object, /) -> None: ...

def own(
    cls: type[Aggregate], data: bytes | bytearray | memoryview, library: object, length: int = 0, /
) -> Any: ...
def view(
    cls: type[Aggregate], memory: object, offset: int, library: object, length: int = 0, /
) -> Any: ...
def view_address(
    cls: type[Aggregate], address: int, session: Session, library: object, length: int = 0, /
) -> Any: ...
def read_bytes(value: Aggregate, offset: int, size: int, /) -> bytes: ...
def write_bytes(value: Aggregate, offset: int, data: bytes, /) -> None: ...
def length_of(value: Aggregate, /) -> int: ...
def size_of(value: Aggregate, /) -> int: ...
def library_of(value: Aggregate, /) -> Any: ...
def address_of(value: Aggregate, session: Session, /) -> int | None: ...
def kept_of(value: Aggregate, /) -> tuple[dict[tuple[int, int], tuple[object, ...]], int]: ...
def keys_claim(block: int, /) -> bool: ...
def namespace_settle(library: int, block: int, /) -> int: ...
def namespace_open(number: int, path: bytes, hold: bool, /) -> tuple[int, int, str]: ...
def namespace_close(handle: int, hold: bool, /) -> None: ...
def namespace_files(handle: int, /) -> list[str]: ...
def namespace_flush(library: int, /) -> None: ...
def memory_file(name: bytes, /) -> int: ...
def seal(descriptor: int, /) -> None: ...
def elf_exports(
    *,
    type: type[_Row],
    kinds: tuple[str | None, ...],
    symbols: bytes,
    wide: bool,
    swapped: bool,
    strings: bytes,
    versions: bytes,
    version_of: Mapping[int, str | None],
    name_at: Callable[[int], str],
    charge: Callable[[int], None],
    is_code: Callable[[int], bool],
) -> tuple[_Row, ...]: ...

class SpawnError(OSError):
    """A child could not be born as planned.

    Attributes:
        step: index of the plan's step that failed, or None.
        kind: the step's kind (``"LANDLOCK"``), or CLONE, DESCRIPTORS, LISTENER or EXEC.
    """

    step: int | None
    kind: str

def spawn(
    argv: Sequence[bytes],
    environment: Sequence[bytes],
    descriptors: dict[int, int],
    plan: bytes | None,
    /,
) -> tuple[int, int, int]: ...
def kernel() -> dict[str, Any]: ...
