// Hashes of names in indexed directories ("Indexed Directory Format", "Hash Function").
#pragma once

#include "kernel/fs/ext2fs/format.h"

#include <array>
#include <cstdint>
#include <string_view>

namespace rump::ext2 {

/// Which function, and whether the bytes of a name count as signed (an accident of the machine that
/// made the file system, which its superblock records).
struct HashKind {
    uint8_t version = disk::hash_half_md4; // 0 legacy, 1 half MD4, 2 TEA
    bool is_unsigned = false;
    std::array<uint32_t, 4> seed{};

    /// What a superblock says of new indexes.
    static HashKind of(const disk::Superblock& sb);
};

/// Versions 3 to 5 on disk are the unsigned forms of 0 to 2.
inline constexpr uint8_t hash_versions = 6;

/// Even, and never 0xfffffffe: that is kept as the end of the hash's range.
uint32_t name_hash(const HashKind& kind, std::string_view name);

} // namespace rump::ext2
