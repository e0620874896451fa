// Extended attributes of ext2.
#include "kernel/fs/ext2fs/xattr.h"

#include "kernel/vfs/acl.h"
#include "kernel/vfs/buffer_cache.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace rump::ext2 {

namespace {

constexpr size_t header_size = sizeof(disk::XattrBlockHeader);
constexpr size_t remembered_blocks = 4096;

struct Prefix {
    uint8_t index;
    std::string_view text;
    bool whole; // the text is the full name
};
constexpr Prefix prefixes[] = {
    {disk::xattr_user, "user.", false},
    {disk::xattr_acl_access, vfs::acl_access_name, true},
    {disk::xattr_acl_default, vfs::acl_default_name, true},
    {disk::xattr_trusted, "trusted.", false},
    {disk::xattr_security, "security.", false},
};

struct SplitName {
    uint8_t index;
    std::string_view rest;
};

Result<SplitName> split(std::string_view full) {
    for (const Prefix& p : prefixes) {
        if (p.whole ? full != p.text : !full.starts_with(p.text)) continue;
        const auto rest = full.substr(p.text.size());
        if (!p.whole && rest.empty()) return Errno::inval;
        if (rest.size() > 255) return Errno::range;
        return SplitName{p.index, rest};
    }
    return Errno::opnotsupp;
}

bool is_acl(uint8_t index) {
    return index == disk::xattr_acl_access || index == disk::xattr_acl_default;
}

size_t padded(size_t n) { return (n + 3) & ~size_t{3}; }
size_t entry_bytes(const XattrStore::Attribute& a) {
    return sizeof(disk::XattrEntry) + padded(a.name.size());
}
size_t all_bytes(const XattrStore::Attribute& a) { return entry_bytes(a) + padded(a.value.size()); }

// --- ACLs ---------------------------------------------------------------------------------------

bool has_id(vfs::AclEntry::Tag tag) {
    return tag == vfs::AclEntry::Tag::user || tag == vfs::AclEntry::Tag::group;
}

Result<std::vector<std::byte>> acl_to_disk(std::span<const std::byte> value) {
    const vfs::Acl acl = TRY(vfs::parse_acl(value));
    std::vector<std::byte> out;
    const auto put = [&](const auto& field) {
        const auto* bytes = reinterpret_cast<const std::byte*>(&field);
        out.insert(out.end(), bytes, bytes + sizeof field);
    };
    put(le32(disk::acl_version));
    for (const vfs::AclEntry& e : acl) {
        if (has_id(e.tag))
            put(disk::AclEntryLong{static_cast<uint16_t>(e.tag), e.permissions, e.id});
        else
            put(disk::AclEntryShort{static_cast<uint16_t>(e.tag), e.permissions});
    }
    return out;
}

/// None: not an ACL as ext2 has it.
std::optional<std::vector<std::byte>> acl_from_disk(std::span<const std::byte> value) {
    if (value.size() < 4) return std::nullopt;
    le32 version;
    std::memcpy(&version, value.data(), sizeof version);
    if (version != disk::acl_version) return std::nullopt;
    vfs::Acl acl;
    for (size_t at = 4; at < value.size();) {
        disk::AclEntryShort e;
        if (value.size() - at < sizeof e) return std::nullopt;
        std::memcpy(&e, value.data() + at, sizeof e);
        vfs::AclEntry entry{static_cast<vfs::AclEntry::Tag>(e.tag.get()), e.permissions,
                            UINT32_MAX};
        if (has_id(entry.tag)) {
            disk::AclEntryLong with_id;
            if (value.size() - at < sizeof with_id) return std::nullopt;
            std::memcpy(&with_id, value.data() + at, sizeof with_id);
            entry.id = with_id.id;
            at += sizeof with_id;
        } else {
            at += sizeof e;
        }
        acl.push_back(entry);
    }
    return vfs::encode_acl(acl);
}

// --- regions ------------------------------------------------------------------------------------

uint32_t hash_entries(const std::vector<uint32_t>& hashes) {
    uint32_t hash = 0;
    for (uint32_t h : hashes) {
        if (h == 0) return 0;
        hash = std::rotl(hash, 16) ^ h;
    }
    return hash;
}

/// Entries from `first` on, values from the end backwards. Returns the hash of all.
uint32_t build(std::span<std::byte> region, size_t first, size_t base,
               const XattrStore::List& list) {
    size_t at = first;
    size_t end = region.size();
    std::vector<uint32_t> hashes;
    for (const auto& a : list) {
        end -= padded(a.value.size());
        ASSERT(at + entry_bytes(a) + 4 <= end);
        disk::XattrEntry e{};
        e.name_len = static_cast<uint8_t>(a.name.size());
        e.name_index = a.index;
        e.value_offset = static_cast<uint16_t>(a.value.empty() ? 0 : end - base);
        e.value_size = static_cast<uint32_t>(a.value.size());
        const uint32_t hash = xattr_entry_hash(a.name, a.value);
        e.hash = hash;
        hashes.push_back(hash);
        std::memcpy(region.data() + at, &e, sizeof e);
        std::memcpy(region.data() + at + sizeof e, a.name.data(), a.name.size());
        if (!a.value.empty()) std::memcpy(region.data() + end, a.value.data(), a.value.size());
        at += entry_bytes(a);
    }
    return hash_entries(hashes);
}

/// Fills `body` as far as `room` goes; the rest is for the block. False: the block's `block_room`
/// is not enough for it.
bool distribute(const XattrStore::List& all, size_t room, size_t block_room, XattrStore::List& body,
                XattrStore::List& block) {
    body.clear();
    block.clear();
    size_t used = 4, block_used = 4; // the end marks
    for (const auto& a : all) {
        const size_t size = all_bytes(a);
        if (used + size <= room) {
            used += size;
            body.push_back(a);
        } else {
            block_used += size;
            block.push_back(a);
        }
    }
    return block.empty() || block_used <= block_room;
}

size_t body_start(const Inode& inode) { return 128u + inode.extra_size; }

/// Bytes for entries and values in the inode's tail, behind the magic number.
size_t body_room(const Geometry& g, const Inode& inode) {
    if (inode.extra_size == 0 || body_start(inode) + 8 > g.inode_size) return 0;
    return g.inode_size - body_start(inode) - 4;
}

} // namespace

