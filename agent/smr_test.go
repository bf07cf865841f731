package agent

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/scsi"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// shingled is a hard disk of ten zones that the host writes in order, but for the first two, in which it may
// begin one at a time.
func shingled(profile string) virtual.Spec {
	return virtual.Spec{Profile: profile, Serial: "A", SizeBytes: 10 * 256 << 10, ZoneBytes: 256 << 10, ConventionalZones: 2, ActiveZones: 1, HiddenBytes: 64 << 10, EraseSeconds: 600}
}

// Every block of a disk with zones of both kinds is written, by its own commands, whatever it lets be read; what
// cannot be written is listed, and what is not listed is gone.
func TestShingledOverwrite(t *testing.T) {
	for _, x := range []struct {
		name    string
		profile string
		faults  []string
		bounded bool
		lost    int64 // bytes at most that are exceptions
	}{
		{name: "plain", profile: "sas-hdd-smr"},
		{name: "SATA", profile: "sata-hdd-smr"},
		{name: "host-aware", profile: "sas-hdd-aware"},
		{name: "bounded reads", profile: "sas-hdd-smr", bounded: true},
		{name: "offline and read-only", profile: "sas-hdd-smr", faults: []string{"zone-offline:3+1", "zone-read-only:9+1"}, lost: 512 << 10},
		{name: "conventional ones lost", profile: "sata-hdd-smr", faults: []string{"zone-read-only:0+1", "zone-offline:1+1"}, lost: 512 << 10},
		// A bad block is an obstacle in a zone that is written in order, and none in another.
		{name: "bad block of a conventional zone", profile: "sas-hdd-smr", faults: []string{"write-error:600+1"}, lost: 512},
		{name: "bad block in order", profile: "sas-hdd-smr", faults: []string{"write-error:1324+1"}, lost: 128 << 10},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			s, _ := newTimed(t)
			spec := shingled(x.profile)
			if spec.BoundedReads = x.bounded; x.profile == "sas-hdd-aware" {
				spec.ConventionalZones, spec.ActiveZones = 0, 0
			}
			s.add(spec)
			for _, f := range x.faults {
				s.fault("A", f)
			}
			r := s.run(s.plan(sanitize.Request{Technique: sanitize.HostOverwrite, Verify: sanitize.VerifyFull}, "A"))
			want := sanitize.Sanitized
			if x.lost > 0 {
				want = sanitize.Exceptions
			}
			if r.Outcome != want || r.Err != nil || r.Evidence.ExceptionBytes > x.lost {
				t.Fatalf("%s %v %v, %d bytes are exceptions", r.Outcome, r.Reasons, r.Err, r.Evidence.ExceptionBytes)
			}
			m := s.medium()
			all := make([]byte, m.Addressable)
			if _, err := m.ReadAt(all, 0); err != nil {
				t.Fatal(err)
			}
			for _, e := range r.Evidence.Exceptions {
				clear(all[e.Extent.Offset:e.Extent.End()])
			}
			if n := bytes.Count(all, canary); n != 0 {
				t.Errorf("%d canaries outside of %v", n, r.Evidence.Exceptions)
			}
			report := s.verify(r)
			z := report.Result.Device.Zones
			if x.profile != "sas-hdd-aware" && (z == nil || *z != (attest.Zones{Count: 10, SizeBytes: 256 << 10, CapacityBytes: 256 << 10})) || x.profile == "sas-hdd-aware" && z != nil {
				t.Errorf("zones in the certificate: %+v", z)
			}
		})
	}
}

// lossy loses answers of writes: of some that were carried out, and of some that were not.
type lossy struct {
	devices.Transport
	writes *atomic.Int64
}

func (l lossy) SCSI(ctx context.Context, c *scsi.Command) (scsi.Result, error) {
	if c.CDB[0] != 0x8a {
		return l.Transport.SCSI(ctx, c)
	}
	n := l.writes.Add(1)
	if n%5 == 0 {
		return scsi.Result{HostStatus: 8}, nil
	}
	r, err := l.Transport.SCSI(ctx, c)
	if n%3 == 0 {
		r = scsi.Result{HostStatus: 3}
	}
	return r, err
}

