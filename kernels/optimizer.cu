// One step of an optimizer, as in optimizer.py: every array passes through memory once. Arrays are
// flat and changed in place (except g). Numbers are read from memory, so that a captured graph finds
// those of its step; all threads read the same, which comes from the cache.
#include "array.cuh"
#include "half.cuh"
#include "loop.cuh"

// sign g + decay w; without decay an infinite w does not count.
template <typename T>
__device__ T descend(T w, T g, T sign, T decay) {
    return decay != T(0) ? sign * g + decay * w : sign * g;
}

// w -= lr d, with d = sign g + decay w.
// launch: block 256, grid-stride over w.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) sgd(
    Array<E, 1> w, Array<const E, 1> g, Array<const T, 1> numbers) {
    const T lr = numbers(0), decay = numbers(1), sign = numbers(2);
    for (int i : grid_range(w.shape[0]))
        w(i) -= lr * descend<T>(w(i), g(i), sign, decay);
}

// b = momentum b + rest d, then w -= lr b; with `ahead` (Nesterov) w -= lr (d + momentum b).
// launch: block 256, grid-stride over w.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) sgd_momentum(
    Array<E, 1> w, Array<const E, 1> g, Array<E, 1> b, Array<const T, 1> numbers) {
    const T lr = numbers(0), decay = numbers(1), sign = numbers(2);
    const T momentum = numbers(3), rest = numbers(4), ahead = numbers(5);
    for (int i : grid_range(w.shape[0])) {
        const T d = descend<T>(w(i), g(i), sign, decay);
        const T v = momentum * b(i) + rest * d;
        b(i) = v;
        w(i) -= lr * (ahead != T(0) ? d + momentum * v : v);
    }
}

// m += rest1 (d - m), v = beta2 v + rest2 d^2, then w -= lr m / (sqrt(v) / root + eps), of w that
// was multiplied by `shrink` before.
// launch: block 256, grid-stride over w.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) adam(
    Array<E, 1> w, Array<const E, 1> g, Array<E, 1> m, Array<E, 1> v, Array<const T, 1> numbers) {
    const T lr = numbers(0), shrink = numbers(1), decay = numbers(2), sign = numbers(3);
    const T rest1 = numbers(4), beta2 = numbers(5), rest2 = numbers(6), eps = numbers(7);
    const T root = numbers(8);
    for (int i : grid_range(w.shape[0])) {
        const T old = w(i) * shrink;
        const T d = descend<T>(old, g(i), sign, decay);
        const T mean = m(i) + rest1 * (d - m(i));
        const T square = beta2 * v(i) + rest2 * d * d;
        m(i) = mean;
        v(i) = square;
        w(i) = old - lr * mean / (sqrt(square) / root + eps);
    }
}

// adam that divides by the root of the largest v so far (NaN counts as largest).
// launch: block 256, grid-stride over w.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) amsgrad(
    Array<E, 1> w, Array<const E, 1> g, Array<E, 1> m, Array<E, 1> v, Array<E, 1> largest,
    Array<const T, 1> numbers) {
    const T lr = numbers(0), shrink = numbers(1), decay = numbers(2), sign = numbers(3);
    const T rest1 = numbers(4), beta2 = numbers(5), rest2 = numbers(6), eps = numbers(7);
    const T root = numbers(8);
    for (int i : grid_range(w.shape[0])) {
        const T old = w(i) * shrink;
        const T d = descend<T>(old, g(i), sign, decay);
        const T mean = m(i) + rest1 * (d - m(i));
        const T square = beta2 * v(i) + rest2 * d * d;
        const T before = largest(i);
        const T top = before >= square || before != before ? before : square;
        m(i) = mean;
        v(i) = square;
        largest(i) = top;
        w(i) = old - lr * mean / (sqrt(top) / root + eps);
    }
}
