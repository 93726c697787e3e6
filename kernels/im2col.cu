// im2col and its transpose, as in im2col.py: a convolution becomes one product of matrices.
//
// The CPU writes one panel of columns at a time, to keep it in a cache that a GPU does not have:
// here the whole matrix is written at once. col2im gathers: each thread looks up what the columns
// hold for its own pixel, so that no two threads add to one number.
#include "array.cuh"
#include "half.cuh"
#include "loop.cuh"

// col[n, (c KH + kh) KW + kw, oh, ow] = x[n, c, oh SH + kh DH - PH, ow SW + kw DW - PW], x = 0
// outside.
//
// x: (N, C, H, W). col: (N, C KH KW, OH, OW). One thread reads one window of one channel: its
// position is computed once, and neighbouring threads write neighbouring numbers of each tap.
// launch: block 256, grid-stride over x.shape[0] * x.shape[1] * OH * OW
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) im2col(
    Array<const E, 4> x, Array<E, 4> col, int KH, int KW, int SH, int SW, int PH, int PW, int DH,
    int DW) {
    const auto [N, C, H, W] = x.shape;
    const int OH = col.shape[2], OW = col.shape[3];
    for (auto [n, c, oh, ow] : grid_range(N, C, OH, OW))
        for (int kh = 0; kh < KH; kh++) {
            const int h = oh * SH + kh * DH - PH;
            for (int kw = 0; kw < KW; kw++) {
                const int w = ow * SW + kw * DW - PW;
                const bool inside = 0 <= h && h < H && 0 <= w && w < W;
                col(n, (c * KH + kh) * KW + kw, oh, ow) = inside ? x(n, c, h, w) : T(0);
            }
        }
}

// x[n, c, h, w] = the sum of all entries of col that im2col reads from there.
//
// col: (N, C KH KW, OH, OW). x: (N, C, H, W). Tap (kh, kw) read pixel h for the output row oh with
// oh SH + kh DH - PH = h, if there is one.
// launch: block 256, grid-stride over x.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) col2im(
    Array<const E, 4> col, Array<E, 4> x, int KH, int KW, int SH, int SW, int PH, int PW, int DH,
    int DW) {
    const auto [N, C, H, W] = x.shape;
    const int OH = col.shape[2], OW = col.shape[3];
    for (auto [n, c, h, w] : grid_range(N, C, H, W)) {
        T sum = 0;
        for (int kh = 0; kh < KH; kh++) {
            const int oh = (h + PH - kh * DH) / SH;
            if (oh < 0 || oh >= OH || oh * SH != h + PH - kh * DH)
                continue;
            for (int kw = 0; kw < KW; kw++) {
                const int ow = (w + PW - kw * DW) / SW;
                if (ow >= 0 && ow < OW && ow * SW == w + PW - kw * DW)
                    sum += col(n, (c * KH + kh) * KW + kw, oh, ow);
            }
        }
        x(n, c, h, w) = sum;
    }
}
