package keystream

// vectors are the implementations that the CPU and the operating system say they have.
func vectors() []vector {
	var list []vector
	has := features()
	if has.vaes && has.avx512 {
		list = append(list, vector{"vaes-512", 512, fillVAES512, equalVAES512})
	}
	if has.vaes && has.avx2 {
		list = append(list, vector{"vaes-256", 256, fillVAES256, equalVAES256})
	}
	return list
}

// The length of dst and p is a multiple of the group, and the block number one of the blocks in it.
// equal stops at the first group that differs.

//go:noescape
func fillVAES256(s *schedule, dst []byte, block uint64)

//go:noescape
func equalVAES256(s *schedule, p []byte, block uint64) bool

//go:noescape
func fillVAES512(s *schedule, dst []byte, block uint64)

//go:noescape
func equalVAES512(s *schedule, p []byte, block uint64) bool

type cpu struct{ vaes, avx2, avx512 bool }

// features asks the CPU (Intel SDM volume 2, CPUID; the same bits on AMD's) and what the operating
// system keeps of registers when it switches tasks (XCR0).
func features() cpu {
	const (
		osxsave, avx            = 1 << 27, 1 << 28 // leaf 1, ECX
		leaf7AVX2, leaf7AVX512F = 1 << 5, 1 << 16  // leaf 7, EBX
		leaf7VAES               = 1 << 9           // leaf 7, ECX
		ymm                     = 1<<1 | 1<<2      // XCR0: SSE and AVX state
		zmm                     = ymm | 1<<5 | 1<<6 | 1<<7
	)
	highest, _, _, _ := cpuid(0, 0)
	_, _, c1, _ := cpuid(1, 0)
	if highest < 7 || c1&osxsave == 0 || c1&avx == 0 {
		return cpu{}
	}
	kept := xgetbv()
	_, b7, c7, _ := cpuid(7, 0)
	return cpu{
		vaes:   c7&leaf7VAES != 0,
		avx2:   b7&leaf7AVX2 != 0 && kept&ymm == ymm,
		avx512: b7&leaf7AVX512F != 0 && kept&zmm == zmm,
	}
}

func cpuid(leaf, sub uint32) (a, b, c, d uint32)

// xgetbv is the low half of XCR0.
func xgetbv() uint32
