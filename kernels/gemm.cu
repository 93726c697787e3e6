// Products of matrices: five kernels that compute the same, each with one idea more.
//
//     matmul_naive      the definition, one thread per element of c
//     matmul_shared     a block's tile of a and b in shared memory: read once instead of 16 times
//     matmul_registers  8 x 8 elements per thread: each number read from a tile is used 8 times
//     matmul_vectors    loads of 16 bytes: a quarter of the load instructions
//     matmul            the next tile is on its way while this one is multiplied
//
// All take stacks of matrices, c[i] = a[i] b[i], of which a may be one for all of them. gemm.py
// multiplies panels that stay in a CPU's cache; a GPU keeps tiles in shared memory instead, so the
// bodies differ. Every element of c is one thread's sum, over k in order.
// Source: S. Boehm, How to Optimize a CUDA Matmul Kernel, 2022.
#include "array.cuh"
#include "half.cuh"
#include "loop.cuh"
#include "tile.cuh"

// c[i, m, n] = sum over k of a[i, m, k] b[i, k, n].
//
// a: (B, M, K) or (1, M, K). b: (B, K, N). c: (B, M, N). Neighbouring threads have neighbouring n:
// they read neighbours of b, and one and the same number of a.
// launch: block 256, grid-stride over c.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) matmul_naive(
    Array<const E, 3> a, Array<const E, 3> b, Array<E, 3> c) {
    const int K = b.shape[1];
    const auto [B, M, N] = c.shape;
    for (auto [i, m, n] : grid_range(B, M, N)) {
        T sum = 0;
        for (int k = 0; k < K; k++)
            sum += a(i % a.shape[0], m, k) * b(i, k, n);
        c(i, m, n) = sum;
    }
}

// The same. 16 x 16 threads share the 16 rows of a and 16 columns of b that they all need: each
// thread fetches one number of both, and the block reads it 16 times from shared memory.
// launch: block (16, 16), grid (ceil(N / 16), ceil(M / 16), B)
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) matmul_shared(
    Array<const E, 3> a, Array<const E, 3> b, Array<E, 3> c) {
    __shared__ T a_tile[16][16], b_tile[16][16];
    const int K = b.shape[1], i = blockIdx.z;
    const auto [B, M, N] = c.shape;
    const int ty = threadIdx.y, tx = threadIdx.x;
    const int m = blockIdx.y * 16 + ty, n = blockIdx.x * 16 + tx;
    T sum = 0;
    for (int k0 = 0; k0 < K; k0 += 16) {
        // No thread may return early, even one without an element of c: all must meet at barriers.
        a_tile[ty][tx] = m < M && k0 + tx < K ? a(i % a.shape[0], m, k0 + tx) : T(0);
        b_tile[ty][tx] = n < N && k0 + ty < K ? b(i, k0 + ty, n) : T(0);
        __syncthreads();
        for (int k = 0; k < 16; k++)
            sum += a_tile[ty][k] * b_tile[k][tx];
        __syncthreads();  // before the next step overwrites what others may still read
    }
    if (m < M && n < N)
        c(i, m, n) = sum;
}

// The same. Shared memory delivers one number per thread and cycle, and a multiply-add wants two:
// so a thread reads 8 of a and 8 of b into registers, and has 64 multiply-adds to do with them. (4
// and 4 doubles, which are twice as large.)
// launch: block 128, grid (ceil(N / COLS), ceil(M / ROWS), B)
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(128, 4) matmul_registers(
    Array<const E, 3> a, Array<const E, 3> b, Array<E, 3> c) {
    constexpr int R = Tile<T>::R, ROWS = 8 * R, COLS = 16 * R, DEPTH = 8;
    __shared__ T a_tile[ROWS][DEPTH], b_tile[DEPTH][COLS];
    const int K = b.shape[1], i = blockIdx.z;
    const auto [B, M, N] = c.shape;
    const int m0 = blockIdx.y * ROWS, n0 = blockIdx.x * COLS;
    const int ty = threadIdx.x / 16, tx = threadIdx.x % 16;
    T sum[R][R] = {};
    for (int k0 = 0; k0 < K; k0 += DEPTH) {
        for (int t = threadIdx.x; t < ROWS * DEPTH; t += 128) {
            const int m = t / DEPTH, k = t % DEPTH;
            a_tile[m][k] = m0 + m < M && k0 + k < K ? a(i % a.shape[0], m0 + m, k0 + k) : T(0);
        }
        for (int t = threadIdx.x; t < DEPTH * COLS; t += 128) {
            const int k = t / COLS, n = t % COLS;
            b_tile[k][n] = k0 + k < K && n0 + n < N ? b(i, k0 + k, n0 + n) : T(0);
        }
        __syncthreads();
        for (int k = 0; k < DEPTH; k++) {
            // Rows 8 apart and columns 16 apart: in each read, neighbours read neighbours.
            T a_part[R], b_part[R];
            for (int j = 0; j < R; j++) {
                a_part[j] = a_tile[ty + 8 * j][k];
                b_part[j] = b_tile[k][tx + 16 * j];
            }
            for (int j = 0; j < R; j++)
                for (int l = 0; l < R; l++)
                    sum[j][l] += a_part[j] * b_part[l];
        }
        __syncthreads();
    }
    for (int j = 0; j < R; j++)
        for (int l = 0; l < R; l++) {
            const int m = m0 + ty + 8 * j, n = n0 + tx + 16 * l;
            if (m < M && n < N)
                c(i, m, n) = sum[j][l];
        }
}

