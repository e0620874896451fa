// Node: a file or directory in core. exFAT has no inodes: what one would hold stands in the first
// two entries of the directory entry set, which a node keeps copies of and a commit brings up to
// date.
#pragma once

#include "kernel/fs/clusters/file.h"
#include "kernel/fs/exfatfs/geometry.h"

#include <vector>

namespace rump::exfatfs {

struct Volume;

inline constexpr uint64_t file_size_max = INT64_MAX;

/// Time stamps of an entry, all three set to `now`.
void stamp_new_entry(disk::FileEntry& entry, Timespec now, int utc_offset_minutes);
/// Tells files apart that had one place one after the other, across mounts.
uint32_t generation_of(const disk::FileEntry& entry);

/// Adds entries to the checksum of a set, in order; the first is the primary one, whose own field
/// does not count (specification, 6.3.3).
class SetChecksum {
public:
    void add(std::span<const std::byte> entry);
    uint16_t value() const { return static_cast<uint16_t>(sum_); }

private:
    unsigned sum_ = 0;
    bool primary_ = true;
};

/// The first two entries of a set.
struct SetHead {
    disk::FileEntry file{};
    disk::StreamEntry stream{};
};

/// Where the entries of a set are on the device: it may cross from one cluster to another.
struct SetPart {
    uint64_t position; // bytes
    uint32_t entries;
};
using SetPlace = std::vector<SetPart>;

class Node final : public clusters::ClusterFile {
public:
    /// `place` is empty for the root, whose `head` is made up.
    Node(Volume& volume, InodeNumber number, SetPlace place, const SetHead& head);

    Volume& volume() const { return volume_; }
    Attr attr() override;
    uint16_t attributes() override;
    /// As they will be written by the next commit.
    SetHead head();
    /// The set is at another place. Within a transaction, which undoes it when it fails.
    void move_to(Transaction& tx, SetPlace place);
    /// The offset in this directory of a place on the device. ESTALE: not in it; EIO, EUCLEAN.
    Result<uint64_t> directory_offset(uint64_t position);

private:
    uint64_t position_locked() const override REQUIRES(mutex_) {
        return root_ ? 0 : place_[0].position;
    }
    void edit(const clusters::EntryChange& change) override REQUIRES(mutex_);
    Result<void> store(Transaction& tx) override REQUIRES(mutex_);
    void update_head() REQUIRES(mutex_);

    Volume& volume_;
    SetPlace place_ GUARDED_BY(mutex_);
    SetHead head_ GUARDED_BY(mutex_);
};

} // namespace rump::exfatfs
