/* Notices: what a worker did while its profile was learned, each thing once.
 *
 * Bounded in number and in bytes: a worker may open as many files as it likes. What no
 * longer fits is counted. */
#include "supervise.h"

#include <stdlib.h>
#include <string.h>

#define MOST_NOTICES (1u << 14)
#define SLOTS (2u * MOST_NOTICES)
#define TEXT_BYTES (1u << 20)

/* FNV-1a; http://www.isthe.com/chongo/tech/comp/fnv */
static uint32_t hash_more(uint32_t hash, const void *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ ((const unsigned char *)data)[i]) * 16777619u;
    return hash;
}

static bool make_room(struct notices *notices)
{
    if (notices->all)
        return true;
    notices->all = malloc(MOST_NOTICES * sizeof *notices->all);
    notices->slots = calloc(SLOTS, sizeof *notices->slots);
    notices->texts = malloc(TEXT_BYTES);
    if (notices->all && notices->slots && notices->texts)
        return true;
    notices_clear(notices);
    return false;
}

void notices_clear(struct notices *notices)
{
    free(notices->all);
    free(notices->slots);
    free(notices->texts);
    *notices = (struct notices){.lost = notices->lost};
}

static bool same(const struct notices *notices, const struct notice *one, const struct notice *new,
                 const char *path, const void *address)
{
    if (one->hash != new->hash || one->arch != new->arch || one->nr != new->nr ||
        one->access != new->access || one->phase != new->phase ||
        one->path_size != new->path_size || one->address_size != new->address_size)
        return false;
    for (uint32_t i = 0; i < ARGUMENTS; i++)
        if (new->distinct >> i & 1 && one->arguments[i] != new->arguments[i])
            return false;
    return (!new->path_size || memcmp(notices->texts + one->path, path, new->path_size) == 0) &&
           (!new->address_size ||
            memcmp(notices->texts + one->address, address, new->address_size) == 0);
}

static uint32_t keep(struct notices *notices, const void *data, uint32_t size)
{
    uint32_t at = notices->text_size;

    if (size)
        memcpy(notices->texts + at, data, size);
    notices->text_size += size;
    return at;
}

static void add(struct notices *notices, struct notice *new, const char *path, const void *address)
{
    uint32_t slot;

    new->hash = hash_more(2166136261u, &new->nr, sizeof new->nr);
    new->hash = hash_more(new->hash, &new->access, sizeof new->access);
    new->hash = hash_more(new->hash, path, new->path_size);
    new->hash = hash_more(new->hash, address, new->address_size);
    for (uint32_t i = 0; i < ARGUMENTS; i++)
        if (new->distinct >> i & 1)
            new->hash = hash_more(new->hash, &new->arguments[i], sizeof *new->arguments);
    for (slot = new->hash % SLOTS; notices->slots[slot]; slot = (slot + 1) % SLOTS) {
        struct notice *one = &notices->all[notices->slots[slot] - 1];

        if (same(notices, one, new, path, address)) {
            one->count++;
            return;
        }
    }
    if (notices->count == MOST_NOTICES ||
        TEXT_BYTES - notices->text_size < new->path_size + new->address_size) {
        notices->lost++;
        return;
    }
    new->count = 1;
    new->path = keep(notices, path, new->path_size);
    new->address = keep(notices, address, new->address_size);
    notices->all[notices->count] = *new;
    notices->slots[slot] = ++notices->count;
}

/* One for each path, or one if it has none. */
void notices_add(struct notices *notices, const struct act *act, const struct confine_row *row)
{
    if (!make_room(notices)) {
        notices->lost++;
        return;
    }
    for (uint32_t i = 0; i < (act->path_count ? act->path_count : 1); i++) {
        const char *path = i < act->path_count ? act->paths[i] : "";
        struct notice new = {
            .arch = act->arch, .nr = act->nr, .access = act->access, .phase = act->phase,
            .path_size = (uint32_t)strlen(path), .address_size = act->address_size,
            .distinct = row->distinct,
        };

        memcpy(new.arguments, act->arguments, sizeof new.arguments);
        add(notices, &new, path, act->address);
    }
}
