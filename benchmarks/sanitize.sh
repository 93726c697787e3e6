#!/usr/bin/env bash
# Run the GPU tests under NVIDIA's compute-sanitizer, one tool after the other (needs a GPU and the
# CUDA toolkit). Each tool slows kernels down 10 to 100 times: narrow the tests with -k.
#
#     benchmarks/sanitize.sh [-k conv2d]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v compute-sanitizer > /dev/null || {
  echo "compute-sanitizer is not on the PATH: it comes with the CUDA toolkit" >&2
  exit 1
}
for tool in memcheck racecheck initcheck synccheck; do
  printf '\n=== %s\n' "$tool"
  # CuPy's pool hides an array's end from memcheck: without it, each array is an allocation.
  MINITORCH_CNN_TEST_POOL=0 HYPOTHESIS_PROFILE=device compute-sanitizer --tool "$tool" \
    --error-exitcode 9 --kernel-name-exclude regex=cupy_ \
    python -m pytest -q -m gpu tests/device tests/test_cases.py \
    --deselect tests/device/test_tensors.py::test_memory_is_counted "$@"
done
