// Copy-on-write with the delta in a sparse file.
//
// The base never changes while there is a delta of it, else both are worth nothing. So the header
// knows the base by its size and by a mark of its contents.
//
// The file, little-endian:
//
//     0               header (below), padded to 4096 bytes
//     4096            bitmap: bit n % 8 of byte n / 8 says that chunk n is in the delta; padded to
//     4096 data_offset     chunk n at data_offset + n * chunk_size; absent ones are holes
//
// A chunk is a power of two, at least 4096 bytes, larger only for bases beyond 256 GiB, so that the
// bitmap (which is kept in memory) stays below 8 MiB. The first write to a chunk copies the rest of
// it up from the base. flush() syncs chunks before it writes the bits that name them, and syncs
// those: after a crash every bit names a chunk that is whole, and what was written after the last
// flush may be gone, as on a disk.
#include "hostshim/byte_order.h"
#include "hostshim/device_range.h"
#include "hostshim/file_users.h"
#include "hostshim/host_file.h"
#include "hostshim/lock.h"
#include "hostshim/overlay_device.h"

#include <fmt/format.h>

#include <array>
#include <atomic>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>
#include <vector>

namespace rump::host {
namespace {

struct Header {
    std::array<char, 8> magic; // delta_magic
    le32 version;              // 2
    le32 chunk_size;           // bytes
    le64 base_size;            // bytes
    le64 bitmap_offset;        // 4096
    le64 data_offset;          // behind the bitmap, a multiple of 4096
    le64 base_mark;            // see mark_of()
};
static_assert(sizeof(Header) == 48 && alignof(Header) == 1);

constexpr std::array<char, 8> delta_magic{'R', 'U', 'M', 'P', 'C', 'O', 'W', '\n'};
constexpr uint32_t delta_version = 2;
constexpr uint64_t page = 4096;
constexpr uint64_t chunks_max = uint64_t{1} << 26;
constexpr uint64_t marked_head = 512 << 10; // superblocks of all formats are here
constexpr uint64_t marked_pages = 64;       // evenly over the rest

/// Of the base's contents: its head, and pages here and there. Whoever mounts a base for writing
/// changes its superblock at least. What cannot be read counts as nothing: a delta helps to get
/// files off a failing disk.
uint64_t mark_of(BlockDevice& base) {
    uint64_t mark = 0;
    std::array<le64, page / sizeof(le64)> words;
    const auto add = [&](uint64_t at) {
        words = {};
        const uint64_t length = std::min(page, base.size() - at);
        auto got = base.read(at, std::as_writable_bytes(std::span(words)).first(length));
        if (!got.ok()) words = {};
        for (const uint64_t word : words) {
            mark = (mark ^ word) * 0x9e3779b97f4a7c15;
            mark ^= mark >> 32;
        }
    };
    const uint64_t head = std::min(marked_head, base.size());
    for (uint64_t at = 0; at < head; at += page) add(at);
    const uint64_t step = std::max(page, (base.size() - head) / marked_pages / page * page);
    for (uint64_t at = head; at < base.size(); at += step) add(at);
    return mark;
}

/// Where things are in the delta of a base; nothing else in the header is free to vary.
struct Layout {
    uint64_t base_size;
    uint64_t base_mark;
    uint32_t chunk_size;
    uint64_t chunks;
    uint64_t bitmap_bytes; // whole pages
    uint64_t data_offset;
    uint64_t file_size;

    /// EFBIG: the file would be beyond what a host file can be.
    static FailureOr<Layout> of(BlockDevice& base) {
        const uint64_t base_size = base.size();
        Layout layout{.base_size = base_size, .base_mark = mark_of(base), .chunk_size = page};
        while (base_size / layout.chunk_size >= chunks_max) {
            if (layout.chunk_size >= uint32_t{1} << 30)
                return Failure(Errno::fbig, "the image is too large for a delta file");
            layout.chunk_size *= 2;
        }
        layout.chunks = (base_size + layout.chunk_size - 1) / layout.chunk_size;
        layout.bitmap_bytes = ((layout.chunks + 7) / 8 + page - 1) / page * page;
        layout.data_offset = page + layout.bitmap_bytes;
        layout.file_size = layout.data_offset + layout.chunks * layout.chunk_size;
        return layout;
    }

