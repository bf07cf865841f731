package agent

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

// zonedSpec is a drive of ten zones with gaps behind them, of which two may be partly written.
func zonedSpec() virtual.Spec {
	return virtual.Spec{Profile: "nvme-zns", Serial: "A", SizeBytes: 10 * 512 << 10, ZoneBytes: 512 << 10, ZoneCapacityBytes: 388 << 10, ActiveZones: 2, HiddenBytes: 64 << 10, EraseSeconds: 600}
}

// zonedSite has one, full of customer data.
func zonedSite(t *testing.T, faults ...string) (*site, *clock) {
	t.Helper()
	s, c := newTimed(t)
	s.add(zonedSpec())
	for _, f := range faults {
		s.fault("A", f)
	}
	return s, c
}

// blocks is what lies on the medium in blocks that exist, zone after zone, and beside them.
func (s *site) blocks() (existing, gaps []byte) {
	s.t.Helper()
	m, spec := s.medium(), zonedSpec()
	all := make([]byte, m.Addressable)
	if _, err := m.ReadAt(all, 0); err != nil {
		s.t.Fatal(err)
	}
	for at := int64(0); at < spec.SizeBytes; at += spec.ZoneBytes {
		existing, gaps = append(existing, all[at:at+spec.ZoneCapacityBytes]...), append(gaps, all[at+spec.ZoneCapacityBytes:at+spec.ZoneBytes]...)
	}
	return existing, gaps
}

const zonedBytes = 10 * 388 << 10

// Every block that exists is written, with what the plan says, and none is counted that does not.
func TestZonedOverwrite(t *testing.T) {
	for _, x := range []struct {
		name    string
		request sanitize.Request
		last    string // of the medium afterwards, in hexadecimal; "" is what nobody knows
	}{
		{"keystream", sanitize.Request{}, ""}, {"zeros", sanitize.Request{Pattern: "zero"}, "00"}, {"ones", sanitize.Request{Pattern: "one"}, "ff"},
		{"three bytes", sanitize.Request{Pattern: "924924"}, "924924"}, {"DoD", sanitize.Request{Scheme: "dod-5220.22-m"}, ""}, {"three passes", sanitize.Request{Scheme: "afssi-5020"}, ""},
		{"BSI", sanitize.Request{Scheme: "bsi-vsitr"}, "aa"}, {"flash", sanitize.Request{Scheme: "nist-800-88r1-flash"}, ""},
	} {
		for _, verify := range []sanitize.VerifyMode{sanitize.VerifySampled, sanitize.VerifyFull, sanitize.VerifyStatus} {
			t.Run(x.name+"/"+string(verify), func(t *testing.T) {
				t.Parallel()
				s, _ := zonedSite(t)
				x.request.Technique, x.request.Verify = sanitize.HostOverwrite, verify
				p := s.plan(x.request, "A")
				r := s.run(p)
				if r.Outcome != sanitize.Sanitized || r.Err != nil || len(p.Drives[0].Passes) == 0 || r.Evidence.BytesWritten != int64(len(p.Drives[0].Passes))*zonedBytes {
					t.Fatalf("%s %v %v, %d bytes", r.Outcome, r.Reasons, r.Err, r.Evidence.BytesWritten)
				}
				existing, gaps := s.blocks()
				if n := bytes.Count(existing, canary); n != 0 || len(existing) != zonedBytes || !bytes.Equal(gaps, make([]byte, len(gaps))) {
					t.Errorf("%d canaries in %d bytes, or something was written where there are no blocks", n, len(existing))
				}
				if unit, err := hex.DecodeString(x.last); x.last != "" && (err != nil || !bytes.Equal(existing, bytes.Repeat(unit, len(existing)/len(unit)+1)[:len(existing)])) {
					t.Errorf("the medium does not hold %s", x.last)
				}
				report := s.verify(r)
				device := report.Result.Device
				if z := device.Namespaces[0].Zones; report.Code != attest.CodeOK || device.SizeBytes != zonedBytes || z == nil || *z != (attest.Zones{Count: 10, SizeBytes: 512 << 10, CapacityBytes: 388 << 10}) {
					t.Errorf("%d %v %+v", report.Code, report.Reasons, device)
				}
				if v := report.Result.Verification; verify == sanitize.VerifyFull && (v.Bytes != zonedBytes || v.CoveragePPM != 1e6) {
					t.Errorf("%+v", v)
				}
			})
		}
	}
}

