// Checking FFS in the five phases of fsck_ffs(8): blocks and sizes, pathnames,
// connectivity, reference counts, cylinder groups. Independent of the code that
// writes: it reads the device itself and builds its own picture of what is
// used.
//
// Repairs (-y) as fsck_ffs -y does: what a crash leaves (maps and counts that are
// behind, link counts, inodes without a name, the two names of a rename that was
// cut short, the clean flag), and damage: an inode that makes no sense is cleared,
// and so are all that share a block or have one outside of the data; names of what
// is not there go; what is left of a directory is kept; what loses its name gets
// one in /lost+found; a group whose header is wrong is made anew.
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

/// The superblock that a check goes by.
struct CheckedSuperblock {
    FoundSuperblock found;
    std::vector<std::string> wrong_fields; // which others imply, and which have been put right
    /// Why the first one cannot be used, and what is used instead; empty: it is used.
    std::string replaced;
};

/// What phase 1 learns of an inode.
struct CheckedInode {
    /// bad: has blocks that are not its own, and goes.
    enum class State : uint8_t { free, file, dir, bad };
    State state = State::free;
    uint8_t type = 0;     // DT_*
    uint16_t nlink = 0;   // as it says
    uint32_t refs = 0;    // names found
    uint32_t parent = 0;  // directories: the one that names it
    uint32_t dotdot = 0;  // directories: what ".." says; 0: nothing that is there
    bool reached = false; // directories: from the root
};

/// What is known of each inode. Those that were never written take no memory: a large file system
/// has some hundred millions.
class InodeTable {
public:
    explicit InodeTable(const Geometry& geo) : per_group_(geo.ipg), groups_(geo.ncg) {}

    /// The first `count` of group `cg` are there.
    void add(uint32_t cg, uint32_t count) { groups_[cg].resize(count); }
    uint32_t written(uint32_t cg) const { return static_cast<uint32_t>(groups_[cg].size()); }
    /// One that is there.
    CheckedInode& operator[](uint64_t number) {
        auto& group = groups_[number / per_group_];
        ASSERT(number % per_group_ < group.size());
        return group[number % per_group_];
    }
    /// Any number of the file system's; free where there is none.
    const CheckedInode& known(uint64_t number) const {
        static constexpr CheckedInode none;
        const auto& group = groups_[number / per_group_];
        return number % per_group_ < group.size() ? group[number % per_group_] : none;
    }

    /// The numbers of those that are there, from the root's on, in order.
    class Numbers {
    public:
        explicit Numbers(const InodeTable& table) : table_(table) {}
        struct End {};
        class Iterator {
        public:
            explicit Iterator(const InodeTable& table) : table_(table) { skip(); }
            uint64_t operator*() const { return uint64_t{cg_} * table_.per_group_ + index_; }
            Iterator& operator++() {
                ++index_;
                skip();
                return *this;
            }
            bool operator!=(End) const { return cg_ < table_.groups_.size(); }

        private:
            void skip() {
                while (cg_ < table_.groups_.size() && index_ >= table_.groups_[cg_].size()) {
                    ++cg_;
                    index_ = 0;
                }
            }
            const InodeTable& table_;
            size_t cg_ = 0, index_ = disk::root_inode;
        };
        Iterator begin() const { return Iterator(table_); }
        End end() const { return {}; }

    private:
        const InodeTable& table_;
    };
    Numbers numbers() const { return Numbers(*this); }

private:
    const uint32_t per_group_;
    std::vector<std::vector<CheckedInode>> groups_;
};

class Checker {
public:
    Checker(host::BlockDevice& device, const Geometry& geo, const CheckedSuperblock& superblock,
            const CheckOptions& options, CheckReport& report);

    /// The inodes that the log lists: in use without a name when the system went down. The next
    /// mount frees them.
    void set_unlinked(std::unordered_set<uint64_t> numbers) { unlinked_ = std::move(numbers); }

    /// The superblock's fields and check hash, and its copies in the groups.
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
    using State = CheckedInode::State;
    /// Adds a finding; `fixable`: it will be repaired in this run. Returns
    /// whether to do so.
    bool found(std::string code, std::string place, std::string message, bool fixable,
               Severity severity = Severity::wrong);
    Result<void> read(uint64_t fragment, std::span<std::byte> out);
    Result<void> write(uint64_t fragment, std::span<const std::byte> bytes);
    Result<void> superblock_copy(uint32_t cg);
    Result<void> write_superblock(uint64_t place);

    // phase 1 (check_inodes.cc)

