// Directory: the entries of one directory. A hash table finds a name, a list in the order of
// cookies serves readdir. Cookies only grow, so a reader that stopped at one continues behind it
// however entries come and go meanwhile.
#pragma once

#include "kernel/fs/tmpfs/budget.h"
#include "kernel/sys/types.h"

#include <memory>
#include <vector>

namespace rump::tmpfs {

/// One name. Allocated with its bytes behind it.
struct Entry {
    uint64_t cookie; // its place in readdir; never used twice in one directory
    InodeNumber number;
    Entry* hash_next;
    uint32_t hash;
    FileType type;
    uint8_t name_length;

    std::string_view name() const {
        return {reinterpret_cast<const char*>(this) + sizeof(Entry), name_length};
    }
};

/// Guarded by the vnode lock of its directory: exclusive for changes, shared to find.
class Directory {
public:
    /// readdir says 0 for "." and 1 for "..".
    static constexpr uint64_t first_cookie = 2;

    Directory(Budget& budget, uint64_t hash_seed, InodeNumber parent)
        : parent(parent), budget_(budget), hash_seed_(hash_seed) {}
    ~Directory() { clear(); }
    Directory(const Directory&) = delete;
    Directory& operator=(const Directory&) = delete;

    InodeNumber parent; // what ".." is

    bool empty() const { return live_ == 0; }
    size_t size() const { return live_; }
    /// Null: no such name. "." and ".." are not entries.
    Entry* find(Name name) const;
    /// `name` is not there. ENOSPC, ENOMEM: nothing has changed.
    Result<void> insert(Name name, InodeNumber number, FileType type);
    /// `entry` is one of ours, and gone afterwards.
    void erase(Entry* entry);
    void clear();

    /// The first entry whose cookie is at least `cookie`; null: the end.
    const Entry* at_or_after(uint64_t cookie) const;
    /// The first one behind `entry`.
    const Entry* after(const Entry& entry) const { return at_or_after(entry.cookie + 1); }
    /// The cookie that the next new entry gets.
    uint64_t end_cookie() const { return next_cookie_; }

private:
    struct Slot {
        uint64_t cookie;
        Entry* entry; // null: removed, waits for compact()
    };

    static uint64_t charge_of(size_t name_length) { return sizeof(Entry) + name_length; }
    uint32_t hash_of(std::string_view name) const;
    size_t position(uint64_t cookie) const;
    void rehash(size_t buckets);
    void compact();
    static void free(Entry* entry);

    Budget& budget_;
    const uint64_t hash_seed_;
    uint64_t next_cookie_ = first_cookie;
    std::vector<Slot> order_; // cookies rise
    size_t live_ = 0;
    std::vector<Entry*> buckets_; // a power of two, or none
};

} // namespace rump::tmpfs
