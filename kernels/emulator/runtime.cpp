// Runs a grid of CUDA threads on one CPU thread. Each CUDA thread is a fiber: a stack and the
// registers saved on it. It runs until it waits for others or exits; then the next one goes on.
// Also here: what g++'s instrumentation calls (undefined behaviour, memory accesses, basic blocks).
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "cuda.h"
#include "interface.h"
#include "mma.h"

#if defined(EMULATOR_ADDRESS)
#include <sanitizer/common_interface_defs.h>
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

extern "C" __attribute__((visibility("hidden"))) char __ehdr_start;  // the linker's: where we begin

namespace emulator {

bool in_atomic;

namespace {

// ---- Switching stacks ----

#if defined(__x86_64__) && !defined(EMULATOR_UCONTEXT)

using Context = void*;  // where the registers that a call must preserve lie on the stack

extern "C" void emulator_switch(Context* from, Context to);
asm(R"(
    .text
    .type emulator_switch, @function
emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size emulator_switch, . - emulator_switch
)");

void switch_context(Context& from, Context& to) { emulator_switch(&from, to); }

void new_context(Context& context, char* stack, size_t size, void (*entry)()) {
    void** top = reinterpret_cast<void**>(stack + size);
    top[-2] = reinterpret_cast<void*>(entry);  // where `ret` goes, with the stack aligned as by call
    context = top - 8;                         // below it, six registers of no meaning yet
}

#else

using Context = ucontext_t;

void switch_context(Context& from, Context& to) { swapcontext(&from, &to); }

void new_context(Context& context, char* stack, size_t size, void (*entry)()) {
    getcontext(&context);
    context.uc_stack.ss_sp = stack;
    context.uc_stack.ss_size = size;
    context.uc_link = nullptr;
    makecontext(&context, entry, 0);
}

#endif

// ---- State ----

enum State { READY, AT_BARRIER, AT_WARP, EXITED };
const char* const operation_names[] = {"__syncwarp",       "a shuffle",         "a vote",
                                       "load_matrix_sync", "store_matrix_sync", "mma_sync"};

struct Fiber {
    uint3 thread;
    int number;  // within the block, x fastest
    State state;
    bool started;
    char* stack;
    Context context;
    const char* file;  // where it waits
    int line;
    Operation operation;
    unsigned mask;
    int source;
    unsigned char value[32], result[32];
    int64_t steps;
    // What it knows of its warp: what lane l did up to its stamp clock[l] is over. Its own entry
    // stamps its accesses, and moves on at each warp operation.
    unsigned clock[32];
    void* fake_stack;  // AddressSanitizer's
};

struct Access {
    int64_t block = -1;  // none yet
    int64_t epoch;       // barriers that the block had passed
    int fiber;
    unsigned clock;
    char* address;  // of the instruction
};

// The last accesses to some bytes. Of reads and of atomics two are enough, by different threads: a
// later writer is at most one of them.
struct Cell {
    Access write, reads[2], atomics[2];
};

struct Shadow {
    int64_t granule = 4;  // bytes that share a cell; 1 once something smaller was accessed
    std::vector<Cell> cells;
};

constexpr size_t STACK = 256 << 10, GUARD = 1 << 20;  // bytes; what lies in the guard faults


Launch* launch;
Report* report;
Context scheduler;
Fiber outside;  // instrumented code that no thread runs: constructors
Fiber* current = &outside;
int64_t step_limit = INT64_MAX;
std::vector<Fiber> fibers;
std::vector<int> thread_order;
std::vector<int64_t> block_order;
std::vector<char*> free_stacks;
std::vector<Shadow> shadows;
int64_t block_number, epoch;
Fiber* ticked;
int64_t ticked_steps;
int ticks;
uint64_t random_state;

uint64_t random_number() {  // splitmix64
    uint64_t z = (random_state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

template <typename T>
void arrange(std::vector<T>& numbers) {
    if (launch->order == 1) std::reverse(numbers.begin(), numbers.end());
    if (launch->order == 2)
        for (size_t i = numbers.size(); i > 1; --i)
            std::swap(numbers[i - 1], numbers[random_number() % i]);
}

char* new_stack() {
    if (free_stacks.empty()) {
        void* memory = mmap(nullptr, GUARD + STACK, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) abort();
        mprotect(memory, GUARD, PROT_NONE);  // running out of stack faults
        free_stacks.push_back(static_cast<char*>(memory) + GUARD);
    }
    char* stack = free_stacks.back();
    free_stacks.pop_back();
    return stack;
}

// ---- Failing ----

uint64_t offset(const void* address) {
    // A return address belongs to the next line: one byte earlier is still the call.
    return static_cast<uint64_t>(static_cast<const char*>(address) - &__ehdr_start) - 1;
}

void describe_list(const char* kind, const char* file, int line, const void* address,
                   const char* format, va_list values) {
    report->failed = 1;
    report->line = line;
    report->address = address ? offset(address) : 0;
    const unsigned block[] = {blockIdx.x, blockIdx.y, blockIdx.z};
    const unsigned thread[] = {threadIdx.x, threadIdx.y, threadIdx.z};
    std::copy(block, block + 3, report->block);
    std::copy(thread, thread + 3, report->thread);
    snprintf(report->kind, sizeof(report->kind), "%s", kind);
    snprintf(report->file, sizeof(report->file), "%s", file);
    vsnprintf(report->message, sizeof(report->message), format, values);
}

__attribute__((format(printf, 5, 6))) void describe(const char* kind, const char* file, int line,
                                                    const void* address, const char* format, ...) {
    va_list values;
    va_start(values, format);
    describe_list(kind, file, line, address, format, values);
    va_end(values);
}

#if defined(EMULATOR_ADDRESS)
const void* scheduler_stack;
size_t scheduler_size;
#endif

void to_scheduler([[maybe_unused]] bool for_ever) {
    Fiber* fiber = current;
#if defined(EMULATOR_ADDRESS)
    __sanitizer_start_switch_fiber(for_ever ? nullptr : &fiber->fake_stack, scheduler_stack,
                                   scheduler_size);
#endif
    switch_context(fiber->context, scheduler);
#if defined(EMULATOR_ADDRESS)
    __sanitizer_finish_switch_fiber(fiber->fake_stack, nullptr, nullptr);
#endif
}

// The failing thread goes no further, and neither does any other: the launch is over.
[[noreturn]] __attribute__((format(printf, 5, 6))) void fail(const char* kind, const char* file,
                                                             int line, const void* address,
                                                             const char* format, ...) {
    va_list values;
    va_start(values, format);
    describe_list(kind, file, line, address, format, values);
    va_end(values);
    to_scheduler(true);
    abort();
}

// ---- Running a block ----

void fiber_main() {
#if defined(EMULATOR_ADDRESS)
    __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_size);
#endif
    kernel_entry(launch->arguments);
    current->state = EXITED;
    to_scheduler(true);
    abort();
}

void resume(Fiber& fiber) {
    if (!fiber.started) {
        fiber.started = true;
        fiber.stack = new_stack();
        new_context(fiber.context, fiber.stack, STACK, fiber_main);
    }
    current = &fiber;
    threadIdx = fiber.thread;
#if defined(EMULATOR_ADDRESS)
    void* fake_stack;
    __sanitizer_start_switch_fiber(&fake_stack, fiber.stack, STACK);
#endif
    switch_context(scheduler, fiber.context);
#if defined(EMULATOR_ADDRESS)
    __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
    current = &outside;
    if (fiber.state == EXITED) free_stacks.push_back(fiber.stack);
}

void wait(State state, const char* file, int line) {
    current->state = state;
    current->file = file;
    current->line = line;
    // A loop around a barrier is as endless as any other, and slower.
    current->steps += 100;
    to_scheduler(false);
}

// Reports, as the mistake of a thread that waits.
__attribute__((format(printf, 2, 3))) void blame(const Fiber& fiber, const char* format, ...) {
    threadIdx = fiber.thread;
    va_list values;
    va_start(values, format);
    describe_list("warp", fiber.file, fiber.line, nullptr, format, values);
    va_end(values);
}

// What the lanes of a product give, and where its result goes.
struct Factors {
    const float *a, *b, *c;
    float* sum;
};

// All lanes stand at mma_sync: from their fragments to matrices, and back.
void multiply_matrices(const Fiber* warp) {
    float a[MATRIX * MATRIX], b[MATRIX * MATRIX], sum[MATRIX * MATRIX];
    Factors factors[32];
    for (int lane = 0; lane < 32; ++lane) {
        memcpy(&factors[lane], warp[lane].value, sizeof(Factors));
        for (int e = 0; e < PER_LANE; ++e) {
            a[place(lane, e)] = factors[lane].a[e];
            b[place(lane, e)] = factors[lane].b[e];
            sum[place(lane, e)] = factors[lane].c[e];
        }
    }
    for (int i = 0; i < MATRIX; ++i)
        for (int j = 0; j < MATRIX; ++j)
            for (int k = 0; k < MATRIX; ++k)
                sum[i * MATRIX + j] += a[i * MATRIX + k] * b[k * MATRIX + j];
    for (int lane = 0; lane < 32; ++lane)
        for (int e = 0; e < PER_LANE; ++e) factors[lane].sum[e] = sum[place(lane, e)];
}

// Lets the lanes of one complete warp operation go on; false if there is none.
bool release_warps() {
    bool released = false;
    for (size_t first = 0; first < fibers.size(); first += 32) {
        int lanes = static_cast<int>(std::min<size_t>(32, fibers.size() - first));
        Fiber* warp = &fibers[first];
        for (int lane = 0; lane < lanes; ++lane) {
            if (warp[lane].state != AT_WARP) continue;
            const unsigned mask = warp[lane].mask;
            const Operation operation = warp[lane].operation;
            unsigned arrived = 0, bits = 0, clock[32] = {};
            bool complete = true;
            for (int other = 0; other < lanes; ++other) {
                Fiber& fiber = warp[other];
                if (!(mask >> other & 1) || fiber.state == EXITED) continue;
                complete &= fiber.state == AT_WARP && fiber.mask == mask &&
                            fiber.operation == operation;
                arrived |= 1u << other;
                bits |= (fiber.value[0] & 1u) << other;
                for (int l = 0; l < 32; ++l) clock[l] = std::max(clock[l], fiber.clock[l]);
            }
            if (!complete) continue;
            if (operation >= MATRIX_LOAD) {
                if (arrived != 0xffffffff) {
                    blame(warp[lane], "%s needs all 32 lanes of a warp: %d are there",
                          operation_names[operation], __builtin_popcount(arrived));
                    return false;
                }
                for (int other = 0; other < 32; ++other)
                    if (operation != MULTIPLY &&
                        memcmp(warp[other].value, warp[0].value, sizeof(warp[0].value))) {
                        blame(warp[other], "lanes of a warp give %s different addresses or rows",
                              operation_names[operation]);
                        return false;
                    }
                if (operation == MULTIPLY) multiply_matrices(warp);
            }
            for (int other = 0; other < lanes; ++other) {
                Fiber& fiber = warp[other];
                if (!(arrived >> other & 1)) continue;
                if (operation == VOTE) memcpy(fiber.result, &bits, sizeof(bits));
                if (operation == SHUFFLE) {
                    if (fiber.source < 0 || fiber.source > 31 || !(arrived >> fiber.source & 1)) {
                        blame(fiber, "a shuffle reads lane %d, which %s: the value is undefined",
                              fiber.source,
                              fiber.source >= lanes || fiber.source < 0 ? "does not exist"
                              : warp[fiber.source].state == EXITED      ? "has exited"
                                                                        : "is not in the mask");
                        return false;
                    }
                    memcpy(fiber.result, warp[fiber.source].value, sizeof(fiber.result));
                }
                // Matrices bring the lanes together, but order nothing that they wrote.
                if (operation < MATRIX_LOAD) std::copy(clock, clock + 32, fiber.clock);
                ++fiber.clock[other];
                fiber.state = READY;
            }
            released = true;
        }
    }
    return released;
}

// Everybody waits or has exited, and no warp operation is complete: pass the barrier, or explain.
void release_barrier() {
    struct Group {
        State state;
        const char* file;
        int line;
        const Fiber* first;
        int count;
    };
    std::vector<Group> groups;
    for (const Fiber& fiber : fibers) {
        auto same = [&](const Group& group) {
            return group.state == fiber.state &&
                   (fiber.state == EXITED ||
                    (group.line == fiber.line && strcmp(group.file, fiber.file) == 0));
        };
        auto group = std::find_if(groups.begin(), groups.end(), same);
        if (group != groups.end()) ++group->count;
        else groups.push_back({fiber.state, fiber.file, fiber.line, &fiber, 1});
    }
    if (groups.size() == 1 && groups[0].state == AT_BARRIER) {
        ++epoch;
        for (Fiber& fiber : fibers) fiber.state = READY;
        return;
    }
    // The place to look at: a thread that waits, in a warp operation if there is one.
    const Group* worst = nullptr;
    for (const Group& group : groups)
        if (group.state != EXITED && (!worst || group.state > worst->state)) worst = &group;
    char text[1200];
    size_t used = 0;
    for (const Group& group : groups) {
        if (used + 200 > sizeof(text)) break;
        const char* more = group.count == 1 ? "" : " and others";
        used += static_cast<size_t>(snprintf(text + used, sizeof(text) - used,
            "%s%d of %zu threads ((%u, %u, %u)%s) ", used ? "; " : "", group.count, fibers.size(),
            group.first->thread.x, group.first->thread.y, group.first->thread.z, more));
        if (group.state == EXITED)
            used += static_cast<size_t>(snprintf(text + used, sizeof(text) - used,
                "%s exited", group.count == 1 ? "has" : "have"));
        else if (group.state == AT_BARRIER)
            used += static_cast<size_t>(snprintf(text + used, sizeof(text) - used,
                "%s at __syncthreads, %s:%d", group.count == 1 ? "waits" : "wait",
                group.file, group.line));
        else
            used += static_cast<size_t>(snprintf(text + used, sizeof(text) - used,
                "%s in %s with mask 0x%08x, %s:%d", group.count == 1 ? "waits" : "wait",
                operation_names[group.first->operation], group.first->mask, group.file,
                group.line));
    }
    threadIdx = worst->first->thread;
    const bool in_warp = worst->state == AT_WARP;
    describe(in_warp ? "warp" : "barrier", worst->file, worst->line, nullptr,
             "the threads of a block part at a %s: %s", in_warp ? "warp operation" : "barrier",
             text);
}

void run_block() {
    for (int r = 0; r < launch->region_count; ++r) {
        const Region& region = launch->regions[r];
        if (region.argument >= 0) continue;
        memset(region.begin, 0xff, static_cast<size_t>(region.size));  // NaN: it starts unwritten
        if (launch->detect_races) shadows[static_cast<size_t>(r)] = Shadow();
    }
    epoch = 0;
    for (Fiber& fiber : fibers) {
        fiber.state = READY;
        fiber.started = false;
        fiber.steps = 0;
        std::fill(fiber.clock, fiber.clock + 32, 0);
        fiber.clock[fiber.number % 32] = 1;
    }
    for (;;) {
        std::iota(thread_order.begin(), thread_order.end(), 0);
        arrange(thread_order);
        bool exited = true;
        for (int number : thread_order) {
            Fiber& fiber = fibers[static_cast<size_t>(number)];
            if (fiber.state == READY) resume(fiber);
            if (report->failed) return;
            exited &= fiber.state == EXITED;
        }
        if (exited) return;
        if (!release_warps() && !report->failed) release_barrier();
        if (report->failed) return;
    }
}

void begin() {
    in_atomic = false;
    *report = Report();
    random_state = launch->seed;
    step_limit = launch->step_limit;
    gridDim = dim3(launch->grid[0], launch->grid[1], launch->grid[2]);
    blockDim = dim3(launch->block[0], launch->block[1], launch->block[2]);
    shadows.assign(static_cast<size_t>(launch->region_count), Shadow());
    fibers.assign(blockDim.x * blockDim.y * blockDim.z, Fiber());
    thread_order.resize(fibers.size());
    int number = 0;
    for (unsigned z = 0; z < blockDim.z; ++z)
        for (unsigned y = 0; y < blockDim.y; ++y)
            for (unsigned x = 0; x < blockDim.x; ++x, ++number) {
                fibers[static_cast<size_t>(number)].thread = {x, y, z};
                fibers[static_cast<size_t>(number)].number = number;
            }
    block_order.resize(static_cast<size_t>(gridDim.x) * gridDim.y * gridDim.z);
    std::iota(block_order.begin(), block_order.end(), 0);
    arrange(block_order);
}

// ---- Faults: a wild pointer, the end of the stack, a loop that does nothing for ever ----

void* address_of_instruction([[maybe_unused]] void* context) {
#if defined(__x86_64__)
    auto rip = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP];
    return reinterpret_cast<char*>(rip) + 1;  // see offset()
#else
    return nullptr;
#endif
}

void on_fault(int number, siginfo_t* info, void* context) {
    if (current == &outside) {  // not ours
        signal(number, SIG_DFL);
        return;
    }
    char* address = static_cast<char*>(info->si_addr);
    bool stack = current->stack - GUARD <= address && address < current->stack;
    void* at = address_of_instruction(context);
    if (number == SIGFPE) fail("fault", "", 0, at, "an integer division by zero");
    if (stack) fail("fault", "", 0, at, "more than %zu KiB of local variables", STACK >> 10);
    fail("fault", "", 0, at, "access to memory that is not the kernel's (address %p)",
         static_cast<void*>(address));
}

// Each half second of work: `while (!flag);` is one jump to itself, with no basic block to count.
void on_tick(int, siginfo_t*, void* context) {
    if (current == &outside) return;
    if (current == ticked && current->steps == ticked_steps && ++ticks == 3)
        fail("steps", "", 0, address_of_instruction(context), "an endless loop");
    if (current != ticked || current->steps != ticked_steps) ticks = 0;
    ticked = current;
    ticked_steps = current->steps;
}

// Signal handlers in place for the time of a launch. Kernels hold no locks and own no memory, so
// their handlers may leave for the scheduler without a return.
class Handlers {
#if defined(EMULATOR_ADDRESS)
    static constexpr int signals[] = {SIGURG};  // AddressSanitizer reports faults
#else
    static constexpr int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGURG};
#endif
    static constexpr int count = sizeof(signals) / sizeof(int);
    struct sigaction before[count];
    stack_t stack_before;
    std::vector<char> stack = std::vector<char>(64 << 10);
    timer_t timer;
    bool has_timer;

public:
    Handlers() {
        stack_t own = {};
        own.ss_sp = stack.data();
        own.ss_size = stack.size();
        sigaltstack(&own, &stack_before);
        for (int i = 0; i < count; ++i) {
            struct sigaction action = {};
            action.sa_sigaction = signals[i] == SIGURG ? on_tick : on_fault;
            action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTART;
            sigaction(signals[i], &action, &before[i]);
        }
        struct sigevent event = {};
        event.sigev_notify = SIGEV_THREAD_ID;
        event.sigev_signo = SIGURG;  // ignored where nobody handles it, should one come late
        event._sigev_un._tid = static_cast<pid_t>(syscall(SYS_gettid));
        has_timer = timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer) == 0;
        const struct itimerspec half_second = {{0, 500'000'000}, {0, 500'000'000}};
        if (has_timer) timer_settime(timer, 0, &half_second, nullptr);
    }
    ~Handlers() {
        if (has_timer) timer_delete(timer);
        for (int i = 0; i < count; ++i) sigaction(signals[i], &before[i], nullptr);
        sigaltstack(&stack_before, nullptr);
    }
};
constexpr int Handlers::signals[];