// Zones that cannot be written are exceptions of a host overwrite, block by block, whatever else is done.
func TestZonesThatCannotBeWritten(t *testing.T) {
	whole(t)
	for _, x := range []struct {
		name   string
		faults []string
		zones  []int64 // lost as a whole
		upTo   int64   // of zone 1, how many bytes at least are written before it ends; 0 is none that end
	}{
		{name: "offline", faults: []string{"zone-offline:3+2"}, zones: []int64{3, 4}},
		{name: "read-only", faults: []string{"zone-read-only:0+1"}, zones: []int64{0}},
		{name: "both", faults: []string{"zone-read-only:0+1", "zone-offline:9+1"}, zones: []int64{0, 9}},
		{name: "a block", faults: []string{"write-error:1300+1"}, upTo: 256 << 9}, // 276 blocks into zone 1
	} {
		t.Run(x.name, func(t *testing.T) {
			s, _ := zonedSite(t, x.faults...)
			r := s.run(s.plan(sanitize.Request{Technique: sanitize.HostOverwrite, Verify: sanitize.VerifyFull}, "A"))
			if r.Outcome != sanitize.Exceptions || r.Err != nil {
				t.Fatalf("%s %v %v", r.Outcome, r.Reasons, r.Err)
			}
			existing, _ := s.blocks()
			listed := int64(0)
			for _, e := range r.Evidence.Exceptions {
				clear(existing[e.Extent.Offset:e.Extent.End()])
				listed += e.Extent.Length
			}
			if n := bytes.Count(existing, canary); n != 0 {
				t.Errorf("%d canaries outside of %v", n, r.Evidence.Exceptions)
			}
			want := int64(len(x.zones)) * 388 << 10
			if x.upTo > 0 {
				want = 388<<10 - x.upTo
			}
			if listed != want || r.Evidence.ExceptionBytes != want {
				t.Errorf("%v: %d bytes, want %d", r.Evidence.Exceptions, listed, want)
			}
			if report := s.verify(r); report.Code != attest.CodeOutcome || report.Result.Outcome.ExceptionBytes != want {
				t.Errorf("%d %v %+v", report.Code, report.Reasons, report.Result.Outcome)
			}
		})
	}
	s, _ := zonedSite(t, "zone-offline:0+10")
	if r := s.run(s.plan(sanitize.Request{Technique: sanitize.HostOverwrite}, "A")); r.Outcome != sanitize.Failed {
		t.Errorf("no zone can be written: %s %v", r.Outcome, r.Reasons)
	}
}

// The drive's own erase reaches zones that the host cannot write or read, and the certificate says what
// that rests on.
func TestZonedPurge(t *testing.T) {
	whole(t)
	for _, x := range []struct {
		name, says string
		spec       func(*virtual.Spec)
		faults     []string
		outcome    sanitize.Outcome
	}{
		{name: "plain"},
		{name: "offline", faults: []string{"zone-offline:3+2"}, says: "2 of 10 zones of namespace 1 can neither be written nor read (offline): 794624 bytes: their erase rests on"},
		{name: "read-only", faults: []string{"zone-read-only:0+3"}, says: "3 of 10 zones of namespace 1 cannot be written (read-only)"},
		{name: "one zone at a time", spec: func(s *virtual.Spec) { s.ActiveZones = 1 }},
		{name: "all lost", faults: []string{"zone-offline:0+10"}, outcome: sanitize.Failed},
		{name: "most lost", faults: []string{"zone-read-only:0+8"}, outcome: sanitize.Failed},
	} {
		for _, technique := range []sanitize.Technique{sanitize.CryptoThenBlock, sanitize.CryptographicErase, sanitize.BlockErase} {
			t.Run(x.name+"/"+string(technique), func(t *testing.T) {
				s, _ := newTimed(t)
				spec := zonedSpec()
				if x.spec != nil {
					x.spec(&spec)
				}
				s.add(spec)
				for _, f := range x.faults {
					s.fault("A", f)
				}
				s.leaveBegun(8, 9)
				r := s.run(s.plan(sanitize.Request{Method: sanitize.Purge, Technique: technique, Verify: sanitize.VerifyFull}, "A"))
				if x.outcome != "" {
					if r.Outcome != x.outcome || len(s.begun()) != 0 {
						t.Errorf("%s %v, began %q", r.Outcome, r.Reasons, s.begun())
					}
					return
				}
				if r.Outcome != sanitize.Sanitized || r.Err != nil {
					t.Fatalf("%s %v %v", r.Outcome, r.Reasons, r.Err)
				}
				if addressable, hidden := s.canaries(); addressable+hidden != 0 {
					t.Errorf("%d canaries, %d hidden", addressable, hidden)
				}
				report := s.verify(r)
				says := strings.Join(report.Result.Sanitization.RestsOn, "\n")
				if report.Code != attest.CodeOK || !strings.Contains(says, x.says) || !strings.Contains(says, "read as if nothing were there, whatever the media hold") {
					t.Errorf("%d %v: %s", report.Code, report.Reasons, says)
				}
				if m := report.Result.Verification.Markers; m == nil || m.Set < 1000 || m.Changed+m.Unreadable != m.Set {
					t.Errorf("%+v", m)
				}
			})
		}
	}
}

