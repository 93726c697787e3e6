// The product of matrices of gemm.cu on tensor cores: numbers of 16 bits in, sums in float, numbers
// of 16 bits out. The same arguments, the same steps; tensor_tile.cuh takes tile.cuh's place.
//
// Tensor cores of sm_75 know Half only; BFloat16 needs sm_80. Sums are added in the hardware's
// order: the same in every run on one GPU, but another one's last bits may differ.
#include "array.cuh"
#include "half.cuh"
#include "tensor_tile.cuh"
#include "tile.cuh"

// c[i, m, n] = sum over k of a[i, m, k] b[i, k, n].
//
// a: (B, M, K) or (1, M, K). b: (B, K, N). c: (B, M, N).
// launch: block 128, grid (ceil(N / 64), ceil(M / 64), c.shape[0])
// types: Half, BFloat16 from sm_80
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(128) matmul(
    Array<const E, 3> a, Array<const E, 3> b, Array<E, 3> c) {
    constexpr int V = TensorTile<E>::VECTOR, DEPTH = TensorTile<E>::DEPTH;
    __shared__ TensorTile<E> tile;
    const int K = b.shape[1], i = blockIdx.z;
    const int M = c.shape[1], N = c.shape[2];
    const int m0 = blockIdx.y * 64, n0 = blockIdx.x * 64;
    // This thread brings vectors of two rows of a, 32 apart, and of two rows of b, 16 apart.
    const int row = threadIdx.x / 4, depth = threadIdx.x % 4 * V;
    const int k_row = threadIdx.x / 8, column = threadIdx.x % 8 * V;
    Sums sum[2][2];
    for (auto& row_of_sums : sum)
        for (Sums& square : row_of_sums)
            nvcuda::wmma::fill_fragment(square, 0.0f);
    for (int k0 = 0; k0 < K; k0 += DEPTH) {
        E part[2][2][V];
        for (int j = 0; j < 2; j++) {
            // Where fewer rows are left, the last is computed again; it is stored once.
            const int m = min(m0 + row + 32 * j, M - 1), k = k0 + k_row + 16 * j;
            load_some<V>(&a(i % a.shape[0], m, 0) + k0 + depth, K - k0 - depth, part[0][j]);
            const int n = k < K ? N - n0 - column : 0;
            load_some<V>(&b(i, min(k, K - 1), 0) + n0 + column, n, part[1][j]);
        }
        __syncthreads();  // before this step overwrites what others may still multiply
        for (int j = 0; j < 2; j++)
            for (int v = 0; v < V; v++) {
                tile.a[row + 32 * j][depth + v] = part[0][j][v];
                tile.b[k_row + 16 * j][column + v] = part[1][j][v];
            }
        __syncthreads();
        multiply(tile, sum);
    }
    for_each_sum(sum, [&](int m, int n, T value) {
        if (m0 + m < M && n0 + n < N)
            c(i, m0 + m, n0 + n) = value;
    });
}
