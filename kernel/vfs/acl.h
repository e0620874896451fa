// POSIX.1e access control lists in Linux's xattr form (version 2: a little-endian 32-bit version,
// then entries of tag, permissions, id), the one that setxattr("system.posix_acl_access") carries.
// File systems that store them otherwise (ext2) convert in their own xattr code.
#pragma once

#include "kernel/sys/cred.h"
#include "kernel/sys/types.h"

#include <span>
#include <vector>

namespace rump::vfs {

inline constexpr std::string_view acl_access_name = "system.posix_acl_access";
inline constexpr std::string_view acl_default_name = "system.posix_acl_default";

struct AclEntry {
    enum class Tag : uint16_t {
        user_obj = 0x01,
        user = 0x02,
        group_obj = 0x04,
        group = 0x08,
        mask = 0x10,
        other = 0x20,
    };
    Tag tag;
    uint16_t permissions; // rwx: 4 2 1
    uint32_t id;          // user and group only, else UINT32_MAX
};
using Acl = std::vector<AclEntry>;

/// EINVAL: not a valid list (order, missing or doubled entries, no mask where one is needed);
/// EOPNOTSUPP: another version. An empty list is valid: "no ACL".
Result<Acl> parse_acl(std::span<const std::byte> value);
std::vector<std::byte> encode_acl(const Acl& acl);

/// Does `acl` grant `want` (may_read | may_write | may_exec)? As acl(5), "Access check algorithm".
bool acl_allows(const Acl& acl, const Attr& attr, unsigned want, const Cred& cred);
/// The file mode that an access ACL stands for (permission bits 0777), other bits from `mode`.
uint32_t acl_to_mode(const Acl& acl, uint32_t mode);
/// True when mode bits say the same: no ACL need be stored.
bool acl_is_minimal(const Acl& acl);
/// chmod: entries follow the new mode.
void acl_apply_chmod(Acl& acl, uint32_t mode);
/// A new file in a directory with default ACL `inherited`: its access ACL, and `mode` as it
/// becomes.
Acl acl_inherit(const Acl& inherited, uint32_t& mode);

} // namespace rump::vfs