// ---- Races ----

bool ordered(const Access& before) {
    if (before.block == -1) return true;
    if (before.block != block_number) return false;  // blocks run in any order
    if (before.fiber == current->number || before.epoch < epoch) return true;
    return before.fiber / 32 == current->number / 32 &&
           before.clock <= current->clock[before.fiber % 32];
}

[[noreturn]] void race(const Region& region, const char* at, bool write, const Access& before,
                       const char* earlier, char* address) {
    report->other = offset(before.address);
    int64_t grid_x = gridDim.x, grid_xy = grid_x * gridDim.y;
    const uint3 thread = fibers[static_cast<size_t>(before.fiber)].thread;
    char where[128];
    if (region.argument < 0)
        snprintf(where, sizeof(where), "__shared__ %s, byte %lld", region.name,
                 static_cast<long long>(at - region.begin));
    else
        snprintf(where, sizeof(where), "%s, element %lld", region.name,
                 static_cast<long long>((at - region.begin) / region.item));
    fail("race", "", 0, address,
         "a race on %s: this %s and the %s by block (%lld, %lld, %lld), thread (%u, %u, %u) have no "
         "order", where, in_atomic ? "atomic access" : write ? "write" : "read", earlier,
         static_cast<long long>(before.block % grid_x),
         static_cast<long long>(before.block / grid_x % gridDim.y),
         static_cast<long long>(before.block / grid_xy), thread.x, thread.y, thread.z);
}

