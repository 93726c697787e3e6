// Convolution: forward and both gradients, first as the definition has them, then as products.
//
//     forward      y  = weight (F, K) @ im2col(x) (K, pixels of y)           K = (c, kh, kw)
//     grad_input   gx = weight^T (C, K) @ what each pixel of x gave to y     K = (f, kh, kw)
//     grad_weight  gw = gy (F, pixels of y) @ im2col(x)^T (pixels of y, (c, kh, kw))
//
// conv2d.py writes panels of columns into memory and multiplies them. Here no column matrix exists
// anywhere ("implicit GEMM"): a block fetches the numbers of its tile from where im2col would have,
// straight into shared memory; the product is that of gemm.cu, which is better read first. Groups
// are products of their own, one per blockIdx.z.
//
// x (N, C, H, W), weight (F, C/G, KH, KW), bias (F) or null, y (N, F, OH, OW); filter f belongs to
// group g = f / (F/G). Every number is written by one thread, summed in an order that depends on
// the shapes alone.
// Source: S. Chetlur et al., cuDNN: Efficient Primitives for Deep Learning, arXiv:1410.0759.
#include "array.cuh"
#include "half.cuh"
#include "loop.cuh"
#include "pixel.cuh"
#include "tile.cuh"

// y[n, f, oh, ow] = bias[f] + sum over c, kh, kw of
// weight[f, c, kh, kw] * x[n, g C/G + c, oh SH + kh DH - PH, ow SW + kw DW - PW], x = 0 outside.
// launch: block 256, grid-stride over y.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) forward_naive(
    Array<const E, 4> x, Array<const E, 4> weight, Array<const E, 1> bias, Array<E, 4> y, int SH,
    int SW, int PH, int PW, int DH, int DW, int groups) {
    const int H = x.shape[2], W = x.shape[3];
    const auto [F, CG, KH, KW] = weight.shape;
    const int N = y.shape[0], OH = y.shape[2], OW = y.shape[3];
    for (auto [n, f, oh, ow] : grid_range(N, F, OH, OW)) {
        const int g = f / (F / groups);
        T sum = bias.data ? bias(f) : T(0);
        for (int c = 0; c < CG; c++)
            for (int kh = 0; kh < KH; kh++)
                for (int kw = 0; kw < KW; kw++) {
                    const int h = oh * SH + kh * DH - PH, w = ow * SW + kw * DW - PW;
                    if (0 <= h && h < H && 0 <= w && w < W)
                        sum += weight(f, c, kh, kw) * x(n, g * CG + c, h, w);
                }
        y(n, f, oh, ow) = sum;
    }
}

// gx[n, g C/G + c, h, w] = sum over f in group g and all kh, kw, oh, ow with
// oh SH + kh DH - PH = h and ow SW + kw DW - PW = w of weight[f, c, kh, kw] * gy[n, f, oh, ow].
//
// A gather: the thread of a pixel of x looks up who read it, instead of each pixel of y adding to
// all that it has read. (3 blocks at a time: for 4, ptxas spills registers on sm_120.)
// launch: block 256, grid-stride over gx.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256, 3) grad_input_naive(
    Array<const E, 4> gy, Array<const E, 4> weight, Array<E, 4> gx, int SH, int SW, int PH, int PW,
    int DH, int DW, int groups) {
    const auto [N, C, H, W] = gx.shape;
    const auto [F, CG, KH, KW] = weight.shape;
    const int OH = gy.shape[2], OW = gy.shape[3], FG = F / groups;
    for (auto [n, channel, h, w] : grid_range(N, C, H, W)) {
        const int g = channel / CG, c = channel % CG;
        T sum = 0;
        for (int kh = 0; kh < KH; kh++) {
            const int oh = (h + PH - kh * DH) / SH;
            if (oh < 0 || oh >= OH || oh * SH != h + PH - kh * DH)
                continue;
            for (int kw = 0; kw < KW; kw++) {
                const int ow = (w + PW - kw * DW) / SW;
                if (ow >= 0 && ow < OW && ow * SW == w + PW - kw * DW)
                    for (int f = g * FG; f < (g + 1) * FG; f++)
                        sum += weight(f, c, kh, kw) * gy(n, f, oh, ow);
            }
        }
        gx(n, channel, h, w) = sum;
    }
}

