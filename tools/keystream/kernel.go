package main

import "fmt"

// What internal/keystream keeps of a key, in bytes from its beginning.
const (
	deltas   = 0        // 256 × 16: what the counter's last byte adds to the state after round 1
	keys     = 256 * 16 // 15 × 16: the round keys
	rounds   = 14
	inFlight = 8 // vectors: what the latency of one round hides behind the others
)

// width is a size of registers, and how the same things are said for it.
type width struct {
	name      string
	letter    byte
	bytes     int
	registers int
	move      string // 16 bytes and more, not aligned
	repeat    string // 16 bytes of memory, in every part of a register
	xor       string
}

var (
	bits256 = width{"VAES256", 'Y', 32, 16, "VMOVDQU", "VBROADCASTI128", "VPXOR"}
	bits512 = width{"VAES512", 'Z', 64, 32, "VMOVDQU64", "VBROADCASTI32X4", "VPXORQ"}
)

// group is what is made at a time.
func (w width) group() int { return inFlight * w.bytes }

// The general registers.
const (
	schedule = general("SI")
	data     = general("DI")
	left     = general("CX")
	number   = general("BX")
	upper    = general("AX") // the counter without its last byte
	delta    = general("DX")
)

// plan says what each register holds: the states first, then base and scratch, then as many round
// keys as there is room for.
type plan struct {
	width
	*routine
}

func (p plan) vector(n int) vector { return vector{p.letter, n} }
func (p plan) state(i int) vector  { return p.vector(i) }
func (p plan) base() vector        { return p.vector(inFlight) }
func (p plan) scratch() vector     { return p.vector(inFlight + 1) }

// resident is the register of a round's key, if it has one. The last rounds have.
func (p plan) resident(round int) (vector, bool) {
	n := inFlight + 2 + rounds - round
	return p.vector(n), n < p.registers
}

// key has a round's key in a register.
func (p plan) key(round int) vector {
	if v, ok := p.resident(round); ok {
		return v
	}
	p.do(p.repeat, memory{schedule, keys + 16*round}, p.scratch())
	return p.scratch()
}

// begin takes the arguments and loads the keys that stay.
func (p plan) begin(name string) {
	p.do("MOVQ", argument{"s", 0}, schedule)
	p.do("MOVQ", argument{name + "_base", 8}, data)
	p.do("MOVQ", argument{name + "_len", 16}, left)
	p.do("MOVQ", argument{"block", 32}, number)
	for round := range rounds + 1 {
		if v, ok := p.resident(round); ok {
			p.do(p.repeat, memory{schedule, keys + 16*round}, v)
		}
	}
}

// renew makes the base: round 1 without the counter's last byte, which is the same in 256 blocks.
func (p plan) renew() {
	p.at("renew")
	p.do("MOVQ", number, upper)
	p.do("ANDQ", immediate(-256), upper)
	p.do("BSWAPQ", upper)
	p.do("VMOVQ", upper, vector{'X', p.base().n})
	p.do("VPBROADCASTQ", vector{'X', p.base().n}, p.base())
	p.do(p.xor, p.scratch(), p.scratch(), p.scratch())
	p.do("VPUNPCKLQDQ", p.base(), p.scratch(), p.base())
	p.do(p.xor, p.key(0), p.base(), p.base())
	p.do("VAESENC", p.key(1), p.base(), p.base())
}

// ahead is how far memory is asked for before it is needed. Hardware does not look across the ends
// of pages; without this, what is not in a cache takes a tenth to a third longer.
const ahead = 1536

// stream makes one group in the states, or goes to end when there is none left to make.
func (p plan) stream(end label) {
	p.at("loop")
	p.do("CMPQ", left, immediate(p.group()))
	p.do("JLT", end)
	for at := 0; at < p.group(); at += 64 {
		p.do("PREFETCHT0", memory{data, ahead + at})
	}
	p.note("What the counter's last byte adds, for each block:")
	p.do("MOVQ", number, delta)
	p.do("ANDQ", immediate(255), delta)
	p.do("SHLQ", immediate(4), delta)
	p.do("ADDQ", schedule, delta)
	for i := range inFlight {
		p.do(p.xor, memory{delta, deltas + i*p.bytes}, p.base(), p.state(i))
	}
	for round := 2; round <= rounds; round++ {
		op := "VAESENC"
		if round == rounds {
			op = "VAESENCLAST"
		}
		k := p.key(round)
		for i := range inFlight {
			p.do(op, k, p.state(i), p.state(i))
		}
	}
}

// next goes to the group that follows, with another base where the last byte begins anew.
func (p plan) next() {
	p.do("ADDQ", immediate(p.group()), data)
	p.do("ADDQ", immediate(p.group()/16), number)
	p.do("SUBQ", immediate(p.group()), left)
	p.do("TESTB", number, number)
	p.do("JNZ", label("loop"))
	p.do("JMP", label("renew"))
}

func (w width) fill() routine {
	r := &routine{
		doc:       fmt.Sprintf("func fill%s(s *schedule, dst []byte, block uint64)", w.name),
		name:      "fill" + w.name,
		arguments: 40,
	}
	p := plan{w, r}
	p.begin("dst")
	p.renew()
	p.stream("done")
	for i := range inFlight {
		p.do(p.move, p.state(i), memory{data, i * p.bytes})
	}
	p.next()
	p.at("done")
	p.do("VZEROUPPER")
	p.do("RET")
	return *r
}

func (w width) equal() routine {
	r := &routine{
		doc:       fmt.Sprintf("func equal%s(s *schedule, p []byte, block uint64) bool", w.name),
		name:      "equal" + w.name,
		arguments: 41,
	}
	p := plan{w, r}
	p.begin("p")
	p.renew()
	p.stream("same")
	p.difference()
	p.do("JNZ", label("different"))
	p.next()
	p.at("same")
	p.do("VZEROUPPER")
	p.do("MOVB", immediate(1), argument{"ret", 40})
	p.do("RET")
	p.at("different")
	p.do("VZEROUPPER")
	p.do("MOVB", immediate(0), argument{"ret", 40})
	p.do("RET")
	return *r
}

// difference gathers in the first state every bit of the group that is not as in memory, and tests
// whether there is one.
func (p plan) difference() {
	all := p.state(0)
	p.do(p.xor, memory{data, 0}, all, all)
	if p.letter == 'Z' {
		const orXor = 0xF6 // a or (b xor c)
		for i := 1; i < inFlight; i++ {
			p.do("VPTERNLOGQ", immediate(orXor), memory{data, i * p.bytes}, p.state(i), all)
		}
		p.do("VPTESTMQ", all, all, mask(1))
		p.do("KORTESTW", mask(1), mask(1))
		return
	}
	for i := 1; i < inFlight; i++ {
		p.do(p.xor, memory{data, i * p.bytes}, p.state(i), p.state(i))
		p.do("VPOR", p.state(i), all, all)
	}
	p.do("VPTEST", all, all)
}