uint32_t xattr_entry_hash(std::string_view name, std::span<const std::byte> value) {
    uint32_t hash = 0;
    // Names count as signed bytes: an accident of the machines that ext2 grew up on.
    for (char c : name)
        hash = std::rotl(hash, 5) ^
               static_cast<uint32_t>(static_cast<int32_t>(static_cast<signed char>(c)));
    for (size_t at = 0; at < value.size(); at += 4) {
        le32 word = 0;
        std::memcpy(&word, value.data() + at, std::min<size_t>(4, value.size() - at));
        hash = std::rotl(hash, 16) ^ word.get();
    }
    return hash;
}

ParsedXattrs parse_xattrs(std::span<const std::byte> region, size_t first, size_t base) {
    ParsedXattrs out;
    size_t total = 0;
    const auto fail = [&](size_t at, std::string_view what) {
        out.problem = fmt::format("attribute entry at {}: {}", at, what);
        return out;
    };
    for (size_t at = first;;) {
        if (region.size() - at < 4) return fail(at, "no end of the entries");
        le32 mark;
        std::memcpy(&mark, region.data() + at, sizeof mark);
        if (mark == 0u) return out;
        disk::XattrEntry e;
        if (region.size() - at < sizeof e) return fail(at, "crosses the end");
        std::memcpy(&e, region.data() + at, sizeof e);
        if (region.size() - at - sizeof e < padded(e.name_len))
            return fail(at, "name crosses the end");
        if (e.value_inode != 0u) return fail(at, "value in an inode of its own");
        const size_t size = e.value_size;
        const size_t value = base + e.value_offset;
        if (size > region.size() ||
            (size && (value > region.size() || region.size() - value < size)))
            return fail(at, fmt::format("value of {} bytes at {} crosses the end", size,
                                        e.value_offset.get()));
        total += size;
        if (total > region.size()) return fail(at, "values overlap");
        const char* name = reinterpret_cast<const char*>(region.data()) + at + sizeof e;
        XattrStore::Attribute a{e.name_index, std::string(name, e.name_len), {}};
        if (size)
            a.value.assign(region.begin() + static_cast<ptrdiff_t>(value),
                           region.begin() + static_cast<ptrdiff_t>(value + size));
        out.list.push_back(std::move(a));
        at += sizeof e + padded(e.name_len);
    }
}

