package blockio_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/expunge-dev/expunge/devices/blockio"
	"github.com/expunge-dev/expunge/devices/devicetest"
)

// BenchmarkWrite writes zeros to a loop device over a file in memory, one after the other, with so many requests in
// flight: what a queue costs, since the device costs a copy. It needs root.
func BenchmarkWrite(b *testing.B) {
	if _, err := os.Stat("/dev/shm"); err == nil {
		b.Setenv("TMPDIR", "/dev/shm")
	}
	const size = 512 << 20
	for _, shape := range [][2]int{{64 << 10, 1}, {64 << 10, 8}, {64 << 10, 64}, {1 << 20, 1}, {1 << 20, 8}, {1 << 20, 32}} {
		for _, engine := range slices.Sorted(maps.Keys(engines)) {
			request, depth := shape[0], shape[1]
			b.Run(fmt.Sprintf("%dKiB/depth=%d/%s", request>>10, depth, engine), func(b *testing.B) {
				node, _ := devicetest.Loop(b, size, nil)
				f := direct(b, node)
				has(b, engine, f)
				q, err := engines[engine](nodeOf(f), depth)
				if err != nil {
					b.Fatal(err)
				}
				write(b, q, size, request)
				if err := q.Close(); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}

func write(b *testing.B, q blockio.Queue, size, request int) {
	free := make([]uint64, 0, q.Depth())
	buffers := make([][]byte, q.Depth())
	for i := range buffers {
		buffers[i] = blockio.AlignedBuffer(request)
		free = append(free, uint64(i))
	}
	done := make([]blockio.Completion, q.Depth())
	settle := func(most int) {
		for q.Depth()-len(free) > most {
			n, err := q.Complete(b.Context(), done)
			if err != nil {
				b.Fatal(err)
			}
			for _, c := range done[:n] {
				if c.Err != nil {
					b.Fatal(c.Err)
				}
				free = append(free, c.Tag)
			}
		}
	}
	b.SetBytes(int64(request))
	before := processor(b)
	for at := 0; b.Loop(); at = (at + request) % size {
		settle(q.Depth() - 1)
		tag := free[len(free)-1]
		free = free[:len(free)-1]
		if err := q.Submit(blockio.Request{Op: blockio.Write, Offset: int64(at), Data: buffers[tag], Tag: tag}); err != nil {
			b.Fatal(err)
		}
	}
	settle(0)
	gigabytes := float64(b.N) * float64(request) / 1e9
	b.ReportMetric(gigabytes/b.Elapsed().Seconds(), "GB/s")
	b.ReportMetric((processor(b)-before)/gigabytes, "CPU-s/GB")
	b.ReportMetric(0, "ns/op")
}

// processor is the time that this process has had of processors, in seconds.
func processor(b *testing.B) float64 {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
