// A random program: operations on a small tree of names that collide often. Made from a seed,
// printed as text one operation a line, read back for a replay.
#pragma once

#include "tests/conformance/traits.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace rump::differential {

enum class Kind : uint8_t {
    create,      // a: path, x: mode
    write,       // a, x: offset, y: length
    append,      // a, y: length
    read,        // a, x: offset, y: length
    truncate,    // a, x: size
    rename,      // a, b, x: vfs::RenameMode
    link,        // a, b
    unlink,      // a
    mkdir,       // a, x: mode
    rmdir,       // a
    symlink,     // a: target, b: path
    readlink,    // a
    mknod,       // a, x: type
    chmod,       // a, x: mode
    chown,       // a, x: uid, y: gid
    utimes,      // a, x: atime, y: mtime, seconds
    setxattr,    // a, b: name, x: XattrSet, y: length
    getxattr,    // a, b: name
    removexattr, // a, b: name
    punch,       // a, x: offset, y: length
    allocate,    // a, x: offset, y: length
    stat,        // a
    list,        // a
    hold,        // a, x: slot; the file stays open
    hold_write,  // x: offset, y: length, slot
    hold_read,   // slot
    drop,        // slot
};

struct Operation {
    Kind kind = Kind::stat;
    uint8_t user = 0; // 0: root, 1: alice, 2: bob
    uint8_t slot = 0;
    std::string a, b;
    uint64_t x = 0, y = 0;
    uint32_t seed = 0; // of the bytes that it writes
};

using Program = std::vector<Operation>;

/// What all sides of a comparison can do.
struct Abilities {
    bool hard_links = true, symlinks = true, special_files = true, owners = true, xattrs = true;
    bool holes = true, preallocation = true, exchange = true, users = true, held = true;
    bool any_name = true;
    bool case_sensitive = true, directory_links = true;
    int64_t time_min = 0, time_step = 1;   // seconds, of times that a program sets
    uint64_t file_offset_max = UINT64_MAX; // on small images: where files are written to
    bool links_of_others = true;           // hard links to files of other users
};

Program make_program(uint64_t seed, size_t operations, const Abilities& abilities);

std::string to_text(const Operation& operation);
/// None: not an operation.
std::optional<Operation> from_text(const std::string& line);

} // namespace rump::differential
