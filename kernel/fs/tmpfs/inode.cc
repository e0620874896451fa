// Nodes and the table that owns them. See inode.h.
#include "kernel/fs/tmpfs/inode.h"

#include "hostshim/assertion.h"

#include <new>

namespace rump::tmpfs {

Node::Node(Budget& budget, InodeNumber number, uint32_t generation, const NodeInit& init)
    : number(number), generation(generation), type(init.type), rdev(init.rdev), mode(init.mode),
      uid(init.uid), gid(init.gid), atime(init.now), mtime(init.now), ctime(init.now),
      btime(init.now), xattrs(budget) {
    switch (type) {
    case FileType::reg:
        body_.emplace<FileBody>(budget);
        break;
    case FileType::dir:
        body_.emplace<Directory>(budget, init.hash_seed, init.parent);
        break;
    case FileType::lnk:
        body_.emplace<SymlinkBody>(SymlinkBody{std::string(init.target)});
        break;
    default:
        break;
    }
}

uint64_t Node::size() const {
    if (const auto* file = std::get_if<FileBody>(&body_)) return file->size;
    if (const auto* link = std::get_if<SymlinkBody>(&body_)) return link->target.size();
    if (const auto* dir = std::get_if<Directory>(&body_)) return dir->size() * sizeof(Entry);
    return 0;
}

uint64_t Node::blocks() const {
    if (const auto* file = std::get_if<FileBody>(&body_))
        return file->pages.count() * (page_size / 512);
    return 0;
}

void Node::drop_contents() {
    if (auto* file = std::get_if<FileBody>(&body_)) {
        file->pages.clear();
        file->size = 0;
    } else if (auto* dir = std::get_if<Directory>(&body_)) {
        dir->clear();
    }
    xattrs.clear();
}

Node* NodeMap::find(uint64_t key) const {
    if (slots_.empty()) return nullptr;
    for (size_t at = place(key); slots_[at].node; at = (at + 1) & (slots_.size() - 1))
        if (slots_[at].key == key) return slots_[at].node.get();
    return nullptr;
}

void NodeMap::insert(uint64_t key, NodeRef node) {
    if ((used_ + 1) * 4 > slots_.size() * 3) grow();
    size_t at = place(key);
    while (slots_[at].node) at = (at + 1) & (slots_.size() - 1);
    slots_[at] = {key, std::move(node)};
    ++used_;
}

NodeRef NodeMap::take(uint64_t key) {
    if (slots_.empty()) return {};
    const size_t mask = slots_.size() - 1;
    size_t at = place(key);
    while (slots_[at].node && slots_[at].key != key) at = (at + 1) & mask;
    NodeRef taken = std::exchange(slots_[at].node, NodeRef());
    if (!taken) return taken;
    --used_;
    // What was pushed behind the gap by it moves up, so that no search ends early.
    for (size_t next = (at + 1) & mask; slots_[next].node; next = (next + 1) & mask) {
        const size_t home = place(slots_[next].key);
        if (((next - home) & mask) < ((next - at) & mask)) continue;
        slots_[at] = std::exchange(slots_[next], Slot{});
        at = next;
    }
    return taken;
}

void NodeMap::grow() {
    std::vector<Slot> old(slots_.empty() ? 8 : slots_.size() * 2);
    old.swap(slots_);
    for (Slot& slot : old) {
        if (!slot.node) continue;
        size_t at = place(slot.key);
        while (slots_[at].node) at = (at + 1) & (slots_.size() - 1);
        slots_[at] = std::move(slot);
    }
}

NodeTable::~NodeTable() {
    // A vnode that is still referenced after an unmount by force keeps its node: emptied here,
    // while the budget exists.
    for (Shard& shard : shards_) {
        host::MutexGuard guard(shard.mutex);
        shard.nodes.each([](Node& node) { node.drop_contents(); });
    }
}

Result<NodeRef> NodeTable::make(const NodeInit& init, InodeNumber near) {
    TRY(budget_.take_node());
    auto charge = Charge::take(budget_, Node::charge_of(init));
    if (!charge.ok()) {
        budget_.give_node();
        return charge.error();
    }
    uint64_t index = shard_of(near);
    if (init.type == FileType::dir)
        index = next_directory_.fetch_add(1, std::memory_order_relaxed) % shard_count;
    Shard& shard = shards_[index];
    try {
        host::MutexGuard guard(shard.mutex);
        const InodeNumber number(root_number + shard.next * shard_count + index);
        NodeRef node(new Node(budget_, number, generation_, init));
        shard.nodes.insert(shard.next, node);
        ++shard.next;
        charge->keep();
        return node;
    } catch (const std::bad_alloc&) {
        budget_.give_node();
        return Errno::nomem;
    }
}

NodeRef NodeTable::find(InodeNumber number) {
    if (number.value() < root_number) return {};
    Shard& shard = shards_[shard_of(number)];
    host::MutexGuard guard(shard.mutex);
    return NodeRef(shard.nodes.find(key_of(number)));
}

void NodeTable::free(Node& node) {
    ASSERT(node.links.load(std::memory_order_relaxed) == 0);
    NodeRef taken;
    {
        Shard& shard = shards_[shard_of(node.number)];
        host::MutexGuard guard(shard.mutex);
        taken = shard.nodes.take(key_of(node.number));
    }
    if (!taken) return;
    ASSERT(taken.get() == &node);
    budget_.give(node.charge());
    budget_.give_node();
    node.drop_contents();
}

} // namespace rump::tmpfs
