// The program around a kernel that is built with AddressSanitizer: it reads a launch and its arrays
// from a file that launch.py wrote, and writes the report and the arrays to another.
#include <stdio.h>
#include <stdlib.h>

#include <string>
#include <vector>

#include "interface.h"

namespace {

FILE* request;

template <typename T>
T number() {
    T value;
    if (fread(&value, sizeof(value), 1, request) != 1) exit(2);
    return value;
}

std::string bytes() {
    std::string text(static_cast<size_t>(number<int64_t>()), '\0');
    if (fread(&text[0], 1, text.size(), request) != text.size()) exit(2);
    return text;
}

}  // namespace

int main(int, char** argv) {
    request = fopen(argv[1], "rb");
    if (!request) return 2;
    auto launch = number<emulator::Launch>();
    const int64_t arrays = number<int64_t>(), parameters = number<int64_t>();
    std::vector<emulator::Region> regions;
    for (int64_t i = 0; i < arrays; ++i) {
        const char* name = (new std::string(bytes()))->c_str();
        const std::string data = bytes();
        // Aligned as on a GPU, and not a byte longer: red zones begin where the array ends.
        void* memory = nullptr;
        if (posix_memalign(&memory, 256, data.size())) return 2;
        data.copy(static_cast<char*>(memory), data.size());
        regions.push_back({static_cast<char*>(memory), static_cast<int64_t>(data.size()), 1,
                           static_cast<int32_t>(i), name});
    }
    std::vector<std::string> packed;
    std::vector<void*> arguments;
    packed.reserve(static_cast<size_t>(parameters));
    for (int64_t i = 0; i < parameters; ++i) {
        const int64_t array = number<int64_t>();
        packed.push_back(bytes());
        if (array >= 0)
            packed.back().replace(
                0, sizeof(char*), reinterpret_cast<const char*>(&regions[size_t(array)].begin),
                sizeof(char*));
        arguments.push_back(&packed.back()[0]);
    }
    for (int64_t left = number<int64_t>(); left > 0; --left) {
        const char* name = (new std::string(bytes()))->c_str();
        char* begin = emulator_base() + number<int64_t>();
        regions.push_back({begin, number<int64_t>(), 1, -1, name});
    }
    launch.arguments = arguments.data();
    launch.regions = regions.data();
    launch.region_count = static_cast<int32_t>(regions.size());
    launch.trace_region = -1;
    emulator::Report report;
    while (emulator_run(&launch, &report)) continue;

    FILE* answer = fopen(argv[2], "wb");
    if (!answer) return 2;
    bool written = fwrite(&report, sizeof(report), 1, answer) == 1;
    for (int64_t i = 0; i < arrays; ++i) {
        const emulator::Region& region = regions[static_cast<size_t>(i)];
        const size_t size = static_cast<size_t>(region.size);
        written &= fwrite(region.begin, 1, size, answer) == size;
    }
    return fclose(answer) == 0 && written ? 0 : 2;
}