void check_race(const Region& region, Shadow& shadow, const char* at, int64_t size, bool write,
                char* address) {
    if (shadow.cells.empty())
        shadow.cells.resize(static_cast<size_t>((region.size + shadow.granule - 1) / shadow.granule));
    if (size < shadow.granule) {
        std::vector<Cell> finer(static_cast<size_t>(region.size));
        for (size_t byte = 0; byte < finer.size(); ++byte)
            finer[byte] = shadow.cells[byte / static_cast<size_t>(shadow.granule)];
        shadow.cells = finer;
        shadow.granule = 1;
    }
    const Access now = {block_number, epoch, current->number,
                        current->clock[current->number % 32], address};
    auto check = [&](const Access& before, const char* earlier) {
        if (!ordered(before)) race(region, at, write, before, earlier, address);
    };
    int64_t first = (at - region.begin) / shadow.granule;
    int64_t last = std::min<int64_t>((at - region.begin + size - 1) / shadow.granule,
                                     static_cast<int64_t>(shadow.cells.size()) - 1);
    for (int64_t c = first; c <= last; ++c) {
        Cell& cell = shadow.cells[static_cast<size_t>(c)];
        check(cell.write, "write");
        if (write || in_atomic)
            for (const Access& read : cell.reads) check(read, "read");
        if (!in_atomic)
            for (const Access& atomic : cell.atomics) check(atomic, "atomic access");
        Access* two = in_atomic ? cell.atomics : cell.reads;
        if (write && !in_atomic) cell.write = now;
        else two[ordered(two[0]) ? 0 : 1] = now;
    }
}