// A drive that cannot leave its blocks allocated empties its zones: nothing that is read afterwards would show
// what it erased, so that its word alone can be taken.
func TestZonedPurgeThatEmptiesZones(t *testing.T) {
	whole(t)
	for _, technique := range []sanitize.Technique{sanitize.CryptoThenBlock, sanitize.CryptographicErase, sanitize.BlockErase} {
		s, _ := newTimed(t)
		spec := zonedSpec()
		spec.NoDeallocateInhibited = true
		s.add(spec)
		r := sanitize.Request{Method: sanitize.Purge, Technique: technique, Verify: sanitize.VerifyFull}
		s.refuses(r, "A", "not_provable")
		r.Verify = sanitize.VerifyStatus
		done := s.run(s.plan(r, "A"))
		says := strings.Join(s.verify(done).Result.Sanitization.RestsOn, "\n")
		if done.Outcome != sanitize.Sanitized || !strings.Contains(says, "the drive's zones are empty after the erase, and nothing of them is read back") {
			t.Errorf("%s %v: %s", done.Outcome, done.Reasons, says)
		}
	}
}

// Zones that somebody left partly written are not in the way of those that are marked, on a drive that
// takes many reports to tell its zones.
func TestZonesOfAnotherAreFinished(t *testing.T) {
	whole(t)
	s, _ := newTimed(t)
	s.add(virtual.Spec{Profile: "nvme-zns", Serial: "A", SizeBytes: 1024 * 8 << 10, ZoneBytes: 8 << 10, ActiveZones: 8})
	s.leaveBegun(100, 200, 300, 400, 500, 600, 700, 800)
	r := s.run(s.plan(purge(), "A"))
	if r.Outcome != sanitize.Sanitized || r.Evidence.Markers.Set != 2000 {
		t.Errorf("%s %v %+v", r.Outcome, r.Reasons, r.Evidence.Markers)
	}
}

// leaveBegun leaves zones partly written, as whoever used the drive might.
func (s *site) leaveBegun(zones ...int64) {
	s.t.Helper()
	tr, err := s.rack.Opener()(s.t.Context(), "/dev/nvme0n1", devices.Exclusive)
	if err != nil {
		s.t.Fatal(err)
	}
	d := s.drive().Namespaces[0]
	for _, n := range zones {
		for _, c := range []nvme.Command{{Opcode: 0x79, CDW13: 4}, {Opcode: 0x01, Data: bytes.Repeat(canary, 512)[:512]}} {
			c.Queue, c.NSID, c.CDW10 = nvme.IO, 1, uint32(n*d.Zones.SizeBytes/512)
			if _, err := tr.NVMe(s.t.Context(), &c); err != nil { // zones that are lost take neither
				s.t.Fatal(err)
			}
		}
	}
	if err := tr.Close(); err != nil {
		s.t.Fatal(err)
	}
}

