package main

import (
	"fmt"
	"strings"
)

// routine is one function in Go's assembly.
type routine struct {
	doc       string
	name      string
	arguments int // bytes of arguments and result
	code      []instruction
}

// instruction is an operation and its operands, the destination last; or a place to jump to, when
// it has no operation.
type instruction struct {
	op       string
	operands []operand
	comment  string
}

// operand is one of the types below.
type operand interface{ String() string }

type (
	general string // a general register
	vector  struct {
		letter byte // X, Y or Z: 128, 256 or 512 bits of it
		n      int
	}
	mask      int // a mask register
	immediate int64
	argument  struct { // of the function
		name   string
		offset int
	}
	memory struct { // what a register points to
		base   general
		offset int
	}
	label string
)

func (g general) String() string   { return string(g) }
func (v vector) String() string    { return fmt.Sprintf("%c%d", v.letter, v.n) }
func (m mask) String() string      { return fmt.Sprintf("K%d", int(m)) }
func (i immediate) String() string { return fmt.Sprintf("$%d", int64(i)) }
func (a argument) String() string  { return fmt.Sprintf("%s+%d(FP)", a.name, a.offset) }
func (l label) String() string     { return string(l) }

func (m memory) String() string {
	if m.offset == 0 {
		return fmt.Sprintf("(%s)", m.base)
	}
	return fmt.Sprintf("%d(%s)", m.offset, m.base)
}

func (r *routine) do(op string, operands ...operand) {
	r.code = append(r.code, instruction{op: op, operands: operands})
}

func (r *routine) at(l label) { r.do("", l) }

// note explains the instructions that follow.
func (r *routine) note(format string, args ...any) {
	r.code = append(r.code, instruction{comment: fmt.Sprintf(format, args...)})
}

// String is the routine as the assembler reads it.
func (r routine) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "// %s\nTEXT ·%s(SB), NOSPLIT, $0-%d\n", r.doc, r.name, r.arguments)
	for _, i := range r.code {
		switch {
		case i.comment != "":
			fmt.Fprintf(&b, "\t// %s\n", i.comment)
		case i.op == "":
			fmt.Fprintf(&b, "%s:\n", i.operands[0])
		case len(i.operands) == 0:
			fmt.Fprintf(&b, "\t%s\n", i.op)
		default:
			var list []string
			for _, o := range i.operands {
				list = append(list, o.String())
			}
			fmt.Fprintf(&b, "\t%s %s\n", i.op, strings.Join(list, ", "))
		}
	}
	return b.String()
}
