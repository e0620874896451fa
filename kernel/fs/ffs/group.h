// A cylinder group's block, looked at through its maps (struct cg of fs(5)):
// which fragments, blocks and inodes are free, and the counts that must agree
// with them.
#pragma once

#include "kernel/fs/ffs/geometry.h"

#include <array>
#include <span>

namespace rump::ffs {

/// Where the maps of a group's block are, range-checked.
struct GroupMaps {
    uint32_t inodes = 0;       // byte offset of the inode bitmap
    uint32_t frags = 0;        // of the fragment bitmap
    uint32_t cluster_sums = 0; // 0: none
    uint32_t clusters = 0;
    uint32_t cylinder_totals = 0, cylinder_blocks = 0; // old_tables() only
    uint32_t frag_count = 0;                           // fragments of this group
    uint32_t cluster_count = 0;
};

/// EUCLEAN with the field in `wrong`: the header contradicts the geometry.
/// Hash: see group_hash_ok.
Result<GroupMaps> check_group(const Geometry& geo, uint32_t cg, std::span<const std::byte> block,
                              std::string_view& wrong);
bool group_hash_ok(const Geometry& geo, std::span<const std::byte> block);
void set_group_hash(const Geometry& geo, std::span<std::byte> block);

/// Run lengths within one block's bits.
class FragTable {
public:
    explicit FragTable(uint32_t frag);
    uint32_t full() const { return full_; }
    /// Bit k is set when `bits` (1: free) has a run of exactly k, k < frag.
    uint32_t runs(uint32_t bits) const { return runs_[bits & 0xff]; }
    /// Where the first run of exactly `length` starts.
    static uint32_t find(uint32_t bits, uint32_t frag, uint32_t length);

private:
    uint32_t full_;
    std::array<uint8_t, 256> runs_{};
};

/// Reading and changing one group's maps and counts. The bytes belong to the
/// caller's buffer.
class Group {
public:
    Group(const Geometry& geo, const FragTable& table, std::span<std::byte> block,
          const GroupMaps& maps)
        : geo_(geo), table_(table), block_(block), maps_(maps) {}

    disk::CylinderGroup& header() const {
        return *reinterpret_cast<disk::CylinderGroup*>(block_.data());
    }
    const GroupMaps& maps() const { return maps_; }
    uint32_t blocks() const { return maps_.frag_count >> geo_.fragshift; }

    bool frag_free(uint32_t f) const { return bit(maps_.frags, f); }
    /// The bits of block `b`, 1: free.
    uint32_t block_bits(uint32_t b) const {
        const uint32_t first = b << geo_.fragshift;
        return (byte(maps_.frags + first / 8) >> first % 8) & table_.full();
    }
    bool block_free(uint32_t b) const { return block_bits(b) == table_.full(); }
    bool inode_used(uint32_t i) const { return bit(maps_.inodes, i); }

    /// Takes a whole free block / part of one, or gives it back; keeps frsum,
    /// cluster sums and the old tables, and this group's counts.
    void take_block(uint32_t b);
    void give_block(uint32_t b);
    /// Within one block. Returns how the number of whole free blocks changed (-1,
    /// 0, 1).
    int take_frags(uint32_t f, uint32_t count);
    int give_frags(uint32_t f, uint32_t count);
    void set_inode(uint32_t i, bool used, bool dir);

    uint32_t count(const raw32& field) const { return geo_.order.get(field); }
    void set(raw32& field, uint32_t v) const { geo_.order.set(field, v); }

private:
    uint8_t byte(uint32_t at) const { return static_cast<uint8_t>(block_[at]); }
    bool bit(uint32_t map, uint32_t i) const { return (byte(map + i / 8) >> i % 8 & 1) != 0; }
    void put_bit(uint32_t map, uint32_t i, bool on) {
        const auto mask = static_cast<std::byte>(1 << i % 8);
        std::byte& b = block_[map + i / 8];
        b = on ? b | mask : b & ~mask;
    }
    void add(raw32& field, int32_t n) const {
        geo_.order.set(field, geo_.order.get(field) + static_cast<uint32_t>(n));
    }
    void count_runs(uint32_t bits, int32_t n);
    void count_cluster(uint32_t b, int32_t n);
    void count_cylinder(uint32_t b, int32_t n);

    const Geometry& geo_;
    const FragTable& table_;
    std::span<std::byte> block_;
    const GroupMaps& maps_;
};

} // namespace rump::ffs
