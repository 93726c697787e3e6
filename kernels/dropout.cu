// Dropout, with the very mask that the CPU draws: the random numbers are a function of a seed and a
// counter, so that thread i computes its own, and no state is passed on from one to the next.
//
// The generator (random.py) is NumPy's Philox4x64-10, and its stream the promise: "the same seed
// gives the same numbers on every machine and device". CUDA programs usually take Philox4x32-10, of
// half the width, but its numbers would be others. One counter gives 4 words of 64 bits, and NumPy
// takes 32-bit draws from them low half first: draw i of a stream is half i % 2 of word i / 2 % 4
// of counter i / 8. Multiplying 64 by 64 bits takes four multiplications on a GPU; drawing stays
// cheaper than the memory traffic of the mask.
// Source: J. Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011.
#include "array.cuh"
#include "half.cuh"
#include "loop.cuh"

using uint64 = unsigned long long;

constexpr uint64 MULTIPLIER_0 = 0xd2e7470ee14c6c93, MULTIPLIER_1 = 0xca5a826395121157;
constexpr uint64 WEYL_0 = 0x9e3779b97f4a7c15, WEYL_1 = 0xbb67ae8584caa73b;  // golden ratio, sqrt 3

// The 4 words of one counter: ten rounds of multiplying, exchanging and adding keys.
__device__ inline void philox(const uint64 (&counter)[4], uint64 key_0, uint64 key_1,
                              uint64 (&words)[4]) {
    for (int i = 0; i < 4; i++)
        words[i] = counter[i];
    for (int round = 0; round < 10; round++) {
        const uint64 high_0 = __umul64hi(MULTIPLIER_0, words[0]), low_0 = MULTIPLIER_0 * words[0];
        const uint64 high_1 = __umul64hi(MULTIPLIER_1, words[2]), low_1 = MULTIPLIER_1 * words[2];
        words[0] = high_1 ^ words[1] ^ key_0;
        words[1] = low_1;
        words[2] = high_0 ^ words[3] ^ key_1;
        words[3] = low_0;
        key_0 += WEYL_0;
        key_1 += WEYL_1;
    }
}

// keep[i] = draw `first + i` of a stream is `threshold` or more; threshold = round(p 2^32).
//
// state: counter (4) and key (2) of NumPy's bit generator, then `first` and `left`. Draws are counted
// from the first word of `counter`: first = 2 buffer_pos where NumPy would go on, so that fresh draws
// after a used-up buffer (8) are those of counter + 1. A half word that NumPy has left over
// (has_uint32) is `left`, and is draw 0 of keep, before those of the stream; 2^32 is none. All that
// changes from step to step is in memory, not among the arguments: a captured graph reads it anew.
// The host moves its generator on by as many draws. A thread computes 8 draws with one counter.
// launch: block 256, grid ceil(keep.size / 2048)
__global__ void __launch_bounds__(256) keep_mask(
    Array<const unsigned long long, 1> state, Array<bool, 1> keep, long long threshold) {
    const int first = static_cast<int>(state(6));
    const long long left = static_cast<long long>(state(7));
    const int before = left < 1ll << 32;  // draws that come from elsewhere
    const long long draws = static_cast<long long>(keep.shape[0]) - before;
    if (before && blockIdx.x == 0 && threadIdx.x == 0)
        keep(0) = left >= threshold;
    const int counters = static_cast<int>((first + draws + 7) / 8);
    for (int c : grid_range(counters)) {
        uint64 counter[4], words[4];
        uint64 carry = c;
        for (int i = 0; i < 4; i++) {
            counter[i] = state(i) + carry;
            carry = counter[i] < carry;
        }
        philox(counter, state(4), state(5), words);
        for (int i = 0; i < 8; i++) {
            const long long at = 8ll * c + i - first;
            const long long draw = words[i / 2] >> 32 * (i % 2) & 0xffffffff;
            if (0 <= at && at < draws)
                keep(static_cast<int>(at) + before) = draw >= threshold;
        }
    }
}

// y = x keep scale; scale = 1 / (1 - p), and 0 for p = 1. Its gradient is the same of gy.
// launch: block 256, grid-stride over x.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) dropout(
    Array<const E, 1> x, Array<const bool, 1> keep, Array<E, 1> y, T scale) {
    for (int i : grid_range(x.shape[0]))
        y(i) = x(i) * (keep(i) ? scale : T(0));
}
