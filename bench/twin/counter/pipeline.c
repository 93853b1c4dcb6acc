/* Latencies and throughputs are those measured on a Raspberry Pi 3, the same core: github.com/ocxtal/
 * insn_bench_aarch64, results/raspberry-pi-3_cortex-a53.md. Two instructions issue in a cycle if neither needs the
 * other's result and their units are free: two integer units, one multiplier, one unit for loads and stores, one for
 * branches, two halves of the vector unit, of which an instruction on 128 bits takes both. */
#include "pipeline.h"

#include <string.h>

static uint32_t bits(uint32_t code, int high, int low) { return code >> low & ((1u << (high - low + 1)) - 1); }

static uint8_t general(uint32_t number) { return number == 31 ? NO_REGISTER : (uint8_t)number; }
static uint8_t or_stack(uint32_t number) { return (uint8_t)number; } /* 31 is the stack pointer */
static uint8_t vector(uint32_t number) { return (uint8_t)(VECTOR_REGISTERS + number % 32); }

static Instruction make(Unit unit, int busy, int latency) {
    Instruction made = {.unit = unit, .busy = (uint8_t)busy, .latency = (uint8_t)latency, .forwarded = (uint8_t)latency,
                        .sum = NO_REGISTER, .address_result = NO_REGISTER};
    memset(made.sources, NO_REGISTER, sizeof made.sources);
    memset(made.results, NO_REGISTER, sizeof made.results);
    memset(made.stored, NO_REGISTER, sizeof made.stored);
    return made;
}

static Instruction integer(int latency, uint8_t result, uint8_t first, uint8_t second) {
    Instruction made = make(ALU, 1, latency);
    made.results[0] = result;
    made.sources[0] = first;
    made.sources[1] = second;
    return made;
}

static Instruction decode_immediate(uint32_t code) {
    uint8_t destination = general(bits(code, 4, 0)), source = general(bits(code, 9, 5));
    switch (bits(code, 25, 23)) {
    case 0: case 1: return integer(1, destination, NO_REGISTER, NO_REGISTER); /* adr */
    case 2: case 3: {
        bool sets_flags = bits(code, 29, 29);
        Instruction made = integer(1, sets_flags ? destination : or_stack(bits(code, 4, 0)), or_stack(bits(code, 9, 5)),
                                   NO_REGISTER);
        if (sets_flags) made.results[1] = FLAGS;
        return made;
    }
    case 4: {
        Instruction made = integer(1, destination, source, NO_REGISTER);
        if (bits(code, 30, 29) == 3) made.results[1] = FLAGS;
        return made;
    }
    case 5: return integer(1, destination, bits(code, 30, 29) == 3 ? destination : NO_REGISTER, NO_REGISTER); /* movk */
    case 6: return integer(2, destination, source, bits(code, 30, 29) == 1 ? destination : NO_REGISTER);
    default: return integer(2, destination, source, general(bits(code, 20, 16)));
    }
}

static Instruction decode_branch(uint32_t code) {
    Instruction made = make(BRANCH, 1, 1);
    uint8_t tested = general(bits(code, 4, 0)), target = general(bits(code, 9, 5));
    /* A conditional branch issues with the comparison before it: it is predicted, and reads the flags later. */
    if (bits(code, 30, 25) == 0x1A || bits(code, 30, 25) == 0x1B) made.sources[0] = tested; /* cbz, tbz */
    else if (bits(code, 31, 25) == 0x6B) made.sources[0] = target;                              /* br, blr, ret */
    else if (bits(code, 31, 22) == 0x354) { /* system */
        made.unit = ALU;
        if (bits(code, 21, 20) == 3) made.results[0] = tested, made.latency = 3, made.alone = true; /* mrs */
    }
    return made;
}

static Instruction decode_multiply_add(uint32_t code) {
    bool wide = bits(code, 31, 31), high = bits(code, 23, 21) == 2 || bits(code, 23, 21) == 6;
    bool is_long = bits(code, 23, 21) == 1 || bits(code, 23, 21) == 5;
    Instruction made = high ? make(MULTIPLY, 4, 6) : wide && !is_long ? make(MULTIPLY, 2, 4) : make(MULTIPLY, 1, 3);
    made.results[0] = general(bits(code, 4, 0));
    made.sources[0] = general(bits(code, 9, 5));
    made.sources[1] = general(bits(code, 20, 16));
    made.sources[2] = general(bits(code, 14, 10));
    return made;
}

