package e2e

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/virtual"
)

// Passwords, formats and fixed sense data at the hands of other tools.
func TestPeersChange(t *testing.T) {
	tools := peerTools(t, peers...)
	b := newBench(t)
	l := b.leaping()
	specs := []virtual.Spec{
		{Profile: "sata-hdd"}, {Profile: "sata-hdd"}, {Profile: "sata-ssd"}, {Profile: "sas-520"}, {Profile: "sata-fixed-sense"}, {Profile: "sata-hdd", FixedSense: true}, {Profile: "sata-hdd"},
		{Profile: "sas-ssd"}, {Profile: "sas-ssd"},
	}
	for i, spec := range specs {
		spec.Serial, spec.EraseSeconds = serialOf(i), int64(eraseTime/time.Second)
		b.add(spec)
	}
	for i := 7; i < 9; i++ {
		if err := b.rack.Fault(serialOf(i), virtual.Fault{Kind: virtual.SanitizeFail, Count: 80}); err != nil {
			t.Fatal(err)
		}
	}
	g := b.bootWith(tools)
	at := func(t *testing.T, i int) seen { return b.see(g.in(t), uint16(i), serialOf(i)) }

	for i, x := range []struct {
		option, begun string
		hidden        bool // is left
	}{{"--security-erase", "f4:0", true}, {"--security-erase-enhanced", "f4:1", false}, {"--security-erase-enhanced", "f4:1", false}} {
		t.Run(specs[i].Profile+" "+x.option, func(t *testing.T) {
			s := at(t, i)
			s.Must("hdparm", "--user-master", "u", "--security-set-pass", "pw", s.sg)
			d := s.drive()
			if _, lacks := d.Lack(devices.ReasonEnabled); !lacks || !d.Security.Enabled || d.Security.Locked || d.Security.MasterMaximum {
				t.Errorf("with a password: %+v", d.Security)
			}
			s.same("hdparm's level", find(s.text("hdparm", "-I"), `Security level (\w+)`), "high")
			if _, code := s.expunge("plan", s.serial, "--technique", "security-erase"); code == 0 {
				t.Error("a security erase is planned under a password that is not ours")
			}
			s.Must("hdparm", "--user-master", "u", x.option, "pw", s.sg)
			addressable, hidden := b.left(s.serial)
			if begun := b.begun(s.serial); addressable != 0 || (hidden != 0) != x.hidden || !slices.Equal(begun, []string{x.begun}) {
				t.Errorf("begun %q, %d and %d canaries are left", begun, addressable, hidden)
			}
			if d := s.drive(); d.Security.Enabled || d.State != devices.StateReady {
				t.Errorf("afterwards %s, %+v", d.State, d.Security)
			}
		})
	}

	t.Run("sg_format to blocks of 512", func(t *testing.T) {
		s := at(t, 3)
		if d := s.drive(); d.LogicalBlock != 520 || !hasNote(d, "block_length") {
			t.Errorf("%d %+v", d.LogicalBlock, d.Notes)
		}
		s.Must("sg_format", "--format", "--size=512", "--quick", "--early", s.sg)
		if d := s.drive(); d.State != devices.StateBlocked || !hasReason(d, devices.ReasonSanitizing) {
			t.Errorf("%s %+v", d.State, d.Reasons)
		}
		l.pass(2 * eraseTime)
		d := s.drive()
		if d.LogicalBlock != 512 || !slices.ContainsFunc(d.Notes, func(r devices.Reason) bool {
			return r.Code == "block_length" && strings.Contains(r.Hint, s.sd[5:]+"/device/rescan") && !strings.Contains(r.Hint, "--technique")
		}) {
			t.Errorf("%d %+v", d.LogicalBlock, d.Notes)
		}
		s.rescan()
		if d = s.drive(); d.State != devices.StateReady || hasNote(d, "block_length") {
			t.Errorf("%s %+v", d.State, d.Notes)
		}
		s.same("sg_readcap", find(s.text("sg_readcap", "--16"), `Device size: (\d+)`), d.SizeBytes)
		if addressable, _ := b.left(s.serial); addressable != 0 {
			t.Errorf("%d canaries", addressable)
		}
	})

	t.Run("a password of hdparm's", func(t *testing.T) {
		s := at(t, 6)
		s.Must("hdparm", "--user-master", "u", "--security-set-pass", "secret of a peer", s.sg)
		var password [32]byte
		copy(password[:], "secret of a peer")
		err := devices.TakePasswordOff(t.Context(), s.transport(), password, false)
		if d := s.drive(); err != nil || d.Security.Enabled {
			t.Errorf("it is not taken off by ours: %v", err)
		}
	})

	// An unrestricted failure is left by both, and the data is there again.
	for i, leave := range map[int]func(s seen){
		7: func(s seen) { s.Must("sg_sanitize", "--fail", "--quick", "--early", s.sg) },
		8: func(s seen) {
			if out, code := s.expunge("recover", s.serial, "--exit-failure-mode", "--confirm", s.serial); code != 0 {
				s.t.Errorf("exit %d, %s", code, out)
			}
		},
	} {
		t.Run("an unrestricted failure "+serialOf(i), func(t *testing.T) {
			s := at(t, i)
			before, _ := b.left(s.serial)
			s.Must("sg_sanitize", "--block", "--ause", "--quick", "--early", s.sg)
			l.pass(2 * eraseTime)
			if d := s.drive(); d.Sanitize.State != devices.SanitizeFailed {
				t.Errorf("%s", d.Sanitize.State)
			}
			leave(s)
			s.same("sg_requests", says(s.text("sg_requests"), "Sense key: No Sense"), true)
			after, _ := b.left(s.serial)
			if d := s.drive(); d.Sanitize.State != devices.SanitizeIdle || d.State != devices.StateReady || after != before || len(b.begun(s.serial)) != 1 {
				t.Errorf("%s, %s, %d canaries of %d, begun %q", d.State, d.Sanitize.State, after, before, b.begun(s.serial))
			}
		})
	}

	// Fixed format has no room for the state of a sanitize. hdparm takes what is missing for zeros, and calls
	// the drive idle while it erases itself; here it is unknown, and nothing is done.
	for i, option := range map[int][]string{4: {"--sanitize-block-erase"}, 5: {"--sanitize-overwrite", "hex:00000000"}} {
		t.Run("fixed sense data "+option[0], func(t *testing.T) {
			s := at(t, i)
			s.unknown("before")
			s.Must(append(append([]string{"hdparm", sure}, option...), s.sg)...)
			s.same("hdparm", says(s.text("hdparm", "--sanitize-status"), "SD0 Sanitize Idle\n"), true)
			s.unknown("meanwhile")
			l.pass(20 * eraseTime)
			s.unknown("after")
			if begun := b.begun(s.serial); len(begun) != 1 || !strings.HasPrefix(begun[0], "b4:") {
				t.Errorf("begun %q", begun)
			}
			if addressable, hidden := b.left(s.serial); addressable+hidden != 0 {
				t.Errorf("%d and %d canaries", addressable, hidden)
			}
		})
	}
}

