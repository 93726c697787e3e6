// Winograd's transforms of one tile, as in winograd_tile.py: what winograd.cu and winograd_weight.cu
// share. Tiles are of 2 x 2 or 4 x 4 pixels of y.
#pragma once

constexpr double P = 0.75, Q = 1.5;  // the points of tile 4 are 0, P, -P, Q, -Q and infinity
constexpr double P2 = P * P, Q2 = Q * Q;
constexpr double G0 = 1 / (P2 * Q2), GP = 1 / (2 * P2 * (P2 - Q2)), GQ = 1 / (2 * Q2 * (Q2 - P2));

// Of one column or row, in place; what comes out may be more or fewer: B^T d, G g and A^T m, and for
// the gradient of the weight A g and G^T u.
template <typename T>
__device__ void data_2(T (&d)[6]) {
    const T d1 = d[1];
    d[0] = d[0] - d[2];
    d[1] = d1 + d[2];
    d[2] = d[2] - d1;
    d[3] = d[3] - d1;
}

template <typename T>
__device__ void data_4(T (&d)[6]) {
    const T p = d[4] - T(Q2) * d[2], q = d[4] - T(P2) * d[2];
    const T odd_p = T(P) * (d[3] - T(Q2) * d[1]), odd_q = T(Q) * (d[3] - T(P2) * d[1]);
    const T first = T(P2 * Q2) * d[0] - T(P2 + Q2) * d[2] + d[4];
    d[5] = T(P2 * Q2) * d[1] - T(P2 + Q2) * d[3] + d[5];
    d[0] = first;
    d[1] = p + odd_p;
    d[2] = p - odd_p;
    d[3] = q + odd_q;
    d[4] = q - odd_q;
}

template <typename T>
__device__ void filter_2(T (&g)[6]) {
    const T even = T(0.5) * (g[0] + g[2]), odd = T(0.5) * g[1];
    g[3] = g[2];
    g[1] = even + odd;
    g[2] = even - odd;
}

template <typename T>
__device__ void filter_4(T (&g)[6]) {
    const T even_p = T(GP) * g[0] + T(GP * P2) * g[2], odd_p = T(GP * P) * g[1];
    const T even_q = T(GQ) * g[0] + T(GQ * Q2) * g[2], odd_q = T(GQ * Q) * g[1];
    g[5] = g[2];
    g[0] = T(G0) * g[0];
    g[1] = even_p + odd_p;
    g[2] = even_p - odd_p;
    g[3] = even_q + odd_q;
    g[4] = even_q - odd_q;
}

template <typename T>
__device__ void result_2(T (&m)[6]) {
    m[0] = m[0] + m[1] + m[2];
    m[1] = m[1] - m[2] + m[3];
}

template <typename T>
__device__ void result_4(T (&m)[6]) {
    const T even_p = m[1] + m[2], odd_p = m[1] - m[2], even_q = m[3] + m[4], odd_q = m[3] - m[4];
    m[0] = m[0] + even_p + even_q;
    m[1] = T(P) * odd_p + T(Q) * odd_q;
    m[2] = T(P2) * even_p + T(Q2) * even_q;
    m[3] = T(P2 * P) * odd_p + T(Q2 * Q) * odd_q + m[5];
}

template <typename T>
__device__ void spread_2(T (&g)[6]) {
    g[3] = g[1];
    g[1] = g[0] + g[3];
    g[2] = g[0] - g[3];
}

template <typename T>
__device__ void spread_4(T (&g)[6]) {
    const T even_p = g[0] + T(P2) * g[2], odd_p = T(P) * g[1] + T(P2 * P) * g[3];
    const T even_q = g[0] + T(Q2) * g[2], odd_q = T(Q) * g[1] + T(Q2 * Q) * g[3];
    g[5] = g[3];
    g[1] = even_p + odd_p;
    g[2] = even_p - odd_p;
    g[3] = even_q + odd_q;
    g[4] = even_q - odd_q;
}

template <typename T>
__device__ void taps_2(T (&u)[6]) {
    const T even = T(0.5) * (u[1] + u[2]);
    u[0] = u[0] + even;
    u[1] = T(0.5) * (u[1] - u[2]);
    u[2] = even + u[3];
}

template <typename T>
__device__ void taps_4(T (&u)[6]) {
    const T even_p = u[1] + u[2], odd_p = u[1] - u[2], even_q = u[3] + u[4], odd_q = u[3] - u[4];
    u[0] = T(G0) * u[0] + T(GP) * even_p + T(GQ) * even_q;
    u[1] = T(GP * P) * odd_p + T(GQ * Q) * odd_q;
    u[2] = T(GP * P2) * even_p + T(GQ * Q2) * even_q + u[5];
}

// X d X^T of a square: X along its columns, then along its rows. `before` numbers become `after`.
template <int before, int after, typename T, typename F>
__device__ void both_ways(T (&square)[6][6], F one_pass) {
    T line[6];
#pragma unroll
    for (int j = 0; j < before; j++) {
#pragma unroll
        for (int i = 0; i < before; i++)
            line[i] = square[i][j];
        one_pass(line);
#pragma unroll
        for (int i = 0; i < after; i++)
            square[i][j] = line[i];
    }
#pragma unroll
    for (int i = 0; i < after; i++)
        one_pass(square[i]);
}
