package main

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// machine carries out routines. It knows the instructions of AVX2 with VAES for registers of 256
// bits, and those of AVX-512F with VAES for 512, and no others: what it takes, CPUs that the
// package runs it on have.
type machine struct {
	general map[general]uint64
	vectors [32][64]byte
	masks   [8]uint16
	less    bool // flags of the last comparison
	zero    bool

	arguments map[argument]uint64
	result    map[argument]byte
	regions   []region
}

// region is memory at an address. Everything else cannot be accessed.
type region struct {
	address  uint64
	bytes    []byte
	readOnly bool
}

func (m *machine) memory(at memory, n int, write bool) ([]byte, error) {
	address := m.general[at.base] + uint64(at.offset)
	for _, r := range m.regions {
		if from := address - r.address; address >= r.address && from+uint64(n) <= uint64(len(r.bytes)) && !(write && r.readOnly) {
			return r.bytes[from : from+uint64(n)], nil
		}
	}
	return nil, fmt.Errorf("access to %d bytes at %#x (%v)", n, address, at)
}

// run carries a routine out up to its end.
func (m *machine) run(r routine) error {
	labels := map[label]int{}
	for at, i := range r.code {
		if i.op == "" && i.comment == "" {
			labels[i.operands[0].(label)] = at
		}
	}
	for at, steps := 0, 0; at < len(r.code); at, steps = at+1, steps+1 {
		i := r.code[at]
		jump, err := m.step(i)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %s %v: %w", r.name, i.op, i.operands, err)
		case i.op == "RET":
			return nil
		case steps > 1e6:
			return fmt.Errorf("%s does not end", r.name)
		case jump:
			to, ok := labels[i.operands[0].(label)]
			if !ok {
				return fmt.Errorf("%s: no label %s", r.name, i.operands[0])
			}
			at = to
		}
	}
	return fmt.Errorf("%s has no end", r.name)
}

// step carries out one instruction, and says whether it jumps.
func (m *machine) step(i instruction) (jump bool, err error) {
	switch i.op {
	case "", "RET", "PREFETCHT0":
		return false, nil
	case "VZEROUPPER":
		for n := range 16 {
			clear(m.vectors[n][16:])
		}
		return false, nil
	case "JMP":
		return true, nil
	case "JLT":
		return m.less, nil
	case "JNZ":
		return !m.zero, nil
	case "MOVQ", "MOVB", "ADDQ", "SUBQ", "ANDQ", "SHLQ", "BSWAPQ", "CMPQ", "TESTB":
		return false, m.scalar(i)
	case "KORTESTW":
		m.zero = m.masks[i.operands[0].(mask)]|m.masks[i.operands[1].(mask)] == 0
		return false, nil
	}
	return false, m.wide(i)
}

func (m *machine) scalar(i instruction) error {
	value := func(o operand) (uint64, error) {
		switch o := o.(type) {
		case immediate:
			return uint64(o), nil
		case general:
			return m.general[o], nil
		case argument:
			v, ok := m.arguments[o]
			if !ok {
				return 0, fmt.Errorf("no argument %v", o)
			}
			return v, nil
		}
		return 0, fmt.Errorf("no value: %v", o)
	}
	from, err := value(i.operands[0])
	if err != nil {
		return err
	}
	last := i.operands[len(i.operands)-1]
	if i.op == "MOVB" {
		m.result[last.(argument)] = byte(from)
		return nil
	}
	if i.op == "CMPQ" { // Go's order: compares the first with the second
		with, err := value(last)
		m.less, m.zero = int64(from) < int64(with), from == with
		return err
	}
	to := last.(general)
	switch i.op {
	case "MOVQ":
		m.general[to] = from
		return nil // leaves the flags
	case "BSWAPQ":
		m.general[to] = bits.ReverseBytes64(from)
		return nil
	case "TESTB":
		m.zero = byte(from)&byte(m.general[to]) == 0
		m.less = int8(byte(from)&byte(m.general[to])) < 0
		return nil
	case "ADDQ":
		m.general[to] += from
	case "SUBQ":
		m.general[to] -= from
	case "ANDQ":
		m.general[to] &= from
	case "SHLQ":
		m.general[to] <<= from
	}
	m.zero, m.less = m.general[to] == 0, int64(m.general[to]) < 0
	return nil
}