static Instruction decode_integer(uint32_t code) {
    uint8_t destination = general(bits(code, 4, 0)), first = general(bits(code, 9, 5)), second = general(bits(code, 20, 16));
    if (!bits(code, 28, 28)) {
        bool shifted = bits(code, 15, 10) != 0 || (bits(code, 24, 24) && bits(code, 21, 21));
        bool sets_flags = bits(code, 24, 24) ? bits(code, 29, 29) : bits(code, 30, 29) == 3;
        if (bits(code, 24, 24) && bits(code, 21, 21)) { /* with an extended register */
            first = or_stack(bits(code, 9, 5));
            if (!sets_flags) destination = or_stack(bits(code, 4, 0));
        }
        Instruction made = integer(shifted ? 2 : 1, destination, first, second);
        if (sets_flags) made.results[1] = FLAGS;
        return made;
    }
    if (bits(code, 24, 24)) return decode_multiply_add(code);
    Instruction made = integer(1, destination, first, second);
    switch (bits(code, 23, 21)) {
    case 0: /* with carry */
    case 4: /* conditional select */
        made.sources[2] = FLAGS;
        if (bits(code, 29, 29)) made.results[1] = FLAGS;
        return made;
    case 2: /* conditional compare */
        made.results[0] = FLAGS;
        made.sources[2] = FLAGS;
        if (bits(code, 11, 11)) made.sources[1] = NO_REGISTER;
        return made;
    default:
        if (bits(code, 30, 30)) { /* one source */
            made.sources[1] = NO_REGISTER;
            made.latency = bits(code, 15, 12) == 1 ? 1 : 2;
            return made;
        }
        if (bits(code, 15, 11) == 1) made.unit = DIVIDE, made.busy = made.latency = 8; /* 3 to 20, by the operands */
        if (bits(code, 15, 12) == 2) made.unit = MULTIPLY; /* shift by a register: one in a cycle */
        if (bits(code, 15, 13) == 2) made.latency = 2; /* crc32 */
        return made;
    }
}

/* Loads and stores of one to four vector registers, whole or by element. */
static Instruction decode_vector_structure(uint32_t code) {
    bool load = bits(code, 22, 22), full = bits(code, 30, 30), multiple = !bits(code, 24, 24);
    uint32_t kind = bits(code, 15, 12);
    int registers, interleaved = 1;
    if (multiple) {
        registers = kind == 7 ? 1 : kind == 8 || kind == 10 ? 2 : kind == 4 || kind == 6 ? 3 : 4;
        interleaved = kind == 0 ? 4 : kind == 4 ? 3 : kind == 8 ? 2 : 1;
    } else
        registers = 1 + (int)bits(code, 21, 21) + 2 * (int)bits(code, 13, 13);
    int load_cycles[] = {0, 2, 4, 7, 9}, store_cycles[] = {0, 1, 2, 4, 5}, busy;
    bool narrow = bits(code, 11, 10) < 2; /* elements of 8 or 16 bits: they take longer to sort */
    if (!multiple) busy = registers > 2 ? 2 : 1;
    else if (load) busy = interleaved > 1 && narrow ? load_cycles[interleaved] : 2 * registers;
    else busy = interleaved > 1 ? store_cycles[interleaved] : registers;
    if (multiple && !full) busy = (busy + 1) / 2;
    bool in_turn = multiple && interleaved == 1; /* each register is ready before the next one */
    Instruction made = make(MEMORY, busy, !load ? 1 : in_turn ? 3 + (full ? 2 : 1) : busy + 3);
    if (load && in_turn) made.further = full ? 2 : 1;
    made.alone = multiple && full && load;
    uint32_t first = bits(code, 4, 0);
    for (int i = 0; i < registers; i++) (load ? made.results : made.stored)[i] = vector(first + (uint32_t)i);
    if (load && !multiple && bits(code, 15, 14) != 3) made.sources[1] = vector(first); /* one element changes */
    made.sources[0] = (uint8_t)bits(code, 9, 5);
    if (bits(code, 23, 23)) made.address_result = (uint8_t)bits(code, 9, 5);
    return made;
}

