// The convolutions of conv2d.cu on tensor cores: forward and both gradients, with the same
// arguments; numbers of 16 bits in and out, sums in float. gemm_wmma.cu is better read first.
//
// A block gathers its tiles as those of conv2d.cu do, 64 x 32 and 32 x 64 numbers a step, 16 of each
// per thread. Before a step's numbers are overwritten, all warps must have multiplied them.
#include "array.cuh"
#include "half.cuh"
#include "loop.cuh"
#include "pixel.cuh"
#include "tensor_tile.cuh"
#include "tile.cuh"

__device__ inline void set_to_zero(Sums (&sum)[2][2]) {
    for (int i = 0; i < 4; i++)
        nvcuda::wmma::fill_fragment(sum[i / 2][i % 2], 0.0f);
}

// y[n, f, oh, ow] = bias[f] + sum over c, kh, kw of
// weight[f, c, kh, kw] * x[n, g C/G + c, oh SH + kh DH - PH, ow SW + kw DW - PW], x = 0 outside.
// launch: block 128, grid (ceil(N * OH * OW / 64), ceil(F / groups / 64), groups)
// types: Half, BFloat16 from sm_80
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(128) forward(
    Array<const E, 4> x, Array<const E, 4> weight, Array<const E, 1> bias, Array<E, 4> y, int SH,
    int SW, int PH, int PW, int DH, int DW, int groups) {
    constexpr int V = TensorTile<E>::VECTOR, DEPTH = TensorTile<E>::DEPTH;
    __shared__ TensorTile<E> tile;
    __shared__ Pixel pixels[64];
    const int H = x.shape[2], W = x.shape[3], KH = weight.shape[2], KW = weight.shape[3];
    const int F = weight.shape[0], CG = weight.shape[1];
    const int N = y.shape[0], OH = y.shape[2], OW = y.shape[3];
    const int FG = F / groups, K = CG * KH * KW, g = blockIdx.z, f0 = blockIdx.y * 64;
    const long long first = static_cast<long long>(blockIdx.x) * 64;

    // This thread brings 16 taps of one filter, and 16 numbers under the window of one pixel of y.
    const int row = threadIdx.x / 2, a_depth = threadIdx.x % 2 * 16;
    const int column = threadIdx.x % 64, b_depth = threadIdx.x / 64 * 16;
    const E* filter = &weight(g * FG + min(f0 + row, FG - 1), 0, 0, 0);
    if (threadIdx.x < 64)
        pixels[threadIdx.x] = pixel(first, threadIdx.x, OH * OW);
    __syncthreads();
    const auto [n, p] = pixels[column];
    const int h0 = p / OW * SH - PH, w0 = p % OW * SW - PW;

    Sums sum[2][2];
    set_to_zero(sum);
    for (int k0 = 0; k0 < K; k0 += DEPTH) {
        __syncthreads();
        for (int i = 0; i < 16; i += V)
            load_some<V>(filter + k0 + a_depth + i, K - k0 - a_depth - i,
                         &tile.a[row][a_depth + i]);
        const int b_k = k0 + b_depth;
        int c = b_k / (KH * KW), kh = b_k / KW % KH, kw = b_k % KW;
        for (int i = 0; i < 16; i++) {
            const int h = h0 + kh * DH, w = w0 + kw * DW;
            const bool inside = n < N && c < CG && 0 <= h && h < H && 0 <= w && w < W;
            tile.b[b_depth + i][column] = inside ? x(n, g * CG + c, h, w) : E(0);
            if (++kw == KW) {
                kw = 0;
                if (++kh == KH) {
                    kh = 0;
                    c++;
                }
            }
        }
        __syncthreads();
        multiply(tile, sum);
    }
    for_each_sum(sum, [&](int f, int j, T value) {
        if (f0 + f < FG && pixels[j].n < N) {
            const T start = bias.data ? bias(g * FG + f0 + f) : T(0);
            (&y(pixels[j].n, g * FG + f0 + f, 0, 0))[pixels[j].p] = start + value;
        }
    });
}

