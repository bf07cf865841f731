package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices/blockio"
)

func TestSimulatedDriveIsAQueue(t *testing.T) {
	clock := newSimClock()
	defer clock.stop()
	d := newSimDrive(clock, 2, 1e9, 0, &lane{rate: 1e9})
	var done [4]blockio.Completion
	if _, err := d.Complete(t.Context(), done[:]); !errors.Is(err, blockio.ErrIdle) {
		t.Errorf("idle: %v", err)
	}
	for tag := range uint64(2) {
		if err := d.Submit(blockio.Request{Op: blockio.Write, Data: make([]byte, 4096), Tag: tag}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Submit(blockio.Request{Op: blockio.Flush}); !errors.Is(err, blockio.ErrFull) {
		t.Errorf("full: %v", err)
	}
	tags := map[uint64]int{}
	for ended := 0; ended < 2; {
		n, err := d.Complete(t.Context(), done[:])
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range done[:n] {
			if c.Err != nil || c.N != 4096 {
				t.Errorf("%+v", c)
			}
			tags[c.Tag]++
		}
		ended += n
	}
	if tags[0] != 1 || tags[1] != 1 {
		t.Errorf("ended: %v", tags)
	}
	// What cannot be answered truthfully is an error.
	if err := d.Submit(blockio.Request{Op: blockio.Read, Data: make([]byte, 512)}); err != nil {
		t.Fatal(err)
	}
	if n, err := d.Complete(t.Context(), done[:]); err != nil || n != 1 || !errors.Is(done[0].Err, errReads) {
		t.Errorf("a read: %d, %v, %+v", n, err, done[0])
	}
}

func TestSimulatedDriveThatHangs(t *testing.T) {
	clock := newSimClock()
	defer clock.stop()
	d := newSimDrive(clock, 2, 1e9, 0, nil)
	d.hangs = 0
	if err := d.Submit(blockio.Request{Op: blockio.Write, Data: make([]byte, 4096)}); err != nil {
		t.Fatal(err)
	}
	var done [2]blockio.Completion
	over, stop := context.WithCancel(t.Context())
	stop()
	if _, err := d.Complete(over, done[:]); !errors.Is(err, context.Canceled) {
		t.Errorf("it answered: %v", err)
	}
	d.release()
	if n, err := d.Complete(t.Context(), done[:]); err != nil || n != 1 || !errors.Is(done[0].Err, errHung) {
		t.Errorf("released: %d, %v, %+v", n, err, done[0])
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// A drive is never faster than its rate, nor are drives behind one adapter together.
func TestLanes(t *testing.T) {
	now := time.Now()
	l := &lane{rate: 1e6}
	for i := range 10 {
		if got, want := l.carry(now, 1e6).Sub(now), time.Duration(i+1)*time.Second; got != want {
			t.Fatalf("request %d is through after %v, want %v", i, got, want)
		}
	}
	later := now.Add(time.Minute)
	if got := l.carry(later, 1e6).Sub(later); got != time.Second {
		t.Errorf("after a pause: %v", got)
	}
}

// The row is made of the drives that did not hang, and the one that did was seen to.
func TestSimulatedHost(t *testing.T) {
	o := Options{Scale: 1, SimTime: 100 * time.Millisecond, HBA: 1}
	row, err := simHost{"test", "5 drives", 5, 50e6, 0, true, false}.simulate(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if row.Drives != 4 || row.Hung != 1 || row.Share.Median <= 0 || row.PeakMiB <= 0 || row.Limit != 50 {
		t.Errorf("%+v", row)
	}
	o.HBA = 0.1
	if row, err = (simHost{"test", "5 drives", 5, 50e6, 0, false, false}).simulate(t.Context(), o); err != nil || row.Limit != 20 || row.Hung != 0 {
		t.Errorf("behind an adapter: %+v, %v", row, err)
	}
}