static Instruction decode_memory(uint32_t code) {
    bool is_vector = bits(code, 26, 26);
    uint32_t group = bits(code, 29, 28), size = bits(code, 31, 30), operation = bits(code, 23, 22);
    uint8_t base = (uint8_t)bits(code, 9, 5), target = (uint8_t)bits(code, 4, 0), pair = (uint8_t)bits(code, 14, 10);
    uint8_t first = is_vector ? vector(target) : general(target), second = is_vector ? vector(pair) : general(pair);
    if (group == 0) {
        if (is_vector) return decode_vector_structure(code);
        Instruction made = make(MEMORY, 2, 4); /* exclusive, acquire, release */
        made.sources[0] = base;
        made.sources[0] = base;
        if (bits(code, 22, 22)) made.results[0] = first;
        else {
            made.stored[0] = first;
            if (!bits(code, 23, 23)) made.results[0] = general(bits(code, 20, 16)); /* whether it was stored */
        }
        return made;
    }
    if (group == 1) {
        Instruction made = make(MEMORY, 1, 4);
        made.results[0] = first;
        return made;
    }
    if (group == 2) {
        bool load = bits(code, 22, 22), quad = is_vector && size == 2, halves = size == 0;
        int busy = load ? (quad ? 4 : is_vector ? 2 : halves ? 3 : 2) : (quad ? 2 : 1);
        Instruction made = make(MEMORY, busy, !load ? 1 : quad ? 6 : is_vector || halves ? 4 : 3);
        if (load) made.further = !halves || is_vector;
        made.sources[0] = base;
        made.alone = load && quad;
        if (load) made.results[0] = first, made.results[1] = second;
        else made.stored[0] = first, made.stored[1] = second;
        if (bits(code, 24, 23) == 1 || bits(code, 24, 23) == 3) made.address_result = base;
        return made;
    }
    bool by_register = !bits(code, 24, 24) && bits(code, 21, 21) && bits(code, 11, 10) == 2;
    bool writes_back = !bits(code, 24, 24) && !bits(code, 21, 21) && bits(code, 10, 10);
    bool quad = is_vector && size == 0 && operation >= 2;
    bool load = is_vector ? operation & 1 : operation != 0;
    bool extends = !is_vector && (size < 2 || operation > 1);
    Instruction made = make(MEMORY, load && quad ? 2 : 1, !load ? 1 : is_vector ? (quad ? 5 : 4) : extends ? 4 : 3);
    made.alone = load && quad;
    made.sources[0] = base;
    if (by_register) made.sources[1] = general(bits(code, 20, 16));
    if (!load) made.stored[0] = first;
    else if (!(size == 3 && operation == 2 && !is_vector)) made.results[0] = first; /* not prfm */
    if (writes_back) made.address_result = base;
    return made;
}

static Instruction vector_operation(bool full, int latency) {
    return make(full ? FULL_VECTOR : HALF_VECTOR, 1, latency);
}

static void add_to_sum(Instruction *made, int forwarded) {
    made->sum = made->results[0];
    made->forwarded = (uint8_t)forwarded;
}

/* There is one divider, beside the two halves; it also takes square roots. */
static void divide_floats(Instruction *made, int busy) {
    made->unit = DIVIDE;
    made->busy = (uint8_t)busy;
    made->latency = (uint8_t)(busy + 3);
}

static Instruction with_vectors(Instruction made, uint32_t code, bool two) {
    made.results[0] = vector(bits(code, 4, 0));
    made.sources[0] = vector(bits(code, 9, 5));
    if (two) made.sources[1] = vector(bits(code, 20, 16));
    return made;
}

/* Three vectors of the same shape. */
static Instruction decode_three_same(uint32_t code, bool full) {
    uint32_t kind = bits(code, 15, 11);
    bool is_unsigned = bits(code, 29, 29);
    if (kind >= 0x18) { /* floating point */
        bool divides = kind == 0x1F && is_unsigned && !bits(code, 23, 23), compares = kind == 0x1C || kind == 0x1D;
        bool sums = kind == 0x19 && !is_unsigned, is_double = bits(code, 22, 22);
        bool steps = kind == 0x1F && !is_unsigned; /* frecps, frsqrts: they multiply and add */
        Instruction made = vector_operation(full, sums || steps ? 8 : compares ? 2 : 4);
        if (divides) divide_floats(&made, (is_double ? 22 : 13) * (full ? 2 : 1) - 3);
        made = with_vectors(made, code, true);
        if (sums) add_to_sum(&made, 4);
        return made;
    }
    bool is_polynomial = kind == 0x13 && is_unsigned, saturating_shift = kind == 0x09 || kind == 0x0B;
    bool multiplies = kind == 0x12 || (kind == 0x13 && !is_polynomial) || kind == 0x16 || kind == 0x0F;
    bool quick = kind == 0x03; /* logic */
    bool tests = kind == 0x11 && !is_unsigned; /* cmtst */
    bool slow = tests || is_polynomial || kind == 0x01 || kind == 0x05 || kind == 0x0A || kind == 0x0E || kind == 0x17;
    Instruction made = vector_operation(full, multiplies || saturating_shift ? 4 : quick ? (is_unsigned ? 2 : 1) : slow ? 3 : 2);
    if (kind == 0x03 && is_unsigned && !bits(code, 23, 22)) made.latency = 1; /* eor */
    made = with_vectors(made, code, true);
    if (kind == 0x12) add_to_sum(&made, 1);                                           /* mla */
    if (kind == 0x0F) made.busy = 2, made.latency = 4, add_to_sum(&made, 2);          /* saba */
    if (kind == 0x03 && is_unsigned && bits(code, 23, 22)) made.sources[2] = made.results[0]; /* bsl */
    return made;
}

