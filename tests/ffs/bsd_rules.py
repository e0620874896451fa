"""What NetBSD's and FreeBSD's kernels and fsck_ffs demand of a Fast File System, looked up in an image: no part of
the driver or of its checker has a say here.

`problems(path)` returns one line for each rule that is broken. The rules are facts about those systems: which fields
their mounts compare (superblock validation, cg_chkmagic), and what passes 1 to 5 of their fsck_ffs recompute.
"""
import collections
import struct
import sys

MAGIC1, MAGIC2, MAGIC2EA = 0x011954, 0x19540119, 0x19012038
PLACES = (65536, 8192, 0, 262144)
SB = collections.OrderedDict()  # name: (offset, size, signed)


def _fields():
    at = 0

    def put(names, size, signed=True, count=1):
        nonlocal at
        for name in names.split():
            SB[name] = (at, size, signed, count)
            at += size * count

    put("firstfield unused1 sblkno cblkno iblkno dblkno old_cgoffset old_cgmask old_time old_size old_dsize ncg bsize "
        "fsize frag minfree old_rotdelay old_rps", 4)
    put("bmask fmask bshift fshift maxcontig maxbpg fragshift fsbtodb sbsize old_csmask old_csshift nindir inopb "
        "old_nspf optim old_npsect old_interleave old_trackskew", 4)
    put("id", 4, count=2)
    put("old_csaddr cssize cgsize old_ntrak old_nsect old_spc old_ncyl old_cpg ipg fpg", 4)
    put("old_cstotal", 4, count=4)
    put("fmod clean ronly old_flags", 1, False)
    put("fsmnt", 1, False, 468)
    put("volname", 1, False, 32)
    put("swuid", 8)
    put("pad cgrotor", 4)
    put("ocsp", 1, False, 128)
    put("old_cpc maxbsize", 4)
    put("journal_version journal_location", 1, False)
    put("journal_reserved", 1, False, 2)
    put("journal_flags", 4)
    put("journal_locs", 8, count=4)
    put("quota_magic", 4)
    put("quota_flags", 1, False, 4)
    put("quota_files", 8, count=2)
    put("spare64", 8, count=8)
    put("sblockactualloc sblockloc", 8)
    put("cstotal", 8, count=8)
    put("time size dsize csaddr pendingblocks", 8)
    put("pendinginodes", 4)
    put("snapinum", 4, count=20)
    put("avgfilesize avgfpdir save_cgsize", 4)
    put("mtime", 8)
    put("sujfree", 4)
    put("spare32", 4, count=21)
    put("ckhash metackhash", 4, False)
    put("flags", 4, False)
    put("contigsumsize maxsymlinklen old_inodefmt", 4)
    put("maxfilesize qbmask qfmask", 8)
    put("state old_postblformat old_nrpos old_postbloff old_rotbloff", 4)
    put("magic", 4)
    assert at == 1376, at


_fields()
CG_FIELDS = ("firstfield magic old_time cgx".split())


class Sb:
    """A superblock in one byte order, fields as attributes."""

    def __init__(self, raw, order):
        self.raw = raw
        for name, (at, size, signed, count) in SB.items():
            if size == 1 and count > 1:
                value = raw[at:at + count]
            else:
                code = {1: "b", 2: "h", 4: "i", 8: "q"}[size]
                values = struct.unpack_from(order + str(count) + (code if signed else code.upper()), raw, at)
                value = values[0] if count == 1 else values
            setattr(self, name, value)


_CRC = []


def crc32c(data):
    if not _CRC:
        for n in range(256):
            for _ in range(8):
                n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
            _CRC.append(n)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc


def howmany(n, unit):
    return (n + unit - 1) // unit


def roundup(n, unit):
    return howmany(n, unit) * unit


