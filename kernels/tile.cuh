// A block's part of a product of matrices: what the fast kernels of gemm.cu and conv2d.cu share.
//
// 128 threads compute a tile of ROWS x COLS sums, R x R per thread. In each step, DEPTH columns of
// a and rows of b lie in shared memory:
//
//              b: DEPTH x COLS             every number of a there is used COLS times,
//       a:    +---------------+            every number of b ROWS times
//     ROWS x  |     ROWS x    |
//     DEPTH   |     COLS      |
//             +---------------+
#pragma once

template <typename T>
struct Tile {
    static constexpr int VECTOR = 16 / sizeof(T);  // numbers in the widest load, of 16 bytes
    static constexpr int R = 2 * VECTOR;           // 8 x 8 floats or 4 x 4 doubles per thread
    static constexpr int ROWS = 8 * R;
    static constexpr int COLS = 16 * R;
    static constexpr int DEPTH = 8;

    // a is stored transposed, so that a thread's rows are neighbours. Rows longer by one vector put
    // what a warp stores down a column into different memory banks.
    alignas(16) T a[DEPTH][ROWS + VECTOR];
    alignas(16) T b[DEPTH][COLS + VECTOR];

    // The row and column of the tile at which this thread's sum (i, j) is: vectors of its own, next
    // to those of its neighbours, in the first and the second half of the tile.
    static __device__ int row(int i) {
        return i / VECTOR * (ROWS / 2) + threadIdx.x / 16 * VECTOR + i % VECTOR;
    }
    static __device__ int column(int j) {
        return j / VECTOR * (COLS / 2) + threadIdx.x % 16 * VECTOR + j % VECTOR;
    }
};

template <typename E, int COUNT>
struct alignas(COUNT * sizeof(E)) Vector {
    E at[COUNT];
};

// to[:COUNT] = from[:COUNT], in one load; `from` must be a multiple of its bytes.
template <int COUNT, typename E, typename T>
__device__ void load(const E* from, T* to) {
    const Vector<E, COUNT> v = *reinterpret_cast<const Vector<E, COUNT>*>(from);
    for (int i = 0; i < COUNT; i++)
        to[i] = v.at[i];
}

// The same for any address, of numbers of which the first `n` exist; zeros beyond.
template <int COUNT, typename E, typename T>
__device__ void load_some(const E* from, int n, T* to) {
    if (n >= COUNT && reinterpret_cast<size_t>(from) % sizeof(Vector<E, COUNT>) == 0)
        load<COUNT>(from, to);
    else
        for (int i = 0; i < COUNT; i++)
            to[i] = i < n ? T(from[i]) : T(0);
}

// sum[i][j] += sum over k of a[k][row(i)] * b[k][column(j)]: R x R multiply-adds for 2 R numbers
// read, and those as vectors.
template <typename T>
__device__ void multiply(const Tile<T>& tile, T (&sum)[Tile<T>::R][Tile<T>::R]) {
    constexpr int V = Tile<T>::VECTOR, R = Tile<T>::R;
#pragma unroll 2  // unrolled completely, it would take more than the 128 registers of a thread
    for (int k = 0; k < Tile<T>::DEPTH; k++) {
        T a[R], b[R];
        for (int i = 0; i < R; i += V) {
            load<V>(&tile.a[k][Tile<T>::row(i)], a + i);
            load<V>(&tile.b[k][Tile<T>::column(i)], b + i);
        }
        for (int i = 0; i < R; i++)
            for (int j = 0; j < R; j++)
                sum[i][j] += a[i] * b[j];
    }
}
