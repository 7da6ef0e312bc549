"""Windows' own libraries, as Wine has them, with windows.h as mingw has it.

Some 100,000 lines are read for one ``#include <windows.h>``. The functions are stdcall on
32-bit Windows, so are the callbacks, and many pass structs that contain unions without a
name. The expected values are those of Microsoft's documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import libferry
from libferry.errors import LibraryCrashed

from .places import WINE, WINE32

pytestmark = pytest.mark.needs("ziglang", install="pip install 'libferry[headers]'")

FOLDERS = [
    pytest.param("x86_64-windows", id="windows", marks=WINE),
    pytest.param("i386-windows", id="windows-i386", marks=(WINE, WINE32)),
]
WINE_LIBRARIES = Path("/usr/lib/x86_64-linux-gnu/wine")

Open = Callable[[str], libferry.Library]


@pytest.fixture(scope="module", params=FOLDERS)
def open_library(request: pytest.FixtureRequest) -> Iterator[Open]:
    """Give what opens a library of Windows, with windows.h read."""
    opened = []

    def open_(name: str) -> libferry.Library:
        path = WINE_LIBRARIES / request.param / name
        library = libferry.load(path, header="#include <windows.h>\n", timeout=60)
        assert library.abi == request.param
        opened.append(library)
        return library

    yield open_
    for library in opened:
        library.close()


@pytest.fixture(scope="module")
def kernel32(open_library: Open) -> libferry.Library:
    return open_library("kernel32.dll")


@pytest.fixture(scope="module")
def user32(open_library: Open) -> libferry.Library:
    return open_library("user32.dll")


def size(value: Any) -> int:
    return len(bytes(value))


# ---- structs ----


def test_a_date_is_converted_there_and_back(kernel32: libferry.Library) -> None:
    date = kernel32.new("SYSTEMTIME", wYear=2000, wMonth=1, wDay=1)
    ticks, back = kernel32.new("FILETIME"), kernel32.new("SYSTEMTIME")
    assert kernel32.SystemTimeToFileTime(date, ticks) == 1
    # 100 ns since 1601: 399 years, of which 97 had a leap day
    days = 399 * 365 + 97 - 1
    assert ticks.dwHighDateTime << 32 | ticks.dwLowDateTime == days * 86_400 * 10_000_000
    assert kernel32.FileTimeToSystemTime(ticks, back) == 1
    assert (back.wYear, back.wMonth, back.wDay, back.wDayOfWeek) == (2000, 1, 1, 6)


def test_a_date_that_is_none_sets_the_last_error(kernel32: libferry.Library) -> None:
    date = kernel32.new("SYSTEMTIME", wYear=2000, wMonth=13, wDay=1)
    assert kernel32.SystemTimeToFileTime(date, kernel32.new("FILETIME")) == 0
    assert kernel32.last_error == kernel32.ERROR_INVALID_PARAMETER == 87


@pytest.mark.parametrize("function", ["GetSystemTime", "GetLocalTime"])
def test_the_time_is_one(kernel32: libferry.Library, function: str) -> None:
    now = kernel32.new("SYSTEMTIME")
    assert kernel32[function](now) is None
    assert 2023 < now.wYear < 2200
    assert kernel32.SystemTimeToFileTime(now, kernel32.new("FILETIME")) == 1


def test_a_counter_is_64_bits_or_twice_32(kernel32: libferry.Library) -> None:
    counter, later = kernel32.new("LARGE_INTEGER"), kernel32.new("LARGE_INTEGER")
    assert kernel32.QueryPerformanceCounter(counter) == 1
    assert kernel32.QueryPerformanceCounter(later) == 1
    assert 0 < counter.QuadPart <= later.QuadPart
    assert counter.QuadPart == counter.HighPart << 32 | counter.LowPart
    assert (counter.u.LowPart, counter.u.HighPart) == (counter.LowPart, counter.HighPart)


def test_a_struct_says_how_long_it_is(kernel32: libferry.Library) -> None:
    version = kernel32.new("OSVERSIONINFOW")
    assert size(version) == 276
    assert kernel32.GetVersionExW(version) == 0  # it does not say yet
    version.dwOSVersionInfoSize = size(version)
    assert kernel32.GetVersionExW(version) == 1
    assert version.dwPlatformId == kernel32.VER_PLATFORM_WIN32_NT
    assert version.dwMajorVersion >= 5
    longer = kernel32.new("OSVERSIONINFOEXW", dwOSVersionInfoSize=284)
    assert size(longer) == 284
    assert kernel32.GetVersionExW(kernel32.cast("OSVERSIONINFOW *", longer)) == 1
    assert longer.wProductType == kernel32.VER_NT_WORKSTATION
    assert longer.dwBuildNumber == version.dwBuildNumber


def test_a_union_without_a_name_in_a_struct(kernel32: libferry.Library) -> None:
    info = kernel32.new("SYSTEM_INFO")
    kernel32.GetSystemInfo(info)
    expected = {"x86_64-windows": "AMD64", "i386-windows": "INTEL"}[kernel32.abi]
    assert info.wProcessorArchitecture == getattr(kernel32, f"PROCESSOR_ARCHITECTURE_{expected}")
    assert info.dwOemId & 0xFFFF == info.wProcessorArchitecture
    assert info.dwPageSize == 4096
    assert info.dwNumberOfProcessors >= 1


def test_memory_is_taken_and_described(kernel32: libferry.Library) -> None:
    taken = kernel32.MEM_COMMIT | kernel32.MEM_RESERVE
    memory = kernel32.VirtualAlloc(None, 100_000, taken, kernel32.PAGE_READWRITE)
    about = kernel32.new("MEMORY_BASIC_INFORMATION")
    assert kernel32.VirtualQuery(memory, about, size(about)) == size(about)
    assert about.BaseAddress.address == about.AllocationBase.address == memory.address
    assert (about.RegionSize, about.State) == (102_400, kernel32.MEM_COMMIT)
    assert about.Protect == kernel32.PAGE_READWRITE
    memory.cast("int *")[5] = 42
    assert memory.cast("int *")[5] == 42
    assert kernel32.VirtualFree(memory, 0, kernel32.MEM_RELEASE) == 1


# ---- strings, numbers and errors ----


def test_wide_strings_in_both_directions(kernel32: libferry.Library) -> None:
    assert kernel32.SetEnvironmentVariableW("LIBFERRY", "Grüße, 世界 🦀") == 1
    text = kernel32.new("WCHAR[50]")
    assert kernel32.GetEnvironmentVariableW("LIBFERRY", text, 50) == 12  # UTF-16: the last is two
    assert text.string() == "Grüße, 世界 🦀"
    assert kernel32.lstrlenW("Grüße, 世界 🦀") == 12
    assert kernel32.lstrcmpiW("STRASSE", "strasse") == 0
    assert kernel32.CompareStringW(0x409, 0, "a", -1, "b", -1) == kernel32.CSTR_LESS_THAN


def test_arithmetic(kernel32: libferry.Library) -> None:
    assert kernel32.MulDiv(10, 3, 4) == 8  # rounded
    assert kernel32.MulDiv(1000, -7, 2) == -3500
    assert kernel32.MulDiv(1, 1, 0) == -1


def test_errors_of_the_system(kernel32: libferry.Library) -> None:
    assert kernel32.GetModuleHandleW("no such module") is None
    assert kernel32.last_error == kernel32.ERROR_MOD_NOT_FOUND == 126
    args = (kernel32.GENERIC_READ, 0, None, kernel32.OPEN_EXISTING, 0, None)
    handle = kernel32.CreateFileW("Z:\\no\\such\\file", *args)
    assert handle == kernel32.INVALID_HANDLE_VALUE
    assert kernel32.last_error == kernel32.ERROR_PATH_NOT_FOUND


def test_a_message_with_arguments(kernel32: libferry.Library) -> None:
    """FormatMessage takes its arguments as an array, here."""
    how = kernel32.FORMAT_MESSAGE_FROM_STRING | kernel32.FORMAT_MESSAGE_ARGUMENT_ARRAY
    word = kernel32.new("WCHAR[4]", "two")
    values = kernel32.new("DWORD_PTR[2]", [word.address, 3])
    text = kernel32.new("WCHAR[100]")
    array = kernel32.cast("va_list *", values.address)
    form = kernel32.new("WCHAR[20]", "one, %1, %2!d!")
    count = kernel32.FormatMessageW(how, form, 0, 0, text, 100, array)
    assert (count, text.string()) == (11, "one, two, 3")


def test_an_exception_of_windows_ends_the_worker(open_library: Open) -> None:
    kernel32 = open_library("kernel32.dll")
    with pytest.raises(LibraryCrashed, match="RaiseException") as caught:
        kernel32.RaiseException(0xE0001234, 0, 0, None)
    assert caught.value.code == 0xE0001234


# ---- callbacks ----


def test_locales_are_told_one_by_one(kernel32: libferry.Library) -> None:
    told: list[str] = []

    def tell(name: Any) -> int:
        told.append(name.string())
        return 1

    assert kernel32.EnumSystemLocalesW(tell, kernel32.LCID_SUPPORTED) == 1
    assert {"00000409", "00000407", "00000804"} <= set(told)  # en-US, de-DE, zh-CN


def test_telling_stops_when_python_says_so(kernel32: libferry.Library) -> None:
    told: list[str] = []

    def tell(name: Any) -> int:
        told.append(name.string())
        return int(len(told) < 3)

    kernel32.EnumSystemCodePagesW(tell, kernel32.CP_SUPPORTED)
    assert len(told) == 3


class Broken(Exception):
    pass


def test_an_exception_of_python_stops_it_too(kernel32: libferry.Library) -> None:
    told = []

    def tell(name: Any) -> int:
        told.append(name)
        raise Broken

    with pytest.raises(Broken):
        kernel32.EnumSystemLocalesW(tell, kernel32.LCID_SUPPORTED)
    assert len(told) == 1
    assert kernel32.MulDiv(6, 7, 1) == 42


def test_a_thread_of_windows_runs_python(kernel32: libferry.Library) -> None:
    data, told = kernel32.new("int", 42), []

    def run(parameter: Any) -> int:
        told.append(parameter.cast("int *").value)
        return 4321

    number = kernel32.new("DWORD")
    with kernel32.callback("LPTHREAD_START_ROUTINE", run) as start:
        thread = kernel32.CreateThread(None, 0, start, data, 0, number)
        waited = kernel32.WaitForSingleObject(thread, kernel32.INFINITE)
        assert waited == kernel32.WAIT_OBJECT_0
        code = kernel32.new("DWORD")
        assert kernel32.GetExitCodeThread(thread, code) == 1
        assert (told, code.value) == ([42], 4321)
        assert kernel32.GetThreadId(thread) == number.value
        assert kernel32.CloseHandle(thread) == 1


# ---- windows ----


def test_a_point_by_value(user32: libferry.Library) -> None:
    rectangle = user32.new("RECT", left=0, top=0, right=10, bottom=20)
    assert user32.PtInRect(rectangle, (5, 19)) == 1
    assert user32.PtInRect(rectangle, (10, 5)) == 0
    assert user32.OffsetRect(rectangle, -3, 4) == 1
    assert (rectangle.left, rectangle.top) == (-3, 4)
    common = user32.new("RECT")
    assert user32.IntersectRect(common, rectangle, [(0, 0, 100, 6)]) == 1
    assert (common.left, common.top, common.right, common.bottom) == (0, 4, 7, 6)


def test_wsprintf(user32: libferry.Library) -> None:
    """The one function of user32 that is cdecl, since it is variadic."""
    text, word = user32.new("WCHAR[100]"), user32.new("WCHAR[5]", "wide")
    for _ in range(3):
        count = user32.wsprintfW(text, "%d %s %c %08X", -5, word, ord("A"), 0xBEEF)
        assert (count, text.string()) == (18, "-5 wide A 0000BEEF")


def test_a_window_whose_procedure_is_python(user32: libferry.Library) -> None:
    messages: list[int] = []

    def procedure(window: Any, message: int, word: int, long: int) -> int:
        messages.append(message)
        if message == user32.WM_APP:
            return 1000 * word + long
        result = user32.DefWindowProcW(window, message, word, long)
        assert isinstance(result, int)
        return result

    name = user32.new("WCHAR[9]", "libferry")
    kind = user32.new("WNDCLASSEXW", lpfnWndProc=procedure, lpszClassName=name)
    kind.cbSize = size(kind)
    assert user32.RegisterClassExW(kind) != 0
    window = user32.CreateWindowExW(
        0, name, "Grüße", 0, 0, 0, 10, 10, user32.HWND_MESSAGE, None, None, None
    )
    assert window is not None
    assert user32.WM_NCCREATE in messages
    assert messages[-1] == user32.WM_CREATE
    assert user32.SendMessageW(window, user32.WM_APP, 7, -5) == 6995
    text = user32.new("WCHAR[20]")
    assert user32.GetWindowTextW(window, text, 20) == 5
    assert text.string() == "Grüße"

    told = []

    def tell(window: Any, name: Any, data: Any, extra: int) -> int:
        told.append((name.string(), data.address, extra))
        return 1

    assert user32.SetPropW(window, "one", user32.cast("HANDLE", 11)) == 1
    assert user32.SetPropW(window, "two", user32.cast("HANDLE", 22)) == 1
    assert user32.EnumPropsExW(window, tell, 5) == 1
    assert sorted(told) == [("one", 11, 5), ("two", 22, 5)]
    assert user32.DestroyWindow(window) == 1
    assert messages[-1] == user32.WM_NCDESTROY
    assert user32.UnregisterClassW(name, None) == 1


# ---- ordinals ----


def test_functions_without_a_name(open_library: Open) -> None:
    """oleaut32 is linked by numbers, which are therefore fixed: 2, 6 and 7 are for strings."""
    oleaut32 = open_library("oleaut32.dll")
    alloc = oleaut32.function("void * WINAPI alloc(const wchar_t *text)", symbol="#2")
    length = oleaut32.function("UINT WINAPI length(void *string)", symbol="#7")
    free = oleaut32.function("void WINAPI free_string(void *string)", symbol="#6")
    string = alloc("Goodbye!")
    assert length(string) == 8
    assert string.cast("wchar_t *").string() == "Goodbye!"
    assert string.read(16) == "Goodbye!".encode("utf-16-le")
    assert free(string) is None
