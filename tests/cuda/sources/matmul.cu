#include "array.cuh"

constexpr int TILE = 8;

// launch: block (TILE, TILE), grid (ceil(N / TILE), ceil(M / TILE))
template <typename T>
__global__ void __launch_bounds__(TILE* TILE)
    matmul(Array<const T, 2> a, Array<const T, 2> b, Array<T, 2> c) {
    const int M = c.shape[0], N = c.shape[1], K = a.shape[1];
    __shared__ T a_tile[TILE][TILE], b_tile[TILE][TILE];
    const int m = blockIdx.y * TILE + threadIdx.y, n = blockIdx.x * TILE + threadIdx.x;
    T sum = 0;
    for (int k0 = 0; k0 < K; k0 += TILE) {
        const int ka = k0 + threadIdx.x, kb = k0 + threadIdx.y;
        a_tile[threadIdx.y][threadIdx.x] = m < M && ka < K ? a(m, ka) : T(0);
        b_tile[threadIdx.y][threadIdx.x] = kb < K && n < N ? b(kb, n) : T(0);
        __syncthreads();
        for (int k = 0; k < TILE; ++k) sum += a_tile[threadIdx.y][k] * b_tile[k][threadIdx.x];
        __syncthreads();
    }
    if (m < M && n < N) c(m, n) = sum;
}