void trace(const Region& region, const char* at, int64_t size) {
    int64_t first = (at - region.begin) / region.item;
    int64_t last = (at - region.begin + size - 1) / region.item;
    const int32_t who[] = {
        static_cast<int32_t>(blockIdx.x), static_cast<int32_t>(blockIdx.y),
        static_cast<int32_t>(blockIdx.z), static_cast<int32_t>(threadIdx.x),
        static_cast<int32_t>(threadIdx.y), static_cast<int32_t>(threadIdx.z)};
    for (int64_t element = first; element <= last; ++element) {
        int32_t* row = launch->trace + 7 * element;
        std::copy(who, who + 6, row);
        ++row[6];
    }
}

void accessed(const void* pointer, int64_t size, bool write, void* address) {
    if (current == &outside) return;
    const char* at = static_cast<const char*>(pointer);
    for (int r = 0; r < launch->region_count; ++r) {
        const Region& region = launch->regions[r];
        if (at < region.begin || at >= region.begin + region.size) continue;
        if (launch->trace_region == r && write == (launch->trace_writes != 0))
            trace(region, at, size);
        if (launch->detect_races)
            check_race(region, shadows[static_cast<size_t>(r)], at, size, write,
                       static_cast<char*>(address));
        return;
    }
}

}  // namespace

