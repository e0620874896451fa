// Checking ext2: the checker's state, shared by its parts. Independent of the code that mounts and
// writes: it reads the device itself and builds its own picture of what is used.
//
// Repairs (-y) what a crash leaves: removed files that were open, inodes without a name, names
// without an inode, a directory under two names, link counts, indexes of directories, blocks that
// were being added or taken away behind a file's end, maps and counts. What would lose somebody's
// data is reported and left.
#pragma once

#include "kernel/fs/ext2fs/dirblock.h"
#include "kernel/fs/ext2fs/geometry.h"
#include "kernel/fs/ext2fs/inode.h"
#include "kernel/sys/filesystem.h"

#include "hostshim/block_device.h"
#include "hostshim/function_ref.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace rump::ext2 {

class Checker {
public:
    Checker(host::BlockDevice& device, const disk::Superblock& sb, const Geometry& g,
            const CheckOptions& options, CheckReport& report)
        : device_(device), sb_(sb), g_(g), repair_(options.repair), report_(report),
          claimed_(g.block_count), inodes_(size_t{g.inode_count} + 1) {}

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
    struct DirectoryBlocks {
        uint32_t number;
        bool indexed;
        std::vector<uint32_t> blocks; // by their place in the directory; 0: a hole
    };
    /// What claim_tree learns of one inode's blocks.
    struct Claims {
        const Inode& inode;
        uint64_t limit;     // blocks that the size has room for
        uint64_t count = 0; // with indirect ones
        uint64_t last = 0;  // behind the last one, as blocks of the file
        bool cut = false;   // some were behind the limit and are pointed to no more
    };

    // check.cc: groups, inodes and the blocks they claim
    Result<void> read_descriptors();
    void claim_metadata();
    void claim(uint64_t block, std::string_view whose, bool shared = false);
    Result<void> scan_inodes();
    Result<void> scan_inode(uint32_t number, std::span<const std::byte> raw);
    Result<void> claim_blocks(const Inode& inode);
    /// False: the pointer is to become 0.
    Result<bool> claim_tree(Claims& claims, uint32_t raw, unsigned depth, uint64_t first);
    Result<void> claim_xattrs(const Inode& inode, uint64_t& count);
    Result<void> check_attribute_blocks();
    Result<void> check_orphans();
    Result<uint32_t> check_orphan(uint32_t number);

    // check_groups.cc: maps and counts, the superblock
    Result<void> check_bitmaps();
    Result<void> check_group(uint32_t group, uint64_t& free_blocks, uint64_t& free_inodes);
    Result<void> check_block_map(uint32_t group, uint32_t& free);
    Result<void> check_inode_map(uint32_t group, uint32_t& free, uint32_t& directories);
    Result<void> store_descriptors();
    Result<void> store_superblock();

    // check_tree.cc: directories and link counts
    Result<void> check_directories();
    Result<void> check_directory(const DirectoryBlocks& dir);
    /// What is wrong with an entry; true: it is to go.
    bool check_entry(uint32_t number, uint64_t n, const EntryView& e);
    void check_entries(uint32_t number, uint64_t n, Block& block, std::vector<std::string>& names);
    Result<void> check_parents();
    Result<void> check_links();

    // check_index.cc: hash trees of directories
    Result<void> check_index(const DirectoryBlocks& dir);

    // check_reconnect.cc: what has no name gets one
    /// False: it cannot be.
    Result<bool> reconnect(uint32_t number);
    Result<bool> find_lost_found();
    Result<bool> make_lost_found();
    Result<bool> add_entry(uint32_t directory, std::string_view name, uint32_t number);
    Result<void> set_dotdot(uint32_t directory, uint32_t parent);
    DirectoryBlocks* blocks_of(uint32_t directory);

    Result<Block> read(uint64_t block);
    Result<void> write(uint64_t block, std::span<const std::byte> bytes);
    /// Changes an inode where it stands.
    Result<void> change_inode(uint32_t number, FunctionRef<void(disk::Inode&)> change);
    /// A finding that this run cannot repair.
    template<class... A>
    void wrong(std::string code, std::string place, fmt::format_string<A...> format, A&&... args) {
        (void)add(Finding::Severity::wrong, std::move(code), std::move(place),
                  fmt::format(format, std::forward<A>(args)...), false);
    }
    /// One that it can; returns whether to do so.
    template<class... A>
    [[nodiscard]] bool mend(std::string code, std::string place, fmt::format_string<A...> format,
                            A&&... args) {
        return add(Finding::Severity::wrong, std::move(code), std::move(place),
                   fmt::format(format, std::forward<A>(args)...), true);
    }
    bool add(Finding::Severity severity, std::string code, std::string place, std::string message,
             bool fixable);
    /// When the file system was last in use: a checker has no clock.
    uint32_t now() const { return std::max<uint32_t>(1, sb_.write_time); }
    static std::string inode_place_text(uint32_t number) { return fmt::format("inode {}", number); }
    static std::string group_text(uint32_t number) { return fmt::format("group {}", number); }

    host::BlockDevice& device_;
    disk::Superblock sb_;
    const Geometry& g_;
    const bool repair_;
    CheckReport& report_;
    bool unrepaired_ = false;
    bool changed_ = false;
    std::vector<disk::GroupDescriptor> descriptors_;
    std::vector<bool> bad_group_;
    std::vector<bool> claimed_;
    std::vector<Found> inodes_;                               // by number
    std::vector<std::pair<uint32_t, uint32_t>> xattr_blocks_; // block, users
    std::vector<DirectoryBlocks> directories_;
    uint32_t lost_found_ = 0;
};

} // namespace rump::ext2
