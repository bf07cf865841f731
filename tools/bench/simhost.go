package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/expunge-dev/expunge/devices/blockio"
	"github.com/expunge-dev/expunge/sanitize/overwrite"
)

// simHost is a host of alike drives that are not here.
type simHost struct {
	name    string
	what    string
	drives  int
	rate    float64 // bytes per second and drive
	latency time.Duration
	hangs   bool // one of them hangs after a quarter of its work
	heads   bool // they are hard disks
}

var simHosts = []simHost{
	{"hdd", "90 hard disks, 270 MB/s", 90, 270e6, 500 * time.Microsecond, false, true},
	{"hdd-hang", "the same, one hangs", 90, 270e6, 500 * time.Microsecond, true, true},
	{"nvme", "2 NVMe drives, 7 GB/s", 2, 7e9, 20 * time.Microsecond, false, false},
}

// SimRow is what a simulated host shows. A drive's share is its rate over its limit, from the common
// beginning to its own end.
type SimRow struct {
	Host    string  `json:"host"`
	Drives  int     `json:"drives"` // that did not hang
	Hung    int     `json:"hung"`
	Scale   float64 `json:"scale"`
	Limit   float64 `json:"limit_mb_per_second"` // of each, scaled
	Share   Stat    `json:"share"`
	Total   float64 `json:"gb_per_second"`
	Cores   float64 `json:"cores"` // processor time by time
	CPU     float64 `json:"cpu_seconds_per_gb"`
	Clock   float64 `json:"clock_cpu_seconds"` // of the simulation itself, not in the above
	PeakMiB int64   `json:"peak_resident_mib"`
	Void    string  `json:"void,omitempty"`
}

// simulate has the engine write all drives of a host at once.
func (h simHost) simulate(ctx context.Context, o Options) (SimRow, error) {
	row := SimRow{Host: h.what, Scale: o.Scale}
	limit := h.rate * o.Scale
	var adapter *lane
	if o.HBA > 0 {
		adapter = &lane{rate: o.HBA * 1e9 * o.Scale}
		limit = min(limit, adapter.rate/float64(h.drives))
	}
	row.Limit = limit / 1e6
	size := max(1<<20, int64(limit*o.SimTime.Seconds())>>20<<20)
	clock := newSimClock()
	drives := make([]*simDrive, h.drives)
	for i := range drives {
		drives[i] = newSimDrive(clock, overwrite.QueueDepth, h.rate*o.Scale, h.latency, adapter)
	}
	hung := -1
	if h.hangs {
		hung = h.drives / 2
		drives[hung].hangs = size / 4
	}
	took, errs := make([]time.Duration, h.drives), make([]error, h.drives)
	shared := overwrite.NewBudget(overwrite.DefaultBudget)
	before, err := usedBy(unix.RUSAGE_SELF)
	if err != nil {
		return row, err
	}
	begin := time.Now()
	var healthy, stuck sync.WaitGroup
	for i, d := range drives {
		group := &healthy
		if i == hung {
			group = &stuck
		}
		group.Go(func() {
			errs[i] = h.simulateOne(ctx, d, size, shared)
			took[i] = time.Since(begin)
		})
	}
	healthy.Wait()
	elapsed := time.Since(begin)
	after, err := usedBy(unix.RUSAGE_SELF)
	if err != nil {
		return row, err
	}
	for _, d := range drives {
		d.release()
	}
	stuck.Wait()
	row.Clock = clock.stop().Seconds()
	var shares []float64
	for i := range drives {
		if i == hung {
			row.Hung++
			if !errors.Is(errs[i], errHung) {
				return row, fmt.Errorf("the drive that hangs ended: %v", errs[i])
			}
			continue
		}
		if errs[i] != nil {
			return row, fmt.Errorf("drive %d: %w", i+1, errs[i])
		}
		row.Drives++
		shares = append(shares, float64(size)/limit/took[i].Seconds())
	}
	row.Share = statOf(shares)
	used := max(0, (after-before).Seconds()-row.Clock)
	gb := float64(size) * float64(row.Drives) / 1e9
	row.Total, row.Cores, row.CPU = gb/elapsed.Seconds(), used/elapsed.Seconds(), used/gb
	row.PeakMiB, err = peakResident()
	return row, err
}

func (h simHost) simulateOne(ctx context.Context, d *simDrive, size int64, shared *overwrite.Budget) (err error) {
	pattern, err := patternOf(Random)
	if err != nil {
		return err
	}
	var q blockio.Queue = d
	defer func() { err = errors.Join(err, q.Close()) }()
	tuner := flash()
	if h.heads {
		tuner = overwrite.NewTuner(nil, overwrite.MagneticRequests, overwrite.MagneticRequests)
	}
	o, done := reckoned(4096, shared, tuner)
	o.Gone = func(err error) bool { return errors.Is(err, errHung) }
	if err := overwrite.Fill(ctx, q, []overwrite.Extent{{Offset: 0, Length: size}}, pattern, o); err != nil {
		return err
	}
	if *done != size {
		return fmt.Errorf("%d of %d bytes were written", *done, size)
	}
	return nil
}

// peakResident is the most memory that this process has had, in MiB.
func peakResident() (int64, error) {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(data), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0, errors.New("/proc/self/status does not tell VmHWM")
	}
	kib, err := strconv.ParseInt(fields[0], 10, 64)
	return kib >> 10, err
}
