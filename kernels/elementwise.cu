// Activations and their gradients, as in elementwise.py: one number in, one number out. Arrays are
// flat; settings are of their type.
#include "array.cuh"
#include "half.cuh"
#include "loop.cuh"
#include "scalar.cuh"

constexpr double SQRT_2_OVER_PI = 0.7978845608028654;
constexpr double TWO_OVER_SQRT_PI = 1.1283791670955126;
constexpr double GELU_CUBIC = 0.044715;

// y = max(x, 0); NaN stays NaN.
// launch: block 256, grid-stride over x.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) relu(Array<const E, 1> x, Array<E, 1> y) {
    for (int i : grid_range(x.shape[0]))
        y(i) = larger(x(i), T(0));
}

// gx = gy where y > 0 (so x is not kept), else 0.
// launch: block 256, grid-stride over y.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) relu_grad(
    Array<const E, 1> y, Array<const E, 1> gy, Array<E, 1> gx) {
    for (int i : grid_range(y.shape[0]))
        gx(i) = y(i) <= T(0) ? T(0) : gy(i);
}

// y = x for x > 0, else slope x.
// launch: block 256, grid-stride over x.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) leaky_relu(Array<const E, 1> x, Array<E, 1> y, T slope) {
    for (int i : grid_range(x.shape[0]))
        y(i) = x(i) > T(0) ? x(i) : x(i) * slope;
}

// gx = gy for x > 0, else slope gy.
// launch: block 256, grid-stride over x.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) leaky_relu_grad(
    Array<const E, 1> x, Array<const E, 1> gy, Array<E, 1> gx, T slope) {
    for (int i : grid_range(x.shape[0]))
        gx(i) = x(i) > T(0) ? gy(i) : gy(i) * slope;
}

// y = min(max(x, low), high); NaN stays NaN.
// launch: block 256, grid-stride over x.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) clip(Array<const E, 1> x, Array<E, 1> y, T low, T high) {
    for (int i : grid_range(x.shape[0]))
        y(i) = smaller(larger(x(i), low), high);
}

// gx = gy where low < x < high, 0 from the bounds on.
// launch: block 256, grid-stride over x.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) clip_grad(
    Array<const E, 1> x, Array<const E, 1> gy, Array<E, 1> gx, T low, T high) {
    for (int i : grid_range(x.shape[0]))
        gx(i) = x(i) > low && x(i) < high ? gy(i) : T(0);
}

// y = min(max(x + 3, 0), 6) / 6.
// launch: block 256, grid-stride over x.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) hardsigmoid(Array<const E, 1> x, Array<E, 1> y) {
    for (int i : grid_range(x.shape[0]))
        y(i) = smaller(larger(x(i) + T(3), T(0)), T(6)) / T(6);
}

// gx = gy / 6 where -3 < x < 3, else 0.
// launch: block 256, grid-stride over x.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) hardsigmoid_grad(
    Array<const E, 1> x, Array<const E, 1> gy, Array<E, 1> gx) {
    for (int i : grid_range(x.shape[0]))
        gx(i) = x(i) > T(-3) && x(i) < T(3) ? gy(i) / T(6) : T(0);
}

// y = x hardsigmoid(x).
// launch: block 256, grid-stride over x.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) hardswish(Array<const E, 1> x, Array<E, 1> y) {
    for (int i : grid_range(x.shape[0]))
        y(i) = x(i) * smaller(larger(x(i) + T(3), T(0)), T(6)) / T(6);
}

// gx = 0 for x <= -3, gy for x >= 3, (x / 3 + 1/2) gy between.
// launch: block 256, grid-stride over x.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) hardswish_grad(
    Array<const E, 1> x, Array<const E, 1> gy, Array<E, 1> gx) {
    for (int i : grid_range(x.shape[0])) {
        T slope = x(i) / T(3) + T(0.5);
        slope = x(i) <= T(-3) ? T(0) : (x(i) >= T(3) ? T(1) : slope);
        gx(i) = gy(i) * slope;
    }
}

// y = 1 / (1 + e^-x), the sigmoid.
// launch: block 256, grid-stride over x.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) sigmoid(Array<const E, 1> x, Array<E, 1> y) {
    for (int i : grid_range(x.shape[0]))
        y(i) = sigmoid_of<T>(x(i));
}

// gx = gy y (1 - y).
// launch: block 256, grid-stride over y.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) sigmoid_grad(
    Array<const E, 1> y, Array<const E, 1> gy, Array<E, 1> gx) {
    for (int i : grid_range(y.shape[0]))
        gx(i) = gy(i) * (T(1) - y(i)) * y(i);
}

// y = tanh x.
// launch: block 256, grid-stride over x.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) tanh(Array<const E, 1> x, Array<E, 1> y) {
    for (int i : grid_range(x.shape[0]))
        y(i) = tanh(x(i));
}

// gx = gy (1 - y^2).
// launch: block 256, grid-stride over y.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) tanh_grad(
    Array<const E, 1> y, Array<const E, 1> gy, Array<E, 1> gx) {
    for (int i : grid_range(y.shape[0]))
        gx(i) = gy(i) * (T(1) - y(i) * y(i));
}

// y = x sigmoid(x).
// launch: block 256, grid-stride over x.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) silu(Array<const E, 1> x, Array<E, 1> y) {
    for (int i : grid_range(x.shape[0]))
        y(i) = x(i) * sigmoid_of<T>(x(i));
}