// unknown makes sure that a drive whose registers come in part is said to have no known state, and that
// nothing that needs it is planned.
func (s seen) unknown(when string) {
	s.t.Helper()
	d := s.drive()
	lack, lacks := d.Lack(devices.ReasonBridgeOpaque)
	_, hides := d.Lack(devices.ReasonHiddenUnknown)
	if d.Sanitize != nil || !lacks || !hides || !strings.Contains(lack.Message, "registers did not come back") || d.Identity != devices.IdentityDrive {
		s.t.Errorf("%s: %+v %+v", when, d.Sanitize, d.Lacks)
	}
	// That it is at work, its translation knows.
	out, _ := s.expunge("recover")
	if runs := when == "meanwhile"; hasReason(d, devices.ReasonSanitizing) != runs || (d.State == devices.StateBlocked) != runs ||
		(says(out, s.serial+": it is sanitizing itself, by no order of this state: it is left alone") == "true") != runs {
		s.t.Errorf("%s: %s %+v; recover: %s", when, d.State, d.Reasons, out)
	}
	for _, technique := range []string{"block-erase", "host-overwrite"} {
		if out, code := s.expunge("plan", s.serial, "--technique", technique); code == 0 {
			s.t.Errorf("%s: %s is planned: %s", when, technique, out)
		}
	}
}

// cycle takes a drive's power away while no guest runs, and gives it back.
func (b *bench) cycle(serial string, target uint16) {
	b.t.Helper()
	b.target.mu.Lock()
	t := b.target.units[[2]uint16{target, 0}]
	delete(b.target.units, [2]uint16{target, 0})
	b.target.mu.Unlock()
	if err := errors.Join(t.Close(), b.rack.PowerCycle(serial)); err != nil {
		b.t.Fatal(err)
	}
	b.plug(serial, target)
}

