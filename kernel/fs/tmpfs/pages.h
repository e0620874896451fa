// PageTree: the data of a regular file, page by page. A radix tree whose height grows with the last
// page, so that a small file is one page and no table, and a page far out in a sparse file costs a
// short path. A page that is not there is a hole.
#pragma once

#include "kernel/fs/tmpfs/budget.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

namespace rump::tmpfs {

inline constexpr uint64_t page_size = 4096;

/// Guarded by the vnode lock of its file: exclusive for changes, shared to find.
class PageTree {
public:
    explicit PageTree(Budget& budget) : budget_(budget) {}
    ~PageTree() { clear(); }
    PageTree(const PageTree&) = delete;
    PageTree& operator=(const PageTree&) = delete;

    /// The page_size bytes of page `index`; null: a hole.
    std::byte* find(uint64_t index) const;
    /// The same, made when it is a hole. A new page is zeros, or garbage when the caller overwrites
    /// all of it (`overwritten`). ENOSPC, ENOMEM: nothing has changed.
    Result<std::byte*> make(uint64_t index, bool overwritten);
    /// Makes holes of the pages [first, end).
    void erase(uint64_t first, uint64_t end);
    void clear() { erase(0, UINT64_MAX); }

    /// The first page from `index` on; none: only holes follow.
    std::optional<uint64_t> next_page(uint64_t index) const;
    /// The first hole from `index` on.
    uint64_t next_hole(uint64_t index) const;
    uint64_t count() const { return count_; }

private:
    static constexpr unsigned fan_bits = 6;
    static constexpr size_t fan_out = size_t{1} << fan_bits;
    /// Height 0 is a page, so that a table of height 1 points to pages.
    struct Table {
        std::array<void*, fan_out> slots{};
        uint32_t used = 0;
    };

    static uint64_t span(unsigned height) { // pages under a slot's subtree; 0 stands for 2^64
        return fan_bits * height >= 64 ? 0 : uint64_t{1} << (fan_bits * height);
    }
    static size_t slot_of(uint64_t index, unsigned height) {
        return index >> (fan_bits * (height - 1)) & (fan_out - 1);
    }
    bool covers(uint64_t index) const { return span(height_) == 0 || index < span(height_); }
    unsigned tables_missing(uint64_t index) const;
    void free_page(void* page);
    void free_table(Table* table);
    bool erase_under(Table& table, unsigned height, uint64_t base, uint64_t first, uint64_t end);
    static std::optional<uint64_t> next_under(const Table& table, unsigned height, uint64_t base,
                                              uint64_t index);

    Budget& budget_;
    void* root_ = nullptr; // a page (height 0) or a table
    unsigned height_ = 0;
    uint64_t count_ = 0;
};

} // namespace rump::tmpfs