// ---- What cuda.h calls ----

void bad_index(const void* data, const long long* indices, const int* shape, int D,
               const char* file, int line) {
    if (!data) fail("index", file, line, nullptr, "the array is None");
    char text[2][128];
    for (int which = 0; which < 2; ++which) {
        size_t used = 0;
        for (int axis = 0; axis < D && used < 100; ++axis)
            used += static_cast<size_t>(
                snprintf(text[which] + used, sizeof(text[which]) - used, "%s%lld",
                         axis ? ", " : "", which ? static_cast<long long>(shape[axis])
                                                 : indices[axis]));
    }
    const char* comma = D == 1 ? "," : "";
    fail("index", file, line, nullptr, "index (%s%s) is outside an array of shape (%s%s)", text[0],
         comma, text[1], comma);
}

void barrier(const char* file, int line) { wait(AT_BARRIER, file, line); }

int lane() { return current->number % 32; }

void warp(Operation operation, unsigned mask, void* value, int size, int source, const char* file,
          int line) {
    if (!(mask >> lane() & 1))
        fail("warp", file, line, nullptr, "lane %d calls %s with mask 0x%08x, which leaves it out",
             lane(), operation_names[operation], mask);
    current->operation = operation;
    current->mask = mask;
    current->source = source;
    memset(current->value, 0, sizeof(current->value));
    if (size) memcpy(current->value, value, static_cast<size_t>(size));
    wait(AT_WARP, file, line);
    if (size) memcpy(value, current->result, static_cast<size_t>(size));
}

