package agent

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/scsi"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
	"github.com/expunge-dev/expunge/sanitize/overwrite"
)

// zonedKinds are drives with zones of each command set. All of their zones are written in order, but for some of
// shingled disks.
var zonedKinds = []struct {
	profile    string
	techniques []sanitize.Technique
}{
	{"nvme-zns", []sanitize.Technique{sanitize.CryptoThenBlock, sanitize.CryptographicErase, sanitize.BlockErase}},
	{"sas-hdd-smr", []sanitize.Technique{sanitize.DriveOverwrite, sanitize.CryptographicErase}},
	{"sata-hdd-smr", []sanitize.Technique{sanitize.DriveOverwrite}},
	{"sas-hdd-aware", []sanitize.Technique{sanitize.DriveOverwrite}},
}

// withZones is a drive of a profile with ten zones.
func withZones(profile string) virtual.Spec {
	spec := shingled(profile)
	switch profile {
	case "nvme-zns":
		spec = zonedSpec()
	case "sas-hdd-aware":
		spec.ConventionalZones, spec.ActiveZones = 0, 0
	}
	return spec
}

// A drive that empties its zones although it was told not to reads as erased, whatever it left out: that is
// found by what it says of its zones, and without it nothing is claimed.
func TestZonesEmptiedAgainstTheCommand(t *testing.T) {
	for _, kind := range zonedKinds {
		for _, technique := range kind.techniques {
			for _, verify := range []sanitize.VerifyMode{sanitize.VerifySampled, sanitize.VerifyFull, sanitize.VerifyStatus} {
				t.Run(fmt.Sprintf("%s/%s/%s", kind.profile, technique, verify), func(t *testing.T) {
					t.Parallel()
					s, _ := newTimed(t)
					s.add(withZones(kind.profile))
					s.fault("A", "lie:zones-reset")
					s.fault("A", "skip-erase:1100+3000")
					r := s.run(s.plan(sanitize.Request{Method: sanitize.Purge, Technique: technique, Verify: verify}, "A"))
					want := sanitize.Unproven
					if verify == sanitize.VerifyStatus {
						want = sanitize.Sanitized // its word is taken, and the certificate says so
					}
					if addressable, _ := s.canaries(); r.Outcome != want || r.Err != nil || addressable == 0 {
						t.Fatalf("%s %v %v, %d canaries", r.Outcome, r.Reasons, r.Err, addressable)
					}
					report := s.verify(r)
					if want == sanitize.Sanitized {
						return
					}
					if !strings.Contains(report.Result.Outcome.Reason, "write pointer") {
						t.Errorf("%s", report.Result.Outcome.Reason)
					}
					v, m := report.Result.Verification, report.Result.Verification.Markers
					if report.Code != attest.CodeOutcome || v.Result != "incomplete" || v.UnwrittenBlocks == 0 || m == nil || m.Unreadable == 0 || m.Changed+m.Unchanged+m.Unreadable != m.Set {
						t.Errorf("%d %v %+v %+v", report.Code, report.Reasons, v, m)
					}
				})
			}
		}
	}
}

// One zone of ten that is left empty is enough: what a host cannot read, it cannot vouch for.
func TestOneZoneEmptied(t *testing.T) {
	whole(t)
	for _, profile := range []string{"sas-hdd-smr", "sata-hdd-smr", "sas-hdd-aware"} {
		s, c := newTimed(t)
		s.add(withZones(profile))
		s.fault("A", "skip-erase:3584+512") // zone 7
		p := s.plan(sanitize.Request{Method: sanitize.Purge, Technique: sanitize.DriveOverwrite, Verify: sanitize.VerifyFull}, "A")
		s.emptied(c, 7)
		r := s.run(p)
		if r.Outcome != sanitize.Unproven || r.Err != nil {
			t.Errorf("%s: %s %v %v", profile, r.Outcome, r.Reasons, r.Err)
		}
		if v := r.Evidence.Verification; v.Unwritten != 512 || v.Result != "incomplete" || v.Bytes != 9*256<<10 {
			t.Errorf("%s: %+v", profile, v)
		}
	}
}

// emptied has a zone of 256 KiB be reset whenever the zones are asked for after the drive's sanitize.
func (s *site) emptied(c *clock, zone int64) {
	var sent atomic.Bool
	s.agent = s.timed(devices.NewHost(s.rack.Root(), func(ctx context.Context, node string, access devices.Access) (devices.Transport, error) {
		tr, err := s.rack.Opener()(ctx, node, access)
		return emptying{tr, &sent, zone}, err
	}, nil), c)
}

