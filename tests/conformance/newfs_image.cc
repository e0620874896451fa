// Making images with our own newfs. See newfs_image.h.
#include "tests/conformance/newfs_image.h"

#include "kernel/kern/kernel.h"

#include "hostshim/memory_device.h"

#include <cstdlib>
#include <sstream>
#include <stdexcept>

namespace rump::conformance {

std::string chosen_newfs(const std::string& otherwise) {
    const char* chosen = std::getenv("RUMP_NEWFS");
    return chosen != nullptr ? chosen : otherwise;
}

std::unique_ptr<host::BlockDevice> newfs_image(const FileSystemType& type,
                                               const std::string& options, uint64_t size) {
    OptionSet set;
    std::istringstream words(options);
    for (std::string word; std::getline(words, word, ',');) {
        const size_t sign = word.find('=');
        auto done =
            set.set(type.newfs_options(), word.substr(0, sign),
                    sign == word.npos
                        ? std::nullopt
                        : std::optional<std::string_view>(std::string_view(word).substr(sign + 1)));
        if (!done.ok()) throw std::runtime_error("newfs: " + done.error().text);
    }
    auto device = host::make_memory_device(size);
    host::SeededRandom random(1);
    Kernel kernel({nullptr, &random, nullptr, false});
    if (auto done = type.newfs(kernel, *device, set); !done.ok())
        throw std::runtime_error("newfs: " + done.error().text);
    return device;
}

uint64_t newfs_number(const std::string& options, const std::string& name, uint64_t otherwise) {
    std::istringstream words(options);
    for (std::string word; std::getline(words, word, ',');)
        if (word.starts_with(name + "=")) return std::stoull(word.substr(name.size() + 1));
    return otherwise;
}

} // namespace rump::conformance
