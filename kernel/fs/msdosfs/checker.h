// What the parts of the check share: the table in memory, who owns which cluster, findings.
#pragma once

#include "kernel/fs/clusters/checker.h"
#include "kernel/fs/msdosfs/geometry.h"
#include "kernel/fs/msdosfs/names.h"

#include <fmt/format.h>

#include <optional>
#include <string>
#include <vector>

namespace rump::msdosfs {

class Checker final : public clusters::Checker {
public:
    Checker(host::BlockDevice& device, Geometry geometry, bool repair)
        : clusters::Checker(device, geometry.cluster_count, repair),
          geometry_(std::move(geometry)) {}

private:
    /// A directory that is being read: its bytes, and where each part of them is on the device.
    struct Open {
        std::string path;
        std::vector<std::byte> bytes;
        std::vector<uint64_t> parts; // device offsets, `part_size` bytes each
        uint64_t part_size = 0;
        uint32_t cluster = 0; // first; 0: a root
        uint32_t parent = 0;
        bool root = false;
    };
    /// What a walk along a chain found.
    struct Walk {
        std::vector<uint32_t> clusters; // owned by this file now
        const char* broken = nullptr;   // why it does not end as it should
    };
    /// A chain that is to end behind its first `keep` clusters; the others that it had are free.
    struct Cut {
        std::vector<uint32_t> clusters;
        size_t keep;
    };
    /// A directory that is to be read. Its clusters are taken when its entry is met, so that a
    /// second entry for them is known as such.
    struct Pending {
        std::string path;
        Walk chain;
        uint32_t parent;
    };

    struct LongName {
        NameUnits units;
        size_t pieces = 0; // slots before the entry; 0: there is none
    };

    // checker.cc
    Result<void> check_all() override;
    Result<void> load_table();
    Result<void> compare_copies();
    Result<void> check_marks();
    Result<void> clear_mark(uint8_t state, uint32_t bit16, uint32_t bit32);
    Result<void> check_lost();
    Result<void> check_fsinfo();
    Result<void> check_backup();
    Result<void> store_table();
    Walk walk(uint32_t first, uint64_t most);
    void cut(const Cut& where);
    uint32_t end_mark() const;
    std::vector<std::byte> encode_table() const;

    // check_tree.cc
    Result<void> check_tree();
    Result<Open> open_root();
    Result<Open> open_directory(const Pending& pending);
    Walk walk_directory(const std::string& path, uint32_t first);
    Result<void> check_directory(Open& dir);
    Result<void> check_dots(Open& dir);
    Result<void> check_label(Open& dir, size_t slot);
    Result<void> check_entry(Open& dir, size_t slot, const std::string& path);
    Result<void> check_file(Open& dir, size_t slot, const std::string& path);
    LongName long_name_of(Open& dir, size_t slot);
    void check_name(Open& dir, size_t slot, const LongName& long_name);
    std::optional<ShortName> free_short_name(std::u16string_view name) const;
    Result<bool> rename_twin(Open& dir, size_t slot, std::u16string_view folded);
    Result<void> drop_orphans(Open& dir, size_t from, size_t to);
    Result<void> drop_entry(Open& dir, size_t slot);
    Result<bool> copy_file(Open& dir, size_t slot);
    Result<void> write_slot(Open& dir, size_t slot);
    disk::DirEntry& entry_at(Open& dir, size_t slot) {
        return *reinterpret_cast<disk::DirEntry*>(dir.bytes.data() + slot * disk::dirent_size);
    }

    const Geometry geometry_;
    const NameRules rules_{};
    std::vector<uint32_t> table_;  // by cluster number
    std::vector<Pending> pending_; // directories to be looked at
    /// Done when all names are known: a second one for the same chain may be for a longer file.
    std::vector<Cut> cuts_;
    bool table_changed_ = false;
};

} // namespace rump::msdosfs
