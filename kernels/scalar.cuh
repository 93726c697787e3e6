// Functions of one number, as in scalar.py. There is no need to write exp, expm1 or erfc here: a GPU
// computes one number per thread, so there are no vectors that a call would break up.
#pragma once

constexpr double SQRT_HALF = 0.7071067811865476;
constexpr double ONE_OVER_SQRT_2PI = 0.3989422804014327;

// Python's max(a, b) and min(a, b): a where it is NaN. (CUDA's own would give b.) Of a Half and a
// float, a float.
template <typename A, typename B>
__device__ auto larger(A a, B b) {
    return b > a ? b : a;
}

template <typename A, typename B>
__device__ auto smaller(A a, B b) {
    return b < a ? b : a;
}

// log(1 + e^x) for x <= 0.
template <typename T>
__device__ T log1p_of_exp_negative(T x) {
    return log1p(exp(x));
}

// 1 / (1 + e^-x).
template <typename T>
__device__ T sigmoid_of(T x) {
    const T e = exp(-abs(x));
    const T s = T(1) / (T(1) + e);
    return x >= T(0) ? s : e * s;
}

// tanh(log(1 + e^x)) = (e^2x + 2 e^x) / (e^2x + 2 e^x + 2), in e^-|x| so as not to overflow.
template <typename T>
__device__ T tanh_of_softplus(T x) {
    const T e = exp(-abs(x));
    const T top = x >= T(0) ? T(1) + T(2) * e : e * (e + T(2));
    return top / (top + (x >= T(0) ? T(2) * e * e : T(2)));
}

// The standard normal distribution function: (1 + erf(x / sqrt 2)) / 2.
template <typename T>
__device__ T normal_cdf(T x) {
    const T tail = T(0.5) * erfc(abs(x) * T(SQRT_HALF));
    return x < T(0) ? tail : T(1) - tail;
}

// The standard normal density: e^(-x^2 / 2) / sqrt(2 pi).
template <typename T>
__device__ T normal_pdf(T x) {
    return exp(T(-0.5) * x * x) * T(ONE_OVER_SQRT_2PI);
}
