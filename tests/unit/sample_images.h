// Sample images that are kept outside this tree (they are large): NAME.img.xz with its manifests.
// Sought in $RUMP_SAMPLES, else in shared/images beside the source tree or above it.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

namespace rump::test {

/// The folder; none where there is none, and tests that need it say that they are skipped.
inline std::optional<std::filesystem::path> sample_folder() {
    namespace fs = std::filesystem;
    std::error_code ignored;
    if (const char* named = std::getenv("RUMP_SAMPLES"))
        return fs::is_directory(named, ignored) ? std::optional<fs::path>(named) : std::nullopt;
    for (fs::path dir = RUMP_SOURCE_ROOT; dir.has_relative_path(); dir = dir.parent_path())
        if (fs::is_directory(dir / ".." / "shared" / "images", ignored))
            return dir / ".." / "shared" / "images";
    return std::nullopt;
}

/// Unpacks sample `name` to `target`, sparse; false when it is not there or xz fails.
inline bool unpack_sample(const std::string& name, const std::string& target) {
    auto folder = sample_folder();
    if (!folder) return false;
    auto packed = *folder / (name + ".img.xz");
    std::error_code ignored;
    if (!std::filesystem::exists(packed, ignored)) return false;
    // xz writes holes only into files that it opens itself.
    std::string copy = target + ".xz";
    if (!std::filesystem::copy_file(packed, copy, ignored)) return false;
    bool unpacked = std::system(("xz -d '" + copy + "'").c_str()) == 0;
    return unpacked;
}

} // namespace rump::test
