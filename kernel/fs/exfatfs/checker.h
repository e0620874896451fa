// What the parts of the check share: who owns which cluster, the bitmap in memory, findings.
#pragma once

#include "kernel/fs/clusters/checker.h"
#include "kernel/fs/exfatfs/geometry.h"
#include "kernel/fs/exfatfs/names.h"

#include <fmt/format.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace rump::exfatfs {

class Checker final : public clusters::Checker {
public:
    Checker(host::BlockDevice& device, const Geometry& geometry, bool repair)
        : clusters::Checker(device, geometry.cluster_count, repair), geometry_(geometry) {}

private:
    /// What a walk along a file's clusters found.
    struct Walk {
        std::vector<uint32_t> clusters; // owned by this file now
        const char* broken = nullptr;   // why it does not end as it should
        bool goes_on = false;           // the chain has more clusters than were asked for
    };
    /// Where the clusters of something are said to be.
    struct Claim {
        uint32_t first = 0;
        uint32_t clusters = 0; // for chains: as many at the most
        bool no_chain = false;
    };
    /// A directory that is to be read, or is: its clusters are its own already.
    struct Open {
        std::string path; // "" is the root
        std::vector<uint32_t> clusters;
        std::vector<std::byte> bytes;
        bool root = false;
    };

    // checker.cc
    Result<void> check_all() override;
    Result<void> check_boot_regions();
    Result<void> check_dirty();
    Result<void> load_bitmap(const disk::BitmapEntry& entry);
    Result<void> load_upcase(const disk::UpcaseEntry& entry);
    Result<void> check_bitmap();
    Result<uint32_t> fat_entry(uint32_t cluster);
    Result<void> set_fat_entry(uint32_t cluster, uint32_t value);
    Result<Walk> walk(const Claim& claim);
    void end_chain(const Walk& walk);
    Result<void> end_chains();
    Result<std::vector<std::byte>> read_clusters(const std::vector<uint32_t>& clusters);
    Result<void> write_cluster_bytes(const std::vector<uint32_t>& clusters, uint64_t offset,
                                     std::span<const std::byte> bytes);
    bool marked(uint32_t cluster) const;

    // check_tree.cc
    Result<void> check_root();
    Result<void> check_tree();
    Result<void> check_directory(Open& dir);
    Result<size_t> check_set(Open& dir, size_t slot);
    const char* examine_set(const Open& dir, size_t slot, NameUnits& name) const;
    Result<void> check_file(Open& dir, size_t slot, const std::string& path);
    Result<bool> copy_file(Open& dir, size_t slot);
    Result<size_t> check_benign(const Open& dir, size_t slot);
    Result<void> check_extra(const std::string& place, const Claim& claim);
    Result<void> check_extras(const Open& dir, size_t slot, const std::string& path);
    Result<void> drop_slots(Open& dir, size_t first, size_t count);
    Result<void> store_set(Open& dir, size_t slot);
    Result<void> write_slot(const Open& dir, size_t slot);
    void check_name(const NameUnits& name, const std::string& path, size_t slot);
    Result<bool> rename_twin(Open& dir, size_t slot, std::u16string_view folded);
    template<class T>
    T& entry_at(Open& dir, size_t slot) const {
        return *reinterpret_cast<T*>(dir.bytes.data() + slot * disk::entry_size);
    }
    template<class T>
    const T& entry_at(const Open& dir, size_t slot) const {
        return *reinterpret_cast<const T*>(dir.bytes.data() + slot * disk::entry_size);
    }

    const Geometry geometry_;
    vfs::UpcaseTable upcase_;
    std::vector<uint32_t> bitmap_clusters_;
    std::vector<std::byte> bitmap_;
    bool bitmap_changed_ = false;
    std::vector<Open> pending_; // directories to be looked at
    /// The last clusters of chains that are to end. Done when all names are known: a second one for
    /// the same chain may be for a longer file.
    std::vector<uint32_t> ends_;
    std::vector<std::byte> fat_piece_; // of the table, for fat_entry()
    uint64_t fat_piece_at_ = 0;
};

} // namespace rump::exfatfs
