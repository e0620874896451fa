// The checker's state, shared by its parts: what was found, what each inode is, who has which
// block.
#pragma once

#include "kernel/fs/ext2fs/geometry.h"
#include "kernel/fs/ext2fs/inode.h"
#include "kernel/sys/filesystem.h"

#include "hostshim/block_device.h"

#include <fmt/format.h>

#include <vector>

namespace rump::ext2 {

class Checker {
public:
    Checker(host::BlockDevice& device, const disk::Superblock& sb, const Geometry& g,
            CheckReport& report)
        : device_(device), sb_(sb), g_(g), report_(report), claimed_(g.block_count),
          inodes_(size_t{g.inode_count} + 1) {}

    /// EIO. Everything else is a finding.
    Result<void> run();

private:
    using Block = std::vector<std::byte>;

    struct Found {
        uint16_t mode = 0;
        uint16_t links = 0;
        uint32_t names = 0;  // entries that lead here
        uint32_t parent = 0; // of a directory: the one that has its entry
        uint32_t dotdot = 0;
        bool orphan = false;
    };

    // check.cc: groups, inodes and the blocks they claim
    Result<void> read_descriptors();
    void claim_metadata();
    void claim(uint64_t block, std::string_view whose, bool shared = false);
    Result<void> scan_inodes();
    Result<void> scan_inode(uint32_t number, std::span<const std::byte> raw);
    Result<void> claim_blocks(const Inode& inode);
    Result<void> claim_tree(const Inode& inode, uint32_t raw, unsigned depth, uint64_t& count,
                            uint64_t first, uint64_t& last_block);
    Result<void> claim_xattrs(const Inode& inode, uint64_t& count);
    Result<void> check_bitmaps();
    Result<void> check_group(uint32_t group, uint64_t& free_blocks, uint64_t& free_inodes);
    Result<void> check_orphans();

    // check_tree.cc: directories and link counts
    Result<void> check_directories();
    Result<void> check_directory(size_t index);
    void check_entries(uint32_t number, uint64_t n, const Block& block,
                       std::vector<std::string>& names);
    void check_links();

    Result<Block> read(uint64_t block);
    template<class... A>
    void wrong(std::string code, std::string place, fmt::format_string<A...> format, A&&... args) {
        add(Finding::Severity::wrong, std::move(code), std::move(place),
            fmt::format(format, std::forward<A>(args)...));
    }
    void add(Finding::Severity severity, std::string code, std::string place, std::string message);
    static std::string inode_place_text(uint32_t number) { return fmt::format("inode {}", number); }
    static std::string group_text(uint32_t number) { return fmt::format("group {}", number); }

    host::BlockDevice& device_;
    const disk::Superblock& sb_;
    const Geometry& g_;
    CheckReport& report_;
    std::vector<disk::GroupDescriptor> descriptors_;
    std::vector<bool> bad_group_;
    std::vector<bool> claimed_;
    std::vector<Found> inodes_;                                                // by number
    std::vector<std::pair<uint32_t, uint32_t>> xattr_blocks_;                  // block, users
    std::vector<std::pair<uint32_t, std::vector<uint32_t>>> directory_blocks_; // inode, blocks
};

} // namespace rump::ext2
