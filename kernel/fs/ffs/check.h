// Checking FFS in the five phases of fsck_ffs(8): blocks and sizes, pathnames,
// connectivity, reference counts, cylinder groups. Independent of the code that
// writes: it reads the device itself and builds its own picture of what is
// used.
//
// Repairs (-y) what a crash leaves: maps and counts that are behind, link
// counts, inodes without a name, the two names of a rename that was cut short,
// the clean flag. What would lose somebody's data is reported and left.
#pragma once

#include "kernel/fs/ffs/geometry.h"
#include "kernel/fs/ffs/inode.h"

#include "kernel/sys/filesystem.h"

#include "hostshim/function_ref.h"

#include <span>
#include <string>
#include <unordered_set>
#include <vector>

namespace rump::ffs {

FailureOr<CheckReport> check_volume(host::BlockDevice& device, const CheckOptions& options,
                                    host::Log& log);

/// What phase 1 learns of an inode.
struct CheckedInode {
    enum class State : uint8_t { free, file, dir, bad };
    State state = State::free;
    uint8_t type = 0;     // DT_*
    uint16_t nlink = 0;   // as it says
    uint32_t refs = 0;    // names found
    uint32_t parent = 0;  // directories: the one that names it
    uint32_t dotdot = 0;  // directories: what ".." says; 0: nothing that is there
    bool reached = false; // directories: from the root
    bool cleared = false; // by this run
};

class Checker {
public:
    Checker(host::BlockDevice& device, const Geometry& geo, const disk::Superblock& sb,
            const CheckOptions& options, CheckReport& report);

    /// The inodes that the log lists: in use without a name when the system went down. The next
    /// mount frees them.
    void set_unlinked(std::unordered_set<uint64_t> numbers) { unlinked_ = std::move(numbers); }

    /// The superblock's check hash, and its copy in the last group.
    Result<void> superblocks();
    Result<void> blocks_and_sizes();
    Result<void> pathnames();
    Result<void> connectivity();
    Result<void> reference_counts();
    Result<void> cylinder_groups();
    /// The superblock's totals and the clean flag.
    Result<void> finish();

private:
    using Severity = Finding::Severity;
    /// Adds a finding; `fixable`: it will be repaired in this run. Returns
    /// whether to do so.
    bool found(std::string code, std::string place, std::string message, bool fixable,
               Severity severity = Severity::wrong);
    Result<void> read(uint64_t fragment, std::span<std::byte> out);
    Result<void> write(uint64_t fragment, std::span<const std::byte> bytes);

    // phase 1 (check_inodes.cc)
    Result<void> group_inodes(uint32_t cg, uint32_t count);
    Result<void> inode(uint64_t number, std::span<const std::byte> raw);
    Result<void> partial_inode(uint64_t number, const InodeState& s);
    Result<bool> claim_file(uint64_t number, std::span<const std::byte> raw, uint64_t& sectors);
    Result<bool> claim_indirect(uint64_t number, uint64_t address, unsigned level, uint64_t blocks,
                                uint64_t& sectors);
    bool claim(uint64_t number, uint64_t address, uint32_t frags);
    bool used(uint64_t fragment) const { return (used_[fragment / 8] >> fragment % 8 & 1) != 0; }
    Result<void> nameless(uint64_t number);
    bool is_unlinked(uint64_t number) const {
        return inodes_[number].nlink == 0 && unlinked_.contains(number);
    }
    Result<void> clear_inode(uint64_t number);
    Result<void> set_links(uint64_t number, uint16_t nlink);

    // phase 2 (check_names.cc)
    Result<void> directory(uint64_t number);
    void entry(uint64_t dir, uint64_t offset, uint64_t ino, uint8_t type, std::string_view name,
               uint32_t ordinal);
    Result<uint64_t> address_of(const InodeState& s, uint64_t lbn);
    Result<std::vector<std::byte>> read_directory(uint64_t number);
    bool reaches_root(uint64_t number);

    // mending (check_reconnect.cc)
    Result<InodeState> load(uint64_t number);
    Result<void> store(uint64_t number, const InodeState& state);
    Result<bool> edit_directory(uint64_t dir, FunctionRef<bool(std::span<std::byte>)> edit);
    Result<bool> add_entry(uint64_t dir, std::string_view name, uint64_t ino);
    Result<bool> remove_entry(uint64_t dir, uint64_t ino);
    Result<bool> set_dotdot(uint64_t number, uint64_t parent);
    Result<void> second_names();
    Result<uint64_t> find_name(uint64_t dir, std::string_view name);
    Result<uint64_t> make_lost_found();
    /// Gives an inode a name in /lost+found; false when that cannot be.
    Result<bool> reconnect(uint64_t number);

    // phase 5 (check_groups.cc)
    Result<void> group(uint32_t cg);
    void compare_totals();
    void rebuild_group(uint32_t cg, std::span<std::byte> block) const;

    host::BlockDevice& device_;
    const Geometry& geo_;
    disk::Superblock sb_;
    const CheckOptions& options_;
    CheckReport& report_;
    std::vector<uint8_t> used_; // a bit for each fragment
    std::vector<CheckedInode> inodes_;
    uint64_t claimed_ = 0;
    uint64_t totals_[4] = {};              // ndir, nbfree, nifree, nffree
    bool totals_known_ = true;             // of all groups
    std::vector<uint32_t> written_inodes_; // of each group: those that were ever initialised
    // Directories that a second directory names: {inode, the second}.
    std::vector<std::pair<uint64_t, uint64_t>> second_names_;
    uint64_t lost_found_ = 0;
    std::unordered_set<uint64_t> unlinked_;
    bool unrepaired_ = false;
    bool changed_ = false;
};

} // namespace rump::ffs
