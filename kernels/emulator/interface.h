// What a compiled kernel and Python tell each other. The layouts are mirrored in launch.py.
#pragma once

#include <stdint.h>

namespace emulator {

// Memory that is checked for races and traced: an array argument, or a __shared__ variable.
struct Region {
    char* begin;
    int64_t size;       // bytes
    int32_t item;       // bytes of an element
    int32_t argument;   // which argument it is; -1 for a shared variable
    const char* name;
};

struct Launch {
    uint32_t grid[3], block[3];
    int32_t order;       // 0 forward, 1 reverse, 2 random
    int32_t detect_races;
    uint64_t seed;
    int64_t step_limit;  // basic blocks that one thread may run through
    void** arguments;
    Region* regions;
    int32_t region_count;
    int32_t trace_region;     // -1: no trace
    int32_t trace_writes;     // 1: who wrote an element; 0: who read it
    int32_t* trace;           // per element: block (3), thread (3), how many accesses
    int64_t blocks_done;      // 0 to begin with; emulator_run counts on
};

struct Report {
    int32_t failed;
    int32_t line;           // 0 if only `address` is known
    int32_t block[3], thread[3];
    uint64_t address;       // of the instruction, from the start of the library; 0 if unknown
    uint64_t other;         // of the earlier access in a race; 0 if there is none
    char kind[32];
    char file[256];
    char message[1536];
};

// Defined in the file that compile.py generates around a kernel.
void kernel_entry(void** arguments);

}  // namespace emulator

extern "C" {
// Runs some blocks, a tenth of a second's worth; returns whether there are more to run.
__attribute__((visibility("default"))) int emulator_run(emulator::Launch*, emulator::Report*);
__attribute__((visibility("default"))) char* emulator_base();
__attribute__((visibility("default"))) int emulator_sizes(int* sizes);
}