// A write whose answer is lost may have moved the write pointer: it is neither sent again where it was carried
// out, nor taken to be there where it was not.
func TestShingledWriteWithoutAnAnswer(t *testing.T) {
	whole(t)
	s, c := newTimed(t)
	s.add(shingled("sas-hdd-smr"))
	p := s.plan(sanitize.Request{Technique: sanitize.HostOverwrite, Verify: sanitize.VerifyFull}, "A")
	var writes atomic.Int64
	s.agent = s.timed(devices.NewHost(s.rack.Root(), func(ctx context.Context, node string, access devices.Access) (devices.Transport, error) {
		tr, err := s.rack.Opener()(ctx, node, access)
		return lossy{tr, &writes}, err
	}, nil), c)
	r := s.run(p)
	if r.Outcome != sanitize.Sanitized || r.Err != nil || writes.Load() < 20 {
		t.Fatalf("%s %v %v, %d writes", r.Outcome, r.Reasons, r.Err, writes.Load())
	}
	if n, _ := s.canaries(); n != 0 {
		t.Errorf("%d canaries", n)
	}
}

// The drive is told not to reset its zones, so that what is read afterwards comes from the media: what an erase
// left out is found.
func TestShingledPurge(t *testing.T) {
	whole(t)
	for _, x := range []struct {
		profile   string
		technique sanitize.Technique
		fault     string
		outcome   sanitize.Outcome
	}{
		{"sas-hdd-smr", sanitize.DriveOverwrite, "", sanitize.Sanitized}, {"sas-hdd-smr", sanitize.CryptographicErase, "", sanitize.Sanitized},
		{"sata-hdd-smr", sanitize.DriveOverwrite, "", sanitize.Sanitized}, {"sas-hdd-aware", sanitize.DriveOverwrite, "", sanitize.Sanitized},
		{"sas-hdd-smr", sanitize.DriveOverwrite, "skip-erase:1100+800", sanitize.Unproven}, {"sata-hdd-smr", sanitize.DriveOverwrite, "skip-erase:1100+800", sanitize.Unproven},
		{"sas-hdd-aware", sanitize.DriveOverwrite, "skip-erase:1100+800", sanitize.Unproven}, {"sas-hdd-smr", sanitize.DriveOverwrite, "zone-offline:3+1", sanitize.Sanitized},
	} {
		t.Run(x.profile+"/"+string(x.technique)+"/"+x.fault, func(t *testing.T) {
			t.Parallel()
			s, _ := newTimed(t)
			spec := shingled(x.profile)
			if x.profile == "sas-hdd-aware" {
				spec.ConventionalZones, spec.ActiveZones = 0, 0
			}
			s.add(spec)
			if x.fault != "" {
				s.fault("A", x.fault)
			}
			p := s.plan(sanitize.Request{Method: sanitize.Purge, Technique: x.technique, Verify: sanitize.VerifyFull}, "A")
			r := s.run(p)
			if r.Outcome != x.outcome || r.Err != nil {
				t.Fatalf("%s %v %v", r.Outcome, r.Reasons, r.Err)
			}
			if o := p.Drives[0].Operations[0]; !strings.Contains(o.Command, "zones not reset") {
				t.Errorf("%+v", o)
			}
			if addressable, hidden := s.canaries(); x.outcome == sanitize.Sanitized && addressable+hidden != 0 {
				t.Errorf("%d canaries, %d hidden", addressable, hidden)
			}
			if report := s.verify(r); !slices.ContainsFunc(report.Result.Sanitization.RestsOn, func(w string) bool { return strings.Contains(w, "zones") }) {
				t.Errorf("%v", report.Result.Sanitization.RestsOn)
			}
		})
	}
}