class Image:
    def __init__(self, path, ours):
        self.ours = ours
        self.file = open(path, "rb")
        self.size = self.file.seek(0, 2)
        self.wrong = []

    def bad(self, text):
        if len(self.wrong) < 200:
            self.wrong.append(text)

    def at(self, offset, length):
        self.file.seek(offset)
        data = self.file.read(length)
        return data + bytes(length - len(data))

    def frag(self, fragment, length):
        return self.at(fragment * self.sb.fsize, length)

    # --- the superblock

    def find(self):
        for place in PLACES:
            raw = self.at(place, 8192)
            for order in "<", ">":
                magic = struct.unpack_from(order + "i", raw, 1372)[0]
                if magic not in (MAGIC1, MAGIC2, MAGIC2EA):
                    continue
                sb = Sb(raw, order)
                updated = magic != MAGIC1 or sb.old_flags & 0x80
                if magic == MAGIC1 and place == 65536:
                    continue
                if updated and sb.sblockloc != place:
                    continue
                self.sb, self.order, self.place, self.updated = sb, order, place, bool(updated)
                self.ufs2 = magic != MAGIC1
                if not self.updated:
                    sb.size, sb.dsize, sb.csaddr = sb.old_size, sb.old_dsize, sb.old_csaddr
                    sb.cstotal, sb.flags, sb.sblockloc = sb.old_cstotal, sb.old_flags, place
                netbsd = sb.journal_version == 1 or sb.quota_magic == 0x1951a1ea
                self.metackhash = sb.metackhash if self.updated and not netbsd and sb.flags & 0x200 else 0
                self.freebsd = self.updated and (sb.mtime != 0 or sb.metackhash != 0)
                self.old_inodes = not self.ufs2 and sb.old_inodefmt < 2
                self.apple = not self.ufs2 and order == ">" and self.at(7168, 4) == b"LABL"
                self.dirblk = 1024 if self.apple else 512
                return True
        self.bad("no superblock")
        return False

    def cgsize_of(self, cg_struct):
        sb = self.sb
        n = cg_struct + 4 + sb.old_cpg * 6 + howmany(sb.ipg, 8) + howmany(sb.fpg, 8)
        if sb.contigsumsize > 0:
            n += sb.contigsumsize * 4 + howmany(sb.fpg >> sb.fragshift, 8)
        return n

    def superblock(self):
        sb, bad = self.sb, self.bad

        def rule(holds, text):
            if not holds:
                bad("superblock: " + text)

        def log2(n):
            return n.bit_length() - 1

        # NetBSD's mount
        rule(1376 <= sb.sbsize <= 8192, "sbsize")
        rule(4096 <= sb.bsize <= 65536 and sb.bsize & sb.bsize - 1 == 0, "bsize")
        rule(sb.fsize >= 512 and sb.fsize & sb.fsize - 1 == 0 and sb.fsize <= sb.bsize, "fsize")
        for name in "cssize ipg fpg ncg maxbpg size".split():
            rule(getattr(sb, name) > 0, name + " is 0")
        rule(sb.inopb == sb.bsize // (256 if self.ufs2 else 128), "inopb")
        rule(sb.nindir == sb.bsize // (8 if self.ufs2 else 4), "nindir")
        rule(sb.bshift == log2(sb.bsize) and sb.fshift == log2(sb.fsize) and sb.fragshift == log2(sb.frag), "shifts")
        rule(sb.bmask == -sb.bsize and sb.fmask == -sb.fsize, "masks")
        rule(sb.frag == sb.bsize // sb.fsize and sb.frag <= 8, "frag")
        if self.updated:
            rule(sb.cgsize == roundup(self.cgsize_of(176), sb.fsize),
                 "cgsize is %d, NetBSD's amd64 computes %d" % (sb.cgsize, roundup(self.cgsize_of(176), sb.fsize)))
            rule(self.cgsize_of(172) <= sb.bsize and roundup(self.cgsize_of(172), sb.fsize) == sb.cgsize,
                 "cgsize is %d, NetBSD's i386 computes %d" % (sb.cgsize, roundup(self.cgsize_of(172), sb.fsize)))
        rule(sb.size * sb.fsize <= self.size, "the last fragment is behind the image's end")
        # NetBSD's fsck_ffs
        known = 0x1 | 0x2 | 0x100 | 0x200 | 0x80 | 0x10 if not self.freebsd else 0xFFFFFFFF
        rule(sb.flags & ~known == 0, "flags %#x" % sb.flags)
        rule(sb.optim in (0, 1) and 0 <= sb.minfree <= 99, "optim, minfree")
        if not self.ufs2:
            rule(1 <= sb.old_interleave <= sb.old_nsect, "old_interleave")
            rule(sb.old_nsect <= sb.old_npsect <= 2 * sb.old_nsect, "old_npsect")
        most, reach = sb.bsize * 12 - 1, sb.bsize
        for _ in range(3):
            reach *= sb.nindir
            most += reach
        if not self.old_inodes:
            rule(sb.maxfilesize == most, "maxfilesize")
            rule(sb.maxsymlinklen == (120 if self.ufs2 else 60), "maxsymlinklen")
            rule(sb.qbmask == sb.bsize - 1 and sb.qfmask == sb.fsize - 1, "qbmask, qfmask")
        # FreeBSD's mount
        rule(sb.fpg >= 3 * sb.frag and sb.ipg >= sb.inopb, "fpg, ipg")
        rule(sb.ipg * sb.ncg <= (1 << 32) - sb.inopb, "too many inodes")
        rule(sb.fsbtodb == log2(sb.fsize // 512), "fsbtodb")
        if self.updated:
            rule(sb.maxbsize >= sb.bsize and sb.maxbsize & sb.maxbsize - 1 == 0, "maxbsize")
            rule(sb.maxbsize <= 16 * sb.bsize, "maxbsize")
            if self.freebsd:
                rule(sb.sblockactualloc in (0, self.place), "sblockactualloc")
            rule(sb.sblkno == roundup(howmany(sb.sblockloc + 8192, sb.fsize), sb.frag), "sblkno")
            rule(sb.cblkno == sb.sblkno + roundup(howmany(8192, sb.fsize), sb.frag), "cblkno")
            rule(sb.iblkno == sb.cblkno + sb.frag, "iblkno")
            rule(sb.dblkno == sb.iblkno + sb.ipg // (sb.inopb // sb.frag), "dblkno")
            rule(sb.cgsize <= sb.bsize and sb.cgsize % sb.fsize == 0, "cgsize")
            rule(sb.dsize == sb.size - sb.sblkno - sb.ncg * (sb.dblkno - sb.sblkno) - howmany(sb.cssize, sb.fsize),
                 "dsize")
            rule(sb.cssize == roundup(sb.ncg * 16, sb.fsize), "cssize")
            rule(sb.cstotal[2] >= 0 and sb.cstotal[2] <= sb.ipg * sb.ncg, "cs_nifree")
            rule(sb.cstotal[0] >= 0 and sb.cstotal[0] <= sb.ipg * sb.ncg - sb.cstotal[2], "cs_ndir")
            rule(sb.contigsumsize == (min(sb.maxcontig, 16) if sb.maxcontig > 1 else 0), "contigsumsize")
            if not self.ufs2:
                rule((sb.old_cpg, sb.old_nrpos, sb.old_interleave, sb.old_trackskew, sb.old_cpc) == (1, 1, 1, 0, 0),
                     "old geometry")
                rule(sb.old_spc == sb.fpg * sb.old_nspf == sb.old_nsect == sb.old_npsect, "old_spc")
                rule(sb.old_cgoffset == 0 and sb.old_cgmask == -1, "old_cgoffset, old_cgmask")
                rule(sb.old_rps == 60 and sb.old_rotdelay == 0, "old_rps")
                rule((sb.old_size, sb.old_dsize, sb.old_csaddr) == (sb.size, sb.dsize, sb.csaddr), "old sizes")
                if self.ours:  # FreeBSD keeps them, NetBSD lets them be
                    rule(sb.old_time == sb.time & 0xFFFFFFFF, "old_time")
                    rule(sb.old_cstotal == tuple(sb.cstotal[:4]), "old_cstotal")
        rule((sb.ncg - 1) * sb.fpg < sb.size <= sb.ncg * sb.fpg, "size against ncg and fpg")
        group = sb.csaddr // sb.fpg
        rule(self.start(group) + sb.dblkno <= sb.csaddr, "csaddr")
        rule((sb.csaddr + howmany(sb.cssize, sb.fsize)) // sb.fpg <= group, "the summary leaves its group")
        rule(sb.fmod == 0, "fmod")
        if self.metackhash & 1:
            raw = bytearray(sb.raw[:sb.sbsize])
            raw[1304:1308] = bytes(4)
            rule(crc32c(raw) == sb.ckhash, "check hash")

    def copies(self):
        same = ("sblkno cblkno iblkno dblkno ncg bsize fsize frag bmask fmask bshift fshift fragshift fsbtodb sbsize "
                "nindir inopb cssize ipg fpg magic").split()
        sb = self.sb
        for cg in range(sb.ncg):
            raw = self.frag(self.start(cg) + sb.sblkno, 8192)
            copy = Sb(raw, self.order)
            if self.updated:
                for name in same:
                    if getattr(copy, name) != getattr(sb, name):
                        self.bad("superblock copy %d: %s" % (cg, name))
                continue
            # 4.4BSD compared all bytes, but for these
            free = ("firstfield unused1 old_time old_cstotal cgrotor fmod clean ronly old_flags maxcontig minfree optim "
                    "old_rotdelay maxbpg ocsp fsmnt volname swuid pad snapinum avgfilesize avgfpdir save_cgsize mtime sujfree "
                    "spare32 ckhash metackhash flags fsbtodb old_interleave old_npsect old_nrpos state qbmask qfmask "
                    "maxfilesize").split()
            a, b = bytearray(sb.raw[:sb.sbsize]), bytearray(raw[:sb.sbsize])
            for name in free:
                at, size, _, count = SB[name]
                a[at:at + size * count] = b[at:at + size * count] = bytes(size * count)
            if a != b:
                at = next(i for i in range(len(a)) if a[i] != b[i])
                self.bad("superblock copy %d: byte %d" % (cg, at))

    # --- groups

    def start(self, cg):
        sb = self.sb
        return sb.fpg * cg + (0 if self.ufs2 else sb.old_cgoffset * (cg & ~sb.old_cgmask))

    def claim(self, what, address, frags):
        sb = self.sb
        if address < 0 or address + frags > sb.size or address % sb.frag + frags > sb.frag:
            self.bad("%s: address %d of %d fragments" % (what, address, frags))
            return False
        cg = address // sb.fpg
        if cg == 0 and address < self.start(0) + sb.dblkno or \
                cg != 0 and address < self.start(cg) + sb.dblkno and address + frags > self.start(cg) + sb.sblkno:
            self.bad("%s: address %d is metadata" % (what, address))
            return False
        for f in range(address, address + frags):
            if self.used[f]:
                self.bad("%s: fragment %d is another's, too" % (what, f))
            self.used[f] = 1
        return True

    # --- pass 1

    def inodes(self):
        sb = self.sb
        self.used = bytearray(roundup(sb.size, sb.frag))
        for cg in range(sb.ncg):
            first = 0 if cg == 0 else self.start(cg) + sb.sblkno
            for f in range(first, self.start(cg) + sb.dblkno):
                self.used[f] = 1
        for f in range(sb.csaddr, sb.csaddr + howmany(sb.cssize, sb.fsize)):
            self.used[f] = 1
        self.state = {}  # number: (mode, nlink)
        self.dirs = {}
        self.groups = []
        width = 256 if self.ufs2 else 128
        for cg in range(sb.ncg):
            block = self.frag(self.start(cg) + sb.cblkno, sb.cgsize)
            self.groups.append(block)
            inited = struct.unpack_from(self.order + "i", block, 120)[0] if self.ufs2 else sb.ipg
            if not 0 <= inited <= sb.ipg:
                self.bad("group %d: initediblk %d" % (cg, inited))
                inited = min(max(inited, 0), sb.ipg)
            table = self.frag(self.start(cg) + sb.iblkno, inited * width)
            for i in range(inited):
                number = cg * sb.ipg + i
                if number >= 2:
                    self.inode(number, table[i * width:(i + 1) * width])

    def inode(self, number, raw):
        o, sb = self.order, self.sb
        mode, nlink = struct.unpack_from(o + "Hh", raw)
        what = "inode %d" % number
        if self.ufs2:
            size, blocks = struct.unpack_from(o + "QQ", raw, 16)
            flags, extsize = struct.unpack_from(o + "II", raw, 88)
            extb = struct.unpack_from(o + "2q", raw, 96)
            pointers = struct.unpack_from(o + "15q", raw, 112)
            gen = struct.unpack_from(o + "I", raw, 80)[0]
            nsec = struct.unpack_from(o + "4I", raw, 64)
        else:
            size = struct.unpack_from(o + "Q", raw, 8)[0]
            flags, blocks, gen = struct.unpack_from(o + "III", raw, 100)
            extsize, extb = 0, ()
            pointers = struct.unpack_from(o + "15i", raw, 40)
            nsec = tuple(struct.unpack_from(o + "I", raw, at)[0] for at in (20, 28, 36))
        if mode & 0o170000 == 0:
            if mode or size or any(pointers):
                self.bad(what + ": partially allocated")
            return
        if self.metackhash & 4 and self.ufs2:
            clear = bytearray(raw)
            clear[244:248] = bytes(4)
            if crc32c(clear) != struct.unpack_from(o + "I", raw, 244)[0]:
                self.bad(what + ": check hash")
        kind = mode >> 12
        if kind not in (1, 2, 4, 6, 8, 10, 12):
            self.bad(what + ": mode %o" % mode)
            return
        limit = sb.maxfilesize if self.ufs2 else 0x80000000 * sb.bsize - 1
        if size > limit or kind == 4 and size > 0x7FFFFFFF:
            self.bad(what + ": size %d" % size)
            return
        if kind in (1, 2, 6, 12) and size != 0:
            self.bad(what + ": a special file of %d bytes" % size)
        if kind in (2, 6) and pointers[0] & 0xFFFFFFFF == 0xFFFFFFFF:
            self.bad(what + ": NODEV")
        if self.ours and any(n >= 1000000000 for n in nsec):
            self.bad(what + ": nanoseconds")
        blocks_needed = howmany(size, sb.bsize)
        inline = kind == 10 and (size < sb.maxsymlinklen or sb.maxsymlinklen == 0 and blocks == 0)
        reach = 1 if kind in (2, 6) else blocks_needed
        if inline:
            used = howmany(size, 8 if self.ufs2 else 4)
            if any(pointers[used:]):
                self.bad(what + ": garbage behind a symlink")
        else:
            if any(pointers[min(reach, 12):12]):
                self.bad(what + ": direct address behind the end")
            level, left = 0, reach - 12
            while left > 0:
                left //= sb.nindir
                level += 1
            if any(pointers[12 + min(level, 3):]):
                self.bad(what + ": indirect address behind the end")
        count, self.last = 0, -1
        self.map = []
        if kind not in (2, 6) and not inline:
            count = self.blocks(what, pointers, size, blocks_needed, bool(flags & 0x200000))
        left = extsize
        for address in extb:
            if left > 0:
                frags = howmany(min(left, sb.bsize), sb.fsize)
                if address == 0 or not self.claim(what + " attributes", address, frags):
                    self.bad(what + ": attribute block")
                count += frags
                left -= min(left, sb.bsize)
            elif address != 0:
                self.bad(what + ": attribute block behind extsize")
        if left > 0:
            self.bad(what + ": extsize %d" % extsize)
        if extsize:
            self.attributes(what, extsize, extb)
        if blocks != count * sb.fsize // 512:
            self.bad("%s: blocks are %d, should be %d" % (what, blocks, count * sb.fsize // 512))
        if (self.ours or self.freebsd) and kind in (4, 8, 10) and size and not inline and \
                self.last != blocks_needed - 1:  # NetBSD takes it, FreeBSD's fsck_ffs shortens the file
            self.bad(what + ": ends with a hole")
        if kind == 4:
            if size == 0 or size % self.dirblk or size < 24:
                self.bad(what + ": a directory of %d bytes" % size)
            if len(self.map) < blocks_needed or 0 in self.map:
                self.bad(what + ": a directory with a hole")
            self.dirs[number] = (size, self.map)
        if gen == 0 and self.ours:
            self.bad(what + ": generation 0")
        self.state[number] = [kind, nlink, 0, flags]

    def blocks(self, what, pointers, size, needed, snapshot):
        """Claims all; the number of fragments."""
        sb = self.sb
        count = 0

        def frags_of(lbn):
            if lbn >= 12 or size >= (lbn + 1) * sb.bsize:
                return sb.frag
            return howmany(size % sb.bsize, sb.fsize)

        def data(address, lbn):
            nonlocal count
            if len(self.map) <= 1 << 20:
                self.map.append(address)
            if address != 0:
                self.last = lbn
            if address == 0 or snapshot and address in (1, 2):
                return
            if self.claim("%s, block %d" % (what, lbn), address, frags_of(lbn)):
                count += frags_of(lbn)

        def indirect(address, level, lbn):
            nonlocal count
            span = sb.nindir ** level
            if address == 0:
                if lbn < 1 << 20:
                    self.map.extend([0] * min(span, needed - lbn, 1 << 20))
                return
            if not self.claim("%s, indirect" % what, address, sb.frag):
                return
            count += sb.frag
            raw = self.frag(address, sb.bsize)
            for i, child in enumerate(struct.unpack(self.order + "%d%s" % (sb.nindir, "q" if self.ufs2 else "i"), raw)):
                first = lbn + i * (span // sb.nindir)
                if first >= needed:
                    if child != 0:
                        self.bad("%s: indirect block %d has addresses behind the end" % (what, address))
                        return
                elif level > 1:
                    indirect(child, level - 1, first)
                elif child != 0 or len(self.map) <= 1 << 20:
                    data(child, first)

        for lbn in range(min(needed, 12)):
            data(pointers[lbn], lbn)
        lbn = 12
        for level in range(1, 4):
            if lbn >= needed:
                break
            indirect(pointers[11 + level], level, lbn)
            lbn += sb.nindir ** level
        return count

    def attributes(self, what, extsize, extb):
        sb = self.sb
        raw = b"".join(self.frag(a, sb.bsize) for a in extb if a)[:extsize]
        at = 0
        while at < extsize:
            length, space, pad, name = struct.unpack_from(self.order + "IBBB", raw, at) if extsize - at >= 8 else (0, 0, 0, 0)
            base = roundup(7 + name, 8)
            if length == 0 or length % 8 or length > extsize - at or length < base + pad or pad >= 8 or \
                    space not in (1, 2) or name == 0:
                self.bad("%s: attribute record at %d" % (what, at))
                return
            at += length

    # --- passes 2 to 4

    def directories(self):
        sb, o = self.sb, self.order
        old = not self.ufs2 and sb.maxsymlinklen == 0
        little_old = old and o == "<"
        parents, dotdots = {2: 2}, {}
        for number, (size, blocks) in self.dirs.items():
            names, entry, what = set(), 0, "directory %d" % number
            for lbn, address in enumerate(blocks):
                if address <= 0:
                    continue
                length = min(sb.bsize, size - lbn * sb.bsize)
                data = self.frag(address, length)
                for chunk in range(0, length, self.dirblk):
                    at = chunk
                    while at < chunk + self.dirblk:
                        ino, reclen, kind, namlen = struct.unpack_from(o + "IHBB", data, at)
                        if old:
                            kind, namlen = 0, namlen if not little_old else kind
                        place = "%s, offset %d" % (what, lbn * sb.bsize + at)
                        if reclen < 8 or reclen % 4 or at + reclen > chunk + self.dirblk:
                            self.bad(place + ": record length %d" % reclen)
                            break
                        if reclen < roundup(8 + namlen + 1, 4):
                            self.bad(place + ": record length %d, name length %d" % (reclen, namlen))
                        if ino != 0:
                            if reclen < roundup(8 + namlen + 1, 4) or namlen == 0:
                                self.bad(place + ": name length %d" % namlen)
                                break
                            name = data[at + 8:at + 8 + namlen]
                            if 0 in name or b"/" in name or data[at + 8 + namlen] != 0:
                                self.bad(place + ": name %r" % name)
                            self.entry(number, place, entry, ino, kind, name, old, parents, dotdots)
                            if name in names:
                                self.bad(place + ": %r is there twice" % name)
                            names.add(name)
                        elif entry < 2:
                            self.bad(place + ": a gap before . and ..")
                        entry += 1
                        at += reclen
        for number in self.dirs:
            if number not in parents:
                self.bad("directory %d: no name" % number)
            elif dotdots.get(number) != parents[number]:
                self.bad("directory %d: .. is %s, the parent is %s" % (number, dotdots.get(number), parents[number]))
            way, at = set(), number
            while at != 2 and at in parents and at not in way:
                way.add(at)
                at = parents[at]
            if at != 2:
                self.bad("directory %d: not reached" % number)
        log_inode = sb.journal_locs[3] if self.updated and sb.journal_version == 1 and sb.journal_location == 2 else 0
        for number, (kind, nlink, refs, flags) in self.state.items():
            if number == log_inode:
                if refs or nlink != 1 or not flags & 0x400000:
                    self.bad("the log's inode %d: links %d, names %d, flags %#x" % (number, nlink, refs, flags))
            elif nlink != refs:
                self.bad("inode %d: link count %d, names %d" % (number, nlink, refs))

    def entry(self, dir_number, place, ordinal, ino, kind, name, old, parents, dotdots):
        if ordinal < 2:
            if name != (b".", b"..")[ordinal]:
                self.bad(place + ": %r in place of dots" % name)
        elif name in (b".", b".."):
            self.bad(place + ": extra dots")
        if ino == 1 and not old:
            if kind != 14:
                self.bad(place + ": a whiteout of type %d" % kind)
            return
        if ino >= self.sb.ncg * self.sb.ipg or ino not in self.state:
            self.bad(place + ": inode %d is not allocated" % ino)
            return
        state = self.state[ino]
        state[2] += 1
        if not old and kind != state[0]:
            self.bad(place + ": type %d, inode %d has %d" % (kind, ino, state[0]))
        if ordinal == 0 and ino != dir_number:
            self.bad(place + ": . is %d" % ino)
        elif ordinal == 1:
            dotdots[dir_number] = ino
        elif ordinal > 1 and state[0] == 4:
            if ino in parents:
                self.bad(place + ": a second name of directory %d" % ino)
            parents[ino] = dir_number

    # --- pass 5

    def maps(self):
        sb, o = self.sb, self.order
        for f in range(sb.size, len(self.used)):
            self.used[f] = 1
        totals = [0, 0, 0, 0]
        area = self.frag(sb.csaddr, sb.cssize)
        for cg in range(sb.ncg):
            is_ = self.groups[cg]
            should = self.group(cg, is_)
            what = "group %d" % cg
            fields = ("firstfield magic old_time cgx old_ncyl/niblk ndblk ndir nbfree nifree nffree rotor frotor irotor "
                      "frsum0 frsum1 frsum2 frsum3 frsum4 frsum5 frsum6 frsum7 old_btotoff old_boff iusedoff freeoff "
                      "nextfreeoff clustersumoff clusteroff nclusterblks niblk initediblk unrefs spare32 ckhash").split()
            for i, name in enumerate(fields):
                a = struct.unpack_from(o + "i", is_, i * 4)[0]
                b = struct.unpack_from(o + "i", should, i * 4)[0]
                if a != b and not (name in ("ckhash", "unrefs") and self.freebsd):
                    self.bad("%s: %s is %d, should be %d" % (what, name, a, b))
            if is_[144:168] != bytes(24):
                self.bad(what + ": the spare fields are not zero")
            end = struct.unpack_from(o + "i", should, 100)[0]
            first = struct.unpack_from(o + "i", should, 92)[0]
            if not self.updated:
                first = 168
            if is_[first:end] != should[first:end]:
                at = next(i for i in range(first, end) if is_[i] != should[i])
                self.bad("%s: the maps differ from byte %d on (maps begin at %d)" % (what, at, first))
            counts = struct.unpack_from(o + "4i", should, 24)
            for i in range(4):
                totals[i] += counts[i]
            if struct.unpack_from(o + "4i", area, cg * 16) != counts:
                self.bad(what + ": the summary area differs")
            if self.metackhash & 2:
                clear = bytearray(is_)
                clear[132:136] = bytes(4)
                if crc32c(clear) != struct.unpack_from(o + "I", is_, 132)[0]:
                    self.bad(what + ": check hash")
        if tuple(totals) != tuple(sb.cstotal[:4]):
            self.bad("superblock: cstotal is %s, should be %s" % (sb.cstotal[:4], totals))

    def group(self, cg, is_):
        """As pass 5 builds it."""
        sb, o = self.sb, self.order
        g = bytearray(len(is_))
        base = cg * sb.fpg
        ndblk = min(sb.fpg, sb.size - base)

        def put(at, value, code="i"):
            struct.pack_into(o + code, g, at, value)

        put(4, 0x00090255)
        g[8:12] = is_[8:12]
        put(12, cg)
        put(20, ndblk)
        for at, limit in ((40, ndblk), (44, ndblk), (48, sb.ipg)):
            value = struct.unpack_from(o + "i", is_, at)[0]
            put(at, value if 0 <= value < limit else 0)
        start = 168
        if self.ufs2:
            put(116, sb.ipg)
            g[120:124] = is_[120:124]
        else:
            if cg == sb.ncg - 1:
                cylinders = howmany(ndblk, sb.fpg // sb.old_cpg) if self.updated else sb.old_ncyl % sb.old_cpg
            else:
                cylinders = sb.old_cpg
            put(16, cylinders, "h")
            put(18, sb.ipg & 0xFFFF, "H")
            put(84, start)
            put(88, start + sb.old_cpg * 4)
            start += sb.old_cpg * 4 + sb.old_cpg * sb.old_nrpos * 2
        put(92, start)
        free_at = start + howmany(sb.ipg, 8)
        put(96, free_at)
        end = free_at + howmany(sb.fpg, 8)
        sums = cluster_at = 0
        if sb.contigsumsize > 0:
            sums = roundup(end if self.apple else end - 4, 4)
            cluster_at = sums + (sb.contigsumsize + 1) * 4
            end = cluster_at + howmany(sb.fpg // sb.frag, 8)
            put(104, sums)
            put(108, cluster_at)
            put(112, ndblk // sb.frag)
        put(100, end)
        if end > len(g):
            self.bad("group %d: its maps end at %d, cgsize is %d" % (cg, end, len(g)))
            return g
        ndir = used_inodes = 0
        for number in range(cg * sb.ipg, (cg + 1) * sb.ipg):
            if number < 2 or number in self.state:
                used_inodes += 1
                i = number - cg * sb.ipg
                g[start + i // 8] |= 1 << i % 8
                ndir += number in self.state and self.state[number][0] == 4
        nbfree = nffree = run = 0
        runs = [0] * 9
        clusters = [0] * 17
        for b in range(0, ndblk, sb.frag):
            part = self.used[base + b:base + b + sb.frag]
            free = part.count(0)
            if free == sb.frag:
                nbfree += 1
                for i in range(b, b + sb.frag):
                    g[free_at + i // 8] |= 1 << i % 8
                if cluster_at:
                    c = b // sb.frag
                    g[cluster_at + c // 8] |= 1 << c % 8
                if not self.updated:
                    self.cylinder(g, b)
                run += 1
                continue
            if run:
                clusters[min(run, sb.contigsumsize)] += 1
                run = 0
            if free:
                nffree += free
                length = 0
                for i in range(sb.frag + 1):
                    if i < sb.frag and not part[i]:
                        g[free_at + (b + i) // 8] |= 1 << (b + i) % 8
                        length += 1
                    elif length:
                        runs[length] += 1
                        length = 0
        if run:
            clusters[min(run, sb.contigsumsize)] += 1
        put(24, ndir)
        put(28, nbfree)
        put(32, sb.ipg - used_inodes)
        put(36, nffree)
        for k in range(1, sb.frag):
            put(52 + 4 * k, runs[k])
        for k in range(1, sb.contigsumsize + 1):
            put(sums + 4 * k, clusters[k])
        return g

    def cylinder(self, g, b):
        sb, o = self.sb, self.order
        sector = b * sb.old_nspf
        cylinder = sector // sb.old_spc
        at = 168 + cylinder * 4
        struct.pack_into(o + "i", g, at, struct.unpack_from(o + "i", g, at)[0] + 1)
        inside = sector % sb.old_spc
        turned = (inside // sb.old_nsect * sb.old_trackskew + inside % sb.old_nsect * sb.old_interleave) % sb.old_nsect
        position = turned * sb.old_nrpos // sb.old_npsect
        at = 168 + sb.old_cpg * 4 + (cylinder * sb.old_nrpos + position) * 2
        struct.pack_into(o + "h", g, at, struct.unpack_from(o + "h", g, at)[0] + 1)


def free_blocks_and_inodes(path):
    """As the superblock counts them."""
    image = Image(path, False)
    with image.file:
        return image.sb.cstotal[1:3] if image.find() else (0, 0)


def problems(path, clean=True, ours=False):
    """Lines; none when NetBSD and FreeBSD would find nothing. `clean`: it has been unmounted. `ours`: made here, so
    that it also has what only one of these systems keeps."""
    image = Image(path, ours)
    with image.file:
        if not image.find():
            return image.wrong
        image.superblock()
        if image.wrong:
            return image.wrong
        if clean and image.sb.clean != 1:
            image.bad("superblock: the clean flag is %d" % image.sb.clean)
        image.copies()
        image.inodes()
        image.directories()
        image.maps()
    return image.wrong


if __name__ == "__main__":
    found = [line for path in sys.argv[1:] for line in problems(path)]
    print("\n".join(found) or "nothing")
    sys.exit(1 if found else 0)