// The same. A thread's rows and columns come in vectors of 16 bytes, read by one instruction from
// shared memory (see tile.cuh), and from global memory where a vector is whole and aligned.
// launch: block 128, grid (ceil(N / COLS), ceil(M / ROWS), B)
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(128, 4) matmul_vectors(
    Array<const E, 3> a, Array<const E, 3> b, Array<E, 3> c) {
    constexpr int V = Tile<T>::VECTOR, R = Tile<T>::R, DEPTH = Tile<T>::DEPTH;
    __shared__ Tile<T> tile;
    const int K = b.shape[1], i = blockIdx.z;
    const auto [B, M, N] = c.shape;
    const int m0 = blockIdx.y * Tile<T>::ROWS, n0 = blockIdx.x * Tile<T>::COLS;
    // This thread brings V numbers of one row of a, and V numbers of two rows of b.
    const int row = threadIdx.x / (DEPTH / V), depth = threadIdx.x % (DEPTH / V) * V;
    const int column = threadIdx.x % 32 * V;
    T sum[R][R] = {};
    for (int k0 = 0; k0 < K; k0 += DEPTH) {
        T part[V];
        // Where fewer rows are left, the last is computed again; only its own thread stores it.
        load_some<V>(&a(i % a.shape[0], min(m0 + row, M - 1), 0) + k0 + depth, K - k0 - depth, part);
        for (int v = 0; v < V; v++)
            tile.a[depth + v][row] = part[v];
        for (int k = threadIdx.x / 32; k < DEPTH; k += 4) {
            const int n = k0 + k < K ? N - n0 - column : 0;
            load_some<V>(&b(i, min(k0 + k, K - 1), 0) + n0 + column, n, part);
            for (int v = 0; v < V; v++)
                tile.b[k][column + v] = part[v];
        }
        __syncthreads();
        multiply(tile, sum);
        __syncthreads();
    }
    for (int j = 0; j < R; j++)
        for (int l = 0; l < R; l++) {
            const int m = m0 + Tile<T>::row(j), n = n0 + Tile<T>::column(l);
            if (m < M && n < N)
                c(i, m, n) = sum[j][l];
        }
}

// The same. Global memory answers hundreds of cycles late, and a block that waits computes nothing:
// so in step s the numbers of step s are fetched into registers while those of step s - 1 are
// multiplied. With two tiles, one is filled while the other is read: one barrier a step is enough.
// launch: block 128, grid (ceil(N / COLS), ceil(M / ROWS), B)
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(128, 4) matmul(
    Array<const E, 3> a, Array<const E, 3> b, Array<E, 3> c) {
    constexpr int V = Tile<T>::VECTOR, R = Tile<T>::R, DEPTH = Tile<T>::DEPTH;
    __shared__ Tile<T> tile[2];
    const int K = b.shape[1], i = blockIdx.z;
    const auto [B, M, N] = c.shape;
    const int m0 = blockIdx.y * Tile<T>::ROWS, n0 = blockIdx.x * Tile<T>::COLS;
    const int row = threadIdx.x / (DEPTH / V), depth = threadIdx.x % (DEPTH / V) * V;
    const int column = threadIdx.x % 32 * V;
    const int steps = (K + DEPTH - 1) / DEPTH;
    T sum[R][R] = {};
    for (int step = 0; step <= steps; step++) {
        const int k0 = step * DEPTH;
        T a_part[V], b_part[DEPTH / 4][V];
        if (step < steps) {
            const E* a_row = &a(i % a.shape[0], min(m0 + row, M - 1), 0);
            load_some<V>(a_row + k0 + depth, K - k0 - depth, a_part);
            for (int j = 0; j < DEPTH / 4; j++) {
                const int k = k0 + threadIdx.x / 32 + 4 * j, n = k < K ? N - n0 - column : 0;
                load_some<V>(&b(i, min(k, K - 1), 0) + n0 + column, n, b_part[j]);
            }
        }
        if (step > 0)
            multiply(tile[(step - 1) % 2], sum);
        if (step < steps)
            for (int v = 0; v < V; v++) {
                tile[step % 2].a[depth + v][row] = a_part[v];
                for (int j = 0; j < DEPTH / 4; j++)
                    tile[step % 2].b[threadIdx.x / 32 + 4 * j][column + v] = b_part[j][v];
            }
        __syncthreads();
    }
    for (int j = 0; j < R; j++)
        for (int l = 0; l < R; l++) {
            const int m = m0 + Tile<T>::row(j), n = n0 + Tile<T>::column(l);
            if (m < M && n < N)
                c(i, m, n) = sum[j][l];
        }
}
