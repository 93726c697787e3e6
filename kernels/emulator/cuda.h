// CUDA C++ as far as our kernels speak it, for g++: a .cu compiles behind this header unmodified.
// What needs the other threads (barriers, shuffles, reports) is in runtime.cpp.
#pragma once

#define CUDA_EMULATOR 1

#include <math.h>
#include <stdint.h>
#include <string.h>

#include <type_traits>
#include <utility>

// What nobody calls is left out, with its shared memory; the rest gets red zones.
#define __global__ static
#define __device__
#define __host__
#define __constant__ const
#define __shared__ static  // blocks run one after the other, so one copy serves them all
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)

// ---- Where a thread is ----

struct uint3 {
    unsigned x, y, z;
};

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

// Plain variables: the scheduler sets threadIdx each time that it lets a thread go on, and a call
// that may let another thread run makes the compiler read it anew.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
constexpr int warpSize = 32;

// ---- What runtime.cpp does ----

namespace emulator {

enum Operation { SYNC, SHUFFLE, VOTE, MATRIX_LOAD, MATRIX_STORE, MULTIPLY };

[[noreturn]] void bad_index(const void* data, const long long* indices, const int* shape, int D,
                            const char* file, int line);
void barrier(const char* file, int line);
// Waits for all lanes of the mask; a shuffle's value becomes that of lane `source`, a vote's the
// bits of all lanes.
void warp(Operation operation, unsigned mask, void* value, int size, int source, const char* file,
          int line);
int lane();
extern bool in_atomic;  // tells accesses by atomics from others, for the race detector

// An index into an Array, and the line on which it was written: a default argument is evaluated
// where the conversion from int stands.
struct Index {
    long long value;
    const char* file;
    int line;
    __forceinline__ Index(long long value, const char* file = __builtin_FILE(),
                          int line = __builtin_LINE())
        : value(value), file(file), line(line) {}
    __forceinline__ operator long long() const { return value; }
};

template <int D, typename... Rest>
__forceinline__ void check_indices(const void* data, const int (&shape)[D], const Index& first,
                                   Rest... rest) {
    const long long indices[] = {first.value, rest...};
    bool inside = data != nullptr;
    for (int axis = 0; axis < D; ++axis)
        inside &= 0 <= indices[axis] && indices[axis] < shape[axis];
    if (__builtin_expect(!inside, 0)) bad_index(data, indices, shape, D, first.file, first.line);
}

}  // namespace emulator

using emulator::Index;

// ---- Barriers, shuffles, votes ----

#define WRITTEN_AT const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(WRITTEN_AT) { emulator::barrier(file, line); }

inline void __syncwarp(unsigned mask = 0xffffffff, WRITTEN_AT) {
    emulator::warp(emulator::SYNC, mask, nullptr, 0, 0, file, line);
}

// Lanes exchange values within groups of `width`; one whose source lies outside keeps its own.
template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, WRITTEN_AT) {
    int group = emulator::lane() & ~(width - 1);
    emulator::warp(emulator::SHUFFLE, mask, &value, sizeof(T), group | (source & (width - 1)), file,
                   line);
    return value;
}

template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, WRITTEN_AT) {
    int lane = emulator::lane(), within = lane & (width - 1);
    int source = within + delta < static_cast<unsigned>(width) ? lane + delta : lane;
    emulator::warp(emulator::SHUFFLE, mask, &value, sizeof(T), source, file, line);
    return value;
}

template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, WRITTEN_AT) {
    int lane = emulator::lane(), within = lane & (width - 1);
    int source = delta <= static_cast<unsigned>(within) ? lane - delta : lane;
    emulator::warp(emulator::SHUFFLE, mask, &value, sizeof(T), source, file, line);
    return value;
}

template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, WRITTEN_AT) {
    int lane = emulator::lane(), source = lane ^ lanes;
    if (source >= (lane & ~(width - 1)) + width) source = lane;
    emulator::warp(emulator::SHUFFLE, mask, &value, sizeof(T), source, file, line);
    return value;
}

inline unsigned __ballot_sync(unsigned mask, int predicate, WRITTEN_AT) {
    unsigned bits = predicate != 0;
    emulator::warp(emulator::VOTE, mask, &bits, sizeof(bits), 0, file, line);
    return bits;
}

inline int __any_sync(unsigned mask, int predicate, WRITTEN_AT) {
    return __ballot_sync(mask, predicate, file, line) != 0;
}

inline int __all_sync(unsigned mask, int predicate, WRITTEN_AT) {
    return __ballot_sync(mask, !predicate, file, line) == 0;
}

#undef WRITTEN_AT

// ---- Atomics: threads take turns, so an ordinary read and write is one ----

namespace emulator {

template <typename T, typename F>
T atomic(T* address, F change) {
    in_atomic = true;
    T old = *address;
    *address = change(old);
    in_atomic = false;
    return old;
}

template <typename T>
using Same = std::common_type_t<T>;  // the address alone decides T
template <typename T>
struct Atomic {
    static_assert(std::is_integral<T>::value && sizeof(T) >= 4,
                  "atomics are for int, unsigned and 64-bit integers: floats would be added in an "
                  "order that changes from run to run");
    using Wrapping = std::make_unsigned_t<std::conditional_t<std::is_integral<T>::value, T, int>>;
};

}  // namespace emulator

