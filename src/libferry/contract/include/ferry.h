/*
 * ferry.h: what pointers are for, written where they are declared.
 *
 *     #include "ferry.h"
 *
 *     FERRY_ERROR(< 0, Notice_ErrorMsg)
 *     int Notice_GetLatest(FERRY_OUT(len) char *buf, int len);
 *
 * libferry reads these words; a compiler must not see them, and this file takes them
 * away. docs/contract.md in libferry says what each of them means.
 *
 * FERRY_IN, FERRY_OUT and FERRY_INOUT may have a length in parentheses, or none. A macro
 * either takes arguments or does not, so these become `register`, which means nothing
 * before a parameter, and which takes an argument away if one follows.
 */
#ifndef FERRY_H
#define FERRY_H

#ifndef FERRY_IN

#if defined(__clang__)
#pragma clang diagnostic ignored "-Wkeyword-macro"
#pragma clang diagnostic ignored "-Wregister"
#elif defined(__GNUC__) && defined(__cplusplus)
#pragma GCC diagnostic ignored "-Wregister"
#elif defined(_MSC_VER) && defined(__cplusplus)
#pragma warning(disable : 5033)
#endif

#define register(length)
#define FERRY_IN register
#define FERRY_OUT register
#define FERRY_INOUT register
#define FERRY_STRING
#define FERRY_OWNED(free_function)
#define FERRY_ERROR(...)
#define FERRY_NOT_THREAD_SAFE

#endif
#endif
