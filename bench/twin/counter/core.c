/* Caches of the board: 32 KiB in 4 ways for data and in 2 ways for code, then 512 KiB in 16 ways for all cores, lines
 * of 64 bytes, least recently used replacement. A line that is in neither comes from DRAM. */
#include "core.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_BITS = 6, L2_SETS = 512, L2_WAYS = 16 };
/* The core follows two streams (Cortex-A53's CPUACTLR_EL1, NPFSTRM after reset): of a loop that reads four rows of weights
 * side by side, few lines are there in time. */
enum { FARTHEST_STEP = 4, LONE = -1 }; /* lines, from one of a stream to the next */
enum { FIRST_ROOM = 4096, MOST_CORES = 16 };

static Way l2[L2_SETS][L2_WAYS];
static pthread_mutex_t l2_lock = PTHREAD_MUTEX_INITIALIZER;

static bool holds(Way way, uint64_t line) { return way >> 1 == line + 1; }

/* Makes a line the most recently used one. `evicted` is the one that made room, 0 if none did. */
static bool find_or_load(Way *ways, int count, uint64_t line, bool is_store, Way *evicted) {
    int at = 0;
    while (at < count - 1 && !holds(ways[at], line)) at++;
    bool found = holds(ways[at], line);
    Way newest = found ? ways[at] : (line + 1) << 1;
    *evicted = found ? 0 : ways[at];
    memmove(ways + 1, ways, (size_t)at * sizeof *ways);
    ways[0] = newest | is_store;
    return found;
}

static bool find_in_l2(Core *core, uint64_t line, bool is_store) {
    Way evicted;
    pthread_mutex_lock(&l2_lock);
    bool found = find_or_load(l2[line % L2_SETS], L2_WAYS, line, is_store, &evicted);
    pthread_mutex_unlock(&l2_lock);
    core->counts[WRITTEN] += evicted & 1;
    return found;
}

/* The place of the stream that led to expect this line, which is as far from its last one as that was from the one before. */
static int continue_stream(Stream *streams, uint64_t line) {
    int at = 0;
    int64_t step = 0;
    for (; at < STREAMS; at++) {
        step = (int64_t)(line - streams[at].last);
        if (step >= -FARTHEST_STEP && step <= FARTHEST_STEP) break;
    }
    bool is_expected = at < STREAMS && step == streams[at].step;
    Stream newest = {line, at < STREAMS ? step : 0};
    memmove(streams + 1, streams, (size_t)(at < STREAMS ? at : STREAMS - 1) * sizeof *streams);
    streams[0] = newest;
    return is_expected ? at : LONE;
}

/* A core does not wait for a line from DRAM that it only writes to. */
static void miss(Core *core, Miss missed) {
    if (missed.evicted & 1) find_in_l2(core, (missed.evicted >> 1) - 1, true);
    if (find_in_l2(core, missed.line, false)) core->counts[L1_MISSES]++;
    else if (!missed.is_store) core->counts[missed.order == LONE ? RANDOM : missed.order < FOLLOWED ? STREAMED : CROWDED]++;
}

static void keep(Core *core, Miss kept) {
    if (core->kept_count == core->kept_room) {
        core->kept_room = core->kept_room ? 2 * core->kept_room : FIRST_ROOM;
        core->kept = realloc(core->kept, core->kept_room * sizeof kept);
        if (!core->kept) abort();
    }
    core->kept[core->kept_count++] = kept;
}

static void access_line(Core *core, uint64_t line, bool is_store, bool keeps) {
    Way *set = core->l1[line % L1_SETS], evicted;
    if (holds(set[0], line)) {
        set[0] |= is_store;
        return;
    }
    if (find_or_load(set, L1_WAYS, line, is_store, &evicted)) return;
    Miss missed = {core->counts[CYCLES], line, evicted, is_store, continue_stream(core->streams, line)};
    if (keeps) keep(core, missed);
    else miss(core, missed);
}

void access_data(Core *core, uint64_t address, unsigned bytes, bool is_store, bool keeps) {
    uint64_t first = address >> LINE_BITS, last = (address + bytes - 1) >> LINE_BITS;
    access_line(core, first, is_store, keeps);
    if (last != first) access_line(core, last, is_store, keeps);
}

void replay_misses(Core *cores, int count, const uint64_t *since) {
    size_t at[MOST_CORES] = {0};
    for (;;) {
        int next = -1;
        uint64_t first = 0;
        for (int i = 0; i < count; i++) {
            if (at[i] == cores[i].kept_count) continue;
            uint64_t cycle = cores[i].kept[at[i]].cycle - since[i];
            if (next < 0 || cycle < first) next = i, first = cycle;
        }
        if (next < 0) break;
        miss(&cores[next], cores[next].kept[at[next]++]);
    }
    for (int i = 0; i < count; i++) cores[i].kept_count = 0;
}

void fetch_code(Core *core, uint64_t start, uint64_t end) {
    for (uint64_t line = start >> LINE_BITS; line <= (end - 1) >> LINE_BITS; line++) {
        Way *set = core->fetched[line % FETCH_SETS], evicted;
        if (line == core->last_fetched || holds(set[0], line)) continue;
        core->last_fetched = line;
        if (find_or_load(set, FETCH_WAYS, line, false, &evicted)) continue;
        core->counts[find_in_l2(core, line, false) ? FETCH_MISSES : RANDOM]++;
    }
}

void resolve_conditional(Core *core, uint64_t address, bool is_taken) {
    uint8_t *state = &core->patterns[(address >> 2 ^ (core->history & 0xFF) << 4) % PATTERNS]; /* 2 and 3: taken */
    if ((*state >= 2) != is_taken) core->counts[MISPREDICTED]++;
    if (is_taken && *state < 3) ++*state;
    if (!is_taken && *state > 0) --*state;
    core->history = core->history << 1 | is_taken;
}

void resolve_indirect(Core *core, uint64_t address, uint64_t target) {
    uint64_t *expected = &core->targets[(address >> 2 ^ core->history) % TARGETS];
    if (*expected != target) core->counts[MISPREDICTED]++;
    *expected = target;
}
