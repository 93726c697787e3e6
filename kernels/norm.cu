// Normalisation, as in norm.py: the moments of each channel, and the two maps that use them.
//
// x is (N, C, L). Sums are doubles whatever T is, so that float inputs of mean 1e4 and deviation 1
// keep their digits. A channel is one block's, which adds in a fixed order (reduce.cuh).
#include "array.cuh"
#include "half.cuh"
#include "loop.cuh"
#include "reduce.cuh"

// mean[c] and the biased var[c] over N and L, in two passes: squares of deviations, taken from the
// mean rounded to T, do not cancel as the difference of two large sums would.
// launch: block 512, grid x.shape[1]
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(512) moments(
    Array<const E, 3> x, Array<double, 1> mean, Array<double, 1> var) {
    const auto [N, C, L] = x.shape;
    for (int c = blockIdx.x; c < C; c += gridDim.x) {
        double total = 0;
        for (auto [n, i] : block_range(N, L))
            total += x(n, c, i);
        const double average = block_sum<512>(total) / (static_cast<double>(N) * L);
        const T m = static_cast<T>(average);
        double squares = 0;
        for (auto [n, i] : block_range(N, L)) {
            const double d = x(n, c, i) - m;
            squares += d * d;
        }
        squares = block_sum<512>(squares);
        if (threadIdx.x == 0) {
            mean(c) = average;
            var(c) = squares / (static_cast<double>(N) * L) - (average - m) * (average - m);
        }
    }
}

// y = (x - m) scale + shift, the three per channel.
// launch: block 256, grid-stride over x.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) scale(
    Array<const E, 3> x, Array<const T, 1> m, Array<const T, 1> scale, Array<const T, 1> shift,
    Array<E, 3> y) {
    const auto [N, C, L] = x.shape;
    for (auto [n, c, i] : grid_range(N, C, L))
        y(n, c, i) = (x(n, c, i) - m(c)) * scale(c) + shift(c);
}

// total[c] = the sum of gy over N and L, product[c] that of gy (x - m).
// launch: block 512, grid x.shape[1]
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(512) gradient_sums(
    Array<const E, 3> x, Array<const E, 3> gy, Array<const T, 1> m, Array<double, 1> total,
    Array<double, 1> product) {
    const auto [N, C, L] = x.shape;
    for (int c = blockIdx.x; c < C; c += gridDim.x) {
        double a = 0;
        double b = 0;
        for (auto [n, i] : block_range(N, L)) {
            a += gy(n, c, i);
            b += static_cast<double>(x(n, c, i) - m(c)) * static_cast<double>(gy(n, c, i));
        }
        a = block_sum<512>(a);
        b = block_sum<512>(b);
        if (threadIdx.x == 0) {
            total(c) = a;
            product(c) = b;
        }
    }
}

// gx = scale gy + slope (x - m) + shift, the four per channel.
// launch: block 256, grid-stride over x.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) combine(
    Array<const E, 3> x, Array<const E, 3> gy, Array<const T, 1> m, Array<const T, 1> scale,
    Array<const T, 1> slope, Array<const T, 1> shift, Array<E, 3> gx) {
    const auto [N, C, L] = x.shape;
    for (auto [n, c, i] : grid_range(N, C, L))
        gx(n, c, i) = scale(c) * gy(n, c, i) + slope(c) * (x(n, c, i) - m(c)) + shift(c);
}
