// The corruption driver: takes a base image with files in it, tells one lie in it at a time, mounts
// it in process, walks, reads, writes and unmounts, and sees that nothing worse than an error comes
// of it: no crash (best under the sanitizers), no case over its share of CPU time, no memory beyond
// a limit, none that stays, and files that the lie does not concern read as before.
//
// To use it for a file system: fill a Subject, write a TEST_CASE in tests/corrupt/test_<fs>.cc that
// requires that run(subject, options).complaints is empty, and a line in tests/corrupt/meson.build.
//
//     Subject subject{.type = ext2fs::type(), .name = "ext2, 1 KiB blocks", .image = image};
//     subject.fields = {{"s_log_block_size", 1024 + 24, 4}, ...};   // what is worth lying about
//     // Where single bytes are changed:
//     subject.metadata = {{1024, 8 * 1024}, ...};
//     REQUIRE(run(subject, {.cases = 2000}).complaints == no_complaints);
//
// Cases. Case N of a seed is the same on every run: odd ones set a field (to 0, 1, all ones, a sign
// bit, a neighbour of what was there, another field's value, anything), even ones change a byte of
// the metadata. `--cases N --seed S` for long runs, `--only N` for one case.
//
// What a lie concerns: the bytes that a mount and the reading of one file of the good image touch
// are traced; a file is expected to read as before when the changed bytes are not among those.
#pragma once

#include "kernel/sys/filesystem.h"

#include <functional>
#include <string>
#include <vector>

namespace rump::corrupt {

/// A number in the image. `big_endian` matters for "one more" and "one less" only.
struct Field {
    std::string name;
    uint64_t offset; // bytes from the start of the image
    uint8_t size;    // 1, 2, 4 or 8
    bool big_endian = false;
};

struct Region {
    uint64_t offset;
    uint64_t length;
};

struct Subject {
    const FileSystemType& type;
    std::string name;
    std::vector<std::byte> image;
    MountOptions options;
    std::vector<Field> fields;
    /// Empty: the whole image.
    std::vector<Region> metadata;
    /// Sees to check sums, which would otherwise catch every lie at the door: called with the
    /// changed image (a range of it may be read and written).
    std::function<void(host::BlockDevice& device)> mend_checksums;
    /// What may go on beside mounting: the own checker, for one. Called after the unmount. Returns
    /// a complaint, or nothing.
    std::function<std::string(host::BlockDevice& device)> also;
};

struct Options {
    uint64_t cases = 2000;
    uint64_t seed = 1;
    unsigned threads = 2;
    std::optional<uint64_t> only;
    double cpu_seconds = 1.0;          // a case that takes more fails
    uint64_t memory_limit = 64u << 20; // live bytes of one case, at their most
};

struct Outcome {
    uint64_t cases = 0;
    uint64_t refused = 0;  // mounts that failed, as they may
    uint64_t damaged = 0;  // mounts that met the lie and said so
    uint64_t compared = 0; // files that had to read as before, over all cases
    double slowest = 0;    // CPU seconds
    uint64_t most_memory = 0;
    std::vector<std::string> complaints; // the first twenty
};

Outcome run(const Subject& subject, const Options& options);

/// A tree that has some of everything in it, for base images that no outside tool makes:
/// directories (one with many entries), small, large, sparse and empty files, links, symbolic
/// links, attributes; what the mount's traits exclude is left out. Errors: those of the operations.
Result<void> populate(Mount& mount);

/// A base image: the type's newfs over `size` bytes with `newfs_options` (a list as after -o), and
/// populate(). Failure: what they say.
FailureOr<std::vector<std::byte>> filled_image(const FileSystemType& type, uint64_t size,
                                               std::string_view newfs_options);

} // namespace rump::corrupt
