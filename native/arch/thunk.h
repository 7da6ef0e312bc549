/* The tables of entry thunks: as many thunks as a session has callbacks, each this
 * many bytes after the one before. A thunk tells its number to the part common to all,
 * in a register that no calling convention passes anything in. */
#ifndef FERRY_THUNK_H
#define FERRY_THUNK_H

#define THUNK_COUNT 4096 /* CHANNEL_CALLBACKS */

#if defined(__x86_64__) || defined(__i386__)
#define THUNK_STRIDE 16
#elif defined(__aarch64__)
#define THUNK_STRIDE 12
#else
#define THUNK_STRIDE 8
#endif

/* What a thunk saves the registers in is the head of a frame, aligned like one. */
#define HEAD_SIZE 352 /* FRAME_STACK */
#define HEAD_ALIGNMENT 64

#endif
