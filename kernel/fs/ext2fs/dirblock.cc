// Directory blocks.
#include "kernel/fs/ext2fs/dirblock.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace rump::ext2 {

namespace {

constexpr uint32_t smallest_entry = 12; // a name of one byte
constexpr uint16_t whole_64k = 65535;

constexpr FileType types_by_code[] = {FileType::unknown, FileType::reg, FileType::dir,
                                      FileType::chr,     FileType::blk, FileType::fifo,
                                      FileType::sock,    FileType::lnk};

} // namespace

uint32_t decode_rec_len(uint16_t raw, uint32_t block_size) {
    if (block_size < 65536) return raw;
    if (raw == whole_64k || raw == 0) return block_size;
    return raw;
}

uint16_t encode_rec_len(uint32_t length, uint32_t block_size) {
    if (length == 65536 && block_size == 65536) return whole_64k;
    return static_cast<uint16_t>(length);
}

uint8_t file_type_code(FileType type) {
    for (uint8_t code = 1; code < std::size(types_by_code); ++code)
        if (types_by_code[code] == type) return code;
    return 0;
}

FileType file_type_from_code(uint8_t code) {
    return code < std::size(types_by_code) ? types_by_code[code] : FileType::unknown;
}

bool DirBlockWalk::next(EntryView& entry) {
    const auto size = static_cast<uint32_t>(block_.size());
    if (at_ >= size || !damage_.empty()) return false;
    const auto fail = [&](std::string what) {
        damage_ = fmt::format("offset {}: {}", at_, what);
        return false;
    };
    if (size - at_ < smallest_entry) return fail("entry crosses the block's end");
    disk::DirEntry d;
    std::memcpy(&d, block_.data() + at_, sizeof d);
    entry.offset = at_;
    entry.inode = d.inode;
    entry.rec_len = decode_rec_len(d.rec_len, size);
    entry.file_type = d.file_type;
    if (entry.rec_len < smallest_entry || entry.rec_len % 4)
        return fail(fmt::format("record length {}", entry.rec_len));
    if (entry.rec_len > size - at_)
        return fail(fmt::format("record length {} crosses the block's end", entry.rec_len));
    entry.name = {};
    if (entry.inode) {
        if (entry_size(d.name_len) > entry.rec_len)
            return fail(fmt::format("name length {} in a record of {}", d.name_len, entry.rec_len));
        if (d.name_len == 0) return fail("name length 0");
        entry.name = {reinterpret_cast<const char*>(block_.data()) + at_ + sizeof d, d.name_len};
    }
    at_ += entry.rec_len;
    return true;
}

const char* bad_name(std::string_view name) {
    for (char c : name) {
        if (c == '/') return "name with a slash";
        if (c == '\0') return "name with a NUL";
    }
    return nullptr;
}

uint32_t largest_room(std::span<const std::byte> block) {
    DirBlockWalk walk(block);
    EntryView entry;
    uint32_t room = 0;
    while (walk.next(entry)) room = std::max(room, entry.room());
    return walk.damage().empty() ? room : 0;
}

void put_entry(std::span<std::byte> bytes, uint32_t offset, uint32_t rec_len, uint32_t inode,
               uint8_t file_type, std::string_view name) {
    ASSERT(offset + sizeof(disk::DirEntry) + name.size() <= bytes.size());
    disk::DirEntry d;
    d.inode = inode;
    d.rec_len = encode_rec_len(rec_len, static_cast<uint32_t>(bytes.size()));
    d.name_len = static_cast<uint8_t>(name.size());
    d.file_type = file_type;
    std::memcpy(bytes.data() + offset, &d, sizeof d);
    std::copy_n(name.data(), name.size(),
                reinterpret_cast<char*>(bytes.data()) + offset + sizeof d);
}

std::optional<uint32_t> insert_entry(Transaction& tx, Buf& buf, std::string_view name,
                                     uint32_t inode, uint8_t file_type) {
    const auto size = static_cast<uint32_t>(buf.size());
    const uint32_t need = entry_size(name.size());
    DirBlockWalk walk(buf.bytes());
    EntryView entry;
    while (walk.next(entry)) {
        if (entry.room() < need) continue;
        uint32_t at = entry.offset;
        uint32_t length = entry.rec_len;
        if (entry.used()) {
            const uint32_t keep = entry_size(entry.name.size());
            at += keep;
            length -= keep;
            tx.modify_as<le16>(buf, entry.offset + offsetof(disk::DirEntry, rec_len),
                               WritePhase::directory) = encode_rec_len(keep, size);
        }
        disk::DirEntry d;
        d.inode = inode;
        d.rec_len = encode_rec_len(length, size);
        d.name_len = static_cast<uint8_t>(name.size());
        d.file_type = file_type;
        auto bytes = tx.modify(buf, at, sizeof d + name.size(), WritePhase::directory);
        std::memcpy(bytes.data(), &d, sizeof d);
        std::memcpy(bytes.data() + sizeof d, name.data(), name.size());
        return at;
    }
    return std::nullopt;
}

void erase_entry(Transaction& tx, Buf& buf, uint32_t offset, std::optional<uint32_t> previous) {
    const auto size = static_cast<uint32_t>(buf.size());
    if (!previous) {
        tx.modify_as<le32>(buf, offset, WritePhase::directory) = 0;
        return;
    }
    const size_t field = offsetof(disk::DirEntry, rec_len);
    const uint32_t gone = decode_rec_len(buf.as<le16>(offset + field), size);
    const uint32_t before = decode_rec_len(buf.as<le16>(*previous + field), size);
    tx.modify_as<le16>(buf, *previous + field, WritePhase::directory) =
        encode_rec_len(before + gone, size);
    // The number goes, too, so that no tool takes what is left for an entry.
    tx.modify_as<le32>(buf, offset, WritePhase::directory) = 0;
}

std::vector<std::byte> pack_block(uint32_t block_size, std::span<const EntryView> entries) {
    std::vector<std::byte> out(block_size);
    if (entries.empty()) {
        put_entry(out, 0, block_size, 0, 0, {});
        return out;
    }
    uint32_t at = 0;
    for (size_t i = 0; i < entries.size(); ++i) {
        const EntryView& e = entries[i];
        const uint32_t length =
            i + 1 == entries.size() ? block_size - at : entry_size(e.name.size());
        put_entry(out, at, length, e.inode, e.file_type, e.name);
        at += length;
    }
    return out;
}

} // namespace rump::ext2
