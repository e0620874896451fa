// The radix tree of a file's pages. See pages.h.
#include "kernel/fs/tmpfs/pages.h"

#include "hostshim/assertion.h"

#include <cstring>
#include <new>

namespace rump::tmpfs {

namespace {

std::byte* as_page(void* slot) { return static_cast<std::byte*>(slot); }

} // namespace

std::byte* PageTree::find(uint64_t index) const {
    if (!covers(index)) return nullptr;
    void* slot = root_;
    for (unsigned height = height_; height > 0 && slot != nullptr; --height)
        slot = static_cast<const Table*>(slot)->slots[slot_of(index, height)];
    return as_page(slot);
}

/// Tables that a page at `index`, now a hole, needs beside the ones that are there.
unsigned PageTree::tables_missing(uint64_t index) const {
    unsigned wanted = height_;
    if (root_ == nullptr) wanted = 0;
    while (span(wanted) != 0 && index >= span(wanted)) ++wanted;
    if (root_ == nullptr) return wanted;
    // New roots above the old one, and a path of its own below the topmost.
    if (wanted > height_) return (wanted - height_) + (wanted - 1);
    const void* slot = root_;
    for (unsigned height = height_; height > 0; --height) {
        slot = static_cast<const Table*>(slot)->slots[slot_of(index, height)];
        if (slot == nullptr) return height - 1;
    }
    return 0;
}

Result<std::byte*> PageTree::make(uint64_t index, bool overwritten) {
    if (std::byte* page = find(index)) return page;

    // All that can fail comes first.
    const unsigned missing = tables_missing(index);
    Charge charge = TRY(Charge::take(budget_, page_size + missing * sizeof(Table)));
    std::array<std::unique_ptr<Table>, 24> tables;
    ASSERT(missing <= tables.size());
    for (unsigned i = 0; i < missing; ++i) {
        tables[i].reset(new (std::nothrow) Table);
        if (!tables[i]) return Errno::nomem;
    }
    auto* page = new (std::nothrow) std::byte[page_size];
    if (page == nullptr) return Errno::nomem;
    if (!overwritten) std::memset(page, 0, page_size);

    unsigned next = 0;
    if (root_ == nullptr) {
        height_ = 0;
        while (!covers(index)) ++height_;
    }
    while (!covers(index)) {
        Table* above = tables[next++].release();
        above->slots[0] = root_;
        above->used = 1;
        root_ = above;
        ++height_;
    }
    void** slot = &root_;
    uint32_t* used = nullptr;
    for (unsigned height = height_; height > 0; --height) {
        if (*slot == nullptr) {
            *slot = tables[next++].release();
            if (used != nullptr) ++*used;
        }
        auto* table = static_cast<Table*>(*slot);
        slot = &table->slots[slot_of(index, height)];
        used = &table->used;
    }
    ASSERT(next == missing && *slot == nullptr);
    *slot = page;
    if (used != nullptr) ++*used;
    ++count_;
    charge.keep();
    return page;
}

void PageTree::free_page(void* page) {
    delete[] as_page(page);
    budget_.give(page_size);
    --count_;
}

void PageTree::free_table(Table* table) {
    delete table;
    budget_.give(sizeof(Table));
}

/// `table` of `height` begins at page `base`. True when nothing is left in it.
bool PageTree::erase_under(Table& table, unsigned height, uint64_t base, uint64_t first,
                           uint64_t end) {
    const uint64_t each = span(height - 1);
    // Slots wholly before `first` are passed over; the shift keeps the sum from overflowing.
    size_t at = first > base ? (first - base) >> (fan_bits * (height - 1)) : 0;
    for (; at < fan_out && table.used > 0; ++at) {
        const uint64_t start = base + at * each;
        if (start >= end) break;
        void* child = table.slots[at];
        if (child == nullptr) continue;
        if (height > 1) {
            auto* below = static_cast<Table*>(child);
            if (!erase_under(*below, height - 1, start, first, end)) continue;
            free_table(below);
        } else {
            free_page(child);
        }
        table.slots[at] = nullptr;
        --table.used;
    }
    return table.used == 0;
}

void PageTree::erase(uint64_t first, uint64_t end) {
    if (root_ == nullptr || first >= end || !covers(first)) return;
    if (height_ == 0) {
        free_page(root_);
        root_ = nullptr;
        return;
    }
    auto* top = static_cast<Table*>(root_);
    if (erase_under(*top, height_, 0, first, end)) {
        free_table(top);
        root_ = nullptr;
        height_ = 0;
    }
    // A tree that has only its beginning left is as low as that allows.
    while (height_ > 0) {
        auto* table = static_cast<Table*>(root_);
        if (table->used != 1 || table->slots[0] == nullptr) break;
        root_ = table->slots[0];
        free_table(table);
        --height_;
    }
}

std::optional<uint64_t> PageTree::next_under(const Table& table, unsigned height, uint64_t base,
                                             uint64_t index) {
    size_t at = index > base ? (index - base) >> (fan_bits * (height - 1)) : 0;
    for (; at < fan_out; ++at) {
        const void* child = table.slots[at];
        if (child == nullptr) continue;
        const uint64_t start = base + at * span(height - 1);
        if (height == 1) return start;
        if (auto found = next_under(*static_cast<const Table*>(child), height - 1, start, index))
            return found;
    }
    return std::nullopt;
}

std::optional<uint64_t> PageTree::next_page(uint64_t index) const {
    if (root_ == nullptr || !covers(index)) return std::nullopt;
    if (height_ == 0) return 0;
    return next_under(*static_cast<const Table*>(root_), height_, 0, index);
}

uint64_t PageTree::next_hole(uint64_t index) const {
    while (find(index) != nullptr) ++index;
    return index;
}

} // namespace rump::tmpfs
