// A mount with nothing but a device, for tests of what stands under file systems: buffers,
// transactions, commits, vnodes. Its vnodes have no contents; tests say which are unlinked.
#pragma once

#include "hostshim/memory_device.h"
#include "kernel/kern/kernel.h"
#include "kernel/sys/filesystem.h"
#include "kernel/vfs/buffer_cache.h"
#include "kernel/vfs/epoch.h"
#include "kernel/vfs/name_cache.h"
#include "kernel/vfs/vnode_cache.h"

#include <atomic>
#include <functional>
#include <set>

namespace rump::test {

class BlockMount final : public Mount {
public:
    class Node final : public Vnode {
    public:
        Node(BlockMount& mount, InodeNumber number, uint32_t generation)
            : Vnode(mount, number, generation, FileType::reg), owner_(mount) {
            owner_.alive.fetch_add(1);
        }
        ~Node() override { owner_.alive.fetch_sub(1); }
        Result<Attr> getattr() override { return Attr{}; }
        bool unlinked() const override { return gone.load(); }
        bool dirty() const override { return is_dirty.load(); }
        Result<void> inactive() override {
            owner_.inactivated.fetch_add(1);
            return {};
        }
        std::atomic<bool> gone{false};
        std::atomic<bool> is_dirty{false};

    private:
        BlockMount& owner_;
    };

    BlockMount(Kernel& kernel, const FileSystemType& type, MountArgs args)
        : Mount(kernel, type, std::move(args), {}) {}
    ~BlockMount() override { vnodes().drop_inactive(true); } // they count in what goes first
    InodeNumber root_number() const override { return InodeNumber(1); }
    Result<StatVfs> statvfs() override { return StatVfs{}; }

    std::function<Result<void>(Transaction&)> on_collect;
    std::function<void(Transaction&)> on_committed;
    std::function<void(InodeNumber)> on_load;
    std::atomic<int> alive{0};
    std::atomic<int> inactivated{0};

protected:
    Result<std::unique_ptr<Vnode>> load(InodeNumber number) override {
        if (number.value() >= 1'000'000) return Errno::stale;
        if (on_load) on_load(number);
        return std::unique_ptr<Vnode>(new Node(*this, number, 7));
    }
    Result<void> epoch_collect(Transaction& tx) override {
        return on_collect ? on_collect(tx) : Result<void>();
    }
    void epoch_committed(Transaction& tx) override {
        if (on_committed) on_committed(tx);
    }
};

class BlockType final : public FileSystemType {
public:
    std::string_view name() const override { return "blockfs"; }
    std::string_view description() const override { return "a device and nothing else"; }
    FailureOr<std::unique_ptr<Mount>> mount(Kernel& kernel, MountArgs args) const override {
        return std::unique_ptr<Mount>(new BlockMount(kernel, *this, std::move(args)));
    }
};

/// A kernel with one such mount over `device`.
struct BlockWorld {
    explicit BlockWorld(std::unique_ptr<host::BlockDevice> device, MountOptions options = {}) {
        auto mounted = kernel.mount(type, {std::move(device), std::move(options)});
        mount = static_cast<BlockMount*>(mounted.value());
    }
    BlockType type;
    Kernel kernel;
    BlockMount* mount;
};

} // namespace rump::test