/* Three vectors, of which one has elements of twice the width. */
static Instruction decode_three_different(uint32_t code) {
    uint32_t kind = bits(code, 15, 12);
    bool multiplies = kind >= 8 && kind != 14, sums = kind == 8 || kind == 9 || kind == 10 || kind == 11 || kind == 5;
    Instruction made = vector_operation(true, multiplies || sums ? 4 : 3);
    if ((kind == 4 || kind == 6) && bits(code, 29, 29)) made.busy = 2, made.latency = 4; /* rounding */
    made = with_vectors(made, code, true);
    if (sums) add_to_sum(&made, kind == 5 ? 2 : kind == 9 || kind == 11 ? 4 : 1); /* sqdmlal does not forward */
    if (kind == 5) made.busy = 2; /* sabal */
    return made;
}

static Instruction decode_by_element(uint32_t code, bool full) {
    uint32_t kind = bits(code, 15, 12);
    bool sums_floats = kind == 1 || kind == 5, is_float = sums_floats || kind == 9;
    bool sums = bits(code, 29, 29) ? kind == 0 || kind == 4 || kind == 2 || kind == 6 : kind == 2 || kind == 6 || kind == 3 || kind == 7;
    bool widens = kind == 2 || kind == 3 || kind == 6 || kind == 7 || kind == 10 || kind == 11;
    Instruction made = with_vectors(vector_operation(full || widens, sums_floats ? 8 : 4), code, true);
    if (is_float && bits(code, 23, 22) != 0) made.sources[1] = vector(bits(code, 20, 16));
    else if (bits(code, 23, 22) == 1) made.sources[1] = vector(bits(code, 19, 16));
    if (sums_floats) add_to_sum(&made, 4);
    else if (sums) add_to_sum(&made, kind == 3 || kind == 7 ? 4 : 1);
    return made;
}

