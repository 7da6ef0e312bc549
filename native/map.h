/* Bulk calls: one function, a row of arguments at a time, from columns.
 *
 * A million calls cost one crossing. The host fills a frame once with what is the same
 * in every row; the loop runs next to the library, in the worker or in the extension,
 * and is the same code in both.
 */
#ifndef FERRY_MAP_H
#define FERRY_MAP_H

#include <stdbool.h>

#include "channel.h"

#define MAP_COLUMNS 128u /* a number is one, a structure one for each of its pieces */
#define MAP_FAST 6u     /* so many arguments are called without a frame */

/* How the bytes of a cell above an element are filled, or an element is converted. */
enum map_fill { MAP_ZEROS, MAP_SIGN, MAP_ONES, MAP_SIGN_OF_32, MAP_X87 };

enum map_form {
    MAP_FRAME,    /* any function: each row is written to the frame */
    MAP_INTEGERS, /* all arguments are integers no wider than a register, and the result one, */
    MAP_DOUBLES,  /* or all double, */
    MAP_FLOATS,   /* or all float; 1 to MAP_FAST of them, all of them columns, cdecl */
    MAP_BATCH,    /* any function: each row has a frame of its own, `stride` bytes apart */
};

struct ferry_column {
    uint64_t data;  /* address of the first element, for the library's process */
    int64_t stride; /* bytes from one to the next; 0: all rows have the same */
    uint16_t cell;  /* where it goes in the frame, or comes from */
    uint8_t size;   /* of an element: 1, 2, 4 or 8 */
    uint8_t width;  /* bytes of the frame that are written */
    uint32_t fill;
};

struct ferry_map {
    uint64_t function;
    uint64_t frame; /* MAP_FRAME: its address, with all that no column brings */
    uint32_t rows;
    uint32_t form;
    uint32_t arguments; /* how many columns go in, ... */
    uint32_t results;   /* ... and how many, after those, come out */
    uint32_t stride;    /* MAP_BATCH */
    uint32_t unused;
    struct ferry_column columns[MAP_COLUMNS];
};

_Static_assert(sizeof(struct ferry_column) == 24, "");
_Static_assert(offsetof(struct ferry_map, columns) == 40, "");

void ferry_map(const struct ferry_map *map);

/* Pieces of one map() for a worker, which works on one while the host fills the next: the
 * host posts them one by one, and one call does all that are posted by then. Where they
 * follow each other closely, that call never returns between them.
 *
 * The host counts on nothing but its own count of calls: a `done` that a hostile library
 * has written makes wrong numbers of wrong numbers. */
#define MAP_QUEUE 8u /* pieces under way, at most */

struct ferry_queue {
    _Alignas(64) _Atomic uint32_t posted; /* the host's line: pieces, in all */
    _Atomic uint32_t end;                 /* after so many there is nothing to wait for */
    uint32_t looks;                       /* for the next piece, before the call returns */
    _Alignas(64) _Atomic uint32_t done;   /* the worker's */
    _Alignas(64) uint64_t maps[MAP_QUEUE]; /* address of piece n's struct ferry_map: n % MAP_QUEUE */
};

_Static_assert(offsetof(struct ferry_queue, looks) == 8, "");
_Static_assert(offsetof(struct ferry_queue, maps) == 128, "");

/* Does what is posted, and what is posted soon after. */
void ferry_map_queue(struct ferry_queue *queue);

#endif
