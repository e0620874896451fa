// libFuzzer's way in: an image that lies, mounted, walked, changed, unmounted and checked in
// process. One program a type (FUZZ_TYPE); `./rump fuzz TYPE` builds and runs it.
//
// An input is a list of changes of one good image, made by the type's own newfs and filled with
// some of everything; so the fuzzer starts where the format is right and looks for the bytes that
// matter:
//
//     repeated:  offset, 3 bytes, little-endian, modulo the image's size
//                length, 1 byte: 1 to 16 (its low four bits, plus one)
//                that many bytes; what the input lacks at its end is zero
//
// Seeds of the run and contents of the image are fixed: an input does the same on every run.
#include "tests/corrupt/case.h"

#include "hostshim/memory_device.h"
#include "hostshim/overlay_device.h"
#include "kernel/fs/registry.h"

#include <fmt/core.h>

#include <cstdio>
#include <cstdlib>

using namespace rump;

namespace {

[[noreturn]] void fail(std::string_view text) {
    fmt::print(stderr, "fuzz {}: {}\n", FUZZ_TYPE, text);
    std::abort();
}

/// What does not change from input to input.
struct Base {
    Base()
        : type(*find_filesystem(FUZZ_TYPE)),
          image(host::make_memory_device(filled())), subject{.type = type,
                                                             .name = FUZZ_TYPE,
                                                             .image = {}} {
        subject.also = [this](host::BlockDevice& device) {
            host::Log log(host::null_sink());
            for (bool repair : {false, true})
                if (type.can_check())
                    (void)type.check(device, {.repair = repair, .force = true}, log).ok();
            return std::string();
        };
    }
    std::vector<std::byte> filled() const {
        auto bytes = corrupt::filled_image(type, image_size, {});
        if (!bytes) fail(bytes.error().text);
        return bytes.release_value();
    }

    static constexpr uint64_t image_size = 12 << 20;
    const FileSystemType& type;
    const std::unique_ptr<host::BlockDevice> image;
    corrupt::Subject subject;
};

/// Takes bytes from the front of an input; zeros behind its end.
class Input {
public:
    Input(const uint8_t* data, size_t size) : rest_(data, size) {}
    bool empty() const { return rest_.empty(); }
    uint8_t byte() {
        if (rest_.empty()) return 0;
        const uint8_t value = rest_.front();
        rest_ = rest_.subspan(1);
        return value;
    }

private:
    std::span<const uint8_t> rest_;
};

void apply(Input input, host::BlockDevice& device) {
    while (!input.empty()) {
        uint64_t offset = input.byte();
        offset |= uint64_t{input.byte()} << 8;
        offset |= uint64_t{input.byte()} << 16;
        std::byte bytes[16];
        const size_t length = 1 + input.byte() % sizeof bytes;
        for (size_t i = 0; i < length; ++i) bytes[i] = std::byte{input.byte()};
        offset %= device.size() - sizeof bytes;
        if (!device.write(offset, std::span(bytes, length))) fail("cannot write to memory");
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const Base base; // made by the first input, after libFuzzer read its options
    auto device = host::make_memory_overlay(*base.image);
    apply(Input(data, size), *device);
    const corrupt::CaseResult result =
        corrupt::run_case(base.subject, {}, {.offset = 0, .bytes = {}, .text = {}}, *device, 1);
    (void)base.subject.also(*device);
    if (!result.complaint.empty()) fail(result.complaint);
    return 0;
}
