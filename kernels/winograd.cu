// Convolution with 3x3 filters and stride 1 by Winograd's algorithm, as in winograd.py, which says
// why: y = A^T [ (G g G^T) * (B^T d B) ] A for tiles of 2 x 2 or 4 x 4 pixels of y, (tile + 2)^2
// multiplications instead of 9 tile^2.
//
//     filters    U[e, f, c] of all filters, e one of (tile + 2)^2 numbers
//     data       V[e, c, t] of all tiles t of x
//     matmul     M[e] = U[e] V[e], of gemm.cu: all e in one launch
//     result     y from M, with bias and ReLU
//
// The CPU fuses them, for V and M of a few tiles to stay in its cache. A GPU multiplies from shared
// memory whatever comes from where, so here they are four launches, and tiles are the columns of
// the products: neighbouring threads have neighbouring tiles, and write neighbours.
//
// The gradient of x is the same of gy, with turned filters and padding 2 - PH, 2 - PW.
#include "array.cuh"
#include "half.cuh"
#include "loop.cuh"
#include "winograd_tile.cuh"

template <int tile, typename E, typename T>
__device__ void filter(const Array<const E, 4>& weight, const Array<T, 3>& u, int turned, int f,
                       int c) {
    T g[6][6];
#pragma unroll
    for (int i = 0; i < 3; i++)
#pragma unroll
        for (int j = 0; j < 3; j++)
            g[i][j] = turned ? weight(c, f, 2 - i, 2 - j) : weight(f, c, i, j);
    both_ways<3, tile + 2>(g, [](T (&line)[6]) { tile == 2 ? filter_2(line) : filter_4(line); });
#pragma unroll
    for (int e = 0; e < (tile + 2) * (tile + 2); e++)
        u(e, f, c) = g[e / (tile + 2)][e % (tile + 2)];
}

// u[e, f, c] = (G g G^T)[e] with the taps g of weight[f, c], or, `turned`, those of weight[c, f]
// turned by 180 degrees, as the gradient of the input needs them.
//
// weight (F, C, 3, 3), or (C, F, 3, 3) if turned. u: ((tile + 2)^2, F, C), of floats for Half too.
// launch: block 128, grid-stride over u.shape[1] * u.shape[2]
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(128) filters(
    Array<const E, 4> weight, Array<T, 3> u, int tile, int turned) {
    for (auto [f, c] : grid_range(u.shape[1], u.shape[2])) {
        if (tile == 2)
            filter<2>(weight, u, turned, f, c);
        else
            filter<4>(weight, u, turned, f, c);
    }
}

template <int tile, typename E, typename T>
__device__ void data_of(const Array<const E, 4>& x, const Array<T, 3>& v, int n, int c, int h0,
                        int w0, int t) {
    const int H = x.shape[2], W = x.shape[3];
    T d[6][6];
#pragma unroll
    for (int i = 0; i < tile + 2; i++)
#pragma unroll
        for (int j = 0; j < tile + 2; j++) {
            const int h = h0 + i, w = w0 + j;
            d[i][j] = 0 <= h && h < H && 0 <= w && w < W ? x(n, c, h, w) : T(0);
        }
    both_ways<tile + 2, tile + 2>(
        d, [](T (&line)[6]) { tile == 2 ? data_2(line) : data_4(line); });
#pragma unroll
    for (int e = 0; e < (tile + 2) * (tile + 2); e++)
        v(e, c, t) = d[e / (tile + 2)][e % (tile + 2)];
}

// v[e, c, t] = (B^T d B)[e] of tile t = (n TH + th) TW + tw of channel c: the tile + 2 rows and
// columns of x from th tile - PH and tw tile - PW, zeros outside.
//
// x (N, C, H, W), v ((tile + 2)^2, C, N TH TW), of floats for Half too; TH and TW tiles cover y.
// launch: block 128, grid-stride over v.shape[1] * v.shape[2]
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(128) data(
    Array<const E, 4> x, Array<T, 3> v, int PH, int PW, int tile) {
    const auto [N, C, H, W] = x.shape;
    const int TH = (H + 2 * PH - 2 + tile - 1) / tile, TW = (W + 2 * PW - 2 + tile - 1) / tile;
    for (auto [c, n, th, tw] : grid_range(C, N, TH, TW)) {
        const int h0 = th * tile - PH, w0 = tw * tile - PW, t = (n * TH + th) * TW + tw;
        if (tile == 2)
            data_of<2>(x, v, n, c, h0, w0, t);
        else
            data_of<4>(x, v, n, c, h0, w0, t);
    }
}

template <int tile, typename E, typename T>
__device__ void result_of(const Array<const T, 3>& m, const Array<E, 4>& y, T start, int relu,
                          int n, int f, int h0, int w0, int t) {
    const int OH = y.shape[2], OW = y.shape[3];
    T square[6][6];
#pragma unroll
    for (int e = 0; e < (tile + 2) * (tile + 2); e++)
        square[e / (tile + 2)][e % (tile + 2)] = m(e, f, t);
    both_ways<tile + 2, tile>(
        square, [](T (&line)[6]) { tile == 2 ? result_2(line) : result_4(line); });
#pragma unroll
    for (int i = 0; i < tile; i++)
#pragma unroll
        for (int j = 0; j < tile; j++)
            if (h0 + i < OH && w0 + j < OW) {
                const T pixel = square[i][j] + start;
                y(n, f, h0 + i, w0 + j) = relu && pixel < T(0) ? T(0) : pixel;
            }
}

// y[n, f] = bias[f] + A^T m A, and max(y, 0) if relu; m ((tile + 2)^2, F, N TH TW), bias (F) or null,
// y (N, F, OH, OW).
// launch: block 128, grid-stride over m.shape[1] * m.shape[2]
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(128) result(
    Array<const T, 3> m, Array<const E, 1> bias, Array<E, 4> y, int tile, int relu) {
    const auto [N, F, OH, OW] = y.shape;
    const int TH = (OH + tile - 1) / tile, TW = (OW + tile - 1) / tile;
    for (auto [f, n, th, tw] : grid_range(F, N, TH, TW)) {
        const T start = bias.data ? bias(f) : T(0);
        const int h0 = th * tile, w0 = tw * tile, t = (n * TH + th) * TW + tw;
        if (tile == 2)
            result_of<2>(m, y, start, relu, n, f, h0, w0, t);
        else
            result_of<4>(m, y, start, relu, n, f, h0, w0, t);
    }
}
