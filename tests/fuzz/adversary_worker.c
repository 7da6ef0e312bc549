/* A worker that is none: it takes the socket and the memory, and plays the other side.
 *
 * It knows the protocol, and answers: a request at depth d with its return, or with a
 * callback at d + 1, whose return it answers again; the services with what they might have
 * said. So host and adversary come deep into calls and callbacks together. Now and then it
 * does something else (adversary.h), and in the end, something worse. How often, and what,
 * comes of the number in FERRY_ADVERSARY. */
#include "adversary.h"

#define BASE 0x7f0000000000u /* an address of ours that the host cannot have */
#define SERVICES 0x1000u
#define FUNCTIONS 0x2000u
#define THUNKS 0x100000u

static uint64_t wildness; /* one in so many steps is no lawful one */

struct side {
    uint32_t seen;   /* the last request */
    uint32_t nested; /* callbacks made in this call */
};
static struct side sides[CHANNEL_LANES + CHANNEL_GUESTS];
static uint32_t callbacks[16], callback_count; /* numbers that the host has made */

/* Memory of the host's that a request names by our address of it; NULL: none. */
static void *lent(uint64_t address, uint64_t size)
{
    uint64_t offset = address - BASE;

    if (offset < CHANNEL_ARENA_OFFSET || offset > channel_size || size > channel_size - offset)
        return NULL;
    return channel + offset;
}

static void answer_queue(uint64_t address)
{
    struct ferry_queue *queue = lent(address, sizeof *queue);

    if (queue)
        atomic_store(&queue->done, one_in(8) ? (uint32_t)odd_number() : atomic_load(&queue->posted));
}

static uint64_t result_of(const struct ferry_frame *frame)
{
    const uint64_t *given = frame->integer;
    void *memory;

    switch (frame->function - SERVICES) {
    case SERVICE_OPEN:
        return 1;
    case SERVICE_SYMBOL:
        return FUNCTIONS + below(64) * 16;
    case SERVICE_LENGTH:
        return one_in(4) ? below(5000) : one_in(20) ? odd_number() : below(20);
    case SERVICE_COPY:
        if (given[2] < channel_size && (memory = lent(given[0], given[2])))
            memset(memory, (int)next() & 0x7f, given[2]);
        return 0;
    case SERVICE_ERRNO_OF:
        return 1;
    case SERVICE_CALLBACK:
        if (given[1])
            callbacks[callback_count++ % 16] = (uint32_t)given[0];
        return THUNKS + given[0] * 16;
    case SERVICE_MAP_QUEUE:
        answer_queue(given[0]);
        return 0;
    default:
        return odd_number();
    }
}

static void hand_over(uint32_t lane, uint32_t depth, uint32_t back)
{
    _Atomic uint32_t *reply = &channel_lane(channel, lane)->reply;

    if (atomic_exchange(reply, channel_word(sides[lane].seen >> CHANNEL_NUMBER_SHIFT, depth, back)) &
        CHANNEL_PARKED)
        syscall(SYS_futex, reply, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void call_back(uint32_t lane, uint32_t depth)
{
    struct ferry_frame *frame = channel_lane(channel, lane) + depth;

    for (int i = 0; i < 8; i++)
        frame->integer[i] = odd_number();
    frame->function = one_in(30) ? odd_number()
                                 : callbacks[below(callback_count < 16 ? callback_count : 16)];
    sides[lane].nested++;
    hand_over(lane, depth, CHANNEL_BACK);
}

static void return_from(uint32_t lane, uint32_t depth)
{
    struct ferry_frame *frame = channel_lane(channel, lane) + depth;

    frame->result_integer[0] = result_of(frame);
    for (int i = 1; i < 4; i++)
        frame->result_integer[i] = odd_number();
    if (one_in(4))
        memset(frame->result_vector, (int)next(), sizeof frame->result_vector);
    frame->error_number = (int32_t)odd_number();
    if (depth == 0)
        sides[lane].nested = 0;
    hand_over(lane, depth, 0);
}

/* Also for a lane that nobody has asked anything: a guest's. */
static void answer(uint32_t lane, uint32_t request)
{
    uint32_t depth = channel_depth(request);
    bool guest = lane >= CHANNEL_LANES, calls = callback_count > 0 && sides[lane].nested < 40;

    sides[lane].seen = request;
    if (one_in(wildness)) {
        mutate();
        if (one_in(3))
            return; /* and never an answer */
    }
    if (request & CHANNEL_BACK) { /* the callback at `depth` has returned */
        if (guest)
            return; /* the next one will be the answer */
        if (calls && one_in(3))
            call_back(lane, depth);
        else
            return_from(lane, depth - 1);
    } else if (guest && depth == 0) {
        return;
    } else if (calls && depth + 1 < CHANNEL_DEPTH && one_in(3) &&
               channel_lane(channel, lane)[depth].function >= FUNCTIONS) {
        call_back(lane, depth + 1);
    } else {
        return_from(lane, depth);
    }
}

static void look_around(void)
{
    for (uint32_t lane = 0; lane < CHANNEL_LANES + CHANNEL_GUESTS; lane++) {
        uint32_t request = atomic_load(&channel_lane(channel, lane)->request) & ~CHANNEL_PARKED;

        if (request != sides[lane].seen)
            answer(lane, request);
        else if (lane >= CHANNEL_LANES && request && callback_count && one_in(20000))
            call_back(lane, 1);
    }
}

int main(int argc, char **argv)
{
    const char *seed = getenv("FERRY_ADVERSARY");
    struct ferry_header *header;
    uint64_t steps;
    int memory;
    off_t size;

    if (argc != 3)
        return 2;
    end_with_host();
    bell = atoi(argv[1]);
    memory = atoi(argv[2]);
    size = lseek(memory, 0, SEEK_END);
    channel_size = (uint64_t)size;
    channel = mmap(NULL, channel_size, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    if (channel == MAP_FAILED)
        return 2;
    random_state = (seed ? strtoull(seed, NULL, 10) : 1) * 0x9e3779b97f4a7c15u | 1;
    wildness = (uint64_t)20 << below(8);
    steps = (uint64_t)1000 << below(12);
    header = (void *)channel;
    header->base = one_in(8) ? odd_number() : BASE;
    for (int i = 0; i < SERVICE_COUNT; i++)
        header->services[i] = SERVICES + (uint64_t)i;
    if (one_in(20))
        end_somehow();
    if (one_in(10))
        ftruncate(memory, (off_t)below(channel_size)); /* it is sealed against this, */
    if (one_in(10)) /* and this only empties it */
        fallocate(memory, 3 /* PUNCH_HOLE | KEEP_SIZE */, CHANNEL_ARENA_OFFSET, 4096);
    while (steps--) {
        char byte;

        look_around();
        if (steps % 64 == 0 && recv(bell, &byte, 1, MSG_DONTWAIT) == 0)
            return 0; /* the host has closed */
        if (one_in(wildness * 5000))
            mutate();
    }
    end_somehow();
    for (;;)
        pause();
}