Result<Buf> XattrStore::read_block(const Inode& inode) {
    const auto block = volume_.file_block(inode.file_acl);
    if (!block)
        return volume_.corrupt("inode {}: attribute block {} is none of a file's", inode.number,
                               inode.file_acl);
    Buf buf = TRY(volume_.read(*block));
    const auto& header = buf.as<disk::XattrBlockHeader>();
    if (header.magic != disk::xattr_magic || header.blocks != 1u)
        return volume_.corrupt("inode {}: attribute block {}: no header", inode.number,
                               inode.file_acl);
    if (header.references == 0u || header.references > disk::xattr_max_references)
        return volume_.corrupt("inode {}: attribute block {}: {} references", inode.number,
                               inode.file_acl, header.references.get());
    return buf;
}

Result<XattrStore::Both> XattrStore::read(const XattrTarget& target) {
    const Inode& inode = target.inode;
    Both both;
    if (const size_t room = body_room(volume_.geometry, inode); room && !inode.tail_unset) {
        const auto tail = target.table.bytes().subspan(target.offset + body_start(inode), room + 4);
        le32 magic;
        std::memcpy(&magic, tail.data(), sizeof magic);
        if (magic == disk::xattr_magic) {
            ParsedXattrs parsed = parse_xattrs(tail, 4, 4);
            if (!parsed.problem.empty())
                return volume_.corrupt("inode {}: {}", inode.number, parsed.problem);
            both.body = std::move(parsed.list);
        }
    }
    if (inode.file_acl) {
        const Buf buf = TRY(read_block(inode));
        ParsedXattrs parsed = parse_xattrs(buf.bytes(), header_size, 0);
        if (!parsed.problem.empty())
            return volume_.corrupt("inode {}: attribute block {}: {}", inode.number, inode.file_acl,
                                   parsed.problem);
        both.block = std::move(parsed.list);
    }
    return both;
}

Result<size_t> XattrStore::get(const XattrTarget& target, std::string_view name,
                               std::span<std::byte> out) {
    const SplitName wanted = TRY(split(name));
    if (!target.inode.file_acl && body_room(volume_.geometry, target.inode) == 0)
        return Errno::nodata;
    const Both both = TRY(read(target));
    for (const List* list : {&both.body, &both.block})
        for (const Attribute& a : *list) {
            if (a.index != wanted.index || a.name != wanted.rest) continue;
            std::vector<std::byte> converted;
            std::span<const std::byte> value = a.value;
            if (is_acl(a.index)) {
                auto acl = acl_from_disk(a.value);
                if (!acl) return volume_.corrupt("inode {}: malformed ACL", target.inode.number);
                converted = std::move(*acl);
                value = converted;
            }
            if (out.empty()) return value.size();
            if (out.size() < value.size()) return Errno::range;
            std::copy(value.begin(), value.end(), out.begin());
            return value.size();
        }
    return Errno::nodata;
}

Result<void> XattrStore::list(const XattrTarget& target, XattrSink sink) {
    const Both both = TRY(read(target));
    for (const List* list : {&both.body, &both.block})
        for (const Attribute& a : *list)
            for (const Prefix& p : prefixes)
                if (p.index == a.index) sink(std::string(p.text) + (p.whole ? "" : a.name));
    return {};
}