static Instruction decode_vector(uint32_t code) {
    bool full = bits(code, 30, 30) && !bits(code, 28, 28); /* scalar forms take one half */
    if (bits(code, 24, 24)) {
        if (!bits(code, 10, 10)) return decode_by_element(code, full);
        if (!bits(code, 28, 28) && !bits(code, 22, 19)) { /* movi: it has no source */
            Instruction made = vector_operation(full, 1);
            made.results[0] = vector(bits(code, 4, 0));
            if (bits(code, 12, 12) && bits(code, 15, 14) != 3) made.sources[0] = made.results[0]; /* orr, bic */
            return made;
        }
        uint32_t kind = bits(code, 15, 11);
        bool narrows = kind >= 0x10 && kind <= 0x13, widens = kind == 0x14;
        bool saturates = kind == 0x12 || kind == 0x13 || (narrows && bits(code, 29, 29)) || kind == 0x0C || kind == 0x0E;
        bool converts = kind >= 0x1C, sums = kind == 2 || kind == 6, rounds = kind == 4 || kind == 0x11;
        Instruction made = vector_operation((full || widens) && !narrows, converts || saturates ? 4 : sums || rounds ? 3 : 2);
        if (kind == 6) made.latency = 4, made.busy = 2; /* srsra */
        made = with_vectors(made, code, false);
        if (sums) add_to_sum(&made, 2);
        return made;
    }
    if (bits(code, 21, 21)) {
        if (bits(code, 10, 10)) return decode_three_same(code, full);
        if (!bits(code, 11, 11)) return decode_three_different(code);
        uint32_t kind = bits(code, 16, 12);
        if (bits(code, 20, 17) == 8) /* across a vector */
            return with_vectors(vector_operation(full, kind == 0x1B || kind == 3 ? 3 : 4), code, false);
        bool narrows = kind == 0x12 || kind == 0x14 || kind == 0x16, is_float = kind >= 0x18 || kind == 0x16 || kind == 0x17;
        bool saturates = kind == 0x14 || (kind == 0x12 && bits(code, 29, 29)), roots = kind == 0x1F && bits(code, 29, 29);
        bool changes_width = kind == 0x13 || kind == 0x16 || kind == 0x17; /* shll, fcvtn, fcvtl */
        bool is_unsigned = bits(code, 29, 29), is_sign = kind == 0x0F;     /* fabs, fneg */
        Instruction made = vector_operation((full && !narrows) || changes_width, saturates || is_float || is_sign ? 4 : 2);
        if (kind == 0x07) made.latency = is_unsigned ? 3 : 4;                                       /* sqneg, sqabs */
        if (kind == 0x03 || ((kind == 0x0B || kind == 0x04) && !is_unsigned)) made.latency = 3;     /* suqadd, abs, cls */
        if (kind == 0x05 && is_unsigned && !bits(code, 23, 22)) made.latency = 1;                   /* mvn */
        if (kind == 2 || kind == 6) made.latency = kind == 6 ? 4 : 3, made.busy = kind == 6 ? 2 : 1; /* sadalp */
        if (roots && bits(code, 23, 23)) divide_floats(&made, full ? 22 : 10);
        made = with_vectors(made, code, false);
        if (kind == 6) add_to_sum(&made, 2);
        return made;
    }
    if (bits(code, 10, 10) && !bits(code, 15, 15)) { /* copies */
        uint32_t kind = bits(code, 14, 11);
        Instruction made = vector_operation(full, 2);
        if (bits(code, 29, 29)) { /* element to element */
            made = with_vectors(made, code, false);
            made.unit = HALF_VECTOR;
            made.sources[1] = made.results[0];
        } else if (kind == 5 || kind == 7) { /* to a general register */
            made.unit = HALF_VECTOR;
            made.latency = 3;
            made.results[0] = general(bits(code, 4, 0));
            made.sources[0] = vector(bits(code, 9, 5));
        } else {
            made.results[0] = vector(bits(code, 4, 0));
            made.sources[0] = kind == 0 ? vector(bits(code, 9, 5)) : general(bits(code, 9, 5));
            if (kind == 3) made.sources[1] = made.results[0], made.unit = HALF_VECTOR; /* ins: one element changes */
        }
        return made;
    }
    bool is_table = !bits(code, 29, 29) && bits(code, 11, 10) == 0;
    int tables = is_table ? 1 + (int)bits(code, 14, 13) : 1;
    int cycles = is_table && bits(code, 12, 12) ? tables + 1 : tables; /* tbx: the destination is one table more */
    Instruction made = with_vectors(vector_operation(full, 1 + cycles), code, true); /* permutations */
    if (is_table) {
        made.busy = (uint8_t)cycles;
        if (tables > 1) made.sources[2] = vector(bits(code, 9, 5) + (uint32_t)tables - 1); /* the last is loaded last */
        if (bits(code, 12, 12)) made.sources[3] = made.results[0];
    }
    return made;
}

static Instruction decode_float(uint32_t code) {
    Instruction made = make(HALF_VECTOR, 1, 4);
    made = with_vectors(made, code, true);
    bool is_double = bits(code, 22, 22);
    if (bits(code, 24, 24)) { /* multiply and add */
        made.latency = 8;
        made.forwarded = 4;
        made.sum = vector(bits(code, 14, 10));
        return made;
    }
    if (!bits(code, 21, 21)) { /* between fixed point in a general register and floating point */
        made.sources[1] = NO_REGISTER;
        if (bits(code, 20, 19) == 3) made.results[0] = general(bits(code, 4, 0));
        else made.sources[0] = general(bits(code, 9, 5));
        return made;
    }
    switch (bits(code, 11, 10)) {
    case 0:
        made.sources[1] = NO_REGISTER;
        if (bits(code, 12, 12)) { /* fmov of a constant */
            made.sources[0] = NO_REGISTER, made.latency = 1;
        } else if (bits(code, 13, 13)) { /* compare */
            if (!bits(code, 3, 3)) made.sources[1] = vector(bits(code, 20, 16)); /* else with 0 */
            made.results[0] = FLAGS;
            made.unit = FULL_VECTOR, made.latency = 1;
        } else if (bits(code, 14, 14)) { /* one source */
            uint32_t kind = bits(code, 20, 15);
            if (kind == 0) made.latency = 1; /* fmov */
            if (kind == 3) divide_floats(&made, is_double ? 19 : 9);
        } else { /* between general and vector registers */
            bool to_general = bits(code, 18, 16) == 6 || !(bits(code, 18, 17) == 1 || bits(code, 18, 16) == 7);
            if (to_general) made.results[0] = general(bits(code, 4, 0));
            else made.sources[0] = general(bits(code, 9, 5));
            if (bits(code, 18, 17) == 3) made.latency = to_general ? 2 : 3;
        }
        return made;
    case 2:
        if (bits(code, 15, 12) == 1) divide_floats(&made, is_double ? 19 : 10);
        return made;
    default: /* conditional select and compare */
        made.unit = FULL_VECTOR;
        made.sources[2] = FLAGS;
        made.latency = 2;
        if (bits(code, 11, 10) == 1) made.results[0] = FLAGS, made.latency = 1;
        return made;
    }
}