void matrix(Operation operation, const void* pointer, unsigned stride, int size, const char* file,
            int line) {
    const uint64_t address = reinterpret_cast<uintptr_t>(pointer);
    if (address % 32)
        fail("undefined", file, line, nullptr, "%s: the address is no multiple of 32 bytes (%d over)",
             operation_names[operation], static_cast<int>(address % 32));
    if (stride * static_cast<unsigned>(size) % 16)
        fail("undefined", file, line, nullptr, "%s: rows of %u numbers are no multiple of 16 bytes",
             operation_names[operation], stride);
    uint64_t both[] = {address, stride};
    warp(operation, 0xffffffff, both, sizeof(both), 0, file, line);
}

void multiply(const float* a, const float* b, const float* c, float* sum, const char* file,
              int line) {
    Factors factors = {a, b, c, sum};
    warp(MULTIPLY, 0xffffffff, &factors, sizeof(factors), 0, file, line);
}

}  // namespace emulator

using namespace emulator;

extern "C" {

char* emulator_base() { return &__ehdr_start; }

int emulator_run(Launch* wanted, Report* result) {
    launch = wanted;
    report = result;
    if (launch->blocks_done == 0) begin();
    const Handlers handlers;
    const int64_t blocks = static_cast<int64_t>(block_order.size());
    const clock_t until = clock() + CLOCKS_PER_SEC / 10;
    while (launch->blocks_done < blocks && !report->failed && clock() < until) {
        block_number = block_order[static_cast<size_t>(launch->blocks_done++)];
        blockIdx = {static_cast<unsigned>(block_number % gridDim.x),
                    static_cast<unsigned>(block_number / gridDim.x % gridDim.y),
                    static_cast<unsigned>(block_number / gridDim.x / gridDim.y)};
        run_block();
    }
    current = &outside;
    if (!report->failed && launch->blocks_done < blocks) return 1;
    for (Fiber& fiber : fibers)  // stacks that a failure left in use
        if (fiber.started && fiber.state != EXITED) free_stacks.push_back(fiber.stack);
    fibers.clear();
    shadows.clear();
    return 0;
}

// ---- What the instrumentation calls: one basic block begins ----

void __sanitizer_cov_trace_pc() {
    if (++current->steps > step_limit)
        fail("steps", "", 0, __builtin_return_address(0),
             "one thread ran %lld steps: an endless loop? (steps= allows more)",
             static_cast<long long>(step_limit));
}

#if defined(EMULATOR_ADDRESS)
char* __asan_get_report_address();

// What AddressSanitizer cannot know, in a form that launch.py reads.
__attribute__((visibility("default"))) void __asan_on_error() {
    fprintf(stderr, "emulator: block %u %u %u thread %u %u %u\n", blockIdx.x, blockIdx.y,
            blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
    const char* at = __asan_get_report_address();
    for (int r = 0; r < launch->region_count; ++r) {
        const Region& region = launch->regions[r];
        if (region.begin - 64 <= at && at < region.begin + region.size + 64)
            fprintf(stderr, "emulator: byte %lld of %s, which has %lld bytes\n",
                    static_cast<long long>(at - region.begin), region.name,
                    static_cast<long long>(region.size));
    }
}
#endif

// ---- ... memory is accessed (-fsanitize=thread; its own run time is not linked) ----

#define ACCESS(size)                                                                \
    void __tsan_read##size(void* p) { accessed(p, size, false, __builtin_return_address(0)); } \
    void __tsan_write##size(void* p) { accessed(p, size, true, __builtin_return_address(0)); } \
    void __tsan_unaligned_read##size(void* p) {                                     \
        accessed(p, size, false, __builtin_return_address(0));                      \
    }                                                                               \
    void __tsan_unaligned_write##size(void* p) {                                    \
        accessed(p, size, true, __builtin_return_address(0));                       \
    }