// hooked calls before each I/O command of a drive that is held.
func (s *site) hooked(c *clock, before func(c *nvme.Command) error) {
	s.agent = s.timed(devices.NewHost(s.rack.Root(), func(ctx context.Context, node string, access devices.Access) (devices.Transport, error) {
		tr, err := s.rack.Opener()(ctx, node, access)
		if err != nil || access != devices.Exclusive {
			return tr, err
		}
		return hook{tr, before}, nil
	}, nil), c)
}

type hook struct {
	devices.Transport
	before func(c *nvme.Command) error
}

func (h hook) NVMe(ctx context.Context, c *nvme.Command) (nvme.Completion, error) {
	if c.Queue == nvme.IO {
		if err := h.before(c); err != nil {
			return nvme.Completion{}, err
		}
	}
	return h.Transport.NVMe(ctx, c)
}

// A zone that was partly written is reset and written again from its start, and from the moment before
// the reset on nothing of it counts as done: not even when the work is cut off a second time before it is written.
func TestZoneIsTakenBack(t *testing.T) {
	whole(t)
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprintf("cut off again %v", again), func(t *testing.T) { takenBack(t, again) })
	}
}

func takenBack(t *testing.T, again bool) {
	s, c := zonedSite(t)
	p := s.plan(sanitize.Request{Technique: sanitize.HostOverwrite, Verify: sanitize.VerifyFull}, "A")
	// Stopped by a person in the middle of zones: what is flushed is noted.
	ctx, stop := context.WithCancel(t.Context())
	var writes atomic.Int64
	s.hooked(c, func(cmd *nvme.Command) error {
		if cmd.Opcode == 0x01 && writes.Add(1) == 9 {
			stop()
		}
		return nil
	})
	done := func() (bytes int64) {
		e, err := sanitize.Fold(s.journal(p))
		if err != nil {
			t.Fatal(err)
		}
		return e.BytesWritten
	}
	j, err := s.agent.Start(ctx, p, Started{}, Observer{})
	if err != nil || j.Drives[0].Outcome != sanitize.Interrupted {
		t.Fatalf("%+v %v", j.Drives, err)
	}
	first := done()
	if first == 0 || first%(388<<10) == 0 {
		t.Fatalf("%d bytes are done, and no zone is partly written", first)
	}
	if again {
		// Zones are reset, and power goes before any is written.
		var reset atomic.Bool
		s.hooked(c, func(cmd *nvme.Command) error {
			if cmd.Opcode == 0x79 {
				reset.Store(true)
			}
			if cmd.Opcode == 0x01 {
				return errors.Join(devices.ErrGone, errors.New("power failed"))
			}
			return nil
		})
		if j, err = s.agent.Resume(t.Context(), jobName(p), Observer{}); err != nil || j.Drives[0].Outcome != sanitize.Interrupted || !reset.Load() {
			t.Fatalf("%+v %v", j.Drives, err)
		}
		if second := done(); second >= first || second%(388<<10) != 0 {
			t.Errorf("%d bytes are done after zones were reset, before %d were", second, first)
		}
	}
	s.hooked(c, func(*nvme.Command) error { return nil })
	if j, err = s.agent.Resume(t.Context(), jobName(p), Observer{}); err != nil || j.Drives[0].Outcome != sanitize.Sanitized {
		t.Fatalf("%+v %v", j.Drives, err)
	}
	if existing, _ := s.blocks(); bytes.Contains(existing, canary) || s.verify(j.Drives[0]).Code != attest.CodeOK {
		t.Error("customer data is left")
	}
}

// journal is what is on disk of a plan's only drive.
func (s *site) journal(p sanitize.Plan) journal.Parsed {
	s.t.Helper()
	parsed, err := journal.Read(s.agent.driveFile(jobName(p), p.Drives[0].ID, journalFile))
	if err != nil {
		s.t.Fatal(err)
	}
	return parsed
}

// No zone is reset before that is on disk.
func TestZonesAreResetAfterTheRecord(t *testing.T) {
	whole(t)
	s, c := zonedSite(t)
	p := s.plan(sanitize.Request{Scheme: "nist-800-88r1-flash"}, "A")
	resets := 0
	s.hooked(c, func(cmd *nvme.Command) error {
		if cmd.Opcode != 0x79 {
			return nil
		}
		resets++
		records := s.journal(p).Records
		if last := records[len(records)-1]; last.Kind != "zones_reset" {
			t.Errorf("a zone is reset after %q", last.Kind)
		}
		return nil
	})
	if r := s.run(p); r.Outcome != sanitize.Sanitized || resets != 2 {
		t.Errorf("%s %v, %d resets", r.Outcome, r.Reasons, resets)
	}
}

