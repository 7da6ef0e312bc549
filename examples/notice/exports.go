package main

// The C face of notice.go: pointers become slices, and errors become codes.
//
// cgo writes a prototype for each exported function from its Go types, and Go
// has no const. Parameters that notice.h calls `const char *` would be declared
// `char *`, and the C compiler would refuse the pair. The typedef below carries
// the const past cgo.

/*
#include "notice.h"

typedef const char const_char;
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"
)

var notices service

//export Notice_Init
func Notice_Init(branch *C.const_char) C.int {
	if branch == nil {
		return fail(fmt.Errorf("%w: branch is null", errBadArgument))
	}
	if err := notices.open(C.GoString((*C.char)(branch))); err != nil {
		return fail(err)
	}
	return C.NOTICE_OK
}

//export Notice_GetLatest
func Notice_GetLatest(buf *C.char, length C.int) C.int {
	text, err := notices.latest()
	if err != nil {
		return fail(err)
	}
	n, err := give(buf, length, text)
	if err != nil {
		return fail(err)
	}
	return n
}

//export Notice_ErrorMsg
func Notice_ErrorMsg(buf *C.char, length C.int) C.int {
	n, err := give(buf, length, notices.lastError())
	if err != nil {
		return code(err) // not fail: the message is still to be read
	}
	return n
}

//export Notice_Free
func Notice_Free() {
	notices.close()
}

// give writes text to the caller's memory.
func give(buf *C.char, length C.int, text string) (C.int, error) {
	if buf == nil || length < 0 {
		return 0, fmt.Errorf("%w: buf is null, or len is negative", errBadArgument)
	}
	n, err := fill(unsafe.Slice((*byte)(unsafe.Pointer(buf)), int(length)), text)
	return C.int(n), err
}

// fail keeps the message of an error and returns its code.
func fail(err error) C.int {
	notices.remember(err)
	return code(err)
}

func code(err error) C.int {
	switch {
	case errors.Is(err, errNotInitialised):
		return C.NOTICE_NOT_INITIALISED
	case errors.Is(err, errBadArgument):
		return C.NOTICE_BAD_ARGUMENT
	case errors.Is(err, errTooSmall):
		return C.NOTICE_TOO_SMALL
	default:
		return C.NOTICE_INTERNAL
	}
}

// A c-shared library is a main package whose main never runs.
func main() {}
