/* A QEMU plugin that counts what a program costs on the board.
 *
 *   cc -O3 -flto -shared -fPIC "-DPS_PER_COUNT={...}" -o counter.so plugin.c core.c pipeline.c
 *   LD_PRELOAD=./counter.so qemu-aarch64 -d plugin -D counts.txt -plugin counter.so[,blocks=on] PROGRAM
 *
 * Every executed block of code passes a model of the pipeline, and every access a model of the caches. The counts are
 * the same in every run of a program with one thread.
 *
 * Output: "total CORE COUNTS" for each core at the end; before it "mark CORE COUNTS" at each getsid(), which a script
 * calls to mark a moment, "shown" at each write() to standard output, "socket" at each socket(), and "thread" at each
 * clone(). COUNTS: as listed in core.h. A program that plays the threads of a parallel region in turn (threads/team.c)
 * calls getsid(PLAY + N) before the work of thread N and getsid(ENDED) after all: "begin" is the core that was alone until
 * then, and "end" each core at the end. With blocks=on also a line for
 * each block of code, "block ADDRESS COUNTS", and the mappings, "map" and a line of /proc/self/maps.
 */
#include "core.h"
#include "pipeline.h"
#include "qemu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;

enum { SYSCALL_WRITE = 64, SYSCALL_GETSID = 156, SYSCALL_SOCKET = 198, SYSCALL_CLONE = 220, STANDARD_OUTPUT = 1 };
enum { BEGINNING = 1767225600 }; /* seconds: 2026-01-01 */
enum { CORES = 16, REMEMBERED = 4 };
enum { PLAY = 0x10000, ENDED = 0x20000 };
enum { INSTRUCTION_BYTES = 4, LONGEST_LINE = 4096 };

typedef enum { OTHER, CONDITIONAL, INDIRECT } Ending;

/* A piece of code without jumps, as QEMU translates it. */
typedef struct Block Block;
struct Block {
    uint64_t start, end; /* addresses: of its first byte, and after its last one */
    size_t length;       /* instructions */
    Instruction *code;
    Pipeline state;      /* of the pipeline after it */
    Ending ending;
    const Block *before[REMEMBERED]; /* blocks that it was executed after, and the cycles it then takes */
    uint64_t cycles[REMEMBERED];
    int oldest;
    uint64_t counts[COUNTS];
    Block *next;
};

static Core cores[CORES];
static Block *executed[CORES]; /* the last block of each core */
static unsigned player;        /* the core that a program with one thread plays */
static bool is_playing;
static uint64_t region_began[CORES];
static Block *blocks;
static bool count_blocks;
static const uint64_t ps_per_count[COUNTS] = PS_PER_COUNT;

/* Loaded before libc, this is the clock of QEMU and so of the guest: the modelled time of the first core. A program
 * that reads the clock then does the same in every run, and times itself as on the board. A program that sleeps cannot
 * be counted. */
EXPORT int clock_gettime(clockid_t clock, struct timespec *time) {
    (void)clock;
    uint64_t ps = 0;
    for (int i = 0; i < COUNTS; i++) ps += cores[0].counts[i] * ps_per_count[i];
    time->tv_sec = (time_t)(BEGINNING + ps / 1000000000000);
    time->tv_nsec = (long)(ps / 1000 % 1000000000);
    return 0;
}

static Core *find_core(unsigned number) { return &cores[(number + player) % CORES]; }

static void on_access(unsigned number, access_info info, uint64_t address, void *block) {
    Core *core = find_core(number);
    uint64_t before[COUNTS];
    if (count_blocks) memcpy(before, core->counts, sizeof before);
    access_data(core, address, 1u << qemu_plugin_mem_size_shift(info), qemu_plugin_mem_is_store(info), is_playing);
    if (!count_blocks) return;
    for (int i = 0; i < COUNTS; i++) ((Block *)block)->counts[i] += core->counts[i] - before[i];
}

/* What a block costs depends on what the block before it has left unfinished. */
static uint64_t count_cycles(Block *block, const Block *before) {
    for (int i = 0; i < REMEMBERED; i++)
        if (block->before[i] == before) return block->cycles[i];
    Pipeline state = before->state;
    if (block == before) schedule(block->code, block->length, &state); /* a loop: its second round is like the others */
    uint64_t cycles = (uint64_t)schedule(block->code, block->length, &state);
    block->before[block->oldest] = before;
    block->cycles[block->oldest] = cycles;
    block->oldest = (block->oldest + 1) % REMEMBERED;
    return cycles;
}