    Header header() const {
        return {.magic = delta_magic,
                .version = delta_version,
                .chunk_size = chunk_size,
                .base_size = base_size,
                .bitmap_offset = page,
                .data_offset = data_offset,
                .base_mark = base_mark};
    }
};

class FileOverlay final : public BlockDevice {
public:
    FileOverlay(std::unique_ptr<BlockDevice> base, HostFile delta, std::string path,
                const Layout& layout)
        : base_(std::move(base)), delta_(std::move(delta)), path_(std::move(path)), layout_(layout),
          bitmap_(layout.bitmap_bytes / sizeof(uint64_t)),
          dirty_pages_(layout.bitmap_bytes / page) {}

    ~FileOverlay() override {
        // Who wants to know whether this worked calls flush().
        (void)write_bitmap();
        remove_if_empty();
    }

    Result<void> load_bitmap();

    uint64_t size() const override { return layout_.base_size; }
    bool read_only() const override { return false; }
    uint32_t sector_size() const override { return base_->sector_size(); }
    std::string name() const override { return base_->name(); }
    Result<void> read(uint64_t offset, std::span<std::byte> out) override;
    Result<void> write(uint64_t offset, std::span<const std::byte> data) override;
    Result<void> flush() override;
    Result<void> discard(uint64_t offset, uint64_t length) override;
    Result<void> write_zeros(uint64_t offset, uint64_t length) override;
    void read_ahead(uint64_t offset, uint64_t length) override {
        base_->read_ahead(offset, length);
    }

private:
    static constexpr size_t stripes = 64;

    // The bitmap's words are little-endian on disk: load_bitmap and write_bitmap convert.
    bool present(uint64_t chunk) const {
        return bitmap_[chunk / 64].load(std::memory_order_acquire) >> chunk % 64 & 1;
    }
    void set_present(uint64_t chunk) {
        bitmap_[chunk / 64].fetch_or(uint64_t{1} << chunk % 64, std::memory_order_release);
        dirty_pages_[chunk / 8 / page].store(true, std::memory_order_release);
    }
    uint64_t place(uint64_t chunk) const {
        return layout_.data_offset + chunk * layout_.chunk_size;
    }
    /// Bytes of the base in a chunk: the last one may be short.
    uint64_t length_of(uint64_t chunk) const {
        return std::min<uint64_t>(layout_.chunk_size,
                                  layout_.base_size - chunk * layout_.chunk_size);
    }
    /// The first write to a chunk: the base's bytes around `data`, then the bit.
    Result<void> write_new(uint64_t chunk, uint64_t inside, std::span<const std::byte> data);
    Result<void> zero_chunk(uint64_t chunk, uint64_t inside, uint64_t length);
    Result<void> write_bitmap();
    /// A delta without a chunk says nothing: a mount that was refused leaves none behind.
    void remove_if_empty();

    // constant after construction
    const std::unique_ptr<BlockDevice> base_;
    const HostFile delta_;
    const std::string path_;
    const Layout layout_;

    // self-synchronized: a bit is set once its chunk is in the file, and never cleared
    std::vector<std::atomic<uint64_t>> bitmap_;
    std::vector<std::atomic<bool>> dirty_pages_;

