// A directory of a test's own under $TMPDIR, gone with all that is in it when the test ends.
#pragma once

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

#include <stdlib.h>

namespace rump::test {

class TempDir {
public:
    TempDir() {
        path_ = (std::filesystem::temp_directory_path() / "rump-test-XXXXXX").string();
        if (!mkdtemp(path_.data())) throw std::runtime_error("mkdtemp " + path_);
    }
    ~TempDir() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;

    const std::string& path() const { return path_; }
    std::string operator/(const std::string& name) const { return path_ + "/" + name; }

private:
    std::string path_;
};

/// An empty file of this size, its path.
inline std::string make_file(const TempDir& dir, const std::string& name, uint64_t size) {
    std::ofstream(dir / name).close();
    std::filesystem::resize_file(dir / name, size);
    return dir / name;
}

} // namespace rump::test
