// Node: a file of the mount, of any type. The mount owns it by number in the node table; the vnode
// that stands for it comes and goes with the vnode cache.
//
//     made (links 0: ESTALE to all who ask) ──publish──> linked ──last name goes──> unlinked
//                                                                  |
//        freed: out of the table, contents given back <──inactive()──┘
//
// A vnode holds a reference, so that one that outlives its file meets an empty node, not freed
// memory.
#pragma once

#include "kernel/fs/tmpfs/directory.h"
#include "kernel/fs/tmpfs/pages.h"
#include "kernel/fs/tmpfs/xattr.h"
#include "kernel/sys/types.h"

#include "hostshim/lock.h"

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace rump::tmpfs {

/// Data of a regular file. Bytes of its pages at and behind `size` are zeros.
struct FileBody {
    explicit FileBody(Budget& budget) : pages(budget) {}
    PageTree pages;
    uint64_t size = 0;
};

struct SymlinkBody {
    std::string target;
};

/// What a new node starts as.
struct NodeInit {
    FileType type = FileType::reg;
    uint32_t mode = 0;
    uint32_t uid = 0;
    uint32_t gid = 0;
    DeviceNumber rdev;
    Timespec now;
    InodeNumber parent{};      // of a directory
    std::string_view target{}; // of a symlink
    uint64_t hash_seed = 0;    // of a directory
};

class Node {
public:
    Node(Budget& budget, InodeNumber number, uint32_t generation, const NodeInit& init);
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;

    // constant
    const InodeNumber number;
    const uint32_t generation;
    const FileType type;
    const DeviceNumber rdev;

    /// Changed under the vnode lock, read without it by unlinked().
    std::atomic<uint32_t> links{0};

    // guarded by the vnode lock
    uint32_t mode;
    uint32_t uid;
    uint32_t gid;
    FileFlags flags = 0;
    Timespec atime, mtime, ctime, btime;
    XattrStore xattrs;

    FileBody& file() { return *std::get_if<FileBody>(&body_); }
    Directory& directory() { return *std::get_if<Directory>(&body_); }
    const std::string& target() const { return std::get_if<SymlinkBody>(&body_)->target; }
    bool is_dir() const { return type == FileType::dir; }

    uint64_t size() const;
    uint64_t blocks() const; // 512-byte units of data
    /// Names, data and attributes go; what is left answers as an empty file without links.
    void drop_contents();

    /// What a node costs beside its contents.
    static uint64_t charge_of(const NodeInit& init) { return sizeof(Node) + init.target.size(); }
    uint64_t charge() const { return sizeof(Node) + (type == FileType::lnk ? target().size() : 0); }

private:
    friend class NodeRef;
    std::atomic<uint32_t> references_{0};
    std::variant<std::monostate, FileBody, Directory, SymlinkBody> body_;
};

/// A counted reference to a node.
class NodeRef {
public:
    NodeRef() = default;
    explicit NodeRef(Node* node) : node_(node) {
        if (node_ != nullptr) node_->references_.fetch_add(1, std::memory_order_relaxed);
    }
    NodeRef(const NodeRef& other) : NodeRef(other.node_) {}
    NodeRef(NodeRef&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
    NodeRef& operator=(NodeRef other) noexcept {
        std::swap(node_, other.node_);
        return *this;
    }
    ~NodeRef() {
        if (node_ != nullptr && node_->references_.fetch_sub(1, std::memory_order_acq_rel) == 1)
            delete node_;
    }
    Node& operator*() const { return *node_; }
    Node* operator->() const { return node_; }
    Node* get() const { return node_; }
    explicit operator bool() const { return node_ != nullptr; }

private:
    Node* node_ = nullptr;
};

/// Nodes by number: open addressing, the place follows from the number. Numbers that are handed out
/// in sequence hardly ever meet.
class NodeMap {
public:
    Node* find(uint64_t key) const;
    /// May throw std::bad_alloc; nothing has changed then. `key` is not in it.
    void insert(uint64_t key, NodeRef node);
    /// Empty: no such key.
    NodeRef take(uint64_t key);
    template<class Visit>
    void each(Visit visit) {
        for (Slot& slot : slots_)
            if (slot.node) visit(*slot.node);
    }

private:
    struct Slot {
        uint64_t key = 0;
        NodeRef node;
    };
    void grow();
    /// Scattered: inode numbers follow each other, and a removal walks to the end of its run.
    size_t place(uint64_t key) const {
        return (key * 0x9e3779b97f4a7c15) >> 32 & (slots_.size() - 1);
    }

    std::vector<Slot> slots_; // a power of two, at most three quarters in use
    size_t used_ = 0;
};

/// Every node of a mount by its number, in shards that are locked one by one. A number is never
/// used again: what names a file that is gone (a handle, a stale cache) can meet no other.
class NodeTable {
public:
    static constexpr uint64_t root_number = 2;

    NodeTable(Budget& budget, uint32_t generation) : budget_(budget), generation_(generation) {}
    ~NodeTable();
    NodeTable(const NodeTable&) = delete;
    NodeTable& operator=(const NodeTable&) = delete;

    /// A node without links, in the shard of `near` (files of one directory stay together; a new
    /// directory goes its own way). ENOSPC, ENOMEM: nothing has changed.
    Result<NodeRef> make(const NodeInit& init, InodeNumber near);
    /// Empty: no such node.
    NodeRef find(InodeNumber number);
    /// Takes the node and all that it holds away, once: nothing happens when it is gone already. It
    /// has no links.
    void free(Node& node);

private:
    static constexpr uint64_t shard_count = 64;
    struct Shard {
        host::Mutex mutex{host::Rank::fs_mount};
        NodeMap nodes GUARDED_BY(mutex); // key: number / shard_count
        uint64_t next GUARDED_BY(mutex) = 0;
    };
    static uint64_t shard_of(InodeNumber number) {
        return (number.value() - root_number) % shard_count;
    }
    static uint64_t key_of(InodeNumber number) {
        return (number.value() - root_number) / shard_count;
    }

    // constant
    Budget& budget_;
    const uint32_t generation_; // differs between mounts, so that no handle outlives its mount

    // self-synchronized
    std::atomic<uint64_t> next_directory_{0};
    std::array<Shard, shard_count> shards_;
};

} // namespace rump::tmpfs
