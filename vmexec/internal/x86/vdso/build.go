// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vdso

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
)

// Indices of the sections, in file order.
const (
	secNull = iota
	secHash
	secDynsym
	secDynstr
	secVersym
	secVerdef
	secDynamic
	secText
	secShstrtab
	numSections
)

// Version indices of the verdef section.
const (
	verBase  = 1 // the object itself
	verLinux = 2 // Version
)

// stringTable is an ELF string table being built.
type stringTable struct{ bytes.Buffer }

// add returns where s is from now on.
func (t *stringTable) add(s string) uint32 {
	if t.Len() == 0 {
		t.WriteByte(0)
	}
	at := uint32(t.Len())
	t.WriteString(s)
	t.WriteByte(0)
	return at
}

// build makes the object: an ELF file whose addresses are its file offsets, all
// of it in one segment. The section headers are there for debuggers; libraries
// use the program headers alone.
func build() []byte {
	var strs stringTable
	soname, version := strs.add(SOName), strs.add(Version)

	var code []byte
	syms := []elf.Sym64{{}}
	names := []string{""}
	for n, name := range functions {
		body := text(n)
		for len(code)%16 != 0 {
			code = append(code, 0xcc) // int3
		}
		for _, s := range []struct {
			name string
			bind elf.SymBind
		}{{"__vdso_" + name, elf.STB_GLOBAL}, {name, elf.STB_WEAK}} {
			syms = append(syms, elf.Sym64{
				Name: strs.add(s.name), Info: elf.ST_INFO(s.bind, elf.STT_FUNC), Shndx: secText,
				Value: uint64(len(code)), // plus the address of the text, once known
				Size:  uint64(len(body)),
			})
			names = append(names, s.name)
		}
		code = append(code, body...)
	}
	versym := make([]uint16, len(syms))
	for i := 1; i < len(versym); i++ {
		versym[i] = verLinux
	}

	var shstrs stringTable
	sections := [numSections]struct {
		name string
		elf.Section64
		data []byte
	}{
		secHash:     {".hash", section(elf.SHT_HASH, secDynsym, 0, 4, 4), encode(hashTable(names))},
		secDynsym:   {".dynsym", section(elf.SHT_DYNSYM, secDynstr, 1, elf.Sym64Size, 8), encode(syms)},
		secDynstr:   {".dynstr", section(elf.SHT_STRTAB, 0, 0, 0, 1), strs.Bytes()},
		secVersym:   {".gnu.version", section(elf.SHT_GNU_VERSYM, secDynsym, 0, 2, 2), encode(versym)},
		secVerdef:   {".gnu.version_d", section(elf.SHT_GNU_VERDEF, secDynstr, 2, 0, 8), encode(verdefs(soname, version))},
		secDynamic:  {".dynamic", section(elf.SHT_DYNAMIC, secDynstr, 0, 16, 8), make([]byte, numDynamic*16)},
		secText:     {".text", section(elf.SHT_PROGBITS, 0, 0, 0, 16), code},
		secShstrtab: {".shstrtab", section(elf.SHT_STRTAB, 0, 0, 0, 1), nil},
	}
	sections[secText].Flags |= uint64(elf.SHF_EXECINSTR)
	sections[secShstrtab].Flags = 0
	for i := range sections {
		sections[i].Name = shstrs.add(sections[i].name)
	}
	sections[secShstrtab].data = shstrs.Bytes()

	// Places: headers, then the sections, then the section headers.
	const numSegments = 3
	pos := uint64(ehdrSize + numSegments*phdrSize)
	for i := 1; i < numSections; i++ {
		s := &sections[i]
		pos = (pos + s.Addralign - 1) &^ (s.Addralign - 1)
		s.Off, s.Size = pos, uint64(len(s.data))
		if s.Flags != 0 {
			s.Addr = pos
		}
		pos += s.Size
	}
	shoff := (pos + 7) &^ 7
	size := (shoff + numSections*shdrSize + pageSize - 1) &^ (pageSize - 1)

	// What needed the places.
	for i := 1; i < len(syms); i++ {
		syms[i].Value += sections[secText].Addr
	}
	sections[secDynsym].data = encode(syms)
	sections[secDynamic].data = encode([numDynamic]elf.Dyn64{
		{Tag: int64(elf.DT_SONAME), Val: uint64(soname)},
		{Tag: int64(elf.DT_HASH), Val: sections[secHash].Addr},
		{Tag: int64(elf.DT_STRTAB), Val: sections[secDynstr].Addr},
		{Tag: int64(elf.DT_SYMTAB), Val: sections[secDynsym].Addr},
		{Tag: int64(elf.DT_STRSZ), Val: sections[secDynstr].Size},
		{Tag: int64(elf.DT_SYMENT), Val: elf.Sym64Size},
		{Tag: int64(elf.DT_VERSYM), Val: sections[secVersym].Addr},
		{Tag: int64(elf.DT_VERDEF), Val: sections[secVerdef].Addr},
		{Tag: int64(elf.DT_VERDEFNUM), Val: 2},
		{Tag: int64(elf.DT_NULL)},
	})

	img := make([]byte, size)
	dyn := &sections[secDynamic]
	copy(img, encode(header(shoff, numSegments)))
	copy(img[ehdrSize:], encode([numSegments]elf.Prog64{
		{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Filesz: size, Memsz: size, Align: pageSize},
		{Type: uint32(elf.PT_DYNAMIC), Flags: uint32(elf.PF_R), Off: dyn.Off, Vaddr: dyn.Addr, Paddr: dyn.Addr, Filesz: dyn.Size, Memsz: dyn.Size, Align: 8},
		{Type: uint32(elf.PT_GNU_STACK), Flags: uint32(elf.PF_R | elf.PF_W), Align: 16},
	}))
	for i, s := range sections {
		copy(img[s.Off:], s.data)
		copy(img[shoff+uint64(i)*shdrSize:], encode(s.Section64))
	}
	return img
}