Result<void> XattrStore::set(Transaction& tx, XattrTarget& target, std::string_view name,
                             std::optional<std::span<const std::byte>> value, XattrSet how,
                             FreeList& freed) {
    const SplitName wanted = TRY(split(name));
    Both both = TRY(read(target));
    List all = std::move(both.body);
    std::move(both.block.begin(), both.block.end(), std::back_inserter(all));
    const auto it = std::find_if(all.begin(), all.end(), [&](const Attribute& a) {
        return a.index == wanted.index && a.name == wanted.rest;
    });
    if (it == all.end() && (!value || how == XattrSet::replace)) return Errno::nodata;
    if (it != all.end() && value && how == XattrSet::create) return Errno::exist;
    if (!value) {
        all.erase(it);
    } else {
        Attribute a{wanted.index, std::string(wanted.rest), {}};
        if (is_acl(wanted.index))
            a.value = TRY(acl_to_disk(*value));
        else
            a.value.assign(value->begin(), value->end());
        if (a.value.size() > volume_.geometry.block_size) return Errno::nospc;
        if (it != all.end())
            *it = std::move(a);
        else
            all.push_back(std::move(a));
    }
    const size_t room = body_room(volume_.geometry, target.inode);
    const size_t block_room = volume_.geometry.block_size - header_size;
    List body, block;
    if (!distribute(all, room, block_room, body, block)) {
        std::stable_sort(all.begin(), all.end(), [](const Attribute& a, const Attribute& b) {
            return all_bytes(a) > all_bytes(b);
        });
        if (!distribute(all, room, block_room, body, block)) return Errno::nospc;
    }
    if (room) TRY(write_body(tx, target, body));
    return write_block(tx, target, block, freed);
}

Result<void> XattrStore::write_body(Transaction& tx, XattrTarget& target, const List& list) {
    Inode& inode = target.inode;
    const uint32_t size = volume_.geometry.inode_size;
    if (inode.tail_unset) {
        auto all = tx.modify(target.table, target.offset, size, WritePhase::inode);
        std::memset(all.data(), 0, all.size());
        inode.tail_unset = false; // the rest is stored when the epoch closes
    }
    const auto start = static_cast<uint32_t>(body_start(inode));
    auto tail = tx.modify(target.table, target.offset + start, size - start, WritePhase::inode);
    std::memset(tail.data(), 0, tail.size());
    if (list.empty()) return {};
    const le32 magic = disk::xattr_magic;
    std::memcpy(tail.data(), &magic, sizeof magic);
    build(tail, 4, 4, list);
    return {};
}

