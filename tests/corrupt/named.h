// Named lies: one known way of lying at a time, told about a good image, and what is said of it by
// the mount and by check. For formats whose lies need no more than bytes, places and entries.
#pragma once

#include "kernel/sys/filesystem.h"

#include <map>
#include <span>
#include <string>
#include <vector>

namespace rump::corrupt {

/// The tree that the lies are told about: /file (3,000 bytes), /big (20,000), /huge (300,000),
/// /other (5,000, which no lie concerns), /A long name, of more than one piece (100), /dir with
/// inner, inner2 and sub with deep (100 bytes each), and /many with 150 entries.
///
/// `position` is asked for the place on the device of each file's entry, by its path.
struct NamedImage {
    std::vector<std::byte> bytes;
    std::map<std::string, uint64_t> entries;

    template<class T>
    T& at(uint64_t offset) {
        return *reinterpret_cast<T*>(std::span(bytes).subspan(offset, sizeof(T)).data());
    }
};
NamedImage make_named_image(const FileSystemType& type, uint64_t size, std::string_view newfs,
                            FunctionRef<uint64_t(Vnode&)> position);

struct Seen {
    std::string refusal; // empty: mounted
    std::string log;
    std::string errors;                       // of the walk, a line each
    std::map<std::string, uint64_t> readable; // path -> bytes that were read of it
};
/// Mounts a copy, walks and reads all of it; with `write` also changes it.
Seen look(const FileSystemType& type, std::span<const std::byte> image, bool write);

/// "code: place: message" of each finding, or the reason that there was no check. What a repair
/// says it has mended must be whole then.
std::string findings(const FileSystemType& type, host::BlockDevice& device, bool repair);

/// `text` is in the mount's refusal or in its log; "": it has no reason to say anything. What the
/// lie does not concern, `intact`, is read. `place` says in which image.
void mount_says(const FileSystemType& type, std::span<const std::byte> image,
                const std::string& text, const std::vector<std::string>& intact,
                const std::string& place);
/// `text` is in the findings of check.
void check_says(const FileSystemType& type, std::span<const std::byte> image,
                const std::string& text, const std::string& place);

/// What every lie must end with: nothing worse than a refusal when it is written to and mended, and
/// /other as it was.
void nothing_worse(const FileSystemType& type, std::span<const std::byte> image);

} // namespace rump::corrupt