ACCESS(1) ACCESS(2) ACCESS(4) ACCESS(8) ACCESS(16)
#undef ACCESS
void __tsan_read_range(void* p, size_t size) {
    accessed(p, static_cast<int64_t>(size), false, __builtin_return_address(0));
}
void __tsan_write_range(void* p, size_t size) {
    accessed(p, static_cast<int64_t>(size), true, __builtin_return_address(0));
}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}

// ---- ... behaviour is undefined (-fsanitize=undefined; the same) ----

struct Location {
    const char* file;
    uint32_t line, column;
};

struct Type {
    uint16_t kind, info;
    char name[1];
};

struct TwoTypes {
    Location location;
    const Type *left, *right;
};

struct Mismatch {
    Location location;
    const Type* type;
    unsigned char log_alignment, kind;
};

#define UNDEFINED(location, ...) \
    fail("undefined", (location).file, static_cast<int>((location).line), nullptr, __VA_ARGS__)

static long long integer(const Type* type, uintptr_t value) {
    int bits = 1 << (type->info >> 1);
    if (bits > 64) return static_cast<long long>(*reinterpret_cast<const uint64_t*>(value));
    if (!(type->info & 1)) return static_cast<long long>(value);
    return static_cast<long long>(static_cast<uint64_t>(value) << (64 - bits)) >> (64 - bits);
}