// gw[f, c, kh, kw] = sum over n, oh, ow of
// gy[n, f, oh, ow] * x[n, g C/G + c, oh SH + kh DH - PH, ow SW + kw DW - PW].
// launch: block 256, grid-stride over gw.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) grad_weight_naive(
    Array<const E, 4> gy, Array<const E, 4> x, Array<E, 4> gw, int SH, int SW, int PH, int PW,
    int DH, int DW, int groups) {
    const int H = x.shape[2], W = x.shape[3];
    const auto [F, CG, KH, KW] = gw.shape;
    const int N = gy.shape[0], OH = gy.shape[2], OW = gy.shape[3];
    for (auto [f, c, kh, kw] : grid_range(F, CG, KH, KW)) {
        const int channel = f / (F / groups) * CG + c;
        T sum = 0;
        for (int n = 0; n < N; n++)
            for (int oh = 0; oh < OH; oh++)
                for (int ow = 0; ow < OW; ow++) {
                    const int h = oh * SH + kh * DH - PH, w = ow * SW + kw * DW - PW;
                    if (0 <= h && h < H && 0 <= w && w < W)
                        sum += gy(n, f, oh, ow) * x(n, channel, h, w);
                }
        gw(f, c, kh, kw) = sum;
    }
}

// forward_naive's y, in tiles of ROWS filters and COLS pixels (see tile.cuh).
// launch: block 128, grid (ceil(N * OH * OW / COLS), ceil(F / groups / ROWS), groups)
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(128, 4) forward(
    Array<const E, 4> x, Array<const E, 4> weight, Array<const E, 1> bias, Array<E, 4> y, int SH,
    int SW, int PH, int PW, int DH, int DW, int groups) {
    constexpr int V = Tile<T>::VECTOR, R = Tile<T>::R, DEPTH = Tile<T>::DEPTH;
    constexpr int ROWS = Tile<T>::ROWS, COLS = Tile<T>::COLS;
    __shared__ Tile<T> tile[2];
    __shared__ Pixel pixels[COLS];
    const int H = x.shape[2], W = x.shape[3];
    const auto [F, CG, KH, KW] = weight.shape;
    const int N = y.shape[0], OH = y.shape[2], OW = y.shape[3];
    const int FG = F / groups, K = CG * KH * KW, g = blockIdx.z, f0 = blockIdx.y * ROWS;
    const long long first = static_cast<long long>(blockIdx.x) * COLS;

    // This thread brings V taps of one filter, and R numbers under the window of one pixel of y.
    const int row = threadIdx.x / (DEPTH / V), a_depth = threadIdx.x % (DEPTH / V) * V;
    const int column = threadIdx.x % COLS, b_depth = threadIdx.x / COLS * R;
    // Where fewer filters are left, the last is fetched again; only its own thread stores it.
    const E* filter = &weight(g * FG + min(f0 + row, FG - 1), 0, 0, 0);
    if (threadIdx.x < COLS)  // each pixel's place is computed once, for its reader and its writers
        pixels[threadIdx.x] = pixel(first, threadIdx.x, OH * OW);
    __syncthreads();
    const auto [n, p] = pixels[column];
    const int h0 = p / OW * SH - PH, w0 = p % OW * SW - PW;

    T sum[R][R];
    for (int i = 0; i < R; i++) {
        const int f = f0 + Tile<T>::row(i);
        const T start = bias.data && f < FG ? bias(g * FG + f) : T(0);
        for (int j = 0; j < R; j++)
            sum[i][j] = start;
    }
    const int steps = (K + DEPTH - 1) / DEPTH;
    for (int step = 0; step <= steps; step++) {
        T a[V], b[R];
        if (step < steps) {
            const int a_k = step * DEPTH + a_depth, b_k = step * DEPTH + b_depth;
            load_some<V>(filter + a_k, K - a_k, a);
            // The first tap by division, the next ones by counting on.
            int c = b_k / (KH * KW), kh = b_k / KW % KH, kw = b_k % KW;
            for (int i = 0; i < R; i++) {
                const int h = h0 + kh * DH, w = w0 + kw * DW;
                const bool inside = n < N && c < CG && 0 <= h && h < H && 0 <= w && w < W;
                b[i] = inside ? x(n, g * CG + c, h, w) : T(0);
                if (++kw == KW) {
                    kw = 0;
                    if (++kh == KH) {
                        kh = 0;
                        c++;
                    }
                }
            }
        }
        if (step > 0)
            multiply(tile[(step - 1) % 2], sum);
        if (step < steps) {
            for (int i = 0; i < V; i++)
                tile[step % 2].a[a_depth + i][row] = a[i];
            for (int i = 0; i < R; i++)
                tile[step % 2].b[b_depth + i][column] = b[i];
        }
        __syncthreads();
    }
    for (int j = 0; j < R; j++) {
        const auto [n, p] = pixels[Tile<T>::column(j)];
        for (int i = 0; i < R; i++) {
            const int f = f0 + Tile<T>::row(i);
            if (n < N && f < FG)
                (&y(n, g * FG + f, 0, 0))[p] = sum[i][j];
        }
    }
}

