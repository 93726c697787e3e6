// Pooling, as in pool.py. Arrays are stacks of planes, (planes, H, W); an output is one thread's.
#include "array.cuh"
#include "half.cuh"
#include "loop.cuh"

// y = the largest element of each window, indices = its place h W + w in the plane. The first of
// equal elements counts; NaN is larger than every number, and the last NaN counts; `lowest` and -1
// where a window has no element inside.
// launch: block 256, grid-stride over y.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) max_pool2d(
    Array<const E, 3> x, Array<E, 3> y, Array<long long, 3> indices, T lowest, int KH, int KW,
    int SH, int SW, int PH, int PW, int DH, int DW) {
    const auto [planes, H, W] = x.shape;
    for (auto [n, oh, ow] : grid_range(planes, y.shape[1], y.shape[2])) {
        T best = lowest;
        int at = -1;
        for (int kh = 0; kh < KH; kh++) {
            const int h = oh * SH - PH + kh * DH;
            if (h < 0 || h >= H)
                continue;
            for (int kw = 0; kw < KW; kw++) {
                const int w = ow * SW - PW + kw * DW;
                if (w < 0 || w >= W)
                    continue;
                const T v = x(n, h, w);
                if (v > best || v != v || at < 0) {
                    best = v;
                    at = h * W + w;
                }
            }
        }
        y(n, oh, ow) = best;
        indices(n, oh, ow) = at;
    }
}

// gx[h, w] = the sum of gy over the windows whose largest element it was.
//
// The CPU walks over the windows and adds to gx[index]. Here two windows may be two threads', so
// each element asks the windows that could have taken it, top[h]:bottom[h] x left[w]:right[w]
// (pool.covering_ranges), in the same order: the bits are the same.
// launch: block 256, grid-stride over gx.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) max_pool2d_grad(
    Array<const E, 3> gy, Array<const long long, 3> indices, Array<E, 3> gx,
    Array<const long long, 1> top, Array<const long long, 1> bottom,
    Array<const long long, 1> left, Array<const long long, 1> right) {
    const auto [planes, H, W] = gx.shape;
    for (auto [n, h, w] : grid_range(planes, H, W)) {
        T total = 0;
        for (int oh = top(h); oh < bottom(h); oh++)
            for (int ow = left(w); ow < right(w); ow++)
                if (indices(n, oh, ow) == h * W + w)
                    total += gy(n, oh, ow);
        gx(n, h, w) = total;
    }
}

// max_pool2d for windows of rows top[oh]:bottom[oh] and columns left[ow]:right[ow].
// launch: block 256, grid-stride over y.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) max_ranges(
    Array<const E, 3> x, Array<E, 3> y, Array<long long, 3> indices,
    Array<const long long, 1> top, Array<const long long, 1> bottom,
    Array<const long long, 1> left, Array<const long long, 1> right) {
    const auto [planes, H, W] = x.shape;
    for (auto [n, oh, ow] : grid_range(planes, y.shape[1], y.shape[2])) {
        int at = top(oh) * W + left(ow);
        T best = x(n, top(oh), left(ow));
        for (int h = top(oh); h < bottom(oh); h++)
            for (int w = left(ow); w < right(ow); w++) {
                const T v = x(n, h, w);
                if (v > best || v != v) {
                    best = v;
                    at = h * W + w;
                }
            }
        y(n, oh, ow) = best;
        indices(n, oh, ow) = at;
    }
}

// y[oh, ow] = the sum of x over rows top[oh]:bottom[oh] and columns left[ow]:right[ow]; down each
// column, then across, as on the CPU, which keeps the columns' sums for the windows beside.
// launch: block 256, grid-stride over y.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) sum_ranges(
    Array<const E, 3> x, Array<E, 3> y, Array<const long long, 1> top,
    Array<const long long, 1> bottom, Array<const long long, 1> left,
    Array<const long long, 1> right) {
    for (auto [n, oh, ow] : grid_range(y.shape[0], y.shape[1], y.shape[2])) {
        T total = 0;
        for (int w = left(ow); w < right(ow); w++) {
            T column = 0;
            for (int h = top(oh); h < bottom(oh); h++)
                column += x(n, h, w);
            total += column;
        }
        y(n, oh, ow) = total;
    }
}