#define OVERFLOW(which, sign)                                                                  \
    [[noreturn]] void __ubsan_handle_##which##_overflow_abort(TwoTypes* at, uintptr_t a,        \
                                                             uintptr_t b) {                    \
        UNDEFINED(at->location, "%lld " sign " %lld does not fit %s", integer(at->left, a),    \
                  integer(at->left, b), at->left->name);                                       \
    }
OVERFLOW(add, "+") OVERFLOW(sub, "-") OVERFLOW(mul, "*")
#undef OVERFLOW

[[noreturn]] void __ubsan_handle_negate_overflow_abort(TwoTypes* at, uintptr_t a) {
    UNDEFINED(at->location, "-(%lld) does not fit %s", integer(at->left, a), at->left->name);
}
[[noreturn]] void __ubsan_handle_divrem_overflow_abort(TwoTypes* at, uintptr_t a, uintptr_t b) {
    UNDEFINED(at->location, "%lld divided by %lld", integer(at->left, a), integer(at->left, b));
}
[[noreturn]] void __ubsan_handle_shift_out_of_bounds_abort(TwoTypes* at, uintptr_t a, uintptr_t b) {
    UNDEFINED(at->location, "%lld shifted by %lld bits", integer(at->left, a),
              integer(at->right, b));
}
[[noreturn]] void __ubsan_handle_out_of_bounds_abort(TwoTypes* at, uintptr_t index) {
    UNDEFINED(at->location, "index %lld is outside %s", integer(at->right, index),
              at->left->name);
}
[[noreturn]] void __ubsan_handle_type_mismatch_v1_abort(Mismatch* at, uintptr_t pointer) {
    uintptr_t alignment = uintptr_t(1) << at->log_alignment;
    if (!pointer) UNDEFINED(at->location, "access through a null pointer");
    UNDEFINED(at->location, "access of %s at an address that is no multiple of %zu bytes (%zu over)",
              at->type->name, static_cast<size_t>(alignment),
              static_cast<size_t>(pointer & (alignment - 1)));
}
[[noreturn]] void __ubsan_handle_load_invalid_value_abort(TwoTypes* at, uintptr_t value) {
    UNDEFINED(at->location, "%lld is no value of %s", static_cast<long long>(value),
              at->left->name);
}
[[noreturn]] void __ubsan_handle_float_cast_overflow_abort(TwoTypes* at, uintptr_t) {
    UNDEFINED(at->location, "a %s that does not fit %s", at->left->name, at->right->name);
}
[[noreturn]] void __ubsan_handle_pointer_overflow_abort(TwoTypes* at, uintptr_t, uintptr_t) {
    UNDEFINED(at->location, "pointer arithmetic that leaves the address space");
}
[[noreturn]] void __ubsan_handle_vla_bound_not_positive_abort(TwoTypes* at, uintptr_t bound) {
    UNDEFINED(at->location, "an array of %lld elements", static_cast<long long>(bound));
}
[[noreturn]] void __ubsan_handle_builtin_unreachable(TwoTypes* at) {
    UNDEFINED(at->location, "a place that is never reached was reached");
}
[[noreturn]] void __ubsan_handle_missing_return(TwoTypes* at) {
    UNDEFINED(at->location, "a function ended without returning a value");
}
[[noreturn]] void __ubsan_handle_nonnull_arg_abort(TwoTypes* at) {
    UNDEFINED(at->location, "a null pointer where none is allowed");
}

}  // extern "C"
