#include "array.cuh"

constexpr int TILE = 16, ROWS = 4;

// A block of TILE x ROWS threads moves a tile of TILE x TILE through shared memory.
// launch: block (TILE, ROWS), grid (ceil(W / TILE), ceil(H / TILE))
template <typename T>
__global__ void __launch_bounds__(TILE* ROWS) transpose(Array<const T, 2> x, Array<T, 2> y) {
    const int H = x.shape[0], W = x.shape[1];
    __shared__ T tile[TILE][TILE + 1];
    const int h0 = blockIdx.y * TILE, w0 = blockIdx.x * TILE;
    for (int i = threadIdx.y; i < TILE; i += ROWS)
        if (h0 + i < H && w0 + threadIdx.x < W)
            tile[i][threadIdx.x] = x(h0 + i, w0 + threadIdx.x);
    __syncthreads();
    for (int i = threadIdx.y; i < TILE; i += ROWS)
        if (h0 + threadIdx.x < H && w0 + i < W)
            y(w0 + i, h0 + threadIdx.x) = tile[threadIdx.x][i];
}
