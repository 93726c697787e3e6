// softmax and log_softmax along one axis, and their gradients, as in softmax.py.
//
// Along the innermost axis a row is one warp's: 32 threads that read neighbours, and add up with
// warp_sum. Along another axis (the classes of every pixel) a column is one thread's: neighbouring
// threads have neighbouring columns, and read neighbours too.
#include "array.cuh"
#include "half.cuh"
#include "loop.cuh"
#include "reduce.cuh"

// The largest element of row n. NaN may be passed over: the sum of exp will be NaN.
template <typename T, typename E>
__device__ T largest_of_row(const Array<const E, 2>& x, int n) {
    T largest = x(n, 0);
    for (int i = threadIdx.x; i < x.shape[1]; i += WARP)
        largest = larger(largest, x(n, i));
    return warp_max(largest);
}

// y = e^x / sum of e^x. With 4 blocks per multiprocessor to make room for, the compiler spills no
// register.
// launch: block (32, 8), grid ceil(x.shape[0] / 8)
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256, 4) softmax(Array<const E, 2> x, Array<E, 2> y) {
    for (int n = blockIdx.x * 8 + threadIdx.y; n < x.shape[0]; n += gridDim.x * 8) {
        const T largest = largest_of_row<T>(x, n);
        T total = 0;
        for (int i = threadIdx.x; i < x.shape[1]; i += WARP)
            total += exp(x(n, i) - largest);
        total = warp_sum(total);
        // e^x again, instead of keeping it in y: a Half would be rounded twice.
        for (int i = threadIdx.x; i < x.shape[1]; i += WARP)
            y(n, i) = exp(x(n, i) - largest) / total;
    }
}

// gx = y (gy - sum of y gy).
// launch: block (32, 8), grid ceil(y.shape[0] / 8)
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) softmax_grad(
    Array<const E, 2> y, Array<const E, 2> gy, Array<E, 2> gx) {
    for (int n = blockIdx.x * 8 + threadIdx.y; n < y.shape[0]; n += gridDim.x * 8) {
        T total = 0;
        for (int i = threadIdx.x; i < y.shape[1]; i += WARP)
            total += y(n, i) * gy(n, i);
        total = warp_sum(total);
        for (int i = threadIdx.x; i < y.shape[1]; i += WARP)
            gx(n, i) = y(n, i) * (gy(n, i) - total);
    }
}

// y = x - log(sum of e^x), as (x - largest) - log(sum of e^(x - largest)), in this order: the sum
// of a large and a small number would lose the small one's digits.
// launch: block (32, 8), grid ceil(x.shape[0] / 8)
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256, 4) log_softmax(Array<const E, 2> x, Array<E, 2> y) {
    for (int n = blockIdx.x * 8 + threadIdx.y; n < x.shape[0]; n += gridDim.x * 8) {
        const T largest = largest_of_row<T>(x, n);
        T total = 0;
        for (int i = threadIdx.x; i < x.shape[1]; i += WARP)
            total += exp(x(n, i) - largest);
        const T log_total = log(warp_sum(total));
        for (int i = threadIdx.x; i < x.shape[1]; i += WARP)
            y(n, i) = (x(n, i) - largest) - log_total;
    }
}

// gx = gy - e^y (sum of gy).
// launch: block (32, 8), grid ceil(y.shape[0] / 8)
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) log_softmax_grad(
    Array<const E, 2> y, Array<const E, 2> gy, Array<E, 2> gx) {
    for (int n = blockIdx.x * 8 + threadIdx.y; n < y.shape[0]; n += gridDim.x * 8) {
        T total = 0;
        for (int i = threadIdx.x; i < y.shape[1]; i += WARP)
            total += gy(n, i);
        total = warp_sum(total);
        for (int i = threadIdx.x; i < y.shape[1]; i += WARP)
            gx(n, i) = gy(n, i) - exp(y(n, i)) * total;
    }
}

// softmax over the middle axis of (N, D, S); again, with 4 blocks nothing is spilled.
// launch: block 256, grid ceil(x.shape[0] * x.shape[2] / 256)
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256, 4) softmax_columns(Array<const E, 3> x, Array<E, 3> y) {
    const auto [N, D, S] = x.shape;
    for (auto [n, i] : grid_range(N, S)) {
        T largest = x(n, 0, i);
        for (int d = 1; d < D; d++)
            largest = larger(largest, x(n, d, i));
        T total = 0;
        for (int d = 0; d < D; d++)
            total += exp(x(n, d, i) - largest);
        for (int d = 0; d < D; d++)
            y(n, d, i) = exp(x(n, d, i) - largest) / total;
    }
}

// launch: block 256, grid ceil(y.shape[0] * y.shape[2] / 256)
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) softmax_columns_grad(
    Array<const E, 3> y, Array<const E, 3> gy, Array<E, 3> gx) {
    const auto [N, D, S] = y.shape;
    for (auto [n, i] : grid_range(N, S)) {
        T total = 0;
        for (int d = 0; d < D; d++)
            total += y(n, d, i) * gy(n, d, i);
        for (int d = 0; d < D; d++)
            gx(n, d, i) = y(n, d, i) * (gy(n, d, i) - total);
    }
}

// log_softmax over the middle axis of (N, D, S).
// launch: block 256, grid ceil(x.shape[0] * x.shape[2] / 256)
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) log_softmax_columns(Array<const E, 3> x, Array<E, 3> y) {
    const auto [N, D, S] = x.shape;
    for (auto [n, i] : grid_range(N, S)) {
        T largest = x(n, 0, i);
        for (int d = 1; d < D; d++)
            largest = larger(largest, x(n, d, i));
        T total = 0;
        for (int d = 0; d < D; d++)
            total += exp(x(n, d, i) - largest);
        const T log_total = log(total);
        for (int d = 0; d < D; d++)
            y(n, d, i) = (x(n, d, i) - largest) - log_total;
    }
}

// launch: block 256, grid ceil(y.shape[0] * y.shape[2] / 256)
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) log_softmax_columns_grad(
    Array<const E, 3> y, Array<const E, 3> gy, Array<E, 3> gx) {
    const auto [N, D, S] = y.shape;
    for (auto [n, i] : grid_range(N, S)) {
        T total = 0;
        for (int d = 0; d < D; d++)
            total += gy(n, d, i);
        for (int d = 0; d < D; d++)
            gx(n, d, i) = gy(n, d, i) - exp(y(n, d, i)) * total;
    }
}
