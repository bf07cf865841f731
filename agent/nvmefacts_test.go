package agent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

func clearBy(t sanitize.Technique) sanitize.Request {
	return sanitize.Request{Method: sanitize.Clear, Technique: t}
}

// Firmware that waits to be activated keeps every erase by the drive from being planned: nothing is marked
// for a command that will be refused. The host can overwrite the drive, and a power cycle brings the rest back.
func TestFirmwareThatWaits(t *testing.T) {
	for _, x := range []struct {
		spec virtual.Spec
		by   []sanitize.Technique
	}{
		{virtual.Spec{Profile: "nvme-firmware-pending"}, []sanitize.Technique{sanitize.CryptoThenBlock, sanitize.CryptographicErase, sanitize.BlockErase}},
		{virtual.Spec{Profile: "nvme-hdd", FirmwarePending: 0x110}, []sanitize.Technique{sanitize.DriveOverwrite}},
		{virtual.Spec{Profile: "nvme-format", FirmwarePending: 0x111}, []sanitize.Technique{sanitize.Format}},
	} {
		s, _ := erasing(t, x.spec)
		before, _ := s.canaries()
		for _, technique := range x.by {
			s.refuses(clearBy(technique), "A", "firmware_pending")
		}
		s.untouched(x.spec.Profile, before)
		want(t, s.run(s.plan(clearBy(sanitize.HostOverwrite), "A")), sanitize.Sanitized, "")
		if n, _ := s.canaries(); n != 0 {
			t.Errorf("%s: overwritten, and %d canaries are left", x.spec.Profile, n)
		}
		if err := s.rack.PowerCycle("A"); err != nil {
			t.Fatal(err)
		}
		want(t, s.run(s.plan(clearBy(x.by[0]), "A")), sanitize.Sanitized, "")
	}
}

// Firmware that is saved between plan and run has the drive refused, not marked.
func TestFirmwareAfterThePlan(t *testing.T) {
	whole(t)
	s, c := erasing(t, virtual.Spec{Profile: "nvme-ssd"})
	before, _ := s.canaries()
	p := s.plan(purge(), "A")
	s.agent = s.timed(devices.NewHost(s.rack.Root(), func(ctx context.Context, node string, access devices.Access) (devices.Transport, error) {
		tr, err := s.rack.Opener()(ctx, node, access)
		return twisted{tr, func(c *nvme.Command, _ *nvme.Completion) error {
			if c.Opcode == 0x02 && c.CDW10&0xff == nvme.LogFirmware {
				c.Data[0] = 0x21 // slot 1 runs, slot 2 is next
			}
			return nil
		}}, err
	}, nil), c)
	var refused *RefusedError
	if _, err := s.agent.Start(t.Context(), p, Started{}, Observer{}); !errors.As(err, &refused) {
		t.Fatalf("it was run: %v", err)
	}
	want(t, refused.Drives[0], refused.Drives[0].Outcome, "waits to be activated")
	s.untouched("firmware after the plan", before)
}

// A drive that another host has reserved is somebody else's, whatever is asked of it.
func TestReservedNVMeDriveIsRefused(t *testing.T) {
	whole(t)
	for _, spec := range []virtual.Spec{
		{Profile: "nvme-ssd", ReservedBy: "abcd1234"}, {Profile: "nvme-format", ReservedBy: "abcd1234", Registrants: 3},
		{Profile: "nvme-ssd", ReservedBy: "abcd1234", SecondNamespace: true, AttachAll: true},
	} {
		s, _ := erasing(t, spec)
		before, _ := s.canaries()
		for _, technique := range sanitize.Techniques() {
			if technique != sanitize.TCGRevert {
				s.refuses(clearBy(technique), "A", "reserved")
			}
		}
		s.untouched(spec.Profile, before)
	}
}

// Media that became read-only take no markers: their sanitize is not planned unless its word is enough.
func TestReadOnlyMedia(t *testing.T) {
	whole(t)
	for _, profile := range []string{"nvme-ssd", "nvme-format"} {
		s, _ := erasing(t, virtual.Spec{Profile: profile}, "smart-critical:8")
		before, _ := s.canaries()
		by := sanitize.CryptoThenBlock
		if profile == "nvme-format" {
			by = sanitize.Format
		}
		s.refuses(clearBy(by), "A", "read_only_medium")
		status := clearBy(sanitize.HostOverwrite)
		status.Verify = sanitize.VerifyStatus
		s.refuses(status, "A", "read_only_medium")
		s.untouched(profile, before)
		status.Technique = by
		r := s.run(s.plan(status, "A"))
		want(t, r, sanitize.Sanitized, "")
		if report := s.verify(r); report.Code != attest.CodeOK || report.Result.Verification.Markers != nil || report.Result.Verification.Mode != "status" {
			t.Errorf("%s: %d %v %+v", profile, report.Code, report.Reasons, report.Result.Verification)
		}
		if blank, err := s.medium().Blank(); profile == "nvme-ssd" && (err != nil || !blank) {
			t.Errorf("not erased: %v", err)
		}
	}
}