// A drive that acknowledges writes and loses them has write pointers that look right.
func TestZonedDriveThatLies(t *testing.T) {
	whole(t)
	for _, f := range []string{"drop-writes", "drop-writes:1024+776", "drop-writes:9700+200"} {
		s, _ := zonedSite(t, f)
		if r := s.run(s.plan(sanitize.Request{Technique: sanitize.HostOverwrite}, "A")); r.Outcome != sanitize.Unproven {
			t.Errorf("%s: %s %v", f, r.Outcome, r.Reasons)
		}
	}
}

// What a drive says of its zones may change between plan and run, or not be the same twice.
func TestZonesThatChange(t *testing.T) {
	whole(t)
	s, c := zonedSite(t)
	p := s.plan(sanitize.Request{Technique: sanitize.HostOverwrite}, "A")
	s.leaveBegun(8, 9)
	var refused *RefusedError
	if _, err := s.agent.Start(t.Context(), p, Started{}, Observer{}); !errors.As(err, &refused) {
		t.Errorf("written to after it was planned: %v", err)
	}
	p = s.plan(sanitize.Request{Technique: sanitize.HostOverwrite}, "A")
	reports := 0
	s.twist(c, func(cmd *nvme.Command, _ *nvme.Completion) error {
		if cmd.Opcode == 0x7a {
			if reports++; reports > 4 {
				for at := 64; at < len(cmd.Data); at += 64 {
					if cmd.Data[at+8] == 8 { // 776 blocks
						cmd.Data[at+8] = 0
					}
				}
			}
		}
		return nil
	})
	j, err := s.agent.Start(t.Context(), p, Started{}, Observer{})
	if err != nil || j.Drives[0].Outcome != sanitize.Interrupted || !errors.Is(j.Drives[0].Err, devices.ErrChanged) {
		t.Fatalf("%+v %v", j.Drives, err)
	}
}

// A zoned drive whose sanitize failed does not tell its zones: nothing is planned before that is over.
func TestZonedSanitizeThatFailed(t *testing.T) {
	whole(t)
	s, _ := zonedSite(t, "sanitize-fail:40")
	want(t, s.run(s.plan(sanitize.Request{Method: sanitize.Purge, FailureMode: sanitize.Unrestricted}, "A")), sanitize.Failed, "")
	if err := s.rack.ClearFaults("A"); err != nil {
		t.Fatal(err)
	}
	for _, r := range []sanitize.Request{purge(), {Technique: sanitize.HostOverwrite}, {Method: sanitize.Purge, Verify: sanitize.VerifyStatus}} {
		if p := s.plan(r, "A"); len(p.Refused) != 1 || p.Refused[0].Reasons[0].Code != devices.ReasonZonesUnknown {
			t.Errorf("%+v", p.Refused)
		}
	}
	if _, err := s.agent.ExitFailureMode(t.Context(), "A"); err != nil {
		t.Fatal(err)
	}
	want(t, s.run(s.plan(purge(), "A")), sanitize.Sanitized, "")
}

// The drive's sanitize fails, or goes on, while nobody looks: the job comes to the right end all the same.
func TestZonedSanitizeWhileTheHostIsAway(t *testing.T) {
	whole(t)
	for _, x := range []struct {
		fault   string
		outcome sanitize.Outcome
	}{{"sanitize-fail:60", sanitize.Failed}, {"sanitize-power-cut:60", sanitize.Sanitized}, {"progress-stuck:20000", sanitize.Sanitized}} {
		s, c := zonedSite(t, x.fault)
		p := s.plan(purge(), "A")
		s.stopWhile(c, p)
		c.pass(time.Hour)
		j, err := s.agent.Resume(t.Context(), jobName(p), Observer{})
		if err != nil {
			t.Fatal(err)
		}
		want(t, j.Drives[0], x.outcome, "")
	}
}