const (
	ehdrSize   = 64
	phdrSize   = 56
	shdrSize   = 64
	numDynamic = 10
)

func header(shoff uint64, segments uint16) elf.Header64 {
	return elf.Header64{
		Ident:     [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:      uint16(elf.ET_DYN),
		Machine:   uint16(elf.EM_X86_64),
		Version:   uint32(elf.EV_CURRENT),
		Phoff:     ehdrSize,
		Shoff:     shoff,
		Ehsize:    ehdrSize,
		Phentsize: phdrSize,
		Phnum:     segments,
		Shentsize: shdrSize,
		Shnum:     numSections,
		Shstrndx:  secShstrtab,
	}
}

func section(t elf.SectionType, link, info uint32, entsize, align uint64) elf.Section64 {
	return elf.Section64{Type: uint32(t), Flags: uint64(elf.SHF_ALLOC), Link: link, Info: info, Entsize: entsize, Addralign: align}
}

// verdefs returns the version definitions as words: Elf64_Verdef (20 bytes) and
// Elf64_Verdaux (8 bytes) for the object and for its one version. See the Linux
// Standard Base, Symbol Versioning.
func verdefs(soname, version uint32) []uint32 {
	const revision, verdefSize, size = 1, 20, 28
	def := func(flags, index uint16, hash, next, name uint32) []uint32 {
		return []uint32{
			revision | uint32(flags)<<16,
			uint32(index) | 1<<16, // one auxiliary entry
			hash,
			verdefSize, // to the auxiliary entry
			next,
			name, 0,
		}
	}
	const flagBase = 1
	return append(
		def(flagBase, verBase, sysvHash(SOName), size, soname),
		def(0, verLinux, sysvHash(Version), 0, version)...)
}

// hashTable returns the DT_HASH table of the symbols: gABI chapter 5, Hash Table.
func hashTable(names []string) []uint32 {
	const buckets = 7
	t := make([]uint32, 2+buckets+len(names))
	t[0], t[1] = buckets, uint32(len(names))
	bucket, chain := t[2:2+buckets], t[2+buckets:]
	for i, name := range names {
		if i == 0 {
			continue
		}
		b := &bucket[sysvHash(name)%buckets]
		chain[i], *b = *b, uint32(i)
	}
	return t
}

// sysvHash is the hash function of the gABI for symbol and version names.
func sysvHash(s string) uint32 {
	h := uint32(0)
	for i := range len(s) {
		h = h<<4 + uint32(s[i])
		g := h & 0xf0000000
		h ^= g >> 24
		h &^= g
	}
	return h
}

// encode returns v, a value of fixed size, in the guest's byte order.
func encode(v any) []byte {
	b, err := binary.Append(nil, binary.LittleEndian, v)
	if err != nil {
		panic(err) // v is not of fixed size: a mistake in this file
	}
	return b
}