    /// What a pass over the blocks of an inode is for.
    enum class Pass : uint8_t {
        claim,  // each fragment gets an owner, and is reported when it has one
        owners, // does it hold one of the fragments with several owners?
        recount // which fragments are used by what is left; nothing is reported
    };
    struct Claim {
        uint64_t number;
        const InodeState& state;
        uint64_t sectors = 0;
        unsigned outside = 0, twice = 0; // blocks
        uint64_t hole = UINT64_MAX;      // the first block that is missing
        uint64_t last = UINT64_MAX;      // that is there
        bool stopped() const;
    };
    void reserve_metadata();
    Result<uint32_t> initialised_inodes(uint32_t cg);
    bool plausible(std::span<const std::byte> block, bool& used) const;
    using InodeVisit = FunctionRef<Result<void>(uint64_t number, std::span<const std::byte> raw)>;
    Result<void> each_inode(InodeVisit visit);
    Result<void> inode(uint64_t number, std::span<const std::byte> raw);
    std::string what_is_wrong(uint64_t number, const InodeState& s, std::string& code) const;
    Result<bool> is_lost_root(uint64_t number, const InodeState& s);
    Result<bool> trim(uint64_t number, InodeState& s);
    Result<void> end_at_hole(Claim& c, InodeState& s);
    bool ends_with_hole(const Claim& c, InodeState& s);
    Result<void> partial_inode(uint64_t number, const InodeState& s);
    Result<void> claim_file(Claim& c);
    Result<void> claim_indirect(Claim& c, uint64_t address, unsigned level, uint64_t lbn,
                                uint64_t blocks);
    bool claim(Claim& c, uint64_t address, uint32_t frags);
    Result<void> other_owners();
    bool used(uint64_t fragment) const { return (used_[fragment / 8] >> fragment % 8 & 1) != 0; }
    void use(uint64_t fragment, uint64_t count);
    Result<void> recount_blocks();
    Result<void> nameless(uint64_t number);
    bool is_unlinked(uint64_t number) const {
        return inodes_.known(number).nlink == 0 && unlinked_.contains(number);
    }
    Result<void> clear_inode(uint64_t number);
    bool in_use(uint64_t number) const {
        const State state = inodes_.known(number).state;
        return state == State::file || state == State::dir;
    }

    // phase 2 (check_names.cc)
    Result<void> directory(uint64_t number);
    bool dots(uint64_t number, std::span<std::byte> chunk);
    bool put_dots_back(uint64_t number, std::span<std::byte> chunk);
    bool chunk_entries(uint64_t number, uint64_t at, std::span<std::byte> chunk,
                       std::unordered_set<std::string>& names);
    /// False: the name is to go.
    bool entry(uint64_t dir, const std::string& place, disk::Dirent& raw, uint64_t ino,
               uint8_t type, std::string_view name, uint32_t ordinal);
    Result<uint64_t> address_of(const InodeState& s, uint64_t lbn);
    Result<std::vector<std::byte>> read_directory(uint64_t number);
    bool reaches_root(uint64_t number);
    Result<void> break_loop(uint64_t number);

    // mending (check_reconnect.cc)
    Result<InodeState> load(uint64_t number);
    Result<void> store(uint64_t number, const InodeState& state);
    Result<bool> edit_directory(uint64_t dir, FunctionRef<bool(std::span<std::byte>)> edit);
    Result<bool> add_entry(uint64_t dir, std::string_view name, uint64_t ino);
    Result<bool> add_to_directory(uint64_t dir, std::string_view name, uint64_t ino);
    Result<bool> expand_directory(uint64_t dir);
    Result<bool> remove_entry(uint64_t dir, uint64_t ino);
    Result<bool> set_dotdot(uint64_t number, uint64_t parent);
    Result<void> second_names();
    Result<uint64_t> find_name(uint64_t dir, std::string_view name);
    uint64_t take_free(uint32_t frags);
    Result<bool> make_directory(uint64_t number, uint64_t parent, uint16_t permissions);
    Result<uint64_t> make_lost_found();
    Result<void> make_root();
    Result<bool> reconnect(uint64_t number);

    // phase 5 (check_groups.cc)
    Result<void> group(uint32_t cg);
    void compare_totals();
    std::vector<std::byte> expected_group(uint32_t cg, std::span<const std::byte> is) const;
    std::string wrong_header(const disk::CylinderGroup& is,
                             const disk::CylinderGroup& should) const;
    void fill_maps(uint32_t cg, std::span<std::byte> block) const;
    void fill_clusters(std::span<std::byte> block, const std::vector<bool>& whole) const;
    void fill_cylinders(std::span<std::byte> block, const std::vector<bool>& whole) const;

    host::BlockDevice& device_;
    const Geometry& geo_;
    const CheckedSuperblock superblock_;
    disk::Superblock sb_;
    const CheckOptions& options_;
    CheckReport& report_;
    std::vector<uint8_t> used_; // a bit for each fragment
    InodeTable inodes_;
    Pass pass_ = Pass::claim;
    std::unordered_set<uint64_t> twice_; // fragments with several owners
    uint64_t totals_[4] = {};            // ndir, nbfree, nifree, nffree
    // Directories that a second directory names: {inode, the second}.
    std::vector<std::pair<uint64_t, uint64_t>> second_names_;
    uint64_t lost_found_ = 0;
    std::unordered_set<uint64_t> unlinked_;
    bool cleared_ = false; // inodes, whose blocks are free now
    bool unrepaired_ = false;
    bool changed_ = false;
};

} // namespace rump::ffs
