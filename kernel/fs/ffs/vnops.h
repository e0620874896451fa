// FfsVnode: the operation table of FFS. Names and entries are in lookup.cc,
// rename in rename.cc, everything else in vnops.cc.
#pragma once

#include "kernel/fs/ffs/inode.h"

#include "kernel/sys/vnode.h"

#include <memory>

namespace rump::ffs {

class FfsMount;

class FfsVnode final : public Vnode {
public:
    FfsVnode(FfsMount& mount, uint64_t number, const InodeState& state);

    Result<VnodeRef> lookup(Name name) override;
    Result<void> readdir(uint64_t cookie, DirSink sink) override;
    Result<VnodeRef> create(Name name, const NewNode& node) override;
    Result<VnodeRef> mkdir(Name name, const NewNode& node) override;
    Result<VnodeRef> symlink(Name name, std::string_view target, const NewNode& node) override;
    Result<void> link(Name name, Vnode& target) override;
    Result<void> remove(Name name, Vnode& victim) override;
    Result<void> rmdir(Name name, Vnode& victim) override;
    Result<void> rename(const RenameArgs& args) override;

    Result<Attr> getattr() override;
    Result<void> setattr(const AttrChange& change) override;
    Result<std::string> readlink() override;
    Result<void> fsync(bool data_only) override;

    Result<size_t> getxattr(std::string_view name, std::span<std::byte> out) override;
    Result<void> setxattr(std::string_view name, std::span<const std::byte> value,
                          XattrSet how) override;
    Result<void> removexattr(std::string_view name) override;
    Result<void> listxattr(XattrSink sink) override;

    Result<size_t> write(uint64_t offset, std::span<const std::byte> data,
                         bool privileged) override;
    Result<void> map(uint64_t offset, uint64_t length, ExtentList& out) override;
    bool overwritable() override { return true; }
    Result<void> prepare_write(Transaction& tx, uint64_t offset, uint64_t length, bool privileged,
                               ExtentList& out) override;
    Result<void> finish_write(Transaction& tx, uint64_t end) override;
    Result<void> allocate(uint64_t offset, uint64_t length, bool keep_size, bool zero,
                          bool privileged) override;
    Result<void> deallocate(uint64_t offset, uint64_t length) override;

    bool unlinked() const override { return gone_.load(std::memory_order_acquire); }
    bool dirty() const override { return inode_.dirty(); }
    Result<void> inactive() override;

    Inode& inode() { return inode_; }
    /// After a change of the link count is done.
    void publish_links();

private:
    Volume& volume() const { return inode_.volume(); }
    Result<VnodeRef> make(Name name, const NewNode& node, std::string_view target);
    Result<VnodeRef> make_once(Name name, const NewNode& node, std::string_view target);
    Result<void> unlink_entry(Name name, FfsVnode& victim);
    Result<void> allocate_part(uint64_t offset, uint64_t length, bool zero, bool privileged,
                               ExtentList& filled);
    Result<void> give_back(const ExtentList& filled, uint64_t size);
    Result<void> punch_in_steps(uint64_t offset, uint64_t length);
    Result<void> zero_new(const ExtentList& before, const ExtentList& now, bool all);
    /// Runs `attempt`; when it fails for lack of space that a commit would make
    /// usable, commits and runs it again.
    template<class F>
    auto with_space(F attempt) -> decltype(attempt()) {
        auto result = attempt();
        for (int round = 0; round < 3 && !result && result.error() == Errno::nospc && make_space();
             ++round)
            result = attempt();
        return result;
    }
    bool make_space();

    std::atomic<bool> gone_; // beside what else is read when a reference goes
    Inode inode_;
};

/// One name of `inode` in `parent` goes; a directory also loses its own two.
void drop_file_link(Transaction& tx, Inode& inode, Inode& parent);
/// Any vnode of an FFS mount is one of these.
inline FfsVnode& ffs_vnode(Vnode& vnode) { return static_cast<FfsVnode&>(vnode); }

} // namespace rump::ffs
