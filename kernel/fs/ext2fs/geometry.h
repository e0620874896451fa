// Geometry: what later code may trust of a superblock. "The Second Extended File System",
// "Superblock" and "Block Group Descriptor Structure". Made only by `validate`, after which every
// number that comes from the disk is turned into a typed one here, or refused.
#pragma once

#include "kernel/fs/ext2fs/format.h"
#include "kernel/sys/types.h"

#include "hostshim/result.h"
#include "hostshim/strong.h"

#include <string>

namespace rump::ext2 {

/// A block of the file system. 64 bits wide, for ext4's sake.
struct BlockTag;
using BlockNumber = Strong<BlockTag, uint64_t>;
struct GroupTag;
using GroupNumber = Strong<GroupTag, uint32_t>;

struct BlockRun {
    BlockNumber start{};
    uint32_t count = 0;
    BlockNumber end() const { return start + count; }
};

class Geometry {
public:
    /// EINVAL: no ext2 superblock. EUCLEAN: it contradicts itself or the device, the text names the
    /// field. EOPNOTSUPP: ext3, ext4, or a feature, by name. `device_size` in bytes.
    static FailureOr<Geometry> validate(const disk::Superblock& sb, uint64_t device_size);

    uint32_t block_size = 0; // bytes
    uint32_t block_shift = 0;
    uint32_t blocks_per_group = 0;
    uint32_t inodes_per_group = 0;
    uint32_t inode_size = 0; // bytes
    uint32_t inode_count = 0;
    uint32_t first_inode = 0; // first that is not reserved
    uint32_t first_data_block = 0;
    uint32_t group_count = 0;
    uint32_t descriptor_blocks = 0;
    uint32_t reserved_gdt_blocks = 0;
    uint32_t inode_table_blocks = 0; // per group
    uint32_t new_extra_size = 0;     // bytes beyond 128 that a new inode uses; 0: it cannot
    uint32_t revision = 0;
    uint32_t feature_compat = 0;
    uint32_t feature_incompat = 0;
    uint32_t feature_ro_compat = 0;
    uint32_t backup_groups[2] = {};
    uint32_t dir_prealloc = 0; // blocks
    uint64_t block_count = 0;
    uint64_t max_file_size = 0; // bytes

    /// Names of ro_compat features that we do not know; empty: it may be written.
    std::string unknown_ro_features() const;
    /// Features as dumpe2fs names them.
    std::string feature_names() const;
    bool has_filetype() const { return feature_incompat & disk::incompat::filetype; }
    bool has_dir_index() const { return feature_compat & disk::compat::dir_index; }
    bool has_xattrs() const { return feature_compat & disk::compat::ext_attr; }

    // --- numbers from the disk ------------------------------------------------------------------

    /// Pointers in one indirect block.
    uint32_t pointers() const { return block_size / 4; }
    bool block_in_range(uint64_t raw) const { return raw >= first_data_block && raw < block_count; }
    bool inode_in_range(uint64_t raw) const { return raw >= 1 && raw <= inode_count; }
    /// The root, or one that is not reserved.
    bool inode_usable(uint64_t raw) const {
        return raw == disk::inode_root || (raw >= first_inode && raw <= inode_count);
    }

    // --- places ---------------------------------------------------------------------------------

    uint64_t offset_of(BlockNumber block) const { return block.value() << block_shift; }
    GroupNumber group_of(BlockNumber block) const {
        return GroupNumber(
            static_cast<uint32_t>((block.value() - first_data_block) / blocks_per_group));
    }
    uint32_t bit_of(BlockNumber block) const {
        return static_cast<uint32_t>((block.value() - first_data_block) % blocks_per_group);
    }
    GroupNumber group_of(InodeNumber inode) const {
        return GroupNumber(static_cast<uint32_t>((inode.value() - 1) / inodes_per_group));
    }
    uint32_t bit_of(InodeNumber inode) const {
        return static_cast<uint32_t>((inode.value() - 1) % inodes_per_group);
    }
    BlockNumber first_block(GroupNumber group) const {
        return BlockNumber(first_data_block + uint64_t{group.value()} * blocks_per_group);
    }
    /// The last group may be shorter.
    uint32_t blocks_in(GroupNumber group) const {
        const uint64_t left = block_count - first_block(group).value();
        return left < blocks_per_group ? static_cast<uint32_t>(left) : blocks_per_group;
    }
    bool has_superblock(GroupNumber group) const;
    /// Blocks at the start of a group that hold superblock, descriptors and what is reserved for
    /// them.
    uint32_t head_blocks(GroupNumber group) const {
        return has_superblock(group) ? 1 + descriptor_blocks + reserved_gdt_blocks : 0;
    }
    /// The block that holds descriptor block `index` of the copy in `group`.
    BlockNumber descriptor_block(GroupNumber group, uint32_t index) const {
        return first_block(group) + 1 + index;
    }
    uint32_t descriptors_per_block() const {
        return block_size / static_cast<uint32_t>(sizeof(disk::GroupDescriptor));
    }
};

/// `feature "quota"`, `features "quota", "project"`: of names divided by `", "`, for messages.
std::string feature_phrase(std::string_view names);

} // namespace rump::ext2