type emptying struct {
	devices.Transport
	sent *atomic.Bool
	zone int64
}

func (z emptying) SCSI(ctx context.Context, c *scsi.Command) (scsi.Result, error) {
	switch {
	case c.CDB[0] == 0x48, c.CDB[0] == 0x85 && c.CDB[14] == 0xb4 && c.CDB[4] == 0x14:
		z.sent.Store(true)
	case c.CDB[0] == 0x95 && z.sent.Load():
		reset, err := scsi.ZoneOut{Action: scsi.ZoneReset, LBA: uint64(z.zone * 512)}.Command()
		if err != nil {
			return scsi.Result{}, err
		}
		if _, err := z.Transport.SCSI(ctx, reset); err != nil {
			return scsi.Result{}, err
		}
	}
	return z.Transport.SCSI(ctx, c)
}

// A drive that takes writes, keeps nothing, and leaves its write pointers where they were, reads as zeros: it is
// found out by its zones, also when zeros were written, and when nothing is read back.
func TestZonesThatKeepNothing(t *testing.T) {
	whole(t)
	for _, kind := range zonedKinds[:3] { // a host-aware disk's are not reset, and read what they did
		for _, x := range []struct {
			fault, pattern string
			verify         sanitize.VerifyMode
			want           sanitize.Outcome
		}{
			{"zone-stuck:1+9", "zero", sanitize.VerifySampled, sanitize.Failed}, {"zone-stuck:1+9", "zero", sanitize.VerifyStatus, sanitize.Failed},
			{"zone-stuck:7+1", "zero", sanitize.VerifyFull, sanitize.Exceptions}, {"zone-stuck:7+1", "", sanitize.VerifySampled, sanitize.Exceptions},
		} {
			t.Run(fmt.Sprintf("%s/%s/%s/%s", kind.profile, x.fault, x.pattern, x.verify), func(t *testing.T) {
				t.Parallel()
				s, _ := newTimed(t)
				spec := withZones(kind.profile)
				spec.ConventionalZones = min(spec.ConventionalZones, 1)
				s.add(spec)
				p := s.plan(sanitize.Request{Technique: sanitize.HostOverwrite, Verify: x.verify, Pattern: x.pattern}, "A")
				s.fault("A", x.fault)
				r := s.run(p)
				if r.Outcome != x.want || r.Err != nil {
					t.Fatalf("%s %v %v", r.Outcome, r.Reasons, r.Err)
				}
				if addressable, _ := s.canaries(); addressable == 0 {
					t.Fatal("the drive kept what was written")
				}
				report := s.verify(r)
				if report.Code != attest.CodeOutcome {
					t.Errorf("%d %v", report.Code, report.Reasons)
				}
				if z := p.Drives[0].SizeBytes / 10; x.want == sanitize.Exceptions && (len(r.Evidence.Exceptions) != 1 || r.Evidence.Exceptions[0].Extent != overwrite.Extent{Offset: 7 * z, Length: z}) {
					t.Errorf("%v", r.Evidence.Exceptions)
				}
			})
		}
	}
}

// A disk that lets nothing be read above its write pointers, and empties its zones against the command, is not
// verified by the half of it that is read: neither where just so much of it can be, nor where more can.
func TestHalfOfADiskIsNoProof(t *testing.T) {
	whole(t)
	for _, conventional := range []int{1, 5, 6} {
		s, _ := newTimed(t)
		spec := shingled("sas-hdd-smr")
		spec.ConventionalZones, spec.BoundedReads = conventional, true
		s.add(spec)
		s.fault("A", "lie:zones-reset")
		s.fault("A", "skip-erase:3100+2000")
		r := s.run(s.plan(sanitize.Request{Method: sanitize.Purge, Technique: sanitize.DriveOverwrite, Verify: sanitize.VerifyFull}, "A"))
		if n, _ := s.canaries(); r.Outcome != sanitize.Unproven || r.Err != nil || n == 0 {
			t.Errorf("%d conventional: %s %v %v, %d canaries", conventional, r.Outcome, r.Reasons, r.Err, n)
		}
		if v := s.verify(r).Result.Verification; v.Result != "incomplete" || v.UnwrittenBlocks != int64(10-conventional)*512 {
			t.Errorf("%d conventional: %+v", conventional, v)
		}
	}
}
