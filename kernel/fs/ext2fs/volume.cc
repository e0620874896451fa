// Descriptors and blocks of a mounted ext2.
#include "kernel/fs/ext2fs/volume.h"

#include "kernel/kern/kernel.h"
#include "kernel/vfs/buffer_cache.h"
#include "kernel/vfs/epoch.h"

#include <algorithm>
#include <cstring>

namespace rump::ext2 {

namespace {

bool within_group(const Geometry& g, GroupNumber group, uint64_t first, uint64_t count) {
    const uint64_t low = g.first_block(group).value() + g.head_blocks(group);
    const uint64_t high = g.first_block(group).value() + g.blocks_in(group);
    return first >= low && first < high && count <= high - first;
}

/// The field that lies; null: none.
const char* bad_field(const Geometry& g, GroupNumber group, const disk::GroupDescriptor& d) {
    if (!within_group(g, group, d.block_bitmap, 1)) return "block bitmap";
    if (!within_group(g, group, d.inode_bitmap, 1) || d.inode_bitmap == d.block_bitmap)
        return "inode bitmap";
    if (!within_group(g, group, d.inode_table, g.inode_table_blocks)) return "inode table";
    for (uint32_t bitmap : {d.block_bitmap.get(), d.inode_bitmap.get()})
        if (bitmap >= d.inode_table && bitmap - d.inode_table < g.inode_table_blocks)
            return "inode table";
    return nullptr;
}

} // namespace

Result<void>
Volume::load_groups(FunctionRef<void(GroupNumber, const disk::GroupDescriptor&)> each) {
    groups.resize(geometry.group_count);
    Buf buf;
    for (uint32_t n = 0; n < geometry.group_count; ++n) {
        const uint32_t slot = n % geometry.descriptors_per_block();
        if (slot == 0)
            buf = TRY(read(
                geometry.descriptor_block(GroupNumber(0), n / geometry.descriptors_per_block())));
        const auto& d = buf.as<disk::GroupDescriptor>(slot * sizeof(disk::GroupDescriptor));
        GroupPlace& place = groups[n];
        if (const char* field = bad_field(geometry, GroupNumber(n), d)) {
            place.bad = true;
            (void)corrupt("descriptor of group {}: {} outside of the group or on other metadata", n,
                          field);
            continue;
        }
        place.block_bitmap = BlockNumber(d.block_bitmap);
        place.inode_bitmap = BlockNumber(d.inode_bitmap);
        place.inode_table = BlockNumber(d.inode_table);
        each(GroupNumber(n), d);
    }
    return {};
}

Timespec Volume::now() const { return mount_.kernel().now(); }

Result<Buf> Volume::read(BlockNumber block) const {
    auto buf = mount_.buffers().read(geometry.offset_of(block), geometry.block_size);
    if (buf || buf.error() == Errno::nomem) return buf;
    return mount_.io_error(fmt::format("block {}", block.value()), buf.error());
}

Result<Buf> Volume::init_block(Transaction& tx, BlockNumber block,
                               std::span<const std::byte> contents, WritePhase phase) const {
    ASSERT(contents.size() == geometry.block_size);
    const uint64_t offset = geometry.offset_of(block);
    auto buf = TRY(mount_.buffers().get_fresh(offset, geometry.block_size));
    std::memcpy(tx.modify(buf, 0, contents.size(), phase).data(), contents.data(), contents.size());
    if (auto written = mount_.device().write(offset, contents); !written)
        return mount_.io_error(fmt::format("block {}", block.value()), written.error());
    mount_.epoch().note_data_written();
    return buf;
}

bool Volume::is_metadata(BlockNumber block) const {
    const GroupNumber group = geometry.group_of(block);
    const GroupPlace& place = groups[group.value()];
    if (geometry.bit_of(block) < geometry.head_blocks(group)) return true;
    if (place.bad) return false;
    return block == place.block_bitmap || block == place.inode_bitmap ||
           (block >= place.inode_table && block - place.inode_table < geometry.inode_table_blocks);
}

uint64_t Volume::file_blocks(uint64_t raw, uint64_t count) const {
    if (!geometry.block_in_range(raw)) return 0;
    const uint64_t end = std::min(raw + count, geometry.block_count);
    uint64_t good = end;
    const auto exclude = [&](BlockNumber first, uint64_t n) {
        if (first.value() < good && first.value() + n > raw) good = std::max(raw, first.value());
    };
    for (GroupNumber id = geometry.group_of(BlockNumber(raw));
         id.value() < geometry.group_count && geometry.first_block(id).value() < good; ++id) {
        const GroupPlace& place = groups[id.value()];
        exclude(geometry.first_block(id), geometry.head_blocks(id));
        if (place.bad) continue;
        exclude(place.block_bitmap, 1);
        exclude(place.inode_bitmap, 1);
        exclude(place.inode_table, geometry.inode_table_blocks);
    }
    return good - raw;
}

} // namespace rump::ext2
