/*
 * notice: a bank's announcements, as a shared library.
 *
 * This header is written by hand, and it is the promise to callers: plain C
 * declarations and nothing that has to be preprocessed. exports.go includes it,
 * so a build in which the code and the promise differ is refused by the
 * compiler. (libnotice.h, which `go build` leaves beside the library, describes
 * the same functions in Go's own types. Nobody needs it.)
 *
 * All functions may be called from any thread, at any time.
 *
 * A function that fails returns one of the negative codes below, and
 * Notice_ErrorMsg then says more. Every text is UTF-8.
 *
 * A function that fills `buf` ends the text with a zero byte, and returns the
 * text's length in bytes without that zero. It needs `len` to be larger than
 * what it returns. It writes all of the text or, when it fails, nothing.
 */
#ifndef NOTICE_H
#define NOTICE_H

enum {
    NOTICE_OK = 0,
    /* Notice_Init was not called, or Notice_Free was called since. */
    NOTICE_NOT_INITIALISED = -1,
    /* A null pointer, a negative length, or not the name of a branch. */
    NOTICE_BAD_ARGUMENT = -2,
    /* `buf` cannot hold the text. The error message says what it needs. */
    NOTICE_TOO_SMALL = -3,
    /* The library is at fault: an announcement in it cannot be rendered. */
    NOTICE_INTERNAL = -4
};

/*
 * Begin to serve one branch, "branch-0042" for example: 1 to 32 ASCII letters,
 * digits and hyphens. The string is copied. A second call is fine and changes
 * the branch; if it fails, the branch before it stays.
 * Returns NOTICE_OK or a negative code.
 */
int Notice_Init(const char *branch);

/*
 * Write the newest announcement, addressed to this branch, to `buf`.
 * Returns its length, or a negative code.
 */
int Notice_GetLatest(char *buf, int len);

/*
 * Write the message of the last error to `buf`. It is empty when nothing has
 * failed since the library was loaded or freed. Like errno, it is of use only
 * right after a call that failed: success leaves it as it is.
 *
 * Unlike errno there is one for the whole process, not one for each thread. When
 * several threads use the library, the message may be about another thread's
 * call, so decide by the returned code and show the message to people.
 *
 * Returns its length, or a negative code; a failure here leaves the message as
 * it is. A message is never longer than 200 bytes.
 */
int Notice_ErrorMsg(char *buf, int len);

/* Forget the branch and the last error. Calling it twice is fine. */
void Notice_Free(void);

#endif
