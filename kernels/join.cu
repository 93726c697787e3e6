// Joining arrays along an axis. A kernel takes a fixed number of arrays, so one launch copies one
// array to its place: N rows of x, in steps of the longer rows of y.
#include "array.cuh"
#include "half.cuh"
#include "loop.cuh"

// y[n, start:start + L] = x[n], x of (N, L): what one of several arrays gives to their
// concatenation along an axis. N counts the axes before it, L the axis and those behind it.
// launch: block 256, grid-stride over x.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) concat(Array<const E, 2> x, Array<E, 2> y, int start) {
    const auto [N, L] = x.shape;
    for (auto [n, i] : grid_range(N, L))
        y(n, start + i) = x(n, i);
}