// gx = gy s (1 + x (1 - s)), s = sigmoid(x).
// launch: block 256, grid-stride over x.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) silu_grad(
    Array<const E, 1> x, Array<const E, 1> gy, Array<E, 1> gx) {
    for (int i : grid_range(x.shape[0])) {
        const T s = sigmoid_of<T>(x(i));
        gx(i) = gy(i) * s * (T(1) + x(i) * (T(1) - s));
    }
}

// y = x tanh(log(1 + e^x)).
// launch: block 256, grid-stride over x.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) mish(Array<const E, 1> x, Array<E, 1> y) {
    for (int i : grid_range(x.shape[0]))
        y(i) = x(i) * tanh_of_softplus<T>(x(i));
}

// gx = gy (t + x (1 - t^2) sigmoid(x)), t = tanh(log(1 + e^x)).
// launch: block 256, grid-stride over x.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) mish_grad(
    Array<const E, 1> x, Array<const E, 1> gy, Array<E, 1> gx) {
    for (int i : grid_range(x.shape[0])) {
        const T t = tanh_of_softplus<T>(x(i));
        gx(i) = gy(i) * (t + x(i) * (T(1) - t * t) * sigmoid_of<T>(x(i)));
    }
}

// y = erf(x) = 2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x.
// launch: block 256, grid-stride over x.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) erf(Array<const E, 1> x, Array<E, 1> y) {
    for (int i : grid_range(x.shape[0]))
        y(i) = erf(T(x(i)));
}

// gx = gy 2 / sqrt(pi) e^(-x^2).
// launch: block 256, grid-stride over x.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) erf_grad(
    Array<const E, 1> x, Array<const E, 1> gy, Array<E, 1> gx) {
    for (int i : grid_range(x.shape[0])) {
        const T v = x(i);
        gx(i) = gy(i) * (T(TWO_OVER_SQRT_PI) * exp(-v * v));
    }
}

// y = x P(a standard normal number is below x).
// launch: block 256, grid-stride over x.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) gelu(Array<const E, 1> x, Array<E, 1> y) {
    for (int i : grid_range(x.shape[0]))
        y(i) = x(i) * normal_cdf<T>(x(i));
}

// gx = gy (cdf(x) + x pdf(x)) of the standard normal distribution.
// launch: block 256, grid-stride over x.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) gelu_grad(
    Array<const E, 1> x, Array<const E, 1> gy, Array<E, 1> gx) {
    for (int i : grid_range(x.shape[0]))
        gx(i) = gy(i) * (normal_cdf<T>(x(i)) + x(i) * normal_pdf<T>(x(i)));
}

// y = x / 2 (1 + tanh(u)) = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3).
// launch: block 256, grid-stride over x.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) gelu_tanh(Array<const E, 1> x, Array<E, 1> y) {
    for (int i : grid_range(x.shape[0])) {
        const T v = x(i);
        y(i) = v * sigmoid_of(T(2 * SQRT_2_OVER_PI) * (v + T(GELU_CUBIC) * v * v * v));
    }
}

// gx = gy (s + x s (1 - s) 2 u'), s = sigmoid(2 u) as in gelu_tanh.
// launch: block 256, grid-stride over x.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) gelu_tanh_grad(
    Array<const E, 1> x, Array<const E, 1> gy, Array<E, 1> gx) {
    for (int i : grid_range(x.shape[0])) {
        const T v = x(i);
        const T s = sigmoid_of(T(2 * SQRT_2_OVER_PI) * (v + T(GELU_CUBIC) * v * v * v));
        const T slope = T(2 * SQRT_2_OVER_PI) * (T(1) + T(3 * GELU_CUBIC) * v * v);
        gx(i) = gy(i) * (s + v * s * (T(1) - s) * slope);
    }
}

// y = log(1 + e^(beta x)) / beta, and x where beta x > threshold.
// launch: block 256, grid-stride over x.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) softplus(
    Array<const E, 1> x, Array<E, 1> y, T beta, T threshold) {
    for (int i : grid_range(x.shape[0])) {
        const T z = x(i) * beta;
        const T log = log1p_of_exp_negative(-abs(z)) + larger(z, T(0));
        y(i) = z > threshold ? x(i) : log / beta;
    }
}

// gx = gy sigmoid(beta x), and gy where beta x > threshold.
// launch: block 256, grid-stride over x.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) softplus_grad(
    Array<const E, 1> x, Array<const E, 1> gy, Array<E, 1> gx, T beta, T threshold) {
    for (int i : grid_range(x.shape[0])) {
        const T z = x(i) * beta;
        gx(i) = z > threshold ? gy(i) : gy(i) * sigmoid_of(z);
    }
}

// y = above x for x > 0, else below (e^(inner x) - 1).
// launch: block 256, grid-stride over x.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) elu(
    Array<const E, 1> x, Array<E, 1> y, T below, T above, T inner) {
    for (int i : grid_range(x.shape[0])) {
        const T curve = below * expm1(inner * smaller(x(i), T(0)));
        y(i) = x(i) <= T(0) ? curve : above * x(i);
    }
}

// gx = above gy for x > 0, else below inner e^(inner x) gy.
// launch: block 256, grid-stride over x.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) elu_grad(
    Array<const E, 1> x, Array<const E, 1> gy, Array<E, 1> gx, T below, T above, T inner) {
    for (int i : grid_range(x.shape[0])) {
        const T slope = below * inner * exp(inner * x(i));
        gx(i) = gy(i) * (x(i) > T(0) ? above : slope);
    }
}
