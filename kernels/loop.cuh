// Loops whose iterations are shared out among threads: what prange is in the .py files.
//
//     for (int i : grid_range(size))                   all threads of the launch
//     for (auto [n, oh, ow] : grid_range(N, OH, OW))   the same over three axes
//     for (auto [n, i] : block_range(N, L))            the threads of one block
//
// In row-major order the first iteration is the first thread's, the second the second's: neighbours
// work on neighbours. A thread divides once, to find its first position; from there on it steps.
// There may be more iterations than 32 bits can count, but not more threads: a division of 64 bits
// is a function call, for which registers would have to be saved.
#pragma once

template <int D>
class SharedRange {
    int size[D], first[D] = {}, step[D] = {};
    bool empty;

    // The position of which index = (position[0] * size[1] + position[1]) * size[2] + ...
    __device__ void decode(unsigned index, int (&position)[D]) const {
        for (int axis = D - 1; axis > 0; axis--) {
            position[axis] = index % size[axis];
            index /= size[axis];
        }
        position[0] = index;
    }

public:
    __device__ SharedRange(unsigned thread, unsigned threads, const int (&extents)[D]) {
        long long count = 1;
        for (int axis = 0; axis < D; axis++) {
            size[axis] = extents[axis];
            count *= extents[axis];
        }
        empty = thread >= count;
        if (empty)
            return;
        decode(thread, first);
        decode(threads < count ? threads : static_cast<unsigned>(count), step);
    }

    struct End {};

    struct Iterator {
        const SharedRange& range;
        int position[D];
        bool done;

        // One axis: its int. Several: an array, which auto [n, i] takes apart.
        __device__ decltype(auto) operator*() const {
            if constexpr (D == 1)
                return (position[0]);
            else
                return (position);
        }
        __device__ bool operator!=(End) const { return !done; }
        __device__ void operator++() {
            int carry = 0;
            for (int axis = D - 1; axis > 0; axis--) {
                position[axis] += range.step[axis] + carry;
                carry = position[axis] >= range.size[axis];
                position[axis] -= carry * range.size[axis];
            }
            // In this order, as position + step may not fit an int.
            done = range.step[0] + carry >= range.size[0] - position[0];
            if (!done)
                position[0] += range.step[0] + carry;
        }
    };

    __device__ Iterator begin() const {
        Iterator it{*this, {}, empty};
        for (int axis = 0; axis < D; axis++)
            it.position[axis] = first[axis];
        return it;
    }
    __device__ End end() const { return {}; }
};

template <typename... Extents>
__device__ SharedRange<sizeof...(Extents)> grid_range(Extents... extents) {
    return {blockIdx.x * blockDim.x + threadIdx.x, gridDim.x * blockDim.x, {extents...}};
}

template <typename... Extents>
__device__ SharedRange<sizeof...(Extents)> block_range(Extents... extents) {
    return {threadIdx.x, blockDim.x, {extents...}};
}
