// The attribute area of UFS2 inodes (extattr(9) of FreeBSD and NetBSD), and the
// operations on it.
#include "kernel/fs/ffs/xattr.h"

#include "kernel/fs/ffs/attrfile.h"
#include "kernel/fs/ffs/vnops.h"

#include "kernel/vfs/acl.h"

#include <fmt/format.h>

#include <algorithm>

namespace rump::ffs {

namespace {

constexpr std::string_view acl_access_stored = "posix1e.acl_access";
constexpr std::string_view acl_default_stored = "posix1e.acl_default";
constexpr uint32_t acl_entries_stored = 32;

uint32_t round8(uint32_t n) { return (n + 7) & ~7u; }

bool is_acl(std::string_view name) {
    return name == vfs::acl_access_name || name == vfs::acl_default_name;
}

// --- the BSDs' form of an ACL: a count, then 32 entries of tag, id,
// permissions ------------------

struct StoredAclEntry {
    raw32 tag, id;
    raw16 permissions, pad; // 32 bits where mode_t has 32
};
struct StoredAcl {
    raw32 count;
    StoredAclEntry entries[acl_entries_stored];
};
static_assert(sizeof(StoredAcl) == 388);

Result<std::vector<std::byte>> acl_from_disk(ByteOrder o, std::span<const std::byte> raw) {
    if (raw.size() < sizeof(StoredAcl)) return Errno::uclean;
    const auto& stored = *reinterpret_cast<const StoredAcl*>(raw.data());
    const uint32_t count = o.get(stored.count);
    if (count > acl_entries_stored) return Errno::uclean;
    vfs::Acl acl;
    for (uint32_t i = 0; i < count; ++i) {
        const StoredAclEntry& e = stored.entries[i];
        const auto tag = static_cast<vfs::AclEntry::Tag>(o.get(e.tag));
        const bool named = tag == vfs::AclEntry::Tag::user || tag == vfs::AclEntry::Tag::group;
        // Big-endian with 32-bit modes: the value is in the second half.
        const uint32_t permissions = o.get(e.permissions) | o.get(e.pad);
        acl.push_back(
            {tag, static_cast<uint16_t>(permissions & 7), named ? o.get(e.id) : UINT32_MAX});
    }
    std::stable_sort(acl.begin(), acl.end(), [](const auto& a, const auto& b) {
        return std::pair(a.tag, a.id) < std::pair(b.tag, b.id);
    });
    return vfs::encode_acl(acl);
}

Result<std::vector<std::byte>> acl_to_disk(const Geometry& geo, std::span<const std::byte> value) {
    const vfs::Acl acl = TRY(vfs::parse_acl(value));
    if (acl.size() > acl_entries_stored) return Errno::nospc;
    std::vector<std::byte> raw(sizeof(StoredAcl));
    auto& stored = *reinterpret_cast<StoredAcl*>(raw.data());
    const ByteOrder o = geo.order;
    o.set(stored.count, static_cast<uint32_t>(acl.size()));
    const bool wide = geo.ea_magic && o.order() == std::endian::big;
    for (size_t i = 0; i < acl.size(); ++i) {
        StoredAclEntry& e = stored.entries[i];
        o.set(e.tag, static_cast<uint32_t>(acl[i].tag));
        o.set(e.id, acl[i].id);
        o.set(wide ? e.pad : e.permissions, acl[i].permissions);
    }
    return raw;
}

// --- names
// ------------------------------------------------------------------------------------------

/// The Linux name of a record.
std::string shown_name(const ExtattrRecord& r) {
    if (r.name_space == disk::namespace_user)
        return r.name.starts_with("user.") ? std::string(r.name) : "user." + std::string(r.name);
    if (r.name == acl_access_stored) return std::string(vfs::acl_access_name);
    if (r.name == acl_default_stored) return std::string(vfs::acl_default_name);
    if (r.name.starts_with("trusted.") || r.name.starts_with("security."))
        return std::string(r.name);
    return "trusted." + std::string(r.name);
}

struct StoredName {
    uint8_t name_space;
    std::string name;
};

Result<StoredName> stored_name(const Geometry& geo, std::string_view name) {
    const auto bare = [&](std::string_view prefix) {
        return std::string(geo.ea_magic ? name : name.substr(prefix.size()));
    };
    StoredName s;
    if (name == vfs::acl_access_name)
        s = {disk::namespace_system, std::string(acl_access_stored)};
    else if (name == vfs::acl_default_name)
        s = {disk::namespace_system, std::string(acl_default_stored)};
    else if (name.starts_with("user."))
        s = {disk::namespace_user, bare("user.")};
    else if (name.starts_with("trusted."))
        s = {disk::namespace_system, bare("trusted.")};
    else if (name.starts_with("security."))
        s = {disk::namespace_system, std::string(name)};
    else
        return Errno::opnotsupp;
    if (s.name.empty() || s.name.size() > name_max) return Errno::range;
    return s;
}

// --- the area
// ---------------------------------------------------------------------------------------

Result<std::vector<std::byte>> read_area(Inode& inode) {
    Volume& volume = inode.volume();
    const Geometry& geo = volume.geo;
    if (!geo.ufs2) return Errno::opnotsupp;
    std::vector<std::byte> area;
    uint32_t left = inode.state.extsize;
    for (unsigned i = 0; i < disk::ext_count && left != 0; ++i) {
        const uint32_t n = std::min(left, geo.bsize);
        const uint64_t address = inode.state.extb[i];
        if (!geo.is_data(address, geo.frags(n)))
            return volume.mount.corrupt(fmt::format("inode {}: attribute block {} is out of range",
                                                    inode.number(), address));
        const Buf buf = TRY(volume.read(FragNumber(address), geo.frag_round(n)));
        area.insert(area.end(), buf.bytes().begin(), buf.bytes().begin() + n);
        left -= n;
    }
    return area;
}

/// Writes a new area beside the old one and lets the inode point to it: never
/// half an area.
Result<void> write_area(Transaction& tx, Inode& inode, std::span<const std::byte> area) {
    Volume& volume = inode.volume();
    const Geometry& geo = volume.geo;
    if (area.size() > disk::ext_count * size_t{geo.bsize}) return Errno::toobig;
    inode.begin_change(tx);
    InodeState& s = inode.state;
    const auto sectors = [&](uint64_t frags) { return frags << (geo.fshift - 9); };
    std::array<uint64_t, disk::ext_count> fresh{};
    uint64_t taken = 0;
    for (unsigned i = 0; i < disk::ext_count && size_t{i} * geo.bsize < area.size(); ++i) {
        const auto part =
            area.subspan(size_t{i} * geo.bsize,
                         std::min<size_t>(geo.bsize, area.size() - size_t{i} * geo.bsize));
        const uint32_t frags = geo.frags(static_cast<uint32_t>(part.size()));
        const uint32_t cg = geo.cg_of_inode(inode.number());
        FragNumber at;
        if (frags == geo.frag)
            at = TRY(volume.alloc.alloc_blocks(tx, 0, cg, 1, true)).start;
        else
            at = TRY(volume.alloc.alloc_frags(tx, 0, cg, frags, false, true));
        std::vector<std::byte> padded(size_t{frags} << geo.fshift);
        std::copy(part.begin(), part.end(), padded.begin());
        volume.buffers().forget(geo.bytes(at), padded.size());
        TRY(volume.write_early(at, padded));
        fresh[i] = at.value();
        taken += frags;
    }
    uint32_t left = s.extsize;
    for (unsigned i = 0; i < disk::ext_count && left != 0; ++i) {
        const uint32_t n = std::min(left, geo.bsize);
        if (s.extb[i] != 0) {
            if (!geo.is_data(s.extb[i], geo.frags(n)))
                return volume.mount.corrupt(fmt::format(
                    "inode {}: attribute block {} is out of range", inode.number(), s.extb[i]));
            volume.free_frags(tx, FragNumber(s.extb[i]), geo.frags(n));
            s.blocks -= std::min(s.blocks, sectors(geo.frags(n)));
        }
        left -= n;
    }
    s.extb = fresh;
    s.extsize = static_cast<uint32_t>(area.size());
    s.blocks += sectors(taken);
    return {};
}

Errno bad_area(Inode& inode, uint32_t at) {
    return inode.volume().mount.corrupt(
        fmt::format("inode {}: attribute record at {}", inode.number(), at));
}

/// The record that is shown as `name`.
Result<bool> find_record(Inode& inode, std::span<const std::byte> area, std::string_view name,
                         ExtattrRecord& out) {
    for (uint32_t at = 0;;) {
        const uint32_t start = at;
        auto more = next_extattr(inode.volume().geo, area, at, out);
        if (!more) return bad_area(inode, start);
        if (!*more) return false;
        if (shown_name(out) == name) return true;
    }
}

std::vector<std::byte> make_record(const Geometry& geo, const StoredName& name,
                                   std::span<const std::byte> value) {
    const uint32_t base = round8(static_cast<uint32_t>(disk::extattr_header + name.name.size()));
    const auto size = static_cast<uint32_t>(value.size());
    std::vector<std::byte> record(base + round8(size));
    auto& head = *reinterpret_cast<disk::Extattr*>(record.data());
    geo.order.set(head.length, static_cast<uint32_t>(record.size()));
    head.name_space = name.name_space;
    head.contentpadlen = static_cast<uint8_t>(round8(size) - size);
    head.namelength = static_cast<uint8_t>(name.name.size());
    std::memcpy(record.data() + disk::extattr_header, name.name.data(), name.name.size());
    if (size != 0) std::memcpy(record.data() + base, value.data(), size);
    return record;
}

} // namespace

Result<bool> next_extattr(const Geometry& geo, std::span<const std::byte> area, uint32_t& at,
                          ExtattrRecord& out) {
    if (at >= area.size()) return false;
    const auto rest = area.subspan(at);
    if (rest.size() < disk::extattr_header) return false;
    const auto& head = *reinterpret_cast<const disk::Extattr*>(rest.data());
    const uint32_t length = geo.order.get(head.length);
    if (length == 0) return false; // the area's unused end
    const uint32_t base = round8(static_cast<uint32_t>(disk::extattr_header + head.namelength));
    if (length > rest.size() || length % 8 != 0 || head.namelength == 0 || base > length ||
        head.contentpadlen > 7 || head.contentpadlen > length - base)
        return Errno::uclean;
    out.at = at;
    out.length = length;
    out.name_space = head.name_space;
    out.name = {reinterpret_cast<const char*>(rest.data()) + disk::extattr_header, head.namelength};
    out.value = rest.subspan(base, length - base - head.contentpadlen);
    at += length;
    return true;
}

Result<std::vector<std::byte>> get_attribute(Inode& inode, std::string_view name) {
    const Geometry& geo = inode.volume().geo;
    if (!geo.ufs2) return get_file_attribute(inode, name);
    const auto area = TRY(read_area(inode));
    ExtattrRecord r;
    if (!TRY(find_record(inode, area, name, r))) return Errno::nodata;
    if (!is_acl(name)) return std::vector<std::byte>(r.value.begin(), r.value.end());
    auto acl = acl_from_disk(geo.order, r.value);
    if (!acl) return bad_area(inode, r.at);
    return acl;
}

Result<void> set_attribute(Transaction& tx, Inode& inode, std::string_view name,
                           std::span<const std::byte> value, XattrSet how) {
    const Geometry& geo = inode.volume().geo;
    if (!geo.attributes) return Errno::opnotsupp;
    StoredName stored = TRY(stored_name(geo, name));
    auto area = TRY(read_area(inode));
    std::vector<std::byte> converted;
    if (is_acl(name)) {
        converted = TRY(acl_to_disk(geo, value));
        value = converted;
    }
    ExtattrRecord old;
    const bool there = TRY(find_record(inode, area, name, old));
    if (there && how == XattrSet::create) return Errno::exist;
    if (!there && how == XattrSet::replace) return Errno::nodata;
    if (there) { // as it was written before
        stored = {old.name_space, std::string(old.name)};
        area.erase(area.begin() + old.at, area.begin() + old.at + old.length);
    }
    const auto record = make_record(geo, stored, value);
    area.insert(area.end(), record.begin(), record.end());
    return write_area(tx, inode, area);
}

Result<void> remove_attribute(Transaction& tx, Inode& inode, std::string_view name) {
    auto area = TRY(read_area(inode));
    ExtattrRecord old;
    if (!TRY(find_record(inode, area, name, old))) return Errno::nodata;
    area.erase(area.begin() + old.at, area.begin() + old.at + old.length);
    return write_area(tx, inode, area);
}

Result<void> list_attributes(Inode& inode, XattrSink sink) {
    if (!inode.volume().geo.ufs2) return list_file_attributes(inode, sink);
    const auto area = TRY(read_area(inode));
    ExtattrRecord r;
    for (uint32_t at = 0;;) {
        const uint32_t start = at;
        auto more = next_extattr(inode.volume().geo, area, at, r);
        if (!more) return bad_area(inode, start);
        if (!*more) return {};
        sink(shown_name(r));
    }
}

// --- the operations
// ---------------------------------------------------------------------------------

Result<size_t> FfsVnode::getxattr(std::string_view name, std::span<std::byte> out) {
    ASSERT(lock.held());
    const auto value = TRY(get_attribute(inode_, name));
    if (out.empty()) return value.size();
    if (out.size() < value.size()) return Errno::range;
    std::copy(value.begin(), value.end(), out.begin());
    return value.size();
}

Result<void> FfsVnode::setxattr(std::string_view name, std::span<const std::byte> value,
                                XattrSet how) {
    ASSERT(lock.held_exclusive());
    return with_space([&]() -> Result<void> {
        Transaction tx = TRY(mount().begin());
        TRY(set_attribute(tx, inode_, name, value, how));
        inode_.state.ctime = volume().now();
        tx.done();
        return {};
    });
}

Result<void> FfsVnode::removexattr(std::string_view name) {
    ASSERT(lock.held_exclusive());
    return with_space([&]() -> Result<void> {
        Transaction tx = TRY(mount().begin());
        TRY(remove_attribute(tx, inode_, name));
        inode_.state.ctime = volume().now();
        tx.done();
        return {};
    });
}

Result<void> FfsVnode::listxattr(XattrSink sink) {
    ASSERT(lock.held());
    return list_attributes(inode_, sink);
}

} // namespace rump::ffs