// What hdparm hides of a drive is listed once the kernel knows, and an overwrite by the host reaches behind
// it: at once where the drive takes another change, and after a power cycle where it takes one only.
func TestPeersHide(t *testing.T) {
	tools := peerTools(t, "hdparm")
	b := newBench(t)
	kinds := []devices.HiddenKind{devices.HostProtectedArea, devices.AccessibleMax}
	for i, profile := range []string{"sata-hdd", "sata-ssd"} {
		b.add(virtual.Spec{Profile: profile, Serial: serialOf(i)})
	}
	g := b.bootWith(tools)
	for i, kind := range kinds {
		s := b.see(g, uint16(i), serialOf(i))
		s.Must("hdparm", sure, "-N", "p8192", s.sg)
		d := s.drive()
		if d.State != devices.StateUnreadable || !strings.Contains(fmt.Sprint(d.Reasons), "/device/rescan") {
			t.Errorf("%s before the kernel knows: %s %+v", kind, d.State, d.Reasons)
		}
		s.rescan()
		d = s.drive()
		if want := []devices.HiddenArea{{Kind: kind, FromBytes: 4 << 20, NativeBytes: 8 << 20}}; !slices.Equal(d.Hidden, want) || d.State != devices.StateReady || d.SizeBytes != 4<<20 {
			t.Errorf("%s: %s, %d bytes, %+v", kind, d.State, d.SizeBytes, d.Hidden)
		}
		s.same("hdparm", find(s.text("hdparm", "-N"), `max sectors += (\S+),`), "8192/16384")
		i, _, err := devices.ReadIdentity(t.Context(), s.transport())
		if err != nil || i.Sectors != 8192 {
			t.Errorf("%s: IDENTIFY DEVICE has %d sectors, %v", kind, i.Sectors, err)
		}
		out, code := s.expunge("run", s.serial, "--technique", "host-overwrite", "--confirm", s.serial)
		if code == 0 || !strings.Contains(out, "power") {
			t.Errorf("%s, changed already since it got power: exit %d, %s", kind, code, out)
		}
		if addressable, _ := b.left(s.serial); addressable == 0 {
			t.Errorf("%s: it was overwritten in part", kind)
		}
	}
	g.Kill()
	for i := range kinds {
		b.cycle(serialOf(i), uint16(i))
	}
	g = b.bootWith(tools)
	for i, kind := range kinds {
		s := b.see(g, uint16(i), serialOf(i))
		if d := s.drive(); len(d.Hidden) != 1 {
			t.Errorf("%s after a power cycle: %+v", kind, d.Hidden)
		}
	}
	jobs, err := filepath.Glob(filepath.Join(b.share, "state/jobs/*"))
	if err != nil || len(jobs) != len(kinds) {
		t.Fatalf("jobs %q, %v", jobs, err)
	}
	for _, job := range jobs {
		if out, code := g.expunge("jobs", "resume", filepath.Base(job)); code != 0 {
			t.Errorf("resume: exit %d, %s", code, out)
		}
	}
	for i, kind := range kinds {
		s := b.see(g, uint16(i), serialOf(i))
		s.same("hdparm", find(s.text("hdparm", "-N"), `max sectors += (\S+),`), "16384/16384")
		if d := s.drive(); len(d.Hidden) != 0 || d.SizeBytes != 8<<20 {
			t.Errorf("%s: %d bytes, %+v", kind, d.SizeBytes, d.Hidden)
		}
		if addressable, hidden := b.left(s.serial); addressable != 0 || hidden == 0 {
			t.Errorf("%s: %d and %d canaries", kind, addressable, hidden)
		}
	}
}