// An erase that leaves zones empty proves nothing to who reads them: it is refused, unless the drive's word is
// to be taken.
func TestShingledThatResetsItsZones(t *testing.T) {
	whole(t)
	s, _ := newTimed(t)
	spec := shingled("sas-hdd-smr")
	spec.ZonesReset = true
	s.add(spec)
	for _, technique := range []sanitize.Technique{sanitize.DriveOverwrite, sanitize.CryptographicErase, sanitize.Format} {
		r := sanitize.Request{Method: sanitize.Clear, Technique: technique}
		s.refuses(r, "A", "not_provable")
	}
	r := s.run(s.plan(sanitize.Request{Method: sanitize.Purge, Technique: sanitize.DriveOverwrite, Verify: sanitize.VerifyStatus}, "A"))
	if r.Outcome != sanitize.Sanitized || r.Err != nil {
		t.Fatalf("%s %v %v", r.Outcome, r.Reasons, r.Err)
	}
	if report := s.verify(r); !slices.ContainsFunc(report.Result.Sanitization.RestsOn, func(w string) bool { return strings.Contains(w, "zones are empty") }) {
		t.Errorf("%v", report.Result.Sanitization.RestsOn)
	}
}

// Of a host-aware disk, too, it is said which zones cannot be written or read, and that what was written over may
// be where it was.
func TestHostAwareZonesThatAreLost(t *testing.T) {
	whole(t)
	s, _ := newTimed(t)
	s.add(withZones("sas-hdd-aware"))
	s.fault("A", "zone-offline:3+1")
	s.fault("A", "zone-read-only:8+1")
	d := s.drive()
	for _, code := range []string{devices.ReasonZonesOffline, devices.ReasonZonesReadOnly} {
		if lack, is := d.Lack(code); !is || !strings.Contains(lack.Message, "1 of 10 zones") {
			t.Errorf("%s: %+v", code, d.Lacks)
		}
	}
	if !slices.ContainsFunc(d.Notes, func(n devices.Reason) bool {
		return n.Code == "zoned_disk" && strings.Contains(n.Message, "may stay where it was")
	}) {
		t.Errorf("%+v", d.Notes)
	}
	p := s.plan(sanitize.Request{Method: sanitize.Purge, Technique: sanitize.DriveOverwrite, Verify: sanitize.VerifyFull}, "A")
	r := s.run(p)
	report := s.verify(r)
	says := strings.Join(report.Result.Sanitization.RestsOn, "\n")
	v := report.Result.Verification
	if r.Outcome != sanitize.Sanitized || !strings.Contains(says, "can neither be written nor read (offline)") || !strings.Contains(says, "cannot be written (read-only)") || v.UnwrittenBlocks != 1024 {
		t.Errorf("%s %v: %s %+v", r.Outcome, r.Reasons, says, v)
	}
	p = s.plan(sanitize.Request{Technique: sanitize.HostOverwrite, Verify: sanitize.VerifyFull}, "A")
	r = s.run(p)
	if r.Outcome != sanitize.Exceptions || r.Evidence.ExceptionBytes != 512<<10 || len(p.Drives[0].Excludes) < 3 {
		t.Errorf("%s %v, %d bytes, %+v", r.Outcome, r.Reasons, r.Evidence.ExceptionBytes, p.Drives[0].Excludes)
	}
}

// A disk that the kernel sees otherwise than it is is not chosen.
func TestShingledThatTheKernelSeesOtherwise(t *testing.T) {
	whole(t)
	for name, files := range map[string]map[string]string{
		"not zoned": {"zoned": "none"}, "other zones": {"chunk_sectors": "1024"}, "fewer": {"nr_zones": "9"},
	} {
		for _, profile := range []string{"sas-hdd-smr", "sata-hdd-smr"} {
			s, _ := newTimed(t)
			s.add(shingled(profile))
			for file, text := range files {
				s.sysfs("sys/block/sda/queue/"+file, text)
			}
			t.Log(name, profile)
			s.refuses(sanitize.Request{Technique: sanitize.HostOverwrite}, "A", devices.ReasonZonesUnknown)
		}
	}
	s, _ := newTimed(t)
	s.add(virtual.Spec{Profile: "sas-hdd", Serial: "A", SizeBytes: 4 << 20})
	s.sysfs("sys/block/sda/queue/zoned", "host-managed")
	s.refuses(sanitize.Request{Technique: sanitize.HostOverwrite}, "A", devices.ReasonZonesUnknown)
}

// sysfs has the rack's kernel show something else.
func (s *site) sysfs(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.rack.Root(), name), []byte(text+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
}
