// Tensor cores as far as our kernels use them: products of 16 x 16 matrices of __half or
// __nv_bfloat16, added up in float.
//
// A warp holds a matrix together: each lane has some elements in a fragment, and CUDA does not say
// which. Here they are scattered, so that a kernel that guesses is wrong. (A GPU may hold an element
// twice, and rounds its sums otherwise.)
#pragma once

#include "cuda_bf16.h"
#include "cuda_fp16.h"

namespace emulator {

constexpr int MATRIX = 16, PER_LANE = MATRIX * MATRIX / 32;

// Where element e of a lane's fragment stands in the matrix, in row-major order.
constexpr int place(int lane, int e) { return (lane * PER_LANE + e) * 37 % (MATRIX * MATRIX); }

inline float as_float(float x) { return x; }
inline float as_float(__half x) { return __half2float(x); }
inline float as_float(__nv_bfloat16 x) { return __bfloat162float(x); }

// Reports addresses and rows that are not as wmma wants them, and lanes that disagree.
void matrix(Operation operation, const void* pointer, unsigned stride, int size, const char* file,
            int line);
// sum = a b + c, of which each lane gives and gets its elements.
void multiply(const float* a, const float* b, const float* c, float* sum, const char* file,
              int line);

}  // namespace emulator

namespace nvcuda {
namespace wmma {

struct matrix_a {};
struct matrix_b {};
struct accumulator {};
struct row_major {};
struct col_major {};
enum layout_t { mem_row_major, mem_col_major };

template <typename Use, int m, int n, int k, typename T, typename Layout = void>
struct fragment {
    static_assert(m == 16 && n == 16 && k == 16, "the emulator knows 16 x 16 x 16");
    static_assert(std::is_same<Use, accumulator>::value == std::is_same<T, float>::value,
                  "the emulator multiplies __half or __nv_bfloat16, and adds up in float");
    static constexpr int num_elements = emulator::PER_LANE;
    T x[num_elements];
    fragment() { memset(x, 0xff, sizeof(x)); }  // NaN: it starts unwritten
};

#define WRITTEN_AT const char *file = __builtin_FILE(), int line = __builtin_LINE()

template <typename Use, typename T, typename Layout>
void fill_fragment(fragment<Use, 16, 16, 16, T, Layout>& f, emulator::Same<T> value) {
    for (T& element : f.x) element = value;
}

namespace detail {

template <typename T, typename F>
__forceinline__ void move(F& f, T* pointer, unsigned stride, bool columns, bool store) {
    for (int e = 0; e < F::num_elements; ++e) {
        const unsigned at = emulator::place(emulator::lane(), e);
        const unsigned row = at / 16, column = at % 16;
        T& there = pointer[columns ? column * stride + row : row * stride + column];
        if (store) there = f.x[e];
        else f.x[e] = there;
    }
}

}  // namespace detail

// Each lane reads before it waits for the others: this orders nothing that they wrote.
template <typename Use, typename T, typename Layout>
__forceinline__ void load_matrix_sync(fragment<Use, 16, 16, 16, T, Layout>& f, const T* pointer, unsigned stride,
                      WRITTEN_AT) {
    static_assert(!std::is_same<Use, accumulator>::value, "say in which layout");
    detail::move(f, const_cast<T*>(pointer), stride, std::is_same<Layout, col_major>::value, false);
    emulator::matrix(emulator::MATRIX_LOAD, pointer, stride, sizeof(T), file, line);
}

template <typename T>
__forceinline__ void load_matrix_sync(fragment<accumulator, 16, 16, 16, T>& f, const T* pointer, unsigned stride,
                      layout_t layout, WRITTEN_AT) {
    detail::move(f, const_cast<T*>(pointer), stride, layout == mem_col_major, false);
    emulator::matrix(emulator::MATRIX_LOAD, pointer, stride, sizeof(T), file, line);
}

// Each lane writes after all have come: the others may read it after the next barrier.
template <typename T>
__forceinline__ void store_matrix_sync(T* pointer, const fragment<accumulator, 16, 16, 16, T>& f, unsigned stride,
                       layout_t layout, WRITTEN_AT) {
    emulator::matrix(emulator::MATRIX_STORE, pointer, stride, sizeof(T), file, line);
    detail::move(const_cast<fragment<accumulator, 16, 16, 16, T>&>(f), pointer, stride,
                 layout == mem_col_major, true);
}

template <typename T, typename A, typename B>
void mma_sync(fragment<accumulator, 16, 16, 16, float>& d,
              const fragment<matrix_a, 16, 16, 16, T, A>& a,
              const fragment<matrix_b, 16, 16, 16, T, B>& b,
              const fragment<accumulator, 16, 16, 16, float>& c, WRITTEN_AT) {
    float of_a[emulator::PER_LANE], of_b[emulator::PER_LANE];
    for (int e = 0; e < emulator::PER_LANE; ++e) {
        of_a[e] = emulator::as_float(a.x[e]);
        of_b[e] = emulator::as_float(b.x[e]);
    }
    emulator::multiply(of_a, of_b, c.x, d.x, file, line);
}

#undef WRITTEN_AT

}  // namespace wmma
}  // namespace nvcuda
