// Parsing, checking and storing inodes.
#include "kernel/fs/ext2fs/inode.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace rump::ext2 {

namespace {

constexpr int64_t seconds_low = -(int64_t{1} << 31);
constexpr int64_t narrow_high = (int64_t{1} << 31) - 1;
constexpr int64_t wide_high = (int64_t{1} << 34) - (int64_t{1} << 31) - 1;

/// Flags that change what `block` means; none of them exists in ext2.
constexpr uint32_t foreign_flags = disk::inode_flag::encrypt | disk::inode_flag::extents |
                                   disk::inode_flag::huge_file | disk::inode_flag::ea_inode |
                                   disk::inode_flag::inline_data | disk::inode_flag::verity |
                                   disk::inode_flag::compressed_blocks;

std::string size_problem(const Geometry& g, const Inode& in) {
    switch (in.type()) {
    case FileType::dir:
        if (in.size == 0 || in.size % g.block_size || in.size >> g.block_shift > g.block_count)
            return fmt::format("size {} of a directory", in.size);
        return {};
    case FileType::lnk:
        if (in.size == 0 ||
            in.size >= (in.is_fast_symlink(g) ? disk::fast_symlink_max : g.block_size))
            return fmt::format("size {} of a symlink", in.size);
        return {};
    case FileType::reg:
        if (in.size > g.max_file_size) return fmt::format("size {}", in.size);
        return {};
    default:
        return {};
    }
}

std::string problem_of(const Geometry& g, const Inode& in) {
    if (in.type() == FileType::unknown || in.type() == FileType::wht)
        return fmt::format("mode {:o}", in.mode);
    if (in.flags & foreign_flags)
        return fmt::format("flags 0x{:x} of a feature that the file system does not have",
                           in.flags & foreign_flags);
    return size_problem(g, in);
}

template<class T>
T read_struct(std::span<const std::byte> raw, size_t at) {
    T value;
    std::memcpy(&value, raw.data() + at, sizeof value);
    return value;
}

void parse_extra(const Geometry& g, std::span<const std::byte> raw, ParsedInode& out) {
    Inode& in = out.inode;
    disk::InodeExtra extra;
    const size_t room = std::min<size_t>(sizeof extra, g.inode_size - 128);
    std::memcpy(&extra, raw.data() + 128, room);
    if (extra.extra_size > g.inode_size - 128 || extra.extra_size % 4 != 0) {
        out.problem = fmt::format("extra size {}", extra.extra_size.get());
        return;
    }
    in.extra_size = extra.extra_size;
    if (in.has_time_extra()) {
        in.ctime.extra = extra.ctime_extra;
        in.mtime.extra = extra.mtime_extra;
        in.atime.extra = extra.atime_extra;
    }
    if (in.has_crtime()) in.crtime = {extra.crtime, extra.crtime_extra};
}

} // namespace

PackedTime PackedTime::from(Timespec time, bool wide) {
    const int64_t high = wide ? wide_high : narrow_high;
    if (time.sec < seconds_low) time = {seconds_low, 0};
    if (time.sec > high) time = {high, wide ? 999'999'999u : 0};
    PackedTime out;
    out.seconds = static_cast<uint32_t>(time.sec);
    if (!wide) return out;
    const auto epoch =
        static_cast<uint32_t>((time.sec - static_cast<int32_t>(out.seconds)) >> 32) & 3;
    out.extra = time.nsec << 2 | epoch;
    return out;
}

Timespec PackedTime::get() const {
    const int64_t sec =
        static_cast<int64_t>(static_cast<int32_t>(seconds)) + (int64_t{extra & 3} << 32);
    return {sec, std::min<uint32_t>(extra >> 2, 999'999'999)};
}

DeviceNumber Inode::device() const {
    const uint32_t old_form = block[0];
    if (old_form) return {old_form >> 8 & 0xff, old_form & 0xff};
    const uint32_t dev = block[1];
    return {dev >> 8 & 0xfff, (dev & 0xff) | (dev >> 12 & 0xfff00)};
}