// grad_input_naive's gx, in tiles of ROWS channels and COLS pixels of x. With a stride, most taps
// of a pixel lead to no pixel of y, and their zeros are multiplied all the same.
// launch: block 128, grid (ceil(N * H * W / COLS), ceil(CG / ROWS), groups)
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(128, 4) grad_input(
    Array<const E, 4> gy, Array<const E, 4> weight, Array<E, 4> gx, int SH, int SW, int PH, int PW,
    int DH, int DW, int groups) {
    constexpr int V = Tile<T>::VECTOR, R = Tile<T>::R, DEPTH = Tile<T>::DEPTH;
    constexpr int ROWS = Tile<T>::ROWS, COLS = Tile<T>::COLS;
    __shared__ Tile<T> tile[2];
    __shared__ Pixel pixels[COLS];
    const auto [N, C, H, W] = gx.shape;
    const auto [F, CG, KH, KW] = weight.shape;
    const int OH = gy.shape[2], OW = gy.shape[3];
    const int FG = F / groups, taps = KH * KW, K = FG * taps, g = blockIdx.z;
    const int c0 = blockIdx.y * ROWS;
    const long long first = static_cast<long long>(blockIdx.x) * COLS;

    // This thread brings V numbers of one input channel of the filters, and what R taps find at y
    // for one pixel of x.
    const int row = threadIdx.x / (DEPTH / V), a_depth = threadIdx.x % (DEPTH / V) * V;
    const int column = threadIdx.x % COLS, b_depth = threadIdx.x / COLS * R;
    const int channel = min(c0 + row, CG - 1);
    if (threadIdx.x < COLS)
        pixels[threadIdx.x] = pixel(first, threadIdx.x, H * W);
    __syncthreads();
    const auto [n, p] = pixels[column];
    const int h0 = p / W + PH, w0 = p % W + PW;

    T sum[R][R] = {};
    const int steps = (K + DEPTH - 1) / DEPTH;
    for (int step = 0; step <= steps; step++) {
        T a[V], b[R];
        if (step < steps) {
            const int a_k = step * DEPTH + a_depth, b_k = step * DEPTH + b_depth;
            int f = a_k / taps, tap = a_k % taps;
            for (int i = 0; i < V; i++) {
                a[i] = f < FG ? (&weight(g * FG + f, channel, 0, 0))[tap] : T(0);
                if (++tap == taps) {
                    tap = 0;
                    f++;
                }
            }
            int kh = b_k / KW % KH, kw = b_k % KW;
            f = b_k / taps;
            for (int i = 0; i < R; i++) {
                const int h = h0 - kh * DH, w = w0 - kw * DW;
                const int oh = SH == 1 ? h : h / SH, ow = SW == 1 ? w : w / SW;
                const bool exists = oh * SH == h && ow * SW == w && n < N && f < FG;
                const bool inside = exists && 0 <= oh && oh < OH && 0 <= ow && ow < OW;
                b[i] = inside ? gy(n, g * FG + f, oh, ow) : T(0);
                if (++kw == KW) {
                    kw = 0;
                    if (++kh == KH) {
                        kh = 0;
                        f++;
                    }
                }
            }
        }
        if (step > 0)
            multiply(tile[(step - 1) % 2], sum);
        if (step < steps) {
            for (int i = 0; i < V; i++)
                tile[step % 2].a[a_depth + i][row] = a[i];
            for (int i = 0; i < R; i++)
                tile[step % 2].b[b_depth + i][column] = b[i];
        }
        __syncthreads();
    }
    for (int j = 0; j < R; j++) {
        const auto [n, p] = pixels[Tile<T>::column(j)];
        for (int i = 0; i < R; i++) {
            const int c = c0 + Tile<T>::row(i);
            if (n < N && c < CG)
                (&gx(n, g * CG + c, 0, 0))[p] = sum[i][j];
        }
    }
}