Instruction decode(uint32_t code) {
    switch (bits(code, 28, 25)) {
    case 8: case 9: return decode_immediate(code);
    case 10: case 11: return decode_branch(code);
    case 4: case 6: case 12: case 14: return decode_memory(code);
    case 5: case 13: return decode_integer(code);
    case 7: case 15: {
        bool is_scalar_float = bits(code, 31, 30) == 0 && bits(code, 28, 28);
        bool is_wide_conversion = bits(code, 31, 28) == 9; /* scalar float with a 64-bit general register */
        return is_scalar_float || is_wide_conversion ? decode_float(code) : decode_vector(code);
    }
    default: return make(ALU, 1, 1);
    }
}

static int larger(int a, int b) { return a > b ? a : b; }

int schedule(const Instruction *block, size_t length, Pipeline *state) {
    int now = 0, used = state->slots; /* the last cycle of the block before is cycle 0 */
    bool alone = false;
    for (size_t i = 0; i < length; i++) {
        const Instruction *each = &block[i];
        int start = now;
        for (int s = 0; s < MAX_SOURCES; s++) start = larger(start, state->ready[each->sources[s]]);
        for (int s = 0; s < MAX_SOURCES; s++) start = larger(start, state->ready[each->stored[s]] - 1);
        if (each->sum != NO_REGISTER) start = larger(start, state->sum_ready[each->sum]);
        switch (each->unit) {
        case MEMORY: start = larger(start, state->memory); break;
        case MULTIPLY: start = larger(start, state->multiply); break;
        case DIVIDE: start = larger(start, state->divide); break;
        case HALF_VECTOR: start = larger(start, state->vector[0] < state->vector[1] ? state->vector[0] : state->vector[1]); break;
        case FULL_VECTOR: start = larger(start, larger(state->vector[0], state->vector[1])); break;
        default: break;
        }
        if (start == now && (used == 2 || alone || (each->alone && used))) start++;
        if (start > now) now = start, used = 0;
        used++;
        alone = each->alone;
        int end = now + each->busy;
        switch (each->unit) {
        case MEMORY: state->memory = end; break;
        case MULTIPLY: state->multiply = end; break;
        case DIVIDE: state->divide = end; break;
        case HALF_VECTOR: state->vector[state->vector[1] < state->vector[0]] = end; break;
        case FULL_VECTOR: state->vector[0] = state->vector[1] = end; break;
        case BRANCH: used = 2; break; /* what follows comes from another fetch */
        default: break;
        }
        for (int r = 0; r < MAX_RESULTS; r++) {
            int ready = now + each->latency + r * each->further;
            state->ready[each->results[r]] = state->sum_ready[each->results[r]] = ready;
        }
        if (each->sum != NO_REGISTER) state->sum_ready[each->results[0]] = now + each->forwarded;
        if (each->address_result != NO_REGISTER) state->ready[each->address_result] = now + 1;
        state->ready[NO_REGISTER] = state->sum_ready[NO_REGISTER] = 0;
    }
    for (int r = 0; r < REGISTERS; r++) {
        state->ready[r] = larger(0, state->ready[r] - now);
        state->sum_ready[r] = larger(0, state->sum_ready[r] - now);
    }
    state->memory = larger(0, state->memory - now);
    state->multiply = larger(0, state->multiply - now);
    state->divide = larger(0, state->divide - now);
    state->vector[0] = larger(0, state->vector[0] - now);
    state->vector[1] = larger(0, state->vector[1] - now);
    state->slots = used;
    return now;
}