// What the drive has beside its blocks is in plan and certificate, and nowhere else.
func TestWhatADriveHasBesideItsBlocks(t *testing.T) {
	whole(t)
	for profile, has := range map[string]bool{"nvme-boot": true, "nvme-ssd": false} {
		for _, technique := range []sanitize.Technique{sanitize.BlockErase, sanitize.HostOverwrite} {
			s, _ := erasing(t, virtual.Spec{Profile: profile})
			p := s.plan(clearBy(technique), "A")
			r := s.run(p)
			want(t, r, sanitize.Sanitized, "")
			left := s.verify(r).Result.Sanitization.Excludes
			for code, words := range map[string]string{"boot_partitions": "2 boot partitions of 512 KiB", "rpmb": "replay protected memory blocks (RPMB): 1 of 1024 KiB"} {
				planned := false
				for _, x := range p.Drives[0].Excludes {
					planned = planned || x.Code == code && x.Message == words
				}
				if planned != has || slices.Contains(left, words) != has {
					t.Errorf("%s, %s: %s planned %v, certified %q", profile, technique, code, planned, left)
				}
			}
			if all := strings.ToLower(strings.Join(left, " ")); !has && (strings.Contains(all, "boot") || strings.Contains(all, "replay")) {
				t.Errorf("%s has neither: %q", profile, left)
			}
		}
	}
}

// A command that is refused leaves the drive unerased, and not as it was: the reason says so, and what
// can be done next, to the person who runs it and in the certificate.
func TestRefusedCommandSaysWhatWasDone(t *testing.T) {
	whole(t)
	const marked = " blocks had been overwritten with markers: NVMe status "
	for _, x := range []struct {
		name   string
		spec   virtual.Spec
		faults []string
		verify sanitize.VerifyMode
		says   []string
	}{
		{"region", virtual.Spec{Profile: "nvme-pmr"}, nil, "", []string{"nothing was begun by it; before that, 200", marked + "123h", "disable the persistent memory region, or take power"}},
		{"region, unmarked", virtual.Spec{Profile: "nvme-pmr"}, nil, sanitize.VerifyStatus, []string{"nothing was begun: NVMe status 123h"}},
		{"divided", virtual.Spec{Profile: "nvme-ssd"}, []string{"sanitize-refused:769"}, "", []string{marked + "301h", "another controller"}},
		{"denied", virtual.Spec{Profile: "nvme-ssd"}, []string{"sanitize-refused:21"}, "", []string{marked + "015h: operation denied", "unlock"}},
		{"firmware since it was asked", virtual.Spec{Profile: "nvme-ssd"}, []string{"sanitize-refused:273"}, "", []string{marked + "111h", "take power from the drive"}},
		{"format", virtual.Spec{Profile: "nvme-format"}, []string{"sanitize-refused:32"}, "", []string{"overwritten with markers: NVMe status 020h", "remove the write protection"}},
		{"no advice", virtual.Spec{Profile: "nvme-ssd"}, []string{"sanitize-refused:12"}, "", []string{marked + "00ch: command sequence error"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			s, _ := erasing(t, x.spec, x.faults...)
			before, _ := s.canaries()
			r := s.run(s.plan(sanitize.Request{Method: sanitize.Clear, Technique: map[bool]sanitize.Technique{true: sanitize.Format, false: sanitize.BlockErase}[x.name == "format"], Verify: x.verify}, "A"))
			report := s.verify(r)
			for _, words := range x.says {
				want(t, r, sanitize.Failed, words)
				if !strings.Contains(report.Result.Outcome.Reason, words) {
					t.Errorf("certificate: %q", report.Result.Outcome.Reason)
				}
			}
			// The medium below the codecs: it lost what the markers are on, and nothing else, as the words say.
			if left, _ := s.canaries(); left == 0 || (left < before) != strings.Contains(report.Result.Outcome.Reason, "markers") {
				t.Errorf("%d canaries are left of %d", left, before)
			}
			if begun := s.medium().Begun(); len(begun) != 0 {
				t.Errorf("begun %q", begun)
			}
		})
	}
}
