// POSIX.1e access control lists: the rules of acl(5), the xattr form of linux/posix_acl_xattr.h.
#include "kernel/vfs/acl.h"

#include "hostshim/byte_order.h"

#include <algorithm>

namespace rump::vfs {

namespace {

struct XattrHeader {
    le32 version;
};
struct XattrEntry {
    le16 tag;
    le16 permissions;
    le32 id;
};
static_assert(sizeof(XattrHeader) == 4 && sizeof(XattrEntry) == 8);
constexpr uint32_t xattr_version = 2;

using Tag = AclEntry::Tag;

bool known(uint16_t tag) {
    switch (static_cast<Tag>(tag)) {
    case Tag::user_obj:
    case Tag::user:
    case Tag::group_obj:
    case Tag::group:
    case Tag::mask:
    case Tag::other:
        return true;
    }
    return false;
}

bool named(Tag tag) { return tag == Tag::user || tag == Tag::group; }

/// Entries stand in the order of their tags' values, ids of one tag all different; one entry each
/// of owner, group and other; a mask where somebody is named.
bool well_formed(const Acl& acl) {
    unsigned owners = 0, groups = 0, others = 0, masks = 0, names = 0;
    for (size_t i = 0; i < acl.size(); ++i) {
        const AclEntry& e = acl[i];
        if (i > 0 && e.tag < acl[i - 1].tag) return false;
        switch (e.tag) {
        case Tag::user_obj:
            ++owners;
            break;
        case Tag::group_obj:
            ++groups;
            break;
        case Tag::other:
            ++others;
            break;
        case Tag::mask:
            ++masks;
            break;
        case Tag::user:
        case Tag::group:
            ++names;
            break;
        }
    }
    if (owners != 1 || groups != 1 || others != 1 || masks > 1 || (names && !masks)) return false;
    for (size_t i = 1; i < acl.size(); ++i)
        for (size_t j = i; j-- > 0 && acl[j].tag == acl[i].tag;)
            if (named(acl[i].tag) && acl[j].id == acl[i].id) return false;
    return true;
}

/// `A` is Acl or const Acl; null when there is no such entry.
template<class A>
auto find(A& acl, Tag tag) -> decltype(acl.data()) {
    for (auto& e : acl)
        if (e.tag == tag) return &e;
    return nullptr;
}

unsigned bits(const AclEntry* entry) { return entry ? entry->permissions : 0; }

/// The entry that shows as the mode's group bits.
template<class A>
auto group_class(A& acl) {
    auto mask = find(acl, Tag::mask);
    return mask ? mask : find(acl, Tag::group_obj);
}

} // namespace

Result<Acl> parse_acl(std::span<const std::byte> value) {
    if (value.empty()) return Acl();
    if (value.size() < sizeof(XattrHeader)) return Errno::inval;
    XattrHeader header;
    std::memcpy(&header, value.data(), sizeof header);
    if (header.version != xattr_version) return Errno::opnotsupp;
    value = value.subspan(sizeof header);
    if (value.size() % sizeof(XattrEntry) != 0) return Errno::inval;
    Acl acl;
    acl.reserve(value.size() / sizeof(XattrEntry));
    for (; !value.empty(); value = value.subspan(sizeof(XattrEntry))) {
        XattrEntry entry;
        std::memcpy(&entry, value.data(), sizeof entry);
        if (!known(entry.tag) || (entry.permissions & ~7u)) return Errno::inval;
        Tag tag = static_cast<Tag>(entry.tag.get());
        if (named(tag) && entry.id == UINT32_MAX) return Errno::inval;
        acl.push_back({tag, entry.permissions, named(tag) ? entry.id.get() : UINT32_MAX});
    }
    // A long list of names would make the check for doubles slow; no format holds so many.
    if (acl.size() > 1024) return Errno::inval;
    if (!acl.empty() && !well_formed(acl)) return Errno::inval;
    return acl;
}

std::vector<std::byte> encode_acl(const Acl& acl) {
    std::vector<std::byte> value(sizeof(XattrHeader) + acl.size() * sizeof(XattrEntry));
    XattrHeader header{xattr_version};
    std::memcpy(value.data(), &header, sizeof header);
    size_t at = sizeof header;
    for (const AclEntry& e : acl) {
        XattrEntry entry{static_cast<uint16_t>(e.tag), e.permissions, e.id};
        std::memcpy(value.data() + at, &entry, sizeof entry);
        at += sizeof entry;
    }
    return value;
}

bool acl_allows(const Acl& acl, const Attr& attr, unsigned want, const Cred& cred) {
    auto grants = [want](unsigned permissions) { return (want & ~permissions) == 0; };
    if (cred.uid() == attr.uid) return grants(bits(find(acl, Tag::user_obj)));
    const AclEntry* mask_entry = find(acl, Tag::mask);
    unsigned mask = mask_entry ? mask_entry->permissions : 7;
    for (const AclEntry& e : acl)
        if (e.tag == Tag::user && e.id == cred.uid()) return grants(e.permissions & mask);
    // Of all groups that match, one must grant everything that is wanted.
    bool in_some_group = false;
    for (const AclEntry& e : acl) {
        bool match = (e.tag == Tag::group_obj && cred.in_group(attr.gid)) ||
                     (e.tag == Tag::group && cred.in_group(e.id));
        if (match && grants(e.permissions & mask)) return true;
        in_some_group |= match;
    }
    if (in_some_group) return false;
    return grants(bits(find(acl, Tag::other)));
}

uint32_t acl_to_mode(const Acl& acl, uint32_t mode) {
    return (mode & ~0777u) | bits(find(acl, Tag::user_obj)) << 6 | bits(group_class(acl)) << 3 |
           bits(find(acl, Tag::other));
}

bool acl_is_minimal(const Acl& acl) {
    return std::all_of(acl.begin(), acl.end(), [](const AclEntry& e) {
        return e.tag == Tag::user_obj || e.tag == Tag::group_obj || e.tag == Tag::other;
    });
}

void acl_apply_chmod(Acl& acl, uint32_t mode) {
    auto set = [](AclEntry* entry, uint32_t permissions) {
        if (entry) entry->permissions = permissions & 7;
    };
    set(find(acl, Tag::user_obj), mode >> 6);
    set(group_class(acl), mode >> 3);
    set(find(acl, Tag::other), mode);
}

Acl acl_inherit(const Acl& inherited, uint32_t& mode) {
    // What the creator asked for can only take away from what the directory gives.
    Acl acl = inherited;
    auto limit = [&mode](AclEntry* entry, unsigned shift) {
        if (!entry) return;
        entry->permissions &= mode >> shift & 7;
        mode = (mode & ~(7u << shift)) | static_cast<uint32_t>(entry->permissions) << shift;
    };
    limit(find(acl, Tag::user_obj), 6);
    limit(group_class(acl), 3);
    limit(find(acl, Tag::other), 0);
    return acl;
}

} // namespace rump::vfs