void Inode::set_device(DeviceNumber dev) {
    if (dev.major < 256 && dev.minor < 256) {
        block[0] = dev.major << 8 | dev.minor;
        block[1] = 0;
        if (block[0] != 0) return;
    }
    block[0] = 0;
    block[1] = (dev.minor & 0xff) | (dev.major & 0xfff) << 8 | (dev.minor & 0xfff00) << 12;
}

InodePlace inode_place(const Geometry& g, InodeNumber number) {
    const uint64_t at = uint64_t{g.bit_of(number)} * g.inode_size;
    return {static_cast<uint32_t>(at >> g.block_shift),
            static_cast<uint32_t>(at & (g.block_size - 1))};
}

ParsedInode parse_inode(const Geometry& g, InodeNumber number, std::span<const std::byte> raw) {
    const auto d = read_struct<disk::Inode>(raw, 0);
    ParsedInode out;
    Inode& in = out.inode;
    in.number = static_cast<uint32_t>(number.value());
    in.generation = d.generation;
    in.mode = d.mode;
    in.links = d.links;
    in.uid = d.uid | uint32_t{d.uid_high} << 16;
    in.gid = d.gid | uint32_t{d.gid_high} << 16;
    in.flags = d.flags;
    in.sectors = d.sectors;
    in.file_acl = d.file_acl;
    in.dtime = d.dtime;
    in.size = d.size;
    if (in.type() == FileType::reg) in.size |= uint64_t{d.size_high} << 32;
    in.atime.seconds = d.atime;
    in.mtime.seconds = d.mtime;
    in.ctime.seconds = d.ctime;
    std::copy(std::begin(d.block), std::end(d.block), std::begin(in.block));
    if (in.links == 0 || in.mode == 0) return out;
    if (g.inode_size > 128) parse_extra(g, raw, out);
    if (out.problem.empty()) out.problem = problem_of(g, in);
    return out;
}

void store_inode(const Geometry& g, const Inode& in, std::span<std::byte> raw) {
    if (in.tail_unset) std::memset(raw.data(), 0, raw.size());
    auto d = read_struct<disk::Inode>(raw, 0);
    d.generation = in.generation;
    d.mode = in.mode;
    d.links = in.links;
    d.uid = static_cast<uint16_t>(in.uid);
    d.uid_high = static_cast<uint16_t>(in.uid >> 16);
    d.gid = static_cast<uint16_t>(in.gid);
    d.gid_high = static_cast<uint16_t>(in.gid >> 16);
    d.flags = in.flags;
    d.sectors = in.sectors;
    d.file_acl = in.file_acl;
    d.dtime = in.dtime;
    d.size = static_cast<uint32_t>(in.size);
    if (in.type() == FileType::reg) d.size_high = static_cast<uint32_t>(in.size >> 32);
    d.atime = in.atime.seconds;
    d.mtime = in.mtime.seconds;
    d.ctime = in.ctime.seconds;
    std::copy(std::begin(in.block), std::end(in.block), std::begin(d.block));
    std::memcpy(raw.data(), &d, sizeof d);
    if (g.inode_size == 128) return;
    disk::InodeExtra extra;
    const size_t room = std::min<size_t>(sizeof extra, g.inode_size - 128);
    std::memcpy(&extra, raw.data() + 128, room);
    extra.extra_size = in.extra_size;
    if (in.has_time_extra()) {
        extra.ctime_extra = in.ctime.extra;
        extra.mtime_extra = in.mtime.extra;
        extra.atime_extra = in.atime.extra;
    }
    if (in.has_crtime()) {
        extra.crtime = in.crtime.seconds;
        extra.crtime_extra = in.crtime.extra;
    }
    std::memcpy(raw.data() + 128, &extra, room);
}

} // namespace rump::ext2