// gx[n, g C/G + c, h, w] = sum over f in group g and all kh, kw, oh, ow with
// oh SH + kh DH - PH = h and ow SW + kw DW - PW = w of weight[f, c, kh, kw] * gy[n, f, oh, ow].
// launch: block 128, grid (ceil(N * H * W / 64), ceil(CG / 64), groups)
// types: Half, BFloat16 from sm_80
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(128) grad_input(
    Array<const E, 4> gy, Array<const E, 4> weight, Array<E, 4> gx, int SH, int SW, int PH, int PW,
    int DH, int DW, int groups) {
    constexpr int DEPTH = TensorTile<E>::DEPTH;
    __shared__ TensorTile<E> tile;
    __shared__ Pixel pixels[64];
    const int N = gx.shape[0], H = gx.shape[2], W = gx.shape[3];
    const int F = weight.shape[0], CG = weight.shape[1], KH = weight.shape[2], KW = weight.shape[3];
    const int OH = gy.shape[2], OW = gy.shape[3];
    const int FG = F / groups, taps = KH * KW, K = FG * taps, g = blockIdx.z;
    const int c0 = blockIdx.y * 64;
    const long long first = static_cast<long long>(blockIdx.x) * 64;

    // This thread brings 16 numbers of one input channel of the filters, and what 16 taps find at y
    // for one pixel of x.
    const int row = threadIdx.x / 2, a_depth = threadIdx.x % 2 * 16;
    const int column = threadIdx.x % 64, b_depth = threadIdx.x / 64 * 16;
    const int channel = min(c0 + row, CG - 1);
    if (threadIdx.x < 64)
        pixels[threadIdx.x] = pixel(first, threadIdx.x, H * W);
    __syncthreads();
    const auto [n, p] = pixels[column];
    const int h0 = p / W + PH, w0 = p % W + PW;

    Sums sum[2][2];
    set_to_zero(sum);
    for (int k0 = 0; k0 < K; k0 += DEPTH) {
        __syncthreads();
        int f = (k0 + a_depth) / taps, tap = (k0 + a_depth) % taps;
        for (int i = 0; i < 16; i++) {
            tile.a[row][a_depth + i] =
                f < FG ? (&weight(g * FG + f, channel, 0, 0))[tap] : E(0);
            if (++tap == taps) {
                tap = 0;
                f++;
            }
        }
        const int b_k = k0 + b_depth;
        int kh = b_k / KW % KH, kw = b_k % KW;
        f = b_k / taps;
        for (int i = 0; i < 16; i++) {
            const int h = h0 - kh * DH, w = w0 - kw * DW;
            const int oh = SH == 1 ? h : h / SH, ow = SW == 1 ? w : w / SW;
            const bool exists = oh * SH == h && ow * SW == w && n < N && f < FG;
            const bool inside = exists && 0 <= oh && oh < OH && 0 <= ow && ow < OW;
            tile.b[b_depth + i][column] = inside ? gy(n, g * FG + f, oh, ow) : E(0);
            if (++kw == KW) {
                kw = 0;
                if (++kh == KH) {
                    kh = 0;
                    f++;
                }
            }
        }
        __syncthreads();
        multiply(tile, sum);
    }
    for_each_sum(sum, [&](int c, int j, T value) {
        if (c0 + c < CG && pixels[j].n < N)
            (&gx(pixels[j].n, g * CG + c0 + c, 0, 0))[pixels[j].p] = value;
    });
}

// partial[s] = the gradient of the weight from the s-th slice of all pixels; add_slices of conv2d.cu
// then adds them up. partial: (S, F, C/G, KH, KW), of floats; S must depend on shapes alone.
// launch: block 128, grid (ceil(CG * KH * KW / 64), ceil(F / groups / 64), groups * S)
// types: Half, BFloat16 from sm_80
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(128) grad_weight(
    Array<const E, 4> gy, Array<const E, 4> x, Array<T, 5> partial, int SH, int SW, int PH, int PW,
    int DH, int DW, int groups) {
    constexpr int DEPTH = TensorTile<E>::DEPTH;
    __shared__ TensorTile<E> tile;
    const int H = x.shape[2], W = x.shape[3], S = partial.shape[0], F = partial.shape[1];
    const int CG = partial.shape[2], KH = partial.shape[3], KW = partial.shape[4];
    const int N = gy.shape[0], OH = gy.shape[2], OW = gy.shape[3];
    const int FG = F / groups, K = CG * KH * KW, g = blockIdx.z % groups, s = blockIdx.z / groups;
    const int f0 = blockIdx.y * 64, k0 = blockIdx.x * 64;

    // This thread brings 16 pixels of one filter's gy, and the 16 pixels of x under one tap for them.
    const int row = threadIdx.x / 2, a_depth = threadIdx.x % 2 * 16;
    const int column = threadIdx.x % 64, b_depth = threadIdx.x / 64 * 16;
    const int f_row = g * FG + min(f0 + row, FG - 1), k = min(k0 + column, K - 1);
    const int channel = g * CG + k / (KH * KW);
    const int tap_h = k / KW % KH * DH - PH, tap_w = k % KW * DW - PW;

    // The steps of this slice (none, perhaps, of the last ones), and its first pixel.
    const long long pixels = static_cast<long long>(N) * OH * OW;
    const int all = static_cast<int>((pixels + DEPTH - 1) / DEPTH), each = (all + S - 1) / S;
    const int steps = max(0, min(each, all - s * each));
    const auto [n0, p0] = pixel(static_cast<long long>(s) * each * DEPTH, 0, OH * OW);
    Sums sum[2][2];
    set_to_zero(sum);
    for (int step = 0; step < steps; step++) {
        __syncthreads();
        int p = p0 + step * DEPTH + a_depth, n = n0 + p / (OH * OW);
        p %= OH * OW;
        for (int i = 0; i < 16; i++) {
            tile.a[row][a_depth + i] = n < N ? (&gy(n, f_row, 0, 0))[p] : E(0);
            if (++p == OH * OW) {
                p = 0;
                n++;
            }
        }
        p = p0 + step * DEPTH + b_depth;
        n = n0 + p / (OH * OW);
        int oh = p / OW % OH, ow = p % OW;
        for (int i = 0; i < 16; i++) {
            const int h = oh * SH + tap_h, w = ow * SW + tap_w;
            const bool inside = n < N && 0 <= h && h < H && 0 <= w && w < W;
            tile.b[b_depth + i][column] = inside ? x(n, channel, h, w) : E(0);
            if (++ow == OW) {
                ow = 0;
                if (++oh == OH) {
                    oh = 0;
                    n++;
                }
            }
        }
        __syncthreads();
        multiply(tile, sum);
    }
    for_each_sum(sum, [&](int f, int j, T value) {
        if (f0 + f < FG && k0 + j < K)
            (&partial(s, g * FG + f0 + f, 0, 0, 0))[k0 + j] = value;
    });
}
