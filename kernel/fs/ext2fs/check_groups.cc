// check: what the maps and counts say against what is in use; the superblock comes last.
#include "kernel/fs/ext2fs/bitmap.h"
#include "kernel/fs/ext2fs/check.h"

#include <algorithm>

namespace rump::ext2 {

Result<void> Checker::check_bitmaps() {
    uint64_t free_blocks = 0, free_inodes = 0;
    for (uint32_t n = 0; n < g_.group_count; ++n)
        if (!bad_group_[n]) TRY(check_group(n, free_blocks, free_inodes));
    if (std::count(bad_group_.begin(), bad_group_.end(), true)) return {};
    if (sb_.free_blocks != free_blocks &&
        mend("free-blocks", "superblock", "{} free blocks counted, {} are", sb_.free_blocks.get(),
             free_blocks))
        sb_.free_blocks = static_cast<uint32_t>(free_blocks);
    if (sb_.free_inodes != free_inodes &&
        mend("free-inodes", "superblock", "{} free inodes counted, {} are", sb_.free_inodes.get(),
             free_inodes))
        sb_.free_inodes = static_cast<uint32_t>(free_inodes);
    return {};
}

Result<void> Checker::check_group(uint32_t n, uint64_t& free_blocks, uint64_t& free_inodes) {
    disk::GroupDescriptor& d = descriptors_[n];
    uint32_t free = 0, directories = 0;
    TRY(check_block_map(n, free));
    if (d.free_blocks != free && mend("free-blocks", group_text(n),
                                      "{} free blocks counted, {} are", d.free_blocks.get(), free))
        d.free_blocks = static_cast<uint16_t>(free);
    free_blocks += free;
    TRY(check_inode_map(n, free, directories));
    if (d.free_inodes != free && mend("free-inodes", group_text(n),
                                      "{} free inodes counted, {} are", d.free_inodes.get(), free))
        d.free_inodes = static_cast<uint16_t>(free);
    if (d.used_directories != directories &&
        mend("directories", group_text(n), "{} directories counted, {} are",
             d.used_directories.get(), directories))
        d.used_directories = static_cast<uint16_t>(directories);
    free_inodes += free;
    return {};
}

Result<void> Checker::check_block_map(uint32_t n, uint32_t& free) {
    const GroupNumber group(n);
    const uint64_t start = g_.first_block(group).value();
    Block map = TRY(read(descriptors_[n].block_bitmap));
    uint32_t lost = 0;
    bool mended = false;
    free = 0;
    for (uint32_t bit = 0; bit < g_.blocks_in(group); ++bit) {
        const bool used = test_bit(map, bit);
        lost += used && !claimed_[start + bit];
        if (!used && claimed_[start + bit] &&
            mend("block-marked-free", fmt::format("block {}", start + bit),
                 "in use and marked free")) {
            set_bit(map.data(), bit);
            mended = true;
        }
        free += !test_bit(map, bit);
    }
    if (lost &&
        mend("blocks-lost", group_text(n), "{} blocks are marked used and nobody's", lost)) {
        for (uint32_t bit = 0; bit < g_.blocks_in(group); ++bit)
            if (!claimed_[start + bit]) clear_bit(map.data(), bit);
        free += lost;
        mended = true;
    }
    if (mended) TRY(write(descriptors_[n].block_bitmap, map));
    return {};
}

Result<void> Checker::check_inode_map(uint32_t n, uint32_t& free, uint32_t& directories) {
    Block map = TRY(read(descriptors_[n].inode_bitmap));
    uint32_t lost = 0;
    bool mended = false;
    free = directories = 0;
    const auto in_use = [&](uint32_t bit) {
        const uint32_t number = n * g_.inodes_per_group + bit + 1;
        return inodes_[number].mode != 0 || number < g_.first_inode;
    };
    for (uint32_t bit = 0; bit < g_.inodes_per_group; ++bit) {
        const uint32_t number = n * g_.inodes_per_group + bit + 1;
        const bool used = test_bit(map, bit);
        lost += used && !in_use(bit);
        if (!used && in_use(bit) &&
            mend("inode-marked-free", inode_place_text(number), "in use and marked free")) {
            set_bit(map.data(), bit);
            mended = true;
        }
        free += !test_bit(map, bit);
        directories += mode_to_type(inodes_[number].mode) == FileType::dir;
    }
    if (lost && mend("inodes-lost", group_text(n), "{} inodes are marked used and are not", lost)) {
        for (uint32_t bit = 0; bit < g_.inodes_per_group; ++bit)
            if (!in_use(bit)) clear_bit(map.data(), bit);
        free += lost;
        mended = true;
    }
    if (mended) TRY(write(descriptors_[n].inode_bitmap, map));
    return {};
}

Result<void> Checker::store_descriptors() {
    const uint32_t per = g_.descriptors_per_block();
    for (uint32_t n = 0; n < g_.group_count; n += per) {
        const uint64_t at = g_.descriptor_block(GroupNumber(0), n / per).value();
        Block block = TRY(read(at));
        const uint32_t count = std::min(per, g_.group_count - n);
        std::copy_n(std::as_bytes(std::span(descriptors_)).data() +
                        n * sizeof(disk::GroupDescriptor),
                    count * sizeof(disk::GroupDescriptor), block.data());
        TRY(write(at, block));
    }
    return {};
}

/// Everything else is on the device before the state that vouches for it.
Result<void> Checker::store_superblock() {
    if (!unrepaired_ && !(sb_.state == disk::state_valid)) {
        sb_.state = disk::state_valid;
        changed_ = true;
    }
    if (!changed_) return {};
    TRY(store_descriptors());
    TRY(device_.flush());
    TRY(device_.write(disk::superblock_offset, std::as_bytes(std::span(&sb_, 1))));
    return device_.flush();
}

} // namespace rump::ext2
