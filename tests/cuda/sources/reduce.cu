#include "array.cuh"

constexpr int BLOCK = 128;

// The sum of each row: four numbers at a time, then across the warp, then across the warps.
// launch: block BLOCK, grid x.shape[0]
__global__ void __launch_bounds__(BLOCK) row_sums(Array<const float, 2> x, Array<float, 1> y) {
    const int row = blockIdx.x, N = x.shape[1];
    __shared__ float partial[BLOCK / 32];
    float sum = 0;
    const int whole = (row * N) % 4 == 0 ? N / 4 * 4 : 0;
    for (int i = threadIdx.x * 4; i < whole; i += BLOCK * 4) {
        const float4 v = *reinterpret_cast<const float4*>(&x(row, i));
        sum += (v.x + v.y) + (v.z + v.w);
    }
    for (int i = whole + threadIdx.x; i < N; i += BLOCK) sum += x(row, i);
    for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_down_sync(0xffffffff, sum, lanes);
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int warp = 1; warp < BLOCK / 32; ++warp) sum += partial[warp];
        y(row) = sum;
    }
}

// How many elements of a row are positive, and the sum of its squares in 32 bits, once per block.
// launch: block BLOCK, grid x.shape[0]
__global__ void __launch_bounds__(BLOCK) row_facts(Array<const int, 2> x, Array<int, 2> y) {
    const int row = blockIdx.x, N = x.shape[1];
    __shared__ int counts[BLOCK / 32], total;
    if (threadIdx.x == 0) total = 0;
    __syncthreads();
    int count = 0;
    for (int i0 = 0; i0 < N; i0 += BLOCK) {
        const int i = i0 + threadIdx.x;
        const int value = i < N ? x(row, i) : 0;
        count += __popc(__ballot_sync(0xffffffff, value > 0));
        atomicAdd(&total, value * value);
    }
    if (threadIdx.x % 32 == 0) counts[threadIdx.x / 32] = count;
    __syncthreads();
    if (threadIdx.x < 32) {
        int mine = threadIdx.x < BLOCK / 32 ? counts[threadIdx.x] : 0;
        for (int lanes = 16; lanes > 0; lanes /= 2) mine += __shfl_xor_sync(0xffffffff, mine, lanes);
        if (threadIdx.x == 0) {
            y(row, 0) = mine;
            y(row, 1) = total;
        }
    }
}
