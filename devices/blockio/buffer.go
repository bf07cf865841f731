package blockio

import "unsafe"

// Alignment is what direct I/O asks of a buffer's address on every drive in use.
const Alignment = 4096

// AlignedBuffer makes a buffer of n bytes that starts at a multiple of Alignment. It is ordinary
// memory of the Go heap, which never moves, and is freed as such.
func AlignedBuffer(n int) []byte {
	if n <= 0 {
		return nil
	}
	b := make([]byte, n+Alignment)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (Alignment - 1))
	return b[skip : skip+n : skip+n]
}
