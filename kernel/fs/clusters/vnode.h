// ClusterVnode: the vnode operations that do not depend on what a directory entry looks like: data,
// attributes, the attribute bits of DOS as an extended attribute, and of names what leads to the
// formats' own entries.
#pragma once

#include "kernel/fs/clusters/file.h"
#include "kernel/sys/vnode.h"

namespace rump::clusters {

class ClusterVnode : public Vnode {
public:
    ClusterVnode(Mount& mount, std::shared_ptr<ClusterFile> file, uint32_t generation);
    ClusterFile& file() const { return *file_; }

    Result<VnodeRef> lookup(Name name) override;
    Result<VnodeRef> create(Name name, const NewNode& node) override;
    Result<VnodeRef> mkdir(Name name, const NewNode& node) override;
    Result<VnodeRef> symlink(Name name, std::string_view target, const NewNode& node) override;
    Result<void> link(Name name, Vnode& target) override;
    Result<void> readdir(uint64_t cookie, DirSink sink) override;
    Result<void> remove(Name name, Vnode& victim) override;
    Result<void> rmdir(Name name, Vnode& victim) override;
    Result<void> rename(const RenameArgs& args) override;
    Result<Attr> getattr() override;
    Result<void> setattr(const AttrChange& change) override;
    Result<void> fsync(bool data_only) override;
    Result<size_t> write(uint64_t offset, std::span<const std::byte> data,
                         bool privileged) override;
    Result<void> map(uint64_t offset, uint64_t length, ExtentList& out) override;
    bool overwritable() override { return file_->overwritable(); }
    Result<void> prepare_write(Transaction& tx, uint64_t offset, uint64_t length, bool privileged,
                               ExtentList& out) override;
    Result<void> finish_write(Transaction& tx, uint64_t end) override;
    Result<void> allocate(uint64_t offset, uint64_t length, bool keep_size, bool zero,
                          bool privileged) override;
    bool unlinked() const override { return file_->unlinked(); }
    bool dirty() const override { return file_->dirty(); }
    Result<void> inactive() override;
    /// Names that do not count (Twins) go from the device, but where their directory is damaged. No
    /// vnode is locked. EIO, EROFS.
    static Result<void> drop_hidden(Mount& mount, Space& space);
    // xattr.cc
    Result<size_t> getxattr(std::string_view name, std::span<std::byte> out) override;
    Result<void> setxattr(std::string_view name, std::span<const std::byte> value,
                          XattrSet how) override;
    Result<void> removexattr(std::string_view name) override;
    Result<void> listxattr(XattrSink sink) override;

protected:
    Space& space() const { return file_->space(); }
    Timespec now() const;
    /// The number of an entry that was made just now.
    InodeNumber new_number(Transaction& tx, uint64_t position, bool never_used);

    // --- a directory's entries, as each format has them -----------------------------------------

    struct Listed {
        uint32_t slot = 0;     // a later listing goes on behind it
        uint64_t position = 0; // on the device
        bool directory = false;
        std::string name; // empty: no name that a file can have
    };
    /// The first entry at `slot` or behind it. False: there is none. EIO, EUCLEAN.
    virtual Result<bool> next_listed(uint32_t slot, Listed& out) = 0;
    virtual Result<bool> has_entries() = 0;
    /// The number of the directory that this one's entry lies in. ESTALE, EIO.
    virtual Result<InodeNumber> parent() = 0;
    /// `name`, which is neither "." nor "..". ENOENT, EIO, EUCLEAN.
    virtual Result<VnodeRef> find(Name name) = 0;
    /// Make an entry and its vnode. EAGAIN: after a commit (in_order). EINVAL, ENOSPC, EIO,
    /// EUCLEAN.
    virtual Result<VnodeRef> make_file(Transaction& tx, Name name, bool read_only) = 0;
    virtual Result<VnodeRef> make_directory(Transaction& tx, Name name) = 0;
    /// Erases the entry at `slot`, whatever it is the name of. ENOENT, EIO, EUCLEAN.
    virtual Result<void> erase_slot(Transaction& tx, uint32_t slot) = 0;
    /// Erases the entry `name`, which is that of `victim`. EIO, EUCLEAN.
    virtual Result<void> erase_name(Transaction& tx, Name name, ClusterFile& victim) = 0;
    /// rename to a name that another file has, which is let go, and to one that none has.
    virtual Result<void> replace(Transaction& tx, const RenameArgs& args) = 0;
    virtual Result<void> move(Transaction& tx, const RenameArgs& args) = 0;

private:
    /// The time of change of a directory. Within a transaction.
    void touch();
    Result<VnodeRef> make_entry(FunctionRef<Result<VnodeRef>(Transaction&)> entry);
    Result<void> erase(Name name, Vnode& victim);

    const std::shared_ptr<ClusterFile> file_;
};

} // namespace rump::clusters