    // held while a chunk gets its first contents, by chunk number
    struct Stripe {
        Mutex mutex{Rank::device};
    };
    std::array<Stripe, stripes> stripes_;
    Mutex flush_mutex_{Rank::device};
};

Result<void> FileOverlay::load_bitmap() {
    std::vector<le64> words(page / sizeof(le64));
    for (uint64_t at = 0; at < layout_.bitmap_bytes; at += page) {
        TRY(delta_.read(page + at, std::as_writable_bytes(std::span(words))));
        for (size_t i = 0; i < words.size(); ++i)
            bitmap_[at / sizeof(le64) + i].store(words[i], std::memory_order_relaxed);
    }
    return {};
}

Result<void> FileOverlay::read(uint64_t offset, std::span<std::byte> out) {
    if (!within(size(), offset, out.size())) return Errno::io;
    const uint32_t chunk_size = layout_.chunk_size;
    size_t done = 0;
    while (done < out.size()) {
        // One request for as many chunks as are on the same side.
        uint64_t at = offset + done;
        uint64_t chunk = at / chunk_size;
        bool in_delta = present(chunk);
        uint64_t part = std::min<uint64_t>(out.size() - done, chunk_size - at % chunk_size);
        while (done + part < out.size() && present((at + part) / chunk_size) == in_delta)
            part += std::min<uint64_t>(out.size() - done - part, chunk_size);
        auto piece = out.subspan(done, static_cast<size_t>(part));
        TRY(in_delta ? delta_.read(layout_.data_offset + at, piece) : base_->read(at, piece));
        done += static_cast<size_t>(part);
    }
    return {};
}

Result<void> FileOverlay::write_new(uint64_t chunk, uint64_t inside,
                                    std::span<const std::byte> data) {
    MutexGuard guard(stripes_[chunk % stripes].mutex);
    // Somebody else may have been faster; then the rest of the chunk is theirs.
    if (present(chunk)) return delta_.write(place(chunk) + inside, data);
    uint64_t length = length_of(chunk);
    if (inside == 0 && data.size() == length) {
        TRY(delta_.write(place(chunk), data));
    } else {
        std::vector<std::byte> whole(static_cast<size_t>(length));
        TRY(base_->read(chunk * layout_.chunk_size, whole));
        std::memcpy(&whole[inside], data.data(), data.size());
        TRY(delta_.write(place(chunk), whole));
    }
    set_present(chunk);
    return {};
}

Result<void> FileOverlay::write(uint64_t offset, std::span<const std::byte> data) {
    if (!within(size(), offset, data.size())) return Errno::io;
    return each_chunk<Result<void>>(
        offset, data.size(), layout_.chunk_size,
        [&](uint64_t chunk, uint64_t inside, uint64_t done, uint64_t length) -> Result<void> {
            auto part = data.subspan(done, length);
            if (!present(chunk)) return write_new(chunk, inside, part);
            return delta_.write(place(chunk) + inside, part);
        });
}

Result<void> FileOverlay::discard(uint64_t offset, uint64_t length) {
    if (!within(size(), offset, length)) return Errno::io;
    // Gives the delta's space back. The bit stays: the chunk now is a hole of the delta.
    return each_chunk<Result<void>>(
        offset, length, layout_.chunk_size,
        [&](uint64_t chunk, uint64_t inside, uint64_t, uint64_t part) -> Result<void> {
            if (!present(chunk) || inside != 0 || part != length_of(chunk)) return {};
            return delta_.punch(place(chunk), part);
        });
}

Result<void> FileOverlay::zero_chunk(uint64_t chunk, uint64_t inside, uint64_t length) {
    if (inside == 0 && length == length_of(chunk)) {
        MutexGuard guard(stripes_[chunk % stripes].mutex);
        // A chunk without a bit may hold what a crash has left, so it is punched as well.
        auto punched = delta_.punch(place(chunk), length);
        if (!punched.ok() && punched.error() == Errno::opnotsupp)
            punched = delta_.zero(place(chunk), length);
        TRY(punched);
        if (!present(chunk)) set_present(chunk);
        return {};
    }
    const std::vector<std::byte> zeros(static_cast<size_t>(length));
    return write(chunk * layout_.chunk_size + inside, zeros);
}

Result<void> FileOverlay::write_zeros(uint64_t offset, uint64_t length) {
    if (!within(size(), offset, length)) return Errno::io;
    return each_chunk<Result<void>>(offset, length, layout_.chunk_size,
                                    [&](uint64_t chunk, uint64_t inside, uint64_t, uint64_t part) {
                                        return zero_chunk(chunk, inside, part);
                                    });
}

Result<void> FileOverlay::flush() {
    TRY(write_bitmap());
    return delta_.sync_data();
}

Result<void> FileOverlay::write_bitmap() {
    MutexGuard guard(flush_mutex_);
    // Taken before the chunks are synced: a bit that is set meanwhile waits for the next flush.
    struct Page {
        uint64_t index;
        std::array<le64, page / sizeof(le64)> words;
    };
    std::vector<Page> pages;
    for (uint64_t i = 0; i < dirty_pages_.size(); ++i) {
        if (!dirty_pages_[i].exchange(false, std::memory_order_acquire)) continue;
        Page& copy = pages.emplace_back();
        copy.index = i;
        for (size_t w = 0; w < copy.words.size(); ++w)
            copy.words[w] = bitmap_[i * copy.words.size() + w].load(std::memory_order_acquire);
    }
    if (pages.empty()) return {};
    auto written = delta_.sync_data();
    for (size_t i = 0; i < pages.size() && written.ok(); ++i)
        written =
            delta_.write(page + pages[i].index * page, std::as_bytes(std::span(pages[i].words)));
    if (!written.ok())
        for (const Page& copy : pages) dirty_pages_[copy.index].store(true);
    return written;
}

void FileOverlay::remove_if_empty() {
    for (const auto& word : bitmap_)
        if (word.load(std::memory_order_relaxed)) return;
    struct stat there;
    auto ours = delta_.status();
    if (ours.ok() && ::stat(path_.c_str(), &there) == 0 && there.st_dev == ours->st_dev &&
        there.st_ino == ours->st_ino)
        ::unlink(path_.c_str());
}

/// Gives a new file its header; a failure leaves it empty, as it was.
FailureOr<void> initialize(const HostFile& delta, const Layout& layout) {
    Header header = layout.header();
    auto made = delta.resize(layout.file_size);
    if (made.ok()) made = delta.write(0, std::as_bytes(std::span(&header, 1)));
    if (made.ok()) made = delta.sync_data();
    if (made.ok()) return {};
    (void)delta.resize(0);
    return Failure(made.error(), fmt::format("the delta file: {}", errno_message(made.error())));
}

FailureOr<void> check_header(const HostFile& delta, const Layout& layout, uint64_t file_size) {
    Header header{};
    if (file_size >= page) TRY(delta.read(0, std::as_writable_bytes(std::span(&header, 1))));
    if (header.magic != delta_magic) return Failure(Errno::inval, "not a delta file");
    if (header.version != delta_version)
        return Failure(Errno::inval,
                       fmt::format("a delta file of version {}, this program knows {}",
                                   header.version.get(), delta_version));
    if (header.base_size != layout.base_size)
        return Failure(Errno::inval,
                       fmt::format("the delta of an image of {} bytes, this one has {}",
                                   header.base_size.get(), layout.base_size));
    if (header.base_mark != layout.base_mark)
        return Failure(Errno::inval, "the delta of another image, or of this one as it was before "
                                     "it was written to");
    Header expected = layout.header();
    if (std::memcmp(&header, &expected, sizeof header) != 0 || file_size < layout.file_size)
        return Failure(Errno::inval, "a delta file that is damaged or cut off");
    return {};
}

Failure about_delta(const std::string& path, const Failure& failure) {
    return {failure.code, fmt::format("delta {}: {}", path, failure.text)};
}

} // namespace

FailureOr<std::unique_ptr<BlockDevice>> open_file_overlay(std::unique_ptr<BlockDevice> base,
                                                          const std::string& path) {
    auto layout = TRY(Layout::of(*base));
    auto opened = HostFile::open(path, O_RDWR | O_CREAT | O_NOCTTY | O_NONBLOCK, 0666);
    if (!opened.ok()) return about_delta(path, opened.error());
    HostFile delta = opened.release_value();

    struct stat status = TRY(delta.status());
    if (!S_ISREG(status.st_mode)) return about_delta(path, {Errno::inval, "not a file"});
    if (auto locked = delta.lock(0, 0, true); !locked.ok()) {
        if (locked.error() != Errno::again) return about_delta(path, locked.error());
        delta = HostFile(); // so that the search for the holder does not find us
        auto who = process_using(status);
        return about_delta(path, {Errno::busy, "in use by " + who.value_or("another mount")});
    }
    // Again under the lock: another mount may just have made it.
    status = TRY(delta.status());
    auto file_size = static_cast<uint64_t>(status.st_size);
    auto ready =
        file_size == 0 ? initialize(delta, layout) : check_header(delta, layout, file_size);
    if (!ready.ok()) return about_delta(path, ready.error());

    auto overlay = std::make_unique<FileOverlay>(std::move(base), std::move(delta), path, layout);
    TRY(overlay->load_bitmap());
    return std::unique_ptr<BlockDevice>(std::move(overlay));
}

} // namespace rump::host
