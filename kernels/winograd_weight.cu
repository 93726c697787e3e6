// The gradient of a 3x3 weight by Winograd's algorithm, as in winograd_weight.py: the adjoint of each
// step of winograd.cu, gg = G^T [ sum over all tiles of (A gy A^T) * (B^T d B) ] G.
//
//     data       V[e, c, t] of the tiles of x, of winograd.cu
//     spread     Z[e, t, f] of the tiles of gy
//     matmul     U[e] = V[e] Z[e], of gemm.cu: the sum over all tiles t
//     taps       gw from U
#include "array.cuh"
#include "half.cuh"
#include "loop.cuh"
#include "winograd_tile.cuh"

template <int tile, typename T>
__device__ void spread_of(const Array<const T, 4>& gy, const Array<T, 3>& z, int n, int f, int h0,
                          int w0, int t) {
    const int OH = gy.shape[2], OW = gy.shape[3];
    T g[6][6];
#pragma unroll
    for (int i = 0; i < tile; i++)
#pragma unroll
        for (int j = 0; j < tile; j++)
            g[i][j] = h0 + i < OH && w0 + j < OW ? gy(n, f, h0 + i, w0 + j) : T(0);
    both_ways<tile, tile + 2>(
        g, [](T (&line)[6]) { tile == 2 ? spread_2(line) : spread_4(line); });
#pragma unroll
    for (int e = 0; e < (tile + 2) * (tile + 2); e++)
        z(e, t, f) = g[e / (tile + 2)][e % (tile + 2)];
}

// z[e, t, f] = (A g A^T)[e] of tile t = (n TH + th) TW + tw of filter f: tile x tile numbers of gy,
// zeros outside. z is the right operand of a product over t, so f is its last axis: neighbouring
// threads have neighbouring filters, and write the 36 numbers side by side for which they read 16
// from far apart.
//
// gy (N, F, OH, OW), z ((tile + 2)^2, N TH TW, F); TH and TW tiles cover gy.
// launch: block 128, grid-stride over z.shape[1] * z.shape[2]
template <typename T>
__global__ void __launch_bounds__(128) spread(Array<const T, 4> gy, Array<T, 3> z, int tile) {
    const auto [N, F, OH, OW] = gy.shape;
    const int TH = (OH + tile - 1) / tile, TW = (OW + tile - 1) / tile;
    for (auto [n, th, tw, f] : grid_range(N, TH, TW, F)) {
        const int h0 = th * tile, w0 = tw * tile, t = (n * TH + th) * TW + tw;
        if (tile == 2)
            spread_of<2>(gy, z, n, f, h0, w0, t);
        else
            spread_of<4>(gy, z, n, f, h0, w0, t);
    }
}

template <int tile, typename T>
__device__ void taps_of(const Array<const T, 3>& u, const Array<T, 4>& gw, int more, int f, int c) {
    T square[6][6];
#pragma unroll
    for (int e = 0; e < (tile + 2) * (tile + 2); e++)
        square[e / (tile + 2)][e % (tile + 2)] = u(e, c, f);
    both_ways<tile + 2, 3>(
        square, [](T (&line)[6]) { tile == 2 ? taps_2(line) : taps_4(line); });
#pragma unroll
    for (int i = 0; i < 3; i++)
#pragma unroll
        for (int j = 0; j < 3; j++)
            gw(f, c, i, j) = more ? gw(f, c, i, j) + square[i][j] : square[i][j];
}

// gw[f, c] = G^T u[:, c, f] G, added to what is there if `more`: the images come some at a time.
//
// u ((tile + 2)^2, C, F), gw (F, C, 3, 3).
// launch: block 128, grid-stride over u.shape[1] * u.shape[2]
template <typename T>
__global__ void __launch_bounds__(128) taps(
    Array<const T, 3> u, Array<T, 4> gw, int tile, int more) {
    for (auto [c, f] : grid_range(u.shape[1], u.shape[2])) {
        if (tile == 2)
            taps_of<2>(u, gw, more, f, c);
        else
            taps_of<4>(u, gw, more, f, c);
    }
}
