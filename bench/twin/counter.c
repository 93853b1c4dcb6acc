/* A QEMU plugin that counts the costs of a program: instructions, and lines that miss the board's caches.
 *
 *   cc -O2 -shared -fPIC -DPS_PER_INSTRUCTION=1390 -DPS_PER_FILL=42500 -o counter.so counter.c
 *   LD_PRELOAD=./counter.so qemu-aarch64 -d plugin -D counts.txt -plugin counter.so[,blocks=on] PROGRAM
 *
 * Models the data caches of the Pi Zero 2 W for one core: 32 KiB in 4 ways, then 512 KiB in 16 ways, lines of 64
 * bytes, least recently used replacement; a line that is in neither is a fill from DRAM. A write loads its line, as
 * a read does. All figures are exact for a program with one thread.
 *
 * Output: "total FIGURES" at the end; before it "mark FIGURES" at each getsid(), which a script calls to mark a
 * moment, "shown FIGURES" at each write() to standard output, "socket FIGURES" at each socket(), and
 * "thread FIGURES" at each clone().
 * FIGURES: instructions, memory accesses, misses of the first cache, fills. With blocks=on also a line for each
 * block of code, "block ADDRESS INSTRUCTIONS FILLS", and the mappings, "map" and a line of /proc/self/maps.
 *
 * Debian's QEMU loads plugins but ships no header for them, so the functions of version 1 of the interface that are
 * used are declared here.
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

/* The ways of a set, most recently used first; a line is stored as its number plus one, so that 0 is an empty way. */
#define L1_SETS 128
#define L1_WAYS 4
#define L2_SETS 512
#define L2_WAYS 16
static uint64_t l1[L1_SETS][L1_WAYS], l2[L2_SETS][L2_WAYS];
static uint64_t instructions, accesses, l1_misses, fills;

struct block {
    uint64_t address, instructions, fills;
    struct block *next;
};
static struct block *blocks;
static bool count_blocks;

/* Loaded before libc, this is the clock of QEMU and so of the guest: the modelled time, with the constants of the
 * board's file, in picoseconds. A program that reads the clock then does the same in every run, and times itself as
 * on the board. A program that sleeps cannot be counted. */
EXPORT int clock_gettime(clockid_t clock, struct timespec *time) {
    (void)clock;
    uint64_t ns = (instructions * PS_PER_INSTRUCTION + fills * PS_PER_FILL) / 1000;
    time->tv_sec = BEGINNING + ns / 1000000000;
    time->tv_nsec = ns % 1000000000;
    return 0;
}

static bool find_or_load(uint64_t *ways, int count, uint64_t line) {
    int at = 0;
    while (at < count - 1 && ways[at] != line + 1) at++;
    bool found = ways[at] == line + 1;
    memmove(ways + 1, ways, at * sizeof *ways);
    ways[0] = line + 1;
    return found;
}

static void on_access(unsigned core, access_info info, uint64_t address, void *block) {
    (void)core, (void)info;
    uint64_t line = address >> LINE_BITS;
    accesses++;
    if (l1[line % L1_SETS][0] == line + 1 || find_or_load(l1[line % L1_SETS], L1_WAYS, line)) return;
    l1_misses++;
    if (find_or_load(l2[line % L2_SETS], L2_WAYS, line)) return;
    fills++;
    if (block) ((struct block *)block)->fills++;
}

static void on_translation(plugin_id id, struct qemu_plugin_tb *code) {
    (void)id;
    size_t length = qemu_plugin_tb_n_insns(code);
    struct block *block = count_blocks ? calloc(1, sizeof *block) : NULL;
    qemu_plugin_register_vcpu_tb_exec_inline(code, INLINE_ADD, &instructions, length);
    for (size_t i = 0; i < length; i++)
        qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(code, i), on_access, NO_REGISTERS, READ_AND_WRITE, block);
    if (!block) return;
    block->address = qemu_plugin_tb_vaddr(code);
    block->next = blocks;
    blocks = block;
    qemu_plugin_register_vcpu_tb_exec_inline(code, INLINE_ADD, &block->instructions, length);
}

static void print_figures(const char *name) {
    char line[160];
    snprintf(line, sizeof line, "%s %llu %llu %llu %llu\n", name, (unsigned long long)instructions,
             (unsigned long long)accesses, (unsigned long long)l1_misses, (unsigned long long)fills);
    qemu_plugin_outs(line);
}

static void on_syscall(plugin_id id, unsigned core, int64_t number, uint64_t first, uint64_t b, uint64_t c, uint64_t d,
                       uint64_t e, uint64_t f, uint64_t g, uint64_t h) {
    (void)id, (void)core, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
    if (number == SYSCALL_GETSID) print_figures("mark");
    if (number == SYSCALL_SOCKET) print_figures("socket");
    if (number == SYSCALL_CLONE) print_figures("thread");
    if (number == SYSCALL_WRITE && first == STANDARD_OUTPUT) print_figures("shown");
}

/* The mappings are also the guest's: QEMU places the memory of a 64-bit guest at the addresses that it requests. */
static void print_blocks(void) {
    char line[4096];
    FILE *maps = count_blocks ? fopen("/proc/self/maps", "r") : NULL;
    while (maps && fgets(line, sizeof line, maps)) {
        qemu_plugin_outs("map ");
        qemu_plugin_outs(line);
    }
    if (maps) fclose(maps);
    for (struct block *block = blocks; block; block = block->next) {
        snprintf(line, sizeof line, "block %llx %llu %llu\n", (unsigned long long)block->address,
                 (unsigned long long)block->instructions, (unsigned long long)block->fills);
        if (block->instructions) qemu_plugin_outs(line);
    }
}

static void on_exit_of_guest(plugin_id id, void *unused) {
    (void)id, (void)unused;
    print_figures("total");
    print_blocks();
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int count, char **options) {
    (void)info;
    for (int i = 0; i < count; i++) {
        if (strcmp(options[i], "blocks=on")) {
            fprintf(stderr, "counter: unknown option %s\n", options[i]);
            return -1;
        }
        count_blocks = true;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
    qemu_plugin_register_atexit_cb(id, on_exit_of_guest, NULL);
    return 0;
}
