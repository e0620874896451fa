// Volume: a target that is mounted in the host's tree, by our daemon or by the host's own driver,
// so that system calls reach it. Unmounted by the destructor at the latest.
#pragma once

#include "tests/conformance/process.h"
#include "tests/conformance/traits.h"

#include <memory>
#include <optional>
#include <string>

namespace rump::conformance {

class Volume {
public:
    enum class Driver : uint8_t { daemon, host };

    /// Makes the image and mounts it. Throws std::runtime_error with the command's output.
    Volume(Driver driver, Target& target, ImageKind kind);
    ~Volume();
    Volume(const Volume&) = delete;
    Volume& operator=(const Volume&) = delete;

    const std::string& path() const { return mountpoint_; }
    Driver driver() const { return driver_; }
    void mount();
    /// Unmounts, waits until the image is closed. Throws when that fails or a checker complains.
    void unmount_and_check();
    void check_image();
    /// Host driver only.
    void remount(bool read_only);

    /// Why it cannot be used here; none: it can.
    static std::optional<std::string> unavailable(Driver driver, Target& target);
    static std::string daemon_path(const std::string& name);

private:
    std::string unmount();

    const Driver driver_;
    Target& target_;
    const ImageKind kind_;
    TemporaryDirectory scratch_;
    std::string mountpoint_;
    std::string image_; // empty: no device
    bool mounted_ = false;
};

} // namespace rump::conformance