#define ATOMIC(name, ...)                                                          \
    template <typename T>                                                          \
    T name(T* address, emulator::Same<T> value) {                                  \
        return emulator::atomic(address, [&](T old) -> T { return __VA_ARGS__; }); \
    }
ATOMIC(atomicAdd, T(typename emulator::Atomic<T>::Wrapping(old) + typename emulator::Atomic<T>::Wrapping(value)))
ATOMIC(atomicSub, T(typename emulator::Atomic<T>::Wrapping(old) - typename emulator::Atomic<T>::Wrapping(value)))
ATOMIC(atomicMin, old < value ? old : value)
ATOMIC(atomicMax, old > value ? old : value)
ATOMIC(atomicExch, (void(old), value))
ATOMIC(atomicAnd, old& value)
ATOMIC(atomicOr, old | value)
ATOMIC(atomicXor, old ^ value)
#undef ATOMIC

template <typename T>
T atomicCAS(T* address, emulator::Same<T> expected, emulator::Same<T> value) {
    return emulator::atomic(address, [&](T old) -> T { return old == expected ? value : old; });
}

inline void __threadfence() {}
inline void __threadfence_block() {}

// ---- Vectors: loaded and stored in one piece, hence aligned ----

#define VECTOR2(name, T)                         \
    struct alignas(2 * sizeof(T)) name { T x, y; }; \
    inline name make_##name(T x, T y) { return {x, y}; }
#define VECTOR3(name, T)                 \
    struct name { T x, y, z; };          \
    inline name make_##name(T x, T y, T z) { return {x, y, z}; }
#define VECTOR4(name, T)                                   \
    struct alignas(sizeof(T) < 4 ? 4 : 16) name { T x, y, z, w; }; \
    inline name make_##name(T x, T y, T z, T w) { return {x, y, z, w}; }
VECTOR2(float2, float) VECTOR3(float3, float) VECTOR4(float4, float)
VECTOR2(int2, int) VECTOR3(int3, int) VECTOR4(int4, int)
VECTOR2(uint2, unsigned) VECTOR4(uint4, unsigned) VECTOR4(uchar4, unsigned char)
VECTOR2(double2, double)
VECTOR2(longlong2, long long)
#undef VECTOR2
#undef VECTOR3
#undef VECTOR4
inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }

// ---- Mathematics that <math.h> lacks ----

#define MIN_MAX(A, B, T)           \
    inline T min(A first, B second) { \
        T a = first, b = second;   \
        return a < b ? a : b;      \
    }                              \
    inline T max(A first, B second) { \
        T a = first, b = second;   \
        return a > b ? a : b;      \
    }
MIN_MAX(int, int, int)
MIN_MAX(unsigned, unsigned, unsigned)
MIN_MAX(int, unsigned, unsigned)
MIN_MAX(unsigned, int, unsigned)
MIN_MAX(long, long, long)
MIN_MAX(unsigned long, unsigned long, unsigned long)
MIN_MAX(long long, long long, long long)
MIN_MAX(unsigned long long, unsigned long long, unsigned long long)
#undef MIN_MAX
// Of a number and NaN, the number.
#define MIN_MAX(A, B, T)                                \
    inline T min(A a, B b) { return fmin(T(a), T(b)); } \
    inline T max(A a, B b) { return fmax(T(a), T(b)); }
MIN_MAX(float, float, float)
MIN_MAX(double, double, double)
MIN_MAX(float, double, double)
MIN_MAX(double, float, double)
#undef MIN_MAX

inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline float rsqrt(float x) { return 1 / sqrtf(x); }
inline double rsqrt(double x) { return 1 / sqrt(x); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline float __int_as_float(int bits) {
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}
inline int __float_as_int(float x) {
    int bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}
inline float __uint_as_float(unsigned bits) { return __int_as_float(static_cast<int>(bits)); }
inline unsigned __float_as_uint(float x) { return static_cast<unsigned>(__float_as_int(x)); }
inline double __longlong_as_double(long long bits) {
    double x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __umulhi(unsigned a, unsigned b) {
    return static_cast<unsigned>((static_cast<unsigned long long>(a) * b) >> 32);
}

inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return static_cast<unsigned long long>((static_cast<unsigned __int128>(a) * b) >> 64);
}

template <typename T>
__forceinline__ T __ldg(const T* address) {
    return *address;
}

// ---- From an array of pointers to a call ----

namespace emulator {

template <typename... P, int... I>
void call(void (*kernel)(P...), void** arguments, std::integer_sequence<int, I...>) {
    kernel(*static_cast<std::remove_const_t<P>*>(arguments[I])...);
}

template <typename... P>
void call(void (*kernel)(P...), void** arguments) {
    call(kernel, arguments, std::make_integer_sequence<int, sizeof...(P)>());
}

template <typename... P>
int sizes(void (*)(P...), int* result) {
    const int all[] = {static_cast<int>(sizeof(P))..., 0};
    memcpy(result, all, sizeof...(P) * sizeof(int));
    return sizeof...(P);
}

}  // namespace emulator
