package agent

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// untouched compares the only drive with what it was: all customer data, and no erase begun.
func (s *site) untouched(what string, before int64) {
	s.t.Helper()
	if n, _ := s.canaries(); n != before || n == 0 {
		s.t.Errorf("%s: %d canaries, were %d", what, n, before)
	}
	if begun := s.medium().Begun(); len(begun) > 0 {
		s.t.Errorf("%s: begun %q", what, begun)
	}
}

// refuses makes sure that a request is not planned, and says why.
func (s *site) refuses(r sanitize.Request, name, code string) {
	s.t.Helper()
	p := s.plan(r, name)
	if len(p.Drives) != 0 || len(p.Refused) != 1 || !slices.ContainsFunc(p.Refused[0].Reasons, func(r devices.Reason) bool { return r.Code == code }) {
		s.t.Errorf("%+v: %d planned, refused %+v; want %s", r, len(p.Drives), p.Refused, code)
	}
}

// A dock's serial number is the dock's. One that is another drive's brings neither into the other's
// job: each is planned by its node, and erased for itself.
func TestDockWithTheSerialOfAnotherDrive(t *testing.T) {
	for _, dock := range []string{"usb-sata", "usb-stick"} {
		s, _ := erasing(t, virtual.Spec{Profile: "sata-ssd"})
		spec := virtual.Spec{Profile: dock, Serial: "B", SizeBytes: 4 << 20}
		if dock == "usb-stick" {
			spec.Serial, spec.SameSerial = "A", true
		}
		node, err := s.rack.Add(spec)
		if err == nil {
			err = s.rack.Populate(node, canary)
		}
		if err == nil && dock == "usb-sata" {
			err = os.WriteFile(filepath.Join(s.rack.Root(), "sys/block/sdb/device/vpd_pg80"), []byte("\x00\x80\x00\x0c           A"), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		direct, docked := s.plan(sanitize.Request{Method: sanitize.Clear, Technique: sanitize.HostOverwrite}, "/dev/sda"), s.plan(sanitize.Request{Method: sanitize.Clear, Technique: sanitize.HostOverwrite}, "/dev/sdb")
		if len(direct.Drives) != 1 || len(docked.Drives) != 1 {
			t.Fatalf("%s: %+v, %+v", dock, direct.Refused, docked.Refused)
		}
		d, e := direct.Drives[0], docked.Drives[0]
		if d.ID == e.ID || d.Scope != sanitize.ScopeDevice || dock == "usb-sata" && (e.Serial != "B" || e.Scope != sanitize.ScopeDevice) || dock == "usb-stick" && e.Scope != sanitize.ScopeLogical {
			t.Errorf("%s: %s %s %s, %s %s %s", dock, d.ID, d.Serial, d.Scope, e.ID, e.Serial, e.Scope)
		}
		r := s.run(docked)
		want(t, r, sanitize.Sanitized, "")
		if report := s.verify(r); report.Code != attest.CodeOK || report.Result.Scope != string(e.Scope) || !slices.Equal(report.Result.Device.Nodes, []string{"/dev/sdb"}) {
			t.Errorf("%s: certificate: %d %v %+v", dock, report.Code, report.Reasons, report.Result.Device)
		}
		if holds(t, s.rack, "/dev/sda") == 0 || holds(t, s.rack, "/dev/sdb") != 0 {
			t.Errorf("%s: the wrong drive was erased", dock)
		}
	}
}

// Half of a drive with two actuators that is in use, or cannot be reached, keeps the whole drive from
// being touched: also by a plan from before.
func TestHalfOfADualActuatorDrive(t *testing.T) {
	whole(t)
	for _, x := range []struct {
		name, code, says string
		state            devices.State
		do               func(s *site) error
	}{
		{"the second unit is mounted", "mounted", "/dev/sdb", devices.StateInUse, func(s *site) error { return s.rack.Use("/dev/sdb", "mounted:/srv") }},
		{"the second unit has no node", "unit_unreachable", "2 logical units", devices.StateBlocked, func(s *site) error { return os.Remove(filepath.Join(s.rack.Root(), "sys/block/sdb")) }},
		{"the first unit has no node", "unit_unreachable", "2 logical units", devices.StateBlocked, func(s *site) error { return os.Remove(filepath.Join(s.rack.Root(), "sys/block/sda")) }},
	} {
		t.Run(x.name, func(t *testing.T) {
			s, _ := erasing(t, virtual.Spec{Profile: "sas-dual"})
			before, _ := s.canaries()
			requests := []sanitize.Request{{Method: sanitize.Purge}, {Method: sanitize.Clear, Technique: sanitize.HostOverwrite}, {Method: sanitize.Clear, Technique: sanitize.Format}}
			var late []sanitize.Plan
			for _, r := range requests {
				p := s.plan(r, "A")
				if len(p.Drives) != 1 || len(p.Drives[0].Units) != 2 {
					t.Fatalf("%+v: %+v", p.Drives, p.Refused)
				}
				late = append(late, p)
			}
			if err := x.do(s); err != nil {
				t.Fatal(err)
			}
			d := s.drive()
			if says := slices.ContainsFunc(d.Reasons, func(r devices.Reason) bool { return strings.Contains(r.Message, x.says) }); d.State != x.state || !says {
				t.Errorf("%s %+v", d.State, d.Reasons)
			}
			for n, r := range requests {
				s.refuses(r, "A", x.code)
				j, err := s.agent.Start(t.Context(), late[n], Started{}, Observer{})
				var refused *RefusedError
				if err == nil && j.Drives[0].Outcome != sanitize.RefusedRun || err != nil && !errors.As(err, &refused) {
					t.Errorf("%+v: a plan from before ran: %v", r, err)
				}
			}
			s.untouched(x.name, before)
		})
	}
}

// What a drive returns for erased blocks decides what can be proven: anything at all is accepted
// where it says so, and is a purge for that; where it returns nothing, its word alone would be left.
func TestReadsAfterABlockErase(t *testing.T) {
	whole(t)
	block := sanitize.Request{Method: sanitize.Purge, Technique: sanitize.BlockErase}
	for _, required := range []uint8{1, 2, 3} {
		s, _ := erasing(t, virtual.Spec{Profile: "sas-ssd", WriteAfterErase: required})
		before, _ := s.canaries()
		request := block
		if required > 1 {
			for _, mode := range []sanitize.VerifyMode{"", sanitize.VerifySampled, sanitize.VerifyFull} {
				request.Verify = mode
				s.refuses(request, "A", "not_provable")
			}
			s.untouched("refused", before)
			request.Verify = sanitize.VerifyStatus
		}
		r := s.run(s.plan(request, "A"))
		want(t, r, sanitize.Sanitized, "")
		if blank, err := s.medium().Blank(); err != nil || !blank {
			t.Errorf("%d: blank %v, %v", required, blank, err)
		}
		report := s.verify(r)
		v := report.Result.Verification
		if report.Code != attest.CodeOK || report.Result.Outcome.Method != "purge" {
			t.Errorf("%d: %d %v", required, report.Code, report.Reasons)
		}
		if alone := v.Mode == "status" && v.Result == "none" && v.Markers == nil && v.Bytes == 0; alone != (required > 1) || !alone && (v.Result != "passed" || v.Markers == nil || v.Markers.Changed != v.Markers.Set) {
			t.Errorf("%d: %+v %+v", required, v, v.Markers)
		}
	}
	// What such a drive did not erase is found all the same.
	for _, lie := range []string{"skip-erase:0+8000", "lie:nothing", "lie:ignored"} {
		s, _ := erasing(t, virtual.Spec{Profile: "sas-ssd", WriteAfterErase: 1}, lie)
		if r := s.run(s.plan(block, "A")); r.Outcome == sanitize.Sanitized {
			t.Errorf("%s: customer data is taken for anything", lie)
		}
		if n, _ := s.canaries(); n == 0 {
			t.Errorf("%s: nothing is left to be wrong about", lie)
		}
	}
}

// A drive that does not tell which commands it has is not tried: its own erases are out of reach, and
// the host can overwrite it.
func TestNoListOfCommands(t *testing.T) {
	whole(t)
	s, _ := erasing(t, virtual.Spec{Profile: "sas-ssd", NoOpcodeReports: true})
	before, _ := s.canaries()
	for _, r := range []sanitize.Request{{Method: sanitize.Purge}, {Method: sanitize.Purge, Technique: sanitize.BlockErase}, {Method: sanitize.Clear, Technique: sanitize.Format}} {
		s.refuses(r, "A", "opcodes_unreported")
	}
	s.untouched("refused", before)
	r := s.run(s.plan(sanitize.Request{Method: sanitize.Clear}, "A"))
	want(t, r, sanitize.Sanitized, "")
	if n, hidden := s.canaries(); n != 0 || hidden == 0 || len(s.medium().Begun()) != 0 {
		t.Errorf("%d canaries, %d hidden, begun %q", n, hidden, s.medium().Begun())
	}
	if report := s.verify(r); report.Code != attest.CodeOK || report.Result.Outcome.Method != "clear" || report.Result.Sanitization.Technique != string(sanitize.HostOverwrite) {
		t.Errorf("certificate: %d %v", report.Code, report.Reasons)
	}
}

// A drive whose blocks the kernel does not take is overwritten all the same, to its last block, and
// the certificate counts in its own blocks.
func TestOverwriteOf520(t *testing.T) {
	whole(t)
	for _, request := range []sanitize.Request{{Pattern: "zero", Verify: sanitize.VerifyFull}, {}} {
		request.Method, request.Technique = sanitize.Clear, sanitize.HostOverwrite
		s, _ := erasing(t, virtual.Spec{Profile: "sas-520"})
		size := s.medium().Addressable
		p := s.plan(request, "A")
		if len(p.Drives) != 1 || p.Drives[0].SizeBytes != size || p.Drives[0].LogicalBlock != 520 || size%520 != 0 {
			t.Fatalf("%d bytes: %+v %+v", size, p.Drives, p.Refused)
		}
		r := s.run(p)
		want(t, r, sanitize.Sanitized, "")
		report := s.verify(r)
		x := report.Result
		if report.Code != attest.CodeOK || x.Device.SizeBytes != size || x.Device.LogicalBlockBytes != 520 || x.Sanitization.BytesWritten != size || len(x.Sanitization.Passes) != 1 ||
			x.Sanitization.Passes[0].Bytes != size || x.Verification.Result != "passed" || x.Verification.Bytes%520 != 0 || request.Verify == sanitize.VerifyFull && x.Verification.Bytes != size {
			t.Errorf("certificate: %d %v %+v %+v", report.Code, report.Reasons, x.Sanitization, x.Verification)
		}
		if n, hidden := s.canaries(); n != 0 || hidden == 0 {
			t.Errorf("%d canaries, %d hidden", n, hidden)
		}
		last := make([]byte, 520)
		if _, err := s.medium().ReadAt(last, size-520); err != nil || request.Pattern == "zero" && !bytes.Equal(last, make([]byte, 520)) || bytes.Contains(last, canary) {
			t.Errorf("the last block: %x…, %v", last[:8], err)
		}
	}
}

// A format changes the length of blocks, and the kernel's node goes with it.
func TestFormatToAnotherBlockSize(t *testing.T) {
	whole(t)
	for _, x := range []struct {
		name     string
		spec     virtual.Spec
		from, to int
	}{
		{"520 to 512", virtual.Spec{Profile: "sas-520"}, 520, 512},
		{"4160 to 4096", virtual.Spec{Profile: "sas-520", LogicalBlock: 4160, SizeBytes: 8 << 20}, 4160, 4096},
		{"512 to 4096", virtual.Spec{Profile: "sas-hdd"}, 512, 4096},
	} {
		t.Run(x.name, func(t *testing.T) {
			s, _ := erasing(t, x.spec)
			r := s.run(s.plan(sanitize.Request{Method: sanitize.Clear, Technique: sanitize.Format, BlockSize: x.to}, "A"))
			want(t, r, sanitize.Sanitized, "")
			if n, _ := s.canaries(); n != 0 {
				t.Errorf("%d canaries", n)
			}
			d := s.drive()
			if d.State != devices.StateReady || d.LogicalBlock != x.to || d.SizeBytes == 0 || d.SizeBytes%int64(x.to) != 0 {
				t.Errorf("%s %+v, %d bytes in blocks of %d", d.State, d.Reasons, d.SizeBytes, d.LogicalBlock)
			}
			size, err := os.ReadFile(filepath.Join(s.rack.Root(), "sys/block/sda/size"))
			if err != nil || strings.TrimSpace(string(size)) == "0" {
				t.Errorf("the kernel's node has %s sectors, %v", size, err)
			}
			report := s.verify(r)
			reshaped := report.Result.Sanitization.Reshaped
			if report.Code != attest.CodeOK || len(reshaped) != 1 || reshaped[0].Why != "format" || reshaped[0].FromLogicalBlockBytes != int64(x.from) || reshaped[0].ToLogicalBlockBytes != int64(x.to) || reshaped[0].ToBytes != d.SizeBytes {
				t.Errorf("certificate: %d %v %+v", report.Code, report.Reasons, reshaped)
			}
			again := s.plan(sanitize.Request{Method: sanitize.Clear, Technique: sanitize.HostOverwrite}, "A")
			if len(again.Drives) != 1 || slices.ContainsFunc(again.Drives[0].Notes, func(r devices.Reason) bool { return r.Code == "block_length" }) {
				t.Errorf("%+v %+v", again.Drives, again.Refused)
			}
		})
	}
}

// A drive that another host has reserved is somebody else's.
func TestReservedDriveIsRefused(t *testing.T) {
	whole(t)
	for _, profile := range []string{"sas-hdd", "sas-dual", "sas-520"} {
		s, _ := erasing(t, virtual.Spec{Profile: profile, ReservedBy: "abcd1234"})
		before, _ := s.canaries()
		if d := s.drive(); d.State != devices.StateBlocked {
			t.Errorf("%s: %s", profile, d.State)
		}
		for _, technique := range []sanitize.Technique{sanitize.HostOverwrite, sanitize.DriveOverwrite, sanitize.Format} {
			s.refuses(sanitize.Request{Method: sanitize.Clear, Technique: technique}, "A", "reserved")
		}
		s.untouched(profile, before)
	}
}

// A format that power cut off leaves a medium that nothing can be done with but to format it again:
// the job goes on, and is cleared in the end.
func TestFormatThatWasCutOff(t *testing.T) {
	whole(t)
	for _, x := range []struct {
		profile string
		block   int
	}{{"sas-hdd", 0}, {"sas-520", 512}, {"sas-520", 0}} {
		s, _ := erasing(t, virtual.Spec{Profile: x.profile, EraseSeconds: 600}, "sanitize-power-cut:50")
		r := s.run(s.plan(sanitize.Request{Method: sanitize.Clear, Technique: sanitize.Format, BlockSize: x.block}, "A"))
		want(t, r, sanitize.Interrupted, "")
		if n, _ := s.canaries(); n == 0 {
			t.Fatalf("%+v: nothing was cut off", x)
		}
		for tries := 0; !r.Finished() && tries < 3; tries++ {
			j, err := s.agent.Resume(t.Context(), r.Job, Observer{})
			if err != nil {
				t.Fatal(err)
			}
			r = j.Drives[0]
		}
		want(t, r, sanitize.Sanitized, "")
		if n, _ := s.canaries(); n != 0 || !slices.Equal(s.medium().Begun(), []string{"04", "04"}) {
			t.Errorf("%+v: %d canaries, begun %q", x, n, s.medium().Begun())
		}
		report := s.verify(r)
		if report.Code != attest.CodeOK || report.Result.Outcome.Method != "clear" || report.Result.Sanitization.Interruptions == 0 || report.Result.Sanitization.Attempts < 2 {
			t.Errorf("%+v: certificate: %d %v %+v", x, report.Code, report.Reasons, report.Result.Sanitization)
		}
		if d := s.drive(); d.FormatFailed || d.State != devices.StateReady || x.block != 0 && d.LogicalBlock != x.block {
			t.Errorf("%+v: %s %+v, blocks of %d", x, d.State, d.Reasons, d.LogicalBlock)
		}
	}
}

// Blocks that a drive has reassigned hold what no overwrite reaches: plan and certificate say how many.
func TestGrownDefectsAreSaid(t *testing.T) {
	whole(t)
	const number = "(37 grown defects)"
	for technique, said := range map[sanitize.Technique]bool{sanitize.HostOverwrite: true, sanitize.Format: true, sanitize.DriveOverwrite: false} {
		s, _ := erasing(t, virtual.Spec{Profile: "sas-hdd", GrownDefects: 37})
		p := s.plan(sanitize.Request{Method: sanitize.Clear, Technique: technique}, "A")
		if len(p.Drives) != 1 {
			t.Fatalf("%+v", p.Refused)
		}
		if planned := slices.ContainsFunc(p.Drives[0].Excludes, func(r devices.Reason) bool { return strings.Contains(r.Message, number) }); planned != said {
			t.Errorf("%s: the plan excludes %+v", technique, p.Drives[0].Excludes)
		}
		r := s.run(p)
		want(t, r, sanitize.Sanitized, "")
		if report := s.verify(r); report.Code != attest.CodeOK || strings.Contains(strings.Join(report.Result.Sanitization.Excludes, "\n"), number) != said {
			t.Errorf("%s: certificate: %d %v %q", technique, report.Code, report.Reasons, report.Result.Sanitization.Excludes)
		}
	}
}

// Behind an adapter that zeroes COUNT an overwrite would be one of sixteen passes: it is never sent,
// whatever is asked for, and the drive is erased another way.
func TestAdapterThatZeroesCount(t *testing.T) {
	whole(t)
	s, _ := erasing(t, virtual.Spec{Profile: "sata-hdd"}, "hba-zero:count")
	before, _ := s.canaries()
	for _, r := range []sanitize.Request{{Method: sanitize.Purge, Technique: sanitize.DriveOverwrite}, {Method: sanitize.Clear, Technique: sanitize.DriveOverwrite},
		{Method: sanitize.Purge, Technique: sanitize.DriveOverwrite, Verify: sanitize.VerifyStatus}} {
		s.refuses(r, "A", devices.ReasonHBADrops)
	}
	s.untouched("refused", before)
	for _, r := range []sanitize.Request{{Method: sanitize.Purge}, {Method: sanitize.Clear}} {
		want(t, s.run(s.plan(r, "A")), sanitize.Sanitized, "")
		if n, _ := s.canaries(); n != 0 {
			t.Errorf("%s: %d canaries", r.Method, n)
		}
		if err := s.rack.Populate("A", canary); err != nil {
			t.Fatal(err)
		}
	}
	if begun := s.medium().Begun(); slices.Contains(begun, "b4:0014") {
		t.Errorf("it was told to overwrite itself: %q", begun)
	}
}
