// File data of formats whose files are blocks at plain addresses: the defaults of Vnode::read,
// write and seek move bytes between the caller and the device by map(), prepare_write() and
// finish_write(); these are the pieces that a format's own operations may need.
//
// Who sees to zeros:
// - Fresh blocks: Vnode::write's default writes them whole.
// - Behind the end of the file, in its last block: zero_past_end(), called by vfs::setattr when a
//   file has shrunk (other drivers rely on zeros there) and by whoever lets one grow over a gap,
//   before it grows (other drivers may have left anything there): vfs::setattr, vfs::fallocate,
//   Vnode::write.
#pragma once

#include "kernel/sys/vnode.h"

namespace rump::vfs {

/// What one transaction of a write covers at the most: bounds how long a commit waits.
inline constexpr uint64_t write_piece_bytes = 1u << 20;

/// All of `data` over bytes that the file has. False, and nothing is written: it has them not all,
/// or its format wants more done. Locks: shared. Errors: EIO, ENOSPC (of the host), EUCLEAN.
Result<bool> overwrite(Vnode& vnode, uint64_t offset, std::span<const std::byte> data);

/// Zeroes, on the device, the bytes from `size` (the file's size now) to the end of the allocation
/// unit in which it lies (StatVfs::fragment_size), but not beyond `limit`. Nothing to do for holes,
/// opaque extents and mounts without a device. Locks: exclusive. Errors: EIO, EUCLEAN.
Result<void> zero_past_end(Vnode& vnode, uint64_t size, uint64_t limit);

/// Zeroes, on the device, what is allocated of [offset, offset + length), which lies within the
/// file: the edges of a punched hole. Opaque extents are left alone. Locks: exclusive. Errors: EIO,
/// EUCLEAN.
Result<void> zero_allocated(Vnode& vnode, uint64_t offset, uint64_t length);

} // namespace rump::vfs
