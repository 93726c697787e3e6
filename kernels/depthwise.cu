// Depthwise convolution: each filter sees one input channel (groups = C, F = any multiple of C).
//
// There is no sum over channels, so a product of matrices has nothing to gain; and so few
// multiply-adds per number that memory sets the pace. depthwise.py rearranges a plane until every
// tap is one long run; a GPU's threads read what they need where it lies, and the overlap of
// neighbouring windows comes from the L1 cache.
// Source: L. Sifre, Rigid-Motion Scattering for Image Classification, 2014; A. Howard et al.,
// MobileNets, arXiv:1704.04861.
#include "array.cuh"
#include "half.cuh"
#include "loop.cuh"
#include "reduce.cuh"

// y[n, f, oh, ow] = bias[f] + sum over kh, kw of
// weight[f, 0, kh, kw] * x[n, f C // F, oh SH + kh DH - PH, ow SW + kw DW - PW], x = 0 outside.
// launch: block 256, grid-stride over y.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) forward(
    Array<const E, 4> x, Array<const E, 4> weight, Array<const E, 1> bias, Array<E, 4> y, int SH,
    int SW, int PH, int PW, int DH, int DW) {
    const int C = x.shape[1], H = x.shape[2], W = x.shape[3];
    const int KH = weight.shape[2], KW = weight.shape[3];
    const auto [N, F, OH, OW] = y.shape;
    for (auto [n, f, oh, ow] : grid_range(N, F, OH, OW)) {
        const int c = f / (F / C);
        T sum = bias.data ? bias(f) : T(0);
        for (int kh = 0; kh < KH; kh++) {
            const int h = oh * SH + kh * DH - PH;
            if (h < 0 || h >= H)
                continue;
            for (int kw = 0; kw < KW; kw++) {
                const int w = ow * SW + kw * DW - PW;
                if (0 <= w && w < W)
                    sum += weight(f, 0, kh, kw) * x(n, c, h, w);
            }
        }
        y(n, f, oh, ow) = sum;
    }
}

// gx[n, c, h, w] = sum over the filters f of channel c and all kh, kw, oh, ow with
// oh SH + kh DH - PH = h and ow SW + kw DW - PW = w of weight[f, 0, kh, kw] * gy[n, f, oh, ow].
// launch: block 256, grid-stride over gx.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) grad_input(
    Array<const E, 4> gy, Array<const E, 4> weight, Array<E, 4> gx, int SH, int SW, int PH, int PW,
    int DH, int DW) {
    const auto [N, C, H, W] = gx.shape;
    const int F = weight.shape[0], KH = weight.shape[2], KW = weight.shape[3];
    const int OH = gy.shape[2], OW = gy.shape[3], FC = F / C;
    for (auto [n, c, h, w] : grid_range(N, C, H, W)) {
        T sum = 0;
        for (int kh = 0; kh < KH; kh++) {
            const int oh = (h + PH - kh * DH) / SH;
            if (oh < 0 || oh >= OH || oh * SH != h + PH - kh * DH)
                continue;
            for (int kw = 0; kw < KW; kw++) {
                const int ow = (w + PW - kw * DW) / SW;
                if (ow >= 0 && ow < OW && ow * SW == w + PW - kw * DW)
                    for (int f = c * FC; f < (c + 1) * FC; f++)
                        sum += weight(f, 0, kh, kw) * gy(n, f, oh, ow);
            }
        }
        gx(n, c, h, w) = sum;
    }
}

// gw[f, 0, kh, kw] = sum over n, oh, ow of
// gy[n, f, oh, ow] * x[n, f C // F, oh SH + kh DH - PH, ow SW + kw DW - PW].
//
// One block per weight: its threads share out the pixels of all images, and then add up their sums.
// launch: block 256, grid gw.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) grad_weight(
    Array<const E, 4> gy, Array<const E, 4> x, Array<E, 4> gw, int SH, int SW, int PH, int PW,
    int DH, int DW) {
    const int C = x.shape[1], H = x.shape[2], W = x.shape[3];
    const int KH = gw.shape[2], KW = gw.shape[3];
    const auto [N, F, OH, OW] = gy.shape;
    const int f = blockIdx.x / (KH * KW), kh = blockIdx.x / KW % KH, kw = blockIdx.x % KW;
    const int c = f / (F / C);
    T sum = 0;
    for (auto [n, oh, ow] : block_range(N, OH, OW)) {
        const int h = oh * SH + kh * DH - PH, w = ow * SW + kw * DW - PW;
        if (0 <= h && h < H && 0 <= w && w < W)
            sum += gy(n, f, oh, ow) * x(n, c, h, w);
    }
    sum = block_sum<256>(sum);
    if (threadIdx.x == 0)
        gw(f, 0, kh, kw) = sum;
}