Result<void> XattrStore::write_block(Transaction& tx, XattrTarget& target, const List& list,
                                     FreeList& freed) {
    Inode& inode = target.inode;
    if (list.empty() && inode.file_acl == 0) return {};
    host::MutexGuard guard(share_lock_);
    if (list.empty()) return drop_locked(tx, inode, freed);
    // Within a block entries stand in order of index, length and name.
    List sorted = list;
    std::sort(sorted.begin(), sorted.end(), [](const Attribute& a, const Attribute& b) {
        if (a.index != b.index) return a.index < b.index;
        if (a.name.size() != b.name.size()) return a.name.size() < b.name.size();
        return a.name < b.name;
    });
    std::vector<std::byte> image(volume_.geometry.block_size);
    disk::XattrBlockHeader header{};
    header.magic = disk::xattr_magic;
    header.references = 1;
    header.blocks = 1;
    const uint32_t hash = build(image, header_size, 0, sorted);
    header.hash = hash;
    std::memcpy(image.data(), &header, sizeof header);

    if (inode.file_acl) {
        Buf old = TRY(read_block(inode));
        const auto same = old.bytes().subspan(header_size);
        if (std::equal(same.begin(), same.end(), image.begin() + header_size)) return {};
        if (TRY(use_equal_block(tx, inode, image))) {
            // The old one is let go below, under its own number.
            Inode before = inode;
            before.file_acl = static_cast<uint32_t>(old.offset() >> volume_.geometry.block_shift);
            return drop_locked(tx, before, freed);
        }
        if (old.as<disk::XattrBlockHeader>().references == 1u) {
            by_hash_.erase(old.as<disk::XattrBlockHeader>().hash);
            auto bytes = tx.modify(old, 0, image.size(), WritePhase::inode);
            std::memcpy(bytes.data(), image.data(), image.size());
            remember(hash, inode.file_acl);
            return {};
        }
    } else if (TRY(use_equal_block(tx, inode, image))) {
        inode.sectors += volume_.sectors_per_block();
        return {};
    }
    Claim claim = TRY(allocator_.claim(1, 1, target.privileged));
    const BlockNumber goal =
        volume_.geometry.first_block(volume_.geometry.group_of(InodeNumber(inode.number)));
    const BlockRun run = TRY(allocator_.allocate(tx, claim, {inode.number, goal, 1, false}));
    TRY(volume_.init_block(tx, run.start, image, WritePhase::inode));
    if (inode.file_acl) TRY(drop_locked(tx, inode, freed));
    inode.file_acl = static_cast<uint32_t>(run.start.value());
    inode.sectors += volume_.sectors_per_block();
    remember(hash, inode.file_acl);
    return {};
}

/// Joins another inode's block that says the same.
Result<bool> XattrStore::use_equal_block(Transaction& tx, Inode& inode,
                                         std::span<const std::byte> image) {
    disk::XattrBlockHeader header;
    std::memcpy(&header, image.data(), sizeof header);
    const auto it = by_hash_.find(header.hash);
    if (it == by_hash_.end() || header.hash == 0u || it->second == inode.file_acl) return false;
    const auto block = volume_.file_block(it->second);
    if (!block) return false;
    Buf buf = TRY(volume_.read(*block));
    const auto& other = buf.as<disk::XattrBlockHeader>();
    if (other.magic != disk::xattr_magic || other.references == 0u ||
        other.references >= disk::xattr_max_references ||
        std::memcmp(buf.bytes().data() + header_size, image.data() + header_size,
                    image.size() - header_size) != 0)
        return false;
    change_references(tx, buf, 1);
    inode.file_acl = it->second;
    return true;
}

/// Other transactions count in the same block: an undo takes back the step, not the bytes.
void XattrStore::change_references(Transaction& tx, Buf& buf, int by) {
    auto* header =
        reinterpret_cast<disk::XattrBlockHeader*>(tx.modify(buf, 0, 0, WritePhase::inode).data());
    header->references += static_cast<uint32_t>(by);
    tx.on_abort([this, buf, header, by] {
        host::MutexGuard guard(share_lock_);
        header->references -= static_cast<uint32_t>(by);
    });
}

Result<void> XattrStore::drop_locked(Transaction& tx, Inode& inode, FreeList& freed) {
    Buf buf = TRY(read_block(inode));
    const auto& header = buf.as<disk::XattrBlockHeader>();
    if (header.references > 1u) {
        change_references(tx, buf, -1);
    } else {
        if (auto it = by_hash_.find(header.hash);
            it != by_hash_.end() && it->second == inode.file_acl)
            by_hash_.erase(it);
        freed.add(BlockNumber(inode.file_acl), true);
    }
    inode.file_acl = 0;
    inode.sectors -= std::min(inode.sectors, volume_.sectors_per_block());
    return {};
}

Result<void> XattrStore::drop_block(Transaction& tx, Inode& inode, FreeList& freed) {
    if (inode.file_acl == 0) return {};
    host::MutexGuard guard(share_lock_);
    return drop_locked(tx, inode, freed);
}

void XattrStore::remember(uint32_t hash, uint32_t block) {
    if (hash == 0) return;
    if (by_hash_.size() >= remembered_blocks) by_hash_.clear();
    by_hash_[hash] = block;
}

} // namespace rump::ext2
