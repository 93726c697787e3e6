// Losses of classes, as in reference/loss.py. x is (N, C, S): log-probabilities of C classes at S
// positions of N samples; target (N, S). A position whose target is ignore_index counts for nothing. A thread
// cannot raise: a target that is no class gives NaN, which the host finds in the sum of `used`.
#include "array.cuh"
#include "half.cuh"
#include "loop.cuh"
#include "reduce.cuh"

// loss = -(1 - e) w[t] x[t] - e / C (sum over c of w[c] x[c]), e = smoothing; used = w[t], for the
// mean to divide by. weight (C) or null for ones.
// launch: block 256, grid-stride over loss.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) nll_loss(
    Array<const E, 3> x, Array<const long long, 2> target, Array<const T, 1> weight,
    Array<T, 2> loss, Array<T, 2> used, long long ignore_index, T smoothing) {
    const auto [N, C, S] = x.shape;
    for (auto [n, s] : grid_range(N, S)) {
        const long long t = target(n, s);
        const bool kept = t != ignore_index, wrong = kept && (t < 0 || t >= C);
        const int c = kept && !wrong ? static_cast<int>(t) : 0;
        const T w = weight.data ? weight(c) : T(1);
        T all = 0;
        if (smoothing != T(0))
            for (int i = 0; i < C; i++)
                all += (weight.data ? weight(i) : T(1)) * x(n, i, s);
        const T value = -(T(1) - smoothing) * w * x(n, c, s) - smoothing / T(C) * all;
        loss(n, s) = wrong ? T(nan("")) : (kept ? value : T(0));
        used(n, s) = wrong ? T(nan("")) : (kept ? w : T(0));
    }
}

// partial[i] = the sum of the i-th slice of x, in double. For the same bits everywhere the number
// of slices must depend on x.size alone; 256 numbers to each, or more, keep a block busy.
// launch: block 256, grid partial.shape[0]
template <typename T>
__global__ void __launch_bounds__(256) slice_sums(Array<const T, 1> x, Array<double, 1> partial) {
    const int each = (x.shape[0] + partial.shape[0] - 1) / partial.shape[0];
    const long long start = static_cast<long long>(blockIdx.x) * each;
    const int L = static_cast<int>(max(0ll, min(static_cast<long long>(each), x.shape[0] - start)));
    double total = 0;
    for (int i : block_range(L))
        total += x(static_cast<int>(start) + i);
    total = block_sum<256>(total);
    if (threadIdx.x == 0)
        partial(blockIdx.x) = total;
}

// y = the sum of partial over that of used, or over 1 where used is null; total = that divisor, of
// which nll_loss_grad takes the mean's gradient. One block adds up, in a fixed order.
// launch: block 256, grid 1
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) finish_mean(
    Array<const double, 1> partial, Array<const double, 1> used, Array<E, 1> y,
    Array<double, 1> total) {
    double sum = 0, divisor = 0;
    for (int i : block_range(partial.shape[0])) {
        sum += partial(i);
        divisor += used.data ? used(i) : 0.0;
    }
    sum = block_sum<256>(sum);
    divisor = block_sum<256>(divisor);
    if (threadIdx.x == 0) {
        total(0) = used.data ? divisor : 1.0;
        y(0) = static_cast<T>(sum / total(0));
    }
}

// The loss of one position, seen from log-probability x[c]: the slope is -at_class [c = t] -
// elsewhere w[c]. Nothing of a position that does not count.
template <typename T>
struct Share {
    T g, at_class, elsewhere;
    bool is_class;

    __device__ Share(const Array<const T, 1>& gy, double total, long long t, int position, int c,
                     int C, const Array<const T, 1>& weight, long long ignore_index, T smoothing) {
        const bool kept = t != ignore_index && 0 <= t && t < C;
        const T w = kept && weight.data ? weight(static_cast<int>(t)) : T(1);
        g = kept ? gy(gy.shape[0] == 1 ? 0 : position) / static_cast<T>(total) : T(0);
        at_class = (T(1) - smoothing) * w;
        elsewhere = smoothing / T(C);
        is_class = t == c;
    }
    __device__ T taken(T w) const { return (is_class ? at_class : T(0)) + elsewhere * w; }
};

// gx = the gradient of nll_loss with respect to x. gy has one number, or one per position (N S);
// total: what the mean was divided by, one number.
// launch: block 256, grid-stride over gx.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) nll_loss_grad(
    Array<const T, 1> gy, Array<const double, 1> total, Array<const long long, 2> target,
    Array<const T, 1> weight, Array<E, 3> gx, long long ignore_index, T smoothing) {
    const auto [N, C, S] = gx.shape;
    for (auto [n, c, s] : grid_range(N, C, S)) {
        const Share<T> share(
            gy, total(0), target(n, s), n * S + s, c, C, weight, ignore_index, smoothing);
        gx(n, c, s) = -share.g * share.taken(weight.data ? weight(c) : T(1));
    }
}

// gx = the gradient of cross-entropy, which is nll_loss of scores = log_softmax(x), with respect to
// x: that of the scores, less e^scores times its sum over the classes.
// launch: block 256, grid-stride over gx.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) cross_entropy_grad(
    Array<const T, 1> gy, Array<const double, 1> total, Array<const long long, 2> target,
    Array<const T, 1> weight, Array<const E, 3> scores, Array<E, 3> gx, long long ignore_index,
    T smoothing) {
    const auto [N, C, S] = gx.shape;
    T sum = T(C);
    if (weight.data) {
        sum = 0;
        for (int c = 0; c < C; c++)
            sum += weight(c);
    }
    for (auto [n, c, s] : grid_range(N, C, S)) {
        const Share<T> share(
            gy, total(0), target(n, s), n * S + s, c, C, weight, ignore_index, smoothing);
        const T all = share.at_class + share.elsewhere * sum;
        const T taken = share.taken(weight.data ? weight(c) : T(1));
        gx(n, c, s) = share.g * (exp(scores(n, c, s)) * all - taken);
    }
}