// forms are the widths in which an instruction may be used, and the number of its operands.
var forms = map[string]struct {
	letters  string
	operands int
}{
	"VMOVQ": {"X", 2}, "VPBROADCASTQ": {"YZ", 2}, "VPUNPCKLQDQ": {"YZ", 3},
	"VMOVDQU": {"Y", 2}, "VBROADCASTI128": {"Y", 2}, "VPXOR": {"Y", 3}, "VPOR": {"Y", 3}, "VPTEST": {"Y", 2},
	"VMOVDQU64": {"Z", 2}, "VBROADCASTI32X4": {"Z", 2}, "VPXORQ": {"Z", 3}, "VPTERNLOGQ": {"Z", 4}, "VPTESTMQ": {"Z", 3},
	"VAESENC": {"YZ", 3}, "VAESENCLAST": {"YZ", 3},
}

func (m *machine) wide(i instruction) error {
	form, ok := forms[i.op]
	if !ok || len(i.operands) != form.operands {
		return fmt.Errorf("no such instruction with %d operands", len(i.operands))
	}
	// All vectors of an instruction are of one width, but for the 8 bytes that are broadcast.
	size := 0
	for n, o := range i.operands {
		v, ok := o.(vector)
		if !ok || i.op == "VPBROADCASTQ" && n == 0 {
			continue
		}
		bytes, registers := map[byte]int{'X': 16, 'Y': 32, 'Z': 64}[v.letter], 16
		if v.letter == 'Z' {
			registers = 32
		}
		if !containsByte(form.letters, v.letter) || v.n >= registers || size != 0 && size != bytes {
			return fmt.Errorf("not with %v", v)
		}
		size = bytes
	}
	read := func(o operand, n int) (b [64]byte, err error) {
		switch o := o.(type) {
		case vector:
			b = m.vectors[o.n]
		case memory:
			var from []byte
			from, err = m.memory(o, n, false)
			copy(b[:], from)
		case general:
			binary.LittleEndian.PutUint64(b[:], m.general[o])
		case immediate:
			b[0] = byte(o)
		default:
			err = fmt.Errorf("no operand of vectors: %v", o)
		}
		return b, err
	}
	last := i.operands[len(i.operands)-1]
	n := size
	if i.op == "VBROADCASTI128" || i.op == "VBROADCASTI32X4" {
		n = 16
	}
	var in [4][64]byte
	for k, o := range i.operands {
		if k == len(i.operands)-1 && i.op != "VPTERNLOGQ" && i.op != "VPTEST" {
			break // the destination's value before plays no part
		}
		var err error
		if in[k], err = read(o, n); err != nil {
			return err
		}
	}
	var out [64]byte // beyond size it is zero, as in a CPU
	switch i.op {
	case "VMOVQ":
		copy(out[:8], in[0][:8])
	case "VPBROADCASTQ":
		for at := 0; at < size; at += 8 {
			copy(out[at:], in[0][:8])
		}
	case "VBROADCASTI128", "VBROADCASTI32X4":
		for at := 0; at < size; at += 16 {
			copy(out[at:], in[0][:16])
		}
	case "VMOVDQU", "VMOVDQU64":
		copy(out[:size], in[0][:size])
	case "VPUNPCKLQDQ":
		for at := 0; at < size; at += 16 {
			copy(out[at:at+8], in[1][at:])
			copy(out[at+8:at+16], in[0][at:])
		}
	case "VPXOR", "VPXORQ":
		for at := range size {
			out[at] = in[0][at] ^ in[1][at]
		}
	case "VPOR":
		for at := range size {
			out[at] = in[0][at] | in[1][at]
		}
	case "VPTERNLOGQ":
		for bit := range 8 * size {
			at, shift := bit/8, bit%8
			// The table's index is, from its highest bit: destination, second source, third source.
			index := in[3][at]>>shift&1<<2 | in[2][at]>>shift&1<<1 | in[1][at]>>shift&1
			out[at] |= in[0][0] >> index & 1 << shift
		}
	case "VAESENC", "VAESENCLAST":
		for at := 0; at < size; at += 16 {
			s := round([16]byte(in[1][at:]), [16]byte(in[0][at:]), i.op == "VAESENCLAST")
			copy(out[at:], s[:])
		}
	case "VPTEST":
		m.zero = true
		for at := range size {
			m.zero = m.zero && in[0][at]&in[1][at] == 0
		}
		return nil
	case "VPTESTMQ":
		k := uint16(0)
		for at := range size {
			if in[0][at]&in[1][at] != 0 {
				k |= 1 << (at / 8)
			}
		}
		m.masks[last.(mask)] = k
		return nil
	}
	if to, ok := last.(memory); ok {
		bytes, err := m.memory(to, size, true)
		copy(bytes, out[:size])
		return err
	}
	m.vectors[last.(vector).n] = out
	return nil
}

func containsByte(s string, c byte) bool {
	for i := range len(s) {
		if s[i] == c {
			return true
		}
	}
	return false
}