// partial[s] = grad_weight_naive's gw, of the s-th slice of all pixels, in tiles of ROWS filters
// and COLS (c, kh, kw).
//
// partial: (S, F, C/G, KH, KW). A weight is small and its sums are long: S slices keep S times as
// many blocks busy, and add_slices then adds them up. For the same bits everywhere, S must depend
// on shapes alone, not on the GPU.
// launch: block 128, grid (ceil(CG * KH * KW / COLS), ceil(F / groups / ROWS), groups * S)
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(128, 4) grad_weight(
    Array<const E, 4> gy, Array<const E, 4> x, Array<T, 5> partial, int SH, int SW, int PH, int PW,
    int DH, int DW, int groups) {
    constexpr int V = Tile<T>::VECTOR, R = Tile<T>::R, DEPTH = Tile<T>::DEPTH;
    constexpr int ROWS = Tile<T>::ROWS, COLS = Tile<T>::COLS;
    __shared__ Tile<T> tile[2];
    const int H = x.shape[2], W = x.shape[3];
    const auto [S, F, CG, KH, KW] = partial.shape;
    const int N = gy.shape[0], OH = gy.shape[2], OW = gy.shape[3];
    const int FG = F / groups, K = CG * KH * KW, g = blockIdx.z % groups, s = blockIdx.z / groups;
    const int f0 = blockIdx.y * ROWS, k0 = blockIdx.x * COLS;

    // This thread brings V pixels of one filter's gy, and the R pixels of x under one tap for them.
    const int row = threadIdx.x / (DEPTH / V), a_depth = threadIdx.x % (DEPTH / V) * V;
    const int column = threadIdx.x % COLS, b_depth = threadIdx.x / COLS * R;
    const int f_row = g * FG + min(f0 + row, FG - 1), k = min(k0 + column, K - 1);
    const int channel = g * CG + k / (KH * KW);
    const int tap_h = k / KW % KH * DH - PH, tap_w = k % KW * DW - PW;

    // The steps of this slice (none, perhaps, of the last ones), and its first pixel.
    const long long pixels = static_cast<long long>(N) * OH * OW;
    const int all = static_cast<int>((pixels + DEPTH - 1) / DEPTH), each = (all + S - 1) / S;
    const int steps = max(0, min(each, all - s * each));
    const auto [n0, p0] = pixel(static_cast<long long>(s) * each * DEPTH, 0, OH * OW);
    T sum[R][R] = {};
    for (int step = 0; step <= steps; step++) {
        T a[V], b[R];
        if (step < steps) {
            int p = p0 + step * DEPTH + a_depth, n = n0 + p / (OH * OW);
            p %= OH * OW;
            for (int i = 0; i < V; i++) {
                a[i] = n < N ? (&gy(n, f_row, 0, 0))[p] : T(0);
                if (++p == OH * OW) {
                    p = 0;
                    n++;
                }
            }
            p = p0 + step * DEPTH + b_depth;
            n = n0 + p / (OH * OW);
            int oh = p / OW % OH, ow = p % OW;
            for (int i = 0; i < R; i++) {
                const int h = oh * SH + tap_h, w = ow * SW + tap_w;
                const bool inside = n < N && 0 <= h && h < H && 0 <= w && w < W;
                b[i] = inside ? x(n, channel, h, w) : T(0);
                if (++ow == OW) {
                    ow = 0;
                    if (++oh == OH) {
                        oh = 0;
                        n++;
                    }
                }
            }
        }
        if (step > 0)
            multiply(tile[(step - 1) % 2], sum);
        if (step < steps) {
            for (int i = 0; i < V; i++)
                tile[step % 2].a[a_depth + i][row] = a[i];
            for (int i = 0; i < R; i++)
                tile[step % 2].b[b_depth + i][column] = b[i];
        }
        __syncthreads();
    }
    for (int i = 0; i < R; i++)
        for (int j = 0; j < R; j++) {
            const int f = f0 + Tile<T>::row(i), k = k0 + Tile<T>::column(j);
            if (f < FG && k < K)
                (&partial(s, g * FG + f, 0, 0, 0))[k] = sum[i][j];
        }
}

// gw = the sum over s of partial[s], in this order: the second pass of grad_weight.
// launch: block 256, grid-stride over gw.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) add_slices(Array<const T, 5> partial, Array<E, 4> gw) {
    const auto [S, F, CG, KH, KW] = partial.shape;
    for (auto [f, c, kh, kw] : grid_range(F, CG, KH, KW)) {
        T sum = 0;
        for (int s = 0; s < S; s++)
            sum += partial(s, f, c, kh, kw);
        gw(f, c, kh, kw) = sum;
    }
}
