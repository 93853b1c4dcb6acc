/* A QEMU plugin that counts what a program costs: instructions, and the lines that miss the board's caches.
 *
 *   cc -O2 -shared -fPIC -o counter.so counter.c
 *   LD_PRELOAD=./counter.so qemu-aarch64 -d plugin -D counts.txt -plugin counter.so[,blocks=on] PROGRAM
 *
 * Data caches of the Pi Zero 2 W, for one core: 32 KiB in 4 ways, then 512 KiB in 16 ways, lines of 64 bytes,
 * least recently used goes first; a line that is in neither is a fill from DRAM. A write takes its line in, as
 * a read does. Every figure is exact for a program with one thread.
 *
 * Output: "total FIGURES" at the end; before it "mark FIGURES" at each getsid(), which a script calls to say
 * "here", "shown FIGURES" at each write() to standard output, and "socket FIGURES" where it turns to a network,
 * "thread FIGURES" where it starts a thread or a process.
 * FIGURES: instructions, memory accesses, misses of the first cache, fills. With blocks=on also each block of code, "block ADDRESS INSTRUCTIONS", and where it
 * came from, "map" and a line of /proc/self/maps.
 *
 * Debian's QEMU loads plugins and ships no header for them, so what is used of version 1 of the interface is
 * declared here.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef uint64_t plugin_id;
typedef uint32_t access_info;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { INLINE_ADD = 0, NO_REGISTERS = 0, READ_AND_WRITE = 3 };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *, uint64_t);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *, void (*)(unsigned, access_info, uint64_t, void *),
                                      int, int, void *);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id, void (*)(plugin_id, unsigned, int64_t, uint64_t, uint64_t,
                                                              uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                                                              uint64_t));
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
void qemu_plugin_outs(const char *);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;

enum { LINE_BITS = 6, SYSCALL_WRITE = 64, SYSCALL_GETSID = 156, SYSCALL_SOCKET = 198, SYSCALL_CLONE = 220, STANDARD_OUTPUT = 1 };
enum { BEGINNING = 1767225600 }; /* seconds: 2026-01-01 */

/* A set's ways, the most recently used first; a line is kept as its number plus one, so that 0 is an empty way. */
#define L1_SETS 128
#define L1_WAYS 4
#define L2_SETS 512
#define L2_WAYS 16
static uint64_t l1[L1_SETS][L1_WAYS], l2[L2_SETS][L2_WAYS];
static uint64_t instructions, accesses, l1_misses, fills;

struct block {
    uint64_t address, length, instructions;
    struct block *next;
};
static struct block *blocks;
static bool blocks_wanted;

/* Loaded before libc, this is the clock that QEMU and so the guest sees: the modelled time (see counts.py). A program
 * that looks at the clock then does the same in every run, and times itself as on the board. One that sleeps is not
 * for counting. */
EXPORT int clock_gettime(clockid_t clock, struct timespec *time) {
    (void)clock;
    uint64_t ns = (instructions * 139 + fills * 4250) / 100;
    time->tv_sec = BEGINNING + ns / 1000000000;
    time->tv_nsec = ns % 1000000000;
    return 0;
}

static bool find_or_take_in(uint64_t *ways, int count, uint64_t line) {
    int at = 0;
    while (at < count - 1 && ways[at] != line + 1) at++;
    bool found = ways[at] == line + 1;
    memmove(ways + 1, ways, at * sizeof *ways);
    ways[0] = line + 1;
    return found;
}

static void on_access(unsigned core, access_info info, uint64_t address, void *unused) {
    (void)core, (void)info, (void)unused;
    uint64_t line = address >> LINE_BITS;
    accesses++;
    if (l1[line % L1_SETS][0] == line + 1 || find_or_take_in(l1[line % L1_SETS], L1_WAYS, line)) return;
    l1_misses++;
    if (!find_or_take_in(l2[line % L2_SETS], L2_WAYS, line)) fills++;
}

static void on_translation(plugin_id id, struct qemu_plugin_tb *code) {
    (void)id;
    size_t length = qemu_plugin_tb_n_insns(code);
    qemu_plugin_register_vcpu_tb_exec_inline(code, INLINE_ADD, &instructions, length);
    for (size_t i = 0; i < length; i++)
        qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(code, i), on_access, NO_REGISTERS, READ_AND_WRITE, NULL);
    if (!blocks_wanted) return;
    struct block *block = calloc(1, sizeof *block);
    block->address = qemu_plugin_tb_vaddr(code);
    block->length = length;
    block->next = blocks;
    blocks = block;
    qemu_plugin_register_vcpu_tb_exec_inline(code, INLINE_ADD, &block->instructions, length);
}

static void tell(const char *name) {
    char line[160];
    snprintf(line, sizeof line, "%s %llu %llu %llu %llu\n", name, (unsigned long long)instructions,
             (unsigned long long)accesses, (unsigned long long)l1_misses, (unsigned long long)fills);
    qemu_plugin_outs(line);
}

static void on_syscall(plugin_id id, unsigned core, int64_t number, uint64_t first, uint64_t b, uint64_t c, uint64_t d,
                       uint64_t e, uint64_t f, uint64_t g, uint64_t h) {
    (void)id, (void)core, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
    if (number == SYSCALL_GETSID) tell("mark");
    if (number == SYSCALL_SOCKET) tell("socket");
    if (number == SYSCALL_CLONE) tell("thread");
    if (number == SYSCALL_WRITE && first == STANDARD_OUTPUT) tell("shown");
}

/* Where the code is from: the mappings are the guest's too, as QEMU puts a 64-bit guest's memory where it asks. */
static void tell_blocks(void) {
    char line[4096];
    FILE *maps = blocks_wanted ? fopen("/proc/self/maps", "r") : NULL;
    while (maps && fgets(line, sizeof line, maps)) {
        qemu_plugin_outs("map ");
        qemu_plugin_outs(line);
    }
    if (maps) fclose(maps);
    for (struct block *block = blocks; block; block = block->next) {
        snprintf(line, sizeof line, "block %llx %llu\n", (unsigned long long)block->address,
                 (unsigned long long)block->instructions);
        if (block->instructions) qemu_plugin_outs(line);
    }
}

static void on_exit_of_guest(plugin_id id, void *unused) {
    (void)id, (void)unused;
    tell("total");
    tell_blocks();
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int count, char **options) {
    (void)info;
    for (int i = 0; i < count; i++) {
        if (strcmp(options[i], "blocks=on")) {
            fprintf(stderr, "counter: unknown option %s\n", options[i]);
            return -1;
        }
        blocks_wanted = true;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
    qemu_plugin_register_atexit_cb(id, on_exit_of_guest, NULL);
    return 0;
}
