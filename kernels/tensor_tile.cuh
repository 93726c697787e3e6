// A block's part of a product of matrices on tensor cores: what gemm_wmma.cu and conv2d_wmma.cu
// share. A tensor core multiplies two matrices of 16 x 16 numbers of 16 bits, and adds the products
// up in float: 4096 multiply-adds by one instruction of a warp, which holds each matrix together.
//
// 128 threads, four warps, compute a tile of 64 x 64 sums: each warp 32 x 32 of them, as 2 x 2
// matrices of 16 x 16. In each step, DEPTH columns of a and rows of b lie in shared memory.
//
//                 b: DEPTH x 64
//       a:        +------+------+         each matrix read from shared memory is used twice
//     64 x DEPTH  |warp 0|warp 1|
//                 +------+------+
//                 |warp 2|warp 3|
//                 +------+------+
#pragma once
#include <mma.h>

template <typename E>
struct TensorTile {
    static constexpr int VECTOR = 8;  // numbers in the widest load, of 16 bytes
    static constexpr int ROWS = 64, COLS = 64, DEPTH = 32;

    // Rows longer by one vector start in different memory banks.
    alignas(32) E a[ROWS][DEPTH + VECTOR];
    alignas(32) E b[DEPTH][COLS + VECTOR];
};

using Sums = nvcuda::wmma::fragment<nvcuda::wmma::accumulator, 16, 16, 16, float>;

// sum[i][j] += the products of rows 32 (warp / 2) + 16 i and columns 32 (warp % 2) + 16 j.
template <typename E>
__device__ void multiply(const TensorTile<E>& tile, Sums (&sum)[2][2]) {
    using namespace nvcuda;
    using Bits = decltype(E::bits);
    const int row = threadIdx.x / 64 * 32, column = threadIdx.x / 32 % 2 * 32;
    for (int k = 0; k < TensorTile<E>::DEPTH; k += 16) {
        wmma::fragment<wmma::matrix_a, 16, 16, 16, Bits, wmma::row_major> a[2];
        wmma::fragment<wmma::matrix_b, 16, 16, 16, Bits, wmma::row_major> b[2];
        for (int i = 0; i < 2; i++) {
            wmma::load_matrix_sync(
                a[i], &tile.a[row + 16 * i][k].bits, TensorTile<E>::DEPTH + TensorTile<E>::VECTOR);
            wmma::load_matrix_sync(
                b[i], &tile.b[k][column + 16 * i].bits,
                TensorTile<E>::COLS + TensorTile<E>::VECTOR);
        }
        for (int i = 0; i < 2; i++)
            for (int j = 0; j < 2; j++)
                wmma::mma_sync(sum[i][j], a[i], b[j], sum[i][j]);
    }
}

// Calls write(row, column, sum) for each sum, each by one thread. Which thread holds which number
// of a fragment is nobody's business, so they go by way of shared memory, 16 x 16 at a time.
template <typename F>
__device__ void for_each_sum(const Sums (&sum)[2][2], F write) {
    alignas(32) __shared__ float square[4][16][16 + 4];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll  // fragments are registers: their indices must be known
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int j = 0; j < 2; j++) {
            nvcuda::wmma::store_matrix_sync(
                &square[warp][0][0], sum[i][j], 16 + 4, nvcuda::wmma::mem_row_major);
            __syncwarp();
            for (int t = lane; t < 16 * 16; t += 32)
                write(warp / 2 * 32 + 16 * i + t / 16, warp % 2 * 32 + 16 * j + t % 16,
                      square[warp][t / 16][t % 16]);
            __syncwarp();  // before the next matrix is stored
        }
}