// A process without CAP_SYS_RAWIO can erase nothing here, is told which capability it lacks, and has sent
// nothing that changes a drive. The kernel's list of commands for such a process is no protection: 48h,
// which is SANITIZE, is on it as a command of compact disc drives.
func TestWithoutRawIO(t *testing.T) {
	tools := peerTools(t, "hdparm", "sg_sanitize")
	b := newBench(t)
	for i, profile := range []string{"sas-ssd", "sas-hdd", "sata-ssd", "sata-hdd"} {
		b.add(virtual.Spec{Profile: profile, Serial: serialOf(i)})
	}
	g := b.bootWith(tools)
	bare := func(args ...string) (string, int) {
		t.Helper()
		a, err := g.do(t.Context(), request{Args: args, Drop: []int{17}})
		if err != nil || a.Code < 0 {
			t.Fatalf("%q: %v %s", args, err, a.Stderr)
		}
		return string(a.Stdout) + string(a.Stderr), a.Code
	}
	var before [4]int64
	for i := range before {
		before[i], _ = b.left(serialOf(i))
	}
	for i := range before {
		s := b.see(g, uint16(i), serialOf(i))
		out, code := bare("expunge", "--state", "/host/bare", "show", s.sd)
		if code != 0 || !strings.Contains(out, "UNREADABLE") || !strings.Contains(out, "the process lacks CAP_SYS_RAWIO") || !strings.Contains(out, "run as root with CAP_SYS_RAWIO") || strings.Contains(out, "has no sanitize command") {
			t.Errorf("show: exit %d, %s", code, out)
		}
		for _, options := range [][]string{{"--method", "purge"}, {"--technique", "block-erase"}, {"--technique", "drive-overwrite"}, {"--technique", "format"}, {"--technique", "enhanced-security-erase"}, {"--technique", "host-overwrite"}} {
			out, code := bare(append([]string{"expunge", "--state", "/host/bare", "run", s.sd, "--confirm", s.serial}, options...)...)
			if code == 0 || !strings.Contains(out, "CAP_SYS_RAWIO") {
				t.Errorf("%q of %s: exit %d, %s", options, s.serial, code, out)
			}
		}
	}
	sata := b.see(g, 2, serialOf(2))
	if out, code := bare("hdparm", sure, "--sanitize-block-erase", sata.sd); code == 0 {
		t.Errorf("hdparm without the capability: %s", out)
	}
	for i := range before {
		if now, _ := b.left(serialOf(i)); now != before[i] || now == 0 || len(b.begun(serialOf(i))) != 0 {
			t.Errorf("%s: %d canaries, were %d; begun %q", serialOf(i), now, before[i], b.begun(serialOf(i)))
		}
	}
	sas := b.see(g, 0, serialOf(0))
	out, code := bare("sg_sanitize", "--block", "--quick", "--early", sas.sd)
	if begun := b.begun(sas.serial); code != 0 || !slices.Equal(begun, []string{"48:02"}) {
		t.Errorf("sg_sanitize without the capability: exit %d, begun %q: %s", code, begun, out)
	}
}

// A security erase that another tool waits for is no state that a drive can tell of: the drive is in use,
// or what it is asked is refused, and nothing is begun on it.
func TestForeignSecurityErase(t *testing.T) {
	tools := peerTools(t, "hdparm")
	b := newBench(t)
	for i := range 2 {
		b.add(virtual.Spec{Profile: "sata-hdd", Serial: serialOf(i), EraseSeconds: int64(eraseTime / time.Second)})
	}
	g := b.bootWith(tools)
	for i := range 2 {
		s := b.see(g, uint16(i), serialOf(i))
		node := map[int]string{0: s.sd, 1: s.sg}[i]
		s.Must("hdparm", "--user-master", "u", "--security-set-pass", "pw", node)
		if _, err := s.do(t.Context(), request{Args: []string{"hdparm", "--user-master", "u", "--security-erase", "pw", node}, Background: true}); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(patience); len(b.begun(s.serial)) == 0; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("nothing was begun")
			}
		}
		d := s.drive()
		if d.State != devices.StateInUse || !strings.Contains(fmt.Sprint(d.Reasons), node+" is open in process") {
			t.Errorf("%s: %+v", d.State, d.Reasons)
		}
		if d.Sanitize != nil || d.Security == nil || !d.Security.Enabled {
			t.Errorf("%+v %+v", d.Sanitize, d.Security)
		}
		for _, technique := range []string{"host-overwrite", "drive-overwrite", "security-erase"} {
			if out, code := s.expunge("run", s.serial, "--technique", technique, "--confirm", s.serial); code == 0 {
				t.Errorf("%s: %s", technique, out)
			}
		}
		if begun := b.begun(s.serial); !slices.Equal(begun, []string{"f4:0"}) {
			t.Errorf("begun %q", begun)
		}
	}
}