static void on_block(unsigned number, void *data) {
    Core *core = find_core(number);
    Block *block = data;
    const Block *before = executed[core - cores];
    uint64_t counted[COUNTS];
    if (count_blocks) memcpy(counted, core->counts, sizeof counted);
    core->counts[INSTRUCTIONS] += block->length;
    if (before) {
        core->counts[CYCLES] += count_cycles(block, before);
        if (before->ending == CONDITIONAL) resolve_conditional(core, before->end, block->start != before->end);
        if (before->ending == INDIRECT) resolve_indirect(core, before->end, block->start);
    }
    fetch_code(core, block->start, block->end);
    executed[core - cores] = block;
    if (!count_blocks) return;
    for (int i = 0; i < COUNTS; i++) block->counts[i] += core->counts[i] - counted[i];
}

static Ending find_ending(uint32_t last) {
    bool tests_flags = last >> 24 == 0x54, tests_register = (last >> 25 & 0x3E) == 0x1A; /* b.cond; cbz, tbz */
    bool is_indirect = last >> 25 == 0x6B, is_return = (last >> 21 & 0xF) == 2;          /* a return is predicted */
    return tests_flags || tests_register ? CONDITIONAL : is_indirect && !is_return ? INDIRECT : OTHER;
}

static void on_translation(plugin_id id, struct qemu_plugin_tb *translated) {
    (void)id;
    size_t length = qemu_plugin_tb_n_insns(translated);
    Block *block = calloc(1, sizeof *block);
    block->code = calloc(length, sizeof *block->code);
    block->length = length;
    block->start = qemu_plugin_tb_vaddr(translated);
    block->end = block->start + INSTRUCTION_BYTES * length;
    uint32_t code = 0;
    for (size_t i = 0; i < length; i++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(translated, i);
        memcpy(&code, qemu_plugin_insn_data(instruction), sizeof code);
        block->code[i] = decode(code);
        qemu_plugin_register_vcpu_mem_cb(instruction, on_access, QEMU_NO_REGISTERS, QEMU_READ_AND_WRITE, block);
    }
    schedule(block->code, length, &block->state);
    block->ending = find_ending(code);
    block->next = blocks;
    blocks = block;
    qemu_plugin_register_vcpu_tb_exec_cb(translated, on_block, QEMU_NO_REGISTERS, block);
}

static void print_counts(const char *name, uint64_t number, const uint64_t *counts) {
    char line[LONGEST_LINE];
    int length = snprintf(line, sizeof line, "%s %llx", name, (unsigned long long)number);
    for (int i = 0; i < COUNTS; i++)
        length += snprintf(line + length, sizeof line - (size_t)length, " %llu", (unsigned long long)counts[i]);
    snprintf(line + length, sizeof line - (size_t)length, "\n");
    qemu_plugin_outs(line);
}

static void print_core(const char *name, unsigned number) { print_counts(name, number, find_core(number)->counts); }

static void play(unsigned number) {
    if (!is_playing) {
        print_core("begin", 0);
        for (int i = 0; i < CORES; i++) region_began[i] = cores[i].counts[CYCLES];
    }
    is_playing = true;
    player = number % CORES;
}

static void end_region(void) {
    is_playing = false;
    player = 0;
    replay_misses(cores, CORES, region_began);
    for (unsigned i = 0; i < CORES; i++)
        if (cores[i].counts[INSTRUCTIONS]) print_core("end", i);
}

static void on_syscall(plugin_id id, unsigned core, int64_t number, uint64_t first, uint64_t b, uint64_t c, uint64_t d,
                       uint64_t e, uint64_t f, uint64_t g, uint64_t h) {
    (void)id, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
    if (number == SYSCALL_SOCKET) print_core("socket", core);
    if (number == SYSCALL_CLONE) print_core("thread", core);
    if (number == SYSCALL_WRITE && first == STANDARD_OUTPUT) print_core("shown", core);
    if (number != SYSCALL_GETSID) return;
    if (first == ENDED) end_region();
    else if (first >= PLAY && first < ENDED) play((unsigned)(first - PLAY));
    else print_core("mark", core);
}

/* The mappings are also the guest's: QEMU places the memory of a 64-bit guest at the addresses that it requests. */
static void print_blocks(void) {
    char line[LONGEST_LINE];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps)) {
        qemu_plugin_outs("map ");
        qemu_plugin_outs(line);
    }
    if (maps) fclose(maps);
    for (Block *block = blocks; block; block = block->next)
        if (block->counts[INSTRUCTIONS]) print_counts("block", block->start, block->counts);
}

static void on_exit_of_guest(plugin_id id, void *unused) {
    (void)id, (void)unused;
    for (unsigned i = 0; i < CORES; i++)
        if (cores[i].counts[INSTRUCTIONS]) print_core("total", i);
    if (count_blocks) print_blocks();
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
